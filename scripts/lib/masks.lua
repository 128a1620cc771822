--- Which texts in a session with an array are secret, and what stands for them in a record of it.
local codec <const> = require "lunalift.codec"
local redact <const> = require "lib.redact"
local secret <const> = require "lunalift.secret"

local M <const> = {}

--- A secret, wherever one was.
M.MASK = "***"

local SHORTEST <const> = 12 -- what is shorter may be any word
local NAMES <const> =
  { "passw", "secret", "token", "api.?key", "session.?key", "cookie", "authorization", "credential", "private.?key" }

---@class lib.Masks
---@field is_login boolean answers to a login may call their token anything
local Masks <const> = {}
Masks.__index = Masks

---@return lib.Masks
function M.new() return setmetatable({ of = {}, count = 0, is_login = false }, Masks) end

local function is_secret_name(name)
  for _, pattern in ipairs(type(name) == "string" and NAMES or {}) do
    if name:lower():find(pattern) then return true end
  end
  return false
end

-- The same text is always masked alike, so that a script that hands on a token hands on its mask in a replay.
local function hide(self, text)
  if #text < SHORTEST or self.of[text] then return end
  self.count = self.count + 1
  self.of[text] = ("masked-%d"):format(self.count)
  self.of[codec.percent(text)] = self.of[text]
end

-- Whatever looks like a token, or is at the end of an address.
local function hide_token(self, text)
  local is_address <const> = text:find "^/" or text:find "^%a+://"
  local token <const> = is_address and text:match "[^/]*$" or text
  if not token:find "%s" then hide(self, token) end
end

local function hide_in(self, value, name)
  if type(value) == "table" then
    for key, inner in pairs(value) do
      hide_in(self, inner, type(key) == "string" and key or name)
    end
  elseif type(value) == "string" and is_secret_name(name) then
    hide(self, value)
  elseif type(value) == "string" and self.is_login then
    hide_token(self, value)
  end
end

local function hide_in_header(self, name, value)
  if name == "set-cookie" then
    for cookie in value:gmatch "[^=\n]+=([^;\n]*)[^\n]*" do
      hide(self, cookie)
    end
  elseif is_secret_name(name) then
    hide(self, value)
  elseif self.is_login and name == "location" then
    hide_token(self, value)
  end
end

--- Learn what is secret from an answer of the array.
---@param answer HttpReply|Fail
function Masks:learn(answer)
  for name, value in pairs(answer.headers or {}) do
    hide_in_header(self, name, value)
  end
  if answer.json == nil then
    hide_in(self, answer.body)
  else
    hide_in(self, answer.json)
  end
end

--- A copy that JSON can say, without the secrets that are known to be some.
---@param value any
---@param name? string of the field that it is in
---@return any
function M.plain(value, name)
  if secret.is(value) then return M.MASK end
  if type(value) == "function" then return nil end
  if type(value) == "string" then
    local is_hidden <const> = #value < SHORTEST and is_secret_name(name) and not value:find "^masked%-%d+$"
    return is_hidden and M.MASK or redact.value(value)
  end
  if type(value) ~= "table" then return value end
  local copy <const> = {}
  for key, inner in pairs(value) do
    copy[key] = M.plain(inner, type(key) == "string" and key or name)
  end
  return copy
end

local function by_length(a, b) return #a > #b end

-- Longest first: one secret may lie in another.
local function replace(value, texts, of)
  if type(value) == "string" then
    for _, text in ipairs(texts) do
      value = value:gsub(text:gsub("%p", "%%%0"), of[text])
    end
    return value
  end
  if type(value) ~= "table" then return value end
  for key, inner in pairs(value) do
    value[key] = replace(inner, texts, of)
  end
  return value
end

--- Put the masks in place of all that was learnt.
---@generic T
---@param value T plain data, changed in place
---@return T
function Masks:cover(value)
  local texts <const> = {}
  for text in pairs(self.of) do
    texts[#texts + 1] = text
  end
  table.sort(texts, by_length)
  return replace(value, texts, self.of)
end

return M
