--- Whole runs for every kind of disk: who copies it, what is said of that, and what is left.
local fs <const> = require "lunalift.fs"
local json <const> = require "lunalift.json"
local labs <const> = require "support.lab"
local scenario <const> = require "lab.scenario"

local SUPPORT <const> = (os.getenv "LUNALIFT_SOURCE" or ".") .. "/tests/support/copier"

local STORES <const> = {
  { moref = "datastore-15", name = "ds 1", size_mib = 64 },
  { moref = "datastore-16", name = "filer & co", size_mib = 64, type = "NFS" },
  { moref = "datastore-17", name = "vsanDatastore", size_mib = 64, type = "vsan" },
  { moref = "datastore-18", name = "vvols", size_mib = 64, type = "VVOL" },
}
local MACHINES <const> = {
  { moref = "vm-60", disk = { datastore = "filer & co", file = "a/a.vmdk" } },
  { moref = "vm-61", disk = { datastore = "vsanDatastore", file = "b/b.vmdk" } },
  { moref = "vm-62", disk = { datastore = "ds 1", file = "c/c.vmdk", rdm = true } },
  { moref = "vm-63", disk = { datastore = "vvols", file = "d/d.vmdk", vvol = true } },
  { moref = "vm-64", disk = { datastore = "ds 1", file = "e/e.vmdk", snapshot = true }, power = "poweredOn" },
  { moref = "vm-65", disk = { datastore = "ds 1", file = "f/f.vmdk", rdm = true }, power = "poweredOn" },
}

local function site()
  local datacenter <const> = scenario.merge(scenario.read().datacenters[1], {})
  datacenter.datastores, datacenter.vms = json.array {}, json.array {}
  for i, store in ipairs(STORES) do
    datacenter.datastores[i] =
      scenario.merge(store, { uuid = ("66aa0f%02x-5d2c3b1e-8a17-005056a10015"):format(15 + i) })
  end
  for i, machine in ipairs(MACHINES) do
    local disk <const> = scenario.merge(machine.disk, { size_mib = 4 })
    local vm <const> = { moref = machine.moref, name = machine.moref, host = "host-21", power = machine.power }
    vm.disks = json.array { disk }
    datacenter.vms[i] = vm
  end
  return { datacenters = json.array { datacenter } }
end

