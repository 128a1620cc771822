--- Hitachi VSP over the Configuration Manager REST API, the array's own or Ops Center's, for volumes of Storage Plug-in for Containers.
local device <const> = require "lib.device"
local fail <const> = require "lib.fail"
local initiator <const> = require "lib.initiator"
local list <const> = require "lib.list"
local poll <const> = require "lib.poll"
local rest <const> = require "lib.rest"
local timer <const> = require "lunalift.timer"

local PORT <const> = 443
local OBJECTS <const> = "/v1/objects"
local BLOCK_BYTES <const> = 512
local OUI <const> = "60060e80" -- an NAA is this, the array, and in its last four digits the number of the LDEV
local NAA_DIGITS <const> = 32
local GROUP_CHARS <const> = 32 -- of the name of a snapshot group
local PAIR_GONE_WITHIN_S <const> = 300
local LATE_S <const> = 5 -- so long a pair may stay unlisted after its creation was accepted

local AT_THE_END <const> = { ["Response-Job-Status"] = "Completed", ["Response-Max-Wait"] = "5" }
local AT_ONCE <const> = { ["Job-Mode-Wait-Configuration-Change"] = "NoWait" }
for name, value in pairs(AT_THE_END) do
  AT_ONCE[name] = value -- nor wait for the data of a pair
end

local ALREADY <const> = "B958,015A"
local LOCKED <const> = { "busy", "another program has locked the resource group: try again when it is through" }
local MISSING <const> = { "not_found" }
local POOL <const> = "Thin Image cannot use the pool of the target volume: let the host copy, with DISABLE_RDM_METHOD"

-- What a message id or an error code means to us: kind, hint.
local MEANINGS <const> = {
  [ALREADY] = { "conflict" },
  ["2E11,2205"] = LOCKED,
  ["2E11,2207"] = LOCKED,
  ["2E30,600E"] = { "config", POOL },
  EX_EACCES = LOCKED,
  EX_ENOOBJ = MISSING,
  ["KART00003-E"] = { "busy", "the array's REST server is busy: try again" },
  ["KART30013-E"] = MISSING,
  ["KART40050-E"] = LOCKED,
  ["KART40051-E"] = LOCKED,
  ["KART40052-E"] = LOCKED,
}

---@type lib.Vendor
local M <const> = {
  api = 1,
  name = "vantara",
  title = "Hitachi VSP",
  drivers = { "hspc.csi.hitachi.com" },
  fabrics = { "fc", "iscsi" },
  limits = { requests_per_s = 20 },
  options = {
    port = {
      type = "integer",
      env = "STORAGE_PORT",
      help = "port of the REST API: 443 unless the address names one; Ops Center's is 23451",
    },
    storage_id = {
      type = "string",
      env = "STORAGE_ID",
      required = true,
      help = "storage device id, 12 digits such as 934000612345, or serial number, 612345; Ops Center takes the former",
    },
    groups = {
      type = "string",
      env = "HOSTGROUP_ID_LIST",
      default = "",
      help = "host groups to map to, CL1-A,1:CL2-B,1; else those through which the ESXi host is logged in",
    },
    copy_speed = {
      type = "string",
      env = "COPY_SPEED",
      default = "slower",
      choices = { "slower", "medium", "faster" },
      help = "of copies of RDM and vVol disks inside the array",
    },
  },
  maintainer = "Lunalift",
  status = "stable",
}

---@class vantara.Vsp : lib.Array
---@field api lib.Rest
---@field scope string before the path of every object
---@field groups lib.ArrayHost[] given by the user
---@field copy_speed string
---@field storage table
---@field unlisted table<string, number|false> by copy: since when its pair is not listed; false: it was listed
---@field stopped table<string, true> by copy
local Vsp <const> = {}
Vsp.__index = Vsp

-- Asking ---------------------------------------------------------------------------------------------------------------------------

local function int(text) return math.tointeger(tonumber(text)) end

