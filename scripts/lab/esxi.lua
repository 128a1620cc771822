--- An ESXi host: its adapters, what they discovered, and a root folder in which the host's own scripts run.
--- A device is absent → on → off (detached) → absent; a LUN taken away while on is `dead timeout` until a rescan deletes it.
local files <const> = require "lab.files"
local fs <const> = require "lunalift.fs"
local task <const> = require "lunalift.task"
local timer <const> = require "lunalift.timer"

---@class lab.esxi
local M <const> = {}

---@class lab.Hba
---@field device string "vmhba64"
---@field kind "iscsi"|"fc"|"nvme"|"sdc"|"block"
---@field iqn? string
---@field wwnn? string 16 hex digits
---@field wwpn? string
---@field nqn? string of the host, on its NVMe adapters
---@field guid? string of PowerFlex' kernel module
---@field arrays? string[] products its fabric reaches; nil: all
---@field driver? string
---@field model? string

---@class lab.Device
---@field lun lab.Lun
---@field number integer
---@field status "on"|"off"|"dead timeout"
---@field adapters table<string, boolean> through which it was discovered

---@class lab.Host
---@field name string
---@field moref string
---@field root string
---@field uuid string
---@field hbas lab.Hba[]
---@field devices table<string, lab.Device>
---@field detached table<string, boolean>
---@field options table<string, any> advanced settings
---@field connected boolean
---@field datastores lab.Datastore[]
---@field extension? lab.CliCommand[] of the installed VIB
---@field vibs { name: string, version: string, vendor: string, acceptance: string }[]
---@field busybox string
---@field esxcli_s number what each esxcli command costs
---@field clone_status? string of all devices; nil: supported
---@field dead_paths integer of each device
---@field claim_rules string[] vendors whose devices get a plugin
---@field mtu integer of the interface for storage
---@field frame_bytes integer the largest that gets to the array's portals
---@field outside? lab.Outside the machine that has its devices and runs its scripts; nil: its root folder
local Host <const> = {}
Host.__index = Host

local SETTINGS <const> = {
  ["Disk.MaxLUN"] = 1024,
  ["Disk.SupportSparseLUN"] = 1,
  ["Disk.EnableNaviReg"] = 1,
  ["DataMover.HardwareAcceleratedMove"] = 1,
  ["DataMover.HardwareAcceleratedInit"] = 1,
  ["DataMover.MaxHWTransferSize"] = 16384,
  ["DataMover.MaxHeapSize"] = 64,
  ["VMFS3.HardwareAcceleratedLocking"] = 1,
}

---@class lab.HostOptions
---@field name string
---@field moref string
---@field root string
---@field uuid string
---@field address string
---@field hbas lab.Hba[]
---@field fabric lab.Fabric
---@field settings? table<string, any>
---@field discovery_lag_s? number from map to the first rescan that finds it
---@field rescan_s? number what a rescan takes
---@field esxcli_s? number what each command takes

---@param options lab.HostOptions
---@return lab.Host
function M.new(options)
  local host <const> = setmetatable({
    name = options.name,
    moref = options.moref,
    root = options.root,
    uuid = options.uuid,
    address = options.address,
    hbas = options.hbas,
    fabric = options.fabric,
    options = {},
    devices = {},
    detached = {},
    visible_since = {},
    datastores = {},
    connected = true,
    vibs = {},
    dead_paths = 0,
    claim_rules = { "3PARdata", "EMC", "HITACHI", "NETAPP" },
    mtu = 1500,
    frame_bytes = 9000,
    discovery_lag_s = options.discovery_lag_s or 0,
    esxcli_s = options.esxcli_s or 0,
    rescan_s = options.rescan_s or 0,
    rescans = 0,
    rescanning = task.mutex(),
  }, Host)
  for _, from in ipairs { SETTINGS, options.settings or {} } do
    for key, value in pairs(from) do
      host.options[key] = value
    end
  end
  host.fabric:plug(host.hbas)
  host.fabric:watch(function(naa) host:refresh(naa) end)
  for _, lun in ipairs(host.fabric:list()) do
    host:refresh(lun.naa)
  end
  return host
end

---@param hba lab.Hba
---@return string[] ids none for adapters that reach no array
local function initiators(hba) return { hba.iqn or hba.wwpn or hba.nqn or hba.guid } end

--- Whether the adapter's network has the array that owns the LUN.
---@return boolean
function M.reaches(hba, lun)
  if not hba.arrays then return true end
  for _, product in ipairs(hba.arrays) do
    if product == lun.array then return true end
  end
  return false
