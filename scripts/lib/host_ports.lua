--- The ports of an ESXi host: of which fabric each is, what it is called there, and which of them reach an array.
local hints <const> = require "lib.hints"
local initiator <const> = require "lib.initiator"
local vsphere <const> = require "lunalift.vsphere"
local words <const> = require "lib.words"

local M <const> = {}

local list <const> = vsphere.list

local TITLES <const> = { iscsi = "iSCSI", fc = "FC", nvme = "NVMe", sas = "SAS", sdc = "PowerFlex (scini)" }
local UNASKED <const> = { "sdc", "active", "fc", "iscsi", "sas", "nvme" } -- the order where an array tells no ports of its own

local function wwn(text) return ("%016x"):format(math.tointeger(tonumber(text)) or 0) end

local function properties(host, paths)
  local spec <const> = { objects = { host.ref }, props = { HostSystem = paths } }
  return (host.vcenter:retrieve("ports of " .. host.name, spec)[1] or {}).props or {}
end

-- ---- fabrics and names ----

local function kind_of(hba)
  if hba.driver == "scini" then return "sdc" end -- it says that it is FC
  if hba.storageProtocol == "nvme" then return "nvme" end -- over whatever it runs
  local class <const> = hba._type or ""
  if class == "HostInternetScsiHba" then return "iscsi" end
  if class == "HostSerialAttachedHba" then return "sas" end
  return class:find "^HostFibreChannel" and "fc" or "other"
end

-- Names that are of the whole host, asked for once and only where an array speaks that fabric; nil where it has none.
local HOST_NAMES <const> = {
  nvme = function(host)
    local rows <const> = host.job:read("NVMe name", function() return host:esxcli("nvme info get", {}) end)
    return rows[1] and rows[1].HostNQN
  end,
  sdc = function(host)
    local path <const> = "configManager.kernelModuleSystem"
    local system <const> = properties(host, { path })[path]
    for _, module in ipairs(system and list(host.vcenter:ask("QueryModules", system)) or {}) do
      for key, value in (module.name == "scini" and module.optionString or ""):gmatch "([^%s=]+)=(%S+)" do
        if key:lower() == "ioctliniguidstr" then return value end
      end
    end
  end,
}

local function host_name(host, kind)
  local names <const> = host.port_names
  if names[kind] == nil then names[kind] = HOST_NAMES[kind](host) or false end
  return names[kind] or nil
end

local function id_of(host, hba, kind)
  if HOST_NAMES[kind] then return host_name(host, kind) end
  if kind == "iscsi" then return hba.iScsiName end
  if kind == "sas" then return hba.nodeWorldWideName end
  return ("fc.%s:%s"):format(wwn(hba.nodeWorldWideName), wwn(hba.portWorldWideName))
end

