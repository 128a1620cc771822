local stand_in <const> = require "spec.support.stand_in"
local task <const> = require "lunalift.task"
local timer <const> = require "lunalift.timer"

describe("a site", function()
  local restore, opened, closed, site

  local function peer(name)
    local function open()
      opened[#opened + 1] = name
      timer.sleep(0)
      return { close = function() closed[#closed + 1] = name end }
    end
    return { open = open, login = open, of = function(job, login) return { job = job, login = login } end }
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
    local login <const> = arrays.login
    arrays.login = function() error { kind = "unreachable", message = "away" } end
    assert.is_false(pcall(site.array, site))
    arrays.login = login
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
    site:array().login.close = function()
      timer.sleep(0.01)
      assert.same({ "vcenter" }, closed)
      error { kind = "timeout", message = "no answer" }
    end
    site:close()
    assert.matches("not logged out of the array: no answer", said, 1, true)
  end)

  describe("that shares its peers with others", function()
    local sites <const> = {}

    before_each(function()
      local shared <const> = require("lib.peers").new()
      for i, key in ipairs { "a", "a", "b" } do
        local conf <const> = { vcenter = { key = "vc " .. key }, array = { key = "box " .. key, vendor = "box" } }
        sites[i] = require("lib.site").new(conf, shared)
        sites[i].job = { name = i }
      end
    end)

    it("logs in once for all that have the same key, each for its own job", function()
      local first <const>, second <const> = sites[1]:array(), sites[2]:array()
      assert.equal(first.login, second.login)
      assert.same({ 1, 2 }, { first.job.name, second.job.name })
      assert.not_equal(first.login, sites[3]:array().login)
      assert.same({ "array", "array" }, opened)
    end)

    it("logs out with the last of them", function()
      sites[1]:vcenter()
      sites[2]:vcenter()
      sites[1]:close()
      sites[1]:close()
      assert.same({}, closed)
      sites[2]:close()
      assert.same({ "vcenter" }, closed)
      sites[1]:vcenter()
      assert.same({ "vcenter", "vcenter" }, opened)
    end)

    it("lets the next one try when a login failed, or was cancelled", function()
      local arrays <const> = package.loaded["lib.arrays"]
      local login <const> = arrays.login
      local is_waiting = false
      arrays.login = function()
        is_waiting = true
        timer.sleep(60)
      end
      local first <const> = task.spawn(function() sites[1]:array() end)
      local second <const> = task.spawn(function() return sites[2]:array() end)
      repeat
        timer.sleep(0.001)
      until is_waiting
      arrays.login = login
      first:cancel "stop"
      local _, why <const> = first:wait()
      assert.equal("cancelled", why.kind)
      assert.is_table((second:wait()))
      sites[2]:close()
      assert.same({ "array" }, closed)
    end)
  end)
end)
