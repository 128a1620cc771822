local stand_in <const> = require "spec.support.stand_in"
local task <const> = require "lunalift.task"
local timer <const> = require "lunalift.timer"

describe("a site", function()
  local restore, opened, closed, site

  local function peer(name)
    return {
      open = function()
        opened[#opened + 1] = name
        timer.sleep(0)
        return { close = function() closed[#closed + 1] = name end }
      end,
    }
  end

  before_each(function()
    opened, closed = {}, {}
    restore = stand_in.install {
      ["lib.vcenter"] = peer "vcenter",
      ["lib.arrays"] = peer "array",
      ["lunalift.kube"] = peer "kube",
    }
    site = require("lib.site").new { vcenter = {}, array = { vendor = "box" }, kube = {} }
  end)

  after_each(function() restore() end)

  it("opens nothing before it is needed, and each peer once", function()
    assert.same({}, opened)
    local vcenter <const> = site:vcenter()
    assert.equal(vcenter, site:vcenter())
    site:array()
    site:kube()
    assert.same({ "vcenter", "array", "kube" }, opened)
  end)

  it("opens a peer once, though two tasks ask at the same time", function()
    local found <const> = task.all { function() return site:array() end, function() return site:array() end }
    assert.equal(found[1], found[2])
    assert.same({ "array" }, opened)
  end)

  it("can be asked again when opening failed", function()
    local arrays <const> = package.loaded["lib.arrays"]
    local open <const> = arrays.open
    arrays.open = function() error { kind = "unreachable", message = "away" } end
    assert.is_false(pcall(site.array, site))
    arrays.open = open
    assert.is_table(site:array())
  end)

  it("closes what was opened, and only that, and opens it again if asked", function()
    site:close()
    assert.same({}, closed)
    site:vcenter()
    site:array()
    site:close()
    site:close()
    assert.same({ "array", "vcenter" }, closed)
    site:vcenter()
    assert.equal(3, #opened)
  end)

  it("closes the rest while one hangs, and says what cannot be closed", function()
    local said
    site.job = { warn = function(_, fmt, ...) said = fmt:format(...) end }
    site:vcenter()
    site:array().close = function()
      timer.sleep(0.01)
      assert.same({ "vcenter" }, closed)
      error { kind = "timeout", message = "no answer" }
    end
    site:close()
    assert.matches("not logged out of the array: no answer", said, 1, true)
  end)
end)
