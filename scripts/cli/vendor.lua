--- lunalift vendor: the kit of those who write vendor scripts.
local arrays <const> = require "lib.arrays"
local check <const> = require "lib.vendor_check"
local console <const> = require "lunalift.console"
local fail <const> = require "lib.fail"
local script <const> = require "lunalift.script"
local words <const> = require "lib.words"

local M <const> = {}

local function row(...) console.out(("%-14s %-30s %-13s %-12s %-36s %s\n"):format(...)) end

local function describe(name)
  local ok <const>, vendor <const> = pcall(arrays.describe, name)
  return ok and vendor or { title = "cannot be used: see vendor check", fabrics = {} }
end

local function list()
  row("VENDOR", "TITLE", "STATUS", "FABRICS", "FROM", "SHA256")
  for _, name in ipairs(arrays.names()) do
    local vendor <const>, file <const> = describe(name), assert(script.find("vendors." .. name))
    local from <const> = file.layer == "built in" and "built in" or file.path
    local fabrics <const> = table.concat(vendor.fabrics or {}, ",")
    row(name, vendor.title or "", vendor.status or "", fabrics, from, file.sha256:sub(1, 12))
  end
  return 0
end

local function path_of(name) return assert(script.find("vendors." .. arrays.check_name(name))).path end

local function show(name)
  console.out(assert(script.source(path_of(name))))
  return 0
end

local function check_file(name)
  local path <const> = name:find "[./]" and name or path_of(name)
  assert(script.source(path))
  local verdict <const> = check.file(path)
  for _, problem in ipairs(verdict.problems) do
    console.out(("%s:%d  %s\n  fix   %s\n"):format(path, problem.line, problem.text, problem.fix))
  end
  local count <const> = #verdict.problems
  if count > 0 then
    console.out(("%d problem%s\n"):format(count, count == 1 and "" or "s"))
    return 2
  end
  console.out(("%s: no problems\n  offers      %s\n"):format(path, words.list(verdict.offers)))
  if #verdict.absent > 0 then console.out(("  optional    %s: not there\n"):format(words.list(verdict.absent))) end
  return 0
end

-- Verb, how it is called, what it does, and what runs it.
local VERBS <const> = {
  { "list", "list", "the vendors there are, and where each comes from", list },
  { "show", "show NAME", "its source", show },
  { "check", "check FILE|NAME", "what it lacks of the contract, each with line and fix; opens no array", check_file },
}

local function usage()
  local lines <const> = { "usage:" }
  for _, verb in ipairs(VERBS) do
    lines[#lines + 1] = ("  lunalift vendor %-28s %s"):format(verb[2], verb[3])
  end
  return table.concat(lines, "\n") .. "\n"
end

---@param args string[]
---@return integer exit_code
function M.run(args)
  local words_given <const> = {}
  local i = 1
  while i <= #args do -- main has read where scripts are
    if args[i] == "--scripts" then
      i = i + 1
    elseif not args[i]:find "^%-%-scripts=" then
      words_given[#words_given + 1] = args[i]
    end
    i = i + 1
  end
  local name <const> = table.remove(words_given, 1)
  if name == "--help" then
    console.out(usage())
    return 0
  end
  for _, verb in ipairs(VERBS) do
    local needs_word <const> = verb[2]:find " [A-Z]" ~= nil
    if verb[1] == name and (not needs_word or words_given[1]) then return verb[4](table.unpack(words_given)) end
  end
  error(fail.hint(fail.new("config", "vendor needs a verb, and most verbs a name"), "see lunalift help vendor"))
end

return M
