--- lunalift populate: upstream's flags and environment, one disk, one exit code.
local arrays <const> = require "lib.arrays"
local console <const> = require "lunalift.console"
local env <const> = require "lunalift.env"
local exporters <const> = require "lib.exporter"
local fail <const> = require "lib.fail"
local flags <const> = require "lib.flags"
local jobs <const> = require "lib.job"
local journals <const> = require "lib.journals"
local log <const> = require "lunalift.log"
local receipts <const> = require "lib.receipt"
local report <const> = require "lib.report"
local script <const> = require "lunalift.script"
local secret <const> = require "lunalift.secret"
local site <const> = require "lib.site"
local ssh_flags <const> = require "cli.ssh_flags"
local task <const> = require "lunalift.task"
local timer <const> = require "lunalift.timer"
local vendor_doc <const> = require "lib.vendor_doc"
local vmdk <const> = require "lib.vmdk"
local words <const> = require "lib.words"

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

M.FLAGS = {
  { name = "source-vm-id", help = "virtual machine: its id (vm-123) or name; mandatory" },
  { name = "source-vmdk", help = "disk: '[datastore] folder/file.vmdk'; mandatory" },
  { name = "owner-name", help = "claim to fill; mandatory" },
  { name = "target-namespace", help = "namespace of the claim; mandatory" },
  {
    name = "storage-vendor-product",
    env = "STORAGE_VENDOR",
    help = "the array's vendor script, such as ontap; mandatory",
  },
  { name = "storage-hostname", env = "STORAGE_HOSTNAME", help = "the array's management address; mandatory" },
  { name = "storage-username", env = "STORAGE_USERNAME", help = "with the password, or a token" },
  { name = "storage-password", env = "STORAGE_PASSWORD", type = "secret", help = "better given in the environment" },
  { name = "storage-token", env = "STORAGE_TOKEN", type = "secret", help = "instead of user and password" },
  {
    name = "storage-skip-ssl-verification",
    env = "STORAGE_SKIP_SSL_VERIFICATION",
    help = "exactly 'true': trust whatever certificate the array shows",
  },
  { name = "storage-thumbprint", help = "the array's certificate, SHA-1 or SHA-256: AA:BB:…" },
  {
    name = "storage-http-timeout-seconds",
    env = "STORAGE_HTTP_TIMEOUT_SECONDS",
    type = "integer",
    help = "longest wait for one answer of the array",
  },
  { name = "vsphere-hostname", env = "GOVMOMI_HOSTNAME", help = "vCenter or ESXi: host[:port]; mandatory" },
  { name = "vsphere-username", env = "GOVMOMI_USERNAME", help = "mandatory" },
  {
    name = "vsphere-password",
    env = "GOVMOMI_PASSWORD",
    type = "secret",
    help = "mandatory; better given in the environment",
  },
  {
    name = "vsphere-insecure",
    env = "GOVMOMI_INSECURE",
    type = "bool",
    default = false,
    help = "trust whatever certificate vCenter shows",
  },
  { name = "vsphere-thumbprint", help = "vCenter's certificate, SHA-1 or SHA-256: AA:BB:…" },
  { name = "ca-file", help = "PEM file of certificate authorities to trust, for vCenter and array" },
  {
    name = "disable-vvol-method",
    env = "DISABLE_VVOL_METHOD",
    type = "bool",
    default = false,
    help = "let the host copy vVols, though the array could",
  },
  {
    name = "disable-rdm-method",
    env = "DISABLE_RDM_METHOD",
    type = "bool",
    default = false,
    help = "let the host copy raw device mappings, though the array could",
  },
  {
    name = "host-lease-namespace",
    env = "HOST_LEASE_NAMESPACE",
    default = "openshift-mtv",
    help = "namespace of the Leases by which pods share a host; empty: they do not",
  },
  {
    name = "host-lease-duration",
    env = "HOST_LEASE_DURATION_SECONDS",
    type = "seconds",
    default = 10,
    help = "seconds after which a holder that says nothing has lost its Lease",
  },
  { name = "migration-host", help = "host that runs the clone (host-123 or name); default: where the VM is" },
  { name = "kubeconfig", env = "KUBECONFIG", help = "default: the service account of the pod" },
  { name = "master", help = "address of the Kubernetes API, in place of the kubeconfig's" },
  {
    name = "journal",
    help = "where promises are kept: lease or file:PATH; default: lease in a pod, else a file of this user's state",
  },
  {
    name = "bind-timeout",
    type = "seconds",
    default = 60,
    help = "seconds to wait for the claim's volume",
  },
  {
    name = "discover-timeout",
    type = "seconds",
    default = 60,
    help = "seconds to wait for the device on the host",
  },
  {
    name = "patience",
    type = "seconds",
    default = 60,
    help = "seconds to go on asking a peer that is away or busy",
  },
  {
    name = "stall-timeout",
    env = "LUNALIFT_STALL_SECONDS",
    type = "seconds",
    default = 3600,
    help = "seconds without progress after which a copy is given up; 0: never",
  },
  {
    name = "require-offload",
    type = "bool",
    default = false,
    help = "fail unless the array moves the data; what can be known is known before anything is changed",
  },
  {
    name = "clone-slots",
    type = "integer",
    default = 2,
    help = "clones that may run on one host at a time; 0: any number",
  },
  {
    name = "verify",
    default = "sampled",
    choices = { "none", "sampled", "full" },
    help = "digests of both ends compared on the host: none, sampled or full",
  },
  { name = "receipt", help = "file for the receipt; default: beside the journal, or with it" },
  { name = "dry-run", type = "bool", default = false, help = "print what would be changed, in order; change nothing" },
  { name = "output", default = "text", choices = { "text", "json" }, help = "text or json" },
  { name = "quiet", type = "bool", default = false, help = "nothing but errors, and the log" },
  { name = "scripts", help = "folder laid over the built-in scripts, file by file" },
  { name = "v", help = "log for debugging, to standard error; a level is taken for klog's sake", type = "level" },
  { name = "vv", help = "and tracebacks", type = "bool" },
  { name = "help", help = "this text", type = "bool" },
  { name = "version", help = "what this is", type = "bool" },
  { name = "owner-uid", help = "the claim's uid: refuse another claim of that name; default: whatever it has" },
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
table.move(ssh_flags.FLAGS, 1, #ssh_flags.FLAGS, #M.FLAGS + 1, M.FLAGS)
for name, type in pairs(IGNORED) do
  M.FLAGS[#M.FLAGS + 1] = { name = name, type = type, ignored = true, help = "" }
end

M.MANDATORY = {
  "source-vm-id",
  "source-vmdk",
  "owner-name",
  "target-namespace",
  "storage-vendor-product",
  "storage-hostname",
  "vsphere-hostname",
  "vsphere-username",
  "vsphere-password",
}

local function is_given(value)
  if secret.is(value) then return not value:is_empty() end
  return value ~= nil and value ~= ""
end

--- Raises config, naming everything that is missing.
---@param values table
---@param mandatory string[]
function M.check_mandatory(values, mandatory)
  local missing <const>, needs_array = {}, false
  for _, name in ipairs(mandatory) do
    if not is_given(values[name]) then missing[#missing + 1] = "--" .. name end
    needs_array = needs_array or name == "storage-hostname"
  end
  if #missing > 0 then
    local why <const> = fail.new("config", "missing value for %s", words.list(missing))
    error(fail.hint(why, "give each as a flag or in the environment; see lunalift help populate"))
  end
  if not needs_array or is_given(values["storage-token"]) then return end
  if not is_given(values["storage-username"]) or not is_given(values["storage-password"]) then
    local why <const> =
      fail.new("config", "either STORAGE_TOKEN or both STORAGE_USERNAME and STORAGE_PASSWORD must be provided")
    error(fail.hint(why, "set them in the environment, or give --storage-username and --storage-password"))
  end
end

-- vCenter's certificate authority as forklift hands it over.
local function authorities()
  local pem <const> = env.get "cacert"
  if not is_given(pem) then return nil end
  if pem:find("-----BEGIN CERTIFICATE-----", 1, true) then return pem end
  local why <const> = fail.new("config", "the variable cacert holds no certificate")
  error(fail.hint(why, "put certificates in PEM into ca.crt of the Secret: -----BEGIN CERTIFICATE-----"))
end

local function trust(values, thumbprint, is_insecure)
  local ca <const> = authorities()
  local tls <const> = { insecure = is_insecure, thumbprint = thumbprint, ca_file = values["ca-file"] }
  tls.ca, tls.and_system = ca, ca ~= nil
  return tls
end

local function option_value(option, text)
  local is_fit <const>, value <const> = pcall(flags.convert, option, option.env, text)
  if is_fit then return value end
  error(fail.hint(value, "%s: %s", option.env, option.help or "see its script"))
end

local function vendor_options(vendor)
  local values <const>, missing <const>, about <const> = {}, {}, {}
  for name, option in pairs(arrays.describe(vendor).options) do
    local text <const> = option.env and (option.type == "secret" and env.secret or env.get)(option.env)
    if is_given(text) then
      values[name] = option_value(option, text)
    else
      values[name] = option.default
      if option.required and option.default == nil then
        missing[#missing + 1] = option.env or name
        about[#missing] = ("%s: %s"):format(missing[#missing], option.help or "see vendors/" .. vendor .. ".lua")
      end
    end
  end
  if #missing > 0 then
    local why <const> = fail.new("config", "%s needs a value for %s", vendor, words.list(missing))
    error(fail.hint(why, "set in the environment %s", table.concat(about, "; ")))
  end
  return values
end

--- What `lib.arrays` opens an array with.
---@return table
function M.array_conf(values)
  local array <const> = vendor_options(values["storage-vendor-product"])
  array.vendor = values["storage-vendor-product"]
  array.hostname = values["storage-hostname"]
  array.username = values["storage-username"]
  array.password = values["storage-password"]
  array.token = values["storage-token"]
  array.timeout_s = values["storage-http-timeout-seconds"] or array.timeout_s
  array.tls = trust(values, values["storage-thumbprint"], values["storage-skip-ssl-verification"] == "true")
  return array
end

--- What `lib.vcenter` logs in with.
---@return table
function M.vcenter_conf(values)
  return {
    host = values["vsphere-hostname"],
    username = values["vsphere-username"],
    password = values["vsphere-password"],
    tls = trust(values, values["vsphere-thumbprint"], values["vsphere-insecure"]),
  }
end

---@return lib.SiteConf
function M.site_conf(values)
  return {
    array = M.array_conf(values),
    vcenter = M.vcenter_conf(values),
    kube = { kubeconfig = values.kubeconfig, master = values.master },
  }
end

---@param values table<string, any>
---@return table request without the method
function M.request_of(values)
  return {
    vm = values["source-vm-id"],
    vmdk = vmdk.parse(values["source-vmdk"]),
    claim = values["owner-name"],
    claim_uid = is_given(values["owner-uid"]) and values["owner-uid"] or nil,
    namespace = values["target-namespace"],
    migration_host = values["migration-host"],
    lease_namespace = values["host-lease-namespace"],
    lease_s = math.max(1, values["host-lease-duration"]),
    journal = values.journal,
    kubeconfig = values.kubeconfig,
    verify = values.verify,
    receipt = values.receipt,
    patience_s = values.patience,
    bind_within_s = values["bind-timeout"],
    discover_within_s = values["discover-timeout"],
    clone_slots = values["clone-slots"],
    stall_s = values["stall-timeout"],
    require_offload = values["require-offload"],
    disabled = { rdm = values["disable-rdm-method"], vvol = values["disable-vvol-method"] },
  }
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

local function describe_left(left)
  local lines <const> = {}
  for _, item in ipairs(left) do
    lines[#lines + 1] = ("%s: %s"):format(item.promise.about, fail.text(item.why))
    if item.why.hint and #lines == 1 then lines[1] = lines[1] .. " (" .. item.why.hint .. ")" end
  end
  return lines
end

-- Only a flow that was changed can end so.
local function undone_flow()
  local why <const> = fail.new("failed", "the flow ended without job:done: nothing says that the volume holds the disk")
  return fail.hint(
    why,
    "let the flow of --scripts call job:done when the copy is proved, or return earlier with a failure"
  )
end

local function result_of(job, why, left)
  local seconds <const> = timer.now() - job.started_s
  local result <const> = { ok = not why and #left == 0, seconds = seconds, left = describe_left(left) }
  if #left > 0 and not why then
    result.why = fail.new("incomplete", "the copy is done, but not everything could be put back")
  else
    result.why = why
  end
  if why and #left == 0 and job.effects > 0 and not job.dry_run then
    result.left = { "nothing: all that was changed is put back" }
  end
  if job.dry_run and result.ok then
    result.text = ("dry run: %d effects, then their undo; nothing was changed"):format(job.effects)
  elseif result.ok then
    local work_s <const> = (job.facts.copy_seconds or 0) + (job.facts.proof_seconds or 0)
    result.text = ("done in %.1f s"):format(seconds)
    if work_s <= seconds then -- else an earlier run did some of it
      result.text = result.text .. (", %.1f s of it overhead"):format(seconds - work_s)
    end
  end
  return result
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
  return is_given(values["http-endpoint"]) and values["http-endpoint"] or journals.in_pod(job) and ":8443" or "off"
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
  M.check_mandatory(values, M.MANDATORY)
  local request <const> = M.request_of(values)
  request.method, request.ssh = ssh_flags.method(values)
  arrays.check_name(values["storage-vendor-product"])
  receipts.check(request.receipt)

  local job <const> = jobs.new {
    name = "populate",
    request = request,
    site = site.new(M.site_conf(values)),
    report = report.new(values.quiet and "quiet" or values.output),
    dry_run = values["dry-run"],
  }
  job.version, job.vendor = require("cli.main").VERSION, values["storage-vendor-product"]
  job.report:title(title(values))
  local exporter <const> = exporters.open(job, endpoint_of(job, values), values["metrics-path"])
  task.spawn(M.cancel_on_signal, job)
  local why, left <const> = job:run(require "flows.populate")
  why = why or not job.is_done and not job.dry_run and undone_flow() or nil
  if job.dry_run then print_promises(job) end
  if why and why.traceback and why.kind == "bug" then log.error(why.traceback) end
  local result <const> = result_of(job, why, left)
  result.receipt = receipts.keep(job, why, left)
  job.report:finished(result)
  local code <const> = #left > 0 and 5 or why and require("cli.main").exit_code(why) or 0
  exporter:finish({ ok = code == 0, seconds = result.seconds, left = #left, code = code }, values["metrics-linger"])
  return code
end

return M
