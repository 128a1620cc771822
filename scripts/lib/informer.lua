--- A cache of one kind of objects that the API keeps up to date: listed once, then watched, and listed anew where the watch has lost
--- the thread. Kept is what `project` makes of each object, and nothing else.
local backoff <const> = require "lib.backoff"
local fail <const> = require "lib.fail"
local log <const> = require "lunalift.log"
local resources <const> = require "lib.resource"
local task <const> = require "lunalift.task"
local timer <const> = require "lunalift.timer"

local M <const> = {}

local LASTS_S <const> = 600 -- of one watch, half of it at least: not all of them begin anew at once
local SILENT_S <const> = 150 -- bookmarks come each minute or so
local SHORT_S <const> = 1 -- a watch that ends so early without an event is no watch
local EXPIRED <const> = 410

---@class lib.InformerOptions : lib.Selection
---@field project? fun(object: table): any what is kept of it; nil: nothing. The whole object, if not given
---@field on_change? fun(key: string, new: any, old: any) new: nil when it has gone, old: nil when it has come. Must neither wait nor raise
---@field silent_s? number

---@class lib.Informer
---@field resource lib.Resource
---@field is_synced boolean it has been listed
---@field why? Fail why the API cannot be heard now
---@field lists integer how often it was listed
---@field count integer objects kept
local Informer <const> = {}
Informer.__index = Informer

local function itself(object) return object end
local function nothing() end

---@param resource lib.Resource
---@param options? lib.InformerOptions
---@return lib.Informer
function M.new(resource, options)
  local given <const> = options or {}
  return setmetatable({
    resource = resource,
    selection = given,
    project = given.project or itself,
    on_change = given.on_change or nothing,
    silent_s = given.silent_s or SILENT_S,
    objects = {},
    versions = {}, -- of the same keys
    rounds = {}, -- the list in which each was seen last
    round = 0,
    count = 0,
    lists = 0,
    failures = 0,
    is_synced = false,
    synced = task.bell(),
  }, Informer)
end

---@param key string
---@return any kept
function Informer:get(key) return self.objects[key] end

--- Iterate over what is kept: `for key, kept in informer:pairs() do`.
function Informer:pairs() return next, self.objects end

--- Wait until it has been listed.
---@param within_s number
---@return boolean synced
function Informer:wait_synced(within_s)
  local until_s <const> = timer.now() + within_s
  while not self.is_synced and timer.now() < until_s do
    self.synced:wait(until_s - timer.now())
  end
  return self.is_synced
end

-- ---- the cache ----

local function tell(self, key, new, old)
  local ok <const>, why <const> = pcall(self.on_change, key, new, old)
  if not ok then
    log.error("a change was not taken in", { of = self.resource.plural, key = key, why = fail.text(why) })
  end
end

local function drop(self, key)
  local old <const> = self.objects[key]
  if old == nil then return end
  self.objects[key], self.versions[key], self.rounds[key] = nil, nil, nil
  self.count = self.count - 1
  tell(self, key, nil, old)
end

local function keep(self, object)
  local key <const>, version <const> = resources.key(object), object.metadata.resourceVersion
  if self.versions[key] == version then
    self.rounds[key] = self.round
    return
  end
  local old <const>, new <const> = self.objects[key], self.project(object)
  if new == nil then return drop(self, key) end
  self.objects[key], self.versions[key], self.rounds[key] = new, version, self.round
  if old == nil then self.count = self.count + 1 end
  tell(self, key, new, old)
end

-- What the list no longer has, has gone while nobody looked.
local function sweep(self)
  local gone <const> = {}
  for key, round in pairs(self.rounds) do
    if round ~= self.round then gone[#gone + 1] = key end
  end
  for _, key in ipairs(gone) do
    drop(self, key)
  end
end

-- ---- the wire ----

local function list(self)
  local version <const>, why <const> = self.resource:each(
    self.selection,
    function(object) keep(self, object) end,
    function() self.round = self.round + 1 end
  )
  if not version then return nil, why end
  sweep(self)
  self.lists, self.is_synced, self.why = self.lists + 1, true, nil
  self.synced:ring()
  return version
end

local function failure_of(state)
  local why <const> = fail.new("failed", "watch: %s", state.message or state.reason or "it has failed")
  why.status, why.reason = state.code, state.reason
  why.retry_after_s = state.details and state.details.retryAfterSeconds
  return why
end

-- Take in events until there are no more. Returns the version that it has come to, and why it has ended if it should not.
local function follow(self, watch, version)
  local begun_s <const>, heard = timer.now(), false
  while true do
    local event <const>, why <const> = watch:next(self.silent_s)
    if not event then
      if why and why.kind == "timeout" then return version end
      if not why and not heard and timer.now() - begun_s < SHORT_S then
        return version, fail.new("protocol", "watch: it ended at once")
      end
      return version, why
    end
    if event.type == "ERROR" then return version, failure_of(event.object) end
    heard, self.failures, self.why = true, 0, nil
    version = event.object.metadata.resourceVersion
    if event.type == "DELETED" then
      drop(self, resources.key(event.object))
    elseif event.type ~= "BOOKMARK" then
      keep(self, event.object)
    end
  end
end

local function watch(self, version)
  local lasts_s <const> = math.ceil(LASTS_S * (0.5 + 0.5 * math.random()))
  local found <close>, why <const> = self.resource:watch(self.selection, version, lasts_s)
  if not found then return version, why end
  return follow(self, found, version)
end

-- A version that has expired is passing; whatever else is wrong is said, and asked again: rights may be given, servers come back.
local function pause(self, why)
  self.failures = self.failures + 1
  if why.status ~= EXPIRED then
    if not self.why then log.warn("the API is not heard", { of = self.resource.plural, why = fail.text(why) }) end
    self.why = why
  end
  timer.sleep(backoff.after(self.failures, { wish_s = why.retry_after_s }))
end

--- Keep it up to date, until the task is cancelled.
function Informer:run()
  local version, why
  while true do
    if version then
      version, why = watch(self, version)
    else
      version, why = list(self)
    end
    if why then
      if why.status == EXPIRED then version = nil end
      pause(self, why)
    end
  end
end

return M
