--- lunalift controller: fills the claims of a cluster whose data source is a VSphereXcopyVolumePopulator.
local arrays <const> = require "lib.arrays"
local codec <const> = require "lunalift.codec"
local console <const> = require "lunalift.console"
local controllers <const> = require "lib.populator.controller"
local env <const> = require "lunalift.env"
local fail <const> = require "lib.fail"
local flags <const> = require "lib.flags"
local in_process <const> = require "lib.populator.in_process"
local kube <const> = require "lunalift.kube"
local leadership <const> = require "lib.leadership"
local log <const> = require "lunalift.log"
local peers <const> = require "lib.peers"
local resources <const> = require "lib.resource"
local secret <const> = require "lunalift.secret"
local settings <const> = require "lib.settings"
local site <const> = require "lib.site"
local ssh_settings <const> = require "lib.ssh_settings"
local task <const> = require "lunalift.task"

local M <const> = {}

local USAGE <const> = [[
usage: lunalift controller [flags]

Fills claims whose dataSourceRef names a VSphereXcopyVolumePopulator, as jobs of this process. It acts in namespaces that are labelled
lunalift.io/populate=enabled, and for resources that are annotated so. Of several such processes one leads.

]]

local LOGINS_LINGER_S <const> = 60
local LEASE <const> = "lunalift-controller"

local OWN_FLAGS <const> = {
  { name = "kubeconfig", env = "KUBECONFIG", help = "default: the service account of the pod" },
  { name = "master", help = "address of the Kubernetes API, in place of the kubeconfig's" },
  { name = "namespace", help = "where journals are, and the Lease of who leads; default: this pod's own" },
  {
    name = "secret",
    help = "Secret of that namespace with the credentials of resources that name none; default: none has any",
  },
  {
    name = "executor",
    default = "in-process",
    choices = { "in-process" },
    help = "where the work is done: in-process",
  },
  { name = "scripts", help = "folder laid over the built-in scripts, file by file" },
  { name = "v", help = "log for debugging, to standard error; a level is taken for klog's sake", type = "level" },
  { name = "help", help = "this text", type = "bool" },
}

-- What populate takes, too, and means the same for each copy.
local PASSED <const> = {
  "bind-timeout",
  "ca-file",
  "clone-slots",
  "disable-rdm-method",
  "disable-vvol-method",
  "discover-timeout",
  "patience",
  "require-offload",
  "stall-timeout",
  "verify",
}

