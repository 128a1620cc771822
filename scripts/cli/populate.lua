--- lunalift populate: upstream's flags and environment, one disk, one exit code.
local arrays <const> = require "lib.arrays"
local console <const> = require "lunalift.console"
local exporters <const> = require "lib.exporter"
local fail <const> = require "lib.fail"
local flags <const> = require "lib.flags"
local jobs <const> = require "lib.job"
local journals <const> = require "lib.journals"
local outcome <const> = require "lib.outcome"
local receipts <const> = require "lib.receipt"
local report <const> = require "lib.report"
local script <const> = require "lunalift.script"
local settings <const> = require "lib.settings"
local site <const> = require "lib.site"
local ssh_settings <const> = require "lib.ssh_settings"
local task <const> = require "lunalift.task"
local timer <const> = require "lunalift.timer"
local vendor_doc <const> = require "lib.vendor_doc"

local M <const> = {}

local USAGE <const> = [[
usage: lunalift populate [flags]

Fills the volume behind a claim with the bytes of a VMware disk: an ESXi host asks, the array moves the data.

A flag is --name VALUE or --name=VALUE. Its twin in the environment is LUNALIFT_NAME, in capitals with underscores; the variable
in brackets is read after that. Options of an array come from the environment alone. The variable cacert holds certificate authorities in
PEM, to be trusted beside --ca-file and the system's.

]]

local AFTERWORD <const> = [[

Flags of forklift and klog that have no effect here are taken, too: --cr-name, --pvc-size, --logtostderr and their like.

exit codes: 0 done, 1 failed, 2 configuration, 3 worth another try, 4 cancelled, 5 still mapped or a writer may live
]]

-- Beside what a copy is made with.
local OWN <const> = {
  { name = "dry-run", type = "bool", default = false, help = "print what would be changed, in order; change nothing" },
  { name = "output", default = "text", choices = { "text", "json" }, help = "text or json" },
  { name = "quiet", type = "bool", default = false, help = "nothing but errors, and the log" },
  { name = "scripts", help = "folder laid over the built-in scripts, file by file" },
  { name = "v", help = "log for debugging, to standard error; a level is taken for klog's sake", type = "level" },
  { name = "vv", help = "and tracebacks", type = "bool" },
  { name = "help", help = "this text", type = "bool" },
  { name = "version", help = "what this is", type = "bool" },
  {
    name = "http-endpoint",
    help = "address to serve metrics at, such as :8443, or off; default: :8443 in a pod, else off",
  },
  { name = "metrics-path", default = "/metrics", help = "path of the metrics" },
  {
    name = "metrics-linger",
    type = "seconds",
    default = 10,
    help = "longest wait, in seconds, until the last metrics were asked for",
  },
}

-- What forklift sends beside, and klog's flags, which upstream's program has too.
local IGNORED <const> = {
  ["cr-name"] = "string",
  ["cr-namespace"] = "string",
  ["pvc-size"] = "string",
  ["secret-name"] = "string",
  add_dir_header = "bool",
  alsologtostderr = "bool",
  log_backtrace_at = "string",
  log_dir = "string",
  log_file = "string",
  log_file_max_size = "integer",
  logtostderr = "bool",
  one_output = "bool",
  skip_headers = "bool",
  skip_log_headers = "bool",
  stderrthreshold = "string",
  vmodule = "string",
}

