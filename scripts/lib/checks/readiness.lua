--- Checks of what makes an ESXi host ask the array to move the data: its settings, and the devices below found.devices.
local check_frames <const> = require "lib.checks.frames"
local fail <const> = require "lib.fail"
local hints <const> = require "lib.hints"
local host_ports <const> = require "lib.host_ports"
local list <const> = require "lib.list"
local words <const> = require "lib.words"

local TRANSFER_KIB <const> = 16384 -- what ESXi takes at most; its default is a quarter
local MIB_A_CLONE <const> = 200
local UNTOLD <const> = "vCenter does not tell"
local NO_DEVICE <const> = "no device is known below the datastore"

local function sorted(set)
  local keys <const> = {}
  for key in pairs(set) do
    keys[#keys + 1] = key
  end
  table.sort(keys)
  return words.list(keys)
end

---@param found lib.Found
---@param command string of esxcli, with a row for each device
---@return table<string, table>? rows by device
---@return string? why not
local function rows_of(found, command)
  if #found.devices == 0 then return nil, NO_DEVICE end
  local args <const> = #found.devices == 1 and { device = found.devices[1] } or {}
  local rows <const>, why <const> = found.host:esxcli(command, args)
  if not rows then return nil, fail.text(why) end
  local by_device <const> = {}
  for _, row in ipairs(rows) do
    by_device[row.Device or ""] = row
  end
  return by_device
end

local function check_xcopy(found)
  for _, part in ipairs { "Move", "Init" } do
    local value <const> = found.host:setting("DataMover.HardwareAccelerated" .. part)
    if value == 0 then return hints.say("xcopy off", { part = part, host = found.host.name }) end
    if not value then return nil, UNTOLD end
  end
  return "DataMover.HardwareAcceleratedMove and …Init are on"
end

local function check_transfer(found)
  local kib <const> = found.host:setting "DataMover.MaxHWTransferSize"
  if not kib then return nil, UNTOLD end
  if kib < TRANSFER_KIB then
    return hints.say("xcopy small", { size = words.size(kib << 10), kib = TRANSFER_KIB, host = found.host.name })
  end
  return words.size(kib << 10) .. " a command"
end

-- An older host may not know the command: only what is told counts. Arrays that keep to T10 need no plugin.
local function check_vaai(found)
  local rows <const>, why <const> = rows_of(found, "storage core device vaai status get")
  if not rows then return nil, why end
  local without <const>, plugins <const> = {}, {}
  for _, naa in ipairs(found.devices) do
    local row <const> = rows[naa] or {}
    local plugin <const> = (row.VAAIPluginName or "") ~= "" and row.VAAIPluginName or "no plugin"
    if row.CloneStatus and row.CloneStatus ~= "supported" then without[#without + 1] = naa end
    plugins[plugin] = true
  end
  if #without > 0 then return hints.say("no vaai clone", { devices = words.list(without), host = found.host.name }) end
  return "clone supported, by " .. sorted(plugins)
end

local function trimmed(text) return (text or ""):match "^%s*(.-)%s*$" end

-- Without a rule the array's devices get no plugin, and XCOPY in small pieces.
local function check_rules(found)
  local devices <const>, why <const> = rows_of(found, "storage core device list")
  if not devices then return nil, why end
  local rules <const>, refusal <const> =
    found.host:esxcli("storage core claimrule list", { ["claimrule-class"] = "VAAI" })
  if not rules then return nil, fail.text(refusal) end
  local vendors <const> = {}
  for _, naa in ipairs(found.devices) do
    local device <const> = devices[naa] or {}
    local vendor <const>, model <const> = trimmed(device.Vendor), trimmed(device.Model)
    local function fits(rule) return ((rule.Matches or "") .. " "):find("vendor=" .. vendor .. " ", 1, true) end
    if vendor ~= "" and #list.filter(rules, fits) == 0 then
      return hints.say("no claim rule", { vendor = vendor, model = model, host = found.host.name })
    end
    if vendor ~= "" then vendors[vendor] = true end
  end
  if not next(vendors) then return nil, "the devices tell no vendor" end
  return "there are rules for " .. sorted(vendors)
end

local IS_LIVE <const> = { active = true, standby = true }

local function check_paths(found)
  local is_reached <const>, live = {}, 0
  local paths <const> = host_ports.paths_to(found.host, found.devices)
  if #found.devices == 0 then return nil, NO_DEVICE end
  for _, path in ipairs(paths) do
    if IS_LIVE[path.state] then
      live, is_reached[path.device] = live + 1, true
    end
  end
  local lost <const> = list.filter(found.devices, function(naa) return not is_reached[naa] end)
  if #lost > 0 then hints.raise("no path", { host = found.host.name, devices = words.list(lost) }) end
  local devices <const> = words.list(found.devices)
  if live < #paths then return hints.say("paths dead", { dead = #paths - live, all = #paths, devices = devices }) end
  return ("%d to %s"):format(live, devices)
end

-- They count since the host has seen the device.
local function check_counters(found)
  local writes, told = 0, 0
  for _, naa in ipairs(found.devices) do
    local facts <const> = found.wrapper:preflight(nil, "/vmfs/devices/disks/" .. naa) or {}
    if (facts.failedCloneOps or 0) > 0 then
      return hints.say("xcopy failed", { count = facts.failedCloneOps, device = naa, host = found.host.name })
    end
    told = told + (facts.failedCloneOps and 1 or 0)
    writes = writes + (facts.cloneWriteOps or 0)
  end
  if told == 0 then return nil, "the host does not tell" end
  return ("%d writes by XCOPY since the host sees %s, none failed"):format(writes, told == 1 and "it" or "them")
end

local function check_memory(found)
  local limit <const> = (found.wrapper:preflight() or {}).memoryLimitMib
  local slots <const> = found.job.request.clone_slots
  if not limit then return nil, "the host does not tell: it has no /opt/lunalift/hostd-memory" end
  if limit < 0 then return "no limit" end
  if slots * MIB_A_CLONE > limit then
    local enough <const> = math.max(1024, 2 * slots * MIB_A_CLONE)
    return hints.say("memory low", { limit = limit, host = found.host.name, slots = slots, enough = enough })
  end
  return ("%d MiB, enough for %d clones"):format(limit, limit // MIB_A_CLONE)
end

---@type lib.Check[]
local CHECKS <const> = {
  { name = "paths", needs = { "host state", "datastore" }, run = check_paths },
  { name = "XCOPY", needs = { "host state" }, run = check_xcopy },
  { name = "XCOPY size", needs = { "host state" }, run = check_transfer },
  { name = "VAAI", needs = { "host state", "datastore" }, run = check_vaai },
  { name = "claim rules", needs = { "host state", "datastore" }, run = check_rules },
  { name = "XCOPY counters", needs = { "wrapper", "datastore" }, run = check_counters },
  { name = "large frames", needs = { "host state" }, run = check_frames },
  { name = "memory for clones", needs = { "wrapper" }, run = check_memory },
}
for _, check in ipairs(CHECKS) do
  check.of, check.by, check.alone = "host", "host", true
end

return CHECKS
