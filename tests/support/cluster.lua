--- A real Kubernetes control plane in processes of its own: etcd, the API server and the controllers that bind claims and collect
--- garbage. No kubelet, no provisioner: what they do, the spec does by hand. Needs LUNALIFT_KUBELAB, the program of tests/interop/kubelab.
local codec <const> = require "lunalift.codec"
local fs <const> = require "lunalift.fs"
local http <const> = require "lunalift.http"
local json <const> = require "lunalift.json"
local kube <const> = require "lunalift.kube"
local lab_site <const> = require "support.lab_site"
local process <const> = require "lunalift.process"
local server <const> = require "lunalift.server"
local simulated <const> = require "lab.kube"
local timer <const> = require "lunalift.timer"

local M <const> = {}

local PROGRAM <const> = os.getenv "LUNALIFT_KUBELAB" or "kubelab"
local READY_WITHIN_S <const> = 60
local ETCD_WITHIN_S <const>, ETCD_TRIES <const> = 10, 3
local BOUND_WITHIN_S <const>, GONE_WITHIN_S <const> = 20, 45 -- the collector may look around first, for 30 s
local ADMIN_TOKEN <const>, CONTROLLERS_TOKEN <const> = "admintoken", "controllerstoken"
local ISSUER <const> = "https://kubernetes.default.svc"
local LEEWAY_S <const> = 60 -- for which the API server still takes an expired token
local CONTROLLERS <const> = {
  "persistentvolume-binder-controller",
  "persistentvolumeclaim-protection-controller",
  "persistentvolume-protection-controller",
  "namespace-controller",
  "garbage-collector-controller",
  "serviceaccount-controller",
  "clusterrole-aggregation-controller",
}

M.NAMESPACE = "move"
M.LOCKS = "openshift-mtv" -- where upstream's host leases are

---@class support.Cluster
---@field dir string
---@field url string
---@field admin Kube with all rights
---@field kubeconfig string of the same
local Cluster <const> = {}
Cluster.__index = Cluster

-- ---- processes ----

-- They end with this process, however it ends.
local function start_part(self, ...)
  return assert(process.start { argv = { "setpriv", "--pdeathsig", "KILL", PROGRAM, ... }, cwd = self.dir })
end

function M.free_port()
  local taken <const> = assert(server.listen { on_request = function() end })
  local port <const> = taken.port
  taken:close()
  return port
end

local function try_etcd(self)
  local clients <const> = "http://127.0.0.1:" .. M.free_port()
  local peers <const> = "http://127.0.0.1:" .. M.free_port()
  self.etcd_url = clients
  self.etcd = start_part(
    self,
    "etcd",
    "--data-dir=etcd",
    "--unsafe-no-fsync",
    "--log-level=error",
    "--listen-client-urls=" .. clients,
    "--advertise-client-urls=" .. clients,
    "--listen-peer-urls=" .. peers,
    "--initial-advertise-peer-urls=" .. peers,
    "--initial-cluster=default=" .. peers
  )
  local door <const> = http.client { base = clients }
  return pcall(lab_site.wait_until, ETCD_WITHIN_S, function() return door:get "/health" ~= nil end)
end

-- A port that was free may be somebody's by the time it is used.
local function start_etcd(self)
  for _ = 1, ETCD_TRIES do
    if try_etcd(self) then return end
    self.etcd:kill "KILL"
    self.etcd:wait()
    process.run { argv = { "rm", "-rf", self.dir .. "/etcd" } }
  end
  error "etcd does not start"
end

local function is_ready(self)
  if not fs.stat(self.ca_file) then return false end -- its own certificate, made at its first start
  return http.client({ base = self.url, tls = { ca_file = self.ca_file } }):get "/readyz" ~= nil
end

