--- Objects as rows of a table, which kubectl asks for and prints.
local timer <const> = require "lunalift.timer"
local json <const> = require "lunalift.json"
local lists <const> = require "lab.list"

---@class kube.table
local M <const> = {}

---@class kube.Column
---@field [1] string name
---@field [2] fun(object: table): any
---@field wide? boolean shown with -o wide only

local function name(object) return object.metadata.name end
local function phase(object) return object.metadata.deletionTimestamp and "Terminating" or object.status.phase end
local function class(object) return object.spec.storageClassName or "" end
local function unset() return "<unset>" end
local function mode(object) return object.spec.volumeMode or "<unset>" end

local SHORT <const> = { ReadWriteOnce = "RWO", ReadOnlyMany = "ROX", ReadWriteMany = "RWX", ReadWriteOncePod = "RWOP" }

local function modes(list)
  local has <const>, found <const> = {}, {}
  for _, item in ipairs(list or {}) do
    has[item] = true
  end
  for _, item in ipairs { "ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod" } do
    if has[item] then found[#found + 1] = SHORT[item] end
  end
  return table.concat(found, ",")
end

--- As people say it: two units where the first is small.
local function duration(seconds)
  if seconds < 120 then return seconds .. "s" end
  local minutes <const>, hours <const> = seconds // 60, seconds // 3600
  if minutes < 10 and seconds % 60 > 0 then return ("%dm%ds"):format(minutes, seconds % 60) end
  if minutes < 180 then return minutes .. "m" end
  if hours < 8 and minutes % 60 > 0 then return ("%dh%dm"):format(hours, minutes % 60) end
  if hours < 48 then return hours .. "h" end
  return hours // 24 .. "d"
end

local function age(object)
  local born <const> = timer.parse(object.metadata.creationTimestamp or "")
  return born and duration(math.max(timer.epoch() - born, 0) // 1 | 0) or "<unknown>"
end

local function claim_of(volume)
  local claim <const> = volume.spec.claimRef
  return claim and ("%s/%s"):format(claim.namespace, claim.name) or ""
end

local function count(map) return lists.count(map or {}) end

local NAME <const>, AGE <const> = { "Name", name }, { "Age", age }
local DEFAULT <const> = { NAME, AGE }

-- By kind; the API server has no others for these.
local COLUMNS <const> = {
  Lease = { NAME, { "Holder", function(lease) return lease.spec.holderIdentity or "" end }, AGE },
  Namespace = { NAME, { "Status", phase }, AGE },
  Secret = {
    NAME,
    { "Type", function(secret) return secret.type end },
    { "Data", function(secret) return count(secret.data) end },
    AGE,
  },
  PersistentVolumeClaim = {
    NAME,
    { "Status", phase },
    { "Volume", function(claim) return claim.spec.volumeName or "" end },
    { "Capacity", function(claim) return claim.spec.volumeName and (claim.status.capacity or {}).storage or "" end },
    { "Access Modes", function(claim) return claim.spec.volumeName and modes(claim.status.accessModes) or "" end },
    { "StorageClass", class },
    { "VolumeAttributesClass", unset },
    AGE,
    { "VolumeMode", mode, wide = true },
  },
  PersistentVolume = {
    NAME,
    { "Capacity", function(volume) return volume.spec.capacity.storage end },
    { "Access Modes", function(volume) return modes(volume.spec.accessModes) end },
    { "Reclaim Policy", function(volume) return volume.spec.persistentVolumeReclaimPolicy or "" end },
    { "Status", phase },
    { "Claim", claim_of },
    { "StorageClass", class },
    { "VolumeAttributesClass", unset },
    { "Reason", function(volume) return volume.status.reason or "" end },
    AGE,
    { "VolumeMode", mode, wide = true },
  },
}

--- Does the client prefer tables?
---@param accept? string
---@return boolean
function M.are_wanted(accept)
  local first <const> = (accept or ""):match "^[^,]*"
  return first:find("as=Table", 1, true) ~= nil and first:find("v=v1;", 1, true) ~= nil
end

---@param resource kube.Resource
---@param objects table[]
---@param meta table of the list
---@return table
function M.of(resource, objects, meta)
  local columns <const>, definitions <const>, rows <const> = COLUMNS[resource.kind] or DEFAULT, {}, {}
  for i, column in ipairs(columns) do
    definitions[i] = {
      name = column[1],
      type = "string",
      format = i == 1 and "name" or "",
      description = "",
      priority = column.wide and 1 or 0,
    }
  end
  for i, object in ipairs(objects) do
    local cells <const> = {}
    for k, column in ipairs(columns) do
      cells[k] = column[2](object)
    end
    local about <const> = { kind = "PartialObjectMetadata", apiVersion = "meta.k8s.io/v1", metadata = object.metadata }
    rows[i] = { cells = cells, object = about }
  end
  return {
    kind = "Table",
    apiVersion = "meta.k8s.io/v1",
    metadata = meta,
    columnDefinitions = definitions,
    rows = json.array(rows),
  }
end

return M
