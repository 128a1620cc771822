--- The provisioner of a CSI driver: a claim of its class gets a volume on the array, and a volume that nobody claims any more goes. It
--- knows the cluster by its API alone, and so serves a real one as well.
local informers <const> = require "lib.informer"
local json <const> = require "lunalift.json"
local resources <const> = require "lib.resource"
local task <const> = require "lunalift.task"
local work_queue <const> = require "lib.work_queue"

---@class kube.provisioner
local M <const> = {}

local NODE <const> = "volume.kubernetes.io/selected-node"
local UNITS <const> =
  { [""] = 1, k = 1e3, M = 1e6, G = 1e9, T = 1e12, Ki = 1 << 10, Mi = 1 << 20, Gi = 1 << 30, Ti = 1 << 40 }

---@class kube.Provisioner
---@field make fun(name: string, size_bytes: integer): table a volume of the array, as `csi` of a PersistentVolume
local Provisioner <const> = {}
Provisioner.__index = Provisioner

local function bytes_of(quantity)
  local number <const>, unit <const> = tostring(quantity):match "^([%d.]+)(%a*)$"
  return math.tointeger(math.ceil(tonumber(number) * UNITS[unit]))
end

-- Whatever names a source that is not ours to copy from, a populator fills.
local function is_ours(self, claim)
  local spec <const> = claim.spec
  if spec.volumeName or spec.dataSourceRef or claim.metadata.deletionTimestamp then return false end
  local class <const> = self.classes:get(nil, spec.storageClassName)
  if not class then return false end
  if class.volumeBindingMode ~= "WaitForFirstConsumer" then return true, class end
  return (claim.metadata.annotations or {})[NODE] ~= nil, class
end

local function provision(self, key)
  local namespace <const>, name <const> = resources.split(key)
  local claim <const> = self.claims.resource:get(namespace, name)
  if not claim then return end
  local ours <const>, class <const> = is_ours(self, claim)
  if not ours then return end
  local meta <const>, size_bytes <const> = claim.metadata, bytes_of(claim.spec.resources.requests.storage)
  local volume <const> = "pvc-" .. meta.uid
  if self.volumes.resource:get(nil, volume) then return end
  assert(self.volumes.resource:create {
    apiVersion = "v1",
    kind = "PersistentVolume",
    metadata = { name = volume },
    spec = {
      capacity = { storage = tostring(size_bytes) },
      accessModes = json.array(claim.spec.accessModes),
      volumeMode = claim.spec.volumeMode,
      storageClassName = claim.spec.storageClassName,
      persistentVolumeReclaimPolicy = class.reclaimPolicy or "Delete",
      claimRef = {
        apiVersion = "v1",
        kind = "PersistentVolumeClaim",
        namespace = namespace,
        name = name,
        uid = meta.uid,
        resourceVersion = meta.resourceVersion,
      },
      csi = self.make(volume, size_bytes),
    },
  })
end

-- Its LUN stays on the array: whoever writes to it yet is to be found by the tests.
local function reclaim(self, volume)
  local is_over <const> = volume.status.phase == "Released"
    and volume.spec.persistentVolumeReclaimPolicy == "Delete"
    and not volume.metadata.deletionTimestamp
  if is_over then assert(self.volumes.resource:delete(volume)) end
end

local function work(self, key)
  local volume <const> = self.volumes:get(key)
  if volume then return reclaim(self, volume) end
  return provision(self, key)
end

--- Serve a cluster until the task is cancelled.
---@param kube Kube
---@param make fun(name: string, size_bytes: integer): table
---@return Task
function M.start(kube, make)
  local self <const> = setmetatable({ make = make }, Provisioner)
  self.queue = work_queue.new {
    name = "provisioner",
    workers = 1,
    first_s = 0.05,
    longest_s = 1,
    work = function(key) return work(self, key) end,
  }
  local function on_change(key, new)
    if new then self.queue:add(key) end
  end
  self.classes = resources.new(kube, "/apis/storage.k8s.io/v1", "storageclasses")
  self.claims = informers.new(resources.new(kube, "/api/v1", "persistentvolumeclaims"), { on_change = on_change })
  self.volumes = informers.new(resources.new(kube, "/api/v1", "persistentvolumes"), { on_change = on_change })
  return task.background(task.all, {
    function() self.claims:run() end,
    function() self.volumes:run() end,
    function() self.queue:run() end,
  })
end

return M
