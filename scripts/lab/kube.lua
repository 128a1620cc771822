--- A Kubernetes API server with the few kinds that a copy needs, and the manners of a real one. Nothing else runs in its
--- cluster: no binder, no kubelet. What they would have done, the site puts in by hand.
local codec <const> = require "lunalift.codec"
local lease <const> = require "lab.kube.lease"
local patch <const> = require "lab.kube.patch"
local rest <const> = require "lab.kube.rest"
local server <const> = require "lunalift.server"
local status <const> = require "lab.kube.status"
local store <const> = require "lab.kube.store"

---@class lab.kube
local M <const> = {}

---@class kube.Rule
---@field verbs string[]
---@field groups string[] "" is the core
---@field resources string[] plural; "pods/status" for a subresource
---@field namespaces? string[] nil: all, and cluster-wide
---@field names? string[]

---@class kube.Token
---@field user string
---@field rules? kube.Rule[] nil: an administrator

---@class kube.Options
---@field faults lab.Faults
---@field cert string
---@field key Secret|string
---@field port? integer
---@field tokens table<string, kube.Token>
---@field objects? table[]
---@field resources? kube.Resource[] more kinds than our own

---@class lab.Kube
---@field port integer
---@field store kube.Store
---@field resources kube.Resource[]
local Kube <const> = {}
Kube.__index = Kube

local function core(name, kind, more)
  local resource <const> = { group = "", version = "v1", name = name, kind = kind, namespaced = true }
  for key, value in pairs(more or {}) do
    resource[key] = value
  end
  return resource
end

local NAMESPACES <const> = core("namespaces", "Namespace", { namespaced = false, phase = "Active", short = { "ns" } })
local RESOURCES <const> = {
  NAMESPACES,
  core(
    "persistentvolumeclaims",
    "PersistentVolumeClaim",
    { status = true, phase = "Pending", returns_deleted = true, short = { "pvc" } }
  ),
  core(
    "persistentvolumes",
    "PersistentVolume",
    { status = true, phase = "Pending", returns_deleted = true, namespaced = false, short = { "pv" } }
  ),
  core("pods", "Pod", { status = true, phase = "Pending", returns_deleted = true, short = { "po" } }),
  core("secrets", "Secret"),
  core("events", "Event"),
  {
    group = "coordination.k8s.io",
    version = "v1",
    name = "leases",
    kind = "Lease",
    namespaced = true,
    conditional = true,
    decode = lease.decode,
    validate = lease.validate,
  },
  {
    group = "storage.k8s.io",
    version = "v1",
    name = "storageclasses",
    kind = "StorageClass",
    namespaced = false,
    short = { "sc" },
  },
  {
    group = "forklift.konveyor.io",
    version = "v1beta1",
    name = "vspherexcopyvolumepopulators",
    kind = "VSphereXcopyVolumePopulator",
    namespaced = true,
    status = true,
    generation = true,
    short = { "vxvp" },
  },
  {
    group = "authorization.k8s.io",
    version = "v1",
    name = "selfsubjectaccessreviews",
    kind = "SelfSubjectAccessReview",
    namespaced = false,
    review = true,
  },
}

--- What the server makes of an object before it keeps it.
local PREPARE <const> = {}

function PREPARE.Secret(secret)
  if not secret.stringData then return end
  secret.data = secret.data or {}
  for key, text in pairs(secret.stringData) do
    secret.data[key] = codec.base64(text)
  end
  secret.stringData = nil
end

function PREPARE.PersistentVolumeClaim(claim)
  local from <const> = claim.spec and claim.spec.dataSourceRef
  if from and not from.namespace then claim.spec.dataSource = patch.copy(from) end
end

local function prepare(resource, object)
  local fn <const> = PREPARE[resource.kind]
  if fn then fn(object) end
end

---@return kube.Resource?
function Kube:resource_named(group, version, name)
  for _, resource in ipairs(self.resources) do
    if resource.group == group and resource.version == version and resource.name == name then return resource end
  end
end

---@return kube.Resource?
function Kube:resource_of(api_version, kind)
  for _, resource in ipairs(self.resources) do
    if status.group_version(resource) == api_version and resource.kind == kind then return resource end
  end
end

function Kube:has_namespace(name) return self.store:get(NAMESPACES, nil, name) ~= nil end

