--- Asking again: for reads only. What changes something is looked up instead (see lib.job's effects).
local fail <const> = require "lib.fail"
local log <const> = require "lunalift.log"
local timer <const> = require "lunalift.timer"

local M <const> = {}

local PASSING <const> = { timeout = true, unreachable = true, busy = true, protocol = true }
local FIRST_PAUSE_S <const> = 0.2
local LONGEST_PAUSE_S <const> = 5
local SENSELESS_TRIES <const> = 3

--- May the same question be answered in a moment?
---@param why Fail
---@return boolean
function M.is_passing(why)
  if PASSING[why.kind] then return true end
  return why.status ~= nil and why.status >= 500
end

-- A whole answer that makes no sense: a proxy's page, say, that goes away at once or stays.
local function is_senseless(why) return why.kind == "protocol" and not why.unanswered end

--- Call `ask()` until it returns something other than nil, failure, or the failure is final, or time is up: then nil and the last failure.
---@param what string for the log
---@param within_s number
---@param ask fun(): any, any
---@return any value
---@return Fail? why
function M.read(what, within_s, ask)
  local until_s <const> = timer.now() + within_s
  local pause_s, senseless = FIRST_PAUSE_S, 0
  while true do
    local value <const>, why <const> = ask()
    if value ~= nil or why == nil then return value end
    local wait_s <const> = why.retry_after_s or pause_s
    if is_senseless(why) then senseless = senseless + 1 end
    local is_final <const> = not M.is_passing(why) or senseless == SENSELESS_TRIES
    if is_final or timer.now() + wait_s > until_s then return nil, why end
    log.info("asking again", { what = what, why = fail.text(why), in_s = wait_s })
    timer.sleep(wait_s)
    pause_s = math.min(2 * pause_s, LONGEST_PAUSE_S)
  end
end

return M
