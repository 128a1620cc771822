--- `lunalift lab`: a simulated site on loopback, until it is told to end.
local console <const> = require "lunalift.console"
local fs <const> = require "lunalift.fs"
local scenario <const> = require "lab.scenario"
local site <const> = require "lab.site"
local task <const> = require "lunalift.task"

---@class cli.lab
local M <const> = {}

local USAGE <const> = [[
usage: lunalift lab --dir DIR [--scenario FILE.json]

Simulates a site on loopback until it is told to end: a vCenter, ESXi hosts, an array and a Kubernetes API on one shared state.
DIR/site.json appears when it is ready; DIR/site.env has endpoints, credentials and the first claim, for the shell. Needs BusyBox.
]]

--- The options, or nil and what is wrong.
---@param args string[]
---@return { dir: string, scenario: string? }?
---@return string? why
function M.parse(args)
  local options <const> = {}
  local i = 1
  while i <= #args do
    local name, value = args[i]:match "^%-%-(%l+)=(.*)$"
    if not name then
      name, value = args[i]:match "^%-%-(%l+)$", args[i + 1]
      i = i + 1
    end
    if name ~= "dir" and name ~= "scenario" then return nil, "unknown argument " .. args[math.min(i, #args)] end
    if not value or value == "" then return nil, "--" .. name .. " needs a value" end
    options[name] = value
    i = i + 1
  end
  if not options.dir then return nil, "--dir is missing" end
  return options
end

local function read_scenario(path)
  if not path then return scenario.read() end
  local text <const>, why <const> = fs.read(path)
  if not text then return nil, why end
  return scenario.read(text)
end

---@param args string[]
---@return integer exit_code
function M.run(args)
  if args[1] == "--help" then
    console.out(USAGE)
    return 0
  end
  local options <const>, wrong <const> = M.parse(args)
  if not options then
    console.err(wrong .. "\n" .. USAGE)
    return 2
  end
  local given <const>, why <const> = read_scenario(options.scenario)
  if not given then
    console.err(why.message .. "\n")
    return 2
  end
  local running <const> = site.start { dir = options.dir, scenario = given }
  console.out("the lab is ready: " .. running.dir .. "/site.json\n")
  task.signal()
  running:stop()
  return 0
end

return M
