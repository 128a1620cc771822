local fail <const> = require "lib.fail"
local fake_job <const> = require "spec.support.fake_job"
local offload <const> = require "lib.offload"

local NAA <const> = "600a098038304437415d4b6a59684475"

describe("who moves the data", function()
  local volumes, functions, array

  before_each(function()
    volumes, functions = {}, { find_lun = true, copy_start = true }
    array = { where = "array.example", vendor = { title = "Flash" } }
    function array.offers(_, name) return functions[name] or false end
    function array.find_lun(_, id) return volumes[id.naa or id.vvol] end
  end)

  local function choose(disk, request) return offload.choose(fake_job.new { request = request }, array, disk) end

  local function on(type, extents)
    return { kind = "vmdk", datastore = { name = "ds", type = type, extents = extents or {} } }
  end

  local function rdm() return { kind = "rdm", device = "vml.02000000 00" .. NAA .. "4c554e20432d" } end

  it("is the host's to ask of the array, for files on VMFS", function()
    functions = {}
    local way <const> = choose(on("VMFS", { "naa.1" }))
    assert.equal("host", way.by)
    assert.is_nil(way.reason)
    assert.equal("the host asks, the array moves the data", way.text)
  end)

  it("is the host where no array lies below the datastore", function()
    for type, what in pairs { NFS = "NFS", NFS41 = "NFS", vsan = "vSAN", vsanD = "vSAN" } do
      local way <const> = choose(on(type))
      assert.equal("host", way.by)
      assert.equal("datastore ds is on " .. what, way.reason)
      assert.equal("the host, not offloaded: datastore ds is on " .. what, way.text)
    end
  end)

  it("is the host where another array does, if the vendor can tell", function()
    volumes["naa.1"] = { name = "v1" }
    assert.is_nil(choose(on("VMFS", { "naa.1" })).reason)
    assert.equal(
      "datastore ds lies on naa.2, which is no volume of array.example",
      choose(on("VMFS", { "naa.1", "naa.2" })).reason
    )
  end)

  it("is the array, for RDMs and vVols that are its own", function()
    volumes["naa." .. NAA], volumes["rfc4122.1"] = { name = "raw" }, { name = "vv" }
    local disk <const> = rdm()
    disk.device = disk.device:gsub(" ", "")
    local way <const> = choose(disk)
    assert.equal("array", way.by)
    assert.equal("raw", way.source.name)
    assert.equal("array.example by itself, from its volume raw", way.text)
    assert.equal("vv", choose({ kind = "vvol", vvol = "rfc4122.1" }).source.name)
  end)

  it("is the host for an RDM's delta, for volumes of others, when told so, and when the vendor cannot", function()
    volumes["naa." .. NAA] = { name = "raw" }
    local disk <const> = { kind = "rdm", device = "naa." .. NAA, is_delta = true }
    assert.equal("what was written since the snapshot is no part of the RDM", choose(disk).reason)
    assert.equal("DISABLE_RDM_METHOD is set", choose(disk, { disabled = { rdm = true } }).reason)
    assert.equal("vVol rfc4122.2 is no volume of array.example", choose({ kind = "vvol", vvol = "rfc4122.2" }).reason)
    functions.copy_start = nil
    local way <const> = choose { kind = "vvol", vvol = "rfc4122.2" }
    assert.equal("the script of Flash has no copy of vVol disks inside the array", way.reason)
    assert.equal("host", way.by)
  end)

  it("must be the array where that is required", function()
    local job <const> = fake_job.new { request = { require_offload = true } }
    offload.insist(job, nil)
    offload.insist(fake_job.new(), "a reason")
    local ok <const>, why <const> = pcall(offload.insist, job, "a reason")
    assert.is_false(ok)
    assert.is_true(fail.is(why, "unsupported"))
    assert.equal("not offloaded: a reason", why.message)
    assert.matches("--require-offload", why.hint, 1, true)
  end)

  describe("afterwards", function()
    local setting

    local function judge(last, facts, way)
      local host <const> = { name = "esx", setting = function() return setting end }
      return { offload.judge(last, facts or {}, host, way or {}) }
    end

    before_each(function() setting = 1 end)

    it("goes by the counters' difference where it is known", function()
      assert.same({ true }, judge { offloaded = true, clone_write_ops = 3, failed_clone_ops = 0 })
      assert.is_false(judge({ offloaded = true, clone_write_ops = 0 })[1])
      assert.same({ true }, judge { offloaded = true })
      assert.same({}, judge {})
      assert.same({ true }, judge({ clone_write_ops = 3 }, {}, { reason = "not expected" }))
    end)

    it("tells why not, as far as that is known", function()
      assert.same({ false }, judge { offloaded = false })
      assert.matches("sent no XCOPY", judge({ clone_write_ops = 0 })[2])
      assert.equal("2 XCOPY commands failed", judge({ clone_write_ops = 0, failed_clone_ops = 2 })[2])
      assert.same({ true, "2 XCOPY commands failed" }, judge { clone_write_ops = 9, failed_clone_ops = 2 })
      assert.equal("the device does not support VAAI clone", judge({ clone_write_ops = 0 }, { vaaiClone = false })[2])
      assert.equal("it is on NFS", judge({ clone_write_ops = 0 }, {}, { reason = "it is on NFS" })[2])
      setting = 0
      assert.equal("DataMover.HardwareAcceleratedMove is off on esx", judge({ clone_write_ops = 0 })[2])
    end)
  end)
end)
