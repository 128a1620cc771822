--- Copies that an array makes by itself, for vendors that can: started once, followed to their end, stopped for certain.
local fail <const> = require "lib.fail"
local hints <const> = require "lib.hints"
local poll <const> = require "lib.poll"

local M <const> = {}

local POLL_PATIENCE_S <const> = 600 -- the array may be away for minutes while the copy goes on

--- Plain data: all that any process needs to ask after a copy, or to stop it.
---@class lib.ArrayCopy
---@field id string ours, chosen before anything is started
---@field source lib.Lun
---@field target lib.Lun
---@field handle? any what the vendor's copy_start returned

---@class lib.CopyState
---@field state "running"|"done"|"failed"
---@field percent? integer 0 … 100; nil when the array cannot tell
---@field reason? string why it failed

-- nil: the array knows no such copy.
local function state_of(job, array, copy)
  return job:read("copy state", function() return array:ask("copy_poll", copy.id, copy) end, POLL_PATIENCE_S)
end

--- Start a copy. Promised first; a second start with the same id is the first one's.
---@param job lib.Job
---@param array lib.Array
---@param source lib.Lun
---@param target lib.Lun
---@return lib.ArrayCopy
function M.start(job, array, source, target)
  local copy <const> = { id = job.ledger.task_id, source = source, target = target }
  local name <const> = ("%s to %s"):format(source.name, target.name)
  local promise <const> =
    job:promise("array.copy_stop", copy, ("the copy of %s inside %s runs"):format(name, array.where))
  local handle <const> = job:effect("array.copy_start", name, function()
    local handle <const>, why <const> = array:ask("copy_start", copy.id, source, target)
    if why then return nil, why end
    return handle or true
  end, {
    standin = true,
    look = function() end, -- starting again tells what the first start made known
  })
  job:amend(promise, { handle = handle })
  return copy
end

--- Is the copy under way, or done?
---@param job lib.Job
---@param array lib.Array
---@param copy lib.ArrayCopy
---@return boolean alive
---@return string? why_not
function M.is_alive(job, array, copy)
  local state <const> = state_of(job, array, copy)
  if not state then return false, "its copy was never started, or is forgotten" end
  if state.state == "failed" then return false, "its copy has failed" end
  return true
end

---@return boolean
function M.is_running(job, array, copy)
  local state <const> = state_of(job, array, copy)
  return state ~= nil and state.state == "running"
end

--- Follow a copy to its end: `for progress in copies.follow(job, array, copy) do … end`. Raises when it failed, and when it stands still
--- for too long.
---@return fun(): lib.CloneProgress?
function M.follow(job, array, copy)
  if job.dry_run then
    return function() end
  end
  return poll.follow("the copy inside " .. array.where, { stall_s = job.request.stall_s }, function()
    local found <const> = state_of(job, array, copy)
    if not found then fail.raise("failed", "%s does not know the copy %s any more", array.where, copy.id) end
    if found.state == "failed" then
      hints.raise("array's copy failed", { array = array.where, reason = found.reason or "it does not say why" })
    end
    local is_running <const> = found.state == "running"
    local percent <const> = is_running and math.max(0, math.min(100, found.percent or 0)) or 100
    local is_blind <const> = found.percent == nil
    return { running = is_running, percent = percent, blind = is_blind, state = found.state, offloaded = true }
  end)
end

--- Make certain that nothing of it writes any more, and that nothing of it is left: what is done stays done.
---@param job lib.Job
---@param array lib.Array
---@param copy lib.ArrayCopy
function M.stop(job, array, copy)
  job:effect("array.copy_stop", ("%s on %s"):format(copy.id, array.where), function()
    local _, why <const> = array:ask("copy_stop", copy.id, copy)
    if why then return nil, why end
    return true
  end, { standin = true, look = function() end })
end

return M
