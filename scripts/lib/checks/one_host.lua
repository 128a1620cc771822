--- What `preflight --host` checks otherwise than a copy would: there is a host, and no VM, no claim and no array.
local fail <const> = require "lib.fail"
local hints <const> = require "lib.hints"
local list <const> = require "lib.list"
local words <const> = require "lib.words"

local function check_host(found)
  found.host = found.vcenter:host(nil, found.job.request.migration_host, "--host")
  return ("%s (%s)"):format(found.host.name, found.host.ref.id)
end

-- Disks of the host itself, and volumes on them that ESXi keeps for itself, take part in no copy.
local function is_of_array(naa) return naa:lower():find "^naa%.%x+$" ~= nil or naa:lower():find "^eui%.%x+$" ~= nil end
local function is_meant(datastore) return datastore.type == "VMFS" and not datastore.name:find "^OSDATA%-" end

-- The one that was named, or all.
local function meant_datastores(found)
  local wanted <const> = found.job.request.datastore
  local mounted <const> = found.vcenter:datastores(found.host.datastores)
  if not wanted then return list.filter(mounted, is_meant) end
  local datastore <const> = list.find(mounted, "name", wanted)
  if not datastore then hints.raise("host without datastore", { host = found.host.name, datastore = wanted }) end
  if datastore.type == "VMFS" then return { datastore } end
  local why <const> = fail.new("config", "%s is on %s: its disks lie on no LUN of the host", wanted, datastore.type)
  error(fail.hint(why, "name a datastore of type VMFS, or none for all of the host"))
end

local function check_datastore(found)
  local names <const> = {}
  found.devices = {}
  for _, datastore in ipairs(meant_datastores(found)) do
    if datastore.accessible == false then hints.raise("datastore not accessible", { datastore = datastore.name }) end
    local devices <const> = list.filter(datastore.extents, is_of_array)
    table.move(devices, 1, #devices, #found.devices + 1, found.devices)
    if #devices > 0 then names[#names + 1] = datastore.name end
  end
  if #found.devices > 0 then return ("%s on %s"):format(words.list(names), words.list(found.devices)) end
  hints.raise("no VMFS on arrays", { host = found.host.name })
end

local function check_slots(found)
  if not found.wrapper:offers "taskList" then return nil, "this wrapper lists no clones" end
  local running <const> = list.filter(found.wrapper:tasks(), function(clone) return clone.state == "running" end)
  local count <const> = found.job.request.clone_slots
  if count == 0 or #running < count then
    return ("%d of %s taken"):format(#running, count == 0 and "any number" or count)
  end
  local holders <const> = list.map(running, function(clone) return ("the clone to %s"):format(clone.target or "?") end)
  return hints.say("slots taken", { count = count, host = found.host.name, holders = words.list(holders) })
end

---@type table<string, lib.Check> in place of those of the same names
return {
  host = { name = "host", of = "host", needs = { "vCenter login" }, run = check_host },
  datastore = { name = "datastore", of = "host", needs = { "host" }, run = check_datastore },
  ["slots for clones"] = { name = "slots for clones", of = "host", needs = { "wrapper" }, run = check_slots },
}
