--- HPE 3PAR, Primera and Alletra through the Web Services API (WSAPI), for volumes that HPE's CSI driver made.
local codec <const> = require "lunalift.codec"
local device <const> = require "lib.device"
local fail <const> = require "lib.fail"
local initiator <const> = require "lib.initiator"
local list <const> = require "lib.list"
local log <const> = require "lunalift.log"
local poll <const> = require "lib.poll"
local rest <const> = require "lib.rest"

local OUI <const> = "60002ac"
local WWN_LENGTH <const> = 32
local VOLUME_NAME_LENGTH <const> = 31
local SET_NAME_LENGTH <const> = 27 -- "set:" before it makes 31
local SET <const> = "set:"
local PERSONA_VMWARE <const> = 8
local LUN_FIRST <const>, LUN_LAST <const> = 1, 1023 -- ESXi looks no further than Disk.MaxLUN, 1024
local STOP_COPY <const>, STOP_WITHIN_S <const> = 1, 120
local VV_COPY <const>, DONE <const>, ACTIVE <const> = 1, 1, 2 -- type and status of tasks
local PRIORITY_MEDIUM <const> = 2

local LOST <const>, NO_HOST <const> = 6, 17 -- codes of errors

-- What the codes of WSAPI's errors mean to us: kind, hint.
local MEANINGS <const> = {
  [5] = { "denied", "check STORAGE_USERNAME and STORAGE_PASSWORD: WSAPI takes the accounts of the array's own CLI" },
  [6] = { "denied", "the array ends sessions at once: see showwsapisession" },
  [13] = { "denied", "the account needs the role edit or super, in the domain of volumes and hosts" },
  [18] = { "busy" }, -- the number went to another run meanwhile
  [73] = {
    "conflict",
    "a host that the account does not see holds one of the ports: take it out, or let the account see that domain",
  },
  [97] = { "busy", "the volume is the target of a physical copy: wait for its end, or stop it" },
  [99] = { "conflict", "the host's persona forbids this LUN number: see showhost -persona" },
  [101] = { "conflict" }, -- some firmware says 400
}

---@type lib.Vendor
local M <const> = {
  api = 1,
  name = "primera3par",
  title = "HPE 3PAR, Primera and Alletra",
  drivers = { "csi.hpe.com" },
  fabrics = { "iscsi", "fc" },
  limits = { requests_per_s = 50 },
  options = {},
  maintainer = "Lunalift",
  status = "experimental",
}

---@class primera3par.Array : lib.Array
---@field api lib.Rest
---@field system table
local Array <const> = {}
Array.__index = Array

-- Asking ---------------------------------------------------------------------------------------------------------------------------

local function code_of(why) return type(why.json) == "table" and math.tointeger(why.json.code) or nil end

local ERRORS <const> = {
  by = "WSAPI",
  meanings = MEANINGS,
  hints = {
    unreachable = "STORAGE_HOSTNAME is https://host:8080 (3PAR) or https://host:443; showwsapi tells if WSAPI runs, and where",
  },
  elsewhere = "no WSAPI says it so: check host and port of STORAGE_HOSTNAME against showwsapi",
  read = function(body)
    local code <const> = math.tointeger(body.code)
    return code and { text = body.desc, codes = { code } }
  end,
}

-- A 403 is a refused right in a few cases only.
local function explain(why)
  if why.status == 403 and why.code and not MEANINGS[why.code] then why.kind = "failed" end
end

local SESSION <const> = {
  login = function(client, conf)
    local login <const> = { user = conf.username, password = conf.password }
    local reply <const> = assert(client:request("POST", "/credentials", { json = login }))
    local key <const> = type(reply.json) == "table" and reply.json.key
    if type(key) ~= "string" then fail.raise("protocol", "%s: the login brought no session key", conf.hostname) end
    return { ["X-HP3PAR-WSAPI-SessionKey"] = key }, key
  end,
  lost = function(why) return why.status == 401 or why.status == 403 and code_of(why) == LOST end,
  logout = function(client, key) return client:request("DELETE", "/credentials/" .. key) end,
}

-- Not all firmware knows all filters, and some passes over them: compare what comes back. None may be a 404.
local function all(self, path, filter)
  local options <const> = filter and { query = { query = ('"%s"'):format(filter) } } or nil
  local reply <const>, why <const> = self.api:ask("GET", path, options)
  if reply then
    local answer <const> = type(reply.json) == "table" and reply.json or {}
    return answer.members or answer.total == 0 and {} or self.api:raise_senseless(path)
  end
  if filter and why.kind == "not_found" and why.code then return {} end
  if filter and why.status == 400 then return all(self, path) end
  error(why)
end

