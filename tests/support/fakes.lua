--- Stand-ins for the C modules that the lab's simulators call, so that their handlers run without sockets and by a clock of
--- their own. Under plain Lua too: LUA_PATH='scripts/?.lua;tests/?.lua;;' busted --lua=lua5.4 tests/spec/lab
local cjson <const> = require "cjson"

local M <const> = {}

local NULL <const> = cjson.null
local ARRAY <const> = {}

local function plain(value, in_list)
  if value == NULL then return in_list and NULL or nil end
  if type(value) == "number" then return math.tointeger(value) or value end
  if type(value) ~= "table" then return value end
  local is_list <const>, copy <const> = value[1] ~= nil, {}
  for key, item in pairs(value) do
    copy[key] = plain(item, is_list)
  end
  return copy
end

local function quoted(text)
  return '"' .. text:gsub('[%c"\\]', function(char) return ("\\u%04x"):format(char:byte()) end) .. '"'
end

local encode

local function encode_table(value)
  local parts <const> = {}
  if value[1] ~= nil or getmetatable(value) == ARRAY then
    for i, item in ipairs(value) do
      parts[i] = encode(item)
    end
    return "[" .. table.concat(parts, ",") .. "]"
  end
  for key, item in pairs(value) do
    parts[#parts + 1] = quoted(key) .. ":" .. encode(item)
  end
  table.sort(parts)
  return "{" .. table.concat(parts, ",") .. "}"
end

function encode(value)
  if type(value) == "table" then return encode_table(value) end
  if type(value) == "string" then return quoted(value) end
  if value == NULL then return "null" end
  assert(type(value) == "number" or type(value) == "boolean", "json cannot say a " .. type(value))
  return tostring(value)
end

M.json = {
  null = NULL,
  encode = encode,
  array = function(items) return setmetatable(items, ARRAY) end,
  decode = function(text)
    local ok <const>, value <const> = pcall(cjson.decode, text)
    if ok then return plain(value) end
    return nil, { kind = "protocol", message = value }
  end,
}

local DIGITS <const> = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

local function hex(count)
  local bytes <const> = {}
  for i = 1, count do
    bytes[i] = ("%02x"):format(math.random(0, 255))
  end
  return table.concat(bytes)
end

M.codec = {
  random_hex = hex,
  uuid = function() return (hex(16):gsub("^(........)(....)(....)(....)(............)$", "%1-%2-%3-%4-%5")) end,
  percent = function(text, safe)
    return (
      text:gsub("[^%w%-._~]", function(char)
        if safe and safe:find(char, 1, true) then return char end
        return ("%%%02X"):format(char:byte())
      end)
    )
  end,
  unpercent = function(text)
    return (text:gsub("%%(%x%x)", function(digits) return string.char(tonumber(digits, 16)) end))
  end,
  base64 = function(bytes)
    local out <const> = {}
    for i = 1, #bytes, 3 do
      local a <const>, b <const>, c <const> = bytes:byte(i, i + 2)
      local word <const> = a << 16 | (b or 0) << 8 | (c or 0)
      for shift = 18, 0, -6 do
        local at <const> = (word >> shift & 63) + 1
        out[#out + 1] = DIGITS:sub(at, at)
      end
      if not c then out[#out] = "=" end
      if not b then out[#out - 1] = "=" end
    end
    return table.concat(out)
  end,
  unbase64 = function(text)
    local bits, count = 0, 0
    local out <const> = {}
    for char in text:gmatch "[%w+/]" do
      bits, count = bits << 6 | DIGITS:find(char, 1, true) - 1, count + 6
      if count >= 8 then
        count = count - 8
        out[#out + 1] = string.char(bits >> count & 255)
      end
    end
    return table.concat(out)
  end,
}

local clock = 0

M.timer = {
  now = function()
    clock = clock + 1
    return clock
  end,
  epoch = function() return 1767225600 + clock end,
  iso = function() return ("2026-01-01T00:00:%02d.%06dZ"):format(clock % 60, clock) end,
  parse = function(text)
    local second <const> = text:match "^2026%-01%-01T00:00:(%d%d)[.%d]*Z$" -- as iso has it
    return second and 1767225600 + tonumber(second)
  end,
  sleep = function() return true end,
}

-- Inside the real runtime, its own.
for _, name in ipairs { "json", "codec" } do
  local ok <const>, real <const> = pcall(require, "lunalift." .. name)
  if ok then M[name] = real end
end

local function ignore() end

--- Put them where `require` finds them.
function M.install()
  package.loaded["lunalift.json"] = M.json
  package.loaded["lunalift.codec"] = M.codec
  package.loaded["lunalift.timer"] = M.timer
  package.loaded["lunalift.fs"] = { truncate = function() return true end }
  package.loaded["lunalift.log"] = { debug = ignore, info = ignore, warn = ignore, error = ignore }
  package.loaded["lunalift.server"] = {}
end

return M
