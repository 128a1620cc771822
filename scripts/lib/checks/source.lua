--- Checks of what is copied: the VM, its disk, the datastore below it, and who moves the data.
local evidence <const> = require "lib.evidence"
local hints <const> = require "lib.hints"
local offload <const> = require "lib.offload"
local words <const> = require "lib.words"

local function describe_datastore(datastore)
  local on <const> = #datastore.extents > 0 and " on " .. words.list(datastore.extents) or ""
  return ("%s: %s%s"):format(datastore.name, datastore.type, on)
end

-- A vendor without find_lun: devices of one maker begin alike, with the maker's OUI.
local function maker(naa) return naa:lower():match "^naa%.6(%x%x%x%x%x%x)" end

local function check_match(found)
  local reason <const> = found.way.reason
  local _, fix <const> = hints.say("not offloaded", { reason = "" })
  if reason then return reason, fix end
  if found.way.source then return ("%s is the volume %s of it"):format(found.disk.path, found.way.source.name) end
  local extents <const> = found.disk.datastore.extents
  if #extents == 0 then return nil, "no device is known below the datastore" end
  if found.array:offers "find_lun" then return words.list(extents) .. " is a volume of it" end
  local ours <const> = found.lun and found.lun.naa
  for _, naa in ipairs(ours and extents or {}) do
    if maker(naa) ~= maker(ours) then return ("%s and %s are of different makers"):format(naa, ours), fix end
  end
  if not ours then return nil, "the array cannot look devices up" end
  return "devices of one maker"
end

-- The host would refuse to open a disk in use; an array would not know.
local function check_power(found)
  local vm <const>, disk <const> = found.vm, found.disk
  local values <const> = { vm = vm.name, power = vm.power, path = disk.path }
  if vm.power == "poweredOff" then return "poweredOff" end
  if not disk.is_top then return ("%s, writes to %s"):format(vm.power, disk.top) end
  if found.way.by == "array" then hints.raise("vm on, array copies", values) end
  return hints.say("vm on", values)
end

local function check_snapshots(found)
  local disk <const> = found.disk
  if disk.is_delta then return hints.say("disk of a snapshot", { path = disk.path }) end
  if not disk.is_top then return hints.say("below a snapshot", { path = disk.path, top = disk.top }) end
  return "none in this disk's chain"
end

local function check_locks(found)
  for _, other in ipairs(found.vcenter:vms_with(found.disk)) do
    if other.ref.id ~= found.vm.ref.id and other.power ~= "poweredOff" then
      hints.raise("disk in use elsewhere", { path = found.disk.path, other = other.name, power = other.power })
    end
  end
  return "no other VM that is on has the disk"
end

local function check_file(found)
  local request <const> = found.job.request
  found.facts = found.wrapper:preflight(request.vmdk.on_host) or {}
  evidence.check_source(found.facts, request.vmdk.on_host, found.disk.capacity_bytes)
  if found.facts.sourceExists == nil then return nil, "this wrapper cannot tell" end
  return ("%s sees %s"):format(found.host.name, words.size(found.disk.capacity_bytes))
end

local function check_readers(found)
  local path <const> = found.job.request.vmdk.on_host
  if not found.wrapper:offers "taskList" then return nil, "this wrapper lists no clones" end
  for _, clone in ipairs(found.wrapper:tasks()) do
    if clone.state == "running" and clone.source == path then
      if found.left and found.left.task == clone.taskId then return "only that of the run that left its journal" end
      hints.raise("disk being copied", { task = clone.taskId, host = found.host.name, path = path })
    end
  end
  return "no clone of it runs on " .. found.host.name
end

---@type lib.Check[]
return {
  {
    name = "VM",
    of = "vm",
    needs = { "vCenter login" },
    run = function(found)
      found.vm = found.vcenter:vm(found.job.request.vm)
      return ("%s (%s)"):format(found.vm.name, found.vm.ref.id)
    end,
  },
  {
    name = "disk",
    of = "disk",
    needs = { "VM" },
    run = function(found)
      local disk <const> = found.vcenter:disk(found.vm, found.job.request.vmdk)
      found.disk = disk
      return ("%s, %s, %s"):format(disk.path, disk.kind, words.size(disk.capacity_bytes))
    end,
  },
  {
    name = "datastore",
    of = "datastore",
    needs = { "disk" },
    fatal = true,
    run = function(found)
      local datastore <const> = found.disk.datastore
      found.devices = datastore.extents
      if datastore.accessible == false then hints.raise("datastore not accessible", { datastore = datastore.name }) end
      return describe_datastore(datastore)
    end,
  },
  {
    name = "who moves the data",
    of = "disk",
    needs = { "disk", "array login" },
    run = function(found)
      found.way = offload.choose(found.job, found.array, found.disk)
      offload.insist(found.job, found.way.reason)
      return found.way.text
    end,
  },
  {
    name = "array and datastore match",
    of = "array",
    needs = { "who moves the data" },
    run = check_match,
  },
  {
    name = "VM power",
    of = "vm",
    needs = { "who moves the data" },
    fatal = true,
    run = check_power,
  },
  { name = "snapshots", of = "disk", needs = { "disk" }, run = check_snapshots },
  { name = "locks", of = "disk", needs = { "disk" }, run = check_locks },
  { name = "source file", of = "disk", needs = { "wrapper", "disk" }, by = "host", run = check_file },
  { name = "clones of the disk", of = "disk", needs = { "wrapper", "other runs" }, by = "host", run = check_readers },
}
