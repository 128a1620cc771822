--- The claim that is provisioned and filled in place of the one that waits for it: `prime-<uid>`, as upstream calls it. A finalizer keeps
--- it, and so the volume, until nothing writes there any more, whatever becomes of the other.
local fail <const> = require "lib.fail"
local json <const> = require "lunalift.json"
local list <const> = require "lib.list"

local M <const> = {}

M.FINALIZER = "lunalift.io/populate"
M.CLAIM = "lunalift.io/claim" -- annotations: whose place it takes,
M.SPEC = "lunalift.io/populator" -- what it is filled with, should the resource be gone,
M.FILLED = "lunalift.io/filled" -- and when that was done and proved; of a claim that was filled in place, too

local POPULATED_FROM <const> = "forklift.konveyor.io/populated-from"
local NODE <const> = "volume.kubernetes.io/selected-node"
local COPIED_LABELS <const> = { "migration", "plan", "vmID" }
local NO_BACKUP <const> = "velero.io/exclude-from-backup"

---@param uid string of the claim
---@return string
function M.name(uid) return "prime-" .. uid end

---@param name string of a claim
---@return string? uid of the claim whose place it takes, by its name
function M.uid_of(name) return name:match "^prime%-(.*)$" end

local function labels_of(target)
  local labels <const> = { [NO_BACKUP] = "true" }
  for _, name in ipairs(COPIED_LABELS) do
    labels[name] = (target.metadata.labels or {})[name]
  end
  return labels
end

--- What is to be made for a claim.
---@param target table
---@param spec table of the resource
---@return table
function M.object(target, spec)
  local meta <const>, wanted <const> = target.metadata, target.spec
  return {
    apiVersion = "v1",
    kind = "PersistentVolumeClaim",
    metadata = {
      name = M.name(meta.uid),
      namespace = meta.namespace,
      labels = labels_of(target),
      annotations = {
        [M.CLAIM] = meta.name,
        [M.SPEC] = json.encode(spec),
        [NODE] = (meta.annotations or {})[NODE],
      },
      finalizers = json.array { M.FINALIZER },
      ownerReferences = json.array {
        { apiVersion = "v1", kind = "PersistentVolumeClaim", name = meta.name, uid = meta.uid },
      },
    },
    spec = {
      accessModes = wanted.accessModes,
      resources = wanted.resources,
      storageClassName = wanted.storageClassName,
      volumeAttributesClassName = wanted.volumeAttributesClassName,
      volumeMode = wanted.volumeMode,
    },
  }
end

---@param claim table
---@return boolean
function M.is_filled(claim) return (claim.metadata.annotations or {})[M.FILLED] ~= nil end

---@param volume table
---@param claim table
---@return boolean
function M.is_claimed_by(volume, claim)
  local by <const> = volume.spec.claimRef
  return by ~= nil and by.uid == claim.metadata.uid
end

--- Hand the volume over. Raises conflict where it is anybody else's, or has changed since it was read.
---@param volumes lib.Resource
---@param volume table
---@param prime table
---@param target table
function M.rebind(volumes, volume, prime, target)
  if not M.is_claimed_by(volume, prime) then
    local by <const> = volume.spec.claimRef or {}
    local whose <const> = ("%s/%s"):format(by.namespace or "", by.name or "nobody")
    fail.raise("conflict", "volume %s is bound to %s, not to %s", volume.metadata.name, whose, prime.metadata.name)
  end
  local meta <const> = target.metadata
  local changed <const>, why <const> = volumes:patch(nil, volume.metadata.name, {
    metadata = {
      resourceVersion = volume.metadata.resourceVersion,
      annotations = { [POPULATED_FROM] = ("%s/%s"):format(meta.namespace, target.spec.dataSourceRef.name) },
    },
    spec = {
      claimRef = {
        apiVersion = "v1",
        kind = "PersistentVolumeClaim",
        namespace = meta.namespace,
        name = meta.name,
        uid = meta.uid,
        resourceVersion = meta.resourceVersion,
      },
    },
  }, "strategic")
  if not changed then error(why) end
end

--- Delete it, and let it go: nothing of ours needs it any more. Others take their finalizers off meanwhile: conflict is raised where
--- the list was another one by then.
---@param claims lib.Resource
---@param prime table
function M.release(claims, prime)
  if not prime.metadata.deletionTimestamp then -- in a namespace that ends we may not delete any more, and need not
    local gone <const>, why <const> = claims:delete(prime)
    if not gone then error(why) end
  end
  local now <const>, unread <const> = claims:get(prime.metadata.namespace, prime.metadata.name)
  if not now and unread.status ~= 404 then error(unread) end
  if not now or now.metadata.uid ~= prime.metadata.uid then return end
  local meta <const> = now.metadata
  local left <const> = list.filter(meta.finalizers or {}, function(name) return name ~= M.FINALIZER end)
  if #left == #(meta.finalizers or {}) then return end
  local change <const> = { metadata = { resourceVersion = meta.resourceVersion, finalizers = json.array(left) } }
  local _, trouble <const> = claims:patch(meta.namespace, meta.name, change)
  if trouble and trouble.status ~= 404 then error(trouble) end
end

return M
