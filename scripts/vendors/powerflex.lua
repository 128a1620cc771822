--- Dell PowerFlex (VxFlex OS, ScaleIO) over the REST API of its gateway, for block volumes of its CSI driver. ESXi hosts see them
--- through the kernel module scini: each is an SDC, which the array knows by its GUID.
local codec <const> = require "lunalift.codec"
local device <const> = require "lib.device"
local fail <const> = require "lib.fail"
local list <const> = require "lib.list"
local log <const> = require "lunalift.log"
local rest <const> = require "lib.rest"
local secret <const> = require "lunalift.secret"
local words <const> = require "lib.words"

local ID <const> = ("%x"):rep(16)
local BEARER_SINCE <const>, OTHER_CALLS_SINCE <const> = 4, 5

-- The array refuses with status 500. What its codes mean, those before 4.0 and those since, and its texts where there is no code.
local CODES <const> = {
  [78] = "missing",
  [79] = "missing",
  [81] = "mapped",
  [84] = "unmapped",
  [4037] = "mapped",
  [4039] = "unmapped",
}
local TEXTS <const> = {
  { "already mapped", "mapped" },
  { "not mapped", "unmapped" },
  { "could not find the volume", "missing" },
  { "could not find the sdc", "missing" },
  { "try again", "passing" },
  { "not connected", "passing" },
}
local MEANINGS <const> = {
  mapped = { "conflict" },
  unmapped = { "conflict" },
  missing = { "not_found" },
  passing = { "busy" },
}
local ASK_HOSTNAME <const> = "is STORAGE_HOSTNAME the address of a PowerFlex gateway or PowerFlex Manager?"
local ASK_SYSTEM <const> = "POWERFLEX_SYSTEM_ID is systemID in the CSI driver's Secret vxflexos-config: 16 hex digits"

---@type lib.Vendor
local M <const> = {
  api = 1,
  name = "powerflex",
  title = "Dell PowerFlex",
  drivers = { "csi-vxflexos.dellemc.com" },
  fabrics = { "sdc" },
  limits = { requests_per_s = 20 },
  options = {
    system_id = {
      type = "string",
      env = "POWERFLEX_SYSTEM_ID",
      required = true,
      help = "systemID in the CSI driver's Secret vxflexos-config, 16 hex digits",
    },
  },
  maintainer = "Lunalift",
  status = "stable",
}

---@class powerflex.System : lib.Array
---@field api lib.Rest
---@field id string
---@field version string of its software: 3_6.0.354
---@field gateway? integer major version of its REST API, once it was asked
local System <const> = {}
System.__index = System

-- Asking ---------------------------------------------------------------------------------------------------------------------------

local function verdict_of(code, text)
  local lower <const> = text:lower()
  for _, known in ipairs(CODES[code] and {} or TEXTS) do
    if lower:find(known[1], 1, true) then return known[2] end
  end
  return CODES[code]
end

-- Newer releases say it in the details.
local function text_of(said)
  local detail <const> = type(said.details) == "table" and said.details[1] or {}
  return said.message == "Error with details" and (detail.errorMessage or detail.error) or said.message
end

local ERRORS <const> = {
  by = "PowerFlex",
  meanings = MEANINGS,
  hints = { [403] = "give the account a role that may map volumes, such as FrontendConfigure" },
  elsewhere = ASK_HOSTNAME,
  read = function(body)
    local text <const> = text_of(body)
    local code <const> = body.errorCode or "none"
    return text and { text = text, codes = { code, verdict_of(code, text) } }
  end,
}

-- An array's own no is final, though the status is that of a broken server.
local function explain(why)
  if why.code and why.status == 500 then why.status = nil end
end

-- The body where it is one JSON string, whose quotes some releases leave away.
local function string_in(reply)
  return type(reply.json) == "string" and reply.json or reply.body:match '^[%s"]*(.-)[%s"]*$'
end

