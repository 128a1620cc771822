--- The cluster of a site: its API server, and what is in it from the start. Either claims that wait for their data, as forklift leaves
--- them, or (kube.controllers) nothing, but whatever binds and provisions claims.
local binder <const> = require "lab.kube.binder"
local disks <const> = require "lab.disks"
local fs <const> = require "lunalift.fs"
local json <const> = require "lunalift.json"
local kube <const> = require "lab.kube"
local kube_client <const> = require "lunalift.kube"
local provisioner <const> = require "lab.kube.provisioner"

---@class lab.cluster
local M <const> = {}

local TOKEN <const>, POPULATOR_TOKEN <const> = "lab-token", "populator-token"

local function claim(class, name, namespace, uid, size, volume)
  return {
    apiVersion = "v1",
    kind = "PersistentVolumeClaim",
    metadata = { name = name, namespace = namespace, uid = uid },
    spec = {
      accessModes = json.array { "ReadWriteMany" },
      volumeMode = "Block",
      storageClassName = class,
      resources = { requests = { storage = tostring(size) } },
      volumeName = volume,
    },
    status = volume and {
      phase = "Bound",
      accessModes = json.array { "ReadWriteMany" },
      capacity = { storage = tostring(size) },
    } or { phase = "Pending" },
  }
end

--- A claim that waits for its data, as forklift leaves it: the volume is bound to `prime-<uid>` meanwhile.
local function add_claim(site, name, disk)
  local namespace <const> = site.scenario.kube.namespace
  local uid <const> = disks.uuid("claim " .. name)
  local pv_name <const> = "pvc-" .. disks.uuid("volume " .. name)
  local class <const> = site.scenario.array .. "-san"
  site.seed = site.seed + 1
  local volume <const>, file <const> =
    site:add_volume(pv_name, disk.size_bytes, { pv = pv_name, seed = site.seed * 1000, holes = disk.holes })
  local target <const> = claim(class, name, namespace, uid, disk.size_bytes)
  target.spec.dataSourceRef = { apiGroup = "forklift.konveyor.io", kind = "VSphereXcopyVolumePopulator", name = name }
  site.kube:put(target)
  site.kube:put(claim(class, "prime-" .. uid, namespace, disks.uuid("prime " .. name), disk.size_bytes, pv_name))
  site.kube:put {
    apiVersion = "v1",
    kind = "PersistentVolume",
    metadata = { name = pv_name },
    spec = {
      capacity = { storage = tostring(disk.size_bytes) },
      accessModes = json.array { "ReadWriteMany" },
      volumeMode = "Block",
      storageClassName = class,
      persistentVolumeReclaimPolicy = "Delete",
      claimRef = { kind = "PersistentVolumeClaim", namespace = namespace, name = "prime-" .. uid },
      csi = volume.csi,
    },
    status = { phase = "Bound" },
  }
  site.pvcs[#site.pvcs + 1] = {
    name = name,
    namespace = namespace,
    uid = uid,
    pv = pv_name,
    lun_path = file,
    naa = volume.naa,
    size_bytes = disk.size_bytes,
    vmdk = disk.path,
  }
end

--- Serve a cluster, the lab's or another one, as the CSI driver of the array.
---@param site lab.Site
---@param kubeconfig string
function M.provision(site, kubeconfig)
  local cluster <const> = assert(kube_client.open { kubeconfig = kubeconfig })
  site.controllers[#site.controllers + 1] = provisioner.start(cluster, function(name, size_bytes)
    site.seed = site.seed + 1
    return site:add_volume(name, size_bytes, { pv = name, seed = site.seed * 1000 }).csi
  end)
end

-- A cluster that binds and provisions claims, and has none yet.
local function start_controllers(site)
  site.kube:put {
    apiVersion = "storage.k8s.io/v1",
    kind = "StorageClass",
    metadata = { name = site.scenario.array .. "-san" },
    provisioner = "csi.lab.example",
  }
  site.kube:put { apiVersion = "v1", kind = "Namespace", metadata = { name = site.scenario.kube.namespace } }
  site.controllers[1] = binder.start(site.kube)
  M.provision(site, site.dir .. "/kubeconfig")
end

--- Start the API server, and put in what it begins with.
---@param site lab.Site
---@param leaf table its certificate
function M.start(site, leaf)
  site.kube = kube.start {
    faults = site.faults,
    cert = leaf.cert,
    key = leaf.key,
    tokens = {
      [TOKEN] = { user = "lab" },
      [POPULATOR_TOKEN] = kube.populator(site.scenario.kube.namespace),
    },
  }
  site.kube:put { apiVersion = "v1", kind = "Namespace", metadata = { name = kube.LOCKS } }
  site.kube_server = "https://127.0.0.1:" .. site.kube.port
  for file, token in pairs { kubeconfig = TOKEN, ["kubeconfig-populator"] = POPULATOR_TOKEN } do
    local text <const> = kube.kubeconfig {
      server = site.kube_server,
      ca_pem = site.ca_pem,
      token = token,
      namespace = site.scenario.kube.namespace,
    }
    assert(fs.write(site.dir .. "/" .. file, text))
  end
  if site.scenario.kube.controllers then return start_controllers(site) end
  for _, vm in ipairs(site.vms) do
    for i, disk in ipairs(vm.disks) do
      add_claim(site, ("%s-disk-%d"):format(vm.moref, i), disk)
    end
  end
end

return M
