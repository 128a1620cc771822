--- What the controllers of a real cluster do with claims and volumes: they bind the two where a volume names a claim, call a claim lost
--- whose volume is another's by now, and a volume released whose claim has gone.
local json <const> = require "lunalift.json"
local patch <const> = require "lab.kube.patch"
local task <const> = require "lunalift.task"

---@class kube.binder
local M <const> = {}

local function save(kube, resource, object)
  object.metadata.resourceVersion = nil
  kube.store:update(resource, patch.copy(object))
  kube.store:update(resource, patch.copy(object), "status")
end

local function bind(kube, kinds, volume, claim)
  if claim.spec.volumeName == nil then
    claim.spec.volumeName = volume.metadata.name
  elseif claim.spec.volumeName ~= volume.metadata.name then
    return
  end
  claim.status = {
    phase = "Bound",
    accessModes = volume.spec.accessModes and json.array(volume.spec.accessModes),
    capacity = volume.spec.capacity,
  }
  save(kube, kinds.claims, claim)
  volume.spec.claimRef.uid = claim.metadata.uid
  volume.status = { phase = "Bound" }
  save(kube, kinds.volumes, volume)
end

local function look_at_volume(kube, kinds, volume)
  local wanted <const> = volume.spec.claimRef
  if not wanted then return end
  local claim <const> = kube.store:get(kinds.claims, wanted.namespace, wanted.name)
  if claim and (wanted.uid or claim.metadata.uid) == claim.metadata.uid then return bind(kube, kinds, volume, claim) end
  if not wanted.uid or volume.status.phase == "Released" then return end
  volume.status = { phase = "Released" }
  save(kube, kinds.volumes, volume)
end

local function look_at_claim(kube, kinds, claim)
  if (claim.status or {}).phase ~= "Bound" then return end
  local volume <const> = kube.store:get(kinds.volumes, nil, claim.spec.volumeName)
  if volume and volume.spec.claimRef and volume.spec.claimRef.uid == claim.metadata.uid then return end
  claim.status.phase = "Lost"
  save(kube, kinds.claims, claim)
end

-- A user names the volume in the claim, not the other way round.
local function claim_by_name(kube, kinds, claim)
  local name <const> = claim.spec.volumeName
  if not name or (claim.status or {}).phase ~= "Pending" then return end
  local volume <const> = kube.store:get(kinds.volumes, nil, name)
  if not volume or volume.spec.claimRef then return end
  local meta <const> = claim.metadata
  volume.spec.claimRef =
    { kind = "PersistentVolumeClaim", namespace = meta.namespace, name = meta.name, uid = meta.uid }
  bind(kube, kinds, volume, claim)
end

local function look(kube, kinds)
  for _, claim in ipairs(kube.store:list(kinds.claims)) do
    claim_by_name(kube, kinds, claim)
  end
  for _, volume in ipairs(kube.store:list(kinds.volumes)) do
    look_at_volume(kube, kinds, volume)
  end
  for _, claim in ipairs(kube.store:list(kinds.claims)) do
    look_at_claim(kube, kinds, claim)
  end
end

local function concerns_us(kube, kinds, version)
  for _, change in ipairs(kube.store:since(version)) do
    if change.resource == kinds.claims or change.resource == kinds.volumes then return true end
  end
  return false
end

--- Bind whatever is to be bound, at every change, until the task is cancelled.
---@param kube lab.Kube
---@return Task
function M.start(kube)
  local kinds <const> = {
    claims = kube:resource_named("", "v1", "persistentvolumeclaims"),
    volumes = kube:resource_named("", "v1", "persistentvolumes"),
  }
  return task.background(function()
    local version = 0
    while true do
      local is_new <const> = concerns_us(kube, kinds, version)
      version = kube.store.version
      if is_new then
        look(kube, kinds)
      else
        kube.store.bell:wait()
      end
    end
  end)
end

return M
