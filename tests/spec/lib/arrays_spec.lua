local fail <const> = require "lib.fail"
local fake_job <const> = require "spec.support.fake_job"
local stand_in <const> = require "spec.support.stand_in"

local LUN <const> = { id = "l-1", name = "/vol/v/lun0", naa = "naa.1", size_bytes = 1 }
local HOST <const> = { id = "h-1", name = "xcopy-esx1" }

describe("an array", function()
  local restore, inside, vendor, opened_with

  before_each(function()
    vendor = { api = 1, name = "box", title = "Box", drivers = { "csi.box.example", "csi2.box.example" }, options = {} }
    inside = { calls = {}, answers = {}, closed = 0 }
    function inside:call(entry, name, ...)
      if entry == "describe" then return vendor end
      if entry == "open" then return true end
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
    return require("lib.arrays").open(job, "box", { hostname = hostname or "box.example" }), job
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
    local array <const> = open()
    array:close()
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

  describe("has a host object", function()
    it("that is found, and then nothing is promised", function()
      answers("find_host", { { HOST } })
      local array <const>, job <const> = open()
      local host <const>, made <const> = array:ensure_host({}, "xcopy-esx1")
      assert.equal(HOST, host)
      assert.is_false(made)
      assert.same({}, job.ledger.promises)
    end)

    it("or is promised, then made", function()
      answers("create_host", { { HOST } })
      local array <const>, job <const> = open()
      local host <const>, made <const> = array:ensure_host({ { id = "iqn.a" } }, "xcopy-esx1")
      assert.equal(HOST, host)
      assert.is_true(made)
      assert.same({ "journal array.remove_host", "effect 1 array.create_host xcopy-esx1" }, job.trace)
      assert.same({ name = "xcopy-esx1", initiators = { { id = "iqn.a" } } }, job.ledger.promises[1].args)
    end)

    it("whose promise bears the name that the array gave it", function()
      answers("create_host", { { { id = "h-1", name = "xcopy-es" } } })
      local array <const>, job <const> = open()
      array:ensure_host({}, "xcopy-esx1")
      assert.equal("xcopy-es", job.ledger.promises[1].args.name)
    end)

    it("that was there before and lacked something: then it is not ours to remove", function()
      local completed <const> = { id = "h-1", name = "xcopy-esx1", made = false }
      answers("create_host", { { completed } })
      local array <const>, job <const> = open()
      local host <const>, made <const> = array:ensure_host({}, "xcopy-esx1")
      assert.equal(completed, host)
      assert.is_false(made)
      assert.same({}, job.ledger.promises)
    end)

    it("that is there after an answer was lost: it may be ours, and the promise stands", function()
      answers("create_host", { LOST, { { id = "h-1", name = "xcopy-esx1", made = false } } })
      local array <const>, job <const> = open()
      local _host <const>, made <const> = array:ensure_host({}, "xcopy-esx1")
      assert.is_true(made)
      assert.equal(1, #job.ledger.promises)
    end)

    it("that is found when the answer to its making was lost", function()
      answers("find_host", { {}, { HOST } })
      answers("create_host", { LOST })
      local array <const> = open()
      assert.equal(HOST, (array:ensure_host({}, "xcopy-esx1")))
      assert.same({ "find_host", "create_host", "find_host" }, inside.calls)
    end)

    it("that is removed once, though the answer was lost", function()
      answers("remove_host", { LOST })
      answers("find_host", { {} })
      local array <const> = open()
      array:remove_host(HOST)
      assert.same({ "remove_host", "find_host" }, inside.calls)
    end)
  end)

  describe("maps a LUN", function()
    it("promised first, and returns what mapping made known", function()
      answers("maps_of", { { {} } })
      answers("map", { { "made", "host", { id = "l-1", name = "lun0", naa = "naa.1", number = 7 } } })
      local array <const>, job <const> = open()
      local lun <const>, outcome <const> = array:map(LUN, HOST)
      assert.equal("naa.1", lun.naa)
      assert.equal("made", outcome)
      assert.same({ "journal array.unmap", "effect 1 array.map /vol/v/lun0 to xcopy-esx1" }, job.trace)
      assert.same({ lun = LUN, host = HOST }, job.ledger.promises[1].args)
    end)

    it("that the host sees already, and then promises nothing", function()
      answers("maps_of", { { { { id = "h-9", name = "worker" }, { id = "h-1", name = "xcopy-esx1" } } } })
      answers("map", { { "existing", "host" } })
      local array <const>, job <const> = open()
      local lun <const>, outcome <const> = array:map(LUN, HOST)
      assert.equal(LUN, lun)
      assert.equal("existing", outcome)
      assert.same({ "effect 1 array.map /vol/v/lun0 to xcopy-esx1" }, job.trace)
    end)

    it("and withdraws the promise when the array says that it was there", function()
      answers("maps_of", { { {} } })
      answers("map", { { "existing", "host" } })
      local array <const>, job <const> = open()
      array:map(LUN, HOST)
      assert.same({}, job.ledger.promises)
      assert.equal("journal", job.trace[#job.trace])
    end)

    it("and keeps the promise when it exists because the first answer was lost", function()
      answers("maps_of", { { {} } })
      answers("map", { LOST, { "existing", "host" } })
      local array <const>, job <const> = open()
      local _, outcome <const> = array:map(LUN, HOST)
      assert.equal("made", outcome)
      assert.equal(1, #job.ledger.promises)
    end)

    it("and refuses to go on when even then nobody knows its device; what was mapped stays promised", function()
      answers("maps_of", { { {} } })
      answers("map", { { "made", "host", { id = "l-1", name = "lun0" } } })
      local array <const>, job <const> = open()
      local ok <const>, why <const> = pcall(array.map, array, { id = "l-1", name = "lun0" }, HOST)
      assert.is_false(ok)
      assert.matches("does not tell which device LUN lun0 is", why.message)
      assert.equal(1, #job.ledger.promises)
    end)

    it("in words only on a dry run", function()
      local array <const>, job <const> = open { dry_run = true }
      assert.equal(LUN, (array:map(LUN, HOST)))
      assert.same({ "would 1 array.map /vol/v/lun0 to xcopy-esx1" }, job.trace)
      assert.same({}, inside.calls)
      assert.equal(1, #job.ledger.promises)
    end)

    it("not, and raises what the array said", function()
      answers("maps_of", { { {} } })
      answers("map", { { nil, fake_job.refusal "conflict" } })
      local array <const>, job <const> = open()
      assert.equal("conflict", raised(array.map, array, LUN, HOST).kind)
      assert.equal(1, #job.ledger.promises)
    end)

    describe("although its host object was removed since it was found:", function()
      local HELD <const> = { id = "h-1", name = "xcopy-esx1", initiators = { { id = "iqn.a" } } }

      it("that is made anew, once", function()
        answers("maps_of", { { {} } })
        answers("map", { { nil, fake_job.refusal "not_found" }, { "made", "host" } })
        answers("create_host", { { { id = "h-2", name = "xcopy-esx1" } } })
        local array <const>, job <const> = open()
        local _, outcome <const> = array:map(LUN, HELD)
        assert.equal("made", outcome)
        local last <const> = job.ledger.promises[#job.ledger.promises]
        assert.same({ "array.unmap", "h-2" }, { last.undo, last.args.host.id })
        assert.equal("array.remove_host", job.ledger.promises[#job.ledger.promises - 1].undo)
      end)

      it("but not when it is there and something else is missing, or a second time", function()
        answers("maps_of", { { {} } })
        answers("map", { { nil, fake_job.refusal "not_found" } })
        answers("find_host", { { HELD } })
        local array <const> = open()
        assert.equal("not_found", raised(array.map, array, LUN, HELD).kind)
        assert.same({ "maps_of", "map", "find_host" }, inside.calls)
        inside.answers.find_host = nil
        answers("create_host", { { HELD } })
        assert.equal("not_found", raised(array.map, array, LUN, HELD).kind)
      end)
    end)
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
