--- lunalift preflight: what a copy needs, looked at without changing anything, each failure with its fix.
local console <const> = require "lunalift.console"
local env <const> = require "lunalift.env"
local fail <const> = require "lib.fail"
local flags <const> = require "lib.flags"
local jobs <const> = require "lib.job"
local json <const> = require "lunalift.json"
local log <const> = require "lunalift.log"
local populate <const> = require "cli.populate"
local redact <const> = require "lib.redact"
local report <const> = require "lib.report"
local settings <const> = require "lib.settings"
local site <const> = require "lib.site"
local ssh_settings <const> = require "lib.ssh_settings"
local task <const> = require "lunalift.task"

local M <const> = {}

local USAGE <const> = [[
usage: lunalift preflight [flags]
       lunalift preflight --host HOST [--datastore NAME] [flags of vCenter]

Looks at everything that a copy with the same flags would need, and changes nothing. Each line is a check: pass, warn or fail with the fix,
or skipped: one that it builds on failed, or nobody tells. populate makes those checks itself that are fatal, before it changes anything.
With --host it looks at what makes that host ready for copies: settings, wrapper, and the devices below its VMFS datastores.

]]

local AFTERWORD <const> = [[

exit codes: 0 all pass, or warn; of the failures the worst: 2 configuration, 1 failed, 3 worth another try
]]

-- Where they differ from populate's: somebody waits for the table.
local OWN <const> = {
  output = { help = "text or json; -o for short" },
  patience = { default = 5 },
}

local function all_flags()
  local list <const> = {
    { name = "host", help = "look at this host alone: its id (host-123) or name" },
    { name = "datastore", help = "with --host: look at the devices below this one; default: all of type VMFS" },
  }
  for _, flag in ipairs(populate.FLAGS) do
    list[#list + 1] = OWN[flag.name] and setmetatable(OWN[flag.name], { __index = flag }) or flag
  end
  return list
end

local SHORT <const> = { ["-o"] = "--output" }

local function widened(args)
  local list <const> = {}
  for i, word in ipairs(args) do
    list[i] = SHORT[word] or word:gsub("^%-o=", "--output=")
  end
  return list
end

-- ---- what is printed ----

local STATUSES <const> = { "pass", "warn", "fail", "skipped" }
local COLOURS <const> = { pass = "32", warn = "33", fail = "31", skipped = "2" }
local WIDEST_STATUS <const> = #"skipped"

local function count(results)
  local counts <const> = { pass = 0, warn = 0, fail = 0, skipped = 0 }
  for _, result in ipairs(results) do
    counts[result.status] = counts[result.status] + 1
  end
  return counts
end

local function padded(text, width) return text .. (" "):rep(width - #text) end

local function widest(results)
  local width = 0
  for _, result in ipairs(results) do
    width = math.max(width, #result.name)
  end
  return width
end

local function coloured(status)
  local text <const> = padded(status, WIDEST_STATUS)
  if not console.is_terminal() or (env.get "NO_COLOR" or "") ~= "" then return text end
  return ("\27[%sm%s\27[0m"):format(COLOURS[status], text)
end

local function summary(counts)
  local parts <const> = {}
  for _, status in ipairs(STATUSES) do
    if counts[status] > 0 then parts[#parts + 1] = ("%d %s"):format(counts[status], status) end
  end
  return table.concat(parts, ", ")
end

local function print_table(results, verdict)
  local counts <const> = count(results)
  local width <const> = widest(results)
  local margin <const> = (" "):rep(width + WIDEST_STATUS + 4)
  local lines <const> = { ("%s  %s  FOUND"):format(padded("CHECK", width), padded("RESULT", WIDEST_STATUS)) }
  for _, result in ipairs(results) do
    lines[#lines + 1] = ("%s  %s  %s"):format(padded(result.name, width), coloured(result.status), result.text)
    if result.fix then lines[#lines + 1] = margin .. "fix: " .. result.fix end
  end
  lines[#lines + 1] = summary(counts) .. (counts.fail > 0 and verdict or "")
  console.out(log.redact(table.concat(lines, "\n")) .. "\n")
end

local function print_json(results)
  local counts <const>, list <const> = count(results), json.array {}
  for i, result in ipairs(results) do
    list[i] = result
  end
  local value <const> = { checks = list, counts = counts, ok = counts.fail == 0 }
  console.out(json.encode(redact.value(value), { indent = true }) .. "\n")
end

-- ---- the command ----

local function job_of(request, conf)
  return jobs.new {
    name = "preflight",
    request = request,
    site = site.new(conf),
    report = report.new "quiet",
    read_only = true,
  }
end

-- A key that is none is a check that fails, like others.
local function take_method(request, values)
  local known <const>, method <const>, ssh <const> = pcall(ssh_settings.method, values)
  request.method, request.ssh = known and method or nil, ssh
  request.method_why = not known and fail.of(method) or nil
end

local function job_of_copy(values)
  settings.check_mandatory(values, settings.MANDATORY)
  local request <const> = settings.request_of(values)
  take_method(request, values)
  request.bind_within_s = 0 -- nothing binds a claim while we look
  return job_of(request, settings.site_conf(values))
end

local function job_of_host(values)
  settings.check_mandatory(values, { "vsphere-hostname", "vsphere-username", "vsphere-password" })
  local request <const> = {
    host_alone = true,
    migration_host = values.host,
    datastore = values.datastore,
    clone_slots = values["clone-slots"],
    patience_s = values.patience,
  }
  take_method(request, values)
  return job_of(request, { vcenter = settings.vcenter_conf(values) })
end

---@param args string[]
---@return integer exit_code
function M.run(args)
  local known <const> = all_flags()
  local values <const>, rest <const> = flags.parse(widened(args), known)
  if values.help then
    console.out(USAGE .. flags.help(known) .. "\n" .. AFTERWORD)
    return 0
  end
  if #rest > 0 then error(fail.hint(fail.new("config", "'%s' is no flag", rest[1]), "see lunalift help preflight")) end
  local is_host <const> = flags.is_given(values.host)
  if flags.is_given(values.datastore) and not is_host then
    error(fail.hint(fail.new("config", "--datastore goes with --host"), "name the host that is to be looked at"))
  end
  local job <const> = (is_host and job_of_host or job_of_copy)(values)
  task.spawn(populate.cancel_on_signal, job)
  local why <const> = job:run(require "flows.preflight")
  if why then
    console.err(report.failure_text(why))
    return require("cli.main").exit_code(why)
  end
  local print <const> = values.output == "json" and print_json or print_table
  print(job.facts.checks, is_host and ": copies by this host would fail" or ": this copy would fail")
  return require("cli.main").worst_exit_code(job.facts.checks)
end

return M
