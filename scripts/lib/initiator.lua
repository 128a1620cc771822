--- The names that hosts and arrays give to ports, and when two of them are one port.
local fail <const> = require "lib.fail"

local M <const> = {}

---@class lib.Initiator
---@field kind "iscsi"|"fc"|"nvme"|"sas"|"sdc"
---@field id string an IQN or EUI; for FC as ESXi says it, fc.<16 hex WWNN>:<16 hex WWPN>; the host's NQN; a SAS address; PowerFlex' GUID
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

local function sift(wanted, held)
  local keys <const>, missing <const>, found <const> = {}, {}, {}
  for _, port in ipairs(held) do
    keys[M.key(port)] = true
  end
  for _, port in ipairs(wanted) do
    table.insert(keys[M.key(port)] and found or missing, port)
  end
  return missing, found
end

--- Those of `wanted` that are not among `held`.
---@generic T: string|lib.Initiator
---@param wanted T[]
---@param held (string|lib.Initiator)[]
---@return T[]
function M.missing(wanted, held)
  local missing <const> = sift(wanted, held)
  return missing
end

--- Those of `wanted` that are among `held`.
---@generic T: string|lib.Initiator
---@param wanted T[]
---@param held (string|lib.Initiator)[]
---@return T[]
function M.among(wanted, held)
  local _, found <const> = sift(wanted, held)
  return found
end

-- Which fabric a port speaks SCSI on, or nil and why it does not.
local function fabric_of(port)
  if port.kind == "fc" then
    local wwpn <const>, why = M.wwpn(port.id)
    return wwpn and "fc", why and why.message
  end
  local id <const> = port.id:lower()
  if port.kind == "iscsi" and (id:find "^iqn%." or id:find "^eui%.") then return "iscsi" end
  return nil, "speaks neither iSCSI nor FC"
end

--- One fabric for the whole host, for arrays whose host objects have one. It depends on the set of ports, not on their order: FC if there
--- is any, else iSCSI. Each port once.
---@param ports lib.Initiator[]
---@return "fc"|"iscsi"|nil fabric nil when no port can be used
---@return lib.Initiator[] chosen
---@return string[] left_out a text for each port that was not chosen, with the reason
function M.one_fabric(ports)
  local by <const>, left_out <const> = { fc = {}, iscsi = {} }, {}
  for _, port in ipairs(ports) do
    local fabric <const>, why = fabric_of(port)
    if not fabric then
      left_out[#left_out + 1] = ("%s %s: %s"):format(port.adapter, port.id, why)
    elseif #M.missing({ port }, by[fabric]) > 0 then
      table.insert(by[fabric], port)
    end
  end
  if not by.fc[1] then return by.iscsi[1] and "iscsi", by.iscsi, left_out end
  for _, port in ipairs(by.iscsi) do
    left_out[#left_out + 1] = ("%s %s: FC is used"):format(port.adapter, port.id)
  end
  return "fc", by.fc, left_out
end

--- The same for a host object that is to be made or found: raises where there is no port for it.
---@param ports lib.Initiator[]
---@param holder string "an igroup"
---@param hint string
---@return "fc"|"iscsi" fabric
---@return lib.Initiator[] chosen
---@return string? left_out of those that were not chosen, with the reasons
function M.choose(ports, holder, hint)
  local fabric <const>, chosen <const>, left_out <const> = M.one_fabric(ports)
  local text <const> = left_out[1] and table.concat(left_out, "; ")
  if fabric then return fabric, chosen, text end
  fail.advise("config", hint, "no initiator that %s can hold: %s", holder, text or "none given")
end

return M