-- The session ----------------------------------------------------------------------------------------------------------------------

local function authorization(token, is_bearer)
  return is_bearer and "Bearer " .. token or "Basic " .. codec.base64(":" .. token)
end

-- The gateway's login, for which the client sends user name and password; else that of PowerFlex Manager.
local function get_token(self, conf, client)
  local reply <const>, why <const> = client:get "/api/login"
  local token, refresh
  if reply then
    token = string_in(reply)
  elseif why.status == 404 then
    local login <const> = { username = conf.username, password = conf.password }
    local answer <const> = assert(client:post("/rest/auth/login", { json = login })).json or {}
    token, refresh = answer.access_token, answer.refresh_token
  else
    error(why)
  end
  if not token or not token:find "^[%w%-._~+/=]+$" then self.api:raise_senseless "the login" end
  return token, refresh
end

local function ask_version(self, client, bears)
  local reply <const> = assert(client:get("/api/version", { headers = { Authorization = secret.new(bears) } }))
  local version <const> = string_in(reply):match "^%d+%.%d+" or self.api:raise_senseless "/api/version"
  self.gateway = math.tointeger(tonumber(version:match "^%d+"))
  local form <const> = "application/json;version=" .. version
  client:set_headers { Accept = form, ["Content-Type"] = form }
end

local function log_out(client, refresh)
  if not refresh then return client:get "/api/logout" end
  return client:post("/rest/auth/logout", { json = { refresh_token = refresh } })
end

-- What is not to be used is logged out of: a system has few sessions.
local function raise_unused(client, token, refresh, why)
  client:set_headers { Authorization = secret.new(authorization(token, refresh)) }
  pcall(log_out, client, refresh)
  client:set_headers { Authorization = false }
  error(why)
end

local function log_in(self, conf, client)
  local token <const>, refresh <const> = get_token(self, conf, client)
  if not self.gateway then
    local known <const>, why <const> = pcall(ask_version, self, client, authorization(token, refresh))
    if not known then raise_unused(client, token, refresh, why) end
  end
  return { Authorization = authorization(token, refresh or self.gateway >= BEARER_SINCE) }, refresh
end

-- The system -----------------------------------------------------------------------------------------------------------------------

local function titled(record)
  local has_name <const> = record.name and record.name ~= ""
  return has_name and ("%s (%s)"):format(record.name, record.id) or record.id
end

-- By its id alone: one without a name is not any.
local function find_system(self)
  local seen <const> = self.api:get "/api/types/System/instances"
  local found <const> = list.find(seen, "id", self.id)
  if not found then
    local hint <const> = "set POWERFLEX_SYSTEM_ID, or STORAGE_HOSTNAME to the gateway of that system"
    local ids <const> = words.list(list.map(seen, titled))
    fail.advise("config", hint, "%s: no system %s, but %s", self.api.site, self.id, ids)
  end
  local version <const> = (found.systemVersionName or ""):match "R(%S+)"
  if (tonumber(version and version:match "^%d+") or 0) >= OTHER_CALLS_SINCE then
    fail.raise("unsupported", "system %s is PowerFlex %s: releases before 5 can be used", self.id, version)
  end
  return version
end

---@param conf table as every vendor's, with system_id
---@return powerflex.System array
function M.open(conf)
  local id <const> = (conf.system_id or ""):lower():match "^%s*(.-)%s*$"
  if not id:find("^" .. ID .. "$") then fail.advise("config", ASK_SYSTEM, '"%s" is no id of a PowerFlex system', id) end
  conf.hostname = conf.hostname:gsub("/api/*$", "") -- as Secrets of the CSI driver may have it
  local self <const> = setmetatable({ id = id }, System)
  self.api = rest.open(conf, {
    basic = true,
    errors = ERRORS,
    explain = explain,
    session = {
      login = function(client) return log_in(self, conf, client) end,
      lost = function(why) return why.status == 401 or why.status == 403 end, -- the one or the other, by release
      logout = log_out,
    },
  })
  self.version = find_system(self)
  return self
