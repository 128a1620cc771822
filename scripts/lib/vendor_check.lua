--- What a vendor script lacks of the contract, found without opening an array: each with its line, and what to write instead.
local arrays <const> = require "lib.arrays"
local contract <const> = require "lib.vendor_contract"
local lua_words <const> = require "lib.lua_words"
local script <const> = require "lunalift.script"
local vendor_metadata <const> = require "lib.vendor_metadata"
local words <const> = require "lib.words"

local M <const> = {}

---@class lib.VendorProblem
---@field line integer
---@field text string
---@field fix string

---@class lib.VendorVerdict
---@field problems lib.VendorProblem[] by line
---@field title? string
---@field offers string[] functions of the contract that it has
---@field absent string[] optional ones that it has not

---@class lib.VendorSource what is being checked
---@field name string the product key that the file's name says
---@field tokens lib.LuaWord[]
---@field add fun(line: integer, text: string, fix: string)

local GLOBALS <const> = {}
for name in
  ([[assert error ipairs next pairs getmetatable rawequal rawget rawlen select tonumber tostring type string table math utf8 os pcall xpcall
    setmetatable require]]):gmatch "%a%w*"
do
  GLOBALS[name] = true
end

local FORBIDDEN <const> = {
  io = "files and the terminal are not offered to vendors: what a vendor needs to know comes in conf",
  debug = "take it away: it is not offered to vendors",
  load = "write the code out: none is made at run time",
  loadfile = 'use require "lib.name"',
  dofile = 'use require "lib.name"',
  coroutine = "take it away: what must wait is done by lib.poll",
  print = 'use require "lunalift.log"',
  rawset = "assign: tables of vendors have no __newindex",
  collectgarbage = "take it away: it is not offered to vendors",
}

local is_at <const> = lua_words.is_at

-- ---- names ----