M.FLAGS = table.move(settings.FLAGS, 1, #settings.FLAGS, 1, {})
table.move(OWN, 1, #OWN, #M.FLAGS + 1, M.FLAGS)
for name, type in pairs(IGNORED) do
  M.FLAGS[#M.FLAGS + 1] = { name = name, type = type, ignored = true, help = "" }
end

local function origin(file)
  return file.layer == "built in" and "built in" or ("%s, sha256 %s"):format(file.path, file.sha256:sub(1, 12))
end

local function title(values)
  local flow <const> = assert(script.find "flows.populate")
  local vendor <const> = assert(script.find("vendors." .. values["storage-vendor-product"]))
  return ("lunalift %s · flow populate (%s) · vendor %s (%s)"):format(
    require("cli.main").VERSION,
    origin(flow),
    values["storage-vendor-product"],
    origin(vendor)
  )
end

-- Kubernetes kills a pod thirty seconds after SIGTERM; logging out and keeping the receipt take the rest.
local SETTLE_IN_POD_S <const> = 20

-- What was begun before anybody pressed has a longer limit of its own.
local function cut_short(job)
  timer.sleep(SETTLE_IN_POD_S)
  job:cut_short "there is no time left"
end

-- SIGTERM and SIGINT end the flow at its next wait; what it promised is settled then. Who sends another one does not want to wait for that.
function M.cancel_on_signal(job)
  local within_s <const> = journals.in_pod(job) and SETTLE_IN_POD_S or nil
  while true do
    local name <const> = task.signal()
    if name ~= "USR1" and job.cancelled_by then
      job:cut_short(("stopped by another SIG%s"):format(name))
    elseif name ~= "USR1" then
      job:cancel(("stopped by SIG%s"):format(name), within_s)
      if within_s then task.spawn(cut_short, job) end
    end
  end
end

local function print_promises(job)
  for i = #job.ledger.promises, 1, -1 do
    local promise <const> = job.ledger.promises[i]
    job.report:effect {
      number = job.effects + #job.ledger.promises - i + 1,
      name = "undo " .. promise.undo,
      target = promise.about,
      dry = true,
    }
  end
end

-- Where the metrics are served: as upstream does in a pod. Who runs this by hand reads the terminal.
local function endpoint_of(job, values)
  if job.dry_run then return "off" end
  return flags.is_given(values["http-endpoint"]) and values["http-endpoint"]
    or journals.in_pod(job) and ":8443"
    or "off"
end

local function refuse_word(word)
  error(fail.hint(fail.new("config", "'%s' is no flag", word), "give --name=value; a value with blanks needs quotes"))
end

local function options_of_arrays()
  local vendors <const> = {}
  for _, name in ipairs(arrays.names()) do
    local ok <const>, vendor <const> = pcall(arrays.describe, name)
    vendors[#vendors + 1] = ok and vendor or nil
  end
  return "\nOptions of arrays, in the environment:\n\n" .. vendor_doc.help(vendors)
end

---@param args string[]
---@return integer exit_code
function M.run(args)
  local values <const>, rest <const> = flags.parse(args, M.FLAGS)
  if values.help then
    console.out(USAGE .. flags.help(M.FLAGS) .. "\n" .. options_of_arrays() .. AFTERWORD)
    return 0
  end
  if values.version then return require("cli.main").main { "version" } end
  if #rest > 0 then refuse_word(rest[1]) end
  settings.check_mandatory(values, settings.MANDATORY)
  local request <const> = settings.request_of(values)
  request.method, request.ssh = ssh_settings.method(values)
  arrays.check_name(values["storage-vendor-product"])
  receipts.check(request.receipt)

  local job <const> = jobs.new {
    name = "populate",
    request = request,
    site = site.new(settings.site_conf(values)),
    report = report.new(values.quiet and "quiet" or values.output),
    dry_run = values["dry-run"],
  }
  job.version, job.vendor = require("cli.main").VERSION, values["storage-vendor-product"]
  job.report:title(title(values))
  local exporter <const> = exporters.open(job, endpoint_of(job, values), values["metrics-path"])
  task.spawn(M.cancel_on_signal, job)
  local why <const>, left <const> = outcome.run(job, require "flows.populate")
  if job.dry_run then print_promises(job) end
  local ending <const> = outcome.of(job, why, left)
  ending.receipt = receipts.keep(job, why, left)
  job.report:finished(ending)
  local code <const> = #left > 0 and 5 or why and require("cli.main").exit_code(why) or 0
  exporter:finish({ ok = code == 0, seconds = ending.seconds, left = #left, code = code }, values["metrics-linger"])
  return code
end

return M
