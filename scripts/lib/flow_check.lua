--- What would stop a flow from running, found without running it: each with its line and what to write instead.
local jobs <const> = require "lib.job"
local script <const> = require "lunalift.script"
local undo <const> = require "lib.undo"
local words <const> = require "lib.words"

local M <const> = {}

---@class lib.Problem
---@field line integer
---@field text string

local FORBIDDEN <const> = {
  io = "files and the terminal are not offered to flows; tell the user with job:found",
  debug = "it is not offered to flows",
  load = "code made at run time is not offered to flows",
  dofile = 'use require "lib.name"',
  coroutine = "use lunalift.task",
  print = "use job:found, or lunalift.log",
}

local function keys(map)
  local list <const> = {}
  for key in pairs(map) do
    list[#list + 1] = key
  end
  return list
end

local function suggestion(name, names)
  local near <const> = words.nearest(name, names)
  return near and (": did you mean %s?"):format(near) or ""
end

local STRING <const> = [[(["'])(.-)%1]]

-- The line without its comment, and its code alone, without the text of strings: where names are looked for.
local function split(line)
  local blanked <const> = line:gsub(STRING, function(quote, text) return quote .. ("_"):rep(#text) .. quote end)
  local comment <const> = blanked:find("--", 1, true)
  local bare <const> = comment and line:sub(1, comment - 1) or line
  return bare, (bare:gsub(STRING, '""'))
end

local function check_requires(bare, add)
  for _, name in bare:gmatch("require%s*%(?%s*" .. STRING) do
    local is_script <const> = not name:find "^lunalift%."
    if is_script and not script.find(name) then
      add(("no script '%s': scripts live in lib, vendors and flows"):format(name))
    end
  end
end

local function check_job_calls(bare, code, add)
  for name in code:gmatch "job:([%a_][%w_]*)" do
    if not jobs.METHODS[name] then add(("a job has no %s%s"):format(name, suggestion(name, keys(jobs.METHODS)))) end
  end
  for _, name in bare:gmatch("job:promise%s*%(%s*" .. STRING) do
    if not undo[name] then add(("nobody knows how to undo '%s'%s"):format(name, suggestion(name, keys(undo)))) end
  end
end

local function check_globals(code, add)
  for name, fix in pairs(FORBIDDEN) do
    if code:find("%f[%w_.:]" .. name .. '%s*[.("{[]') then add(("%s: %s"):format(name, fix)) end
  end
end

---@param path string
---@return lib.Problem[]
function M.file(path)
  local problems <const> = {}
  local _, why <const> = script.compile(path)
  if why then
    local line <const>, text <const> = why.message:match ":(%d+): (.*)$"
    return { { line = math.tointeger(tonumber(line)) or 1, text = text or why.message } }
  end
  local source <const> = assert(script.source(path))
  local number = 0
  for line in (source:gsub("\n$", "") .. "\n"):gmatch "(.-)\n" do
    number = number + 1
    local function add(text) problems[#problems + 1] = { line = number, text = text } end
    local bare <const>, code <const> = split(line)
    check_requires(bare, add)
    check_job_calls(bare, code, add)
    check_globals(code, add)
  end
  if not source:find "return%s+function%s*%(%s*job" then
    problems[#problems + 1] = { line = number, text = "a flow returns its function: return function(job) … end" }
  end
  return problems
end

return M
