--- A Kubernetes Lease that one process holds at a time: it renews it, and every write is guarded by the version that was read, so that who
--- lost it finds out. A holder counts as dead when it was *seen* not to renew: clocks of other machines are believed only when far off.
local codec <const> = require "lunalift.codec"
local fail <const> = require "lib.fail"
local log <const> = require "lunalift.log"
local retry <const> = require "lib.retry"
local task <const> = require "lunalift.task"
local timer <const> = require "lunalift.timer"

local M <const> = {}

local RENEW_WITHIN_S <const> = 4
local LONG_AGO_S <const> = 3600

---@class lib.Lease
---@field where string for people
---@field me string
---@field held_s integer
---@field seen table the object as last seen
---@field renewed_s number when it was ours for certain
---@field lost? string what became of it
---@field gone? boolean it went with its owner, by our own last write
local Lease <const> = {}
Lease.__index = Lease

---@param namespace? string nil: all
---@param name? string nil: the collection
---@return string
function M.path(namespace, name)
  if not namespace then return "/apis/coordination.k8s.io/v1/leases" end
  local all <const> = ("/apis/coordination.k8s.io/v1/namespaces/%s/leases"):format(codec.percent(namespace))
  return name and ("%s/%s"):format(all, codec.percent(name)) or all
end

---@return string "" for none
function M.holder(object) return object.spec and object.spec.holderIdentity or "" end

--- How long ago it was renewed, by clocks that may differ; nil: nobody can tell.
---@return number?
function M.age_s(object)
  local at <const> = timer.parse(object.spec and object.spec.renewTime or "")
  return at and timer.epoch() - at
end

---@class lib.LeaseOptions
---@field namespace string
---@field name string
---@field me string
---@field held_s integer for so long it may be silent
---@field old_after_s number clocks are believed of a renewal older than this
---@field metadata? table of one that we make

--- Sends nothing yet.
---@param kube Kube
---@param options lib.LeaseOptions
---@return lib.Lease
function M.new(kube, options)
  return setmetatable({
    kube = kube,
    namespace = options.namespace,
    name = options.name,
    url = M.path(options.namespace, options.name),
    where = ("Lease %s/%s"):format(options.namespace, options.name),
    me = options.me,
    held_s = options.held_s,
    old_after_s = options.old_after_s,
    metadata = options.metadata or {},
    mutex = task.mutex(),
  }, Lease)
end

local function copy(value)
  if type(value) ~= "table" then return value end
  local new <const> = setmetatable({}, getmetatable(value))
  for key, item in pairs(value) do
    new[key] = copy(item)
  end
  return new
end

-- ---- writing what is ours ----

local function lost(self) return fail.new("conflict", "%s %s", self.where, self.lost) end

-- What is there now; whoever else holds it has won.
local function reload(self)
  local object <const>, why <const> = self.kube:get(self.url)
  if object and M.holder(object) == self.me then
    self.seen = object
    return true
  end
  if not object and why.kind ~= "not_found" then return nil, why end
  local holder <const> = object and (M.holder(object) ~= "" and M.holder(object) or "another run that has ended")
  self.lost = holder and "was taken over by " .. holder or "was deleted"
  return nil, lost(self)
end

-- One attempt at writing it as last seen, changed. The version in it guards it, so that a repetition does no harm.
local function put_once(self, change)
  local sent_s <const>, object <const> = timer.now(), copy(self.seen)
  object.metadata.managedFields = nil
  object.spec.renewTime = timer.iso()
  change(object)
  local kept <const>, why <const> = self.kube:update(self.url, object)
  if kept then
    self.seen, self.renewed_s = kept, sent_s
    self.gone = kept.metadata.deletionTimestamp ~= nil and kept.metadata.finalizers == nil
    return true
  end
  if why.kind ~= "conflict" and why.kind ~= "not_found" then return nil, why end
  local still_ours <const>, other <const> = reload(self) -- a write of ours whose answer was lost, or somebody's label
  if not still_ours then return nil, other end
  return nil, fail.new("busy", "%s was changed meanwhile", self.where)
end

--- Change it, and renew it. Raises conflict when it is another's now.
---@param within_s number
---@param change fun(object: table)
---@return boolean kept false: it went with its owner, who was deleted
function Lease:put(within_s, change)
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
  if not done then error(why) end
  return not self.gone
end

local function nothing() end

--- Renew it now.
function Lease:renew() return self:put(RENEW_WITHIN_S, nothing) end

