--- lunalift vendor test: is a vendor script fit for the core? On the lab's array of that product, or on a real one.
local arrays <const> = require "lib.arrays"
local conformance <const> = require "lib.conformance"
local console <const> = require "lunalift.console"
local contract <const> = require "lib.vendor_contract"
local env <const> = require "lunalift.env"
local fail <const> = require "lib.fail"
local flags <const> = require "lib.flags"
local real <const> = require "lib.conformance.real"
local script <const> = require "lunalift.script"
local secret <const> = require "lunalift.secret"
local settings <const> = require "lib.settings"
local task <const> = require "lunalift.task"
local timer <const> = require "lunalift.timer"
local trials <const> = require "lib.conformance.trial"

local M <const> = {}

local USAGE <const> = [[
usage: lunalift vendor test NAME [flags]

Tries every function of the vendor contract under every class of fault, and how the script behaves twice, together, with hostile names and
beside what is others'; after each case the array must be as it was before. NAME's array is the lab's: lab/NAME.lua, which may lie beside
vendors/NAME.lua in a folder given by --scripts or LUNALIFT_SCRIPTS.

With --array it is the one of the environment (STORAGE_…), on two volumes that nobody uses; no faults are made there. It says what it will
do and undo, and does it with --yes.

]]

local OWN_FLAGS <const> = {
  { name = "only", help = "one group of cases: " .. table.concat(conformance.groups(), ", ") },
  { name = "fault", help = "one class of them: " .. table.concat(conformance.fault_keys(), ", ") },
  { name = "scenario", help = "JSON file of a lab's site: its part about NAME tells what the array is like" },
  { name = "array", type = "bool", default = false, help = "the array of the environment, not the lab's" },
  { name = "volume", help = "there: a volume handle, or JSON as for vendor call NAME lun_of" },
  { name = "other-volume", help = "there: another one" },
  { name = "initiators", help = "there: ports of the ESXi host, KIND:ID,KIND:ID; else made-up ones" },
  { name = "overwrite", type = "bool", default = false, help = "there: copy the volume onto the other one, too" },
  { name = "yes", type = "bool", default = false, help = "there: do it" },
}

