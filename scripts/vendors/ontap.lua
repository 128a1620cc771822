--- NetApp ONTAP 9 (AFF, FAS, ASA, Select, FSx) over its REST API, for volumes that Trident made with a SAN driver.
local device <const> = require "lib.device"
local fail <const> = require "lib.fail"
local http <const> = require "lunalift.http"
local initiator <const> = require "lib.initiator"
local list <const> = require "lib.list"
local log <const> = require "lunalift.log"
local pages <const> = require "lib.pages"
local poll <const> = require "lib.poll"

local IGROUPS <const> = "/api/protocols/san/igroups"
local MAPS <const> = "/api/protocols/san/lun-maps"
local LUNS <const> = "/api/storage/luns"

local LUN_FIELDS <const> = "serial_number,space.size,class,status.state"
local OUI <const> = "600a0980" -- an NAA is this, then the 12 characters of the serial number in hex
local SERIAL_LENGTH <const> = 12
local OS_TYPE <const> = "vmware"
local JOB_WITHIN_S <const> = 120

local MAPPED <const>, GROUP_ELSEWHERE <const> = "1254207", "5374878"

local ASK_SVM <const> = "check ONTAP_SVM: LUN and igroup must be in that SVM, and the account must see them"
local ASK_OS_TYPE <const> = "take the initiator out of the other igroup, or give that igroup the OS type vmware"
local ASK_ID <const> = "check the adapter's name on the ESXi host"

-- What the codes of ONTAP's errors mean to us: first, last, kind, hint. All others stay as their HTTP status says.
local MEANINGS <const> = {
  { 3, 3, "unsupported", "this ONTAP does not know the call: it takes 9.6 or later, and Trident 9.12.1" },
  { 4, 4, "not_found" },
  { 6, 6, "denied", "give the account's role access to storage/luns and protocols/san" },
  { 1254193, 1254193, "conflict", "unmap the LUN from the other igroup, or take the initiator out of one of the two" },
  { 1254201, 1254201, "not_found" },
  { 1254207, 1254207, "conflict" },
  { 1254324, 1254324, "conflict", "two maps of this host would have one LUN number: unmap one of them" },
  { 2621462, 2621462, "config", ASK_SVM },
  { 2621706, 2621707, "config", ASK_SVM },
  { 5373966, 5373966, "unsupported", "the SVM serves NVMe: use one that serves iSCSI or FC" },
  { 5373969, 5373993, "config", ASK_ID },
  { 5374023, 5374023, "conflict" },
  { 5374038, 5374039, "config", ASK_ID },
  { 5374053, 5374053, "busy", "a restore runs on this LUN: try again when it is over" },
  { 5374316, 5374316, "busy", "a LUN move runs: try again when it is over" },
  { 5374329, 5374329, "unsupported", "a vVol is bound by vSphere, never mapped" },
  { 5374573, 5374584, "config", "give every node that serves the SVM an interface of that protocol" },
  { 5374732, 5374732, "conflict", ASK_OS_TYPE },
  { 5374734, 5374734, "conflict", ASK_OS_TYPE },
  { 5374852, 5374852, "not_found" },
  { 5374875, 5374875, "not_found", ASK_SVM },
  { 5374878, 5374878, "not_found", ASK_SVM },
  { 5374922, 5374922, "not_found" },
}

---@type lib.Vendor
local M <const> = {
  api = 1,
  name = "ontap",
  title = "NetApp ONTAP 9",
  drivers = { "csi.trident.netapp.io" },
  fabrics = { "iscsi", "fc" },
  limits = { requests_per_s = 20 },
  options = {
    svm = { type = "string", env = "ONTAP_SVM", help = "SVM of the volumes; needed if the account sees more than one" },
  },
  maintainer = "Lunalift",
  status = "stable",
}

---@class ontap.Svm : lib.Array
---@field api HttpClient
---@field site string host and user, for messages
---@field svm { uuid: string, name: string }
local Svm <const> = {}
Svm.__index = Svm

-- Asking ---------------------------------------------------------------------------------------------------------------------------

