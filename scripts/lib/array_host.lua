--- The inside of an array's own Lua state: loads the vendor script, opens the array, answers calls. Only plain data goes in and out.
local fail <const> = require "lib.fail"
local rest <const> = require "lib.rest"

local M <const> = {}

local OPTION_FIELDS <const> = { "type", "default", "choices", "help", "env", "required" }

local array

--- The vendor's metadata.
---@param vendor string
function M.describe(vendor)
  local script <const> = require("vendors." .. vendor)
  local options <const> = {}
  for name, option in pairs(script.options or {}) do
    options[name] = {}
    for _, field in ipairs(OPTION_FIELDS) do
      options[name][field] = option[field]
    end
  end
  return {
    api = script.api,
    name = script.name,
    title = script.title,
    drivers = script.drivers,
    fabrics = script.fabrics,
    limits = script.limits or {},
    options = options,
  }
end

--- Whatever was opened half-way is logged out of: arrays have few sessions.
---@param vendor string
---@param conf table
function M.open(vendor, conf)
  local script <const> = require("vendors." .. vendor)
  conf.limits = script.limits
  local ok <const>, opened <const> = pcall(script.open, conf)
  if not ok then
    rest.abandon()
    error(opened)
  end
  array = opened
  return true
end

--- Call one function of the contract.
---@param name string
function M.call(name, ...)
  local method <const> = array[name]
  if not method then fail.raise("unsupported", "this array has no %s", name) end
  return method(array, ...)
end

---@param name string
---@return boolean
function M.has(name) return array[name] ~= nil end

return M