-- One thing by its name, or nil.
local function one(self, path, name)
  local found <const> = self.api:find(path .. codec.percent(name))
  if found and not found.id then self.api:raise_senseless(path .. name) end
  return found
end

---@param conf table as every vendor's
---@return primera3par.Array array
function M.open(conf)
  local self <const> = setmetatable({}, Array)
  self.api = rest.open(conf, {
    path = "/api/v1",
    headers = { Accept = "application/json" },
    errors = ERRORS,
    explain = explain,
    session = SESSION,
  })
  self.system = one(self, "/", "system") or self.api:raise_senseless "/system"
  return self
end

function Array:info()
  return { vendor = "HPE", product = "Primera/3PAR", model = self.system.model, version = self.system.systemVersion }
end

-- Volumes --------------------------------------------------------------------------------------------------------------------------

local function lun_from(record)
  local wwn <const>, size <const> = tostring(record.wwn):lower(), math.tointeger(record.sizeMiB)
  if #wwn ~= WWN_LENGTH or wwn:find "%X" or wwn:sub(1, #OUI) ~= OUI or not size then
    fail.raise("protocol", 'volume %s has WWN "%s" and %s MiB', record.name, record.wwn, record.sizeMiB)
  end
  return { id = wwn, name = record.name, naa = "naa." .. wwn, size_bytes = size << 20, serial = record.wwn }
end

---@param pv { name: string, handle: string, driver: string, attributes: table<string, string> }
---@return lib.Lun lun
function Array:lun_of(pv)
  local name <const> = (pv.handle or ""):sub(1, VOLUME_NAME_LENGTH) -- all that the array keeps of it
  if name == "" then fail.raise("config", "PersistentVolume %s has no volumeHandle", pv.name) end
  local record <const> = one(self, "/volumes/", name)
  if record and record.name == name then return lun_from(record) end
  local hint <const> = "check that the PersistentVolume is of this array, and that the account sees its domain"
  fail.advise("not_found", hint, "no volume %s on %s (from volumeHandle %s)", name, self.api.site, pv.handle)
end

-- What a device or a vVol is to the array: the field that says it, and its value. nil for others' devices.
local function identity(by)
  local wwn <const> = device.own(by, OUI, WWN_LENGTH)
  if wwn then return "wwn", wwn:upper() end
  if by.vvol then return "uuid", device.vvol(by.vvol) end
end

--- By device or by vVol.
---@param by { naa: string?, vvol: string? }
---@return lib.Lun? lun
function Array:find_lun(by)
  local field <const>, value <const> = identity(by)
  if not field then return nil end
  for _, record in ipairs(all(self, "/volumes", ("%s EQ %s"):format(field, value))) do
    if tostring(record[field]):lower() == value:lower() then return lun_from(record) end
  end
end

-- Hosts and host sets --------------------------------------------------------------------------------------------------------------

-- The array takes 27 characters; what is longer becomes a digest, always the same.
local function set_name(name) return #name <= SET_NAME_LENGTH and name or "xcopy-" .. codec.sha256(name):sub(1, 21) end