local function keep(self)
  while not self.lost and not self.gone do
    timer.sleep(self.held_s / 3)
    local ok <const>, why <const> = pcall(self.renew, self)
    if not ok then log.warn("not renewed", { where = self.where, why = fail.text(why) }) end
  end
end

--- Renew it from now on, until it is let go.
function Lease:keep()
  self.keeper = task.background(keep, self)
  return self
end

--- Renew it no more: it runs out by itself.
function Lease:abandon()
  if self.keeper then self.keeper:cancel "the Lease is let go" end
  self.keeper = nil
end

--- Let others have it at once; should that fail, it runs out by itself. Its time is set back for those who know no empty holder.
function Lease:release()
  self:abandon()
  if self.lost then return end
  self:put(RENEW_WITHIN_S, function(object)
    object.spec.holderIdentity = nil
    object.spec.renewTime = timer.iso(timer.epoch() - LONG_AGO_S)
  end)
end

-- ---- taking ----

local function is_ours_since(self, object, sent_s)
  self.seen, self.renewed_s, self.lost = object, sent_s, nil
  return true
end

local function spec_of(self, transitions)
  local now <const> = timer.iso()
  return {
    holderIdentity = self.me,
    leaseDurationSeconds = self.held_s,
    leaseTransitions = transitions,
    acquireTime = now,
    renewTime = now,
  }
end

-- true when we made it; false when there is one.
local function create(self)
  local sent_s <const>, metadata <const> = timer.now(), copy(self.metadata)
  metadata.name, metadata.namespace = self.name, self.namespace
  local object <const> =
    { apiVersion = "coordination.k8s.io/v1", kind = "Lease", metadata = metadata, spec = spec_of(self, 0) }
  local made <const>, why <const> = self.kube:create(M.path(self.namespace), object)
  if made then return is_ours_since(self, made, sent_s) end
  if why.kind == "conflict" or why.unanswered then return false end
  return nil, why
end

local function take_once(self, object)
  local sent_s <const>, ours <const> = timer.now(), copy(object)
  ours.metadata.managedFields = nil
  ours.spec = ours.spec or {}
  for field, value in pairs(spec_of(self, (ours.spec.leaseTransitions or 0) + 1)) do
    ours.spec[field] = value
  end
  local kept <const>, why <const> = self.kube:update(self.url, ours)
  if kept then return is_ours_since(self, kept, sent_s) end
  if why.kind == "conflict" or why.kind == "not_found" or why.unanswered then return false end
  return nil, why
end

local function look(self)
  local object <const>, why <const> = self.kube:get(self.url)
  if not object and why.kind == "not_found" then return false end
  return object, why
end

local function ask(self, within_s, what, ...)
  local args <const> = table.pack(...)
  local answer <const>, why <const> = retry.read(
    ("%s %s"):format(what, self.where),
    within_s,
    function() return args[1](self, table.unpack(args, 2, args.n)) end
  )
  if answer == nil then error(why) end
  return answer
end

--- Take one that was found dead, or free.
---@param within_s number
---@param object table
---@return boolean ours false: another was quicker
function Lease:take(within_s, object) return ask(self, within_s, "take", take_once, object) end

--- Is it held under our name? Then it is ours to let go.
---@param within_s number
---@return boolean
function Lease:is_held(within_s)
  local object <const> = ask(self, within_s, "look at", look)
  return object ~= false and M.holder(object) == self.me and is_ours_since(self, object, timer.now())
end

-- watched: version and since_s of the last change that was seen; has_moved: the holder lives.
local function is_dead(self, object, watched)
  local age_s <const> = M.age_s(object)
  if age_s and age_s > self.old_after_s then return true end
  local version <const> = object.metadata.resourceVersion
  if watched.version ~= version then
    watched.has_moved = watched.version ~= nil
    watched.version, watched.since_s = version, timer.now()
    return false
  end
  return timer.now() - watched.since_s > (object.spec.leaseDurationSeconds or self.held_s)
end

--- One look, and it is taken where nobody holds it, or its holder is dead.
---@param within_s number
---@param watched table what earlier looks saw, {} at first; `has_moved`: the holder renews
---@return boolean ours
---@return string? holder nil: another was quicker
function Lease:try(within_s, watched)
  local object <const> = ask(self, within_s, "look at", look)
  if not object then return ask(self, within_s, "make", create) end
  local holder <const> = M.holder(object)
  if holder == self.me then -- the answer to our own request was lost, or we died and are back
    return is_ours_since(self, object, timer.now() - self.held_s / 3)
  end
  if holder == "" or is_dead(self, object, watched) then return self:take(within_s, object) end
  return false, holder
end

return M
