local stand_in <const> = require "spec.support.stand_in"
local task <const> = require "lunalift.task"
local timer <const> = require "lunalift.timer"

describe("a site", function()
  local restore, log, opened, closed, site

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
    log, opened, closed = stand_in.log(), {}, {}
    restore = stand_in.install {
      ["lunalift.log"] = log,
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

  it("closes the rest when one cannot be closed, and logs it", function()
    site:vcenter()
    site:array().close = function() error { kind = "timeout", message = "no answer" } end
    site:close()
    assert.same({ "vcenter" }, closed)
    assert.equal("no answer", log.lines[1].fields.why)
  end)
end)
