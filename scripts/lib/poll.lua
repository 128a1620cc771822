--- Waiting for what a peer does in the background.
local fail <const> = require "lib.fail"
local timer <const> = require "lunalift.timer"

local M <const> = {}

--- Ask until `look()` returns something, which is the result; it raises what ends the wait. The pause doubles from `every_s` to ten
--- times that. When time is up the peer may still do it: the failure is `unanswered`.
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
    local found <const> = look()
    if found then return found end
    local left_s <const> = until_s - timer.now()
    if left_s <= 0 then
      local why <const> = fail.new("timeout", "%s has not ended within %g s", what, options.within_s)
      why.unanswered = true
      error(why)
    end
    timer.sleep(math.min(pause_s, left_s))
    pause_s = math.min(2 * pause_s, longest_s)
  end
end

return M
