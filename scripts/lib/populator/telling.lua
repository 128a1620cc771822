--- What the parts of the controller share: asking the API, and saying what is found, on the claim and in the resource's status.
local events <const> = require "lib.events"
local fail <const> = require "lib.fail"
local resources <const> = require "lib.resource"

local M <const> = {}

--- On a claim, as an event.
function M.say(self, about, kind, reason, fmt, ...)
  self.events:say(events.about(about, "v1", "PersistentVolumeClaim"), kind, reason, fmt:format(...))
end

local IS_BAD <const> = { Retrying = true, Failed = true }

-- Each phase is an event of the resource's own: the story that `kubectl describe` tells.
local function tell_phase(self, p, said)
  local before <const> = self.status:said(resources.key(p.populator))
  local shown <const> = before and before.phase or (p.populator.status or {}).phase
  if shown == said.phase then return end
  local about <const> = events.about(p.populator, self.API_VERSION, self.KIND)
  local kind <const> = (said.is_stuck or IS_BAD[said.phase]) and "Warning" or "Normal"
  self.events:say(about, kind, said.phase, said.message or said.phase)
end

--- In the status of the resource.
---@param p lib.Population
---@param more? lib.PopulatorSaid
function M.tell(self, p, phase, message, more)
  local said <const> = more or {}
  said.phase, said.message = phase, message
  tell_phase(self, p, said)
  self.status:say(p.populator, said)
end

--- What keeps it from going on, and what to do about it.
---@param p lib.Population
---@param why Fail
function M.refused(self, p, phase, reason, why)
  local message <const> = fail.text(why)
  M.say(self, p.target, "Warning", reason, "%s", why.hint and ("%s; %s"):format(message, why.hint) or message)
  M.tell(self, p, phase, message, { reason = reason, hint = why.hint, is_stuck = true })
  return self.look_again_s
end

--- Nothing goes on until somebody does something: said on the claim, too.
function M.stuck(self, p, phase, reason, fmt, ...)
  local message <const> = fmt:format(...)
  M.say(self, p.target, "Warning", reason, "%s", message)
  M.tell(self, p, phase, message, { reason = reason, is_stuck = true })
  return self.look_again_s
end

-- ---- what the API says ----

--- nil: there is none.
function M.get(resource, namespace, name)
  local object <const>, why <const> = resource:get(namespace, name)
  if object then return object end
  if why.status == 404 then return nil end
  error(why)
end

--- The object, or why there is none raised.
function M.must(object, why)
  if object then return object end
  error(why)
end

---@class lib.Population a claim, and what it is to be filled with
---@field target table
---@field populator table
---@field spec table of the resource
---@field prime? table

---@class lib.CopyOrder
---@field key string of the claim
---@field flow string
---@field uid string
---@field name string
---@field namespace string
---@field spec table of the resource
---@field populator? table
---@field vendor string

--- What an executor is told.
---@return lib.CopyOrder
function M.order_of(p, flow)
  local meta <const>, spec <const> = p.target.metadata, p.spec
  return {
    key = resources.key(p.target),
    flow = flow,
    uid = meta.uid,
    name = meta.name,
    namespace = meta.namespace,
    spec = spec,
    populator = p.populator,
    vendor = spec.storageVendorProduct,
  }
end

return M
