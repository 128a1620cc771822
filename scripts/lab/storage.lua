--- What vCenter tells of a host's storage: config.storageDevice, read off the host at the moment it is asked for.
local esxi <const> = require "lab.esxi"
local vim <const> = require "lab.vim"

---@class lab.storage
local M <const> = {}

-- PowerFlex' kernel module says that it is FC.
local KEYS <const> =
  { iscsi = "InternetScsiHba", fc = "FibreChannelHba", sdc = "FibreChannelHba", nvme = "TcpHba", block = "BlockHba" }
local BLOCK_BYTES <const> = 512

local function hba_key(hba) return "key-vim.host." .. KEYS[hba.kind] .. "-" .. hba.device end

local function lun_key(device) return "key-vim.host.ScsiDisk-" .. esxi.uuid(device) end

--- A WWN as the wire has it: a signed decimal.
---@param hex string
function M.wwn(hex) return vim.long(tonumber("0x" .. hex)) end

-- The WWNN of an array port is made up from its WWPN; hosts never ask the fabric for it.
local function node_of(wwpn) return "2" .. wwpn:sub(2, 3) .. "0" .. wwpn:sub(5) end

local HBAS <const> = {
  iscsi = function(hba)
    return {
      { "isSoftwareBased", true },
      { "canBeDisabled", false },
      { "networkBindingSupport", "optional" },
      { "iScsiName", hba.iqn },
      { "iScsiAlias", "" },
      { "maxSpeedMb", 25000 },
      { "currentSpeedMb", 25000 },
    }
  end,
  fc = function(hba)
    return {
      { "portWorldWideName", M.wwn(hba.wwpn) },
      { "nodeWorldWideName", M.wwn(hba.wwnn) },
      { "portType", "pointToPoint" },
      { "speed", vim.long(32) },
    }
  end,
  sdc = function()
    local none <const> = vim.long(0)
    return { { "portWorldWideName", none }, { "nodeWorldWideName", none }, { "portType", "unknown" }, { "speed", none } }
  end,
  nvme = function() return {} end,
  block = function() return {} end,
}

