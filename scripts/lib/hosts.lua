--- An ESXi host as flows see it: its ports, its view of a LUN, and the clone that it runs.
local clones <const> = require "lib.clones"
local fail <const> = require "lib.fail"
local hints <const> = require "lib.hints"
local host_ports <const> = require "lib.host_ports"
local timer <const> = require "lunalift.timer"
local turns <const> = require "lib.turns"
local vsphere <const> = require "lunalift.vsphere"
local words <const> = require "lib.words"

local M <const> = {}

local list <const> = vsphere.list

local RESCAN_TIMEOUT_S <const> = 600
local DROP_TIMEOUT_S <const> = 120
local RESCAN_EVERY_S <const> = 10
local LOOK_FIRST_S <const> = 0.2
local LOOK_LONGEST_S <const> = 2
local OFF_WITHIN_S <const> = 30

local GONE <const> = { off = true, ["dead timeout"] = true, dead = true }

---@class lib.Host
---@field ref Moref
---@field peer_name string of a host object of our own on arrays
---@field upstream_name string of the one that upstream's populator makes
---@field name string
---@field datastores Moref[] that it mounts
local Host <const> = {}
Host.__index = Host

local PATHS <const> = {
  "name",
  "runtime.connectionState",
  "runtime.inMaintenanceMode",
  "configManager.advancedOption",
  "datastore",
  "config.storageDevice.hostBusAdapter",
  "config.storageDevice.scsiTopology",
}

---@param vcenter lib.Vcenter
---@param ref Moref
---@return lib.Host
function M.open(vcenter, ref)
  local found <const> = vcenter:retrieve("host " .. ref.id, { objects = { ref }, props = { HostSystem = PATHS } })
  local props <const> = found[1] and found[1].props
  if not props then hints.raise("host missing", { host = ref.id, vcenter = vcenter.where }) end
  return setmetatable({
    vcenter = vcenter,
    job = vcenter.job,
    ref = ref,
    peer_name = ("xcopy-%s-%s"):format(ref.id, vcenter.mark),
    upstream_name = ("xcopy-%s-%s"):format(ref.type:lower(), ref.id),
    name = props.name,
    state = props["runtime.connectionState"],
    in_maintenance = props["runtime.inMaintenanceMode"] == true,
    advanced = props["configManager.advancedOption"],
    datastores = list(props.datastore),
    adapters = list(props["config.storageDevice.hostBusAdapter"]),
    topology = props["config.storageDevice.scsiTopology"],
    port_names = {},
  }, Host)
end

--- Raises when the host cannot run a clone now.
function Host:check_usable()
  if self.state ~= "connected" then hints.raise("host away", { host = self.name, state = self.state }) end
  if self.in_maintenance then hints.raise("host in maintenance mode", { host = self.name }) end
end

---@return table[]? rows
---@return Fail? why
function Host:esxcli(words_, args, options) return self.vcenter.session:esxcli(self.ref, words_, args, options) end

--- All its initiators of these fabrics, whatever they reach.
---@return lib.Initiator[]
function Host:ports(fabrics) return host_ports.all(self, fabrics) end

--- Those that reach the array: see lib.host_ports.
---@return lib.Initiator[]
function Host:initiators_reaching(fabrics, targets, source_naas)
  return host_ports.reaching(self, fabrics, targets, source_naas)
end

-- ---- devices ----

--- The device's row of `esxcli storage core device list`, or nil when the host does not list it.
---@return table?
function Host:device(naa)
  return self.job:read("device " .. naa, function()
    local rows <const>, why <const> = self:esxcli("storage core device list", { device = naa })
    if rows then return rows[1] or false end
    if why.fault == "CLIFault" then return false end -- not listed; all else is "cannot tell"
    return nil, why
  end) or nil
end

--- Devices that were switched off and are remembered so.
---@return string[] naas
function Host:detached()
  local rows <const> = self.job:read(
    "detached devices",
    function() return self:esxcli("storage core device detached list", {}) end
  )
  local naas <const> = {}
  for i, row in ipairs(rows) do
    naas[i] = row.DeviceUID
  end
  return naas
end

-- An esxcli command that may be repeated: its effect is a state, not an event. `is_so` tells whether the state is reached, where a
-- repetition would be refused then.
function Host:set_state(name, target, command, args, options)
  options = options or {}
  return self.job:effect(name, ("%s on %s"):format(target, self.name), function()
    local rows <const>, why <const> = self:esxcli(command, args, { effect = true, timeout_s = options.timeout_s })
    if rows then return true end
    return nil, why
  end, { standin = true, look = options.is_so or function() end })
end

--- Look for new devices on the adapters given.
---@param adapters string[] vmhbaN
function Host:rescan(adapters)
  for _, adapter in ipairs(adapters) do
    local args <const> = { type = "add", adapter = adapter }
    self:set_state("host.rescan", adapter, "storage core adapter rescan", args, { timeout_s = RESCAN_TIMEOUT_S })
  end
end

-- A device that an earlier run switched off stays off for ever, until it is forgotten.
local function forget_detached(self, naa)
  local ok <const>, why <const> = pcall(
    function() self:set_state("host.forget", naa, "storage core device detached remove", { device = naa }) end
  )
  if not ok and why.fault ~= "CLIFault" then error(why) end