end

function System:info()
  return { vendor = "Dell", product = "PowerFlex", model = "", version = self.version, system = self.id }
end

-- Volumes --------------------------------------------------------------------------------------------------------------------------

-- nil when there is no such volume.
local function volume(self, id)
  local path <const> = "/api/instances/Volume::" .. id
  local reply <const>, why <const> = self.api:ask("GET", path)
  if not reply and why.code == "missing" then return nil end
  local record <const> = assert(reply, why).json
  if type(record) == "table" and record.id == id and math.tointeger(record.sizeInKb) then return record end
  self.api:raise_senseless(path)
end

local function id_of_name(self, name)
  local options <const> = { json = { name = name }, effect = false }
  local reply <const>, why <const> = self.api:ask("POST", "/api/types/Volume/instances/action/queryIdByKey", options)
  if not reply and why.code == "missing" then return nil end
  local id <const> = string_in(assert(reply, why))
  return id:match("^" .. ID .. "$") or self.api:raise_senseless("the question for volume " .. name) -- an empty one would be all volumes
end

local function check_system(self, pv, system)
  if not system or system == self.id then return end
  local hint <const> = ("set POWERFLEX_SYSTEM_ID to %s, and STORAGE_HOSTNAME to its gateway"):format(system)
  fail.advise("config", hint, "volume %s is on system %s, not on %s", pv.name, system, self.id)
end

-- The volume's id and where it comes from: the handle says it; else the name is asked for.
local function place_of(self, pv)
  local handle <const>, name <const> = (pv.handle or ""):lower(), pv.attributes.Name or ""
  if handle:find("/", 1, true) then
    fail.advise("unsupported", "use a StorageClass of block volumes", "%s is an NFS volume (%s)", pv.name, handle)
  end
  local system <const>, id <const> = handle:match("^(" .. ID .. ")%-(" .. ID .. ")$")
  check_system(self, pv, system)
  check_system(self, pv, (pv.attributes.StorageSystem or ""):lower():match("^" .. ID .. "$"))
  if id then return id, "handle " .. handle end
  if name ~= "" then return id_of_name(self, name), "attribute Name " .. name end
  local hint <const> = "a handle is <system id>-<volume id>, 16 hex digits each; or let volumeAttributes have the Name"
  fail.advise("config", hint, 'PersistentVolume %s has handle "%s" and no attribute Name', pv.name, handle)
end

local function lun_from(self, record)
  local name <const>, size <const> = record.name or record.id, record.sizeInKb * 1024
  return { id = record.id, name = name, naa = "eui." .. self.id .. record.id, size_bytes = size }
end

---@param pv { name: string, handle: string, driver: string, attributes: table<string, string> }
---@return lib.Lun lun
function System:lun_of(pv)
  local id <const>, from <const> = place_of(self, pv)
  local record <const> = id and volume(self, id)
  if not record then
    local hint <const> = "was it deleted? check that the PersistentVolume is of this array"
    fail.advise("not_found", hint, "could not find the volume of %s on system %s (%s)", pv.name, self.id, from)
  end
  if pv.attributes.Name and pv.attributes.Name ~= record.name then
    log.info("the volume was renamed", { volume = id, name = record.name, attribute = pv.attributes.Name })
  end
  return lun_from(self, record)
end

