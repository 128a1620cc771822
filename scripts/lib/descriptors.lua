--- The two small files that a clone leaves beside its source, or at the top of a VMFS: an RDM descriptor, and the mapping file that it
--- names.
local fail <const> = require "lib.fail"

local M <const> = {}

local BOTH_WRAPPERS <const> = "*-rdmdisk-*"
local OURS <const> = "^lunalift%-rdmdisk%-([0-9a-f-]+)$"
local MAPPING <const> = "-rdm.vmdk"

---@class lib.Descriptor
---@field task_id? string of our wrapper; nil: the name is of upstream's form, which tells nothing
---@field datastore lib.Datastore
---@field path string of the descriptor, within the datastore
---@field mapping string path of the mapping file
local Descriptor <const> = {}
Descriptor.__index = Descriptor

local function describe(datastore, file)
  local base <const> = file.name:match "^(.*)%-rdm%.vmdk$" or file.name:match "^(.*)%.vmdk$" or file.name
  local task_id <const> = base:match(OURS)
  return setmetatable({
    task_id = task_id,
    datastore = datastore,
    path = file.folder .. (task_id and base .. ".vmdk" or file.name:gsub("%-rdm%.vmdk$", "")),
    mapping = file.folder .. base .. MAPPING,
  }, Descriptor)
end

---@param datastore lib.Datastore
---@return lib.Descriptor[]
function M.find(datastore)
  local found <const>, seen <const> = {}, {}
  for _, file in ipairs(datastore:search(BOTH_WRAPPERS)) do
    local each <const> = describe(datastore, file)
    if not seen[each.path] then
      seen[each.path] = true
      found[#found + 1] = each
    end
  end
  table.sort(found, function(a, b) return a.path < b.path end)
  return found
end

--- Does a host that mounts the datastore know its task, running or ended? One that cannot tell is raised. A task is known before its clone
--- makes these files: asked after the files were seen, "no" means that the writer is gone, whatever any clock says.
---@param tasks_on fun(host_id: string): table<string, boolean>
---@return boolean
function Descriptor:has_task(tasks_on)
  for host_id in pairs(self.datastore.hosts) do
    if tasks_on(host_id)[self.task_id] then return true end
  end
  return false
end

--- Raises unless the text is that of an RDM descriptor with its own mapping file: neither holds a byte of a disk.
function Descriptor:check_text()
  local text <const> = self.datastore:read(self.path)
  if not text then return end -- a clone that was cut short leaves the mapping file alone
  local is_rdm <const> = text:find('createType="vmfsRawDeviceMap"', 1, true)
  if is_rdm and text:match 'VMFSRDM "([^"/]+)"' == self.mapping:match "[^/]+$" then return end
  fail.raise("conflict", "it is no RDM descriptor of a clone")
end

--- The mapping file first: what is left if that is cut short can still be proved.
function Descriptor:delete()
  self.datastore:delete(self.mapping)
  self.datastore:delete(self.path)
end

return M
