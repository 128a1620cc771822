local codec <const> = require "lunalift.codec"
local fail <const> = require "lib.fail"
local fs <const> = require "lunalift.fs"
local script <const> = require "lunalift.script"
local stand_in <const> = require "spec.support.stand_in"

describe("lunalift flow", function()
  local restore, console, path

  before_each(function()
    console, path = stand_in.console(), ("/tmp/lunalift-flow-%s.lua"):format(codec.uuid())
    restore = stand_in.install { ["lunalift.console"] = console }
  end)

  after_each(function()
    restore()
    fs.remove(path)
  end)

  local function run(...) return require("cli.flow").run { ... } end

  it("lists the flows by name, with where they come from", function()
    local real <const> = script.list
    package.loaded["lunalift.script"] = {
      list = function()
        local files <const> = real "flows"
        table.insert(files, 1, { name = "flows.zebra", path = "/etc/z.lua", layer = "/etc", sha256 = ("ab"):rep(32) })
        return files
      end,
    }
    local code <const> = run "list"
    package.loaded["lunalift.script"] = script
    assert.equal(0, code)
    assert.matches("^FLOW +FROM +SHA256\n", console.said)
    assert.matches("\npopulate +built in +%x+\n.*zebra +/etc/z.lua +abababababab\n", console.said)
  end)

  it("shows a flow as it is", function()
    assert.equal(0, run("show", "populate"))
    assert.equal(script.source(script.find("flows.populate").path), console.said)
    local ok <const>, why <const> = pcall(run, "show", "nothing")
    assert.is_false(ok)
    assert.is_true(fail.is(why, "not_found"))
  end)

  it("checks a file: each problem with its line, and their count", function()
    assert(fs.write(path, 'return function(job)\n  job:stepp "x"\n  print "y"\nend\n'))
    assert.equal(2, run("check", path))
    assert.matches(path .. ":2  a job has no stepp", console.said, 1, true)
    assert.matches("\n2 problems\n$", console.said)
    console.said = ""
    assert(fs.write(path, 'return function(job) job:step "x" end\n'))
    assert.equal(0, run("check", path))
    assert.equal(path .. ": no problems\n", console.said)
  end)

  it("tells how it is used", function()
    assert.equal(0, run "--help")
    assert.equal("usage: lunalift flow list | flow show NAME | flow check FILE\n", console.said)
    for _, args in ipairs { {}, { "show" }, { "check" }, { "frobnicate", "x" } } do
      local ok <const>, why <const> = pcall(run, table.unpack(args))
      assert.is_false(ok)
      assert.is_true(fail.is(why, "config"))
      assert.matches("flow list", why.hint)
    end
  end)
end)
