--- NetApp ONTAP 9 (AFF, FAS, ASA, Select, FSx) over its REST API, for volumes that Trident made with a SAN driver.
local codec <const> = require "lunalift.codec"
local device <const> = require "lib.device"
local fail <const> = require "lib.fail"
local initiator <const> = require "lib.initiator"
local list <const> = require "lib.list"
local log <const> = require "lunalift.log"
local pages <const> = require "lib.pages"
local rest <const> = require "lib.rest"

local IGROUPS <const> = "/api/protocols/san/igroups"
local MAPS <const> = "/api/protocols/san/lun-maps"
local LUNS <const> = "/api/storage/luns"

local LUN_FIELDS <const> = "serial_number,space.size,class,status.state"
local OUI <const> = "600a0980" -- an NAA is this, then the 12 characters of the serial number in hex
local SERIAL_LENGTH <const> = 12
local IGROUP_NAME_LENGTH <const> = 96
local NAA_DIGITS <const> = #OUI + 2 * SERIAL_LENGTH
local OS_TYPE <const> = "vmware"
local RETURN_RECORDS <const> = { query = { return_records = true } }

local MAPPED <const>, GROUP_ELSEWHERE <const> = 1254207, 5374878

local ASK_SVM <const> = "check ONTAP_SVM: LUN and igroup must be in that SVM, and the account must see them"
local ASK_OS_TYPE <const> = "take the initiator out of the other igroup, or give that igroup the OS type vmware"

-- What the codes of ONTAP's errors mean to us: kind, hint.
local MEANINGS <const> = {
  [3] = { "unsupported", "this ONTAP does not know the call: it takes 9.6 or later, and Trident 9.12.1" },
  [4] = { "not_found" },
  [6] = { "denied", "give the account's role access to storage/luns and protocols/san" },
  [1254193] = { "conflict", "unmap the LUN from the other igroup, or take the initiator out of one of the two" },
  [1254201] = { "not_found" },
  [MAPPED] = { "conflict" },
  [1254324] = { "conflict", "two maps of this host would have one LUN number: unmap one of them" },
  [2621462] = { "config", ASK_SVM },
  [2621706] = { "config", ASK_SVM },
  [2621707] = { "config", ASK_SVM },
  [5373966] = { "unsupported", "the SVM serves NVMe: use one that serves iSCSI or FC" },
  [5374023] = { "conflict" },
  [5374053] = { "busy", "a restore runs on this LUN: try again when it is over" },
  [5374316] = { "busy", "a LUN move runs: try again when it is over" },
  [5374329] = { "unsupported", "a vVol is bound by vSphere, never mapped" },
  [5374732] = { "conflict", ASK_OS_TYPE },
  [5374734] = { "conflict", ASK_OS_TYPE },
  [5374852] = { "not_found" },
  [5374875] = { "not_found", ASK_SVM },
  [GROUP_ELSEWHERE] = { "not_found", ASK_SVM },
  [5374922] = { "not_found" },
}

local function mean(first, last, kind, hint)
  for code = first, last do
    MEANINGS[code] = { kind, hint }
  end
end

mean(5373969, 5373993, "config", "check the adapter's name on the ESXi host")
mean(5374038, 5374039, "config", "check the adapter's name on the ESXi host")
mean(5374573, 5374584, "config", "give every node that serves the SVM an interface of that protocol")

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
---@field api lib.Rest
---@field svm { uuid: string, name: string }
local Svm <const> = {}
Svm.__index = Svm

-- Asking ---------------------------------------------------------------------------------------------------------------------------

local ERRORS <const> = {
  by = "ONTAP",
  meanings = MEANINGS,
  hints = { [401] = "check STORAGE_USERNAME and STORAGE_PASSWORD; the account needs the application http (REST)" },
  elsewhere = "no ONTAP says it so: STORAGE_HOSTNAME must name the management LIF of a cluster or SVM",
  read = function(body)
    local said <const> = body.error
    return said and { text = said.message, codes = { tonumber(said.code) or said.code }, at = said.target }
  end,
}