-- With the adapter that each is of.
local function ports_of(host, fabrics)
  local found <const>, is_spoken <const> = {}, {}
  for _, fabric in ipairs(fabrics) do
    is_spoken[fabric] = true
  end
  for _, hba in ipairs(host.adapters) do
    local kind <const> = kind_of(hba)
    local id <const> = is_spoken[kind] and id_of(host, hba, kind)
    if id then found[#found + 1] = { hba = hba, port = { kind = kind, id = id, adapter = hba.device } } end
  end
  return found
end

local function ports_in(entries)
  local ports <const> = {}
  for i, entry in ipairs(entries) do
    ports[i] = entry.port
  end
  return ports
end

--- All of these fabrics, whatever they reach.
---@param host lib.Host
---@param fabrics string[]
---@return lib.Initiator[]
function M.all(host, fabrics) return ports_in(ports_of(host, fabrics)) end

-- ---- what they reach ----

local function target_id(transport)
  if not transport then return nil end
  if transport.iScsiName then return transport.iScsiName end
  if transport.portWorldWideName then return wwn(transport.portWorldWideName) end
end

-- Asked for where it matters only: servers before vSphere 7 do not know it.
local function nvme_topology(host, entries)
  for _, entry in ipairs(entries) do
    if entry.port.kind == "nvme" then
      local path <const> = "config.storageDevice.nvmeTopology"
      return list((properties(host, { path })[path] or {}).adapter)
    end
  end
  return {}
end

-- Keys of the ports that each adapter of the host is logged in to; of the subsystems, for NVMe.
local function logins(host, entries)
  local by_adapter <const> = {}
  local function add(adapter, id)
    by_adapter[adapter] = by_adapter[adapter] or {}
    if id then by_adapter[adapter][initiator.key(id)] = true end
  end
  for _, adapter in ipairs(host.topology and list(host.topology.adapter) or {}) do
    for _, target in ipairs(list(adapter.target)) do
      add(adapter.adapter, target_id(target.transport))
    end
  end
  for _, adapter in ipairs(nvme_topology(host, entries)) do
    for _, controller in ipairs(list(adapter.connectedController)) do
      add(adapter.adapter, controller.subnqn)
    end
  end
  return by_adapter
end

local function through_targets(host, entries, targets)
  local by_adapter <const>, reaching <const> = logins(host, entries), {}
  for _, entry in ipairs(entries) do
    for _, target in ipairs(targets) do
      if (by_adapter[entry.hba.key] or {})[initiator.key(target.id)] then
        reaching[#reaching + 1] = entry
        break
      end
    end
  end
  if #reaching > 0 then return reaching end
  local ids <const> = {}
  for i, target in ipairs(targets) do
    ids[i] = target.id
  end
  if #ids == 0 then hints.raise("array without ports", { host = host.name }) end
  hints.raise("not logged in", { host = host.name, ports = words.list(ids) })
end

--- The paths to one of the devices, each with the key of its adapter.
---@param host lib.Host
---@param naas string[]
---@return { device: string, adapter: string, state: string }[] state "active", "standby", "dead", …
function M.paths_to(host, naas)
  local LUNS <const>, PATHS <const> = "config.storageDevice.scsiLun", "config.storageDevice.multipathInfo"
  local props <const> = properties(host, { LUNS, PATHS })
  local wanted <const>, paths <const> = {}, {}
  for _, lun in ipairs(list(props[LUNS])) do
    for _, naa in ipairs(naas) do
      if lun.canonicalName == naa then wanted[lun.key] = naa end
    end
  end
  for _, unit in ipairs(list((props[PATHS] or {}).lun)) do
    for _, path in ipairs(wanted[unit.lun] and list(unit.path) or {}) do
      paths[#paths + 1] = { device = wanted[unit.lun], adapter = path.adapter, state = (path.state or ""):lower() }
    end
  end
  return paths
end

-- Keys of the adapters that have an active path to one of the devices.
local function adapters_of_devices(host, naas)
  local keys <const> = {}
  for _, path in ipairs(M.paths_to(host, naas)) do
    if path.state == "active" then keys[path.adapter] = true end
  end
  return keys
end

-- PowerFlex is a network of its own. Else those that the source is reached through, else all of one fabric.
local function through_source(host, entries, naas, fabrics)
  local keys <const> = #naas > 0 and adapters_of_devices(host, naas) or {}
  local by <const> = { active = {} }
  for _, entry in ipairs(entries) do
    local kind <const> = entry.port.kind
    by[kind] = by[kind] or {}
    table.insert(by[kind], entry)
    if keys[entry.hba.key] then table.insert(by.active, entry) end
  end
  for _, kind in ipairs(UNASKED) do
    if by[kind] and #by[kind] > 0 then return by[kind] end
  end
  local titles <const> = {}
  for i, fabric in ipairs(fabrics) do
    titles[i] = TITLES[fabric] or fabric
  end
  hints.raise("no adapter", { host = host.name, fabrics = words.list(titles) })
end

--- Those that are logged in to one of the array's target ports, and so will see a LUN mapped to them; where the array tells no ports, those
--- through which the source's devices are reached.
---@param host lib.Host
---@param fabrics string[] that the array speaks
---@param targets? { kind: string, id: string }[] nil: it cannot tell
---@param source_naas? string[]
---@return lib.Initiator[] never none
function M.reaching(host, fabrics, targets, source_naas)
  local entries <const> = ports_of(host, fabrics)
  if targets then return ports_in(through_targets(host, entries, targets)) end
  return ports_in(through_source(host, entries, source_naas or {}, fabrics))
end

--- The lowest LUN number that no LUN behind these ports has on the host: arrays give that to the next one.
---@param host lib.Host
---@param targets? { kind: string, id: string }[] nil: behind any
---@return integer
function M.next_number(host, targets)
  local is_port <const>, taken <const> = {}, {}
  for _, target in ipairs(targets or {}) do
    is_port[initiator.key(target.id)] = true
  end
  for _, adapter in ipairs(host.topology and list(host.topology.adapter) or {}) do
    for _, target in ipairs(list(adapter.target)) do
      local id <const> = target_id(target.transport)
      local is_ours <const> = not targets or id and is_port[initiator.key(id)]
      for _, lun in ipairs(is_ours and list(target.lun) or {}) do
        taken[math.tointeger(tonumber(lun.lun)) or -1] = true
      end
    end
  end
  local number = 0
  while taken[number] do
    number = number + 1
  end
  return number
end

return M
