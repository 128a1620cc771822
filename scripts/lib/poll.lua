--- Waiting for what a peer does in the background.
local fail <const> = require "lib.fail"
local timer <const> = require "lunalift.timer"

local M <const> = {}

-- The work was accepted: whatever ends the waiting, it may still be done.
local function give_up(why)
  local failure <const> = fail.of(why)
  failure.unanswered, failure.refused = true, nil
  error(failure)
end

--- Ask after work that a peer has accepted until `look()` returns something, which is the result. The pause doubles from `every_s` to ten
--- times that. Time-out, and what `look` raises, are raised as `unanswered`.
---@generic T
---@param what string for the message when time is up
---@param options { within_s: number, every_s: number? }
---@param look fun(): T?
---@return T
function M.wait(what, options, look)
  local until_s <const> = timer.now() + options.within_s
  local pause_s = options.every_s or 0.2
  local longest_s <const> = 10 * pause_s
  while true do
    local done <const>, found = pcall(look)
    if not done then give_up(found) end
    if found then return found end
    local left_s <const> = until_s - timer.now()
    if left_s <= 0 then give_up(fail.new("timeout", "%s has not ended within %g s", what, options.within_s)) end
    timer.sleep(math.min(pause_s, left_s))
    pause_s = math.min(2 * pause_s, longest_s)
  end
end

return M
