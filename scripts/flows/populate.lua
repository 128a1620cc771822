--- Fill a PersistentVolume from a virtual disk: the host asks, the array moves the data. A disk that is a volume itself (RDM, vVol) the
--- array copies alone, where it can.
local array_copies <const> = require "lib.array_copies"
local array_maps <const> = require "lib.array_maps"
local checks <const> = require "lib.checks"
local evidence <const> = require "lib.evidence"
local offload <const> = require "lib.offload"
local recovery <const> = require "lib.recovery"
local timer <const> = require "lunalift.timer"
local volumes <const> = require "lib.volume"
local words <const> = require "lib.words"

---@class populate.Found what both ways go by
---@field vcenter lib.Vcenter
---@field array lib.Array
---@field vm lib.Vm
---@field disk lib.Disk
---@field host lib.Host
---@field volume lib.Volume
---@field lun lib.Lun
---@field way lib.Way

local function look_for_earlier(job, found)
  job:step "look for an earlier run"
  local claim <const> = found.volume.claim
  return recovery.resume(job, found.volume, {
    claim = claim.uid,
    claim_name = ("%s/%s"):format(claim.namespace, claim.name),
    vm = found.vm.ref.id,
    vmdk = found.disk.path,
    lun = found.lun.id,
    naa = found.lun.naa,
    by = found.way.by,
    host = found.host.ref.id,
    array = found.array.where,
    vcenter = found.vcenter.where,
  })
end

---@return lib.CloneProgress last
local function follow(job, states, bytes, began_s)
  local last = {}
  for progress in states do
    last = progress
    job:progress(job:pace(progress, bytes, began_s))
  end
  local seconds <const> = math.max(timer.now() - began_s, 0.001)
  job:note { bytes = bytes, copy_seconds = seconds, task = last }
  return last
end

local function copied(job, offloaded, remark)
  job:note { offloaded = offloaded, offload_remark = remark }
  local bytes <const>, rate <const> = job.facts.bytes, words.size(job.facts.bytes / job.facts.copy_seconds)
  job:found("%s, %s/s, %s", words.size(bytes), rate, words.offload(offloaded, remark))
  if not job.dry_run then offload.insist(job, not offloaded and (remark or "the host does not tell") or nil) end
end

local function done(job)
  job:done { "naa", "bytes", "copy_seconds", "task", "offloaded", "offload_remark", "proof", "proof_seconds" }
end

-- ---- the array by itself ----

---@param job lib.Job
---@param found populate.Found
local function by_array(job, found)
  local array <const>, bytes <const> = found.array, found.disk.capacity_bytes
  job:step "check before anything is changed"
  checks.fatal(job, found)
  job:found "nothing speaks against it"
  local earlier <const> = look_for_earlier(job, found)
  if earlier and earlier.done then return job:note(earlier.done) end

  job:step "copy inside the array"
  local began_s <const> = earlier and earlier.began_s or timer.now()
  local copy <const> = earlier and earlier.copy or array_copies.start(job, array, found.way.source, found.lun)
  local last <const> = follow(job, array_copies.follow(job, array, copy), bytes, began_s)
  job:note { naa = found.lun.naa }
  copied(job, true)

  job:step "prove it"
  job:found(evidence.text(evidence.of_array(job, last)))
  done(job)
end

-- ---- the host asks ----

---@param job lib.Job
---@param found populate.Found
local function by_host(job, found)
  local request <const>, array <const>, host <const>, disk <const> = job.request, found.array, found.host, found.disk

  job:step "check before anything is changed"
  checks.fatal(job, found)
  local wrapper <const>, initiators <const> = found.wrapper, found.initiators
  local adapters <const> = {}
  for _, port in ipairs(initiators) do
    adapters[#adapters + 1] = port.adapter
  end
  job:note { wrapper = wrapper.version, protocol = initiators[1].kind }
  job:found("wrapper %s, through %s", wrapper.version, words.list(adapters))

  local earlier <const> = look_for_earlier(job, found)
  if earlier and earlier.done then return job:note(earlier.done) end
  local naa = earlier and earlier.naa

  if not earlier then
    job:step(("show the volume to %s"):format(host.name))
    local shown <const> = array_maps.show(array, found.lun, {
      name = host.peer_name,
      initiators = initiators,
      ports = host:ports(array.vendor.fabrics),
      before_map = function()
        job:promise("host.drop_paths", { host = host.ref, adapters = adapters }, "dead paths on " .. host.name)
      end,
    })
    naa = shown.lun.naa
    evidence.check_apart(found.vm, naa)
    job:found(shown.text)

    job:step "let the host discover it"
    if shown.made then
      job:promise("host.detach", { host = host.ref, naa = naa }, ("device %s is on at %s"):format(naa, host.name))
    end
    local device <const> = host:discover(shown.lun, { within_s = request.discover_within_s, adapters = adapters })
    host:check_device(device, shown.lun, disk.capacity_bytes)
    job:found("%s is %s", naa, device.Status)
  end

  job:step "copy"
  local target <const> = "/vmfs/devices/disks/" .. naa
  local ends <const> = { source = request.vmdk.on_host, target = target, naa = naa, bytes = disk.capacity_bytes }
  local facts <const> = evidence.before(job, wrapper, ends)
  offload.insist(job, offload.lacking(facts))
  local began_s <const> = earlier and earlier.began_s or timer.now()
  local task_id <const> = earlier and earlier.task_id or wrapper:start(ends.source, ends.target)
  local last <const> = follow(job, wrapper:follow(task_id), ends.bytes, began_s)
  job:note { naa = naa }
  copied(job, offload.judge(last, facts, host, found.way))

  job:step "prove it"
  local copied_s <const> = timer.now()
  local proof <const> = evidence.prove(job, wrapper, ends, last)
  job:note { proof_seconds = timer.now() - copied_s }
  job:found(evidence.text(proof))
  done(job)
end

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

  job:step "decide who moves the data"
  local way <const> = offload.choose(job, array, disk)
  offload.insist(job, way.reason)
  job:note { copied_by = way.by, method = way.by == "array" and disk.kind or nil }
  job:found(way.text)

  local copy <const> = way.by == "array" and by_array or by_host
  copy(
    job,
    { vcenter = vcenter, array = array, vm = vm, disk = disk, host = host, volume = volume, lun = lun, way = way }
  )
end