local function hba_object(i, hba)
  local fields <const> = {
    { "key", hba_key(hba) },
    { "device", hba.device },
    { "bus", i },
    { "status", "online" },
    { "model", hba.model },
    { "driver", hba.driver },
    { "pci", ("0000:%02x:00.0"):format(i) },
    { "storageProtocol", hba.kind == "nvme" and "nvme" or "scsi" },
  }
  for _, field in ipairs(HBAS[hba.kind](hba)) do
    fields[#fields + 1] = field
  end
  return vim.derived("Host" .. KEYS[hba.kind], fields)
end

local STATES <const> = { on = { "ok" }, off = { "off" }, ["dead timeout"] = { "timeout" } }

local function scsi_disk(naa, device)
  local lun <const>, uuid <const> = device.lun, esxi.uuid(device)
  return vim.derived("HostScsiDisk", {
    { "deviceName", "/vmfs/devices/disks/" .. naa },
    { "deviceType", "disk" },
    { "key", lun_key(device) },
    { "uuid", uuid },
    {
      "descriptor",
      vim.array("ScsiLunDescriptor", {
        vim.object("ScsiLunDescriptor", { { "quality", "highQuality" }, { "id", naa } }),
        vim.object("ScsiLunDescriptor", { { "quality", "mediumQuality" }, { "id", "vml." .. uuid } }),
      }),
    },
    { "canonicalName", naa },
    { "displayName", ("%s Disk (%s)"):format(lun.vendor, naa) },
    { "lunType", "disk" },
    { "vendor", ("%-8s"):format(lun.vendor) },
    { "model", ("%-16s"):format(lun.model) },
    { "revision", "9141" },
    { "scsiLevel", 5 },
    { "serialNumber", lun.serial or "unavailable" },
    { "queueDepth", 128 },
    { "operationalState", vim.strings(STATES[device.status]) },
    { "vStorageSupport", "vStorageSupported" },
    { "protocolEndpoint", false },
    { "perenniallyReserved", false },
    {
      "capacity",
      vim.object("HostDiskDimensionsLba", {
        { "blockSize", BLOCK_BYTES },
        { "block", vim.long(lun.size_bytes // BLOCK_BYTES) },
      }),
    },
    { "devicePath", "/vmfs/devices/disks/" .. naa },
    { "ssd", false },
    { "localDisk", false },
  })
end

local function transport(port)
  if port.kind == "iscsi" then
    return vim.derived("HostInternetScsiTargetTransport", {
      { "iScsiName", port.id },
      { "iScsiAlias", "" },
      { "address", vim.strings { "127.0.0.1:3260" } },
    })
  end
  if port.kind ~= "fc" then return vim.derived("HostBlockAdapterTargetTransport", {}) end
  return vim.derived("HostFibreChannelTargetTransport", {
    { "portWorldWideName", M.wwn(port.id) },
    { "nodeWorldWideName", M.wwn(node_of(port.id)) },
  })
end

--- Ports of all arrays that an adapter is logged in to, LUN or no LUN.
local function logged_in(host, hba)
  local ports <const>, seen <const> = {}, {}
  for _, lun in ipairs(host.fabric:list()) do
    for _, port in ipairs(esxi.ports(hba, lun)) do
      if not seen[port.id] then
        seen[port.id] = true
        ports[#ports + 1] = port
      end
    end
  end
  return ports
end

local function target_key(hba, i) return ("key-vim.host.ScsiTopology.Target-%s:0:%d"):format(hba.device, i) end

local function target_luns(host, hba, port)
  local luns <const> = {}
  for _, naa in ipairs(host:device_names()) do
    local device <const> = host.devices[naa]
    if device.adapters[hba.device] then
      for _, other in ipairs(esxi.ports(hba, device.lun)) do
        if other.id == port.id then
          luns[#luns + 1] = vim.object("HostScsiTopologyLun", {
            { "key", "key-vim.host.ScsiTopology.Lun-" .. esxi.uuid(device) },
            { "lun", device.number },
            { "scsiLun", lun_key(device) },
          })
        end
      end
    end
  end
  return luns
end

local function topology(host)
  local interfaces <const> = {}
  for _, hba in ipairs(host.hbas) do
    local targets <const> = {}
    for i, port in ipairs(logged_in(host, hba)) do
      targets[i] = vim.object("HostScsiTopologyTarget", {
        { "key", target_key(hba, i - 1) },
        { "target", i - 1 },
        { "lun", vim.array("HostScsiTopologyLun", target_luns(host, hba, port)) },
        { "transport", transport(port) },
      })
    end
    interfaces[#interfaces + 1] = vim.object("HostScsiTopologyInterface", {
      { "key", "key-vim.host.ScsiTopology.Interface-" .. hba.device },
      { "adapter", hba_key(hba) },
      { "target", vim.array("HostScsiTopologyTarget", targets) },
    })
  end
  return vim.object("HostScsiTopology", { { "adapter", vim.array("HostScsiTopologyInterface", interfaces) } })
end

local function nvme_topology(host)
  local interfaces <const> = {}
  for _, hba in ipairs(host.hbas) do
    local controllers <const> = {}
    for i, port in ipairs(hba.kind == "nvme" and logged_in(host, hba) or {}) do
      controllers[i] = vim.object("HostNvmeController", {
        { "key", ("key-vim.host.NvmeController-%s-%d"):format(hba.device, i) },
        { "controllerNumber", 256 + i },
        { "subnqn", port.id },
        { "name", ("%s#%s"):format(port.id, hba.device) },
        { "associatedAdapter", hba_key(hba) },
        { "transportType", "tcp" },
      })
    end
    if hba.kind == "nvme" then
      interfaces[#interfaces + 1] = vim.object("HostNvmeTopologyInterface", {
        { "key", "key-vim.host.NvmeTopology.Interface-" .. hba.device },
        { "adapter", hba_key(hba) },
        { "connectedController", vim.array("HostNvmeController", controllers) },
      })
    end
  end
  return vim.object("HostNvmeTopology", { { "adapter", vim.array("HostNvmeTopologyInterface", interfaces) } })
end

local function path_state(device, is_live)
  if device.status == "off" then return "disabled" end
  return is_live and "active" or "dead"
end

local function paths_of(host, naa, device)
  local paths <const>, live <const> = {}, {}
  for _, name in ipairs(host:live_adapters(naa)) do
    live[name] = true
  end
  for _, hba in ipairs(host.hbas) do
    for i, port in ipairs(device.adapters[hba.device] and esxi.ports(hba, device.lun) or {}) do
      local state <const> = path_state(device, live[hba.device] and #paths >= host.dead_paths)
      local name <const> = ("%s:C0:T%d:L%d"):format(hba.device, i - 1, device.number)
      paths[#paths + 1] = vim.object("HostMultipathInfoPath", {
        { "key", "key-vim.host.MultipathInfo.Path-" .. name },
        { "name", name },
        { "pathState", state },
        { "state", state },
        { "isWorkingPath", state == "active" },
        { "adapter", hba_key(hba) },
        { "lun", "key-vim.host.MultipathInfo.LogicalUnit-" .. esxi.uuid(device) },
        { "transport", transport(port) },
      })
    end
  end
  return paths
end

local function multipath(host)
  local units <const> = {}
  for _, naa in ipairs(host:device_names()) do
    local device <const> = host.devices[naa]
    units[#units + 1] = vim.object("HostMultipathInfoLogicalUnit", {
      { "key", "key-vim.host.MultipathInfo.LogicalUnit-" .. esxi.uuid(device) },
      { "id", esxi.uuid(device) },
      { "lun", lun_key(device) },
      { "path", vim.array("HostMultipathInfoPath", paths_of(host, naa, device)) },
      { "policy", vim.object("HostMultipathInfoLogicalUnitPolicy", { { "policy", "VMW_PSP_RR" } }) },
      {
        "storageArrayTypePolicy",
        vim.object("HostMultipathInfoLogicalUnitStorageArrayTypePolicy", { { "policy", "VMW_SATP_ALUA" } }),
      },
    })
  end
  return vim.object("HostMultipathInfo", { { "lun", vim.array("HostMultipathInfoLogicalUnit", units) } })
end

---@param host lab.Host
---@return lab.Value HostStorageDeviceInfo whose parts are made when asked for
function M.info(host)
  return vim.object("HostStorageDeviceInfo", {
    {
      "hostBusAdapter",
      function()
        local hbas <const> = {}
        for i, hba in ipairs(host.hbas) do
          hbas[i] = hba_object(i, hba)
        end
        return vim.array("HostHostBusAdapter", hbas)
      end,
    },
    {
      "scsiLun",
      function()
        local luns <const> = {}
        for i, naa in ipairs(host:device_names()) do
          luns[i] = scsi_disk(naa, host.devices[naa])
        end
        return vim.array("ScsiLun", luns)
      end,
    },
    { "scsiTopology", function() return topology(host) end },
    { "nvmeTopology", function() return nvme_topology(host) end },
    { "multipathInfo", function() return multipath(host) end },
    { "softwareInternetScsiEnabled", true },
  })
end

return M
