--- Texts of peers may quote what they were sent.
local log <const> = require "lunalift.log"

local M <const> = {}

--- Hide secrets in every text of the value, in place. The data itself, not what it is encoded to: a secret may look like a number.
---@generic T
---@param value T
---@return T value
function M.value(value)
  if type(value) == "string" then return log.redact(value) end
  if type(value) ~= "table" then return value end
  for key, inner in pairs(value) do
    value[key] = M.value(inner)
  end
  return value
end

return M
