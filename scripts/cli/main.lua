--- The command line: which command, and what a failure looks like. Exit codes: 0 done, 1 failed, 2 configuration, 3 retryable,
--- 4 cancelled, 5 still mapped or a writer may live.
local console <const> = require "lunalift.console"
local fail <const> = require "lib.fail"
local hints <const> = require "lib.hints"
local log <const> = require "lunalift.log"
local report <const> = require "lib.report"
local script <const> = require "lunalift.script"
local words <const> = require "lib.words"

local M <const> = {}

M.VERSION = "1.0.0"

local ABOUT <const> = "Copies VMware disks into Kubernetes volumes inside the storage array."

local COMMANDS <const> = {
  { "populate", "fill a volume from a VMDK inside the storage array (also: any first argument that is a flag)" },
  { "controller", "fill the claims of a cluster that ask for it: controller --namespace NS" },
  { "preflight", "look at all that a copy needs, and change nothing" },
  { "reap", "list what dead runs left, and put it back: reap [--scan] [--apply]" },
  { "flow", "list, show or check the flows: flow list | flow show NAME | flow check FILE" },
  { "vendor", "the kit for storage vendors: vendor list | show | check …; see help vendor" },
  { "vib", "the ESXi side: vib build --output FILE | vib install | vib status" },
  { "lab", "a simulated site on loopback: lab --dir DIR" },
  { "version", "what this is" },
  { "help", "this text, or that of a command: help populate" },
}

local EXIT <const> = {
  config = 2,
  denied = 2,
  unsupported = 2,
  busy = 3,
  timeout = 3,
  unreachable = 3,
  cancelled = 4,
  incomplete = 5,
}

---@param why Fail
---@return integer
function M.exit_code(why) return EXIT[why.kind] or 1 end

-- The worst first: what will fail again as it is, what failed, what may pass.
local WORST <const> = { 2, 1, 3 }

--- Of several results, those without a kind being no failures; 0 when there is none.
---@param results { kind: string? }[]
---@return integer
function M.worst_exit_code(results)
  local seen <const> = {}
  for _, result in ipairs(results) do
    if result.kind then seen[M.exit_code(result)] = true end
  end
  for _, code in ipairs(WORST) do
    if seen[code] then return code end
  end
  return next(seen) and 1 or 0
end

local function usage()
  local lines <const> = { "usage: lunalift COMMAND [flags]", "", ABOUT, "" }
  for _, command in ipairs(COMMANDS) do
    lines[#lines + 1] = ("  %-10s %s"):format(command[1], command[2])
  end
  return table.concat(lines, "\n") .. "\n"
end

local function command_names()
  local names <const> = {}
  for _, command in ipairs(COMMANDS) do
    names[#names + 1] = command[1]
  end
  return names
end

local function run(name, args)
  if not script.find("cli." .. name) then
    local why <const> = fail.new("unsupported", "the command '%s' is not installed here", name)
    error(fail.hint(why, "install its component: cmake --install build --component %s", name))
  end
  return require("cli." .. name).run(args)
end

local function dispatch(name, args)
  if name == "help" or name == "--help" or name == "-h" then
    if args[1] and args[1] ~= "help" then return dispatch(args[1], { "--help" }) end
    console.out(usage())
    return 0
  elseif name == "version" or name == "--version" then
    console.out(("lunalift %s\n"):format(M.VERSION))
    return 0
  end
  for _, known in ipairs(command_names()) do
    if name == known then return run(name, args) end
  end
  local near <const> = words.nearest(name, command_names())
  local why <const> = fail.new("config", "no command '%s'", name)
  error(fail.hint(why, near and ("did you mean %s?"):format(near) or "see lunalift help"))
end

---@param args string[]
---@return integer exit_code
function M.main(args)
  local name = args[1] or "help"
  local rest <const> = table.move(args, 2, #args, 1, {})
  if name:sub(1, 1) == "-" and name ~= "--help" and name ~= "-h" and name ~= "--version" then
    name = "populate"
    table.insert(rest, 1, args[1])
  end
  local ok <const>, code <const> = pcall(dispatch, name, rest)
  if ok then return code end
  local why <const> = hints.explain(fail.of(code))
  console.err(report.failure_text(why))
  if why.traceback then log.debug(why.traceback) end
  return M.exit_code(why)
end

return M