-- Newer releases, and replicated igroups, accept a change and go on in a job.
local JOBS <const> = {
  within_s = 120,
  at = function(answer)
    if answer.job then return "/api/cluster/jobs/" .. answer.job.uuid, { fields = "state,message,code,error" } end
  end,
  state = function(job)
    local text <const> = ("its job is %s"):format(job.state or "accepted")
    if job.state == "success" then return "done", text end
    if job.state ~= "failure" then return "running", text end
    return "failed", text, { error = job.error or { message = job.message, code = job.code } }
  end,
}

--- All records, of this SVM alone once it is known. Filters are patterns: compare what comes back.
function Svm:list(path, query)
  if self.svm then query["svm.uuid"] = self.svm.uuid end
  return pages.all(function(href)
    local answer <const> = self.api:get(href or path, not href and query or nil)
    if type(answer.records) ~= "table" then self.api:raise_senseless(path) end
    return answer.records, answer._links and answer._links.next and answer._links.next.href
  end)
end

-- The SVM --------------------------------------------------------------------------------------------------------------------------

local function pick_svm(site, seen, wanted)
  local found <const> = wanted and list.find(seen, "name", wanted) or not wanted and #seen == 1 and seen[1]
  if found then return found end
  local what <const> = wanted and "no SVM " .. wanted or "cannot derive SVM"
  local hint <const> = "set ONTAP_SVM to the volumes' SVM, or STORAGE_HOSTNAME to the SVM management LIF"
  fail.advise("config", hint, "%s: %s, the account sees: %s", site, what, list.names(seen))
end

---@param conf table as every vendor's, with svm
---@return ontap.Svm array
function M.open(conf)
  local self <const> = setmetatable({}, Svm)
  self.api = rest.open(conf, { headers = { Accept = "application/json" }, basic = true, errors = ERRORS, jobs = JOBS })
  self.svm = pick_svm(self.api.site, self:list("/api/svm/svms", { name = "*" }), conf.svm ~= "" and conf.svm or nil)
  return self
end

--- `version` is absent when the role may not read it.
function Svm:info()
  local asked <const>, answer <const> = pcall(self.api.get, self.api, "/api/cluster", { fields = "version" })
  if not asked and not fail.is(answer, "denied") then error(answer) end
  local v <const> = asked and answer.version or nil
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
    local hint <const> = ("bring it online: lun online -vserver … -path %s"):format(record.name)
    fail.advise("failed", hint, "LUN %s is %s, not online", record.name, state or "in an unknown state")
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
    local hint <const> = "use a StorageClass whose Trident driver is ontap-san or ontap-san-economy, over iSCSI or FC"
    fail.advise("unsupported", hint, "%s is not a SCSI LUN (NVMe namespace/qtree)", what)
  end
  if id == "" then return { path = "/vol/" .. name .. "/lun0", from = "internalName " .. name, flexvol = name } end
  local place <const> = { from = "internalID " .. id, svm = id:match "^/svm/([^/]+)/" }
  place.path = id:match "^/svm/[^/]+/lun/(.+)$" -- ASA r2 has no volumes around its LUNs
  if place.path then return place end
  local inside <const> = id:match "/flexvol/(.*)$"
    or fail.raise("config", "invalid internalID format: missing /flexvol/ in %s", id)
  local flexvol <const>, lun <const> = inside:match "^(.-)/lun/(.+)$"
  if not lun then fail.raise("config", "invalid internalID format: missing /lun/ in %s", id) end
  place.path = ("/vol/%s/%s"):format(flexvol, lun)
  return place
end

