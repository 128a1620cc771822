--- What a copy is made with: its flags, each with a twin in the environment, and what is made of them.
local arrays <const> = require "lib.arrays"
local env <const> = require "lunalift.env"
local fail <const> = require "lib.fail"
local flags <const> = require "lib.flags"
local ssh_settings <const> = require "lib.ssh_settings"
local vmdk <const> = require "lib.vmdk"
local words <const> = require "lib.words"

local M <const> = {}

---@class lib.Environment where what is no flag comes from: the process's, if not given
---@field get fun(name: string): string?
---@field secret fun(name: string): Secret?

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
  { name = "owner-uid", help = "the claim's uid: refuse another claim of that name; default: whatever it has" },
}
table.move(ssh_settings.FLAGS, 1, #ssh_settings.FLAGS, #M.FLAGS + 1, M.FLAGS)

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

--- Raises config, naming everything that is missing.
---@param values table
---@param mandatory string[]
function M.check_mandatory(values, mandatory)
  local missing <const>, needs_array = {}, false
  for _, name in ipairs(mandatory) do
    if not flags.is_given(values[name]) then missing[#missing + 1] = "--" .. name end
    needs_array = needs_array or name == "storage-hostname"
  end
  if #missing > 0 then
    local why <const> = fail.new("config", "missing value for %s", words.list(missing))
    error(fail.hint(why, "give each as a flag or in the environment; see lunalift help populate"))
  end
  if not needs_array or flags.is_given(values["storage-token"]) then return end
  if not flags.is_given(values["storage-username"]) or not flags.is_given(values["storage-password"]) then
    local why <const> =
      fail.new("config", "either STORAGE_TOKEN or both STORAGE_USERNAME and STORAGE_PASSWORD must be provided")
    error(fail.hint(why, "set them in the environment, or give --storage-username and --storage-password"))
  end
end

-- vCenter's certificate authority as forklift hands it over.
local function authorities(environment)
  local pem <const> = environment.get "cacert"
  if not flags.is_given(pem) then return nil end
  if pem:find("-----BEGIN CERTIFICATE-----", 1, true) then return pem end
  local why <const> = fail.new("config", "the variable cacert holds no certificate")
  error(fail.hint(why, "put certificates in PEM into ca.crt of the Secret: -----BEGIN CERTIFICATE-----"))
end

local function trust(values, environment, thumbprint, is_insecure)
  local ca <const> = authorities(environment)
  local tls <const> = { insecure = is_insecure, thumbprint = thumbprint, ca_file = values["ca-file"] }
  tls.ca, tls.and_system = ca, ca ~= nil
  return tls
end

local function option_value(option, text)
  local is_fit <const>, value <const> = pcall(flags.convert, option, option.env, text)
  if is_fit then return value end
  error(fail.hint(value, "%s: %s", option.env, option.help or "see its script"))
end

local function vendor_options(vendor, environment)
  local values <const>, missing <const>, about <const> = {}, {}, {}
  for name, option in pairs(arrays.describe(vendor).options) do
    local text <const> = option.env and (option.type == "secret" and environment.secret or environment.get)(option.env)
    if flags.is_given(text) then
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
---@param values table<string, any>
---@param environment? lib.Environment
---@return table
function M.array_conf(values, environment)
  environment = environment or env
  local array <const> = vendor_options(values["storage-vendor-product"], environment)
  array.vendor = values["storage-vendor-product"]
  array.hostname = values["storage-hostname"]
  array.username = values["storage-username"]
  array.password = values["storage-password"]
  array.token = values["storage-token"]
  array.timeout_s = values["storage-http-timeout-seconds"] or array.timeout_s
  array.tls =
    trust(values, environment, values["storage-thumbprint"], values["storage-skip-ssl-verification"] == "true")
  return array
end

--- What `lib.vcenter` logs in with.
---@return table
function M.vcenter_conf(values, environment)
  return {
    host = values["vsphere-hostname"],
    username = values["vsphere-username"],
    password = values["vsphere-password"],
    tls = trust(values, environment or env, values["vsphere-thumbprint"], values["vsphere-insecure"]),
  }
end

---@return lib.SiteConf
function M.site_conf(values, environment)
  return {
    array = M.array_conf(values, environment),
    vcenter = M.vcenter_conf(values, environment),
    kube = { kubeconfig = values.kubeconfig, master = values.master },
  }
end

---@param values table<string, any>
---@return table request what a job copies, and how; without the method: see lib.ssh_settings
function M.request_of(values)
  return {
    vm = values["source-vm-id"],
    vmdk = vmdk.parse(values["source-vmdk"]),
    claim = values["owner-name"],
    claim_uid = flags.is_given(values["owner-uid"]) and values["owner-uid"] or nil,
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

return M
