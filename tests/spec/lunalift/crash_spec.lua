local codec <const> = require "lunalift.codec"
local crash <const> = require "lunalift.crash"
local fs <const> = require "lunalift.fs"
local process <const> = require "lunalift.process"

local SIGKILL <const> = 9
local SCRIPT <const> = [[
local crash <const> = require "lunalift.crash"
return { run = function() crash.point("before", 2); crash.point("after", 12); return 7 end }
]]

describe("lunalift.crash", function()
  local dir

  setup(function()
    dir = "/tmp/crash-" .. codec.uuid()
    assert(fs.mkdir(dir))
    assert(fs.mkdir(dir .. "/cli"))
    assert(fs.write(dir .. "/cli/flow.lua", SCRIPT))
  end)

  teardown(function() process.run { argv = { "rm", "-rf", dir } } end)

  local function ended(point)
    local env <const> = { LUNALIFT_SCRIPTS = dir, LUNALIFT_TEST_CRASH = point }
    return assert(process.run { argv = { os.getenv "LUNALIFT_BIN", "flow" }, env = env })
  end

  it("kills the process at the point that is asked for", function()
    assert.equal(SIGKILL, ended("before:2").signal)
    assert.equal(SIGKILL, ended("after:12").signal)
  end)

  it("does nothing at any other, nor unasked", function()
    for _, point in ipairs { "before:1", "after:2", "before:12", "2", "" } do
      assert.equal(7, ended(point).code, point)
    end
    assert.equal(7, ended(nil).code)
    assert.equal(0, select("#", crash.point("before", 1)))
  end)

  it("raises on misuse", function()
    assert.error_matches(function() crash.point(nil, 1) end, "string expected")
    assert.error_matches(function() crash.point("before", "x") end, "number expected")
  end)
end)