--- By device name; nil for other systems' and other vendors' devices.
---@param by { naa: string }
---@return lib.Lun? lun
function System:find_lun(by)
  if not by.naa then fail.raise("unsupported", "PowerFlex finds volumes by device only") end
  local hex <const> = device.own(by, self.id, 2 * #self.id)
  local record <const> = hex and volume(self, hex:sub(#self.id + 1))
  return record and lun_from(self, record)
end

-- Hosts: SDCs ----------------------------------------------------------------------------------------------------------------------

local function guid_of(text) return (text or ""):gsub("[{}%s]", ""):lower() end

-- How a message shows it.
local function label(sdc)
  local name <const> = sdc.name or sdc.sdcIp or (sdc.sdcIps or {})[1] or sdc.id
  return ("%s (%s)"):format(
    name,
    words.list { sdc.sdcGuid or "no GUID", sdc.osType or "?", sdc.mdmConnectionState or "?" }
  )
end

local function sdcs(self) return self.api:get(("/api/instances/System::%s/relationships/Sdc"):format(self.id)) end

-- Those of the ESXi host among the system's.
local function matching(seen, initiators)
  local is_wanted <const> = {}
  for _, port in ipairs(initiators) do
    is_wanted[guid_of(port.id)] = true
  end
  return list.filter(seen, function(sdc) return sdc.osType == "Esx" and is_wanted[guid_of(sdc.sdcGuid)] end)
end

local function pick(self, found)
  local up <const> = list.filter(found, function(sdc) return sdc.mdmConnectionState ~= "Disconnected" end)
  if #up == 1 then return up[1] end
  local names <const> = words.list(list.map(found, label))
  if #up > 1 then
    local hint <const> = "remove those that are no more: scini of a host has one GUID"
    fail.advise("conflict", hint, "system %s has %d SDCs of the ESXi host: %s", self.id, #up, names)
  end
  local is_unapproved <const> = found[1].sdcApproved == false and ", nor approved" or ""
  local hint <const> =
    "see why scini on the host does not reach the MDMs: esxcli system module parameters list -m scini"
  fail.advise("unreachable", hint, "the SDC of the ESXi host is not connected%s: %s", is_unapproved, names)
end

--- One, which is the ESXi host itself: nothing is ever made for it.
---@return lib.ArrayHost[]
function System:hosts_of(initiators)
  local found <const> = matching(sdcs(self), initiators)
  local sdc <const> = found[1] and pick(self, found)
  return { sdc and { id = sdc.id, name = "SDC " .. (sdc.name or sdc.sdcIp or sdc.id) } }
end

---@return string text with the GUIDs that there are
function System:why_none()
  return ("system %s has these SDCs: %s"):format(self.id, words.list(list.map(sdcs(self), label)))
end

-- Mappings -------------------------------------------------------------------------------------------------------------------------

--- The workers' are among them: they stay, with their limits.
---@return lib.ArrayHost[]
function System:maps_of(lun)
  local record <const> = volume(self, lun.id)
  return list.map(
    record and record.mappedSdcInfo or {},
    function(map) return { id = map.sdcId, name = "SDC " .. (map.sdcName or map.sdcIp or map.sdcId) } end
  )
end

local function change(self, action, lun, body)
  return self.api:ask("POST", ("/api/instances/Volume::%s/action/%s"):format(lun.id, action), { json = body })
end

---@return "made"|"existing" outcome
---@return lib.Lun lun
function System:map(lun, host)
  if list.find(self:maps_of(lun), "id", host.id) then return "existing", lun end
  local made <const>, why <const> =
    change(self, "addMappedSdc", lun, { sdcId = host.id, allowMultipleMappings = "true" })
  local is_there <const> = made or why.code == "mapped"
  fail.assert(is_there, why, "map volume %s (%s) to %s (%s)", lun.name, lun.id, host.name, host.id)
  return made and "made" or "existing", lun
end

--- From this SDC alone.
function System:unmap(lun, host)
  local gone <const>, why <const> = change(self, "removeMappedSdc", lun, { sdcId = host.id })
  local is_gone <const> = gone ~= nil or why.code == "unmapped" or why.code == "missing"
  return fail.assert(is_gone, why, "unmap volume %s (%s) from %s (%s)", lun.name, lun.id, host.name, host.id)
end

function System:close() self.api:close() end

return M
