local fail <const> = require "lib.fail"
local json <const> = require "lunalift.json"
local stand_in <const> = require "spec.support.stand_in"
local timer <const> = require "lunalift.timer"

describe("lunalift reap", function()
  local restore, console, conf, request, items, why

  before_each(function()
    console, conf, request, items, why = stand_in.console(), nil, nil, {}, nil
    restore = stand_in.install {
      ["lunalift.console"] = console,
      ["lunalift.env"] = stand_in.env {},
      ["lunalift.log"] = stand_in.log(),
      ["lunalift.task"] = setmetatable({
        signal = function() timer.sleep(3600) end,
      }, { __index = require "lunalift.task" }),
      ["lib.arrays"] = { describe = function() return { options = {} } end },
      ["lib.site"] = {
        new = function(given)
          conf = given
          return { close = function() end }
        end,
      },
      ["flows.reap"] = function(job)
        request = job.request
        job:note { items = items }
        if why then error(why) end
      end,
    }
  end)

  after_each(function() restore() end)

  local function run(...) return require("cli.reap").run { ... } end

  local function item(state, outcome, more)
    return { kind = "journal", where = "file /j.json", about = "mapped", state = state, outcome = outcome, why = more }
  end

  local PEERS <const> = {
    "--storage-vendor-product=ontap",
    "--storage-hostname=array.example",
    "--storage-username=admin",
    "--storage-password=hunter2",
    "--vsphere-hostname=vc.example",
    "--vsphere-username=root",
    "--vsphere-password=hunter3",
  }

  it("lists without knowing array or vCenter, and needs both to look or to act", function()
    assert.equal(0, run "--namespace=move")
    assert.same({ "move", false, false }, { request.namespace, request.apply, request.scan })
    assert.is_nil(conf.array)
    for _, flag in ipairs { "--apply", "--scan" } do
      local ok <const>, failure <const> = pcall(run, flag)
      assert.is_false(ok)
      assert.equal("config", failure.kind)
      assert.matches("%-%-vsphere%-hostname", failure.message)
    end
    assert.equal(0, run("--apply", table.unpack(PEERS)))
    assert.equal("vc.example", conf.vcenter.host)
    assert.is_true(request.apply)
  end)

  it("ends with 5 while something is left, and 0 when nothing is, or only what a live run cares for", function()
    for _, case in ipairs {
      { 0 },
      { 5, item("dead", "left") },
      { 5, item("dead", "kept", "it is of another array") },
      { 5, item("unreadable", "left", "no JSON") },
      { 0, item("dead", "settled") },
      { 0, item("live", "kept") },
      { 5, item("dead", "settled"), item("dead", "kept") },
    } do
      items = { table.unpack(case, 2) }
      assert.equal(case[1], run())
    end
  end)

  it("ends with 3 when a journal that was named may be a live run's", function()
    items = { item("live", "left", "its run was heard of 9 s ago") }
    assert.equal(3, run("--journal=lease", "--namespace=move"))
    assert.equal(0, run "--namespace=move")
    items[2] = item("dead", "left")
    assert.equal(5, run("--journal=lease", "--namespace=move"))
  end)

  it("takes the names of dead runs' things, for what --scan finds only", function()
    local ok <const>, failure <const> = pcall(run, "--apply", "--assume-dead=naa.1", table.unpack(PEERS))
    assert.is_false(ok)
    assert.equal("config", failure.kind)
    assert.equal(0, run("--scan", "--assume-dead=naa.1,xcopy-a", table.unpack(PEERS)))
    assert.equal("naa.1,xcopy-a", request.assume_dead)
  end)

  it("tells what the user may do, who knows more", function()
    items = { item("left", "kept", "not proved") }
    items[1].command = "lunalift reap x"
    run()
    assert.matches("mapped %(not proved%); if nobody needs it: lunalift reap x\n", console.said)
    console.said = ""
    run "-o=json"
    assert.equal("lunalift reap x", json.decode(console.said).items[1].command)
  end)

  it("tells what it found as a table, or as JSON", function()
    assert.equal(0, run())
    assert.equal("nothing is left\n", console.said)
    console.said, items = "", { item("dead", "kept", "in the way") }
    run()
    assert.matches("WHAT +WHERE +STATE +OUTCOME +ABOUT\n", console.said)
    assert.matches("journal +file /j.json +dead +kept +mapped %(in the way%)\n", console.said)
    for _, words in ipairs { { "-o", "json" }, { "-o=json" }, { "--output=json" } } do
      console.said = ""
      run(table.unpack(words))
      local said <const> = json.decode(console.said)
      assert.same({ 1, "kept", "in the way" }, { said.left, said.items[1].outcome, said.items[1].why })
    end
  end)

  it("tells a failure with its exit code, and what was found before it", function()
    why, items = fail.new("unreachable", "vc.example does not answer"), { item("dead", "left") }
    assert.equal(3, run())
    assert.matches("file /j.json", console.said)
    assert.matches("error: vc.example does not answer", console.complained)
    console.said = ""
    run("-o", "json")
    assert.equal("unreachable", json.decode(console.said).failure.kind)
  end)

  it("refuses what it does not know", function()
    for _, word in ipairs { "--aply", "leases" } do
      local ok <const>, failure <const> = pcall(run, word)
      assert.is_false(ok)
      assert.equal("config", failure.kind)
      assert.is_string(failure.hint)
    end
  end)

  it("says in its help what the exit codes mean", function()
    assert.equal(0, run "--help")
    assert.matches("5 something is left", console.said)
    assert.matches("%-%-scan", console.said)
    assert.is_nil(console.said:find("--source-vmdk", 1, true))
  end)
end)