-- Those without a name are ports that have logged in and belong to nobody.
local function all_hosts(self)
  local hosts <const> = {}
  for _, host in ipairs(all(self, "/hosts")) do
    local ports <const> = list.map(host.FCPaths or {}, function(path) return path.wwn end)
    for _, path in ipairs(host.iSCSIPaths or {}) do
      ports[#ports + 1] = path.name
    end
    if host.name then hosts[#hosts + 1] = { name = host.name, ports = ports } end
  end
  return hosts
end

local function owners_of(self, initiators)
  return list.filter(all_hosts(self), function(host) return initiator.among(initiators, host.ports)[1] end)
end

-- A host that holds one of these initiators is this ESXi host, whatever else was registered with it in the course of years: the array
-- lets a port be in one host only.
local function host_from(name, members, initiators)
  local names <const>, ports <const> = {}, {}
  for i, member in ipairs(members) do
    local ids <const> = list.map(initiator.among(initiators, member.ports), function(port) return port.id end)
    names[i] = member.name
    for _, id in ipairs(ids[1] and ids or member.ports) do
      ports[#ports + 1] = id
    end
  end
  return { id = SET .. name, name = SET .. name, members = names, ports = ports, ours = true }
end

--- At most one, the host set of that name.
---@return lib.ArrayHost[]
function Array:hosts_of(initiators, name)
  local set <const> = one(self, "/hostsets/", set_name(name))
  if not set then return {} end
  local is_member <const> = {}
  for _, member in ipairs(set.setmembers or {}) do
    is_member[member] = true
  end
  local members <const> = list.filter(all_hosts(self), function(host) return is_member[host.name] end)
  return { host_from(set.name, members, initiators) }
end

local function wire(port) return port.kind == "fc" and initiator.wwpn(port.id) or port.id end

-- The array has no host with these ports: one of our own, which holds those of one fabric. They may have got an owner meanwhile.
local function make_host(self, name, initiators)
  local hint <const> = "the ESXi host needs an iSCSI or FC adapter that reaches the array"
  local fabric <const>, chosen <const>, left_out <const> = initiator.choose(initiators, "a host", hint)
  if left_out then log.info("initiators left out", { why = left_out }) end
  local ports <const> = list.map(chosen, wire)
  local body <const> = { name = name, persona = PERSONA_VMWARE, [fabric == "fc" and "FCWWNs" or "iSCSINames"] = ports }
  local made <const>, why <const> = self.api:change("POST", "/hosts", body)
  if made then return { { name = name, ports = ports } } end
  local owners <const> = why.kind == "conflict" and owners_of(self, initiators) or {}
  if owners[1] then return owners end
  error(fail.wrap(why, "make host %s of %s on %s", name, table.concat(ports, ", "), self.api.site))
end

--- A host set of the hosts that own the initiators, which stay as they are; of a host of our own where there is none.
---@return lib.ArrayHost
function Array:create_host(name, initiators)
  local full <const> = set_name(name)
  local members = owners_of(self, initiators)
  if not members[1] then members = make_host(self, full, initiators) end
  local host <const> = host_from(full, members, initiators)
  local made <const>, why <const> = self.api:change("POST", "/hostsets", { name = full, setmembers = host.members })
  if made then return host end
  if why.code == NO_HOST then -- another run has just removed it
    why.kind, why.refused = "busy", true
  end
  error(fail.wrap(why, "make host set %s of %s on %s", full, list.names(members), self.api.site))
end

-- Exports: VLUN templates. The active rows tell of paths, and bear the names of the set's members.
local function templates(self, field, value)
  local rows <const> = all(self, "/vluns", ("%s EQ %s"):format(field, value))
  return list.filter(rows, function(row) return row[field] == value and not row.active end)
end

--- The set, then the host of our name. The array keeps what is exported to, and hosts that are in a set.
---@return "removed"|"in use" outcome
function Array:remove_host(host)
  if templates(self, "hostname", host.id)[1] then return "in use" end
  local name <const> = codec.percent(host.id:sub(#SET + 1))
  for _, path in ipairs { "/hostsets/", "/hosts/" } do
    local gone <const>, why <const> = self.api:remove(path .. name)
    if not gone and why.kind == "conflict" and why.code then return "in use" end
    fail.assert(gone, why, "remove %s%s", path, name)
  end
  return "removed"
end

-- Exports --------------------------------------------------------------------------------------------------------------------------

---@return lib.ArrayHost[] hosts each with `number`, the LUN number it sees
function Array:maps_of(lun)
  local hosts <const> = {}
  for _, row in ipairs(templates(self, "volumeName", lun.name)) do
    if (row.hostname or "") ~= "" then -- else to whoever comes through a port
      hosts[#hosts + 1] = { id = row.hostname, name = row.hostname, number = row.lun }
    end
  end
  return hosts
end

--- What the host sees now; each is fit for `unmap`.
---@return lib.Lun[]
function Array:luns_of(host)
  local luns <const> = {}
  for _, row in ipairs(templates(self, "hostname", host.id)) do
    local record <const> = one(self, "/volumes/", row.volumeName)
    if record then luns[#luns + 1] = lun_from(record) end
  end
  return luns
end

-- One that neither the set nor a member of it uses.
local function free_number(self, host)
  local used <const> = {}
  for _, name in ipairs { host.id, table.unpack(host.members or {}) } do
    for _, row in ipairs(all(self, "/vluns", "hostname EQ " .. name)) do
      if row.hostname == name then used[row.lun] = true end
    end
  end
  for number = LUN_FIRST, LUN_LAST do
    if not used[number] then return number end
  end
  fail.raise("conflict", "%s uses all LUN numbers from %d to %d", host.name, LUN_FIRST, LUN_LAST)
end

--- Show `lun` to `host`; it comes back with `number`.
---@return "made"|"existing" outcome
---@return lib.Lun lun
function Array:map(lun, host)
  local map <const> = list.find(self:maps_of(lun), "id", host.id)
  lun.number = map and map.number
  if map then return "existing", lun end
  -- 3PAR refuses autoLun without a number, Primera a number without autoLun.
  local body <const> = { volumeName = lun.name, hostname = host.id, lun = free_number(self, host), autoLun = true }
  local reply <const>, why <const> = self.api:ask("POST", "/vluns", { json = body })
  local made <const> = fail.assert(reply, why, "export volume %s to %s as LUN %d", lun.name, host.name, body.lun)
  lun.number = math.tointeger((made.headers.location or ""):match ",(%d+),") or body.lun
  return "made", lun
end

--- What is not exported, or gone, counts as unmapped.
function Array:unmap(lun, host)
  for _, row in ipairs(templates(self, "volumeName", lun.name)) do
    if row.hostname == host.id and not row.portPos then
      local path <const> = ("/vluns/%s,%d,%s"):format(codec.percent(lun.name), row.lun, codec.percent(host.id, ":"))
      local gone <const>, why <const> = self.api:remove(path)
      fail.assert(gone, why, "take the export of volume %s to %s away", lun.name, host.name)
    end
  end
  return true
end

-- Copies: physical, offline --------------------------------------------------------------------------------------------------------

local function refuse_exported(self, target)
  local seers <const> = list.map(templates(self, "volumeName", target.name), function(row)
    local at <const> = row.portPos
    local port <const> = at and ("port %d:%d:%d"):format(at.node, at.slot, at.cardPort)
    return { name = row.hostname ~= "" and row.hostname or port or "a port" }
  end)
  if not seers[1] then return end
  local hint <const> = "the array copies onto no volume that is seen: take these exports away, or let the host copy"
  fail.advise("conflict", hint, "volume %s is exported to %s", target.name, list.names(seers))
end

-- The task's name is all that tells of a copy whose start was not answered.
local function running_task(self, source, target)
  local name <const> = ("%s->%s"):format(source.name, target.name)
  for _, task in ipairs(all(self, "/tasks")) do
    if task.type == VV_COPY and task.status == ACTIVE and task.name == name then return task end
  end
end

local function raise_uncopied(self, why, source, target)
  if why.status == 403 and why.kind ~= "denied" then
    refuse_exported(self, target)
    local record <const> = one(self, "/volumes/", source.name)
    if record and (record.snapCPG or "") == "" then
      why.kind = "unsupported"
      why.hint = "such a copy needs a snapshot: give the source a snapshot CPG (setvv -snp_cpg), or let the host copy: "
        .. "DISABLE_RDM_METHOD or DISABLE_VVOL_METHOD"
    end
  end
  error(fail.wrap(why, "copy volume %s onto %s", source.name, target.name))
end

--- Overwrite `target` with `source`. A copy of these two that runs already is the one that was asked for.
---@return { task: integer? } handle
function Array:copy_start(_, source, target)
  local running <const> = running_task(self, source, target)
  if running then return { task = running.id } end
  if target.size_bytes < source.size_bytes then
    fail.raise("config", "volume %s is smaller than %s", target.name, source.name)
  end
  refuse_exported(self, target)
  local parameters <const> =
    { destVolume = target.name, online = false, saveSnapshot = false, priority = PRIORITY_MEDIUM }
  local body <const> = { action = "createPhysicalCopy", parameters = parameters }
  local started <const>, why <const> = self.api:change("POST", "/volumes/" .. codec.percent(source.name), body)
  if not started then raise_uncopied(self, why, source, target) end
  return { task = started.taskid }
end

local function task_of(self, copy)
  local handle <const> = type(copy.handle) == "table" and copy.handle
  if not handle or not handle.task then return running_task(self, copy.source, copy.target) end
  return one(self, "/tasks/", tostring(handle.task))
end

---@param copy lib.ArrayCopy
---@return lib.CopyState? state nil when the array knows no such task
function Array:copy_poll(_, copy)
  local task <const> = task_of(self, copy)
  if not task then return nil end
  local steps <const> = task.totalSteps or 0
  return {
    state = task.status == DONE and "done" or task.status == ACTIVE and "running" or "failed",
    percent = steps > 0 and 100 * (task.completedSteps or 0) // steps or nil,
    reason = ("task %s (%s) was cancelled or failed, status %s"):format(task.id, task.name, task.status),
  }
end

--- The array takes the destination out of the copy; its task ends a little later.
function Array:copy_stop(id, copy)
  local function is_over()
    local found <const> = self:copy_poll(id, copy)
    return not found or found.state ~= "running"
  end
  if is_over() then return true end
  local path <const> = "/volumes/" .. codec.percent(copy.target.name)
  local stopped <const>, why <const> = self.api:change("PUT", path, { action = STOP_COPY })
  if stopped then
    return poll.wait("stopping the copy onto " .. copy.target.name, { within_s = STOP_WITHIN_S }, is_over)
  end
  return fail.assert(is_over(), why, "stop the copy onto volume %s", copy.target.name)
end

function Array:close() self.api:close() end

return M