--- Put an object in, past all rules, and its namespace with it. Status included.
---@param object table
---@return table stored
function Kube:put(object)
  local resource <const> = assert(self:resource_of(object.apiVersion, object.kind), "no such kind")
  local new <const> = patch.copy(object)
  if resource.namespaced then
    new.metadata.namespace = new.metadata.namespace or "default"
    if not self:has_namespace(new.metadata.namespace) then
      self.store:insert(NAMESPACES, { metadata = { name = new.metadata.namespace }, status = { phase = "Active" } })
    end
  end
  prepare(resource, new)
  return self.store:insert(resource, new)
end

--- The object at a path such as /api/v1/namespaces/NS/secrets/NAME.
---@param path string
---@return table?
function Kube:get(path)
  local group, version, tail = "", "v1", path:match "^/api/v1/(.+)$"
  if not tail then
    group, version, tail = path:match "^/apis/([^/]+)/([^/]+)/(.+)$"
  end
  local namespace <const>, inside <const> = (tail or ""):match "^namespaces/([^/]+)/(.+)$"
  local plural <const>, name <const> = (inside or tail or ""):match "^([^/]+)/([^/]+)$"
  local resource <const> = assert(self:resource_named(group, version, plural), "no such resource")
  return self.store:get(resource, namespace, name)
end

--- All objects, by "resource/namespace/name".
---@return table<string, table>
function Kube:state()
  local all <const> = {}
  for _, resource in ipairs(self.resources) do
    for _, object in ipairs(self.store:list(resource)) do
      local meta <const> = object.metadata
      all[table.concat({ status.qualified(resource), meta.namespace or "", meta.name }, "/")] = object
    end
  end
  return all
end

--- Answer one request of the wire.
---@param request ServerRequest
---@return ServerAnswer
function Kube:handle(request) return rest.handle(self, request) end

function Kube:close()
  if self.server then self.server:close() end
  self.server = nil
end

--- The API server without a socket: `kube:handle(request)`.
---@param options kube.Options
---@return lab.Kube
function M.new(options)
  local resources <const> = table.move(RESOURCES, 1, #RESOURCES, 1, {})
  table.move(options.resources or {}, 1, #(options.resources or {}), #resources + 1, resources)
  local self <const> = setmetatable({
    store = store.new(),
    tokens = options.tokens,
    resources = resources,
    namespaces = NAMESPACES,
    prepare = prepare,
  }, Kube)
  for _, object in ipairs(options.objects or {}) do
    self:put(object)
  end
  return self
end

---@param options kube.Options
---@return lab.Kube
function M.start(options)
  local self <const> = M.new(options)
  self.server = assert(server.listen {
    port = options.port,
    cert = options.cert,
    key = options.key,
    on_request = options.faults:wrap("kube", function(request) return self:handle(request) end),
  })
  self.port = self.server.port
  return self
end

M.LOCKS = "openshift-mtv" -- where upstream's host Leases are

--- What forklift lets its service account `populator` do: Role populator-pvc-reader in the target namespace, populator-lease-reader where
--- upstream's locks are, and ClusterRole populator-pv-reader. No deletion, no Secrets, no other namespace.
---@param namespace string
---@return kube.Token
function M.populator(namespace)
  local here <const> = { namespace }
  return {
    user = ("system:serviceaccount:%s:populator"):format(namespace),
    rules = {
      {
        verbs = { "get", "list", "watch" },
        groups = { "" },
        resources = { "persistentvolumeclaims" },
        namespaces = here,
      },
      {
        verbs = { "get", "list", "watch", "create", "update", "patch" },
        groups = { "coordination.k8s.io" },
        resources = { "leases" },
        namespaces = here,
      },
      {
        verbs = { "get", "list", "watch", "create", "update" },
        groups = { "coordination.k8s.io" },
        resources = { "leases" },
        namespaces = { M.LOCKS },
      },
      { verbs = { "get" }, groups = { "" }, resources = { "persistentvolumes" } },
    },
  }
end

--- A kubeconfig for one of the tokens.
---@param options { server: string, ca_pem: string?, token: string, namespace: string? }
---@return string yaml
function M.kubeconfig(options)
  local trust <const> = options.ca_pem and "certificate-authority-data: " .. codec.base64(options.ca_pem)
    or "insecure-skip-tls-verify: true"
  return table.concat({
    "apiVersion: v1",
    "kind: Config",
    "current-context: lab",
    "clusters:",
    "- name: lab",
    "  cluster:",
    "    server: " .. options.server,
    "    " .. trust,
    "users:",
    "- name: lab",
    "  user:",
    "    token: " .. options.token,
    "contexts:",
    "- name: lab",
    "  context:",
    "    cluster: lab",
    "    user: lab",
    "    namespace: " .. (options.namespace or "default"),
    "",
  }, "\n")
end

return M
