--- The journal's home in a cluster: an annotation on a Lease beside the claim. The Lease is the lock, too: its holder renews it, and
--- every write is guarded by the version that was read, so that who lost it finds out before it acts.
local codec <const> = require "lunalift.codec"
local env <const> = require "lunalift.env"
local fail <const> = require "lib.fail"
local form <const> = require "lib.journal_form"
local log <const> = require "lunalift.log"
local retry <const> = require "lib.retry"
local task <const> = require "lunalift.task"
local timer <const> = require "lunalift.timer"

local M <const> = {}

M.MARK = "lunalift.io/journal" -- annotation, finalizer and label alike
M.RECEIPT = "lunalift.io/receipt"

local HELD_S <const> = 15
local RENEW_EVERY_S <const> = 5
local RENEW_WITHIN_S <const> = 4
local WRITE_WITHIN_S <const> = 30
local LOOK_EVERY_S <const> = 1
local KEEP_S <const> = 7 * 86400

---@class lib.JournalLease : lib.Journal
---@field lease table as last seen
---@field lost? string who has it now
---@field gone? boolean it went with its claim, by our own last write
local Lease <const> = {}
Lease.__index = Lease

local function leases_of(namespace)
  if not namespace then return "/apis/coordination.k8s.io/v1/leases" end
  return ("/apis/coordination.k8s.io/v1/namespaces/%s/leases"):format(codec.percent(namespace))
end

local function copy(value)
  if type(value) ~= "table" then return value end
  local new <const> = setmetatable({}, getmetatable(value))
  for key, item in pairs(value) do
    new[key] = copy(item)
  end
  return new
end

local function holder_of(lease) return lease.spec and lease.spec.holderIdentity or "" end

-- How long ago it was renewed, by clocks that may differ; nil: nobody can tell.
local function age_of(lease)
  local at <const> = timer.parse(lease.spec and lease.spec.renewTime or "")
  return at and timer.epoch() - at
end

-- ---- writing ----

local function lost(self)
  local why <const> = fail.new("conflict", "the journal %s %s", self.where, self.lost)
  return fail.hint(why, "nothing to do here: what is left is the other run's to finish, or lunalift reap's")
end

-- What is there now; whoever else holds it has won.
local function reload(self)
  local lease <const>, why <const> = self.kube:get(self.url)
  if lease and holder_of(lease) == self.me then
    self.lease = lease
    return true
  end
  if not lease and why.kind ~= "not_found" then return nil, why end
  local holder <const> = lease and (holder_of(lease) ~= "" and holder_of(lease) or "another run that has ended")
  self.lost = holder and "was taken over by " .. holder or "was deleted"
  return nil, lost(self)
end

-- One attempt at writing the Lease as last seen, changed. The version in it guards it, so that a repetition does no harm.
local function put_once(self, change)
  local sent_s <const> = timer.now()
  local lease <const> = copy(self.lease)
  lease.metadata.managedFields = nil
  lease.spec.renewTime = timer.iso()
  change(lease)
  local kept <const>, why <const> = self.kube:update(self.url, lease)
  if kept then
    self.lease, self.renewed_s = kept, sent_s
    self.gone = kept.metadata.deletionTimestamp ~= nil and kept.metadata.finalizers == nil
    return true
  end
  if why.kind ~= "conflict" and why.kind ~= "not_found" then return nil, why end
  local still_ours <const>, other <const> = reload(self) -- a write of ours whose answer was lost, or somebody's label
  if not still_ours then return nil, other end
  return nil, fail.new("busy", "%s was changed meanwhile", self.where)
end

-- Returns whether there is a Lease still. One whose claim was deleted holds nothing back once nothing is left to undo.
local function put(self, within_s, change)
  local _lock <close> = self.mutex:lock()
  if self.lost then error(lost(self)) end
  if self.gone then return false end
  -- An API server that has just begun denies everybody everything, until it knows the roles.
  local done <const>, why <const> = retry.read(
    "write " .. self.where,
    within_s,
    function() return put_once(self, change) end,
    { entitled = true }
  )
  if not done then error(fail.wrap(why, "the journal %s cannot be written", self.where)) end
  return not self.gone
end

local function renew() end

