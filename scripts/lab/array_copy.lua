--- A copy of one volume onto another that an array makes by itself. Real bytes, paced by the clock; they move when somebody asks, so that a
--- copy that was stopped writes nothing more.
local fs <const> = require "lunalift.fs"
local timer <const> = require "lunalift.timer"

---@class lab.array_copy
local M <const> = {}

local CHUNK <const> = 1048576

---@class lab.CopyPace
---@field rate? integer bytes a second; none: at once
---@field hang_at? integer percent
---@field fail_at? integer percent

---@class lab.ArrayCopy
---@field source { path: string, size_bytes: integer }
---@field target { path: string }
---@field state "running"|"done"|"failed"|"stopped"
---@field done integer bytes
---@field began_s number

---@return lab.ArrayCopy
function M.start(source, target)
  return { source = source, target = target, state = "running", done = 0, began_s = timer.now() }
end

local function due(copy, pace)
  local size <const> = copy.source.size_bytes
  local bytes = size
  if (pace.rate or 0) > 0 then bytes = math.min(size, math.floor(pace.rate * (timer.now() - copy.began_s))) end
  local limit <const> = math.min(pace.hang_at or 100, pace.fail_at or 100)
  return math.min(bytes, size * limit // 100)
end

--- Move what is due by now.
---@param copy lab.ArrayCopy
---@param pace lab.CopyPace
function M.advance(copy, pace)
  if copy.state ~= "running" then return end
  local till <const>, size <const> = due(copy, pace), copy.source.size_bytes
  while copy.done < till do
    local length <const> = math.min(CHUNK, till - copy.done)
    assert(fs.pwrite(copy.target.path, copy.done, assert(fs.pread(copy.source.path, copy.done, length))))
    copy.done = copy.done + length
  end
  if copy.done == size then
    copy.state = "done"
  elseif pace.fail_at and copy.done == size * pace.fail_at // 100 then
    copy.state = "failed"
  end
end

---@param copy lab.ArrayCopy
---@return integer
function M.percent(copy) return copy.done * 100 // copy.source.size_bytes end

return M
