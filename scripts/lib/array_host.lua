--- The inside of an array's own Lua state: loads the vendor script, opens the array, answers calls. Only plain data goes in and out.
local fail <const> = require "lib.fail"
local rest <const> = require "lib.rest"

local M <const> = {}

local array, tape

-- Functions cannot leave this state.
local function plain(value)
  if type(value) == "function" then return nil end
  if type(value) ~= "table" then return value end
  local copy <const> = {}
  for key, inner in pairs(value) do
    copy[key] = plain(inner)
  end
  return copy
end

--- The vendor's metadata.
---@param vendor string
function M.describe(vendor)
  local script <const> = require("vendors." .. vendor)
  if type(script) ~= "table" then fail.raise("config", "it returns %s, no table", type(script)) end
  local metadata <const> = plain(script)
  metadata.options, metadata.limits = metadata.options or {}, metadata.limits or {}
  metadata.opens = type(script.open) == "function"
  return metadata
end

local function open(vendor, conf)
  local script <const> = require("vendors." .. vendor)
  conf.limits = conf.limits or script.limits
  local ok <const>, opened <const> = pcall(script.open, conf)
  if not ok then
    rest.abandon()
    error(opened)
  end
  array = opened
  return true
end

--- Whatever was opened half-way is logged out of: arrays have few sessions.
---@param vendor string
---@param conf table
function M.open(vendor, conf)
  if not tape then return open(vendor, conf) end
  return tape.call("open", { vendor, conf }, function() return open(vendor, conf) end)
end

--- Call one function of the contract.
---@param name string
function M.call(name, ...)
  local method <const> = array[name]
  if not method then fail.raise("unsupported", "this array has no %s", name) end
  if not tape then return method(array, ...) end
  local given <const> = table.pack(...)
  return tape.call(name, given, function() return method(array, table.unpack(given, 1, given.n)) end)
end

--- Keep all calls from now on, the opening one first, with what is asked and answered; `tape` tells them.
function M.record()
  tape = require "lib.tape"
  tape.record()
end

--- Let no array answer, but what was kept.
---@param text string
function M.replay(text)
  tape = require "lib.tape"
  tape.replay(text)
end

---@return string calls
function M.tape() return tape.text() end

---@return string? text of the first difference from what is replayed
function M.difference() return tape.difference() end

---@param name string
---@return boolean
function M.has(name) return array[name] ~= nil end

return M
