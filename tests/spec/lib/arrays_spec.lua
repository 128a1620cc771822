local fail <const> = require "lib.fail"
local fake_job <const> = require "spec.support.fake_job"
local stand_in <const> = require "spec.support.stand_in"

local LUN <const> = { id = "l-1", name = "/vol/v/lun0", naa = "naa.1", size_bytes = 1 }
local HOST <const> = { id = "h-1", name = "xcopy-esx1" }

describe("an array", function()
  local restore, inside, vendor, opened_with

  before_each(function()
    vendor = { api = 1, name = "box", title = "Box", drivers = { "csi.box.example", "csi2.box.example" }, options = {} }
    inside = { calls = {}, answers = {}, has = {}, closed = 0 }
    function inside:call(entry, name, ...)
      if entry == "describe" then return vendor end
      if entry == "open" then return true end
      if entry == "has" then return self.has[name] or false end
      self.calls[#self.calls + 1] = name
      local answer <const> = self.answers[name]
      if answer then return answer(...) end
    end
    function inside:close() self.closed = self.closed + 1 end
    restore = stand_in.install {
      ["lunalift.timer"] = stand_in.clock().timer,
      ["lunalift.log"] = stand_in.log(),
      ["lunalift.isolate"] = {
        open = function(options)
          opened_with = options
          return inside
        end,
      },
      ["lunalift.script"] = {
        list = function() return { { name = "vendors.ontap" }, { name = "vendors.box" } } end,
      },
    }
  end)

  after_each(function() restore() end)

  local function open(options, hostname)
    local job <const> = fake_job.new(options)
    local arrays <const> = require "lib.arrays"
    local login <const> = arrays.login(job, "box", { hostname = hostname or "box.example" })
    return arrays.of(job, login), job, login
  end

  local function raised(fn, ...)
    local ok <const>, why <const> = pcall(fn, ...)
    assert.is_false(ok)
    assert.is_true(fail.is(why), tostring(why))
    return why
  end

  -- Answers in turn, the last one for ever.
  local function answers(name, list)
    local asked = 0
    inside.answers[name] = function()
      asked = math.min(asked + 1, #list)
      return table.unpack(list[asked], 1, 3)
    end
  end

  local LOST <const> = { nil, { kind = "timeout", message = "no answer", unanswered = true } }

  it("is one of those there are scripts for; the message lists them and the nearest", function()
    local arrays <const> = require "lib.arrays"
    assert.same({ "box", "ontap" }, arrays.names())
    assert.equal("ontap", arrays.check_name "ontap")
    local why <const> = raised(arrays.check_name, "onatp")
    assert.equal("config", why.kind)
    assert.equal("no storage vendor 'onatp': there are box and ontap", why.message)
    assert.equal("did you mean ontap?", why.hint)
    assert.matches("vendors/acmeFlash.lua", raised(arrays.check_name, "acmeFlash").hint, 1, true)
  end)

  it("must be written for this version of the contract", function()
    vendor.api = 2
    assert.equal("unsupported", raised(open).kind)
    vendor.api = nil
    assert.matches("api = nil", raised(open).message)
  end)

  it("reaches its own address and no other", function()
    for address, host in pairs {
      ["box.example"] = "box.example",
      ["https://box.example:8443/api"] = "box.example",
      ["10.0.0.1:443"] = "10.0.0.1",
      ["https://[fe80::1]:443"] = "fe80::1",
    } do
      open(nil, address)
      assert.same({ host }, opened_with.hosts)
      assert.is_true(opened_with.memory_bytes > 0)
    end
  end)

  it("describes itself without being opened", function()
    assert.equal("Box", require("lib.arrays").describe("box").title)
    assert.equal(1, inside.closed)
    assert.same({}, inside.calls)
  end)

  it("logs out and ends its state", function()
    local _, _, login <const> = open()
    login:close()
    assert.same({ "close" }, inside.calls)
    assert.equal(1, inside.closed)
  end)

  it("is asked again while a failure may pass", function()
    answers("info", { { nil, fake_job.refusal "busy" }, { { product = "Box" } } })
    assert.equal("Box", (open()):info().product)
  end)

  it("finds the LUN of a volume that its own driver made, and refuses others by name", function()
    answers("lun_of", { { LUN } })
    local array <const> = open()
    assert.equal(LUN, array:lun_of { name = "pvc-1", driver = "csi2.box.example" })
    local why <const> = raised(array.lun_of, array, { name = "pvc-1", driver = "csi.other.example" })
    assert.equal("config", why.kind)
    assert.equal("volume pvc-1 was made by CSI driver csi.other.example, which is not one of Box", why.message)
    assert.matches("csi.box.example and csi2.box.example", why.hint, 1, true)
    assert.same({ "lun_of" }, inside.calls)
  end)

  it("tells which optional functions it has; without targets it cannot tell them", function()
    local array <const> = open()
    inside.has = { luns_of = true }
    assert.is_true(array:offers "luns_of")
    assert.is_false(array:offers "why_none")
    assert.is_nil(array:targets())
  end)

  it("is told again to remove a host object when the answer was lost, since twice does no harm", function()
    answers("remove_host", { LOST, { "in use" } })
    assert.equal("in use", (open()):remove_host(HOST))
    assert.same({ "remove_host", "remove_host" }, inside.calls)
  end)

  describe("unmaps a LUN", function()
    it("whatever the vendor returns for done", function()
      answers("unmap", { {} })
      assert.is_true((open()):unmap(LUN, HOST))
    end)

    it("once, when the answer was lost and the host sees it no more", function()
      answers("unmap", { LOST })
      answers("maps_of", { { { { id = "h-9", name = "worker" } } } })
      local array <const> = open()
      array:unmap(LUN, HOST)
      assert.same({ "unmap", "maps_of" }, inside.calls)
    end)

    it("again, when the answer was lost and the host sees it still", function()
      answers("unmap", { LOST, {} })
      answers("maps_of", { { { HOST } } })
      local array <const> = open()
      array:unmap(LUN, HOST)
      assert.same({ "unmap", "maps_of", "unmap" }, inside.calls)
    end)
  end)
end)
