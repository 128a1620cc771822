--- Where two values differ: for people who must see why.
local json <const> = require "lunalift.json"

local M <const> = {}

local LONGEST <const> = 300

local function keys_of(a, b)
  local seen <const>, keys <const> = {}, {}
  for _, value in ipairs { a, b } do
    for key in pairs(value) do
      if not seen[key] then keys[#keys + 1] = key end
      seen[key] = true
    end
  end
  table.sort(keys, function(one, other)
    if type(one) == type(other) then return one < other end
    return type(one) == "number"
  end)
  return keys
end

local function step(path, key)
  if type(key) == "number" then return ("%s[%d]"):format(path, key) end
  return path == "" and key or path .. "." .. key
end

--- The path of the first difference, "records[1].name", with both values there; nothing if there is none.
---@param a any plain data, as b
---@param b any
---@return string? path
---@return any
---@return any
function M.first(a, b, path)
  path = path or ""
  if type(a) ~= "table" or type(b) ~= "table" then
    if a == b then return nil end
    return path, a, b
  end
  for _, key in ipairs(keys_of(a, b)) do
    local where <const>, one <const>, other <const> = M.first(a[key], b[key], step(path, key))
    if where then return where, one, other end
  end
end

---@param value any
---@return string
function M.shown(value)
  if value == nil then return "nothing" end
  local text <const> = type(value) == "string" and value or json.encode(value)
  return #text <= LONGEST and text or text:sub(1, LONGEST) .. "…"
end

return M
