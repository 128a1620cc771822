--- What `kubectl describe` shows under Events: each said once, and counted when it is said again. Nothing waits for them, and nothing
--- fails with them.
local codec <const> = require "lunalift.codec"
local fail <const> = require "lib.fail"
local log <const> = require "lunalift.log"
local resources <const> = require "lib.resource"
local retry <const> = require "lib.retry"
local timer <const> = require "lunalift.timer"
local work_queue <const> = require "lib.work_queue"

local M <const> = {}

local COUNT_EVERY_S <const> = 5 -- a count is written no more often
local TRIES <const> = 5
local KEPT_S <const> = 600
local KEPT <const> = 2000
local MESSAGE_MAX <const>, NAME_MAX <const> = 1024, 230 -- bytes

---@class lib.EventsOptions
---@field component string who says it: "lunalift-controller"
---@field instance string this process

---@class lib.Events
local Events <const> = {}
Events.__index = Events

--- Where an event belongs, of an object that a list may have left without its kind.
---@param object table
---@param api_version? string
---@param kind? string
---@return table
function M.about(object, api_version, kind)
  local meta <const> = object.metadata
  return {
    apiVersion = object.apiVersion or api_version,
    kind = object.kind or kind,
    namespace = meta.namespace,
    name = meta.name,
    uid = meta.uid,
    resourceVersion = meta.resourceVersion,
  }
end

-- ---- writing ----

local function create(self, record)
  local about <const> = record.about
  record.name = ("%s.%s"):format(about.name:sub(1, NAME_MAX), codec.random_hex(8))
  return self.resource:create {
    apiVersion = "v1",
    kind = "Event",
    metadata = { name = record.name, namespace = about.namespace or "default" },
    involvedObject = about,
    type = record.type,
    reason = record.reason,
    message = record.message,
    count = record.count,
    firstTimestamp = record.first,
    lastTimestamp = record.last,
    source = { component = self.component },
    reportingComponent = self.component,
    reportingInstance = self.instance,
  }
end

local function count(self, record)
  local change <const> = { count = record.count, lastTimestamp = record.last }
  local made <const>, why <const> = self.resource:patch(record.about.namespace or "default", record.name, change)
  if made or why.status ~= 404 then return made, why end
  return create(self, record) -- the API keeps them for an hour
end

local function write(self, key)
  local record <const> = self.records[key]
  if not record or record.count == record.written then return end
  local counted <const> = record.count
  local ok <const>, why <const> = (record.name and record.written > 0 and count or create)(self, record)
  if not ok then
    if retry.is_passing(why) and self.queue:failures(key) < TRIES then error(why) end
    log.warn("an event is lost", { reason = record.reason, about = record.about.name, why = fail.text(why) })
  end
  record.written, record.written_s = counted, timer.now()
end

-- ---- saying ----

local function forget_old(self)
  if self.kept < KEPT then return end
  local now_s <const>, kept = timer.now(), 0
  for key, record in pairs(self.records) do
    local is_written <const> = record.written == record.count
    if is_written and (now_s - record.said_s > KEPT_S or self.kept >= 2 * KEPT) then
      self.records[key] = nil
    else
      kept = kept + 1
    end
  end
  self.kept = kept
end

--- Say it about an object.
---@param about table from `about`
---@param kind string "Normal" or "Warning"
---@param reason string in one word: "PopulatorFinished"
---@param message string for people; what differs each time it is said belongs elsewhere
function Events:say(about, kind, reason, message)
  local text <const> = log.redact(message):sub(1, MESSAGE_MAX)
  local key <const> = table.concat({ about.uid or about.name, kind, reason, text }, "\0")
  local record = self.records[key]
  if not record then
    forget_old(self)
    record =
      { about = about, type = kind, reason = reason, message = text, count = 0, written = 0, first = timer.iso() }
    self.records[key], self.kept = record, self.kept + 1
  end
  record.count, record.last, record.said_s = record.count + 1, timer.iso(), timer.now()
  self.queue:add(key, record.written_s and math.max(0, record.written_s + self.count_every_s - timer.now()))
end

--- Write them, until the task is cancelled.
function Events:run() self.queue:run() end

--- Written, or given up?
---@return boolean
function Events:is_idle() return self.queue:len() == 0 and self.queue.busy == 0 end

---@param kube Kube
---@param options lib.EventsOptions
---@return lib.Events
function M.new(kube, options)
  local self <const> = setmetatable({
    resource = resources.new(kube, "/api/v1", "events"),
    component = options.component,
    instance = options.instance,
    count_every_s = COUNT_EVERY_S,
    records = {},
    kept = 0,
  }, Events)
  self.queue = work_queue.new { name = "events", workers = 2, work = function(key) write(self, key) end }
  return self
end

return M
