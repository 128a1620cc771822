--- What a resource's status tells of its copy: phase and numbers for people, conditions for tools. Written when there is something new, and
--- not too often; nothing waits for it.
local json <const> = require "lunalift.json"
local resources <const> = require "lib.resource"
local retry <const> = require "lib.retry"
local timer <const> = require "lunalift.timer"
local work_queue <const> = require "lib.work_queue"

local M <const> = {}

local EVERY_S <const> = 1
local ENDED <const> = { Succeeded = true, Failed = true }

---@class lib.PopulatorStatus
local Status <const> = {}
Status.__index = Status

-- What a condition says by the phase; `is_stuck`: somebody must do something.
local function truths(phase, is_stuck)
  return {
    Ready = phase == "Succeeded",
    Reconciling = not ENDED[phase] and not is_stuck,
    Stalled = phase == "Failed" or is_stuck == true,
  }
end

local function find(conditions, kind)
  for _, condition in ipairs(conditions or {}) do
    if condition.type == kind then return condition end
  end
end

local function conditions_of(said, old)
  local list <const>, states <const> = {}, truths(said.phase, said.is_stuck)
  for i, kind in ipairs { "Ready", "Reconciling", "Stalled" } do
    local state <const>, before <const> = states[kind] and "True" or "False", find(old, kind)
    list[i] = {
      type = kind,
      status = state,
      reason = said.reason or said.phase,
      message = said.message or "",
      observedGeneration = said.generation,
      lastTransitionTime = before and before.status == state and before.lastTransitionTime or timer.iso(),
    }
  end
  if said.left then
    list[#list + 1] = {
      type = "CleanupIncomplete",
      status = "True",
      reason = "Left",
      message = said.left,
      observedGeneration = said.generation,
      lastTransitionTime = timer.iso(),
    }
  end
  return list
end

local function write(self, key)
  local entry <const> = self.entries[key]
  if not entry or not entry.is_new then return end
  entry.is_new = false
  local said <const> = entry.said
  local conditions <const> = conditions_of(said, entry.conditions)
  local change <const> = { conditions = json.array(conditions), observedGeneration = said.generation }
  for field, value in pairs(said.fields) do
    change[field] = value
  end
  change.phase, change.message, change.hint = said.phase, said.message or json.null, said.hint or json.null
  local namespace <const>, name <const> = resources.split(key)
  local written <const>, why <const> = self.resource:patch_status(namespace, name, { status = change })
  entry.written_s, entry.conditions = timer.now(), conditions
  if written then return end
  if not retry.is_passing(why) then return end -- it has gone, or is not ours to write
  entry.is_new = true
  error(why)
end

---@class lib.PopulatorSaid
---@field phase string
---@field reason? string the phase, unless it is known better
---@field message? string
---@field hint? string
---@field is_stuck? boolean
---@field left? string what could not be put back
---@field fields? table of the status, laid over what was said before

--- Say it of a resource.
---@param populator table the object, as it was read
---@param said lib.PopulatorSaid
function Status:say(populator, said)
  local key <const> = resources.key(populator)
  local entry <const> = self.entries[key] or { said = { fields = {} } }
  if entry.uid ~= populator.metadata.uid then
    entry.uid, entry.conditions, entry.said =
      populator.metadata.uid, (populator.status or {}).conditions, { fields = {} }
  end
  self.entries[key] = entry
  local fields <const> = entry.said.fields
  for field, value in pairs(said.fields or {}) do
    fields[field] = value
  end
  local is_same <const> = entry.said.phase == said.phase and entry.said.message == said.message and not said.fields
  if is_same then return end
  said.fields, said.generation = fields, populator.metadata.generation
  entry.said, entry.is_new = said, true
  self.queue:add(key, entry.written_s and math.max(0, entry.written_s + self.every_s - timer.now()))
end

--- What was said last.
---@param key string
---@return lib.PopulatorSaid?
function Status:said(key) return self.entries[key] and self.entries[key].said end

--- It has gone.
function Status:forget(key) self.entries[key] = nil end

--- Write, until the task is cancelled.
function Status:run() self.queue:run() end

---@param resource lib.Resource
---@return lib.PopulatorStatus
function M.new(resource)
  local self <const> = setmetatable({ resource = resource, every_s = EVERY_S, entries = {} }, Status)
  self.queue = work_queue.new { name = "status", workers = 4, work = function(key) write(self, key) end }
  return self
end

return M