--- Start the API server, for the first time or anew, and wait until it serves.
function Cluster:start_server()
  self.server = start_part(
    self,
    "apiserver",
    "--etcd-servers=" .. self.etcd_url,
    "--bind-address=127.0.0.1",
    "--advertise-address=127.0.0.1",
    "--endpoint-reconciler-type=none",
    "--secure-port=" .. self.port,
    "--cert-dir=tls",
    "--token-auth-file=tokens.csv",
    "--authorization-mode=RBAC",
    "--service-cluster-ip-range=10.0.0.0/24",
    "--service-account-issuer=" .. ISSUER,
    "--service-account-key-file=sa.pub",
    "--service-account-signing-key-file=sa.key",
    self.is_bare and "--disable-admission-plugins=StorageObjectInUseProtection"
  )
  local ready <const>, why <const> = pcall(lab_site.wait_until, READY_WITHIN_S, function() return is_ready(self) end)
  if not ready then error(why .. ": " .. select(2, self.server:output()):sub(-2000)) end
end

--- Kill the API server, as the loss of its machine would.
function Cluster:kill_server()
  self.server:kill "KILL"
  self.server:wait()
end

local function start_controllers(self)
  self.controllers = start_part(
    self,
    "controller-manager",
    "--kubeconfig=" .. self:write_kubeconfig("controllers", CONTROLLERS_TOKEN),
    "--leader-elect=false",
    "--secure-port=0",
    "--pvclaimbinder-sync-period=1s",
    "--controllers=" .. table.concat(CONTROLLERS, ",")
  )
end

function Cluster:stop()
  for _, part in ipairs { self.controllers or false, self.server or false, self.etcd or false } do
    if part then
      part:kill "KILL"
      part:wait()
    end
  end
  process.run { argv = { "rm", "-rf", self.dir } }
end

-- ---- who may ----

---@param path string
---@param options { server: string, ca_file: string, token: string }
function M.write_kubeconfig(path, options)
  local text <const> = simulated.kubeconfig {
    server = options.server,
    ca_pem = fs.read(options.ca_file),
    token = options.token,
    namespace = M.NAMESPACE,
  }
  assert(fs.write(path, text))
  return path
end

---@param name string
---@param token string
---@return string path
function Cluster:write_kubeconfig(name, token)
  local path <const> = ("%s/%s.kubeconfig"):format(self.dir, name)
  return M.write_kubeconfig(path, { server = self.url, ca_file = self.ca_file, token = token })
end

--- One whose token is read from a file, as that of a pod is.
---@return string path
---@return string token_path
function Cluster:write_kubeconfig_of_file(name, token)
  local path <const> = self:write_kubeconfig(name, "")
  local token_path <const> = ("%s/%s.token"):format(self.dir, name)
  assert(fs.write(token_path, token))
  assert(fs.write(path, (fs.read(path):gsub("token: ", "tokenFile: " .. token_path))))
  return path, token_path
end

local function url_base64(bytes) return (codec.base64(bytes):gsub("[+/=]", { ["+"] = "-", ["/"] = "_", ["="] = "" })) end

--- A token of a service account, made as the API server makes them, which gives none for less than ten minutes.
---@param account table the ServiceAccount
---@param expires_in_s number until the API server refuses it
---@return string
function Cluster:token(account, expires_in_s)
  local now <const>, meta <const> = timer.epoch(), account.metadata
  local claims <const> = json.encode {
    iss = ISSUER,
    aud = json.array { ISSUER },
    sub = ("system:serviceaccount:%s:%s"):format(meta.namespace, meta.name),
    iat = now - 3600,
    nbf = now - 3600,
    exp = now + expires_in_s - LEEWAY_S,
    ["kubernetes.io"] = { namespace = meta.namespace, serviceaccount = { name = meta.name, uid = meta.uid } },
  }
  local signed <const> = url_base64 '{"alg":"RS256","typ":"JWT"}' .. "." .. url_base64(claims)
  local signature <const> =
    assert(process.run { argv = { "openssl", "dgst", "-sha256", "-sign", self.dir .. "/sa.key" }, input = signed })
  assert(signature.code == 0, signature.err)
  return signed .. "." .. url_base64(signature.out)
end

-- ---- what is in it ----

local CORE <const>, RBAC <const> = "/api/v1", "/apis/rbac.authorization.k8s.io/v1"
local VOLUMES <const> = CORE .. "/persistentvolumes/"

local function role(kind, namespace, name, rules)
  return {
    apiVersion = "rbac.authorization.k8s.io/v1",
    kind = kind,
    metadata = { name = name, namespace = namespace },
    rules = json.array(rules),
  }
