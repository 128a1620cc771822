--- How the array says no.
local json <const> = require "lunalift.json"

---@class primera3par.refusal
local M <const> = {}

--- Refuse a request: raised, and made an answer by `guard`.
---@param status integer
---@param code integer
---@param desc string
function M.raise(status, code, desc) error({ refusal = { status = status, body = { code = code, desc = desc } } }, 0) end

---@param status integer
---@param value? table nil: no body at all
---@param location? string
---@return ServerAnswer
function M.answer(status, value, location)
  local headers <const> = { ["Content-Type"] = value and "application/json" or nil, Location = location }
  return { status = status, headers = headers, body = value and json.encode(value) or "" }
end

--- Call `fn`; what it refused becomes the answer.
---@param fn fun(...): ServerAnswer
---@return ServerAnswer
function M.guard(fn, ...)
  local ok <const>, answer <const> = pcall(fn, ...)
  if ok then return answer end
  if type(answer) ~= "table" or not answer.refusal then error(answer, 0) end
  return M.answer(answer.refusal.status, answer.refusal.body)
end

return M
