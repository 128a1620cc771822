--- lunalift flow: which flows there are, what they say, and whether one would run.
local check <const> = require "lib.flow_check"
local console <const> = require "lunalift.console"
local fail <const> = require "lib.fail"
local script <const> = require "lunalift.script"

local M <const> = {}

local USAGE <const> = "flow list | flow show NAME | flow check FILE"

local function list()
  console.out(("%-16s %-40s %s\n"):format("FLOW", "FROM", "SHA256"))
  local files <const> = script.list "flows"
  table.sort(files, function(a, b) return a.name < b.name end)
  for _, file in ipairs(files) do
    local name <const> = file.name:match "^flows%.(.+)$"
    console.out(
      ("%-16s %-40s %s\n"):format(name, file.layer == "built in" and "built in" or file.path, file.sha256:sub(1, 12))
    )
  end
  return 0
end

local function show(name)
  local file <const> = assert(script.find("flows." .. name))
  console.out(assert(script.source(file.path)))
  return 0
end

local function check_file(path)
  local problems <const> = check.file(path)
  for _, problem in ipairs(problems) do
    console.out(("%s:%d  %s\n"):format(path, problem.line, problem.text))
  end
  console.out(
    #problems == 0 and ("%s: no problems\n"):format(path)
      or ("%d problem%s\n"):format(#problems, #problems == 1 and "" or "s")
  )
  return #problems == 0 and 0 or 2
end

---@param args string[]
---@return integer exit_code
function M.run(args)
  local verb <const>, name <const> = args[1], args[2]
  if verb == "list" then return list() end
  if verb == "show" and name then return show(name) end
  if verb == "check" and name then return check_file(name) end
  if verb == "--help" then
    console.out(("usage: lunalift %s\n"):format(USAGE))
    return 0
  end
  error(fail.hint(fail.new("config", "flow needs a verb, and show and check a name"), USAGE))
end

return M
