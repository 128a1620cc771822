--- Claims and populators of a lab whose cluster provisions and binds, and controllers that fill them.
local codec <const> = require "lunalift.codec"
local json <const> = require "lunalift.json"
local labs <const> = require "support.lab"
local process <const> = require "lunalift.process"

local M <const> = {}

M.HOME, M.NAMESPACE = "lunalift", "move"

local GROUP <const>, KIND <const> = "forklift.konveyor.io", "VSphereXcopyVolumePopulator"
local MARK <const> = "lunalift.io/populate"

---@class support.Populators
---@field lab lab.Lab whose array, hosts and vCenter they are
---@field kube Kube of the cluster
---@field kubeconfig string
local Populators <const> = {}
Populators.__index = Populators

---@param lab lab.Lab
---@param cluster? { kube: Kube, kubeconfig: string } the lab's own
---@return support.Populators
function M.new(lab, cluster)
  local self <const> = setmetatable(cluster or { kube = lab.kube, kubeconfig = lab.site.kube.kubeconfig }, Populators)
  self.lab = lab
  return self
end

local function namespaced(plural, name, namespace)
  local root <const> = plural == "vspherexcopyvolumepopulators" and "/apis/" .. GROUP .. "/v1beta1" or "/api/v1"
  local path <const> = ("%s/namespaces/%s/%s"):format(root, namespace or M.NAMESPACE, plural)
  return name and path .. "/" .. name or path
end

function M.claim_path(name) return namespaced("persistentvolumeclaims", name) end
function M.populator_path(name) return namespaced("vspherexcopyvolumepopulators", name) end

---@return table?
function Populators:claim(name) return (self.kube:get(M.claim_path(name))) end
---@return table?
function Populators:populator(name) return (self.kube:get(M.populator_path(name))) end
function Populators:status(name) return (self:populator(name) or {}).status or {} end

-- ---- what users make ----

function Populators:make_namespace(name, labels)
  self.kube:create("/api/v1/namespaces", {
    apiVersion = "v1",
    kind = "Namespace",
    metadata = { name = name, labels = labels },
  })
end

--- Let the controller fill claims of the namespace, or not any more.
function Populators:opt_in(is_in)
  local mark <const> = is_in == false and json.null or "true"
  assert(self.kube:patch("/api/v1/namespaces/" .. M.NAMESPACE, { metadata = { labels = { [MARK] = mark } } }))
end

--- The Secret that populators name, as forklift's planner writes it.
function Populators:make_secret(name, namespace, annotations)
  local site <const>, data <const> = self.lab.site, {}
  local array <const> = site.arrays[1]
  local texts <const> = {
    GOVMOMI_HOSTNAME = site.vcenter.host,
    GOVMOMI_USERNAME = site.vcenter.username,
    GOVMOMI_PASSWORD = site.vcenter.password,
    STORAGE_HOSTNAME = array.host,
    STORAGE_USERNAME = array.username,
    STORAGE_PASSWORD = array.password,
    STORAGE_SKIP_SSL_VERIFICATION = "false",
  }
  for key, text in pairs(array.env) do
    texts[key] = text
  end
  for key, text in pairs(texts) do
    data[key] = codec.base64(text)
  end
  assert(self.kube:create(namespaced("secrets", nil, namespace), {
    apiVersion = "v1",
    kind = "Secret",
    metadata = { name = name, annotations = annotations },
    data = data,
  }))
end

--- A disk of the lab: "vm-57-disk-1".
function Populators:disk(name)
  local moref <const>, number <const> = name:match "^(.*)%-disk%-(%d+)$"
  for _, vm in ipairs(self.lab.site.vms) do
    if vm.moref == moref then return vm.disks[tonumber(number)], vm end
  end
end