end

--- A number among the host's advanced settings; nil when it cannot be read: what only explains must not fail.
---@param key string
---@return integer?
function Host:setting(key)
  local ok <const>, options <const> =
    pcall(self.vcenter.ask, self.vcenter, "QueryOptions", self.advanced, { { "name", key } })
  local option <const> = ok and options and list(options)[1]
  return option and math.tointeger(tonumber(option.value))
end

--- The host does not look at LUN numbers from Disk.MaxLUN on.
---@param number integer
---@param max integer
---@return Fail
function M.number_too_high(number, max)
  return hints.new("lun number too high", { number = number, max = max, enough = math.max(1024, number + 1) })
end

local function explain_absence(self, lun, within_s)
  local why <const> =
    hints.new("device not visible", { naa = lun.naa, host = self.name, within = words.span(within_s) })
  local max <const> = self:setting "Disk.MaxLUN"
  if max and lun.number and lun.number >= max then
    why.cause = M.number_too_high(lun.number, max)
    why.hint = why.cause.hint
  end
  return why
end

--- Rescan until the host shows the LUN as a usable device. Raises not_found with what was found out.
---@param lun lib.Lun
---@param options { within_s: number, adapters: string[] }
---@return table device
function Host:discover(lun, options)
  local until_s = timer.now() + options.within_s
  local function is_there() return self:device(lun.naa) ~= nil end
  local rescan_s, pause_s, has_rescanned = timer.now(), LOOK_FIRST_S, false
  if self.job.dry_run then
    self:rescan(options.adapters)
    return { Device = lun.naa, Status = "on" }
  end
  while true do
    local device <const> = self:device(lun.naa)
    local status <const> = device and device.Status
    if status == "on" or status == "degraded" then return device end
    if has_rescanned and timer.now() >= until_s then error(explain_absence(self, lun, options.within_s)) end
    if device and GONE[status] then forget_detached(self, lun.naa) end
    if timer.now() >= rescan_s then
      until_s = until_s + turns.rescan(self, function() self:rescan(options.adapters) end, is_there)
      rescan_s, pause_s, has_rescanned = timer.now() + RESCAN_EVERY_S, 0, true
    end
    self.job:waiting("%s is %s on %s", lun.naa, status or "not there yet", self.name)
    timer.sleep(pause_s)
    pause_s = math.min(math.max(2 * pause_s, LOOK_FIRST_S), LOOK_LONGEST_S)
  end
end

--- What the host shows is the array's volume, and large enough, before any writer starts.
---@param device table row of the device list
---@param lun lib.Lun
---@param bytes integer of the disk
function Host:check_device(device, lun, bytes)
  if device.Device and device.Device ~= lun.naa then
    fail.raise("conflict", "%s shows %s where %s was asked for", self.name, device.Device, lun.naa)
  end
  local mib <const> = math.tointeger(tonumber(device.Size))
  if mib and (mib + 1) * (1 << 20) <= bytes then
    fail.raise("no_space", "%s shows %s with %d MiB, too small for %s", self.name, lun.naa, mib, words.size(bytes))
  end
end

local function is_off(self, naa)
  local device <const> = self:device(naa)
  return not device or GONE[device.Status], device
end

local function wait_off(self, naa)
  local until_s <const> = timer.now() + OFF_WITHIN_S
  local pause_s = LOOK_FIRST_S
  while true do
    local off <const>, device <const> = is_off(self, naa)
    if off then return end
    if timer.now() >= until_s then fail.raise("incomplete", "%s is still %s on %s", naa, device.Status, self.name) end
    timer.sleep(pause_s)
    pause_s = math.min(2 * pause_s, LOOK_LONGEST_S)
  end
end

-- One that was unmapped while it was off is listed nowhere else.
local function remembers_off(self, naa)
  for _, one in ipairs(self:detached()) do
    if one == naa then return true end
  end
  return false
end

--- Stop all I/O to the device and forget it. Nothing to do when the host does not know it.
function Host:detach(naa)
  local device <const> = self:device(naa)
  if not device and not remembers_off(self, naa) then return end
  if device and not GONE[device.Status] then
    local args <const> = { state = "off", device = naa }
    local function is_so() return is_off(self, naa) or nil end
    self:set_state("host.detach", naa, "storage core device set", args, { is_so = is_so })
    wait_off(self, naa)
  end
  forget_detached(self, naa)
end

--- Drop dead paths after a LUN was taken away.
---@param adapters string[]
---@param naa? string of the LUN
function Host:drop_paths(adapters, naa)
  local function drop()
    for _, adapter in ipairs(adapters) do
      local args <const> = { type = "delete", adapter = adapter }
      self:set_state("host.drop_paths", adapter, "storage core adapter rescan", args, { timeout_s = DROP_TIMEOUT_S })
    end
  end
  turns.rescan(self, drop, function() return naa ~= nil and not self:device(naa) end)
end

-- ---- the clone ----

--- The wrapper on this host. Raises unsupported when there is none.
---@return lib.Clones
function Host:wrapper()
  self.clones = self.clones or clones.open(self)
  return self.clones
end

return M