-- What ONTAP said in place of what HTTP did; `code` is its code, a string.
local function explain(self, why)
  local said <const> = type(why.json) == "table" and why.json.error
  if why.status == 401 then
    why.refused = nil -- true for sessions that end; here sending it again is a step towards a locked account
    why.message = self.site .. ": user name or password refused"
    why.hint = "check STORAGE_USERNAME and STORAGE_PASSWORD; the account needs the application http (REST)"
  elseif why.status == 404 and not said then
    why.hint = "no ONTAP says it so: STORAGE_HOSTNAME must name the management LIF of a cluster or SVM"
  elseif said then
    local number <const> = tonumber(said.code) or -1
    why.code, why.at = tostring(said.code), said.target
    local at <const> = said.target and ", at " .. said.target or ""
    why.message = ("ONTAP says: %s (code %s%s)"):format(said.message, said.code, at)
    local is_verdict <const> = not (why.refused or why.unanswered) -- a 503 or 504 is none, whatever code it brings
    for _, meaning in ipairs(MEANINGS) do
      if is_verdict and number >= meaning[1] and number <= meaning[2] then
        why.kind, why.hint, why.refused = meaning[3], meaning[4], meaning[3] == "busy" or nil
      end
    end
  end
  return fail.of(why)
end

-- Newer releases, and replicated igroups, answer 202 and go on in a job.
local function finish(self, job)
  local path <const>, query <const> = "/api/cluster/jobs/" .. job.uuid, { fields = "state,message,code,error" }
  local ended <const> = poll.wait("job " .. job.uuid .. " of ONTAP", { within_s = JOB_WITHIN_S }, function()
    local found <const> = assert(self:ask("GET", path, { query = query }))
    return (found.state == "success" or found.state == "failure") and found
  end)
  if ended.state == "success" then return {} end
  local why <const> = fail.new("failed", "job %s failed", job.uuid)
  why.json = { error = ended.error or { message = ended.message, code = ended.code } }
  return nil, explain(self, why)
end

--- One request.
---@return table? answer the decoded body, {} for none
---@return Fail? why with ONTAP's words and code
function Svm:ask(method, path, options)
  local reply <const>, why = self.api:request(method, path, options)
  if not reply then return nil, explain(self, why) end
  local answer <const> = type(reply.json) == "table" and reply.json or {}
  if reply.status == 202 and answer.job then return finish(self, answer.job) end
  return answer
end

--- All records, of this SVM alone once it is known. Filters are patterns: compare what comes back.
function Svm:list(path, query)
  if self.svm then query["svm.uuid"] = self.svm.uuid end
  return pages.all(function(href)
    local answer <const> = assert(self:ask("GET", href or path, not href and { query = query } or nil))
    if type(answer.records) ~= "table" then
      fail.raise("protocol", "%s: the answer to %s holds no records", self.site, path)
    end
    return answer.records, answer._links and answer._links.next and answer._links.next.href
  end)
end

-- The SVM --------------------------------------------------------------------------------------------------------------------------

local function pick_svm(site, seen, wanted)
  local found <const> = wanted and list.find(seen, "name", wanted) or not wanted and #seen == 1 and seen[1]
  if found then return found end
  local what <const> = wanted and "no SVM " .. wanted or "cannot derive SVM"
  local why <const> = fail.new("config", "%s: %s, the account sees: %s", site, what, list.names(seen))
  error(fail.hint(why, "set ONTAP_SVM to the volumes' SVM, or STORAGE_HOSTNAME to the SVM management LIF"))
end

---@param conf { hostname: string, username: string?, password: Secret?, tls: Trust?, timeout_s: number?, svm: string? }
---@return ontap.Svm array
function M.open(conf)
  if not (conf.username and conf.password) then
    local why <const> = fail.new("config", "%s: ONTAP needs a user name and a password", conf.hostname)
    error(fail.hint(why, "set STORAGE_USERNAME and STORAGE_PASSWORD; STORAGE_TOKEN is of no use with ONTAP"))
  end
  local self <const> = setmetatable({ site = ("%s as %s"):format(conf.hostname, conf.username) }, Svm)
  self.api = http.client {
    base = conf.hostname:gsub("/+$", ""),
    username = conf.username,
    password = conf.password,
    headers = { Accept = "application/json" },
    tls = conf.tls,
    timeout_s = conf.timeout_s,
  }
  self.svm = pick_svm(self.site, self:list("/api/svm/svms", { name = "*" }), conf.svm ~= "" and conf.svm or nil)
  return self
end

