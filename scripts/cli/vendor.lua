--- lunalift vendor: the kit of those who write vendor scripts.
local arrays <const> = require "lib.arrays"
local check <const> = require "lib.vendor_check"
local console <const> = require "lunalift.console"
local contract <const> = require "lib.vendor_contract"
local doc <const> = require "lib.vendor_doc"
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

local ACCOUNT <const> = { "STORAGE_HOSTNAME", "STORAGE_USERNAME", "STORAGE_PASSWORD" }

-- The variables of all arrays, as populate has them, that this one takes.
local function common(vendor)
  local options <const> = {}
  for _, flag in ipairs(require("cli.vendor_call").array_flags()) do
    local is_taken <const> = flag.env ~= "STORAGE_TOKEN" or vendor.token
    if flag.name:find "^storage%-" and flag.env and is_taken then
      local is_needed <const> = contract.has(ACCOUNT, flag.env)
      options[#options + 1] = { env = flag.env, help = flag.help, required = is_needed }
    end
  end
  return options
end

local function document(first, second)
  local is_secret <const> = first == "--secret" or second == "--secret"
  local vendor <const> = arrays.describe(first == "--secret" and second or first)
  console.out(is_secret and doc.secret(vendor, common(vendor)) or doc.markdown(vendor))
  return 0
end

local function new(...) return require("cli.vendor_new").run { ... } end

local function call(...) return require("cli.vendor_call").run { ... } end

local function record(...) return require("cli.vendor_record").record { ... } end

local function replay(path) return require("cli.vendor_record").replay(path) end

local function test(...) return require("cli.vendor_test").run { ... } end

-- Verb, how it is called, what it does, and what runs it.
local VERBS <const> = {
  { "list", "list", "the vendors there are, and where each comes from", list },
  { "show", "show NAME", "its source", show },
  { "check", "check FILE|NAME", "what it lacks of the contract, each with line and fix; opens no array", check_file },
  { "new", "new NAME [--title TEXT] [--dir DIR]", "a script that works, and a simulated array that it works on", new },
  { "doc", "doc NAME [--secret]", "its settings as Markdown; or as a Secret to fill in", document },
  { "call", "call NAME FUNCTION [JSON]…", "one function against the array of the environment (STORAGE_…)", call },
  { "record", "record NAME --output FILE -- …", "a session of such calls, into a file that has no secrets", record },
  { "replay", "replay FILE", "the same session without the array: what differs first?", replay },
  {
    "test",
    "test NAME [--array]",
    "is it fit for the core? Every function under every fault, on the lab's array or yours",
    test,
  },
}

local function usage()
  local lines <const> = { "usage:" }
  for _, verb in ipairs(VERBS) do
    lines[#lines + 1] = ("  lunalift vendor %-35s %s"):format(verb[2], verb[3])
  end
  return table.concat(lines, "\n") .. "\n"
end

-- The program has read them before any script ran.
local function without_scripts(args)
  local rest <const>, is_value = {}, false
  for _, word in ipairs(args) do
    if not is_value and word ~= "--scripts" and not word:find "^%-%-scripts=" then rest[#rest + 1] = word end
    is_value = word == "--scripts"
  end
  return rest
end

---@param args string[]
---@return integer exit_code
function M.run(args)
  local rest <const> = without_scripts(args)
  local name <const> = table.remove(rest, 1)
  if name == "--help" then
    console.out(usage())
    return 0
  end
  for _, verb in ipairs(VERBS) do
    local needs_word <const> = verb[2]:find " [A-Z]" ~= nil
    if verb[1] == name and (not needs_word or rest[1]) then return verb[4](table.unpack(rest)) end
  end
  error(fail.hint(fail.new("config", "vendor needs a verb, and most verbs a name"), "see lunalift help vendor"))
end

return M
