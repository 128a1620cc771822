local codec <const> = require "lunalift.codec"
local fs <const> = require "lunalift.fs"
local process <const> = require "lunalift.process"

local SCRIPT <const> = [==[
local console <const> = require "lunalift.console"
local task <const> = require "lunalift.task"
local timer <const> = require "lunalift.timer"

local function say(word) console.out(word .. "\n") end

local CASES <const> = {}

function CASES.shield()
  task.shield(5, function()
    timer.sleep(0.05)
    say "settled"
  end)
end

function CASES.deadline()
  task.shield(0.05, function()
    local _late <close> = setmetatable({}, { __close = function() say "late" end })
    timer.sleep(60)
  end)
end

function CASES.joined()
  task.spawn(function()
    local shielded <const> = task.shield(5, function()
      timer.sleep(0.05)
      say "settled"
    end)
    shielded:join()
    say "joined"
  end)
  timer.sleep(0)
end

function CASES.children()
  task.spawn(function()
    local _guard <close> = setmetatable({}, { __close = function() say "closed" end })
    timer.sleep(60)
  end)
  timer.sleep(0)
end

function CASES.background()
  task.spawn(task.background, function()
    say "begun"
    timer.sleep(60)
  end):wait()
  timer.sleep(0.01)
  say "ended"
end

return {
  main = function(args)
    CASES[args[1]]()
    return 7
  end,
}
]==]

describe("the runtime", function()
  local dir

  setup(function()
    dir = "/tmp/runtime-" .. codec.uuid()
    assert(fs.mkdir(dir))
    assert(fs.mkdir(dir .. "/cli"))
    assert(fs.write(dir .. "/cli/main.lua", SCRIPT))
  end)

  teardown(function() process.run { argv = { "rm", "-rf", dir } } end)

  local function run(...)
    return assert(process.run { argv = { os.getenv "LUNALIFT_BIN", ... }, env = { LUNALIFT_SCRIPTS = dir } })
  end

  for name, said in pairs {
    shield = "settled\n",
    deadline = "late\n",
    joined = "settled\njoined\n",
    children = "closed\n",
  } do
    it("ends no sooner than what the main task left: " .. name, function()
      local ended <const> = run(name)
      assert.equal(said, ended.out)
      assert.equal(7, ended.code)
    end)
  end

  it("waits for nothing in the background, which outlives the task that started it", function()
    local ended <const> = run "background"
    assert.same({ "begun\nended\n", 7 }, { ended.out, ended.code })
  end)

  it("takes the last folder of scripts that is named, and none after --", function()
    local nowhere <const> = dir .. "/nowhere"
    assert.equal(7, run("children", "--scripts", nowhere, "--scripts=" .. dir).code)
    assert.equal(7, run("children", "--", "--scripts", nowhere).code)
    assert.equal(2, run("children", "--scripts=" .. dir, "--scripts", nowhere).code)
  end)
end)
