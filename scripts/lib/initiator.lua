--- The names that hosts and arrays give to ports, and when two of them are one port.
local fail <const> = require "lib.fail"

local M <const> = {}

---@class lib.Initiator
---@field kind "iscsi"|"fc"|"nvme"|"sas"|"other"
---@field id string an IQN or EUI; for FC as ESXi says it, fc.<16 hex WWNN>:<16 hex WWPN>; else what the adapter is called
---@field adapter string vmhba64

local function refuse(id, what) return nil, fail.new("protocol", 'FC adapter id "%s" %s', id, what) end

--- The two names in `fc.<WWNN>:<WWPN>`, in upper case.
---@param id string
---@return string? wwnn
---@return string|Fail wwpn or why not
function M.parse_fc(id)
  local names <const> = id:match "^fc%.(.*)$"
  if not names then return refuse(id, "does not start with fc.") end
  local wwnn <const>, wwpn <const> = names:match "^([^:]*):([^:]*)$"
  if not wwnn then return refuse(id, "is not two names with one colon between") end
  if wwnn == "" or wwpn == "" then return refuse(id, "has an empty half") end
  if #wwnn % 2 == 1 or #wwpn % 2 == 1 then return refuse(id, "has an odd number of digits in a half") end
  if (wwnn .. wwpn):find "%X" then return refuse(id, "is not hexadecimal") end
  return wwnn:upper(), wwpn:upper()
end

--- The port name in `fc.<WWNN>:<WWPN>`: 16 upper-case digits, no separators.
---@param id string
---@return string? wwpn
---@return Fail? why
function M.wwpn(id)
  local wwnn <const>, wwpn <const> = M.parse_fc(id)
  if not wwnn then return nil, wwpn end
  if #wwpn ~= 16 then return refuse(id, "has a port name that is not 16 digits long") end
  return wwpn
end

--- 2100AB… → 21:00:AB:…, in the case given; an odd last digit stands alone.
---@param hex string
---@return string
function M.colons(hex) return (hex:gsub("..", "%0:"):gsub(":$", "")) end

--- A WWN without separators, in upper case. Not for IQNs, where they mean something.
---@param wwn string
---@return string
function M.normalise(wwn) return (wwn:gsub("[:%-%s]", ""):upper()) end

--- One text for all the ways to write one port: to compare with, or to key a table by.
---@param port string|lib.Initiator an initiator, or a target as an array told it
---@return string
function M.key(port)
  local id <const> = type(port) == "table" and port.id or port
  local bare <const> = M.wwpn(id:lower()) or M.normalise(id)
  if #bare == 16 and not bare:find "%X" then return bare end
  return id:lower()
end

---@param a string|lib.Initiator
---@param b string|lib.Initiator
---@return boolean
function M.same(a, b) return M.key(a) == M.key(b) end

return M
