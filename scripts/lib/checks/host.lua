--- Checks of the host that asks: its state, its wrapper, its way to the array, and room.
local hints <const> = require "lib.hints"
local host_ports <const> = require "lib.host_ports"
local hosts <const> = require "lib.hosts"
local words <const> = require "lib.words"

local MIB <const> = 1 << 20
local DESCRIPTOR_BYTES <const> = 4 * MIB
local TMP_BYTES <const> = MIB
local MAX_LUN <const> = 1024 -- ESXi's own default

local function check_mounted(found)
  local host <const>, datastore <const> = found.host, found.disk.datastore
  local is_told <const> = datastore.ref and #host.datastores > 0
  for _, ref in ipairs(host.datastores) do
    if not is_told or ref.id == datastore.ref.id then return host.name .. " mounts it" end
  end
  if is_told then hints.raise("host without datastore", { host = host.name, datastore = datastore.name }) end
  return nil, "vCenter does not tell"
end

local function check_wrapper(found)
  local host <const> = found.host
  found.wrapper = host:wrapper()
  local version <const> = found.wrapper.version
  if found.wrapper.is_to_come then return ("wrapper %s, which the first copy puts onto a datastore"):format(version) end
  if found.wrapper.is_ours then return "wrapper " .. version end
  return hints.say("wrapper of upstream", { version = version, host = host.name })
end

local function check_initiators(found)
  local fabrics <const>, extents <const> = found.array.vendor.fabrics, found.disk.datastore.extents
  found.targets = found.array:targets()
  found.initiators = found.host:initiators_reaching(fabrics, found.targets, extents)
  local adapters <const> = {}
  for i, port in ipairs(found.initiators) do
    adapters[i] = ("%s (%s)"):format(port.adapter, port.kind)
  end
  return ("%s, of %d adapters"):format(words.list(adapters), #found.host.adapters)
end

local function check_numbers(found)
  local host <const> = found.host
  local max <const>, next <const> = host:setting "Disk.MaxLUN", host_ports.next_number(host, found.targets)
  if not max then return nil, "vCenter does not tell" end
  if next >= max then error(hosts.number_too_high(next, max)) end
  if max < MAX_LUN then return hints.say("lun numbers low", { max = max, host = host.name }) end
  return ("%d, the next LUN will probably be %d"):format(max, next)
end

local function check_space(free, datastore)
  if free >= DESCRIPTOR_BYTES then return ("%s free on %s"):format(words.size(free), datastore) end
  local values <const> = { datastore = datastore, free = words.size(free), needs = words.size(DESCRIPTOR_BYTES) }
  hints.raise("datastore full", values)
end

-- Where the source's datastore takes no descriptor the host alone knows its volumes: the wrapper is asked, as the copy will ask it.
local function check_room_elsewhere(found)
  local facts <const> = found.wrapper:preflight(found.job.request.vmdk.on_host) or {}
  local folder <const> = facts.descriptorFolder
  if folder then return check_space(facts.freeDatastoreBytes or DESCRIPTOR_BYTES, folder) end
  hints.raise("no vmfs for descriptor", { host = found.host.name, path = found.disk.path })
end

local function check_room(found)
  local datastore <const> = found.disk.datastore
  local free <const> = datastore.free_bytes
  if datastore.type ~= "VMFS" then return check_room_elsewhere(found) end
  if not free or free < 0 then return nil, "vCenter does not tell" end -- a vCenter that counts wrongly has been seen to tell less than none
  return check_space(free, datastore.name)
end

local function check_tmp(found)
  local facts <const> = found.facts or found.wrapper:preflight() or {}
  local free <const> = facts.freeTmpBytes
  if not free then return nil, "this wrapper cannot tell" end
  if free < TMP_BYTES then
    hints.raise("tmp full", { host = found.host.name, free = words.size(free), needs = words.size(TMP_BYTES) })
  end
  return words.size(free) .. " free"
end

---@type lib.Check[]
return {
  {
    name = "clone method",
    of = "host",
    by = "host",
    alone = true,
    run = function(found)
      if found.job.request.method_why then error(found.job.request.method_why) end
      return found.job.request.method
    end,
  },
  {
    name = "host",
    of = "host",
    needs = { "VM" },
    run = function(found)
      found.host = found.vcenter:host(found.vm, found.job.request.migration_host)
      return ("%s (%s)"):format(found.host.name, found.host.ref.id)
    end,
  },
  {
    name = "host state",
    of = "host",
    needs = { "host" },
    fatal = true,
    by = "host",
    alone = true,
    run = function(found)
      found.host:check_usable()
      return "connected, not in maintenance mode"
    end,
  },
  {
    name = "datastore on the host",
    of = "host",
    needs = { "host", "disk" },
    fatal = true,
    by = "host",
    run = check_mounted,
  },
  {
    name = "wrapper",
    of = "host",
    needs = { "clone method", "host state" },
    fatal = true,
    by = "host",
    alone = true,
    run = check_wrapper,
  },
  {
    name = "room for descriptors",
    of = "datastore",
    needs = { "disk", "wrapper" },
    fatal = true,
    by = "host",
    run = check_room,
  },
  {
    name = "initiators",
    of = "host",
    needs = { "host state", "array login", "disk" },
    fatal = true,
    by = "host",
    run = check_initiators,
  },
  {
    name = "LUN numbers",
    of = "host",
    needs = { "host state", "initiators" },
    by = "host",
    alone = true,
    run = check_numbers,
  },
  {
    name = "room in /tmp",
    of = "host",
    needs = { "wrapper", "source file" },
    by = "host",
    alone = true,
    run = check_tmp,
  },
}