---@param pv { name: string, handle: string, driver: string, attributes: table<string, string> }
---@return lib.Lun lun
function Svm:lun_of(pv)
  local place <const> = place_of(pv)
  if place.svm and place.svm ~= self.svm.name then
    local hint <const> = "set ONTAP_SVM to " .. place.svm
    fail.advise("config", hint, "volume %s is in SVM %s, not %s", pv.name, place.svm, self.svm.name)
  end
  local found = list.find(self:list(LUNS, { name = place.path, fields = LUN_FIELDS }), "name", place.path)
  if not found and place.flexvol then -- an imported volume keeps its LUN's name: the only one of the FlexVol is meant
    local inside <const> = self:list(LUNS, { name = "/vol/" .. place.flexvol .. "/*", fields = LUN_FIELDS })
    found = #inside == 1 and inside[1] or nil
    place.from = ("%s; LUNs of that FlexVol: %s"):format(place.from, list.names(inside))
  end
  if found then return lun_from(self, check_usable(found)) end
  local hint <const> = "check that the PersistentVolume is of this array and that ONTAP_SVM is its SVM"
  fail.advise("not_found", hint, "no LUN %s in SVM %s (from %s)", place.path, self.svm.name, place.from)
end

--- By device name; nil for other vendors' devices too.
---@param by { naa: string }
---@return lib.Lun? lun
function Svm:find_lun(by)
  if not by.naa then fail.raise("unsupported", "ONTAP finds volumes by naa only") end
  local hex <const> = device.own(by, OUI, NAA_DIGITS)
  if not hex then return nil end
  local serial <const> = device.bytes(hex:sub(#OUI + 1))
  local seen <const> = self:list(LUNS, { serial_number = serial, fields = LUN_FIELDS })
  local found <const> = list.find(seen, "serial_number", serial)
  return found and lun_from(self, found) or nil
end

-- Hosts: igroups -------------------------------------------------------------------------------------------------------------------

-- An initiator as ONTAP writes it, and as a message shows it.
local function wire(port) return port.kind == "fc" and initiator.colons(initiator.wwpn(port.id)) or port.id end

local function label(port) return ("%s (%s)"):format(wire(port), port.adapter) end

-- An igroup has one protocol, so the host has one.
local function choose(ports)
  local hint <const> = "the ESXi host needs an iSCSI or FC adapter that reaches the SVM: NVMe has no XCOPY"
  local fabric <const>, chosen <const>, left_out <const> = initiator.choose(ports, "an igroup", hint)
  return fabric == "fc" and "fcp" or "iscsi", chosen, left_out
end

local function igroup(self, name, protocol)
  local found <const> = self:list(IGROUPS, { name = name, fields = "protocol,os_type,initiators.name" })
  local group <const> = list.find(found, "name", name)
  if not group then return nil end
  if (group.protocol == protocol or group.protocol == "mixed") and group.os_type == OS_TYPE then return group end
  local hint <const> = ("rename or delete it: one for %s and %s is made then"):format(protocol, OS_TYPE)
  fail.advise("conflict", hint, "igroup %s is for %s and %s", name, group.protocol, group.os_type)
end

-- What is too long becomes a digest, always the same.
local function full_name(name, protocol)
  local full <const> = name .. "-" .. protocol
  return #full <= IGROUP_NAME_LENGTH and full or ("xcopy-%s-%s"):format(codec.sha256(name), protocol)
end

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
  local answer <const>, why <const> = self.api:change("POST", IGROUPS, {
    name = full,
    protocol = protocol,
    os_type = OS_TYPE,
    svm = { uuid = self.svm.uuid },
    initiators = list.map(chosen, function(port) return { name = wire(port) } end),
  }, RETURN_RECORDS)
  local ports <const> = table.concat(list.map(chosen, label), ", ")
  fail.assert(answer, why, "make igroup %s of %s in SVM %s", full, ports, self.svm.name)
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
  local removed <const>, why <const> = self.api:remove(IGROUPS .. "/" .. host.id)
  if removed then return "removed" end
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
    local answer <const>, why = self.api:change("POST", MAPS, refs, RETURN_RECORDS)
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
  local gone <const>, why <const> = self.api:remove(("%s/%s/%s"):format(MAPS, lun.id, host.id))
  return fail.assert(gone, why, "unmap LUN %s from igroup %s", lun.name, host.name)
end

--- Nothing to log out from: every request carries its own login.
function Svm:close() end

return M
