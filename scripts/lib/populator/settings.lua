--- What a claim is filled with: the spec of its resource, the Secret that this names, and what the operator has set. Of a Secret only what
--- is listed here is taken: whoever writes one in a tenant's namespace shall not make the controller read files of its own.
local arrays <const> = require "lib.arrays"
local codec <const> = require "lunalift.codec"
local fail <const> = require "lib.fail"
local flags <const> = require "lib.flags"
local list <const> = require "lib.list"
local peers <const> = require "lib.peers"
local resources <const> = require "lib.resource"
local secret <const> = require "lunalift.secret"
local settings <const> = require "lib.settings"
local site <const> = require "lib.site"
local ssh_settings <const> = require "lib.ssh_settings"

local M <const> = {}

M.OFFERED = "lunalift.io/offered-to" -- of the controller's own Secrets: namespaces, or *

local KEYS <const> = "keys are forklift's: GOVMOMI_HOSTNAME, GOVMOMI_USERNAME, GOVMOMI_PASSWORD, STORAGE_HOSTNAME, "
  .. "STORAGE_USERNAME and STORAGE_PASSWORD, or STORAGE_TOKEN"

local LOGINS_LINGER_S <const> = 60

local OF_TENANTS <const> = {
  "storage-hostname",
  "storage-username",
  "storage-password",
  "storage-token",
  "storage-skip-ssl-verification",
  "storage-thumbprint",
  "storage-http-timeout-seconds",
  "vsphere-hostname",
  "vsphere-username",
  "vsphere-password",
  "vsphere-insecure",
  "vsphere-thumbprint",
  "disable-vvol-method",
  "disable-rdm-method",
  "esxi-clone-method",
  "ssh-private-key",
  "ssh-public-key",
  "ssh-user",
  "ssh-port",
  "ssh-fingerprint",
}

local OF_OPERATORS <const> = {
  "bind-timeout",
  "ca-file",
  "clone-slots",
  "discover-timeout",
  "host-lease-duration",
  "patience",
  "require-offload",
  "ssh-known-hosts",
  "stall-timeout",
  "verify",
}

local MANDATORY <const> = { "storage-hostname", "vsphere-hostname", "vsphere-username", "vsphere-password" }

--- Settings of all copies, for the command line.
M.FLAGS = list.map(OF_OPERATORS, function(name) return list.find(settings.FLAGS, "name", name) end)

-- ---- the environment that a Secret stands for ----

local function allowed_names(vendor)
  local names <const> = { cacert = true }
  for _, name in ipairs(OF_TENANTS) do
    local flag <const> = list.find(settings.FLAGS, "name", name)
    names[flags.twin(name)] = true
    if flag.env then names[flag.env] = true end
  end
  for _, option in pairs(arrays.describe(vendor).options) do
    if option.env then names[option.env] = true end
  end
  return names
end

-- A key with a dot becomes no variable, so that forklift names this one otherwise.
local function data_of(object, name)
  local data <const> = object.data or {}
  return data[name] or name == "cacert" and data["ca.crt"] or nil
end

local function environment_of(object, vendor)
  local allowed <const> = allowed_names(vendor)
  local function encoded(name) return allowed[name] and data_of(object, name) or nil end
  return {
    get = function(name)
      local text <const> = encoded(name)
      return text and codec.unbase64(text)
    end,
    secret = function(name)
      local text <const> = encoded(name)
      return text and secret.new(text):unbase64()
    end,
  }
end

-- ---- the Secret ----

local function is_offered(object, namespace)
  for name in ((object.metadata.annotations or {})[M.OFFERED] or ""):gmatch "[^,%s]+" do
    if name == "*" or name == namespace then return true end
  end
  return false
end

local function read(secrets, namespace, name)
  local object <const>, why <const> = secrets:get(namespace, name)
  if object or why.kind == "not_found" then return object end
  error(fail.wrap(why, "Secret %s/%s cannot be read", namespace, name))
end

-- In the resource's own namespace; else one of the controller's that is offered to that namespace.
local function secret_of(secrets, order, values)
  local spec <const>, namespace <const> = order.spec, order.namespace
  local named = spec.secretName or spec.secretRef or ""
  local own <const> = named ~= "" and values["tenant-secrets"] and read(secrets, namespace, named)
  if own then return own end
  if named == "" then named = values.secret or "" end
  if named == "" then
    fail.advise(
      "config",
      "name one as spec.secretName; " .. KEYS,
      "the resource names no Secret, and the controller has none"
    )
  end
  local offered <const> = read(secrets, values.namespace, named)
  if offered and is_offered(offered, namespace) then return offered end
  local hint <const> = "create it there, or let the operator offer one of %s by its annotation %s"
  local why <const> = fail.new("not_found", "there is no Secret %s for namespace %s", named, namespace)
  error(fail.hint(why, hint, values.namespace, M.OFFERED))
end

-- ---- the copy ----

local function arguments(order, values)
  local spec <const> = order.spec
  local given <const> = {
    ["source-vm-id"] = spec.vmId or "",
    ["source-vmdk"] = spec.vmdkPath,
    ["migration-host"] = spec.migrationHost or "",
    ["storage-vendor-product"] = spec.storageVendorProduct,
    ["owner-name"] = order.name,
    ["owner-uid"] = order.uid,
    ["target-namespace"] = order.namespace,
    ["host-lease-namespace"] = values.namespace,
    journal = "lease",
    kubeconfig = values.kubeconfig or "",
  }
  for _, flag in ipairs(M.FLAGS) do
    given[flag.name] = values[flag.name]
  end
  local args <const> = {}
  for name, value in pairs(given) do
    args[#args + 1] = ("--%s=%s"):format(name, value)
  end
  return args
end

-- Tells logins apart that copies share.
local function name_logins(conf, object)
  local meta <const> = object.metadata
  local from <const> = ("%s %s"):format(meta.uid, meta.resourceVersion)
  conf.vcenter.key = "vcenter " .. from
  conf.array.key = ("array %s %s"):format(conf.array.vendor, from)
end

local function check(asked, object)
  local is_complete <const>, why <const> = pcall(settings.check_mandatory, asked, MANDATORY)
  if is_complete then return end
  local meta <const> = object.metadata
  error(fail.hint(fail.wrap(why, "Secret %s/%s is not complete", meta.namespace, meta.name), "%s", KEYS))
end

local function plan(order, object, values)
  local vendor <const> = arrays.check_name(order.spec.storageVendorProduct)
  local environment <const> = environment_of(object, vendor)
  local asked <const> = flags.parse(arguments(order, values), settings.FLAGS, environment)
  check(asked, object)
  local request <const> = settings.request_of(asked)
  request.method, request.ssh = ssh_settings.method(asked)
  request.journal_namespace = values.namespace
  local conf <const> = settings.site_conf(asked, environment)
  conf.kube = { kubeconfig = values.kubeconfig, master = values.master }
  name_logins(conf, object)
  return request, conf
end

--- What opens the request and the site of a job, or raises what is missing or wrong.
---@param cluster Kube
---@param values table<string, any> of the command line: namespace, secret, tenant-secrets, kubeconfig, master and FLAGS
---@return fun(order: lib.CopyOrder): table, lib.Site
function M.opener(cluster, values)
  local secrets <const>, shared <const> = resources.new(cluster, "/api/v1", "secrets"), peers.new(LOGINS_LINGER_S)
  return function(order)
    local request <const>, conf <const> = plan(order, secret_of(secrets, order, values), values)
    return request, site.new(conf, shared)
  end
end

return M
