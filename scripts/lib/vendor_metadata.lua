--- What a vendor script declares of itself, against the contract.
local contract <const> = require "lib.vendor_contract"
local line_of <const> = require("lib.lua_words").line_of
local words <const> = require "lib.words"

local M <const> = {}

local function check_list(source, field, value, known)
  local line <const> = line_of(source.tokens, field)
  if type(value) ~= "table" or #value == 0 then
    local sample <const> = known and known[1] or "csi.example.com"
    return source.add(line, field .. " is missing or no list", ('write %s = { "%s" }'):format(field, sample))
  end
  for _, each in ipairs(value) do
    if type(each) ~= "string" then
      source.add(line, ("%s holds %s"):format(field, type(each)), "it is a list of strings")
    elseif known and not contract.has(known, each) then
      source.add(
        line,
        ("'%s' is none of the %s"):format(each, field),
        words.suggestion(each, known, "there are " .. words.list(known))
      )
    end
  end
end

local function check_kinds(source, metadata)
  local names <const> = {}
  for name in pairs(contract.METADATA) do
    names[#names + 1] = name
  end
  table.sort(names)
  for field, value in pairs(metadata) do
    local wanted <const> = contract.METADATA[field]
    local line <const> = line_of(source.tokens, field)
    if not wanted and field ~= "opens" then
      source.add(
        line,
        ("there is no metadata '%s'"):format(field),
        words.suggestion(tostring(field), names, "take it away")
      )
    elseif wanted and type(value) ~= wanted then
      source.add(line, ("%s is a %s"):format(field, type(value)), "it must be a " .. wanted)
    end
  end
end

local function check_env(source, name, option, seen)
  local line <const> = line_of(source.tokens, name, "options")
  local env <const> = option.env
  if type(env) ~= "string" or not env:find "^[A-Z][A-Z0-9_]*$" then
    local fix <const> = ('write env = "%s_%s"'):format(source.name:upper(), name:upper())
    return source.add(line, ("option %s has no environment variable"):format(name), fix)
  end
  if contract.has(contract.RESERVED, env) or env:find "^LUNALIFT_" then
    source.add(line, env .. " is the program's own", ("call it %s_%s"):format(source.name:upper(), name:upper()))
  end
  if seen[env] then
    source.add(line, ("%s is the variable of the option %s, too"):format(env, seen[env]), "give each its own")
  end
  seen[env] = name
end

local DEFAULTS <const> =
  { string = "string", secret = "string", bool = "boolean", integer = "number", seconds = "number" }

local function check_value(source, name, option)
  local line <const>, kind <const> = line_of(source.tokens, name, "options"), option.type or "string"
  if not contract.has(contract.OPTION_TYPES, kind) then
    local fix <const> =
      words.suggestion(tostring(kind), contract.OPTION_TYPES, "there are " .. words.list(contract.OPTION_TYPES))
    return source.add(line, ("option %s has the type '%s'"):format(name, kind), fix)
  end
  local default <const> = option.default
  if kind == "secret" and default ~= nil then
    source.add(line, ("option %s is a secret with a default"):format(name), "a secret comes from the environment alone")
  elseif default ~= nil and type(default) ~= DEFAULTS[kind] then
    source.add(line, ("option %s is a %s, its default a %s"):format(name, kind, type(default)), "make them agree")
  elseif default ~= nil and option.required then
    source.add(line, ("option %s is required and has a default"):format(name), "take one of the two away")
  end
  if option.choices and (kind ~= "string" or type(option.choices) ~= "table" or #option.choices == 0) then
    source.add(line, ("option %s has no fit choices"):format(name), 'choices are strings: choices = { "a", "b" }')
  elseif option.choices and default ~= nil and not contract.has(option.choices, default) then
    source.add(line, ("option %s has a default that is none of its choices"):format(name), "add it to them")
  end
end

local function check_options(source, options)
  local names <const>, seen <const> = {}, {}
  for name in pairs(type(options) == "table" and options or {}) do
    names[#names + 1] = tostring(name)
  end
  table.sort(names)
  for _, name in ipairs(names) do
    local option <const>, line <const> = options[name], line_of(source.tokens, name, "options")
    if type(option) ~= "table" then
      source.add(line, ("option %s is no table"):format(name), 'write { type = "string", env = "…", help = "…" }')
    else
      for field in pairs(option) do
        if not contract.has(contract.OPTION_FIELDS, field) then
          local fix <const> = words.suggestion(tostring(field), contract.OPTION_FIELDS, "take it away")
          source.add(line, ("option %s has a field '%s'"):format(name, field), fix)
        end
      end
      if contract.has(contract.COMMON, name) then
        source.add(line, ("option %s is every array's"):format(name), "give it another name")
      end
      if type(option.help) ~= "string" then
        source.add(line, ("option %s has no help"):format(name), 'write help = "what it is, and where to find it"')
      end
      check_env(source, name, option, seen)
      check_value(source, name, option)
    end
  end
end

local function check_limits(source, limits)
  for name, value in pairs(type(limits) == "table" and limits or {}) do
    local line <const> = line_of(source.tokens, name, "limits")
    if not contract.has(contract.LIMITS, name) then
      source.add(line, ("there is no limit '%s'"):format(name), "there is " .. words.list(contract.LIMITS))
    elseif type(value) ~= "number" or value <= 0 then
      source.add(line, ("the limit %s is no number above 0"):format(name), "write what the array bears")
    end
  end
end

--- Complains with `source.add`.
---@param source lib.VendorSource
---@param metadata table as lib.arrays describes it
function M.check(source, metadata)
  local tokens <const> = source.tokens
  if metadata.api ~= contract.API then
    source.add(line_of(tokens, "api"), ("api is %s"):format(metadata.api), ("write api = %d"):format(contract.API))
  end
  if metadata.name ~= source.name then
    local fix <const> = ('write name = "%s", or rename the file'):format(source.name)
    source.add(line_of(tokens, "name"), ("name is %s, the file %s.lua"):format(metadata.name, source.name), fix)
  end
  if type(metadata.title) ~= "string" then
    source.add(line_of(tokens, "title"), "title is missing", 'write title = "what people call the array"')
  end
  if metadata.status and not contract.has(contract.STATUSES, metadata.status) then
    source.add(line_of(tokens, "status"), ("status is %s"):format(metadata.status), "there are stable and experimental")
  end
  if not metadata.opens then
    source.add(
      line_of(tokens, "api"),
      "there is no open",
      "write function M.open(conf), which logs in and returns the array"
    )
  end
  check_kinds(source, metadata)
  check_list(source, "drivers", metadata.drivers)
  check_list(source, "fabrics", metadata.fabrics, contract.FABRICS)
  check_options(source, metadata.options)
  check_limits(source, metadata.limits)
end

return M