local function codes_of(said)
  local code <const> = type(said.errorCode) == "table" and said.errorCode or {}
  local codes <const> = { said.messageId }
  if code.SSB1 then codes[#codes + 1] = ("%s,%s"):format(code.SSB1, code.SSB2) end
  codes[#codes + 1] = code.errorCode
  return codes
end

local ERRORS <const> = {
  by = "the array",
  meanings = MEANINGS,
  hints = {
    [403] = "give the account the role Storage Administrator for the resource groups of volumes and ports",
    [503] = "an array has 64 REST sessions: end idle ones, or try again",
  },
  elsewhere = "check STORAGE_HOSTNAME and STORAGE_PORT: no REST API is there",
  read = function(body)
    local said <const> = body.error or body
    return said.message and { text = said.message, codes = codes_of(said), hint = said.solution }
  end,
}

-- All that changes the array is a job.
local function jobs_below(scope)
  return {
    within_s = 300,
    at = function(answer)
      return ("%s/jobs/%d"):format(scope, answer.jobId or fail.raise("protocol", "the answer to a change is no job"))
    end,
    state = function(job)
      local text <const> = ("job %s is %s, %s"):format(job.jobId, job.status, job.state)
      if job.status ~= "Completed" then return "running", text end
      local ends <const> = { Succeeded = "done", Unknown = "unknown" }
      return ends[job.state] or "failed", text, job.error
    end,
  }
end

function Vsp:get(path, query) return self.api:get(self.scope .. path, query) end

function Vsp:list(path, query) return self:get(path, query).data or self.api:raise_senseless(path) end

function Vsp:post(path, body, headers)
  return self.api:change("POST", self.scope .. path, body, { headers = headers or AT_THE_END })
end

function Vsp:delete(path) return self.api:remove(self.scope .. path, { headers = AT_THE_END }) end

-- The array ------------------------------------------------------------------------------------------------------------------------

local function check_port(conf)
  local named <const> = int(conf.hostname:match "[^:]:(%d+)/*$")
  if not conf.port or not named or named == conf.port then return end
  fail.advise("config", "name one in one of them", "STORAGE_HOSTNAME names port %d, STORAGE_PORT %d", named, conf.port)
end

-- CL1-A,1:CL2-B,2
local function parse_groups(text)
  local groups <const> = {}
  for item in text:gmatch "[^:]+" do
    local trimmed <const> = item:match "^%s*(.-)%s*$"
    local port <const>, number <const> = trimmed:match "^(%w+%-%w+)%s*,%s*(%d+)$"
    if not port and trimmed ~= "" then
      fail.advise("config", "write CL1-A,1:CL2-B,1", "HOSTGROUP_ID_LIST: '%s' is no host group", trimmed)
    end
    local id <const> = port and ("%s,%d"):format(port:upper(), int(number))
    if id and not list.find(groups, "id", id) then groups[#groups + 1] = { id = id, name = id } end
  end
  return groups
end

local function check_version(self, client)
  local path <const> = "/configuration/version"
  local version <const> = (assert(client:request("GET", path)).json or {}).apiVersion or self.api:raise_senseless(path)
  local major <const>, minor <const> = tostring(version):match "^(%d+)%.(%d+)"
  if major and tonumber(major) * 1000 + tonumber(minor) >= 1009 then return true end
  local hint <const> = "update it: 1.9 or later is needed"
  fail.advise("unsupported", hint, "%s: its REST API is of version %s", self.api.site, version)
end

-- The password is for opening the session only.
local function session_of(self)
  local path <const> = self.scope .. "/sessions"
  return {
    login = function(client)
      self.is_fit = self.is_fit or check_version(self, client)
      local opened <const> = assert(client:request("POST", path, { json = {} })).json or {}
      local token <const> = opened.token or fail.raise("protocol", "the answer to a login holds no token")
      return { Authorization = "Session " .. token }, opened.sessionId
    end,
    lost = function(why) return why.status == 401 end,
    logout = function(client, id) return client:request("DELETE", ("%s/%d"):format(path, id)) end,
  }
end

-- Ops Center serves many arrays, each below its id; the array itself knows the shorter paths, too.
local function find_storage(self, id)
  if self.scope ~= OBJECTS then
    return self.api:find(self.scope)
      or fail.advise("not_found", "check STORAGE_ID: " .. id, "no array %s at %s", id, self.api.site)
  end
  local seen <const> = self:list "/storages"
  for _, storage in ipairs(seen) do
    if storage.storageDeviceId == id or storage.serialNumber == int(id) then return storage end
  end
  local ids <const> = list.map(seen, function(storage) return storage.storageDeviceId end)
  fail.advise("config", "correct STORAGE_ID", "no array %s at %s, but %s", id, self.api.site, table.concat(ids, ", "))
end

---@param conf table as every vendor's, with port, storage_id, groups, copy_speed
---@return vantara.Vsp array
function M.open(conf)
  check_port(conf)
  local id <const> = conf.storage_id
    or fail.advise("config", "it is in the volumes' handles: 934000612345, say", "STORAGE_ID is not set")
  local self <const> = setmetatable({ groups = parse_groups(conf.groups or ""), unlisted = {}, stopped = {} }, Vsp)
  self.copy_speed = conf.copy_speed or M.options.copy_speed.default
  self.scope = id:find("^" .. ("%d"):rep(12) .. "$") and ("%s/storages/%s"):format(OBJECTS, id) or OBJECTS
  self.api = rest.open(conf, {
    port = conf.port or PORT,
    path = "/ConfigurationManager",
    headers = { Accept = "application/json", ["Content-Type"] = "application/json" },
    basic = true,
    errors = ERRORS,
    session = session_of(self),
    jobs = jobs_below(self.scope),
  })
  self.storage = find_storage(self, id)
  return self
end

function Vsp:info()
  local storage <const> = self.storage
  return { vendor = "Hitachi", product = "Vantara", model = storage.model or "", version = storage.dkcMicroVersion }
end

--- iSCSI has a name for each target, which is a host group; an FC port has one of its own.
function Vsp:targets()
  local found <const>, is_wanted <const> = {}, {}
  for _, group in ipairs(self.groups) do
    is_wanted[group.id], is_wanted[group.id:match "^[^,]+"] = true, true
  end
  local function wants(id) return #self.groups == 0 or is_wanted[id] end
  for _, port in ipairs(self:list "/ports") do
    if wants(port.portId) and port.portType == "FIBRE" then
      found[#found + 1] = { kind = "fc", id = port.wwn }
    elseif wants(port.portId) and port.portType == "ISCSI" then
      for _, target in ipairs(self:list("/host-groups", { portId = port.portId })) do
        if wants(target.hostGroupId) then found[#found + 1] = { kind = "iscsi", id = target.iscsiName } end
      end
    end
  end
  return found
end

-- Volumes: LDEVs -------------------------------------------------------------------------------------------------------------------

-- nil for numbers that no volume bears.
local function ldev(self, id)
  local record <const> = self.api:find(("%s/ldevs/%d"):format(self.scope, int(id)))
  return record and record.emulationType ~= "NOT DEFINED" and record or nil
end

local function need_ldev(self, id) return ldev(self, id) or fail.raise("not_found", "there is no LDEV %d", int(id)) end

-- The NAA is made up when the first path is.
local function lun_from(record)
  local naa <const> = record.naaId and record.naaId:lower()
  return {
    id = tostring(record.ldevId),
    name = record.label and ("LDEV %d (%s)"):format(record.ldevId, record.label) or ("LDEV %d"):format(record.ldevId),
    naa = naa and "naa." .. naa,
    size_bytes = record.blockCapacity * BLOCK_BYTES,
    serial = naa and naa:sub(7),
  }
end

local function parse_handle(pv)
  local where <const>, id <const>, name <const> = pv.handle:match "^01%-%-.-%-%-(.-)%-%-(%d+)%-%-(.*)$"
  if name and not name:find("--", 1, true) then return where, id, name end
  local form <const> = "it should be 01--fc--<storage device id>--<LDEV>--<name>: check who made the PersistentVolume"
  fail.advise("config", form, "volume handle '%s' of %s is none of Hitachi's", pv.handle, pv.name)
end

-- An LDEV has the same number as another on another array.
local function check_array(self, pv, where)
  local ours <const> = self.storage
  if where == ours.storageDeviceId or tonumber(where) == ours.serialNumber then return end
  local hint <const> = "set STORAGE_HOSTNAME and STORAGE_ID to that array"
  fail.advise("config", hint, "volume %s is on array %s, not %s", pv.name, where, ours.storageDeviceId)
end

-- Numbers are given anew, the name tells; and what is blocked takes no bytes.
local function check_volume(pv, name, record)
  if record.label and record.label ~= name then
    local hint <const> = ("its number was given to another volume; if it was only renamed, name it %s again"):format(
      name
    )
    fail.advise("not_found", hint, "LDEV %d is named %s, and %s says %s", record.ldevId, record.label, pv.name, name)
  end
  if record.status == "BLK" then
    fail.advise("failed", "restore it on the array", "LDEV %d is blocked", record.ldevId)
  end
end

---@param pv { name: string, handle: string, driver: string, attributes: table<string, string> }
---@return lib.Lun lun
function Vsp:lun_of(pv)
  local where <const>, id <const>, name <const> = parse_handle(pv)
  check_array(self, pv, where)
  local gone <const> = "it was deleted, or the account may not see it"
  local record <const> = ldev(self, id)
    or fail.advise("not_found", gone, "no LDEV %s on array %s (from %s)", id, where, pv.handle)
  check_volume(pv, name, record)
  return lun_from(record)
end

--- By the NAA, which vVols bear in their ids, too; nil for others' volumes, also for those of another VSP.
---@param by { naa: string?, vvol: string? }
---@return lib.Lun? lun
function Vsp:find_lun(by)
  local hex <const> = device.own(by, OUI, NAA_DIGITS)
  local record <const> = hex and ldev(self, int("0x" .. hex:sub(-4)))
  local is_it <const> = record and record.naaId and record.naaId:lower() == hex
  return is_it and lun_from(record) or nil
end

-- Hosts: host groups ---------------------------------------------------------------------------------------------------------------

-- Logins to an iSCSI port need not say to which target: then it is told by the names that the targets let in.
local function iscsi_targets(self, port_id, name)
  local ids <const> = {}
  for _, target in ipairs(self:list("/host-groups", { portId = port_id })) do
    local query <const> = { portId = port_id, hostGroupNumber = target.hostGroupNumber }
    for _, member in ipairs(self:list("/host-iscsis", query)) do
      if initiator.same(member.iscsiName, name) then ids[#ids + 1] = target.hostGroupId end
    end
  end
  return ids
end

-- All logins to the array.
local function logins_of(self, initiators)
  local logins <const> = {}
  for _, port in ipairs(self:list("/ports", { detailInfoType = "logins" })) do
    for _, login in ipairs(port.logins or {}) do
      local name <const> = login.loginWwn or login.loginIscsiName or ""
      local is_ours <const> = #initiator.missing({ name }, initiators) == 0
      local kind <const> = login.loginWwn and "fc" or "iscsi"
      logins[#logins + 1] =
        { kind = kind, name = name, port = port.portId, group = login.hostGroupId, is_ours = is_ours }
    end
  end
  return logins
end

-- Those that the logins of one fabric lead to, each once.
local function groups_of(self, logins, kind)
  local hosts <const>, is_others <const> = {}, {}
  for _, login in ipairs(logins) do
    is_others[not login.is_ours and login.group or false] = true
  end
  for _, login in ipairs(logins) do
    local is_meant <const> = login.is_ours and login.kind == kind
    local ids = is_meant and { login.group } or {}
    if is_meant and kind == "iscsi" and not login.group then ids = iscsi_targets(self, login.port, login.name) end
    for _, id in ipairs(ids) do
      if not list.find(hosts, "id", id) then hosts[#hosts + 1] = { id = id, name = id, shared = is_others[id] } end
    end
  end
  return hosts
end

--- Never ours, but administrators': those that the user names, else those that the initiators are logged in through; by FC if there is
--- one, since ESXi bears no volume that it sees by two protocols.
---@return lib.ArrayHost[]
function Vsp:hosts_of(initiators)
  if #self.groups > 0 then return self.groups end
  local logins <const> = logins_of(self, initiators)
  local hosts <const> = groups_of(self, logins, "fc")
  return #hosts > 0 and hosts or groups_of(self, logins, "iscsi")
end

---@return string
function Vsp:why_none(initiators)
  local logins <const> = logins_of(self, initiators)
  local homeless <const> = list.filter(logins, function(login) return login.is_ours end)
  if #homeless == 0 then return ("none of the %d logins at the array's ports is theirs"):format(#logins) end
  local at <const> = list.map(homeless, function(login) return ("%s at port %s"):format(login.name, login.port) end)
  local text <const> = "logged in, and in no host group: %s; add them to one, or set HOSTGROUP_ID_LIST"
  return text:format(table.concat(at, ", "))
end

-- LUN paths ------------------------------------------------------------------------------------------------------------------------

local function paths_of(record)
  return list.map(record.ports or {}, function(path)
    local id <const> = ("%s,%d"):format(path.portId, path.hostGroupNumber)
    return { id = id, name = id, number = path.lun }
  end)
end

---@return lib.ArrayHost[] hosts each with `number`, the LUN number it sees
function Vsp:maps_of(lun) return paths_of(need_ldev(self, lun.id)) end

--- Show `lun` to `host`; it comes back with `number` and `naa`.
---@return "made"|"existing" outcome
---@return lib.Lun lun
function Vsp:map(lun, host)
  local port <const>, group <const> = host.id:match "^(.+),(%d+)$"
  local body <const> = { ldevId = int(lun.id), portId = port, hostGroupNumber = int(group) }
  local made <const>, why <const> = self:post("/luns", body)
  fail.assert(made or why.code == ALREADY, why, "map %s to host group %s", lun.name, host.name)
  local record <const> = need_ldev(self, lun.id)
  local now <const> = lun_from(record)
  local path <const> = list.find(paths_of(record), "id", host.id)
  lun.naa, lun.serial, lun.number = now.naa, now.serial, path and path.number
  return made and "made" or "existing", lun
end

--- A path, host group or LDEV that is not there counts as unmapped.
function Vsp:unmap(lun, host)
  local record <const> = ldev(self, lun.id)
  local path <const> = record and list.find(paths_of(record), "id", host.id)
  if not path then return true end
  local gone <const>, why <const> = self:delete(("/luns/%s,%d"):format(host.id, path.number))
  return fail.assert(gone, why, "unmap %s from host group %s", lun.name, host.name)
end

-- Copies: pairs that clone, and delete themselves when they have -------------------------------------------------------------------

local function group_of(id) return id:gsub("%-", ""):sub(1, GROUP_CHARS) end

local function pair_of(self, copy)
  local found <const> = self:list("/snapshots", { svolLdevId = int(copy.target.id) })
  return list.find(found, "snapshotGroupName", group_of(copy.id))
end

local function is_copied(pair) return pair.status == "PSUP" and (pair.progressRate or 0) >= 100 end

local function saves_capacity(record) return (record.dataReductionMode or "disabled") ~= "disabled" end

---@return { pair: string } handle
function Vsp:copy_start(id, source, target)
  local earlier <const> = pair_of(self, { id = id, target = target })
  self.stopped[id] = nil
  if earlier then return { pair = earlier.snapshotId } end
  local from <const>, to <const> = need_ldev(self, source.id), need_ldev(self, target.id)
  local body <const> = {
    snapshotGroupName = group_of(id),
    snapshotPoolId = to.poolId,
    pvolLdevId = from.ldevId,
    svolLdevId = to.ldevId,
    isClone = true,
    canCascade = true,
    clonesAutomation = true,
    copySpeed = self.copy_speed,
    isDataReductionForceCopy = (saves_capacity(from) or saves_capacity(to)) or nil,
  }
  local made <const>, why <const> = self:post("/snapshots", body, AT_ONCE)
  fail.assert(made, why, "copy %s to %s, pool %s", source.name, target.name, to.poolId)
  return { pair = (made.affectedResources or {})[1] }
end

-- It was accepted, and no pair is listed: done and gone, unless it is only about to be listed.
local function state_unlisted(self, id)
  local since_s <const> = self.unlisted[id]
  if since_s == false or since_s and timer.now() - since_s >= LATE_S then return { state = "done", percent = 100 } end
  self.unlisted[id] = since_s or timer.now()
  return { state = "running", percent = 0 }
end

--- PSUP alone is a copy under way; what has ended is gone.
function Vsp:copy_poll(id, copy)
  local pair <const> = pair_of(self, copy)
  if not pair then return copy.handle and not self.stopped[id] and state_unlisted(self, id) or nil end
  self.unlisted[id] = false
  if pair.status == "PSUE" then
    return { state = "failed", reason = ("pair %s is PSUE, suspended by an error"):format(pair.snapshotId) }
  end
  return { state = is_copied(pair) and "done" or "running", percent = pair.progressRate or 0 }
end

--- One that has copied everything goes by itself; all others are deleted. Returns when it is gone.
function Vsp:copy_stop(id, copy)
  self.stopped[id] = true
  local function look() return pair_of(self, copy) end
  local pair <const> = copy.handle and look() or not copy.handle and poll.look_twice(LATE_S, look) -- its start may be on its way
  if not pair then return end
  if not is_copied(pair) and pair.status ~= "SMPP" then
    local gone <const>, why <const> = self:delete(("/snapshots/%d,%d"):format(pair.pvolLdevId, pair.muNumber))
    fail.assert(gone, why, "delete pair %s", pair.snapshotId)
  end
  local what <const> = ("deleting pair %s"):format(pair.snapshotId)
  poll.wait(what, { within_s = PAIR_GONE_WITHIN_S }, function() return not pair_of(self, copy) end)
end

--- Log out: an array has few sessions.
function Vsp:close() self.api:close() end

return M