end

local function rule(group, resource, verbs, name)
  local list <const> = {}
  for verb in verbs:gmatch "%a+" do
    list[#list + 1] = verb
  end
  return {
    apiGroups = json.array { group },
    resources = json.array { resource },
    verbs = json.array(list),
    resourceNames = name and json.array { name },
  }
end

local function bind(self, object)
  local meta <const> = object.metadata
  local place <const> = meta.namespace and ("/namespaces/%s"):format(meta.namespace) or ""
  local plural <const> = object.kind:lower() .. "s"
  assert(self.admin:create(("%s%s/%s"):format(RBAC, place, plural), object))
  assert(self.admin:create(("%s%s/%s"):format(RBAC, place, plural:gsub("roles$", "rolebindings")), {
    apiVersion = object.apiVersion,
    kind = object.kind .. "Binding",
    metadata = { name = meta.name, namespace = meta.namespace },
    roleRef = { apiGroup = "rbac.authorization.k8s.io", kind = object.kind, name = meta.name },
    subjects = json.array { { kind = "ServiceAccount", namespace = M.NAMESPACE, name = "populator" } },
  }))
end

--- What forklift's planner gives the service account `populator`, to the letter.
local function grant(self)
  bind(
    self,
    role("Role", M.NAMESPACE, "populator-pvc-reader", {
      rule("", "persistentvolumeclaims", "get list watch"),
      rule("coordination.k8s.io", "leases", "get list watch create update patch"),
    })
  )
  bind(
    self,
    role("Role", M.LOCKS, "populator-lease-reader", {
      rule("coordination.k8s.io", "leases", "get list watch create update"),
      rule("", "secrets", "get update patch", "storage-array-secret"),
    })
  )
  bind(self, role("ClusterRole", nil, "populator-pv-reader", { rule("", "persistentvolumes", "get") }))
end

---@return table account
function Cluster:make_account(name)
  return assert(self.admin:create(("%s/namespaces/%s/serviceaccounts"):format(CORE, M.NAMESPACE), {
    apiVersion = "v1",
    kind = "ServiceAccount",
    metadata = { name = name },
  }))
end

local function furnish(self)
  for _, name in ipairs { M.NAMESPACE, M.LOCKS } do
    assert(
      self.admin:create(CORE .. "/namespaces", { apiVersion = "v1", kind = "Namespace", metadata = { name = name } })
    )
  end
  assert(self.admin:create("/apis/storage.k8s.io/v1/storageclasses", {
    apiVersion = "storage.k8s.io/v1",
    kind = "StorageClass",
    metadata = { name = "ontap-san" },
    provisioner = "csi.trident.netapp.io",
  }))
  grant(self)
  self.populator = self:make_account "populator"
end

local function claims_path(name)
  return ("%s/namespaces/%s/persistentvolumeclaims"):format(CORE, M.NAMESPACE) .. (name and "/" .. name or "")
end

local function phase_of(self, path)
  local object <const> = self.admin:get(path)
  return object and object.status.phase
end

--- Wait until the claim, or the volume, is in that phase.
function Cluster:wait_phase(path, phase)
  local reached <const> = pcall(
    lab_site.wait_until,
    BOUND_WITHIN_S,
    function() return phase_of(self, path) == phase end
  )
  if not reached then error(("%s is %s, not %s"):format(path, phase_of(self, path), phase)) end
end

---@class support.ClusterClaim
---@field name string
---@field uid string
---@field path string
---@field prime_path string
---@field volume_path string
---@field lease_path string of its journal

--- A claim of the lab's simulated cluster, made here by what forklift's controller and a provisioner do: `prime-<uid>` is bound to the
--- volume.
---@param lab LabSite
---@param pvc table of site.json
---@return support.ClusterClaim
function Cluster:adopt(lab, pvc)
  local simulation <const> = assert(kube.open { kubeconfig = lab.site.kube.kubeconfig })
  local there <const> = ("%s/namespaces/%s/persistentvolumeclaims/"):format(CORE, pvc.namespace)
  local function copy(from, to, name, change)
    local object <const> = assert(simulation:get(from))
    object.metadata, object.status = { name = name }, nil
    if change then change(object.spec) end
    return assert(self.admin:create(to, object)).metadata.uid
  end
  local uid <const> = copy(there .. pvc.name, claims_path(), pvc.name)
  local prime <const>, volume <const> = "prime-" .. uid, "pv-" .. uid
  copy(there .. "prime-" .. pvc.uid, claims_path(), prime, function(spec) spec.volumeName = nil end)
  copy(VOLUMES .. pvc.pv, VOLUMES, volume, function(spec) spec.claimRef.name = prime end)
  self:wait_phase(claims_path(prime), "Bound")
  return {
    name = pvc.name,
    uid = uid,
    path = claims_path(pvc.name),
    prime_path = claims_path(prime),
    volume_path = VOLUMES .. volume,
    lease_path = ("%s/lunalift-%s"):format(M.leases(), uid),
  }
end

--- Take it away, whatever holds it back, and wait until it has gone.
---@param claim support.ClusterClaim
function Cluster:drop(claim)
  for _, path in ipairs { claim.path, claim.prime_path, claim.volume_path } do
    self.admin:delete(path)
  end
  self.admin:patch(claim.lease_path, { metadata = { finalizers = json.null } })
  lab_site.wait_until(
    GONE_WITHIN_S,
    function()
      return not (self.admin:get(claim.path) or self.admin:get(claim.volume_path) or self.admin:get(claim.lease_path))
    end
  )
end

function M.leases(namespace)
  return ("/apis/coordination.k8s.io/v1/namespaces/%s/leases"):format(namespace or M.NAMESPACE)
end

--- What forklift's controller does with a volume that was filled: it becomes the claim's own.
---@param claim support.ClusterClaim
function Cluster:rebind(claim)
  local target <const> = assert(self.admin:get(claim.path))
  local meta <const> = target.metadata
  assert(self.admin:patch(claim.volume_path, {
    spec = {
      claimRef = {
        namespace = meta.namespace,
        name = meta.name,
        uid = meta.uid,
        resourceVersion = meta.resourceVersion,
      },
    },
  }, "strategic"))
  self:wait_phase(claim.path, "Bound")
  self:wait_phase(claim.prime_path, "Lost")
end

-- ---- kubectl ----

--- Run kubectl.
---@param kubeconfig string
---@param words string[]
---@param input? string
---@return ProcessEnd
function M.kubectl(kubeconfig, words, input)
  local argv <const> = table.move(words, 1, #words, 4, { PROGRAM, "kubectl", "--kubeconfig=" .. kubeconfig })
  local home <const> = kubeconfig:match "^(.*)/" -- its caches
  return assert(process.run { argv = argv, input = input, env = { HOME = home, PATH = os.getenv "PATH" } })
end

---@param options? { is_bare: boolean? } is_bare: the API server alone, whose objects nobody else touches
---@return support.Cluster
function M.start(options)
  local dir <const> = process.run({ argv = { "mktemp", "-d" } }).out:match "%S+"
  local self <const> = setmetatable({ dir = dir, ca_file = dir .. "/tls/apiserver.crt", port = M.free_port() }, Cluster)
  self.is_bare = options and options.is_bare
  self.url = "https://127.0.0.1:" .. self.port
  local lines <const> = {
    ADMIN_TOKEN .. ',admin,1,"system:masters"',
    CONTROLLERS_TOKEN .. ",system:kube-controller-manager,2,system:masters",
  }
  assert(fs.write(dir .. "/tokens.csv", table.concat(lines, "\n") .. "\n"))
  assert(process.run { argv = { "openssl", "genrsa", "-out", dir .. "/sa.key", "2048" } })
  assert(process.run { argv = { "openssl", "rsa", "-in", dir .. "/sa.key", "-pubout", "-out", dir .. "/sa.pub" } })
  start_etcd(self)
  self:start_server()
  self.kubeconfig = self:write_kubeconfig("admin", ADMIN_TOKEN)
  self.admin = assert(kube.open { kubeconfig = self.kubeconfig })
  if not self.is_bare then start_controllers(self) end
  furnish(self)
  return self
end

return M
