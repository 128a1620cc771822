--- The names that ESXi gives to SCSI devices.
local fail <const> = require "lib.fail"

local M <const> = {}

--- The identifier in `naa.<hex>`, `eui.<hex>` or `vml.<hex>` (of a volume with an identifier of 16 bytes), lower case.
---@param name string
---@return string hex
function M.identifier(name)
  local lower <const> = name:lower()
  local vml <const> = lower:match "^vml%.(.*)$"
  local hex <const> = vml and (#vml >= 42 and vml:sub(11, 42) or "") or lower:gsub("^naa%.", ""):gsub("^eui%.", "")
  if hex == "" or hex:find "%X" then
    fail.raise("config", '"%s" is no device name: naa., eui. or vml. and hex digits', name)
  end
  return hex
end

--- The id of a vVol without the prefixes that say what it is, lower case.
---@param vvol string
---@return string
function M.vvol(vvol)
  local id <const> = vvol:lower():gsub("^rfc4122%.", ""):gsub("^vvol:", ""):gsub("^naa%.", "")
  return id
end

--- The identifier of a device, or of a vVol that bears one, which begins with `prefix` and is `digits` long; nil for another array's.
---@param by { naa: string?, vvol: string? }
---@param prefix string
---@param digits integer
---@return string? hex
function M.own(by, prefix, digits)
  local hex <const> = by.naa and M.identifier(by.naa) or M.vvol(by.vvol):gsub("-", "")
  local is_own <const> = #hex == digits and hex:sub(1, #prefix) == prefix and not hex:find "%X"
  return is_own and hex or nil
end

--- Bytes as hex digits, lower case: arrays put an ASCII serial number so into the NAA.
---@param bytes string
---@return string
function M.hex(bytes)
  return (bytes:gsub(".", function(char) return ("%02x"):format(char:byte()) end))
end

---@param hex string an even number of digits
---@return string bytes
function M.bytes(hex)
  return (hex:gsub("..", function(pair) return string.char(tonumber(pair, 16)) end))
end

return M
