--- What a CSI driver does for a real control plane, with LUNs of the lab: a volume for each prime claim, deleted when nobody claims it any
--- more. Of each that is deleted it is noted what the lab's hosts and array still knew of its LUN.
local informers <const> = require "lib.informer"
local kube <const> = require "lunalift.kube"
local resources <const> = require "lib.resource"
local task <const> = require "lunalift.task"

local M <const> = {}

---@class support.Provisioner
---@field reclaimed { claim: string, left: string }[]
local Provisioner <const> = {}
Provisioner.__index = Provisioner

local function pvc_named(self, name)
  for _, pvc in ipairs(self.lab.site.pvcs) do
    if pvc.name == name then return pvc end
  end
end

local function provision(self, claim)
  local meta <const> = claim.metadata
  local name <const> = (meta.annotations or {})["lunalift.io/claim"]
  if not name or (claim.spec.volumeName or "") ~= "" or meta.deletionTimestamp then return end
  local pvc <const> = pvc_named(self, name)
  if not pvc or self.is_full then return end
  local volume <const> = assert(self.simulation:get("/api/v1/persistentvolumes/" .. pvc.pv))
  volume.metadata = { name = "pv-" .. meta.uid, annotations = { claim = name } }
  volume.status = nil
  volume.spec.persistentVolumeReclaimPolicy = "Delete"
  volume.spec.claimRef = { namespace = meta.namespace, name = meta.name, uid = meta.uid }
  self.volumes:create(volume)
end

local function reclaim(self, volume)
  if (volume.status or {}).phase ~= "Released" or volume.metadata.deletionTimestamp then return end
  local name <const> = volume.metadata.annotations.claim
  self.reclaimed[#self.reclaimed + 1] = { claim = name, left = self.lab:leftovers(pvc_named(self, name)) }
  self.volumes:delete(volume)
end

---@param cluster support.Cluster
---@param lab LabSite
---@return support.Provisioner
function M.start(cluster, lab)
  local self <const> = setmetatable({
    lab = lab,
    simulation = assert(kube.open { kubeconfig = lab.site.kube.kubeconfig }),
    volumes = resources.new(cluster.admin, "/api/v1", "persistentvolumes"),
    reclaimed = {},
    tasks = {},
  }, Provisioner)
  local function follow(resource, act)
    local informer <const> = informers.new(resource, {
      on_change = function(_, object)
        if object then task.spawn(act, self, object) end
      end,
    })
    self.tasks[#self.tasks + 1] = task.spawn(informer.run, informer)
  end
  follow(resources.new(cluster.admin, "/api/v1", "persistentvolumeclaims"), provision)
  follow(self.volumes, reclaim)
  return self
end

function Provisioner:stop()
  for _, each in ipairs(self.tasks) do
    each:cancel()
  end
end

return M
