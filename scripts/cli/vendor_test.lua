--- lunalift vendor test: is a vendor script fit for the core? On the lab's array of that product, or on a real one.
local arrays <const> = require "lib.arrays"
local conformance <const> = require "lib.conformance"
local console <const> = require "lunalift.console"
local contract <const> = require "lib.vendor_contract"
local env <const> = require "lunalift.env"
local fail <const> = require "lib.fail"
local flags <const> = require "lib.flags"
local populate <const> = require "cli.populate"
local script <const> = require "lunalift.script"
local timer <const> = require "lunalift.timer"

local M <const> = {}

local USAGE <const> = [[
usage: lunalift vendor test NAME [flags]

Tries every function of the vendor contract under every class of fault, and how the script behaves twice, together, with hostile names and
beside what is others'; after each case the array must be as it was before. NAME's array is the lab's: lab/NAME.lua, which may lie beside
vendors/NAME.lua in a folder given by --scripts.

]]

local FLAGS <const> = {
  { name = "only", help = "one group of cases: " .. table.concat(conformance.groups(), ", ") },
  { name = "fault", help = "one class of faults: " .. table.concat(conformance.fault_keys(), ", ") },
}

-- What the program has read before any script ran, and the help.
for _, flag in ipairs(populate.FLAGS) do
  if contract.has({ "scripts", "v", "vv", "help" }, flag.name) then FLAGS[#FLAGS + 1] = flag end
end

-- ---- what is told ----

local MOST_REQUESTS <const> = 12

local function line_of(vendor, name)
  local path <const> = assert(script.find("vendors." .. vendor)).path
  local line = 0
  for text in assert(script.source(path)):gmatch "[^\n]*" do
    line = line + 1
    if text:find("^%s*function [%w_]+[.:]" .. name:gsub("%W", "%%%0") .. "%s*%(") then
      return ("%s:%d"):format(path, line)
    end
  end
  return path
end

local function show_requests(requests)
  local first <const> = math.max(1, #requests - MOST_REQUESTS + 1)
  for i = first, #requests do
    local each <const> = requests[i]
    local struck <const> = each.struck and ("  <- the fault, %s"):format(each.struck) or ""
    local label <const> = i == first and "requests" or ""
    console.out(("  %-9s %s %s: %s%s\n"):format(label, each.method, each.path, each.status or "no answer", struck))
  end
end

local function explain(vendor, case)
  console.out(
    ("\nFAILED  %s: %s\n  expected  %s\n  happened  %s\n"):format(case.group, case.name, case.expected, case.happened)
  )
  show_requests(case.requests or {})
  console.out(("  look at   %s; docs/vendors.md\n"):format(line_of(vendor, case.group:match "^[%w_]+")))
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
  for name, option in pairs(rig.vendor.options) do
    local text <const> = option.env and (rig.env[option.env] or env.get(option.env))
    rig.conf[name] = text and flags.convert(option, option.env, text) or option.default
  end
end

local function lab_rig(vendor)
  local rig <const> = require("lab.array_rig").start(vendor)
  settle_options(rig)
  return rig
end

---@param args string[]
---@return integer exit_code
function M.run(args)
  local values <const>, rest <const> = flags.parse(args, FLAGS)
  if values.help then
    console.out(USAGE .. flags.help(FLAGS) .. "\n")
    return 0
  end
  local name <const> = rest[1]
    or error(fail.hint(fail.new("config", "vendor test needs a vendor"), USAGE:match "[^\n]+"))
  local vendor <const>, began_s <const> = arrays.describe(name), timer.now()
  local rig <const> = lab_rig(vendor)
  local tell <const>, finish <const> = teller(name)
  local ok <const>, why <const> = pcall(conformance.run, rig, values, tell)
  rig:close()
  if not ok then error(why) end
  local total <const> = finish()
  local format <const> = "\n%d passed, %d failed, %d skipped (%s on %s, %.1f s)\n"
  console.out(format:format(total.passed, total.failed, total.skipped, name, rig.about, timer.now() - began_s))
  return total.failed == 0 and 0 or 1
end

return M
