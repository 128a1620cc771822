--- Asking again: reads as they are, effects and undos by the same patience (see lib.job).
local fail <const> = require "lib.fail"
local log <const> = require "lunalift.log"
local timer <const> = require "lunalift.timer"

local M <const> = {}

local PASSING <const> = { timeout = true, unreachable = true, busy = true, protocol = true }
local FIRST_PAUSE_S <const> = 0.2
local LONGEST_PAUSE_S <const> = 5
local LONGEST_WISH_S <const> = 60 -- whatever Retry-After says
local SENSELESS_TRIES <const> = 3

--- May the same question be answered in a moment?
---@param why Fail
---@return boolean
function M.is_passing(why)
  if PASSING[why.kind] then return true end
  return why.kind == "failed" and why.status ~= nil and why.status >= 500
end

-- A whole answer that makes no sense: a proxy's page, say, that goes away at once or stays.
local function is_senseless(why) return why.kind == "protocol" and not why.unanswered end

---@class lib.Patience
local Patience <const> = {}
Patience.__index = Patience

---@param within_s number
---@param options? { pause_s: number?, stubborn: boolean?, effect: boolean?, entitled: boolean? } pause_s before the second try; stubborn:
--- even what looks final is tried three times; effect: what was refused, or not answered, is no final no; entitled: to what was allowed
--- a moment ago, so that a denial may pass
---@return lib.Patience
function M.patience(within_s, options)
  return setmetatable({
    within_s = within_s,
    until_s = timer.now() + within_s,
    pause_s = options and options.pause_s or FIRST_PAUSE_S,
    is_stubborn = options and options.stubborn,
    is_effect = options and options.effect,
    is_entitled = options and options.entitled,
    senseless = 0,
  }, Patience)
end

--- Wait before the next try. There is a second one even when the first took all the time: one lost answer ends nothing.
---@param what string for the log
---@param why Fail of the last one
---@return boolean again false, at once: it is final, or time is up
function Patience:wait(what, why)
  local is_passing <const> = M.is_passing(why) or self.is_entitled and why.kind == "denied"
  local is_open <const> = self.is_stubborn or self.is_effect and (why.refused or why.unanswered)
  if not is_passing and not is_open then return false end
  if not is_passing or is_senseless(why) then
    self.senseless = self.senseless + 1
    if self.senseless == SENSELESS_TRIES then return false end
  end
  local wait_s <const> = why.retry_after_s and math.min(why.retry_after_s, LONGEST_WISH_S) or self.pause_s
  local is_over <const> = timer.now() + wait_s > self.until_s
  if is_over and (self.has_waited or wait_s > self.within_s) then return false end
  self.has_waited = true
  log.info("trying again", { what = what, why = fail.text(why), in_s = wait_s })
  timer.sleep(wait_s)
  self.pause_s = math.min(2 * self.pause_s, LONGEST_PAUSE_S)
  return true
end

--- Call `ask()` until it returns something other than nil, failure, or the failure is final, or time is up: then nil and the last failure.
---@param what string for the log
---@param within_s number
---@param ask fun(): any, any
---@param options? table as patience takes them
---@return any value
---@return Fail? why
function M.read(what, within_s, ask, options)
  local patience <const> = M.patience(within_s, options)
  while true do
    local value <const>, why <const> = ask()
    if value ~= nil or why == nil then return value end
    if not patience:wait(what, why) then return nil, why end
  end
end

return M