describe("populate, by the kind of disk,", function()
  local lab, before

  setup(function() lab = labs.start(site()) end)
  teardown(function() lab:stop() end)

  before_each(function() before = lab:snapshot() end)

  after_each(function()
    lab:host("vmkfstools", {})
    assert(lab.control:post("/copier", { json = {} }))
    assert.same(before, lab:snapshot())
  end)

  local function claim_of(vm) return lab:claim(vm .. "-disk-1") end

  -- The vendor that can copy inside the array.
  local function with_copier(options)
    options.flags = options.flags or {}
    options.flags.scripts = SUPPORT
    options.flags["storage-vendor-product"] = "copier"
    options.env = options.env or {}
    options.env.LAB_COPIER = lab.site.copier.url
    return options
  end

  local function run(vm, options)
    options = options or {}
    options.claim = vm .. "-disk-1"
    options.flags = options.flags or {}
    options.flags.receipt = lab.dir .. "/receipt.json"
    local claim <const> = claim_of(vm)
    if not options.keep then assert(fs.fill(claim.lun_path, { size = claim.size_bytes, seed = 9 })) end
    local ended <const> = lab:populate(options)
    local text <const> = fs.read(lab.dir .. "/receipt.json")
    ended.receipt = text and assert(json.decode(text))
    return ended
  end

  local function is_copied(vm)
    local claim <const> = claim_of(vm)
    return labs.sha256(lab:source_of(claim)) == labs.sha256(claim.lun_path)
  end

  local function assert_copied(vm, ended)
    assert.equal(0, ended.code, ended.err .. ended.out)
    assert.is_true(is_copied(vm))
  end

  describe("from NFS and vSAN", function()
    local WHY <const> =
      { ["vm-60"] = "datastore filer & co is on NFS", ["vm-61"] = "datastore vsanDatastore is on vSAN" }

    it("lets the host copy, and says why the array does not", function()
      for vm, why in pairs(WHY) do
        local ended <const> = run(vm)
        assert_copied(vm, ended)
        assert.matches("decide who moves the data: the host, not offloaded: " .. why, ended.out, 1, true)
        assert.matches("/s, not offloaded: " .. why, ended.out, 1, true)
        assert.is_false(ended.receipt.copy.offloaded)
        assert.equal(why, ended.receipt.copy.offload_remark)
      end
    end)

    it("keeps the descriptor on a VMFS meanwhile", function()
      lab:host("vmkfstools", { hang_at = 40 })
      local running <const> = lab:start_populate { claim = "vm-60-disk-1" }
      local folder <const> = lab.site.dir .. "/datastores/"
      local names
      labs.wait_until(20, "a descriptor", function()
        names = table.concat(assert(fs.list(folder .. "datastore-15")), "\n")
        return names:find "%-rdm%.vmdk"
      end)
      assert.matches("lunalift%-rdmdisk%-[%x-]+%.vmdk", names)
      for _, name in ipairs(assert(fs.list(folder .. "datastore-16/a"))) do
        assert.not_matches("rdm", name)
      end
      running:kill "TERM"
      assert.equal(4, running:wait().code)
    end)

    it("refuses before anything is changed where the host has no VMFS", function()
      local kind <const> = lab.site.dir .. "/datastores/datastore-15/.kind"
      assert(fs.write(kind, "vfat-0.04\n"))
      local mark <const> = lab:mark()
      local ended <const> = run "vm-60"
      fs.remove(kind)
      assert.equal(2, ended.code)
      assert.matches(
        "error: no VMFS datastore on host esx%-01.lab.example for the RDM descriptor of %[filer & co%]",
        ended.err
      )
      assert.matches("\n  fix   mount a VMFS datastore", ended.err, 1, true)
      for _, request in ipairs(lab:requests_since(mark, "ontap")) do
        assert.is_false(request.effect, request.method .. " " .. request.path)
      end
    end)

    it("refuses before anything is changed where offload is required", function()
      local mark <const> = lab:mark()
      local ended <const> = run("vm-60", { words = { "--require-offload" } })
      assert.equal(2, ended.code)
      assert.matches("error: not offloaded: " .. WHY["vm-60"], ended.err, 1, true)
      assert.matches("\n  fix   .*%-%-require%-offload", ended.err)
      for _, request in ipairs(lab:requests_since(mark)) do
        assert.is_false(request.effect, request.method .. " " .. request.path)
      end
    end)
  end)

  describe("of RDMs and vVols, with a vendor that cannot copy them", function()
    it("lets the host copy, and says why", function()
      lab:host("vmkfstools", { rate = 0, xcopy = 0 })
      for vm, kind in pairs { ["vm-62"] = "RDM", ["vm-63"] = "vVol" } do
        local why <const> = ("the script of NetApp ONTAP 9 has no copy of %s disks inside the array"):format(kind)
        local ended <const> = run(vm)
        assert_copied(vm, ended)
        assert.matches("not offloaded: " .. why, ended.out, 1, true)
        assert.equal(why, ended.receipt.copy.offload_remark)
      end
    end)

    it("tells offload that happened all the same", function()
      local ended <const> = run "vm-62"
      assert_copied("vm-62", ended)
      assert.is_true(ended.receipt.copy.offloaded)
    end)
  end)

  describe("of RDMs and vVols, with a vendor that can,", function()
    it("leaves it to the array, and touches no host", function()
      for vm in pairs { ["vm-62"] = true, ["vm-63"] = true } do
        local mark <const> = lab:mark()
        local ended <const> = run(vm, with_copier { words = { "--require-offload" } })
        assert_copied(vm, ended)
        assert.matches("copy: 4 MiB, [^\n]*, offloaded", ended.out)
        assert.matches("not verified: the array copied by itself", ended.out, 1, true)
        assert.is_true(ended.receipt.copy.offloaded)
        for _, request in ipairs(lab:requests_since(mark, "vcenter")) do
          assert.is_false(request.effect, request.method .. " " .. (request.target or ""))
        end
        assert.same({}, lab:state().copier.copies)
      end
    end)

    it("does as DISABLE_RDM_METHOD and DISABLE_VVOL_METHOD say", function()
      for vm, name in pairs { ["vm-62"] = "DISABLE_RDM_METHOD", ["vm-63"] = "DISABLE_VVOL_METHOD" } do
        local ended <const> = run(vm, with_copier { env = { [name] = "true" } })
        assert_copied(vm, ended)
        assert.matches("not offloaded: " .. name .. " is set", ended.out, 1, true)
      end
    end)

    it("does not copy a disk that is being written to", function()
      local ended <const> = run("vm-65", with_copier {})
      assert.equal(3, ended.code)
      assert.matches("VM vm-65 is poweredOn and writes to [ds 1] f/f.vmdk", ended.err, 1, true)
    end)

    it("tells a dry run's effects", function()
      local ended <const> = run("vm-62", with_copier { words = { "--dry-run" } })
      assert.equal(0, ended.code, ended.err)
      assert.matches("would do array.copy_start raw_", ended.out, 1, true)
      assert.matches("would do undo array.copy_stop", ended.out, 1, true)
      assert.same({}, lab:state().copier.copies)
    end)

    it("stops the array's copy when cancelled", function()
      assert(lab.control:post("/copier", { json = { hang_at = 50 } }))
      local running <const> = lab:start_populate(with_copier { claim = "vm-62-disk-1" })
      labs.wait_until(20, "a copy", function() return next(lab:state().copier.copies) end)
      running:kill "TERM"
      assert.equal(4, running:wait().code)
      assert.same({}, lab:state().copier.copies)
    end)

    it("gives up the array's copy when it stands still, or fails", function()
      assert(lab.control:post("/copier", { json = { hang_at = 50 } }))
      local still <const> = run("vm-62", with_copier { words = { "--stall-timeout=1" } })
      assert.equal(3, still.code)
      assert.matches("error: the copy inside 127.0.0.1:%d+ stands still at 50 %% for 1 s", still.err)
      assert(lab.control:post("/copier", { json = { fail_at = 50 } }))
      local failed <const> = run("vm-62", with_copier {})
      assert.equal(1, failed.code)
      assert.matches("error: the copy inside .* failed: it does not say why", failed.err)
      assert.same({}, lab:state().copier.copies)
    end)

    it("adopts the array's copy of a run that died", function()
      local starts <const> = lab:state().copier.starts
      assert(lab.control:post("/copier", { json = { hang_at = 50 } }))
      local running <const> = lab:start_populate(with_copier { claim = "vm-62-disk-1" })
      labs.wait_until(20, "a copy at 50 %", function()
        local _, copy <const> = next(lab:state().copier.copies)
        return copy and copy.percent == 50
      end)
      running:kill "KILL"
      running:wait()
      assert(lab.control:post "/sessions/expire")
      assert(lab.control:post("/copier", { json = {} }))
      local ended <const> = run("vm-62", with_copier { keep = true })
      assert_copied("vm-62", ended)
      assert.matches("go on from an earlier run: clone %x+%-[%x-]+ goes on", ended.out)
      assert.equal(starts + 1, lab:state().copier.starts)
    end)

    it("starts the array's copy once, though the answer to the start is lost", function()
      local starts <const> = lab:state().copier.starts
      lab:faults { { service = "copier", match = { method = "POST" }, action = "reset_after" } }
      local ended <const> = run("vm-62", with_copier {})
      lab:faults {}
      assert_copied("vm-62", ended)
      assert.equal(starts + 1, lab:state().copier.starts)
    end)
  end)

  it("goes through the adapters of the source where the array tells no ports", function()
    local ended <const> = run("vm-64", with_copier { env = { LAB_NO_TARGETS = "true" }, words = { "--dry-run" } })
    assert.equal(0, ended.code, ended.err)
    assert.matches("through vmhba2 and vmhba64", ended.out, 1, true)
  end)

  it("scans those adapters alone whose ports the array's host object holds: here those of FC", function()
    local mark <const> = lab:mark()
    local ended <const> = run "vm-60"
    assert.equal(0, ended.code, ended.err)
    assert.matches("through vmhba2 and vmhba64", ended.out, 1, true)
    local scanned <const> = {}
    for _, request in ipairs(lab:requests_since(mark, "esxi")) do
      if request.method == "storage.core.adapter.rescan" then scanned[#scanned + 1] = request.target end
    end
    assert.same({ "<adapter>vmhba2</adapter>", "<adapter>vmhba2</adapter>" }, scanned)
  end)

  describe("of a running VM with a snapshot", function()
    it("copies the disk below the snapshot, without a warning", function()
      local claim <const> = claim_of "vm-64"
      local base <const> = "[ds 1] e/e.vmdk"
      local ended <const> = run("vm-64", { flags = { ["source-vmdk"] = base } })
      assert.equal(0, ended.code, ended.err .. ended.out)
      assert.not_matches("warning", ended.out)
      local flat <const> = lab:source_of(claim):gsub("%-000001%-delta", "-flat")
      assert.equal(labs.sha256(flat), labs.sha256(claim.lun_path))
    end)

    it("says that the disk above it is in use", function()
      fs.write(lab:source_of(claim_of "vm-64") .. ".lck", "")
      local ended <const> = run "vm-64"
      fs.remove(lab:source_of(claim_of "vm-64") .. ".lck")
      assert.equal(1, ended.code)
      assert.matches("warning: VM vm-64 is poweredOn", ended.out, 1, true)
      assert.matches("Failed to lock the file", ended.err, 1, true)
    end)
  end)

  describe("when a clone stands still", function()
    it("gives it up in time, its writer first", function()
      lab:host("vmkfstools", { hang_at = 40 })
      local mark <const> = lab:mark()
      local ended <const> = run("vm-64", { env = { LUNALIFT_STALL_SECONDS = "1" } })
      assert.equal(3, ended.code, ended.out)
      assert.matches("error: the clone on esx%-01.lab.example stands still at %d+ %% for %d s", ended.err)
      assert.matches("left  nothing: all that was changed is put back", ended.err, 1, true)
      local order <const> = {}
      for _, request in ipairs(lab:requests_since(mark)) do
        local target <const> = request.target or ""
        if target:find "taskKill" or target:find "device.set" then order[#order + 1] = target end
        if request.service == "ontap" and request.method == "DELETE" then order[#order + 1] = "unmap" end
      end
      assert.same({ "vmkfstools.taskKill", "storage.core.device.set", "unmap" }, { order[1], order[2], order[3] })
    end)
  end)

  it("starts no copy where offload was required and the device supports none", function()
    lab:host("condition", { clone_status = "unsupported" })
    local ended <const> = run("vm-64", { words = { "--require-offload" } })
    lab:host("condition", { clone_status = "supported" })
    assert.equal(2, ended.code, ended.err)
    assert.matches("error: not offloaded: the device does not support VAAI clone", ended.err, 1, true)
  end)

  it("fails where offload was required and the counters show none", function()
    lab:host("vmkfstools", { rate = 0, xcopy = 0 })
    local ended <const> = run("vm-64", { words = { "--require-offload" } })
    assert.equal(2, ended.code)
    assert.matches("error: not offloaded: the host sent no XCOPY", ended.err, 1, true)
  end)
end)
