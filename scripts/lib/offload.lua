--- Who moves the data: the array by itself, the array asked by the host (XCOPY), or the host; and why not the array.
local device <const> = require "lib.device"
local hints <const> = require "lib.hints"

local M <const> = {}

---@class lib.Way
---@field by "array"|"host"
---@field source? lib.Lun by the array: what it copies from
---@field reason? string why the array is not expected to move the data
---@field text string for the step's line

local TITLES <const> = { rdm = "RDM", vvol = "vVol" }

local NO_ARRAY_BELOW <const> = {
  NFS = "NFS",
  NFS41 = "NFS",
  vsan = "vSAN",
  vsanD = "vSAN",
  PMEM = "persistent memory of the host",
}

-- ---- before ----

-- The volume that is the disk, or nil and why the array does not copy it by itself.
local function source_of(job, array, disk)
  local kind <const> = TITLES[disk.kind]
  if (job.request.disabled or {})[disk.kind] then return nil, ("DISABLE_%s_METHOD is set"):format(disk.kind:upper()) end
  if not array:offers "copy_start" or not array:offers "find_lun" then
    return nil, ("the script of %s has no copy of %s disks inside the array"):format(array.vendor.title, kind)
  end
  if disk.kind == "rdm" and disk.is_delta then
    return nil, "what was written since the snapshot is no part of the RDM"
  end
  local id <const> = disk.kind == "vvol" and { vvol = disk.vvol } or { naa = "naa." .. device.identifier(disk.device) }
  local lun <const> = array:find_lun(id)
  if lun then return lun end
  return nil, ("%s %s is no volume of %s"):format(kind, id.naa or id.vvol, array.where)
end

local function why_not_on(array, datastore)
  local below <const> = NO_ARRAY_BELOW[datastore.type]
  if below then return ("datastore %s is on %s"):format(datastore.name, below) end
  if #datastore.extents == 0 or not array:offers "find_lun" then return nil end
  for _, naa in ipairs(datastore.extents) do
    if not array:find_lun { naa = naa } then
      return ("datastore %s lies on %s, which is no volume of %s"):format(datastore.name, naa, array.where)
    end
  end
end

--- Choose by the kind of disk what can be known before anything is changed.
---@param job lib.Job
---@param array lib.Array
---@param disk lib.Disk
---@return lib.Way
function M.choose(job, array, disk)
  local source, reason
  if TITLES[disk.kind] then
    source, reason = source_of(job, array, disk)
  else
    reason = why_not_on(array, disk.datastore)
  end
  if source then
    return {
      by = "array",
      source = source,
      text = ("%s by itself, from its volume %s"):format(array.where, source.name),
    }
  end
  local text <const> = reason and "the host, not offloaded: " .. reason or "the host asks, the array moves the data"
  return { by = "host", reason = reason, text = text }
end

--- Raises unsupported when offload was required and there is a reason against it.
---@param job lib.Job
---@param reason? string nil: none
function M.insist(job, reason)
  if not reason or not job.request.require_offload then return end
  hints.raise("not offloaded", { reason = reason })
end

--- What the host's own facts say against offload, once it sees the device.
---@param facts table of the wrapper's preflight
---@return string? reason
function M.lacking(facts)
  if facts.vaaiClone == false then return "the device does not support VAAI clone" end
end

-- ---- after ----

local function is_offloaded(last)
  if last.clone_write_ops then return last.clone_write_ops > 0 end
  return last.offloaded
end

--- Did the array move the data, and what is known if it did not, or not all of it.
---@param last lib.CloneProgress
---@param facts table of the wrapper's preflight
---@param host lib.Host
---@param way lib.Way
---@return boolean? offloaded nil while unknown
---@return string? remark
function M.judge(last, facts, host, way)
  local failed <const>, offloaded <const> = last.failed_clone_ops or 0, is_offloaded(last)
  if failed > 0 then return offloaded, ("%d XCOPY commands failed"):format(failed) end
  if offloaded ~= false then return offloaded end
  local reason <const> = way.reason or M.lacking(facts)
  if reason then return false, reason end
  if host:setting "DataMover.HardwareAcceleratedMove" == 0 then
    return false, ("DataMover.HardwareAcceleratedMove is off on %s"):format(host.name)
  end
  if last.clone_write_ops then return false, "the host sent no XCOPY; are both ends on one array?" end
  return false
end

return M
