--- How long to wait before the next try: longer each time, and not at the same moment as everybody else.
local M <const> = {}

local FIRST_S <const>, LONGEST_S <const> = 0.2, 30
local DOUBLINGS <const> = 32 -- no longest wait is further away

--- Between three quarters of it and all of it.
---@param seconds number
---@return number
function M.spread(seconds) return seconds * (0.75 + 0.25 * math.random()) end

---@param failures integer in a row, from 1 on
---@param options? { first_s: number?, longest_s: number?, wish_s: number? } wish_s: what the peer has asked for, at least
---@return number seconds
function M.after(failures, options)
  local given <const> = options or {}
  local grown_s <const> = (given.first_s or FIRST_S) * 2 ^ math.min(failures - 1, DOUBLINGS)
  return math.max(M.spread(math.min(grown_s, given.longest_s or LONGEST_S)), given.wish_s or 0)
end

return M
