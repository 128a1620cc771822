local process <const> = require "lunalift.process"
local task <const> = require "lunalift.task"
local timer <const> = require "lunalift.timer"

local function sh(script, more)
  local options <const> = { argv = { "sh", "-c", script } }
  for key, value in pairs(more or {}) do
    options[key] = value
  end
  return options
end

describe("lunalift.process", function()
  it("runs a command and keeps its output apart", function()
    local ended <const> = assert(process.run(sh "echo out; echo err >&2; exit 3"))
    assert.same({ code = 3, out = "out\n", err = "err\n", truncated = false }, ended)
  end)

  it("hands over input, environment and folder", function()
    local ended <const> =
      assert(process.run(sh("cat; pwd; echo $A", { input = "in\0put\n", env = { A = "b", PATH = "/bin" }, cwd = "/" })))
    assert.equal("in\0put\n/\nb\n", ended.out)
  end)

  it("tells the signal that ended it", function() assert.equal(15, process.run(sh "kill -TERM $$").signal) end)

  it("fails on a command that is not there", function()
    local ended, why = process.run { argv = { "/nowhere/command" } }
    assert.is_nil(ended)
    assert.equal("not_found", why.kind)
  end)

  it("raises on misuse", function()
    assert.error_matches(function() process.run {} end, "argv")
    assert.error_matches(function() process.run { argv = {} } end, "argv")
    assert.error_matches(function() process.run { argv = { "sh", 1 } } end, "argument 2")
    assert.error_matches(function() process.run(sh("true", { env = { A = 1 } })) end, "env")
    assert.error_matches(function() process.run(sh("true", { on_output = "x" })) end, "on_output")
  end)

  it("drops what is above max_output, and says so", function()
    local ended <const> = assert(process.run(sh("echo 123456789", { max_output = 5 })))
    assert.equal("12345", ended.out)
    assert.is_true(ended.truncated)
  end)

  it("shows output so far, and is told to end", function()
    local child <const> = assert(process.start(sh "echo $$; exec sleep 60"))
    while child:output() == "" do
      timer.sleep(0.01)
    end
    assert.equal(child.pid .. "\n", (child:output()))
    child:kill()
    assert.equal(15, child:wait().signal)
    assert.equal(15, child:wait().signal)
    child:kill "KILL"
  end)

  it("lets several tasks wait for one end", function()
    local child <const> = assert(process.start(sh "sleep 0.05; exit 7"))
    local ends <const> = task.all {
      function() return child:wait().code end,
      function() return child:wait().code end,
    }
    assert.same({ 7, 7 }, ends)
  end)

  it("calls on_output in order, from a task that may wait, before the end is told", function()
    local seen <const> = {}
    local ended <const> = assert(process.run(sh("echo 1; sleep 0.05; echo 2 >&2; sleep 0.05; echo 3", {
      on_output = function(fd, text)
        timer.sleep(0.1)
        seen[#seen + 1] = fd .. text
      end,
    })))
    assert.same({ "11\n", "22\n", "13\n" }, seen)
    assert.equal("1\n3\n", ended.out)
  end)

  it("ends as usual when on_output raises", function()
    local calls = 0
    local ended <const> = assert(process.run(sh("echo 1; sleep 0.05; echo 2", {
      on_output = function()
        calls = calls + 1
        error "never mind"
      end,
    })))
    assert.equal(1, calls)
    assert.equal("1\n2\n", ended.out)
  end)

  it("kills a run that is cancelled", function()
    local pid
    local result, why = task.within(0.3, function()
      return process.run(sh("echo $$; exec sleep 60", { on_output = function(_, text) pid = text:match "%d+" end }))
    end)
    assert.is_nil(result)
    assert.equal("timeout", why.kind)
    assert.is_string(pid)
    assert.not_equal(0, process.run({ argv = { "kill", "-0", pid } }).code)
  end)

  it("reaches the children of a group", function()
    local child <const> = assert(process.start(sh("sleep 60 & echo $!; wait", { own_group = true })))
    while child:output() == "" do
      timer.sleep(0.01)
    end
    child:kill()
    -- The grandchild holds the pipes: as long as it lives, the end is not told.
    assert.equal(15, task.within(10, function() return child:wait().signal end))
  end)
end)
