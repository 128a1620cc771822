--- Command-line flags in Go's syntax, each with a twin in the environment.
local env <const> = require "lunalift.env"
local fail <const> = require "lib.fail"
local secret <const> = require "lunalift.secret"
local words <const> = require "lib.words"

local M <const> = {}

---@class lib.Flag
---@field name string "source-vm-id"
---@field help string
---@field type? "string"|"bool"|"integer"|"seconds"|"secret"|"level"|"list" string; a level is a bool that may bring a number; a list is
--- split at commas, and goes on where the flag is given again
---@field default? any
---@field env? string upstream's variable; the twin LUNALIFT_<FLAG> is always read, before it
---@field choices? string[]
---@field ignored? boolean taken for upstream's sake, without effect; not in the help

local TRUE <const> = { ["1"] = true, t = true, T = true, ["true"] = true, TRUE = true, True = true }
local FALSE <const> = { ["0"] = true, f = true, F = true, ["false"] = true, FALSE = true, False = true }

local SEE_HELP <const> = "see lunalift help"

local function refuse(fmt, ...) error(fail.hint(fail.new("config", fmt, ...), SEE_HELP)) end

local CONVERT <const> = {
  string = function(_, text) return text end,
  secret = function(_, text) return secret.is(text) and text or secret.new(text) end,
  bool = function(source, text)
    if TRUE[text] then return true end
    if FALSE[text] then return false end
    refuse("%s: '%s' is neither true nor false", source, text)
  end,
  integer = function(source, text)
    return math.tointeger(tonumber(text)) or refuse("%s: '%s' is not a whole number", source, text)
  end,
  seconds = function(source, text)
    local number <const> = tonumber(text)
    if number and number >= 0 and number < math.huge then return number end
    refuse("%s: '%s' is no number of seconds", source, text)
  end,
}
CONVERT.level = CONVERT.integer

function CONVERT.list(_, text)
  local items <const> = {}
  for item in text:gmatch "[^,]+" do
    items[#items + 1] = item:match "^%s*(.-)%s*$"
  end
  return items
end

--- What a text means, by the declared type and choices. Raises a config failure that names the source.
---@param flag lib.Flag or an option of a vendor
---@param source string "--name", or the variable
---@param text string|Secret
---@return any
function M.convert(flag, source, text)
  local value <const> = CONVERT[flag.type or "string"](source, text)
  if not flag.choices then return value end
  for _, choice in ipairs(flag.choices) do
    if choice == value then return value end
  end
  local near <const> = words.nearest(value, flag.choices)
  local why <const> = fail.new("config", "%s: '%s' is not one of %s", source, value, table.concat(flag.choices, ", "))
  error(fail.hint(why, near and ("did you mean %s?"):format(near) or SEE_HELP))
end

-- What follows the word may be a secret, as in --password:secret.
local function unknown(given, flags)
  local name <const> = given:match "^[%w_-]*"
  local names <const> = {}
  for _, flag in ipairs(flags) do
    names[#names + 1] = flag.name
  end
  local near <const> = words.nearest(name, names)
  local why <const> = fail.new("config", "unknown flag --%s", name)
  error(fail.hint(why, near and ("did you mean --%s?"):format(near) or SEE_HELP))
end

-- A bool stands alone or has =value; a level too, or a number follows; all others take =value or the next word.
local function take(args, i, flag, value)
  if value then return value, i end
  if flag.type == "level" then
    if (args[i + 1] or ""):find "^%d+$" then return args[i + 1], i + 1 end
    return "1", i
  end
  if flag.type == "bool" then return "true", i end
  if args[i + 1] == nil then refuse("flag --%s needs a value", flag.name) end
  return args[i + 1], i + 1
end

local function added(before, value)
  if type(before) ~= "table" then return value end
  return table.move(value, 1, #value, #before + 1, before)
end

--- Neither absent nor empty.
---@param value any
---@return boolean
function M.is_given(value)
  if secret.is(value) then return not value:is_empty() end
  return value ~= nil and value ~= ""
end

--- The variable that says the same as a flag, whatever other name upstream has for it.
---@param name string of the flag
---@return string
function M.twin(name) return "LUNALIFT_" .. name:upper():gsub("-", "_") end

local function from_environment(flag, environment)
  for _, name in ipairs { M.twin(flag.name), flag.env } do
    local value <const> = flag.type == "secret" and environment.secret(name) or environment.get(name)
    if M.is_given(value) then return M.convert(flag, name, value) end
  end
  return flag.default
end

--- Read the words. Returns the values by flag name, and the words that are no flags. Raises config failures that name the flag.
---@param args string[]
---@param flags lib.Flag[]
---@param environment? lib.Environment
---@return table<string, any> values
---@return string[] rest
function M.parse(args, flags, environment)
  local by_name <const>, values <const>, rest <const> = {}, {}, {}
  for _, flag in ipairs(flags) do
    by_name[flag.name] = flag
  end
  local i = 1
  while i <= #args do
    local name <const> = args[i]:match "^%-%-?([^=-][^=]*)"
    if args[i] == "--" then
      table.move(args, i + 1, #args, #rest + 1, rest)
      break
    elseif not name then
      rest[#rest + 1] = args[i]
    else
      local flag <const> = by_name[name] or unknown(name, flags)
      local value
      value, i = take(args, i, flag, args[i]:match "=(.*)$")
      values[name] = added(values[name], M.convert(flag, "--" .. name, value))
    end
    i = i + 1
  end
  for _, flag in ipairs(flags) do
    if values[flag.name] == nil then values[flag.name] = from_environment(flag, environment or env) end
  end
  return values, rest
end

--- The help text: one line a flag, with its default and upstream's variable.
---@param flags lib.Flag[]
---@return string
function M.help(flags)
  local lines <const> = {}
  for _, flag in ipairs(flags) do
    local default <const> = flag.default and ("; default: %s"):format(flag.default) or ""
    local variable <const> = flag.env and (" (%s)"):format(flag.env) or ""
    if not flag.ignored then
      lines[#lines + 1] = ("  --%-30s %s%s%s"):format(flag.name, flag.help, default, variable)
    end
  end
  return table.concat(lines, "\n")
end

return M
