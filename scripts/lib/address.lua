--- Addresses as users write them: name, name:port, 10.0.0.1, fd00::1, [fd00::1]:8443, https://name/path.
local M <const> = {}

local function is_bare_v6(text) return text:find "^%x*:[%x:.]*:[%x:.]*$" ~= nil end

--- The same, with a lone IPv6 address in brackets, as URLs want it.
---@param text string
---@return string
function M.bracketed(text) return is_bare_v6(text) and ("[%s]"):format(text) or text end

--- The name or address alone.
---@param text string
---@return string
function M.host(text)
  local authority <const> = M.bracketed(text):gsub("^%a+://", ""):gsub("/.*$", "")
  return authority:match "^%[(.-)%]" or authority:match "^[^:]+" or authority
end

return M
