--- Checks of what is filled: the claim, its volume, what the account may do with both, and other runs.
local evidence <const> = require "lib.evidence"
local fail <const> = require "lib.fail"
local files <const> = require "lunalift.journal"
local form <const> = require "lib.journal_form"
local hints <const> = require "lib.hints"
local journal_file <const> = require "lib.journal_file"
local journal_lease <const> = require "lib.journal_lease"
local journals <const> = require "lib.journals"
local leases <const> = require "lib.lease"
local receipts <const> = require "lib.receipt"
local timer <const> = require "lunalift.timer"
local turns <const> = require "lib.turns"
local volumes <const> = require "lib.volume"
local words <const> = require "lib.words"

local LEASES <const> = "coordination.k8s.io"
local REVIEWS <const> = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"

local function may(found, verb, resource, group, namespace)
  local review <const> = found.job:read(
    "access",
    function()
      return found.kube:create(REVIEWS, {
        apiVersion = "authorization.k8s.io/v1",
        kind = "SelfSubjectAccessReview",
        spec = { resourceAttributes = { verb = verb, resource = resource, group = group, namespace = namespace } },
      })
    end
  )
  return review.status and review.status.allowed == true
end

-- Exactly the verbs that populate needs, no more.
local function check_permission(found, verbs, resource, group, namespace)
  local missing <const> = {}
  for _, verb in ipairs(verbs) do
    if not may(found, verb, resource, group, namespace) then missing[#missing + 1] = verb end
  end
  if #missing == 0 then return ("may %s %s"):format(words.list(verbs), resource) end
  hints.raise("permission missing", {
    verbs = table.concat(missing, ","),
    resource = group and resource .. "." .. group or resource,
    where = namespace and "in namespace " .. namespace or "in the cluster",
    scope = namespace and "" or "cluster",
    namespace = namespace and " -n " .. namespace or "",
  })
end

local function check_mode(found)
  local volume <const> = found.volume
  if volume.mode == "Filesystem" then
    hints.raise("claim of files", { namespace = volume.claim.namespace, claim = volume.claim.name, mode = volume.mode })
  end
  if not volume.mode then return nil, "the volume does not tell" end
  return volume.mode
end

local function check_maps(found)
  local maps <const> = found.array:maps_of(found.lun)
  for _, map in ipairs(maps) do
    if (map.name or ""):find "^xcopy%-" then
      return hints.say("volume mapped already", { lun = found.lun.name, host = map.name })
    end
  end
  return #maps == 0 and "nobody sees it" or ("%d hosts or groups see it"):format(#maps)
end

local function check_journal(found)
  local claim <const> = found.volume.claim
  for _, item in ipairs(journal_lease.list(found.job, claim.namespace)) do
    if item.name == "lunalift-" .. claim.uid then
      if not item.is_dead then hints.raise("journal held", { holder = item.holder }) end
      found.left = form.decode(item.lease.metadata.annotations[journal_lease.MARK], "Lease " .. item.name)
      return hints.say("journal left", { journal = "Lease " .. item.name })
    end
  end
  return "no run of this volume is under way"
end

local function check_journal_file(found)
  local path <const> = journals.path(found.job, found.volume)
  local text <const>, is_held <const> = journal_file.look(path)
  if is_held then hints.raise("journal held", { holder = "of journal " .. path }) end
  if not text then return "no run of this volume is under way" end
  found.left = form.decode(text, path)
  return hints.say("journal left", { journal = path })
end

local function check_journal_home(found)
  if journals.home(found.job) == "lease" then return "a Lease beside the claim" end
  local path <const>, is_own <const> = journals.path(found.job, found.volume)
  local writable <const>, why <const> = files.writable(path, is_own)
  if not writable then error(fail.wrap(why, "no journal can be kept in %s", path)) end
  return path
end

-- ---- turns on the host ----

-- Who renews it; nil: nobody, or no more.
local function holder_of(lease)
  local spec <const> = lease.spec or {}
  local at <const> = timer.parse(spec.renewTime or "")
  local is_over <const> = at and timer.epoch() - at > 2 * (spec.leaseDurationSeconds or 0)
  if not is_over and (spec.holderIdentity or "") ~= "" then return spec.holderIdentity end
end

local function check_slots(found)
  local request <const>, holders <const> = found.job.request, {}
  local count <const> = request.clone_slots
  if count <= 0 then return "any number of clones may run" end
  for _, name in ipairs(turns.slot_names(found.host, count)) do
    local read <const>, lease <const> = pcall(found.job.read, found.job, "Lease " .. name, function()
      local object <const>, why <const> = found.kube:get(leases.path(request.lease_namespace, name))
      return object or why.kind == "not_found" and {} or nil, why
    end)
    if not read and fail.is(lease, "denied") then return nil, "this account may not read the Leases of hosts" end
    if not read then error(lease) end
    holders[#holders + 1] = holder_of(lease)
  end
  if #holders < count then return ("%d of %d taken"):format(#holders, count) end
  return hints.say("slots taken", { count = count, host = found.host.name, holders = words.list(holders) })
end

---@type lib.Check[]
return {
  {
    name = "claim",
    of = "claim",
    needs = { "Kubernetes API" },
    run = function(found)
      local request <const> = found.job.request
      found.volume = volumes.of_claim(found.job, found.kube, request.namespace, request.claim)
      return ("%s is bound to %s"):format(request.claim, found.volume.name)
    end,
  },
  { name = "journal", of = "claim", needs = { "claim" }, run = check_journal_home },
  {
    name = "receipt",
    of = "claim",
    run = function(found)
      receipts.check(found.job.request.receipt)
      return (found.job.request.receipt or "") ~= "" and found.job.request.receipt or "beside the journal, or with it"
    end,
  },
  { name = "volume mode", of = "claim", needs = { "claim" }, fatal = true, run = check_mode },
  {
    name = "volume",
    of = "claim",
    needs = { "claim", "array login" },
    run = function(found)
      found.lun = found.array:lun_of(found.volume)
      return ("%s, %s"):format(found.lun.name, found.lun.naa or "no NAA until mapped")
    end,
  },
  {
    name = "volume apart from datastores",
    of = "volume",
    needs = { "volume", "VM" },
    fatal = true,
    run = function(found)
      evidence.check_apart(found.vm, found.lun.naa)
      return "holds no datastore of the VM"
    end,
  },
  {
    name = "volume size",
    of = "volume",
    needs = { "volume", "disk" },
    fatal = true,
    run = function(found)
      evidence.check_room(found.lun, found.disk)
      return ("%s for %s"):format(words.size(found.lun.size_bytes), words.size(found.disk.capacity_bytes))
    end,
  },
  { name = "volume's mappings", of = "volume", needs = { "volume" }, run = check_maps },
  {
    name = "permission: claims",
    of = "cluster",
    needs = { "Kubernetes API" },
    run = function(found)
      return check_permission(found, { "get" }, "persistentvolumeclaims", nil, found.job.request.namespace)
    end,
  },
  {
    name = "permission: volumes",
    of = "cluster",
    needs = { "Kubernetes API" },
    run = function(found) return check_permission(found, { "get" }, "persistentvolumes") end,
  },
  {
    name = "permission: journal",
    of = "cluster",
    needs = { "Kubernetes API" },
    run = function(found)
      if journals.home(found.job) ~= "lease" then return "not needed: the journal is a file" end
      local verbs <const> = { "get", "list", "create", "update" }
      return check_permission(found, verbs, "leases", LEASES, found.job.request.namespace)
    end,
  },
  {
    name = "permission: host Leases",
    of = "cluster",
    needs = { "Kubernetes API" },
    run = function(found)
      local verbs <const> = { "get", "create", "update" }
      local done <const>, text <const> =
        pcall(check_permission, found, verbs, "leases", LEASES, found.job.request.lease_namespace)
      if done then return text end
      return text.message, text.hint -- work on hosts is not coordinated with other pods then; it goes on
    end,
  },
  { name = "slots for clones", of = "host", needs = { "permission: host Leases", "host" }, run = check_slots },
  {
    name = "other runs",
    of = "claim",
    needs = { "claim" },
    run = function(found) return (journals.home(found.job) == "lease" and check_journal or check_journal_file)(found) end,
  },
}
