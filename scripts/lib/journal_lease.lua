--- The journal's home in a cluster: an annotation on a Lease beside the claim, which is the lock, too.
local codec <const> = require "lunalift.codec"
local env <const> = require "lunalift.env"
local fail <const> = require "lib.fail"
local form <const> = require "lib.journal_form"
local leases <const> = require "lib.lease"
local list <const> = require "lib.list"
local timer <const> = require "lunalift.timer"

local M <const> = {}

M.MARK = "lunalift.io/journal" -- annotation, finalizer and label alike
M.RECEIPT = "lunalift.io/receipt"

local HELD_S <const> = 15
local WRITE_WITHIN_S <const> = 30
local RECEIPT_WITHIN_S <const> = 4
local LOOK_EVERY_S <const> = 1

---@class lib.JournalLease : lib.Journal
---@field lease lib.Lease
local Journal <const> = {}
Journal.__index = Journal

-- ---- writing ----

local function lost(self)
  local why <const> = fail.new("conflict", "the journal %s %s", self.where, self.lease.lost)
  return fail.hint(why, "nothing to do here: what is left is the other run's to finish, or lunalift reap's")
end

-- Returns whether there is a Lease still. One whose claim was deleted holds nothing back once nothing is left to undo.
local function put(self, within_s, change)
  local ok <const>, kept <const> = pcall(self.lease.put, self.lease, within_s, change)
  if ok then return kept end
  if self.lease.lost then error(lost(self)) end
  error(fail.wrap(kept, "the journal %s cannot be written", self.where))
end

local function without_mark(finalizers)
  local left <const> = list.filter(finalizers or {}, function(name) return name ~= M.MARK end)
  return #left > 0 and left or nil
end

-- Keeps the claim's deletion from taking the journal with it while something is left. None can be added once that has begun.
local function with_mark(meta)
  local kept <const> = without_mark(meta.finalizers) or {}
  if not meta.deletionTimestamp or #kept < #(meta.finalizers or {}) then kept[#kept + 1] = M.MARK end
  return #kept > 0 and kept or nil
end

-- Files on a host are no reason to hold up the end of a namespace; nor are Leases that run out.
local LIGHT <const> = { ["clone.clean"] = true, ["lease.release"] = true }

local function is_worth_keeping(entries)
  for _, promise in ipairs(entries) do
    if not LIGHT[promise.undo] then return true end
  end
  return false
end

function Journal:write(journal)
  local text <const> = form.encode(journal, self.where)
  put(self, WRITE_WITHIN_S, function(lease)
    local meta <const> = lease.metadata
    meta.annotations = meta.annotations or {}
    meta.annotations[M.MARK] = text
    meta.finalizers = is_worth_keeping(journal.entries) and with_mark(meta) or without_mark(meta.finalizers)
  end)
end

function Journal:read()
  local text <const> = (self.lease.seen.metadata.annotations or {})[M.MARK]
  return text and form.decode(text, self.where)
end

--- The Lease itself stays ours until it is closed, and is the claim's to delete.
function Journal:clear()
  put(self, WRITE_WITHIN_S, function(lease)
    local meta <const> = lease.metadata
    if meta.annotations then meta.annotations[M.MARK] = nil end
    meta.finalizers = without_mark(meta.finalizers)
  end)
end

--- Let it go. Should that fail, it runs out by itself.
function Journal:close() self.lease:release() end

--- Keep a receipt beside the journal, also once that is closed.
---@param text string
---@return boolean kept
function Journal:keep_receipt(text)
  return put(self, RECEIPT_WITHIN_S, function(lease)
    lease.metadata.annotations = lease.metadata.annotations or {}
    lease.metadata.annotations[M.RECEIPT] = text
  end)
end

--- Is there one already, as last seen?
---@return boolean
function Journal:has_receipt() return (self.lease.seen.metadata.annotations or {})[M.RECEIPT] ~= nil end

function Journal:fence()
  local lease <const> = self.lease
  if lease.lost then error(lost(self)) end
  if lease.gone or timer.now() < lease.renewed_s + HELD_S then return end
  local ok <const>, why <const> = pcall(lease.renew, lease)
  if ok then return end
  if lease.lost then error(lost(self)) end
  local failure <const> =
    fail.new("conflict", "the journal %s could not be renewed in time: another run may hold it", self.where)
  failure.cause = fail.of(why)
  error(fail.hint(failure, "see to it that the Kubernetes API answers; then start again, which finishes what is left"))
end

-- ---- taking ----

local function new(job, namespace, name, metadata)
  local here = env.get "HOSTNAME" or ""
  if here == "" then here = "lunalift" end
  local lease <const> = leases.new(job.site:kube(), {
    namespace = namespace,
    name = name,
    me = here .. "_" .. job.id,
    held_s = HELD_S,
    old_after_s = 2 * HELD_S,
    metadata = metadata,
  })
  return setmetatable({ lease = lease, where = lease.where }, Journal)
end

-- Beside the claim, and gone with it; unless it is kept where those cannot write who may write there.
local function metadata_of(claim, namespace)
  local owner <const> = { apiVersion = "v1", kind = "PersistentVolumeClaim", name = claim.name, uid = claim.uid }
  return {
    labels = { [M.MARK] = "true" },
    ownerReferences = namespace == claim.namespace and { owner } or nil,
  }
end

--- The name of a claim's Lease.
---@param uid string
---@return string
function M.name(uid) return "lunalift-" .. uid end

local function busy(self, holder)
  local why <const> = fail.new("busy", "another run, %s, works on this volume (journal %s)", holder, self.where)
  return fail.hint(why, "wait for it to end, or stop it")
end

--- Hold the journal of a claim. Raises busy, naming the holder, when another process does.
---@param job lib.Job
---@param claim { name: string, namespace: string, uid: string }
---@return lib.Journal
function M.open(job, claim)
  local namespace <const> = job.request.journal_namespace or claim.namespace
  local self <const> = new(job, namespace, M.name(claim.uid), metadata_of(claim, namespace))
  local watched <const> = {}
  while true do
    local ours <const>, holder <const> = self.lease:try(job.request.patience_s, watched)
    if ours then
      self.lease:keep()
      return self
    end
    if watched.has_moved then error(busy(self, holder)) end
    if holder then
      job:waiting("%s holds %s: does it live?", holder, self.where)
      timer.sleep(LOOK_EVERY_S)
    end
  end
end

-- ---- those of others ----

--- The Leases that hold a journal.
---@param job lib.Job
---@param namespace? string nil: all
---@return { name: string, holder: string, is_dead: boolean, age_s: number?, dead_in_s: number?, has_claim: boolean, lease: table }[]
function M.list(job, namespace)
  local path <const> = leases.path(namespace) .. "?labelSelector=" .. codec.percent(M.MARK)
  local answer <const> = job:read(
    "journals in " .. (namespace or "all namespaces"),
    function() return job.site:kube():get(path) end
  )
  local found <const> = {}
  for _, lease in ipairs(answer.items or {}) do
    if (lease.metadata.annotations or {})[M.MARK] then
      local holder <const>, age_s <const> = leases.holder(lease), leases.age_s(lease)
      found[#found + 1] = {
        name = lease.metadata.name,
        holder = holder,
        is_dead = holder == "" or age_s ~= nil and age_s > 2 * HELD_S,
        age_s = age_s,
        dead_in_s = age_s and 2 * HELD_S - age_s, -- if it is not heard of again
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
  if not self.lease:take(job.request.patience_s, lease) then return nil end
  self.lease:keep()
  return self
end

return M
