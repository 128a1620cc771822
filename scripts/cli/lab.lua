--- `lunalift lab`: a simulated site on loopback, until it is told to end.
local console <const> = require "lunalift.console"
local fail <const> = require "lib.fail"
local flags <const> = require "lib.flags"
local fs <const> = require "lunalift.fs"
local scenario <const> = require "lab.scenario"
local site <const> = require "lab.site"
local task <const> = require "lunalift.task"

---@class cli.lab
local M <const> = {}

local USAGE <const> = [[
usage: lunalift lab --dir DIR [--array NAME] [--scenario FILE.json] [--scripts DIR]

Simulates a site on loopback until it is told to end: a vCenter, ESXi hosts, an array and a Kubernetes API on one shared state.
DIR/site.json appears when it is ready; DIR/site.env has endpoints, credentials and the first claim, for the shell. Needs BusyBox.

]]

local FLAGS <const> = {
  { name = "dir", help = "folder of the site; mandatory" },
  { name = "array", help = "the array's product key: there is lab/NAME.lua, here or in the folder of --scripts" },
  { name = "scenario", help = "JSON file: what the site consists of, laid over the built-in one" },
  { name = "scripts", help = "folder of scripts laid over the built-in ones" },
  { name = "help", type = "bool", default = false, help = "this text" },
}

local function refuse(hint, fmt, ...) fail.advise("config", hint, fmt, ...) end

---@param args string[]
---@return integer exit_code
function M.run(args)
  local values <const>, rest <const> = flags.parse(args, FLAGS)
  if values.help then
    console.out(USAGE .. flags.help(FLAGS) .. "\n")
    return 0
  end
  if rest[1] then refuse("see lunalift help lab", "unknown argument %s", rest[1]) end
  if not values.dir then refuse("see lunalift help lab", "--dir is missing") end
  local given <const> = assert(scenario.read(values.scenario and assert(fs.read(values.scenario)), values.array))
  local running <const> = site.start { dir = values.dir, scenario = given }
  console.out("the lab is ready: " .. running.dir .. "/site.json\n")
  task.signal()
  running:stop()
  return 0
end

return M