local function without_mark(finalizers)
  local left <const> = {}
  for _, name in ipairs(finalizers or {}) do
    if name ~= M.MARK then left[#left + 1] = name end
  end
  return #left > 0 and left or nil
end

-- Keeps the claim's deletion from taking the journal with it while something is left. None can be added once that has begun.
local function with_mark(meta)
  local list <const> = without_mark(meta.finalizers) or {}
  if not meta.deletionTimestamp or #list < #(meta.finalizers or {}) then list[#list + 1] = M.MARK end
  return #list > 0 and list or nil
end

-- Files on a host are no reason to hold up the end of a namespace.
local function is_worth_keeping(entries)
  for _, promise in ipairs(entries) do
    if promise.undo ~= "clone.clean" then return true end
  end
  return false
end

function Lease:write(journal)
  local text <const> = form.encode(journal, self.where)
  put(self, WRITE_WITHIN_S, function(lease)
    local meta <const> = lease.metadata
    meta.annotations = meta.annotations or {}
    meta.annotations[M.MARK] = text
    meta.finalizers = is_worth_keeping(journal.entries) and with_mark(meta) or without_mark(meta.finalizers)
  end)
end

function Lease:read()
  local text <const> = (self.lease.metadata.annotations or {})[M.MARK]
  return text and form.decode(text, self.where)
end

--- The Lease itself stays ours until it is closed, and is the claim's to delete.
function Lease:clear()
  put(self, WRITE_WITHIN_S, function(lease)
    local meta <const> = lease.metadata
    if meta.annotations then meta.annotations[M.MARK] = nil end
    meta.finalizers = without_mark(meta.finalizers)
  end)
end

--- Let it go. Should that fail, it runs out by itself.
function Lease:close()
  if self.keeper then self.keeper:cancel "the journal is closed" end
  self.keeper = nil
  if self.lost then return end
  put(self, RENEW_WITHIN_S, function(lease) lease.spec.holderIdentity = nil end)
end

--- Keep a receipt beside the journal, also once that is closed.
---@param text string
---@return boolean kept
function Lease:keep_receipt(text)
  return put(self, RENEW_WITHIN_S, function(lease)
    lease.metadata.annotations = lease.metadata.annotations or {}
    lease.metadata.annotations[M.RECEIPT] = text
  end)
end

function Lease:fence()
  if self.lost then error(lost(self)) end
  if self.gone or timer.now() < self.renewed_s + HELD_S then return end
  local ok <const>, why <const> = pcall(put, self, RENEW_WITHIN_S, renew)
  if ok then return end
  if self.lost then error(lost(self)) end
  local failure <const> =
    fail.new("conflict", "the journal %s could not be renewed in time: another run may hold it", self.where)
  failure.cause = fail.of(why)
  error(fail.hint(failure, "see to it that the Kubernetes API answers; then start again, which finishes what is left"))
end

local function keep(self)
  while not self.lost and not self.gone do
    timer.sleep(RENEW_EVERY_S)
    local ok <const>, why <const> = pcall(put, self, RENEW_WITHIN_S, renew)
    if not ok then log.warn("journal not renewed", { where = self.where, why = fail.text(why) }) end
  end
end

-- ---- taking ----

local function new(job, namespace, name)
  local url <const> = ("%s/%s"):format(leases_of(namespace), codec.percent(name))
  local here = env.get "HOSTNAME" or ""
  if here == "" then here = "lunalift" end
  return setmetatable({
    kube = job.site:kube(),
    url = url,
    where = ("Lease %s/%s"):format(namespace, name),
    me = here .. "_" .. job.id,
    mutex = task.mutex(),
  }, Lease)
end

local function fresh(self, claim)
  local now <const> = timer.iso()
  return {
    apiVersion = "coordination.k8s.io/v1",
    kind = "Lease",
    metadata = {
      name = "lunalift-" .. claim.uid,
      namespace = claim.namespace,
      labels = { [M.MARK] = "true" },
      ownerReferences = {
        { apiVersion = "v1", kind = "PersistentVolumeClaim", name = claim.name, uid = claim.uid },
      },
    },
    spec = {
      holderIdentity = self.me,
      leaseDurationSeconds = HELD_S,
      leaseTransitions = 0,
      acquireTime = now,
      renewTime = now,
    },
  }
end

-- true when we made it; false when there is one.
local function create(self, claim)
  local sent_s <const> = timer.now()
  local made <const>, why <const> = self.kube:create(leases_of(claim.namespace), fresh(self, claim))
  if made then
    self.lease, self.renewed_s = made, sent_s
    return true
  end
  if why.kind == "conflict" or why.unanswered then return false end
  return nil, why
end

-- true when it is ours now; false when another was quicker.
local function take(self, lease)
  local sent_s <const>, ours <const> = timer.now(), copy(lease)
  local now <const> = timer.iso()
  ours.metadata.managedFields = nil
  ours.spec = ours.spec or {}
  ours.spec.holderIdentity, ours.spec.acquireTime, ours.spec.renewTime = self.me, now, now
  ours.spec.leaseDurationSeconds = HELD_S
  ours.spec.leaseTransitions = (ours.spec.leaseTransitions or 0) + 1
  local kept <const>, why <const> = self.kube:update(self.url, ours)
  if kept then
    self.lease, self.renewed_s = kept, sent_s
    return true
  end
  if why.kind == "conflict" or why.kind == "not_found" or why.unanswered then return false end
  return nil, why
end

local function start_keeping(self)
  self.keeper = task.shield(KEEP_S, keep, self)
  return self
end

local function busy(self, holder)
  local why <const> = fail.new("busy", "another run, %s, works on this volume (journal %s)", holder, self.where)
  return fail.hint(why, "wait for it to end, or stop it")
end

-- A holder lives that renews. Clocks of other machines are believed only when they are far off; else it is watched for as long as it may be
-- silent.
local function is_dead(self, lease, watched)
  local age <const>, held_s <const> = age_of(lease), lease.spec.leaseDurationSeconds or HELD_S
  if age and age > 2 * held_s then return true end
  if watched.version and watched.version ~= lease.metadata.resourceVersion then error(busy(self, holder_of(lease))) end
  watched.version, watched.since_s = lease.metadata.resourceVersion, watched.since_s or timer.now()
  return timer.now() - watched.since_s > held_s
end

--- Hold the journal of a claim. Raises busy, naming the holder, when another process does.
---@param job lib.Job
---@param claim { name: string, namespace: string, uid: string }
---@return lib.Journal
function M.open(job, claim)
  local self <const> = new(job, claim.namespace, "lunalift-" .. claim.uid)
  local watched <const> = {}
  while true do
    local lease <const> = job:read("journal " .. self.where, function()
      local found <const>, why <const> = self.kube:get(self.url)
      if not found and why.kind == "not_found" then return false end
      return found, why
    end)
    if not lease then
      if job:read("make " .. self.where, function() return create(self, claim) end) then return start_keeping(self) end
    elseif holder_of(lease) == self.me then -- the answer to our own request was lost
      self.lease, self.renewed_s = lease, timer.now() - RENEW_EVERY_S
      return start_keeping(self)
    elseif holder_of(lease) == "" or is_dead(self, lease, watched) then
      if job:read("take " .. self.where, function() return take(self, lease) end) then return start_keeping(self) end
    else
      job:waiting("%s holds %s: does it live?", holder_of(lease), self.where)
      timer.sleep(LOOK_EVERY_S)
    end
  end
end

-- ---- those of others ----

--- The Leases that hold a journal.
---@param job lib.Job
---@param namespace? string nil: all
---@return { name: string, holder: string, is_dead: boolean, age_s: number?, has_claim: boolean, lease: table }[]
function M.list(job, namespace)
  local path <const> = leases_of(namespace) .. "?labelSelector=" .. codec.percent(M.MARK)
  local answer <const> = job:read(
    "journals in " .. (namespace or "all namespaces"),
    function() return job.site:kube():get(path) end
  )
  local found <const> = {}
  for _, lease in ipairs(answer.items or {}) do
    if (lease.metadata.annotations or {})[M.MARK] then
      local age_s <const> = age_of(lease)
      found[#found + 1] = {
        name = lease.metadata.name,
        holder = holder_of(lease),
        is_dead = holder_of(lease) == "" or age_s ~= nil and age_s > 2 * HELD_S,
        age_s = age_s,
        has_claim = lease.metadata.deletionTimestamp == nil,
        lease = lease,
      }
    end
  end
  return found
end

--- Take a dead run's journal that `list` found; nil when somebody else was quicker.
---@param job lib.Job
---@param namespace string
---@param lease table
---@return lib.Journal?
function M.take(job, namespace, lease)
  local self <const> = new(job, namespace, lease.metadata.name)
  lease.apiVersion, lease.kind = "coordination.k8s.io/v1", "Lease" -- items of a list come without
  if not job:read("take " .. self.where, function() return take(self, lease) end) then return nil end
  return start_keeping(self)
end

return M
