---@meta lunalift.timer
---@class lunalift.timer
local timer = {}

--- Park for a while.
---@param seconds number 0 … 86400
---@return boolean true
function timer.sleep(seconds) end

---@return number seconds monotonic
function timer.now() end

---@return integer seconds since 1970
function timer.epoch() end

--- UTC, RFC 3339 with microseconds: 2026-01-31T12:00:00.000000Z
---@param epoch? number
---@return string
function timer.iso(epoch) end

--- Seconds since 1970 of an RFC 3339 time; nil when it is none.
---@param text string
---@return number?
function timer.parse(text) end

return timer