end

--- The array's ports that this adapter can talk to.
---@return lab.Port[]
function M.ports(hba, lun)
  local found <const> = {}
  if M.reaches(hba, lun) then
    for _, port in ipairs(lun.target_ports or {}) do
      if port.kind == hba.kind then found[#found + 1] = port end
    end
  end
  return found
end

--- LUNs that an adapter would find now: NAA → { lun, number }.
---@param hba lab.Hba
function Host:visible(hba)
  local found <const> = {}
  for _, each in ipairs(self.fabric:seen_by(initiators(hba))) do
    if each.number < self.options["Disk.MaxLUN"] and #M.ports(hba, each.lun) > 0 then found[each.lun.naa] = each end
  end
  return found
end

---@param naa string
---@return string[] adapters that see it now, among those that discovered it
function Host:live_adapters(naa)
  local device <const>, live <const> = self.devices[naa], {}
  for _, hba in ipairs(self.hbas) do
    if device and device.adapters[hba.device] and self:visible(hba)[naa] then live[#live + 1] = hba.device end
  end
  return live
end

function Host:device_path(naa) return self.root .. "/vmfs/devices/disks/" .. naa end

--- Make the host's files say what the device table says: the device is there to be opened exactly while it is on. What is right
--- already is left alone: a writer may look at it now.
local function publish(self, naa)
  local device <const> = self.devices[naa]
  local path <const>, status <const> = self:device_path(naa), self.root .. "/var/lab/devices/" .. naa
  local wanted <const> = device and device.status == "on" and fs.realpath(device.lun.path) or nil
  if self.outside then self.outside:publish(naa, wanted ~= nil) end
  if fs.realpath(path) ~= wanted then
    fs.remove(path)
    if wanted then assert(fs.symlink(wanted, path)) end
  end
  if not device then
    fs.remove(status)
  elseif fs.read(status) ~= device.status .. "\n" then
    files.replace(status, device.status .. "\n")
  end
end

--- Bring one device in line with what the fabric shows now. Nothing is discovered or forgotten here.
---@param naa string
function Host:refresh(naa)
  local seen = false
  for _, hba in ipairs(self.hbas) do
    seen = seen or self:visible(hba)[naa] ~= nil
  end
  self.visible_since[naa] = seen and (self.visible_since[naa] or timer.now()) or nil
  local device <const> = self.devices[naa]
  if not device then return end
  local alive <const> = #self:live_adapters(naa) > 0
  if device.status == "on" and not alive then
    device.status = "dead timeout"
  elseif device.status == "dead timeout" and alive then
    device.status = "on"
  end
  publish(self, naa)
end

local function discover(self, hba)
  local now <const> = timer.now()
  for naa, each in pairs(self:visible(hba)) do
    if now - (self.visible_since[naa] or now) >= self.discovery_lag_s then
      local device = self.devices[naa]
      if not device then
        device = { lun = each.lun, number = each.number, adapters = {}, status = self.detached[naa] and "off" or "on" }
        self.devices[naa] = device
      end
      device.lun, device.number = each.lun, each.number
      device.adapters[hba.device] = true
      if device.status == "off" and not self.detached[naa] then device.status = "on" end
      self:refresh(naa)
    end
  end
end

local function forget(self, hba)
  local visible <const>, gone <const> = self:visible(hba), {}
  for naa, device in pairs(self.devices) do
    if device.adapters[hba.device] and not visible[naa] then
      device.adapters[hba.device] = nil
      if not next(device.adapters) then gone[#gone + 1] = naa end
    end
  end
  for _, naa in ipairs(gone) do
    self.devices[naa] = nil
    publish(self, naa)
  end
end

--- Look for new LUNs, forget dead ones, or both. One rescan at a time, as on a real host.
---@param mode "add"|"delete"|"all"|"update"
---@param adapter? string all adapters unless named
---@return boolean found false: no such adapter
function Host:rescan(mode, adapter)
  local _lock <close> = self.rescanning:lock()
  self.rescans = self.rescans + 1
  if self.rescan_s > 0 then timer.sleep(self.rescan_s) end
  local found = false
  for _, hba in ipairs(self.hbas) do
    if not adapter or hba.device == adapter then
      found = true
      if mode ~= "add" then forget(self, hba) end
      if mode ~= "delete" then discover(self, hba) end
    end
  end
  return found or not adapter
end

--- Whether a vmkfstools of this host has the device open.
---@param naa string
function Host:is_busy(naa)
  if self.outside then return self.outside:is_open(naa) end
  for _, name in ipairs(fs.list(self.root .. "/var/lab/writers") or {}) do
    local device <const>, pid <const> = name:match "^(.*)@(%d+)$"
    if device == naa and fs.stat("/proc/" .. pid) then return true end
  end
  return false
end

--- Detach ("off") or attach ("on") a device.
---@return boolean? done
---@return "not_found"|"busy"|"already"|nil why
function Host:set_state(naa, state)
  local device <const> = self.devices[naa]
  if not device then return nil, "not_found" end
  if device.status == state then return nil, "already" end
  if state == "off" and self:is_busy(naa) then return nil, "busy" end
  device.status = state
  self.detached[naa] = state == "off" or nil
  self:refresh(naa)
  return true
end

--- Drop the memory of a detached device; what is still shown to the host stays off until the next rescan.
---@return boolean? done
---@return "not_found"? why
function Host:forget_detached(naa)
  if not self.detached[naa] then return nil, "not_found" end
  self.detached[naa] = nil
  return true
end

--- Let another machine have the devices, and run what is run on the host.
---@param outside lab.Outside
function Host:move_out(outside)
  self.outside = outside
  for _, naa in ipairs(self:device_names()) do
    publish(self, naa)
  end
end

---@return string[] NAAs sorted
function Host:device_names()
  local names <const> = {}
  for naa in pairs(self.devices) do
    names[#names + 1] = naa
  end
  table.sort(names)
  return names
end

---@return lab.Device?, string? naa
function Host:find_by_uuid(uuid)
  for naa, device in pairs(self.devices) do
    if M.uuid(device) == uuid then return device, naa end
  end
end

--- The id that ESXi gives a LUN: type, LUN number, page 83 id, six bytes of the model.
---@param device lab.Device
function M.uuid(device)
  local model <const> = (device.lun.model .. "      ")
    :sub(1, 6)
    :gsub(".", function(c) return ("%02x"):format(c:byte()) end)
  return ("0200%02x0000%s%s"):format(device.number & 0xff, device.lun.naa:gsub("^%a+%.", ""), model)
end

--- The id of an adapter as esxcli prints it.
---@param hba lab.Hba
function M.uid(hba)
  if hba.kind == "iscsi" then return hba.iqn end
  if hba.kind == "fc" then return "fc." .. hba.wwnn .. ":" .. hba.wwpn end
  if hba.kind ~= "block" then return hba.device end
  return "sas.500056b3a1b2c3d4"
end

local FOLDERS <const> = {
  "bin",
  "tmp",
  "etc",
  "opt/lunalift",
  "usr/lib/vmware/esxcli/ext",
  "var/lab/devices",
  "var/lab/writers",
  "var/lab/stats",
  "var/log",
  "vmfs/volumes",
  "vmfs/devices/disks",
}

local STAND_INS <const> = { "vmkfstools", "vsish", "esxcli", "logger" }

--- Programs for the host's PATH: BusyBox under all its names, and stand-ins for ESXi's own.
---@param stand_ins string folder of the stand-ins
---@param busybox string
---@param applets string[]
function Host:install(stand_ins, busybox, applets)
  for _, folder in ipairs(FOLDERS) do
    files.mkdirs(self.root .. "/" .. folder)
  end
  for _, folder in ipairs { "vmfs/devices/disks", "var/lab/devices", "var/lab/writers" } do
    files.empty(self.root .. "/" .. folder)
  end
  for _, applet in ipairs(applets) do
    files.relink(busybox, self.root .. "/bin/" .. applet)
  end
  for _, name in ipairs(STAND_INS) do
    local path <const> = self.root .. "/bin/" .. name
    fs.remove(path)
    files.install_script(stand_ins .. "/" .. name, path, busybox)
  end
  fs.write(self.root .. "/etc/vmware-release", "VMware ESXi 8.0.3\n")
end

--- Show a datastore's folder under /vmfs/volumes by name and by uuid.
---@param datastore lab.Datastore
function Host:mount(datastore)
  self.datastores[#self.datastores + 1] = datastore
  local volumes <const> = self.root .. "/vmfs/volumes/"
  files.relink(datastore.folder, volumes .. datastore.uuid)
  files.relink(datastore.folder, volumes .. datastore.name)
end

return M
