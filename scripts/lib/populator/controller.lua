--- Fills claims whose dataSourceRef names a VSphereXcopyVolumePopulator. What is to be done is found anew each time from the objects
--- themselves: the claim, the resource, the prime claim and its volume, the journal. See docs/controller.md.
local events <const> = require "lib.events"
local informers <const> = require "lib.informer"
local log <const> = require "lunalift.log"
local primes <const> = require "lib.populator.prime"
local resources <const> = require "lib.resource"
local statuses <const> = require "lib.populator.status"
local task <const> = require "lunalift.task"
local targets <const> = require "lib.populator.target"
local teardown <const> = require "lib.populator.teardown"
local work_queue <const> = require "lib.work_queue"

local M <const> = {}

M.GROUP, M.VERSION, M.KIND = "forklift.konveyor.io", "v1beta1", "VSphereXcopyVolumePopulator"
M.OPT_IN = "lunalift.io/populate" -- label of a namespace, annotation of a resource: "true"

local WORKERS <const> = 16
local SYNC_WITHIN_S <const> = 300
local HAND_OVER_WITHIN_S <const> = 20

---@class lib.ControllerOptions
---@field kube Kube
---@field namespace string our own: journals, and who leads
---@field instance string
---@field executor lib.InProcess
---@field flows { populate: function, settle: function }
---@field first_retry_s number
---@field look_again_s number at what nothing tells us of

---@class lib.Controller
local Controller <const> = { KIND = M.KIND, API_VERSION = M.GROUP .. "/" .. M.VERSION, OPT_IN = M.OPT_IN }
Controller.__index = Controller

-- ---- what is kept of what there is ----

-- Of a dataSourceRef.
function Controller.is_ours(from)
  return from and from.apiGroup == M.GROUP and from.kind == M.KIND and (from.name or "") ~= ""
end

local function project_claim(claim)
  local meta <const>, from <const> = claim.metadata, claim.spec.dataSourceRef
  local takes_place_of <const> = (meta.annotations or {})[primes.CLAIM]
  local target_uid <const> = takes_place_of and primes.uid_of(meta.name)
  if target_uid then return { target = takes_place_of, target_uid = target_uid } end
  if Controller.is_ours(from) then
    return { uid = meta.uid, source = from.name, is_going = meta.deletionTimestamp ~= nil }
  end
end

-- But for its status, which we write.
local function project_populator(populator)
  local meta <const> = populator.metadata
  local mark <const> = (meta.annotations or {})[M.OPT_IN] or ""
  return ("%s %s %s %s"):format(meta.uid, meta.generation, meta.deletionTimestamp or "", mark)
end

local function project_namespace(namespace) return (namespace.metadata.labels or {})[M.OPT_IN] == "true" or nil end

-- Claims of a namespace, or of a resource in it, and what is filled in their place.
local function wake(self, namespace, source)
  for key, kept in self.claims:pairs() do
    if resources.split(key) == namespace and kept.source and (source == nil or kept.source == source) then
      self.queue:add(key)
      self.queue:add(resources.key_of(namespace, primes.name(kept.uid)))
    end
  end
end

local function on_claim(self, key, new, old)
  self.queue:add(key)
  local namespace <const> = resources.split(key)
  local kept <const> = new or old
  if kept.target then
    self.queue:add(resources.key_of(namespace, kept.target))
  elseif old and (not new or new.is_going or new.uid ~= old.uid) then
    self.queue:add(resources.key_of(namespace, primes.name(old.uid)))
  end
end

local function tend(self, key)
  local namespace <const>, name <const> = resources.split(key)
  if name:find "^prime%-%x+%-" then return teardown.tend(self, namespace, name) end
  return targets.tend(self, namespace, name)
end

-- ---- running ----

local function call_next(self)
  local key <const> = table.remove(self.waiting, 1)
  if not key then return end
  self.is_waiting[key] = nil
  self.queue:add(key)
end

--- A copy tells of itself.
---@param order { key: string, uid: string, namespace: string }
function Controller:on_copy(order)
  self.queue:add(order.key)
  local copying <const> = self.options.executor:of(order.uid)
  if not copying or copying.is_running then return end
  self.queue:add(resources.key_of(order.namespace, primes.name(order.uid)))
  call_next(self)
end

--- Claims in view, those to be looked at, copies under way, and how many have ended how.
---@return { claims: integer, copies: integer, waiting: integer, ended: table<string, integer> }
function Controller:counts()
  return {
    claims = self.claims.count,
    copies = self.options.executor:count(),
    waiting = self.queue:len(),
    ended = self.ended,
  }
end

--- Was all of it seen?
---@return boolean
function Controller:is_synced() return self.claims.is_synced end

--- Let go of what is under way, while we lead: the next leader goes on with it.
function Controller:hand_over()
  local executor <const> = self.options.executor
  local done <const> = task.shield(HAND_OVER_WITHIN_S + 1, executor.hand_over, executor, HAND_OVER_WITHIN_S):join()
  if not done then log.warn "not all copies are let go: the next leader waits until their journals run out" end
end

--- Look and act until the task is cancelled, or leads no more.
function Controller:run()
  local _over <close> = setmetatable({}, { __close = function() self:hand_over() end })
  task.all {
    function() self.namespaces:run() end,
    function() self.populator_view:run() end,
    function()
      self.namespaces:wait_synced(SYNC_WITHIN_S)
      self.populator_view:wait_synced(SYNC_WITHIN_S)
      self.claims:run()
    end,
    function() self.status:run() end,
    function() self.events:run() end,
    function() self.queue:run() end,
  }
end

---@param options lib.ControllerOptions
---@return lib.Controller
function M.new(options)
  local kube <const> = options.kube
  local self <const> = setmetatable({
    options = options,
    kube = kube,
    look_again_s = options.look_again_s,
    claim_objects = resources.new(kube, "/api/v1", "persistentvolumeclaims"),
    volumes = resources.new(kube, "/api/v1", "persistentvolumes"),
    pods = resources.new(kube, "/api/v1", "pods"),
    classes = resources.new(kube, "/apis/storage.k8s.io/v1", "storageclasses"),
    leases = resources.new(kube, "/apis/coordination.k8s.io/v1", "leases"),
    populators = resources.new(kube, ("/apis/%s/%s"):format(M.GROUP, M.VERSION), "vspherexcopyvolumepopulators"),
    events = events.new(kube, { component = "lunalift-controller", instance = options.instance }),
    attempts = {}, -- by the claim's uid, as are the next: what the status has told or will
    retry_at_s = {},
    failed = {}, -- for good, of which generation
    begun_anew = {}, -- after that, for which
    waiting = {}, -- keys of claims, in the order in which they came
    is_waiting = {},
    ended = { success = 0, retry = 0, failure = 0 },
  }, Controller)
  self.status = statuses.new(self.populators)
  self.queue = work_queue.new { name = "claims", workers = WORKERS, work = function(key) return tend(self, key) end }
  self.claims = informers.new(self.claim_objects, {
    project = project_claim,
    on_change = function(key, new, old) on_claim(self, key, new, old) end,
  })
  self.populator_view = informers.new(self.populators, {
    project = project_populator,
    on_change = function(key, new, old)
      if new ~= old then wake(self, resources.split(key)) end
    end,
  })
  self.namespaces = informers.new(resources.new(kube, "/api/v1", "namespaces"), {
    project = project_namespace,
    on_change = function(name) wake(self, name) end,
  })
  return self
end

return M