--- `version` is absent when the role may not read it.
function Svm:info()
  local cluster <const>, why = self:ask("GET", "/api/cluster", { query = { fields = "version" } })
  if not cluster and why.kind ~= "denied" then error(why) end
  local v <const> = cluster and cluster.version
  local version <const> = v and ("%d.%d.%d"):format(v.generation, v.major, v.minor)
  return { vendor = "NetApp", product = "ONTAP", model = "", version = version, svm = self.svm.name }
end

--- iSCSI has one name a SVM; an FC interface each has its own.
function Svm:targets()
  local found <const> = {}
  for _, service in ipairs(self:list("/api/protocols/san/iscsi/services", { fields = "enabled,target.name" })) do
    if service.enabled ~= false and service.target then
      found[#found + 1] = { kind = "iscsi", id = service.target.name }
    end
  end
  for _, port in ipairs(self:list("/api/network/fc/interfaces", { fields = "enabled,state,wwpn,data_protocol" })) do
    local serves <const> = port.enabled ~= false and port.state ~= "offline" and port.data_protocol == "fcp"
    if serves and port.wwpn then found[#found + 1] = { kind = "fc", id = port.wwpn } end
  end
  return found
end

-- Volumes --------------------------------------------------------------------------------------------------------------------------

local function lun_from(self, record)
  local serial <const>, size <const> = record.serial_number or "", record.space and record.space.size
  if #serial ~= SERIAL_LENGTH then fail.raise("protocol", 'LUN %s has serial number "%s"', record.name, serial) end
  local naa <const> = "naa." .. OUI .. device.hex(serial)
  return { id = record.uuid, name = record.name, naa = naa, size_bytes = size, serial = serial, svm = self.svm.name }
end

local function check_usable(record)
  local class <const>, state <const> = record.class or "regular", record.status and record.status.state
  if class ~= "regular" then fail.raise("unsupported", "LUN %s is of class %s, not regular", record.name, class) end
  if state ~= "online" then
    local why <const> = fail.new("failed", "LUN %s is %s, not online", record.name, state or "in an unknown state")
    error(fail.hint(why, "bring it online: lun online -vserver … -path %s", record.name))
  end
  return record
end

-- Where Trident says that the volume is: LUN path, the attribute that said so, SVM (economy, ASA r2), FlexVol to search (ontap-san).
local function place_of(pv)
  local id <const>, name <const> = pv.attributes.internalID or "", pv.attributes.internalName or ""
  if id == "" and name == "" then
    fail.raise("config", "neither internalID nor internalName attribute found on PersistentVolume %s", pv.name)
  end
  local is_file <const> = pv.attributes.protocol == "file"
  if is_file or id:find("/namespace/", 1, true) or id:find("/qtree/", 1, true) then
    local what <const> = id ~= "" and "internalID " .. id or "internalName " .. name
    local why <const> = fail.new("unsupported", "%s is not a SCSI LUN (NVMe namespace/qtree)", what)
    error(fail.hint(why, "use a StorageClass whose Trident driver is ontap-san or ontap-san-economy, over iSCSI or FC"))
  end
  if id == "" then return { path = "/vol/" .. name .. "/lun0", from = "internalName " .. name, flexvol = name } end
  local place <const> = { from = "internalID " .. id, svm = id:match "^/svm/([^/]+)/" }
  place.path = id:match "^/svm/[^/]+/lun/(.+)$" -- ASA r2 has no volumes around its LUNs
  if place.path then return place end
  local rest <const> = id:match "/flexvol/(.*)$"
    or fail.raise("config", "invalid internalID format: missing /flexvol/ in %s", id)
  local flexvol <const>, lun <const> = rest:match "^(.-)/lun/(.+)$"
  if not lun then fail.raise("config", "invalid internalID format: missing /lun/ in %s", id) end
  place.path = ("/vol/%s/%s"):format(flexvol, lun)
  return place
end

---@param pv { name: string, handle: string, driver: string, attributes: table<string, string> }
---@return lib.Lun lun
function Svm:lun_of(pv)
  local place <const> = place_of(pv)
  if place.svm and place.svm ~= self.svm.name then
    local why <const> = fail.new("config", "volume %s is in SVM %s, not %s", pv.name, place.svm, self.svm.name)
    error(fail.hint(why, "set ONTAP_SVM to %s", place.svm))
  end
  local found = list.find(self:list(LUNS, { name = place.path, fields = LUN_FIELDS }), "name", place.path)
  if not found and place.flexvol then -- an imported volume keeps its LUN's name: the only one of the FlexVol is meant
    local inside <const> = self:list(LUNS, { name = "/vol/" .. place.flexvol .. "/*", fields = LUN_FIELDS })
    found = #inside == 1 and inside[1] or nil
    place.from = ("%s; LUNs of that FlexVol: %s"):format(place.from, list.names(inside))
  end
  if found then return lun_from(self, check_usable(found)) end
  local why <const> = fail.new("not_found", "no LUN %s in SVM %s (from %s)", place.path, self.svm.name, place.from)
  error(fail.hint(why, "check that the PersistentVolume is of this array and that ONTAP_SVM is its SVM"))
end

--- By device name; nil for other vendors' devices too.
---@param by { naa: string }
---@return lib.Lun? lun
function Svm:find_lun(by)
  local hex <const> = device.identifier(by.naa or fail.raise("unsupported", "ONTAP finds volumes by naa only"))
  if hex:sub(1, #OUI) ~= OUI or #hex ~= #OUI + 2 * SERIAL_LENGTH then return nil end
  local serial <const> = device.bytes(hex:sub(#OUI + 1))
  local seen <const> = self:list(LUNS, { serial_number = serial, fields = LUN_FIELDS })
  local found <const> = list.find(seen, "serial_number", serial)
  return found and lun_from(self, found) or nil
end

-- Hosts: igroups -------------------------------------------------------------------------------------------------------------------

-- An initiator as ONTAP writes it, and as a message shows it.
local function wire(port) return port.kind == "fc" and initiator.colons(initiator.wwpn(port.id)) or port.id end

local function label(port) return ("%s (%s)"):format(wire(port), port.adapter) end

-- An igroup has one protocol, so the host has one. Returns it, the initiators, and a text of those left out, if any.
local function choose(ports)
  local fabric <const>, chosen <const>, left_out <const> = initiator.one_fabric(ports)
  local unused <const> = #left_out > 0 and table.concat(left_out, "; ") or "none given"
  if not fabric then
    local why <const> = fail.new("config", "no initiator that an igroup can hold: %s", unused)
    error(fail.hint(why, "the ESXi host needs an iSCSI or FC adapter that reaches the SVM: NVMe has no XCOPY"))
  end
  return fabric == "fc" and "fcp" or "iscsi", chosen, left_out[1] and unused
end

local function igroup(self, name, protocol)
  local found <const> = self:list(IGROUPS, { name = name, fields = "protocol,os_type,initiators.name" })
  local group <const> = list.find(found, "name", name)
  if not group then return nil end
  if (group.protocol == protocol or group.protocol == "mixed") and group.os_type == OS_TYPE then return group end
  local why <const> = fail.new("conflict", "igroup %s is for %s and %s", name, group.protocol, group.os_type)
  error(fail.hint(why, "rename or delete it: one for %s and %s is made then", protocol, OS_TYPE))
end

local function full_name(name, protocol) return name .. "-" .. protocol end

local function host_from(group)
  local ports <const> = list.map(group.initiators or {}, function(port) return port.name end)
  return { id = group.uuid, name = group.name, protocol = group.protocol, ports = ports, ours = true }
end

--- At most one, by name: an initiator may be in many igroups, so that those of others are not for us.
---@return lib.ArrayHost[]
function Svm:hosts_of(initiators, name)
  local protocol <const> = choose(initiators)
  local group <const> = igroup(self, full_name(name, protocol), protocol)
  return { group and host_from(group) }
end

--- Made and filled in one request, so that no half-filled igroup is left. One of that name is a conflict.
---@return lib.ArrayHost
function Svm:create_host(name, initiators)
  local protocol <const>, chosen <const>, left_out <const> = choose(initiators)
  if left_out then log.info("initiators left out", { why = left_out }) end
  local full <const> = full_name(name, protocol)
  local members <const> = list.map(chosen, function(port) return { name = wire(port) } end)
  local svm <const> = { uuid = self.svm.uuid }
  local body <const> = { name = full, protocol = protocol, os_type = OS_TYPE, svm = svm, initiators = members }
  local answer <const>, why <const> = self:ask("POST", IGROUPS, { query = { return_records = true }, json = body })
  if not answer then
    local ports <const> = table.concat(list.map(chosen, label), ", ")
    error(fail.wrap(why, "make igroup %s of %s in SVM %s", full, ports, self.svm.name))
  end
  local record <const> = answer.records and answer.records[1]
  local group <const> = record and record.uuid and record.initiators and record or igroup(self, full, protocol)
  local host <const> = group and host_from(group)
  if host and #initiator.missing(chosen, host.ports) == 0 then return host end
  fail.raise("protocol", "igroup %s was made and is not listed with its initiators in SVM %s", full, self.svm.name)
end

local function is_mapped(self, host) return #self:list(MAPS, { ["igroup.uuid"] = host.id, fields = "lun,igroup" }) > 0 end

--- Only when nothing is mapped to it. A host that is not there counts as removed.
---@return "removed"|"in use" outcome
function Svm:remove_host(host)
  if is_mapped(self, host) then return "in use" end
  local removed <const>, why = self:ask("DELETE", IGROUPS .. "/" .. host.id)
  if removed or why.kind == "not_found" then return "removed" end
  if not (why.refused or why.unanswered) and is_mapped(self, host) then return "in use" end -- mapped by another run meanwhile
  error(fail.wrap(why, "remove igroup %s", host.name))
end

-- LUN maps -------------------------------------------------------------------------------------------------------------------------

---@return lib.ArrayHost[] hosts each with `number`, the LUN number it sees
function Svm:maps_of(lun)
  local hosts <const> = {}
  for _, map in ipairs(self:list(MAPS, { ["lun.name"] = lun.name, fields = "svm,lun,igroup,logical_unit_number" })) do
    if map.lun.uuid == lun.id then
      hosts[#hosts + 1] = { id = map.igroup.uuid, name = map.igroup.name, number = map.logical_unit_number }
    end
  end
  return hosts
end

--- What the host sees now; each LUN is fit for `unmap`.
---@return lib.Lun[]
function Svm:luns_of(host)
  local luns <const> = {}
  for _, map in ipairs(self:list(MAPS, { ["igroup.uuid"] = host.id, fields = "lun,igroup" })) do
    local record <const> =
      list.find(self:list(LUNS, { uuid = map.lun.uuid, fields = LUN_FIELDS }), "uuid", map.lun.uuid)
    if record then luns[#luns + 1] = lun_from(self, record) end
  end
  return luns
end

local function unmappable(self, why, lun, host, maps)
  if why.code == GROUP_ELSEWHERE or why.kind == "not_found" and why.at == "igroup.uuid" then
    return fail.hint(fail.wrap(why, "igroup %s is not in SVM %s", host.name, self.svm.name), ASK_SVM)
  end
  local doing <const> = ("map LUN %s to igroup %s in SVM %s"):format(lun.name, host.name, self.svm.name)
  return fail.wrap(why, "%s (%s), mapped now to %s", doing, host.protocol or "protocol unknown", list.names(maps))
end

--- Show `lun` to `host`; it comes back with `number`.
---@return "made"|"existing" outcome
---@return lib.Lun lun
function Svm:map(lun, host)
  local maps <const> = self:maps_of(lun)
  local map, outcome = list.find(maps, "id", host.id), "existing"
  if not map then
    local refs <const> = { svm = { uuid = self.svm.uuid }, lun = { uuid = lun.id }, igroup = { uuid = host.id } }
    local answer <const>, why = self:ask("POST", MAPS, { query = { return_records = true }, json = refs })
    if not answer and why.code ~= MAPPED then error(unmappable(self, why, lun, host, maps)) end
    local record <const> = answer and answer.records and answer.records[1]
    local number <const> = record and record.logical_unit_number
    map = number and { number = number } or list.find(self:maps_of(lun), "id", host.id)
    outcome = answer and "made" or "existing"
  end
  lun.number = map and map.number
  return outcome, lun
end

--- A map, LUN or igroup that is not there counts as unmapped.
function Svm:unmap(lun, host)
  if not list.find(self:maps_of(lun), "id", host.id) then return true end
  local gone <const>, why = self:ask("DELETE", ("%s/%s/%s"):format(MAPS, lun.id, host.id))
  if gone or why.kind == "not_found" then return true end
  error(fail.wrap(why, "unmap LUN %s from igroup %s", lun.name, host.name))
end

--- Nothing to log out from: every request carries its own login.
function Svm:close() end

return M
