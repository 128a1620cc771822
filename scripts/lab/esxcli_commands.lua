--- The built-in esxcli commands that storage work needs, with the fields and the manners of the real ones.
local esxi <const> = require "lab.esxi"

local function param(name, short, help, required)
  return { name = name, wire = (name:gsub("%-", "")), short = short, help = help, required = required or false }
end

local function fault(...) return { fault = "CLIFault", lines = { ... } } end

local function no_device(naa) return fault("Unable to find device with name " .. tostring(naa)) end

local BYTES_PER_MIB <const> = 1048576

local function device_row(naa, device)
  local lun <const> = device.lun
  return {
    { "AttachedFilters", "" },
    { "DevfsPath", "/vmfs/devices/disks/" .. naa },
    { "Device", naa },
    { "DeviceMaxQueueDepth", 128 },
    { "DeviceType", "Direct-Access" },
    { "DisplayName", ("%s Disk (%s)"):format(lun.vendor, naa) },
    { "DriveType", "unknown" },
    { "HasSettableDisplayName", true },
    { "IsBootDevice", false },
    { "IsLocal", false },
    { "IsOffline", device.status ~= "on" },
    { "IsPerenniallyReserved", false },
    { "IsPseudo", false },
    { "IsRDMCapable", true },
    { "IsRemovable", false },
    { "IsSSD", false },
    { "IsSharedClusterwide", true },
    { "IsVVOLPE", false },
    { "Model", lun.model },
    { "MultipathPlugin", "NMP" },
    { "NoofoutstandingIOswithcompetingworlds", 32 },
    { "OtherUIDs", "vml." .. esxi.uuid(device) },
    { "Revision", "9141" },
    { "SCSILevel", 5 },
    { "Size", lun.size_bytes // BYTES_PER_MIB },
    { "Status", device.status },
    { "ThinProvisioningStatus", "yes" },
    { "VAAIStatus", "supported" },
    { "Vendor", lun.vendor },
  }
end

--- The devices that a command is about: the one named, or all.
local function chosen(host, naa)
  if not naa then return host:device_names() end
  return host.devices[naa] and { naa } or nil
end

local function each_device(host, naa, make)
  local names <const> = chosen(host, naa)
  if not names then return no_device(naa) end
  local rows <const> = {}
  for _, name in ipairs(names) do
    rows[#rows + 1] = make(name, host.devices[name])
  end
  return { rows = rows }
end

local function device_list(host, args) return each_device(host, args.device, device_row) end

local function plugin_of(host, vendor)
  for _, name in ipairs(host.claim_rules) do
    if name == vendor then return "VMW_VAAIP_" .. (vendor == "NETAPP" and "NETAPP" or "T10") end
  end
end

local FIRST_RULE <const> = 65430
local SMALL_MTU <const> = 1500
local PING_HEADERS <const> = 28

-- The rules of one class: of VAAI, two for each vendor, in the file and at work.
local function claimrule_list(host, args)
  local rows <const> = {}
  for i, vendor in ipairs(args["claimrule-class"] == "VAAI" and host.claim_rules or {}) do
    for _, class in ipairs { "runtime", "file" } do
      rows[#rows + 1] = {
        { "Class", class },
        { "Matches", ("vendor=%s model=*"):format(vendor) },
        { "Plugin", plugin_of(host, vendor) },
        { "Rule", FIRST_RULE + i },
        { "RuleClass", "VAAI" },
        { "Type", "vendor" },
        { "XCOPYMaxTransferSizeKiB", 0 },
        { "XCOPYUseArrayReportedValues", false },
        { "XCOPYUseMultipleSegments", false },
      }
    end
  end
  return { rows = rows }
end

local function vaai_status(host, args)
  return each_device(
    host,
    args.device,
    function(naa)
      return {
        { "Device", naa },
        { "VAAIPluginName", plugin_of(host, host.devices[naa].lun.vendor) or "" },
        { "ATSStatus", "supported" },
        { "CloneStatus", host.clone_status or "supported" },
        { "ZeroStatus", "supported" },
        { "DeleteStatus", "supported" },
      }
    end
  )
end

local BUSY <const> = "Unable to set device's status. Error was: Unable to complete Sysinfo operation.  "
  .. "Please see the VMkernel log file for more details.: Sysinfo error: BusySee VMkernel log for details."

local function device_set(host, args)
  if args.state and args.state ~= "on" and args.state ~= "off" then return fault("Invalid state: " .. args.state) end
  if not args.state then return host.devices[args.device] and {} or no_device(args.device) end
  local _done <const>, why <const> = host:set_state(args.device, args.state)
  if why == "not_found" then return no_device(args.device) end
  if why == "busy" then return fault("Unable to set state of device " .. args.device, BUSY) end
  return {}
end

local function detached_list(host, args)
  local rows <const> = {}
  for naa in pairs(host.detached) do
    if not args.device or args.device == naa then rows[#rows + 1] = { { "DeviceUID", naa }, { "State", "off" } } end
  end
  if args.device and #rows == 0 then return no_device(args.device) end
  table.sort(rows, function(a, b) return a[1][2] < b[1][2] end)
  return { rows = rows }
end

local function detached_remove(host, args)
  if args.device and not host:forget_detached(args.device) then return no_device(args.device) end
  return {}
end

local DESCRIPTIONS <const> = {
  iscsi = "iSCSI Software Adapter",
  fc = "QLogic 32Gb 2-port FC",
  block = "Smart Array P408i-a",
  nvme = "VMware NVMe over TCP Storage Adapter",
  sdc = "EMC ScaleIO",
}

local function adapter_list(host)
  local rows <const> = {}
  for _, hba in ipairs(host.hbas) do
    rows[#rows + 1] = {
      { "Capabilities", "Second Level Lun ID" },
      { "Description", DESCRIPTIONS[hba.kind] },
      { "Driver", hba.driver },
      { "HBAName", hba.device },
      { "LinkState", hba.kind == "block" and "link-n/a" or "online" },
      { "UID", esxi.uid(hba) },
    }
  end
  return { rows = rows }
end

local MODES <const> = { add = "add", delete = "delete", update = "update", all = "all" }

local function rescan(host, args)
  local mode <const> = MODES[args.type or "all"]
  if not mode then return fault("Invalid rescan type: " .. args.type) end
  if not args.adapter and args.all ~= "1" and args.all ~= "true" then
    return fault "Must specify either an adapter or all adapters"
  end
  if not host:rescan(mode, args.adapter) then return fault("Invalid adapter: " .. args.adapter, "Unable to rescan") end
  return {}
end

local function iscsi_list(host, args)
  local rows <const> = {}
  for _, hba in ipairs(host.hbas) do
    if hba.kind == "iscsi" and (not args.adapter or args.adapter == hba.device) then
      rows[#rows + 1] = {
        { "Adapter", hba.device },
        { "Description", DESCRIPTIONS.iscsi },
        { "Driver", hba.driver },
        { "State", "online" },
        { "UID", hba.iqn },
      }
    end
  end
  return { rows = rows }
end

-- The host's own network, and the one for storage.
local function interface_list(host)
  local rows <const> = {}
  for name, mtu in pairs { vmk0 = SMALL_MTU, vmk1 = host.mtu } do
    rows[#rows + 1] =
      { { "Enabled", true }, { "MTU", mtu }, { "Name", name }, { "NetstackInstance", "defaultTcpipStack" } }
  end
  return { rows = rows }
end

local function each_iscsi(host, make)
  local rows <const> = {}
  for _, hba in ipairs(host.hbas) do
    if hba.kind == "iscsi" then rows[#rows + 1] = make(hba) end
  end
  return { rows = rows }
end

local function networkportal_list(host)
  return each_iscsi(host, function(hba) return { { "Adapter", hba.device }, { "Vmknic", "vmk1" } } end)
end

local function target_portal_list(host)
  return each_iscsi(
    host,
    function(hba)
      return {
        { "Adapter", hba.device },
        { "IP", "192.0.2.10" },
        { "Port", 3260 },
        { "Target", "iqn.1992-08.com.netapp:sn.1" },
      }
    end
  )
end

local function ping(host, args)
  local count <const> = tonumber(args.count) or 3
  local got <const> = (tonumber(args.size) or 56) + PING_HEADERS <= host.frame_bytes and count or 0
  local summary <const> = {
    { "Duplicated", 0 },
    { "HostAddr", args.host },
    { "PacketLost", 100 * (count - got) // count },
    { "Recieved", got },
    { "Transmitted", count },
  }
  return { row = { { "Summary", { fields = summary } } } }
end

local function nvme_info(host)
  for _, hba in ipairs(host.hbas) do
    if hba.nqn then return { rows = { { { "HostNQN", hba.nqn } } } } end
  end
  return { rows = { { { "HostNQN", "nqn.2014-08.com.vmware:nvme:" .. host.name } } } }
end

local function version(host)
  return {
    row = {
      { "Build", "Releasebuild-24022510" },
      { "Patch", "35" },
      { "Product", "VMware ESXi" },
      { "Update", "3" },
      { "Version", host.version or "8.0.3" },
    },
  }
end

local function vib_row(vib)
  return {
    { "AcceptanceLevel", vib.acceptance },
    { "ID", ("%s_bootbank_%s_%s"):format(vib.vendor, vib.name, vib.version) },
    { "InstallDate", "2026-01-31" },
    { "Name", vib.name },
    { "Status", "" },
    { "Vendor", vib.vendor },
    { "Version", vib.version },
  }
end

local function vib_list(host)
  local rows <const> = {}
  for _, vib in ipairs(host.vibs) do
    rows[#rows + 1] = vib_row(vib)
  end
  return { rows = rows }
end

local function vib_get(host, args)
  for _, vib in ipairs(host.vibs) do
    if vib.name == args.vibname then return { rows = { vib_row(vib) } } end
  end
  return fault(
    "[NoMatchError]",
    "No VIB matching VIB search specification '" .. tostring(args.vibname) .. "'.",
    "id=" .. tostring(args.vibname)
  )
end

local function setting_row(key, value)
  local path <const> = "/" .. key:gsub("%.", "/")
  local is_text <const> = type(value) == "string"
  return {
    { "DefaultIntValue", is_text and "" or value },
    { "DefaultStringValue", "" },
    { "Description", "" },
    { "HostSpecific", false },
    { "IntValue", is_text and "" or value },
    { "MaxValue", "" },
    { "MinValue", "" },
    { "Path", path },
    { "StringValue", is_text and value or "" },
    { "Type", is_text and "string" or "integer" },
  }
end

local function settings_list(host, args)
  local keys <const>, rows <const> = {}, {}
  for key in pairs(host.options) do
    if not args.option or args.option == "/" .. key:gsub("%.", "/") then keys[#keys + 1] = key end
  end
  if args.option and #keys == 0 then return fault "Unable to find option" end
  table.sort(keys)
  for i, key in ipairs(keys) do
    rows[i] = setting_row(key, host.options[key])
  end
  return { rows = rows }
end

local DEVICE <const> = param("device", "d", "Device to act upon", false)
local DEVICE_NEEDED <const> = param("device", "d", "Device to act upon", true)

local function command(words, type, help, params, run)
  local list <const> = {}
  for word in words:gmatch "%S+" do
    list[#list + 1] = word
  end
  return { words = list, type = "VimEsxCLI" .. table.concat(list) .. type, help = help, params = params, run = run }
end

---@type lab.CliCommand[]
return {
  command("storage core device list", "ScsiDevice", "List the devices", { DEVICE }, device_list),
  command("storage core device set", "", "Set the state or name of a device", {
    DEVICE_NEEDED,
    param("state", nil, "off detaches, on attaches"),
    param("name", "n", "New display name"),
    param("no-persist", nil, "Only until the next boot"),
  }, device_set),
  command(
    "storage core device detached list",
    "ScsiDetachedDeviceListMap",
    "List detached devices",
    { DEVICE },
    detached_list
  ),
  command(
    "storage core device detached remove",
    "",
    "Forget a detached device",
    { DEVICE, param("all", "a", "All") },
    detached_remove
  ),
  command("storage core device vaai status get", "VAAIStatus", "VAAI status of devices", { DEVICE }, vaai_status),
  command(
    "storage core claimrule list",
    "Claimrule",
    "Rules that choose a plugin for a device",
    { param("claimrule-class", "c", "MP, Filter or VAAI") },
    claimrule_list
  ),
  command("storage core adapter list", "ScsiAdapter", "List the adapters", {}, adapter_list),
  command("storage core adapter rescan", "", "Rescan adapters", {
    param("adapter", "A", "One adapter"),
    param("all", "a", "All adapters"),
    param("type", "t", "add, delete, update or all"),
    param("skip-claim", "S", "Do not claim new devices"),
    param("skip-fs-scan", "F", "Do not look for file systems"),
  }, rescan),
  command(
    "iscsi adapter list",
    "iScsiAdapter",
    "List iSCSI adapters",
    { param("adapter", "A", "One adapter") },
    iscsi_list
  ),
  command("network ip interface list", "IpInterface", "List the interfaces", {}, interface_list),
  command("iscsi networkportal list", "NetworkPortal", "Interfaces that adapters are bound to", {}, networkportal_list),
  command("iscsi adapter target portal list", "TargetPortal", "Portals that adapters reach", {}, target_portal_list),
  command("network diag ping", "Ping", "Send ICMP echo requests", {
    param("host", "H", "Address"),
    param("interface", "I", "Of this host"),
    param("size", "s", "Bytes"),
    param("df", "d", "Do not fragment"),
    param("count", "c", "How many"),
  }, ping),
  command("nvme info get", "NVMeInfo", "NVMe name of the host", {}, nvme_info),
  command(
    "software vib list",
    "VIBSummaryExt",
    "List VIBs",
    { param("rebooting-image", nil, "Of the next boot") },
    vib_list
  ),
  command("software vib get", "VIBExt", "Details of VIBs", { param("vibname", "n", "Name") }, vib_get),
  command("system version get", "VersionGet", "The version of ESXi", {}, version),
  command(
    "system settings advanced list",
    "Option",
    "Advanced settings",
    { param("option", "o", "One of them") },
    settings_list
  ),
}
