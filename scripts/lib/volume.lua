--- From the claim that the user names to the PersistentVolume behind it.
local codec <const> = require "lunalift.codec"
local fail <const> = require "lib.fail"
local hints <const> = require "lib.hints"
local timer <const> = require "lunalift.timer"

local M <const> = {}

local BIND_PAUSE_S <const> = 1

---@class lib.Volume
---@field name string
---@field handle string
---@field driver string
---@field attributes table<string, string>
---@field mode? "Block"|"Filesystem"
---@field claim { name: string, namespace: string, uid: string }

local function claim_path(namespace, name)
  return ("/api/v1/namespaces/%s/persistentvolumeclaims/%s"):format(codec.percent(namespace), codec.percent(name))
end

local function get_claim(job, kube, namespace, name)
  return job:read("claim " .. name, function() return kube:get(claim_path(namespace, name)) end)
end

-- The name of the bound volume: the claim's own, else that of the scratch claim that a populator controller makes for it.
local function bound_volume(job, kube, claim)
  local namespace <const> = claim.metadata.namespace
  if claim.spec.volumeName and claim.spec.volumeName ~= "" then return claim.spec.volumeName end
  local ok <const>, prime <const> = pcall(get_claim, job, kube, namespace, "prime-" .. claim.metadata.uid)
  if not ok then
    if fail.is(prime, "not_found") then return nil end
    error(prime)
  end
  local name <const> = prime.spec.volumeName
  return name ~= "" and name or nil
end

local function wait_bound(job, kube, claim, within_s)
  local until_s <const> = timer.now() + within_s
  while true do
    local name <const> = bound_volume(job, kube, claim)
    if name then return name end
    if timer.now() >= until_s then
      hints.raise("claim not bound", { namespace = claim.metadata.namespace, claim = claim.metadata.name })
    end
    job:waiting("claim %s is not bound yet", claim.metadata.name)
    timer.sleep(BIND_PAUSE_S)
    claim = get_claim(job, kube, claim.metadata.namespace, claim.metadata.name)
  end
end

-- A claim of the same name that was made since is another's, with bytes of its own.
local function check_uid(claim, uid)
  if not uid or uid == claim.metadata.uid then return end
  hints.raise("claim made anew", { claim = claim.metadata.name, uid = claim.metadata.uid, wanted = uid })
end

--- What to do about a cluster that is not trusted is not what to do about a vCenter.
---@param why Fail
---@return Fail why
function M.distrusts_cluster(why)
  local _, fix <const> = hints.say("cluster not trusted", { cluster = "" })
  return fail.hint(why, "%s", fix)
end

--- Raises not_found for a missing claim, config for an unbound or non-CSI one, conflict for one with another uid.
---@param job lib.Job
---@param kube Kube
---@param namespace string
---@param name string
---@return lib.Volume
function M.of_claim(job, kube, namespace, name)
  local ok <const>, claim <const> = pcall(get_claim, job, kube, namespace, name)
  if not ok then
    local why <const> = fail.wrap(claim, "claim %s/%s cannot be read", namespace, name)
    if why.kind == "not_found" then
      why.message, why.hint = hints.say("claim missing", { claim = name, namespace = namespace })
    elseif why.kind == "config" then
      M.distrusts_cluster(why)
    end
    error(why)
  end
  check_uid(claim, job.request.claim_uid)
  local volume_name <const> = wait_bound(job, kube, claim, job.request.bind_within_s)
  local volume <const> = job:read(
    "volume " .. volume_name,
    function() return kube:get("/api/v1/persistentvolumes/" .. codec.percent(volume_name)) end
  )
  local csi <const> = volume.spec.csi
  if not csi then hints.raise("volume without csi", { volume = volume_name, claim = name }) end
  return {
    name = volume_name,
    handle = csi.volumeHandle,
    driver = csi.driver,
    attributes = csi.volumeAttributes or {},
    mode = volume.spec.volumeMode,
    claim = { name = name, namespace = namespace, uid = claim.metadata.uid },
  }
end

local function loss_of(kube, claim)
  local now <const>, why <const> = kube:get(claim_path(claim.namespace, claim.name))
  if not now then return why.kind == "not_found" and "was deleted" or nil end
  if now.metadata.uid ~= claim.uid then return "was deleted and made anew" end
  return now.metadata.deletionTimestamp and "is being deleted" or nil
end

--- Say so if the claim went while its volume was filled. Asked once: an answer that does not come is no reason to wait.
---@param job lib.Job
---@param kube Kube
---@param volume lib.Volume
function M.warn_of_loss(job, kube, volume)
  local claim <const> = volume.claim
  local loss <const> = loss_of(kube, claim)
  if not loss then return end
  job:warn("claim %s/%s %s meanwhile: volume %s may go with it", claim.namespace, claim.name, loss, volume.name)
end

return M
