local fs <const> = require "lunalift.fs"
local http <const> = require "lunalift.http"
local json <const> = require "lunalift.json"
local kube <const> = require "lunalift.kube"
local process <const> = require "lunalift.process"
local timer <const> = require "lunalift.timer"

local MIB <const> = 1048576

local function wait_for(path)
  for _ = 1, 600 do
    local text <const> = fs.read(path)
    if text then return text end
    timer.sleep(0.05)
  end
  error(path .. " did not appear")
end

describe("the evidence of a copy", function()
  local dir, lab, site, control

  setup(function()
    dir = process.run({ argv = { "mktemp", "-d" } }).out:match "%S+"
    lab = assert(process.start { argv = { os.getenv "LUNALIFT_BIN", "lab", "--dir", dir .. "/site" } })
    site = assert(json.decode(wait_for(dir .. "/site/site.json")))
    control = http.client { base = site.control.url }
  end)

  teardown(function()
    if lab then
      lab:kill "TERM"
      lab:wait()
    end
    process.run { argv = { "rm", "-rf", dir } }
  end)

  local function vmkfstools(host, settings)
    assert(control:post(("/host/%s/vmkfstools"):format(host), { json = settings }))
  end

  after_each(function()
    for _, host in ipairs(site.hosts) do
      vmkfstools(host.moref, {})
    end
  end)

  local function claim(name)
    for _, pvc in ipairs(site.pvcs) do
      if pvc.name == name then
        for _, vm in ipairs(site.vms) do
          for _, disk in ipairs(vm.disks) do
            if disk.vmdk == pvc.vmdk then return pvc, vm, disk end
          end
        end
      end
    end
  end

  --- Fill a claim; what the program said and its receipt.
  local function populate(name, ...)
    local pvc <const>, vm <const>, disk <const> = claim(name)
    local receipt <const> = dir .. "/receipt.json"
    fs.remove(receipt)
    local argv <const> = {
      os.getenv "LUNALIFT_BIN",
      "populate",
      "--source-vm-id=" .. vm.moref,
      "--source-vmdk=" .. pvc.vmdk,
      "--owner-name=" .. pvc.name,
      "--target-namespace=" .. pvc.namespace,
      "--storage-vendor-product=ontap",
      "--storage-hostname=" .. site.arrays[1].host,
      "--vsphere-hostname=" .. site.vcenter.host,
      "--ca-file=" .. site.ca_file,
      "--kubeconfig=" .. site.kube.kubeconfig,
      "--journal=file:" .. dir .. "/journal.json",
      "--receipt=" .. receipt,
      ...,
    }
    local ended <const> = assert(process.run {
      argv = argv,
      env = {
        GOVMOMI_USERNAME = site.vcenter.username,
        GOVMOMI_PASSWORD = site.vcenter.password,
        STORAGE_USERNAME = site.arrays[1].username,
        STORAGE_PASSWORD = site.arrays[1].password,
        ONTAP_SVM = site.arrays[1].svm,
        LUNALIFT_SOURCE = os.getenv "LUNALIFT_SOURCE",
      },
    })
    local text <const> = fs.read(receipt)
    for _, secret in ipairs { site.vcenter.password, site.arrays[1].password } do
      assert.is_nil(((text or "") .. ended.out .. ended.err):find(secret, 1, true))
    end
    return {
      code = ended.code,
      out = ended.out,
      err = ended.err,
      receipt = text and json.decode(text),
      disk = disk,
      pvc = pvc,
    }
  end

  local function is_equal(run)
    local same = true
    for offset = 0, run.disk.size_bytes - 1, MIB do
      same = same and fs.pread(run.disk.flat_path, offset, MIB) == fs.pread(run.pvc.lun_path, offset, MIB)
    end
    return same
  end

  local function maps_of(naa)
    for _, lun in ipairs(control:get("/state").json.luns) do
      if lun.naa == naa then return lun.maps end
    end
  end

  local function assert_caught(run, at)
    assert.equal(1, run.code, run.out .. run.err)
    assert.matches(("differs from the disk within .- from byte %d"):format(at), run.err)
    assert.matches("do not use the volume", run.err)
    assert.same({ "failed", "failed" }, { run.receipt.result.status, run.receipt.result.failure.kind })
    assert.is_false(run.receipt.verification.equal)
    assert.equal(at, run.receipt.verification.first_difference)
    assert.same({}, maps_of(run.pvc.naa))
  end

  it("is equal digests of samples, in a receipt with all that happened", function()
    local run <const> = populate "vm-50-disk-1"
    assert.equal(0, run.code, run.out .. run.err)
    assert.is_true(is_equal(run))
    local receipt <const> = run.receipt
    assert.same({
      algorithm = "sha256",
      bytes = 16 * MIB,
      equal = true,
      extents = 16,
      mode = "sampled",
      seed = receipt.job,
      verified = true,
    }, receipt.verification)
    assert.same({ 1, "done" }, { receipt.v, receipt.result.status })
    assert.same({ run.pvc.uid, run.pvc.naa }, { receipt.claim.uid, receipt.lun.naa })
    assert.is_true(receipt.copy.offloaded)
    assert.is_true(receipt.copy.clone_write_ops > 0)
    assert.same({ "flows.populate", "vendors.ontap" }, { receipt.scripts[1].name, receipt.scripts[2].name })
    assert.matches("receipt: " .. dir .. "/receipt.json", run.out, 1, true)
  end)

  it("is every byte where that is asked for", function()
    local run <const> = populate("vm-57-disk-2", "--verify=full")
    assert.equal(0, run.code, run.out .. run.err)
    assert.same(
      { "full", 32 * MIB, true },
      { run.receipt.verification.mode, run.receipt.verification.bytes, is_equal(run) }
    )
  end)

  it("says that the host copied by itself, and why if that is known", function()
    vmkfstools("host-48", { xcopy = 0 })
    local run <const> = populate "vm-50-disk-1"
    assert.equal(0, run.code, run.err)
    assert.is_false(run.receipt.copy.offloaded)
    assert.matches("not offloaded: the host sent no XCOPY", run.out)
  end)

  it("catches one wrong sector of a copy that vmkfstools calls good, by samples", function()
    vmkfstools("host-48", { corrupt_at = 5 * MIB + 512 * 9 })
    assert_caught(populate "vm-50-disk-1", 5 * MIB)
  end)

  it("catches it by all bytes too", function()
    vmkfstools("host-21", { corrupt_at = 31 * MIB })
    assert_caught(populate("vm-57-disk-2", "--verify=full"), 16 * MIB)
  end)

  it("catches a success without a copy, by its bytes", function()
    vmkfstools("host-22", { silent = 1 })
    assert_caught(populate "vm-58-disk-1", 0)
  end)

  it("catches a success without a copy where nothing is compared, by its progress", function()
    vmkfstools("host-22", { silent = 1 })
    local run <const> = populate("vm-58-disk-1", "--verify=none")
    assert.equal(1, run.code)
    assert.matches("incomplete evidence: the clone ended without a failure at 0 %%", run.err)
    assert.same({ false, "as asked" }, { run.receipt.verification.verified, run.receipt.verification.reason })
    assert.same({}, maps_of(run.pvc.naa))
  end)

  it("is said to be missing where the disk is part of a snapshot chain", function()
    local run <const> = populate "vm-59-disk-1"
    assert.equal(0, run.code, run.err)
    assert.is_true(is_equal(run))
    assert.matches("not verified: the host cannot read this disk as one file", run.out)
  end)

  it("is said to be missing where upstream's wrapper cannot read back", function()
    assert(control:post("/host/host-48/wrapper", { json = { variant = "upstream" } }))
    local run <const> = populate "vm-50-disk-1"
    assert(control:post("/host/host-48/wrapper", { json = { variant = "lunalift" } }))
    assert.equal(0, run.code, run.out .. run.err)
    assert.is_true(is_equal(run))
    assert.matches("not verified: this host's wrapper cannot read back", run.out)
    assert.is_false(run.receipt.verification.verified)
  end)

  it("is not waited for where the claim's volume is the device of the VM's own datastore", function()
    local pvc <const> = claim "vm-50-disk-1"
    local path <const> = "/api/v1/persistentvolumes/" .. pvc.pv
    local api <const> = assert(kube.open { kubeconfig = site.kube.kubeconfig })
    local old <const> = assert(api:get(path)).spec.csi.volumeAttributes.internalName
    local function point_to(volume)
      assert(api:patch(path, { spec = { csi = { volumeAttributes = { internalName = volume } } } }))
    end
    point_to "ds_datastore_45"
    local run <const> = populate "vm-50-disk-1"
    point_to(old)
    assert.equal(1, run.code)
    assert.matches("is the device that holds datastore ds 1 of VM plain", run.err)
    assert.equal(0, run.receipt.effects)
  end)
end)