local function all_flags()
  local known <const> = table.move(OWN_FLAGS, 1, #OWN_FLAGS, 1, {})
  for _, flag in ipairs(require("cli.vendor_call").array_flags()) do
    if flag.name ~= "patience" then known[#known + 1] = flag end -- each question is asked once
  end
  return known
end

-- ---- what is told ----

local MOST_REQUESTS <const> = 12

-- Where the script defines a function; nil where it does not.
local function line_of(path, name)
  local line = 0
  for text in assert(script.source(path)):gmatch "([^\n]*)\n" do
    line = line + 1
    if text:find("^%s*function [%w_]+[.:]" .. name .. "%s*%(") then return line end
  end
end

local function place_of(vendor, case)
  local path <const> = assert(script.find("vendors." .. vendor)).path
  for _, text in ipairs { case.group, case.name } do
    local line <const> = line_of(path, text:match "^[%w_]*")
    if line then return ("%s:%d"):format(path, line) end
  end
  return path
end

local function show_requests(requests)
  local first <const> = math.max(1, #requests - MOST_REQUESTS + 1)
  for i = first, #requests do
    local each <const> = requests[i]
    local struck <const> = each.struck and ("  <- the fault, %s"):format(each.struck) or ""
    local label <const> = i == first and "requests" or ""
    local asked <const> = each.body and ("%s %s"):format(each.path, each.body) or each.path
    console.out(("  %-9s %s %s: %s%s\n"):format(label, each.method, asked, each.status or "no answer", struck))
  end
end

local function explain(vendor, case)
  console.out(
    ("\nFAILED  %s: %s\n  expected  %s\n  happened  %s\n"):format(case.group, case.name, case.expected, case.happened)
  )
  show_requests(case.requests or {})
  console.out(("  look at   %s; docs/vendors.md\n"):format(place_of(vendor, case)))
end

local function new_tally() return { passed = 0, failed = 0, skipped = 0, reasons = {} } end

local function row(group)
  local words_of <const> = {}
  for _, what in ipairs { "passed", "failed", "skipped" } do
    if group[what] > 0 then words_of[#words_of + 1] = ("%4d %s"):format(group[what], what) end
  end
  local reasons <const> = group.reasons[1] and ": " .. table.concat(group.reasons, "; ") or ""
  console.out(("%-15s%s%s\n"):format(group.name, table.concat(words_of), reasons))
end

local function count(tally, what, reason)
  tally[what] = tally[what] + 1
  local is_new <const> = reason and not contract.has(tally.reasons, reason)
  if is_new then table.insert(tally.reasons, reason) end
end

-- Counts by group, in their order; failures at once, each explained.
local function teller(vendor)
  local total <const>, group = new_tally(), nil
  local function tell(case)
    if not group or group.name ~= case.group then
      if group then row(group) end
      group = new_tally()
      group.name = case.group
    end
    local what <const> = case.skipped and "skipped" or case.happened and "failed" or "passed"
    count(group, what, case.skipped)
    count(total, what)
    if case.happened then explain(vendor, case) end
  end
  local function finish()
    if group then row(group) end
    return total
  end
  return tell, finish
end

-- ---- the lab's array ----

-- The vendor's own settings: what the lab's array says, or the environment.
local function settle_options(rig)
  local function secret_of(name) return rig.env[name] and secret.new(rig.env[name]) or env.secret(name) end
  local function get(name) return rig.env[name] or env.get(name) end
  local conf <const> = settings.array_conf(
    { ["storage-vendor-product"] = rig.vendor.name },
    { get = get, secret = secret_of }
  )
  for name in pairs(rig.vendor.options) do
    rig.conf[name] = conf[name]
  end
end

local function lab_rig(vendor, path)
  local text <const> = path and assert(env.read(path))
  local site <const> = assert(require("lab.scenario").read(text))
  local rig <const> = require("lab.array_rig").start(vendor, site[vendor.name] or {})
  settle_options(rig)
  return rig
end

-- ---- a real array ----

local function real_rig(vendor, values)
  settings.check_mandatory(values, { "storage-hostname" })
  values["storage-vendor-product"] = vendor.name
  local rig <const> = real.new(vendor, settings.array_conf(values), {
    volume = values.volume,
    other_volume = values["other-volume"],
    initiators = values.initiators,
    overwrites = values.overwrite,
  })
  local trial <const> = trials.open(rig)
  local ok <const>, plan <const> = pcall(real.plan, trial)
  trial:close()
  if not ok then error(plan) end
  console.out(plan)
  if not values.yes then
    error(fail.hint(fail.new("config", "nothing was done yet"), "add --yes when that is what you want"))
  end
  return rig
end

-- ---- the whole ----

local function check_is_name(name)
  if not name:find "[./]" then return end
  local hint <const> = "lunalift vendor test NAME --scripts DIR takes DIR/vendors/NAME.lua, and DIR/lab/NAME.lua"
  fail.advise("config", hint, "'%s' is a file: a vendor is tested by its name", name)
end

-- Whoever presses Ctrl-C finds the array as it was, too.
local function run_until_signal(...)
  local suite <const> = conformance.start(...)
  local _watching <close> = task.spawn(function() suite:cancel("stopped by SIG" .. task.signal()) end)
  suite:finish()
end

---@param args string[]
---@return integer exit_code
function M.run(args)
  local known <const> = all_flags()
  local values <const>, rest <const> = flags.parse(args, known)
  if values.help then
    console.out(USAGE .. flags.help(known) .. "\n")
    return 0
  end
  local name <const> = rest[1]
    or error(fail.hint(fail.new("config", "vendor test needs a vendor"), USAGE:match "[^\n]+"))
  check_is_name(name)
  local vendor <const>, began_s <const> = arrays.describe(name), timer.now()
  local rig <const> = values.array and real_rig(vendor, values) or lab_rig(vendor, values.scenario)
  local tell <const>, finish <const> = teller(name)
  local ok <const>, why <const> = pcall(run_until_signal, rig, values, tell)
  if rig.close then rig:close() end
  local total <const> = finish()
  if not ok then error(why) end
  local format <const> = "\n%d passed, %d failed, %d skipped (%s on %s, %.1f s)\n"
  console.out(format:format(total.passed, total.failed, total.skipped, name, rig.about, timer.now() - began_s))
  return total.failed == 0 and 0 or 1
end

return M