-- The names of a list that begins at `i`: a, b <const>, …
local function names_from(tokens, i)
  local names <const> = {}
  while tokens[i] and tokens[i].kind == "name" do
    names[#names + 1] = tokens[i].text
    i = i + 1
    if is_at(tokens, i, "<") then i = i + 3 end
    if not is_at(tokens, i, ",") then break end
    i = i + 1
  end
  return names, i
end

local function params_at(tokens, i)
  while tokens[i] and not is_at(tokens, i, "(") do
    i = i + 1
  end
  return (names_from(tokens, i + 1))
end

-- Every name that is a local anywhere: rough, but it wrongs nobody.
local function locals_of(tokens)
  local known <const> = { self = true, _ENV = true }
  for i, token in ipairs(tokens) do
    local list = {}
    if token.text == "local" and is_at(tokens, i + 1, "function") then
      list = names_from(tokens, i + 2)
    elseif token.kind == "keyword" and (token.text == "local" or token.text == "for") then
      list = names_from(tokens, i + 1)
    elseif token.kind == "keyword" and token.text == "function" then
      list = params_at(tokens, i + 1)
    end
    for _, name in ipairs(list) do
      known[name] = true
    end
  end
  return known
end

-- Is the name before `=` a field of a table that is being written down?
local OPENS <const> = { ["{"] = true, ["function"] = true, ["do"] = true, ["if"] = true, ["repeat"] = true }
local CLOSES <const> = { ["}"] = true, ["end"] = true, ["until"] = true }

local function fields_of(tokens)
  local is_field <const>, open <const> = {}, {}
  for i, token in ipairs(tokens) do
    local is_word <const> = token.kind == "keyword" or token.kind == "symbol"
    if is_word and OPENS[token.text] then
      open[#open + 1] = token.text
    elseif is_word and CLOSES[token.text] then
      open[#open] = nil
    elseif token.kind == "name" and open[#open] == "{" and is_at(tokens, i + 1, "=") then
      local before <const> = tokens[i - 1].text
      is_field[i] = before == "{" or before == "," or before == ";"
    end
  end
  return is_field
end

local NOT_ALONE <const> = { ["."] = true, [":"] = true, ["goto"] = true, ["::"] = true, ["<"] = true }

local function complain_of_global(source, i)
  local name <const>, line <const> = source.tokens[i].text, source.tokens[i].line
  if is_at(source.tokens, i + 1, "=") or is_at(source.tokens, i - 1, "function") then
    return source.add(line, ("'%s' is assigned as a global"):format(name), "declare it: local " .. name)
  end
  local fix <const> = FORBIDDEN[name] or "declare it: local " .. name .. "; or require the module"
  source.add(line, ("there is no global '%s'"):format(name), fix)
end

local function check_globals(source)
  local known <const>, is_field <const>, said <const> = locals_of(source.tokens), fields_of(source.tokens), {}
  for i, token in ipairs(source.tokens) do
    local before <const> = source.tokens[i - 1]
    local is_attribute <const> = before and before.text == "<" and is_at(source.tokens, i + 1, ">")
    local is_alone <const> = not before or not NOT_ALONE[before.text] or before.text == "<" and not is_attribute
    local is_known <const> = known[token.text] or GLOBALS[token.text] or is_field[i]
    if token.kind == "name" and is_alone and not is_known and not said[token.text] then
      said[token.text] = true
      complain_of_global(source, i)
    end
  end
end

-- ---- modules ----

-- Which name stands for which module.
local function requires_of(tokens)
  local found <const> = {}
  for i, token in ipairs(tokens) do
    local at <const> = is_at(tokens, i + 1, "(") and i + 2 or i + 1
    if token.kind == "name" and token.text == "require" and tokens[at] and tokens[at].kind == "string" then
      local back <const> = is_at(tokens, i - 2, ">", "=") and i - 5 or i - 2
      local name <const> = is_at(tokens, i - 1, "=") and tokens[back] and tokens[back].text or nil
      found[#found + 1] = { name = name, module = tokens[at].text, line = token.line }
    end
  end
  return found
end

local function check_module(source, module, line)
  local room <const>, name <const> = module:match "^([^.]+)%.(.+)$"
  if room == "lunalift" and not contract.has(contract.MODULES, name) then
    local text <const> = ("vendors may not use lunalift.%s"):format(name)
    source.add(line, text, "there are for them " .. words.list(contract.MODULES))
  elseif room == "vendors" then
    source.add(line, "vendors do not know one another", "put what they share into lib")
  elseif room == "lib" and not script.find(module) then
    local names <const> = {}
    for i, file in ipairs(script.list "lib") do
      names[i] = file.name
    end
    source.add(
      line,
      ("there is no %s"):format(module),
      words.suggestion(module, names, "see docs/vendors.md, What lib offers")
    )
  elseif room ~= "lunalift" and room ~= "lib" then
    source.add(line, ("vendors may not use %s"):format(module), "there are modules of lunalift and lib for them")
  end
end

local function check_requires(source)
  for _, each in ipairs(requires_of(source.tokens)) do
    check_module(source, each.module, each.line)
    for i in ipairs(source.tokens) do
      local is_sleep <const> = each.module == "lunalift.timer"
        and each.name
        and is_at(source.tokens, i, each.name, ".", "sleep")
      if is_sleep then
        local fix <const> = "lib.poll waits for jobs that the array has accepted; the core asks again what failed"
        source.add(source.tokens[i].line, "a vendor does not wait by itself", fix)
      end
    end
  end
end

-- ---- functions ----

---@class lib.VendorMethod
---@field owner string
---@field name string
---@field is_method boolean defined with a colon
---@field params string[]
---@field line integer

local function methods_of(tokens)
  local found <const> = {}
  for i, token in ipairs(tokens) do
    local dot <const> = tokens[i + 2] and tokens[i + 2].text
    if token.kind == "keyword" and token.text == "function" and (dot == "." or dot == ":") then
      found[#found + 1] = {
        owner = tokens[i + 1].text,
        name = tokens[i + 3].text,
        is_method = dot == ":",
        params = params_at(tokens, i + 4),
        line = token.line,
      }
    end
  end
  return found
end

-- The name whose functions are most of the contract's; their names as a set.
local function array_of(methods)
  local counts <const>, best = {}, nil
  for _, method in ipairs(methods) do
    local is_ours <const> = contract.BY_NAME[method.name] ~= nil
    counts[method.owner] = (counts[method.owner] or 0) + (is_ours and 1 or 0)
    if counts[method.owner] > (counts[best] or 0) then best = method.owner end
  end
  local has <const> = {}
  for _, method in ipairs(methods) do
    if method.owner == best then has[method.name] = method end
  end
  return best, has
end

local function check_form(source, method)
  local of <const> = contract.BY_NAME[method.name]
  local expected <const> = ("function %s:%s(%s)"):format(method.owner, method.name, table.concat(of.params, ", "))
  local own <const> = #method.params - (method.is_method and 0 or 1)
  if not method.is_method and method.params[1] ~= "self" then
    source.add(method.line, ("%s is called with the array first"):format(method.name), "write " .. expected)
  elseif own > #of.params then
    source.add(method.line, ("%s gets %d values"):format(method.name, #of.params), "write " .. expected)
  end
end

local function missing_of(has)
  local missing <const> = {}
  for _, each in ipairs(contract.FUNCTIONS) do
    if not has[each.name] and not each.optional then missing[#missing + 1] = each.name end
  end
  return missing
end

-- A function that is almost one of those missing is meant to be it.
local function check_missing(source, owner, has, last_line)
  for _, name in ipairs(missing_of(has)) do
    local others <const> = {}
    for other in pairs(has) do
      if not contract.BY_NAME[other] then others[#others + 1] = other end
    end
    table.sort(others)
    local near <const> = words.nearest(name, others)
    local of <const> = contract.BY_NAME[name]
    local wanted <const> = ("function %s:%s(%s)"):format(owner or "Array", name, table.concat(of.params, ", "))
    local fix <const> = near and ("is %s meant to be it? %s"):format(near, wanted) or "write " .. wanted
    source.add(near and has[near].line or last_line, ("the array has no %s"):format(name), fix)
  end
end

local function check_pairs(source, has)
  for _, each in ipairs(contract.FUNCTIONS) do
    for _, other in ipairs(has[each.name] and each.with or {}) do
      if not has[other] then
        local text <const> = ("%s is of no use without %s"):format(each.name, other)
        source.add(has[each.name].line, text, "write both, or neither")
      end
    end
  end
end

local function check_functions(source, last_line)
  local owner <const>, has <const> = array_of(methods_of(source.tokens))
  for name, method in pairs(has) do
    if contract.BY_NAME[name] then check_form(source, method) end
  end
  check_missing(source, owner, has, last_line)
  check_pairs(source, has)
  return has
end

-- ---- the whole ----

-- nil and a problem, of a text as Lua words it: FILE:LINE: what.
local function broken(text, fix)
  local line <const>, said <const> = text:match ":(%d+): (.*)$"
  return { line = math.tointeger(tonumber(line)) or 1, text = said or text, fix = fix }
end

local function by_line(problems)
  for i, problem in ipairs(problems) do
    problem.order = i
  end
  table.sort(problems, function(a, b)
    if a.line ~= b.line then return a.line < b.line end
    return a.order < b.order
  end)
  return problems
end

local function offered(has)
  local offers <const>, absent <const> = {}, {}
  for _, each in ipairs(contract.FUNCTIONS) do
    local list <const> = has[each.name] and offers or each.optional and absent or {}
    list[#list + 1] = each.name
  end
  return offers, absent
end

---@param path string
---@return lib.VendorVerdict
function M.file(path)
  local _, why <const> = script.compile(path)
  if why then return { problems = { broken(why.message, "correct the line") }, offers = {}, absent = {} } end
  local problems <const> = {}
  local tokens <const> = lua_words.split(assert(script.source(path)))
  local source <const> = { name = path:match("([^/]*)$"):gsub("%.lua$", ""), tokens = tokens }
  function source.add(line, text, fix) problems[#problems + 1] = { line = line, text = text, fix = fix } end
  local last_line <const> = tokens[#tokens] and tokens[#tokens].line or 1
  check_globals(source)
  check_requires(source)
  local offers <const>, absent <const> = offered(check_functions(source, last_line))
  local metadata <const>, unloaded <const> = arrays.describe_file(source.name, path)
  if metadata then
    vendor_metadata.check(source, metadata)
  elseif #problems == 0 then -- else it most likely says the same
    problems[1] = broken(unloaded.message, "it must load without an array: log in inside open")
  end
  return { problems = by_line(problems), title = metadata and metadata.title, offers = offers, absent = absent }
end

return M