---@param name string
---@param options? { size: string?, spec: table? }
function Populators:make_claim(name, source, options)
  local given <const> = options or {}
  local spec <const> = {
    accessModes = json.array { "ReadWriteMany" },
    volumeMode = "Block",
    storageClassName = "ontap-san",
    resources = { requests = { storage = given.size or "8Mi" } },
    dataSourceRef = { apiGroup = GROUP, kind = KIND, name = source },
  }
  for field, value in pairs(given.spec or {}) do
    spec[field] = value ~= json.null and value or nil
  end
  return assert(self.kube:create(M.claim_path(), {
    apiVersion = "v1",
    kind = "PersistentVolumeClaim",
    metadata = { name = name },
    spec = spec,
  }))
end

function Populators:make_populator(name, disk, changes, annotations)
  local found <const>, vm <const> = self:disk(disk)
  local spec <const> = { vmId = vm.moref, vmdkPath = found.vmdk, secretName = "copy", storageVendorProduct = "ontap" }
  for field, value in pairs(changes or {}) do
    spec[field] = value ~= json.null and value or nil
  end
  return assert(self.kube:create(M.populator_path(), {
    apiVersion = GROUP .. "/v1beta1",
    kind = KIND,
    metadata = { name = name, annotations = annotations },
    spec = spec,
  }))
end

-- ---- controllers ----

--- Start a controller.
---@param flags? string[]
---@param bin? string
---@return Process
function Populators:start(flags, bin)
  local argv <const> = {
    bin or self.lab.bin,
    "controller",
    "--kubeconfig=" .. self.kubeconfig,
    "--namespace=" .. M.HOME,
    "--ca-file=" .. self.lab.site.ca_file,
    "--retry-delay=0.2",
    "--look-again=0.3",
  }
  table.move(flags or {}, 1, #(flags or {}), #argv + 1, argv)
  local env <const> = {
    PATH = os.getenv "PATH",
    ASAN_OPTIONS = os.getenv "ASAN_OPTIONS",
    UBSAN_OPTIONS = os.getenv "UBSAN_OPTIONS",
  }
  return assert(process.start { argv = argv, env = env })
end

-- ---- what came of it ----

---@param phase string
---@return table status
function Populators:wait_phase(name, phase, within_s)
  local seen
  local reached <const> = pcall(labs.wait_until, within_s or 20, phase, function()
    seen = self:status(name)
    return seen.phase == phase
  end)
  if not reached then error(("%s is not %s: %s"):format(name, phase, json.encode(seen)), 2) end
  return seen
end

--- Does the claim's volume hold the disk?
function Populators:is_copied(claim, disk)
  local volume <const> = assert(self:claim(claim)).spec.volumeName
  local file <const> = ("%s/luns/%s"):format(self.lab.site.dir, volume)
  local source <const> = self:disk(disk)
  return assert(process.run { argv = { "cmp", source.flat_path, file } }).code == 0
end

--- Reasons of the events about an object, each once, in alphabetical order.
function Populators:events(name)
  local reasons <const>, seen <const> = {}, {}
  for _, event in ipairs(assert(self.kube:get(namespaced "events")).items) do
    if event.involvedObject.name == name and not seen[event.reason] then
      seen[event.reason] = true
      reasons[#reasons + 1] = event.reason
    end
  end
  table.sort(reasons)
  return reasons
end

--- What is left of copies on hosts and array; "" for nothing.
function Populators:leftovers()
  local state <const>, found <const> = self.lab:state(), {}
  for _, host in ipairs(state.hosts) do
    if #host.writers > 0 then found[#found + 1] = "writer on " .. host.name end
    if #host.detached > 0 then found[#found + 1] = "detached on " .. host.name end
    if #host.tasks > 0 then found[#found + 1] = "task on " .. host.name end
  end
  for _, igroup in ipairs(state.ontap.igroups) do
    if igroup.name:find "^xcopy" then found[#found + 1] = "igroup " .. igroup.name end
  end
  return table.concat(found, ", ")
end

return M