local function all_flags()
  local all <const>, passed <const> = table.move(OWN_FLAGS, 1, #OWN_FLAGS, 1, {}), {}
  for _, name in ipairs(PASSED) do
    passed[name] = true
  end
  for _, flag in ipairs(settings.FLAGS) do
    if passed[flag.name] then all[#all + 1] = flag end
  end
  return all
end

-- ---- a Secret in place of the environment ----

-- Its owner is a tenant: what is said there is where the peers are, and who logs in, and nothing of how this process works.
local function is_for_tenants(name)
  return not name:find "^LUNALIFT_" and not name:find "^HOST_LEASE_" and name ~= "KUBECONFIG"
end

-- A name with a dot can be no variable, so that forklift calls it otherwise.
local ALIAS <const> = { cacert = "ca.crt" }

local function source_of(data)
  local function find(name) return is_for_tenants(name) and (data[name] or data[ALIAS[name]]) or nil end
  return {
    get = function(name)
      local value <const> = find(name)
      return value and codec.unbase64(value)
    end,
    secret = function(name)
      local value <const> = find(name)
      return value and secret.new(value):unbase64()
    end,
  }
end

-- The same for all Secrets that say the same of a peer.
local function key_of(data, is_part)
  local parts <const> = {}
  for name, value in pairs(data) do
    if is_part(name) then parts[#parts + 1] = name .. "=" .. value end
  end
  table.sort(parts)
  return codec.sha256(table.concat(parts, "\n"))
end

local function is_of_vcenter(name) return name:find "^GOVMOMI_" ~= nil or name == "ca.crt" or name == "cacert" end
local function is_of_array(name) return not name:find "^GOVMOMI_" and not name:find "^SSH_" end

local function read_secret(secrets, values, order)
  local named <const> = order.spec.secretName or order.spec.secretRef or ""
  local namespace <const> = named ~= "" and order.namespace or values.namespace
  local name <const> = named ~= "" and named or values.secret or ""
  if name == "" then
    fail.advise("config", "name one in spec.secretName", "the resource names no Secret, and the controller has none")
  end
  local found <const>, why <const> = secrets:get(namespace, name)
  if found then return found.data or {} end
  if why.status == 404 then
    fail.advise("unreachable", "create it: the copy begins then", "Secret %s/%s is missing", namespace, name)
  end
  error(why)
end

-- ---- jobs ----

local function values_of(values, order, source)
  local told <const> = {
    ["source-vm-id"] = order.spec.vmId or "",
    ["source-vmdk"] = order.spec.vmdkPath,
    ["owner-name"] = order.name,
    ["owner-uid"] = order.uid,
    ["target-namespace"] = order.namespace,
    ["storage-vendor-product"] = order.spec.storageVendorProduct,
    ["migration-host"] = order.spec.migrationHost or "",
    ["host-lease-namespace"] = values.namespace,
    journal = "lease",
    kubeconfig = values.kubeconfig or "",
  }
  local words <const> = {}
  for name, value in pairs(told) do
    words[#words + 1] = ("--%s=%s"):format(name, value)
  end
  for _, name in ipairs(PASSED) do
    if values[name] ~= nil then words[#words + 1] = ("--%s=%s"):format(name, values[name]) end
  end
  return (flags.parse(words, settings.FLAGS, source))
end

local MANDATORY <const> = {
  "source-vmdk",
  "storage-vendor-product",
  "storage-hostname",
  "vsphere-hostname",
  "vsphere-username",
  "vsphere-password",
}

-- Returns what opens the request and the site of a job.
local function opener(cluster, values)
  local secrets <const> = resources.new(cluster, "/api/v1", "secrets")
  local shared <const> = peers.new(LOGINS_LINGER_S)
  return function(order)
    local data <const> = read_secret(secrets, values, order)
    local source <const> = source_of(data)
    local asked <const> = values_of(values, order, source)
    settings.check_mandatory(asked, MANDATORY)
    arrays.check_name(asked["storage-vendor-product"])
    local request <const> = settings.request_of(asked)
    request.method, request.ssh = ssh_settings.method(asked)
    request.journal_namespace = values.namespace
    local conf <const> = settings.site_conf(asked, source)
    conf.kube = { kubeconfig = values.kubeconfig, master = values.master }
    conf.vcenter.key = "vcenter " .. key_of(data, is_of_vcenter)
    conf.array.key = ("array %s %s"):format(conf.array.vendor, key_of(data, is_of_array))
    return request, site.new(conf, shared)
  end
end

-- ---- running ----

local function lead(cluster, values, me)
  local controller
  local executor <const> = in_process.new {
    open = opener(cluster, values),
    on_change = function(order) controller:on_copy(order) end,
  }
  controller = controllers.new {
    kube = cluster,
    namespace = values.namespace,
    instance = me,
    executor = executor,
    flows = { populate = require "flows.populate", settle = require "flows.settle" },
  }
  controller:run()
end

local function run(cluster, values)
  local host <const> = env.get "HOSTNAME" or "lunalift"
  local me <const> = ("%s_%s"):format(host, codec.uuid())
  while true do
    local _, why <const> = task
      .spawn(leadership.run, cluster, {
        namespace = values.namespace,
        name = LEASE,
        me = me,
        lead = function() lead(cluster, values, me) end,
      })
      :wait()
    task.check()
    if not fail.is(why, "conflict") then error(why) end
    log.warn("leads no more", { why = fail.text(why) })
  end
end

---@param args string[]
---@return integer exit_code
function M.run(args)
  local all <const> = all_flags()
  local values <const>, rest <const> = flags.parse(args, all)
  if values.help then
    console.out(USAGE .. flags.help(all) .. "\n")
    return 0
  end
  if #rest > 0 then fail.advise("config", "give --name=value", "'%s' is no flag", rest[1]) end
  local cluster <const>, why <const> = kube.open { kubeconfig = values.kubeconfig, master = values.master }
  if not cluster then error(why) end
  if (values.namespace or "") == "" then values.namespace = cluster.namespace end
  local running <const> = task.spawn(run, cluster, values)
  task.spawn(function()
    while task.signal() == "USR1" do
    end
    running:cancel "stopped by a signal"
  end)
  local _, ended <const> = running:wait()
  if ended and ended.kind ~= "cancelled" then error(ended) end
  return 0
end

return M
