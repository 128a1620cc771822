--- Fill a PersistentVolume from a virtual disk: the host asks, the array moves the data. A disk that is a volume itself (RDM, vVol) the
--- array copies alone, where it can.
local checks <const> = require "lib.checks"
local copies <const> = require "lib.copies"
local offload <const> = require "lib.offload"
local recovery <const> = require "lib.recovery"
local volumes <const> = require "lib.volume"
local words <const> = require "lib.words"

---@param job lib.Job
return function(job)
  local request <const> = job.request

  job:step "find the claim, and what an earlier run left"
  local volume <const> = volumes.of_claim(job, job.site:kube(), request.namespace, request.claim)
  job:note { volume = volume }
  job:found("%s; left: %s", volume.name, recovery.hold(job, volume))

  job:step "open both ends"
  local vcenter <const>, array <const> = job.site:vcenter(), job.site:array()
  local info <const> = array:info()
  job:note { vcenter = vcenter.about, array = info }
  job:found("%s %s · %s %s", vcenter.about.name, vcenter.about.version, info.product, info.version)

  job:step "find the disk"
  local vm <const> = request.vm == "" and vcenter:vm_of(request.vmdk) or vcenter:vm(request.vm)
  local disk <const> = vcenter:disk(vm, request.vmdk)
  local host <const> = vcenter:host(vm, request.migration_host)
  job:note { vm = vm, disk = disk, host = host }
  job:found("%s, %s, VM %s on %s", disk.path, words.size(disk.capacity_bytes), vm.name, host.name)

  job:step "find the volume"
  local lun <const> = array:lun_of(volume)
  job:note { lun = lun }
  job:found("%s = %s, %s, %s", volume.name, lun.name, lun.naa or "no NAA until mapped", words.size(lun.size_bytes))

  job:step "decide who moves the data"
  local way <const> = offload.choose(job, array, disk)
  offload.insist(job, way.reason)
  job:note { copied_by = way.by, method = way.by == "array" and disk.kind or nil }
  job:found(way.text)

  job:step "check before anything is changed"
  local found <const> =
    { vcenter = vcenter, array = array, vm = vm, disk = disk, host = host, volume = volume, lun = lun, way = way }
  checks.fatal(job, found)
  local copy <const> = copies.of(job, found)
  job:found(copy:ready())

  job:step "go on from an earlier run"
  local done <const> = recovery.go_on(job, copy)
  if done then return job:was_done(done) end

  copy:show()

  job:step "copy"
  copy:start()
  for progress in copies.follow(copy) do
    job:progress(progress)
  end
  job:found(copies.judge(copy))

  job:step "prove it"
  job:found(copy:prove())
  volumes.warn_of_loss(job, job.site:kube(), volume)
  job:done {
    "naa",
    "bytes",
    "seen_bytes",
    "copy_seconds",
    "task",
    "offloaded",
    "offload_remark",
    "proof",
    "proof_seconds",
  }
end
