local isolate <const> = require "lunalift.isolate"
local json <const> = require "lunalift.json"
local secret <const> = require "lunalift.secret"
local task <const> = require "lunalift.task"
local timer <const> = require "lunalift.timer"

local function guest(memory_bytes) return assert(isolate.open { module = "spec.guest", memory_bytes = memory_bytes }) end

describe("lunalift.isolate", function()
  it("copies plain data both ways", function()
    local data <const> = { 1, 2.5, "x", { yes = true, deep = { { "list" } } }, big = 1 << 60 }
    assert.same({ data, n = 1 }, table.pack(guest():call("echo", data)))
    assert.same({ nil, "z", nil, n = 3 }, table.pack(guest():call("echo", nil, "z", nil)))
  end)

  it("keeps states apart", function()
    local a <const>, b <const> = guest(), guest()
    a:call("keep", { 1 })
    assert.same({ 1 }, a:call "kept_value")
    assert.is_nil(b:call "kept_value")
  end)

  it("hands over secrets as secrets", function()
    local hidden <const> = secret.new "correct horse battery"
    local shown <const> = table.pack(guest():call("show", hidden))
    assert.same({ "***", "a***b", "***", true, n = 4 }, shown)
    assert.is_true(secret.is(guest():call("echo", { hidden })[1]))
  end)

  it("refuses what is no plain data, naming it", function()
    assert.has_error(function()
      guest():call("echo", function() end)
    end, "a function cannot cross to another script state")
    local value <const>, why <const> = guest():call "closure"
    assert.is_nil(value)
    assert.matches("a function cannot cross", why.message)
    local cycle <const> = {}
    cycle[1] = cycle
    assert.has_error(function() guest():call("echo", cycle) end)
  end)

  it("carries failures across", function()
    local _, why <const> = guest():call("raise", { kind = "conflict", message = "taken", status = 409 })
    assert.equal("conflict", why.kind)
    assert.equal(409, why.status)
    local _, bug <const> = guest():call("raise", "plain text")
    assert.equal("bug", bug.kind)
  end)

  it("names a function or module that is not there", function()
    local _, why <const> = guest():call "nothing"
    assert.matches("no function 'nothing'", why.message)
    local none <const>, absent <const> = isolate.open { module = "spec.absent" }
    assert.is_nil(none)
    assert.matches("spec%.absent", absent.message)
  end)

  it("says the same of a module that is not there when asked again", function()
    local inside <const> = guest()
    for _ = 1, 2 do
      local ok <const>, why <const> = inside:call("try_require", "spec.absent")
      assert.is_false(ok)
      assert.matches("no module", why)
    end
  end)

  it("names a module that raises what is no failure", function()
    local none <const>, why <const> = isolate.open { module = "spec.loads_badly" }
    assert.is_nil(none)
    assert.equal("spec.loads_badly: cannot be loaded", why.message)
  end)

  it("passes a cancel on, and ends with its caller", function()
    local inside <const> = guest()
    local caller <const> = task.spawn(function() return inside:call("sleep", 60) end)
    timer.sleep(0.01)
    caller:cancel()
    local _, why <const> = caller:wait()
    assert.equal("cancelled", why.kind)
    assert.equal(1, inside:call("echo", 1))
  end)

  it("fails calls under way when it is closed", function()
    local inside <const> = guest()
    local caller <const> = task.spawn(function() return inside:call("sleep", 60) end)
    timer.sleep(0.01)
    inside:close()
    local value <const>, why <const> = caller:wait()
    assert.is_nil(value)
    assert.equal("cancelled", why.kind)
  end)

  describe("holds a hostile script:", function()
    for _, name in ipairs { "loop", "loop_in_comparator", "loop_in_handler" } do
      it(name .. " is ended by the budget", function()
        local _, why <const> = guest():call(name)
        assert.equal("bug", why.kind)
        assert.matches("too long", why.message)
      end)
    end

    for _, name in ipairs { "fill_strings", "fill_tables", "fill_tasks" } do
      it(name .. " is ended by the memory ceiling", function()
        local inside <const> = guest(8 << 20)
        local _, why <const> = inside:call(name)
        assert.matches("memory", why.message)
      end)
    end

    it("a pattern's subject has a ceiling", function()
      local _, why <const> = guest():call "long_pattern"
      assert.matches("may have 32 KiB", why.message)
    end)

    it("no finalizers", function()
      local _, why <const> = guest():call "with_gc"
      assert.matches("__gc", why.message)
    end)

    it("no way to files, processes, environment, bytecode or debug", function()
      local inside <const> = guest()
      for _, name in ipairs {
        "io",
        "debug",
        "load",
        "loadstring",
        "dofile",
        "package",
        "coroutine",
        "collectgarbage",
        "rawset",
        "_G",
      } do
        local value <const>, why <const> = inside:call("global", name)
        assert.is_nil(value, name)
        assert.matches("undefined global", why.message)
      end
      for _, name in ipairs { "os.execute", "os.getenv", "os.remove", "os.exit" } do
        assert.equal("nil", inside:call("global", name))
      end
      assert.is_nil(inside:call "dump")
      assert.is_false(inside:call "string_metatable")
      for _, name in ipairs {
        "lunalift.fs",
        "lunalift.process",
        "lunalift.env",
        "lunalift.kube",
        "lunalift.isolate",
        "io",
        "../lib/fail",
      } do
        assert.is_false(inside:call("try_require", name))
      end
    end)

    it(
      "no signals, which are the program's",
      function() assert.same({ true, true }, { guest():call "task_functions" }) end
    )

    it("no more tasks than C can walk", function()
      local _, why <const> = guest(256 << 20):call "fill_tasks"
      assert.matches("more than %d+ tasks", why.message)
    end)

    it("libraries are read-only", function()
      local _, why <const> = guest():call "poison"
      assert.matches("read%-only", why.message)
      local _, unsealed <const> = guest():call "unseal"
      assert.matches("a plain table is needed", unsealed.message)
    end)

    it("options that change while they are read", function()
      local ok <const>, why <const> = guest():call("take_options", { base = "http://127.0.0.1" })
      assert.is_false(ok)
      assert.matches("without __index", why)
    end)
  end)

  it("encodes no secret as JSON", function()
    assert.has_error(function() json.encode { secret.new "hidden" } end)
  end)
end)
