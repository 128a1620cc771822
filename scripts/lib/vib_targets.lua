--- Which hosts are meant: those that were named, those that mount a datastore, or all that vCenter has.
local datastores <const> = require "lib.datastores"
local fail <const> = require "lib.fail"
local hints <const> = require "lib.hints"
local list <const> = require "lib.list"
local ssh_hosts <const> = require "lib.ssh_hosts"

local M <const> = {}

---@class lib.VibTarget : lib.SshTarget
---@field ref? Moref where vCenter knows it
---@field why? Fail that is known before anything is tried

local PROPS <const> = {
  HostSystem = { "name", "parent" },
  ClusterComputeResource = { "parent" },
  ComputeResource = { "parent" },
  Folder = { "parent" },
  Datacenter = { "name", "parent" },
}
table.move(ssh_hosts.PATHS, 1, #ssh_hosts.PATHS, 3, PROPS.HostSystem)

local function target_of(object)
  local props <const> = object.props
  return {
    name = props.name,
    address = ssh_hosts.address_of(props) or props.name,
    ref = object.ref,
    is_locked = ssh_hosts.is_locked(props),
  }
end

local function datacenter_of(objects, object)
  while object and object.ref.type ~= "Datacenter" do
    object = object.props.parent and objects[object.props.parent.id]
  end
  return object and object.props.name
end

---@return lib.VibTarget[]
local function all_of(vcenter, datacenter)
  local objects <const>, targets <const> = {}, {}
  local seen <const> = vcenter:all({ "HostSystem" }, PROPS, { parents = true })
  for _, object in ipairs(seen) do
    objects[object.ref.id] = object
  end
  for _, object in ipairs(seen) do
    local is_meant <const> = not datacenter or datacenter_of(objects, object) == datacenter
    if object.ref.type == "HostSystem" and is_meant then targets[#targets + 1] = target_of(object) end
  end
  if #targets == 0 then
    local where <const> = datacenter and "datacenter " .. datacenter or vcenter.where
    fail.advise("not_found", "check --datacenter, and what the user may see in vCenter", "no host is in %s", where)
  end
  table.sort(targets, function(a, b) return a.name < b.name end)
  return targets
end

-- Ids of the hosts that mount any of them.
local function mounting(vcenter, names)
  local all <const>, ids <const> = datastores.all(vcenter), {}
  for _, name in ipairs(names) do
    local found <const> = list.filter(all, function(store) return store.name == name end)
    if #found == 0 then
      hints.raise("datastore missing", { datastore = name, vcenter = vcenter.where, names = list.names(all) })
    end
    local is_mounted = false
    for _, store in ipairs(found) do
      for id in pairs(store.hosts) do
        ids[id], is_mounted = true, true
      end
    end
    if not is_mounted then hints.raise("datastore without hosts", { datastore = name }) end
  end
  return ids
end

-- Each once, however often it is named.
local function named(words, known)
  local targets <const> = {}
  for _, word in ipairs(words) do
    local target <const> = list.find(known, "name", word)
      or list.find(known, "address", word)
      or { name = word, address = word }
    if not list.find(targets, "address", target.address) then targets[#targets + 1] = target end
  end
  return targets
end

local function check_mounts(targets, ids, names)
  for _, target in ipairs(targets) do
    if not (target.ref and ids[target.ref.id]) then
      target.why = hints.new("host without datastore", { host = target.name, datastore = table.concat(names, ", ") })
    end
  end
  return targets
end

--- What is known of a host that was named, and is not in vCenter, is its name.
---@param job lib.Job with request.hosts, .datastores, .all, .datacenter and .has_vcenter
---@return lib.VibTarget[]
function M.find(job)
  local request <const> = job.request
  if not request.has_vcenter then return named(request.hosts, {}) end
  local vcenter <const> = job.site:vcenter()
  local known <const> = all_of(vcenter, request.datacenter)
  if #request.datastores == 0 then return #request.hosts > 0 and named(request.hosts, known) or known end
  local ids <const> = mounting(vcenter, request.datastores)
  if #request.hosts > 0 then return check_mounts(named(request.hosts, known), ids, request.datastores) end
  return list.filter(known, function(target) return ids[target.ref.id] end)
end

return M
