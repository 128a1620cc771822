--- Fill a PersistentVolume from a VMDK: the host asks, the array moves the data.
local evidence <const> = require "lib.evidence"
local fail <const> = require "lib.fail"
local recovery <const> = require "lib.recovery"
local timer <const> = require "lunalift.timer"
local volumes <const> = require "lib.volume"
local words <const> = require "lib.words"

---@param job lib.Job
return function(job)
  local request <const> = job.request

  job:step "open both ends"
  local vcenter <const> = job.site:vcenter()
  local array <const> = job.site:array()
  local info <const> = array:info()
  job:note { vcenter = vcenter.about, array = info }
  job:found("%s %s · %s %s", vcenter.about.name, vcenter.about.version, info.product, info.version)

  job:step "find the disk"
  local vm <const> = vcenter:vm(request.vm)
  local disk <const> = vcenter:disk(vm, request.vmdk)
  local host <const> = vcenter:host(vm, request.migration_host)
  job:note { vm = vm, disk = disk, host = host }
  job:found("%s, %s, VM %s on %s", disk.path, words.size(disk.capacity_bytes), vm.name, host.name)

  job:step "find the volume"
  local volume <const> = volumes.of_claim(job, job.site:kube(), request.namespace, request.claim)
  local lun <const> = array:lun_of(volume)
  job:note { volume = volume, lun = lun }
  job:found("%s = %s, %s, %s", volume.name, lun.name, lun.naa or "no NAA until mapped", words.size(lun.size_bytes))

  job:step "check before anything is changed"
  host:check_usable()
  evidence.check_apart(vm, lun.naa)
  if vm.power ~= "poweredOff" then
    job:warn("VM %s is %s: a disk it has open cannot be copied, only one below a snapshot", vm.name, vm.power)
  end
  local wrapper <const> = host:wrapper()
  if lun.size_bytes < disk.capacity_bytes then
    local why <const> = fail.new(
      "no_space",
      "LUN %s is smaller (%d bytes) than the disk (%d bytes)",
      lun.name,
      lun.size_bytes,
      disk.capacity_bytes
    )
    error(fail.hint(why, "make the claim at least %d bytes large", disk.capacity_bytes))
  end
  local initiators <const> = host:initiators_reaching(array:targets())
  local adapters <const> = {}
  for _, port in ipairs(initiators) do
    adapters[#adapters + 1] = port.adapter
  end
  job:note { wrapper = wrapper.version, protocol = initiators[1].kind }
  job:found("wrapper %s, through %s", wrapper.version, words.list(adapters))

  job:step "look for an earlier run"
  local subject <const> = {
    claim = volume.claim.uid,
    claim_name = ("%s/%s"):format(volume.claim.namespace, volume.claim.name),
    vm = vm.ref.id,
    vmdk = disk.path,
    lun = lun.id,
    naa = lun.naa,
    host = host.ref.id,
    array = array.where,
    vcenter = vcenter.where,
  }
  local earlier <const> = recovery.resume(job, volume, subject)
  if earlier and earlier.done then
    job:note(earlier.done)
    return
  end
  local naa = earlier and earlier.naa

  if not earlier then
    job:step(("show the volume to %s"):format(host.name))
    local peer <const>, made <const> = array:ensure_host(initiators, "xcopy-" .. host.id)
    job:promise("host.drop_paths", { host = host.ref, adapters = adapters }, "dead paths on " .. host.name)
    local mapped <const>, outcome <const> = array:map(lun, peer)
    naa = mapped.naa
    evidence.check_apart(vm, naa)
    job:found("%s (%s), mapping %s", peer.name, made and "made" or "found", outcome)

    job:step "let the host discover it"
    job:promise("host.detach", { host = host.ref, naa = naa }, ("device %s is on at %s"):format(naa, host.name))
    local device <const> = host:discover(mapped, { within_s = request.discover_within_s, adapters = adapters })
    host:check_device(device, mapped, disk.capacity_bytes)
    job:found("%s is %s", naa, device.Status)
  end

  job:step "copy"
  local target <const> = "/vmfs/devices/disks/" .. naa
  local ends <const> = { source = request.vmdk.on_host, target = target, naa = naa, bytes = disk.capacity_bytes }
  local facts <const> = evidence.before(job, wrapper, ends)
  local began_s <const> = earlier and earlier.began_s or timer.now()
  local last
  local task_id <const> = earlier and earlier.task_id or wrapper:start(ends.source, ends.target)
  for progress in wrapper:follow(task_id) do
    last = progress
    job:progress(job:pace(progress, ends.bytes, began_s))
  end
  local seconds <const> = math.max(timer.now() - began_s, 0.001)
  local offloaded <const>, remark <const> = evidence.offload(last or {}, facts)
  job:note { bytes = ends.bytes, copy_seconds = seconds, naa = ends.naa, task = last }
  job:note { offloaded = offloaded, offload_remark = remark }
  local rate <const> = words.size(ends.bytes / seconds)
  job:found("%s, %s/s, %s", words.size(ends.bytes), rate, words.offload(offloaded, remark))

  job:step "prove it"
  local copied_s <const> = timer.now()
  local proof <const> = evidence.prove(job, wrapper, ends, last)
  job:note { proof_seconds = timer.now() - copied_s }
  job:found(evidence.text(proof))
  job:done { "naa", "bytes", "copy_seconds", "task", "offloaded", "offload_remark", "proof", "proof_seconds" }
end
