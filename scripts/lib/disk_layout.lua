--- How much of a disk its datastores hold, by vCenter's list of files.
local vsphere <const> = require "lunalift.vsphere"

local M <const> = {}

local list <const> = vsphere.list

--- What to retrieve of the VM.
M.PATHS = { "layoutEx.disk", "layoutEx.file" }

local function bytes_of_extents(files)
  local bytes <const> = {}
  for _, file in ipairs(list(files)) do
    if file.type == "diskExtent" then bytes[file.key] = math.tointeger(tonumber(file.size)) end
  end
  return bytes
end

--- Bytes of the disk's whole chain, at most its capacity; nil where vCenter tells nothing, as of raw devices and vVols.
---@param props table of the VM
---@param key integer of the disk's device
---@param capacity_bytes integer
---@return integer?
function M.allocated(props, key, capacity_bytes)
  local extents <const> = bytes_of_extents(props["layoutEx.file"])
  local sum = 0
  for _, disk in ipairs(list(props["layoutEx.disk"])) do
    for _, unit in ipairs(disk.key == key and list(disk.chain) or {}) do
      for _, file_key in ipairs(list(unit.fileKey)) do
        sum = sum + (extents[file_key] or 0)
      end
    end
  end
  return sum > 0 and math.min(sum, capacity_bytes) or nil
end

return M
