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
local VERDICTS <const> = {
  { name = "mapped", kind = "conflict", codes = { [81] = true, [4037] = true }, texts = { "already mapped" } },
  { name = "unmapped", kind = "conflict", codes = { [84] = true, [4039] = true }, texts = { "not mapped" } },
  {
    name = "missing",
    kind = "not_found",
    codes = { [78] = true, [79] = true },
    texts = { "could not find the volume", "could not find the sdc" },
  },
  { name = "passing", kind = "busy", codes = {}, texts = { "try again", "not connected" } },
}
local REASONS <const> = {
  [404] = "Not Found",
  [500] = "Internal Server Error",
  [502] = "Bad Gateway",
  [503] = "Service Unavailable",
  [504] = "Gateway Timeout",
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
  for _, verdict in ipairs(VERDICTS) do
    if verdict.codes[code] then return verdict end
  end
  for _, verdict in ipairs(VERDICTS) do
    for _, known in ipairs(verdict.texts) do
      if lower:find(known, 1, true) then return verdict end
    end
  end
end

-- Newer releases say it in the details.
local function text_of(said)
  local detail <const> = type(said.details) == "table" and said.details[1] or {}
  return said.message == "Error with details" and (detail.errorMessage or detail.error) or said.message
end

-- What the array said in place of what HTTP did. An array's own no is final, though the status is that of a broken server.
local function explain(why)
  local said <const> = why.json
  local type_of_body <const> = why.headers and why.headers["content-type"] or ""
  if type(said) == "table" and said.message then
    local text <const> = text_of(said)
    why.code = said.errorCode
    why.message = ("PowerFlex says: %s (code %s)"):format(text, why.code)
    if not (why.refused or why.unanswered) then
      local verdict <const> = verdict_of(why.code, text) or {}
      why.verdict, why.kind = verdict.name, verdict.kind or why.kind
      if why.status == 500 then why.status = nil end
    end
  elseif type_of_body:find "html" then
    why.message = ("%s %s, and a page for people"):format(why.message, REASONS[why.status] or "")
    why.hint = ASK_HOSTNAME
  end
  if why.status == 403 then why.hint = "give the account a role that may map volumes, such as FrontendConfigure" end
  return fail.of(why)
end

local function senseless(self, path)
  return fail.hint(fail.new("protocol", "%s: the answer to %s makes no sense", self.api.site, path), ASK_HOSTNAME)
end

--- Raises.
---@return table answer
function System:get(path)
  local answer <const> = assert(self.api:ask("GET", path)).json
  return type(answer) == "table" and answer or error(senseless(self, path))
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
  local reply, why = client:get "/api/login"
  if not reply and why.status ~= 404 then error(explain(why)) end
  local token, refresh
  if reply then
    token = string_in(reply)
  else
    local login <const> = { username = conf.username, password = conf.password }
    reply, why = client:post("/rest/auth/login", { json = login })
    if not reply then error(explain(why)) end
    token, refresh = (reply.json or {}).access_token, (reply.json or {}).refresh_token
  end
  if not token or not token:find "^[%w%-._~+/=]+$" then error(senseless(self, "the login")) end
  return token, refresh
end

local function ask_version(self, client, bears)
  local reply <const>, why <const> = client:get("/api/version", { headers = { Authorization = secret.new(bears) } })
  if not reply then error(explain(why)) end
  local version <const> = string_in(reply):match "^%d+%.%d+"
  if not version then error(senseless(self, "/api/version")) end
  self.gateway = math.tointeger(tonumber(version:match "^%d+"))
  local form <const> = "application/json;version=" .. version
  client:set_headers { Accept = form, ["Content-Type"] = form }
end

local function log_in(self, conf, client)
  local token <const>, refresh <const> = get_token(self, conf, client)
  if not self.gateway then ask_version(self, client, authorization(token, refresh)) end
  return { Authorization = authorization(token, refresh or self.gateway >= BEARER_SINCE) }, refresh
end

-- What is not logged out of ends by itself within minutes.
local function log_out(client, refresh)
  local done, why
  if refresh then
    done, why = client:post("/rest/auth/logout", { json = { refresh_token = refresh } })
  else
    done, why = client:get "/api/logout"
  end
  if not done then log.info("not logged out of the array", { why = why.message }) end
end

-- The system -----------------------------------------------------------------------------------------------------------------------

local function titled(record)
  local has_name <const> = record.name and record.name ~= ""
  return has_name and ("%s (%s)"):format(record.name, record.id) or record.id
end

-- By its id alone: one without a name is not any.
local function find_system(self)
  local seen <const> = self:get "/api/types/System/instances"
  local found <const> = list.find(seen, "id", self.id)
  if not found then
    local why <const> =
      fail.new("config", "%s: no system %s, but %s", self.api.site, self.id, words.list(list.map(seen, titled)))
    error(fail.hint(why, "set POWERFLEX_SYSTEM_ID, or STORAGE_HOSTNAME to the gateway of that system"))
  end
  local version <const> = (found.systemVersionName or ""):match "R(%S+)"
  if (tonumber(version and version:match "^%d+") or 0) >= OTHER_CALLS_SINCE then
    fail.raise("unsupported", "system %s is PowerFlex %s: releases before 5 can be used", self.id, version)
  end
  return version
end

---@param conf { hostname: string, username: string?, password: Secret?, tls: Trust?, timeout_s: number?, system_id: string? }
---@return powerflex.System array
function M.open(conf)
  local id <const> = (conf.system_id or ""):lower():match "^%s*(.-)%s*$"
  if not id:find("^" .. ID .. "$") then
    error(fail.hint(fail.new("config", '"%s" is no id of a PowerFlex system', id), ASK_SYSTEM))
  end
  conf.hostname = conf.hostname:gsub("/api/*$", "") -- as Secrets of the CSI driver may have it
  local self <const> = setmetatable({ id = id }, System)
  self.api = rest.open(conf, {
    basic = true,
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
  local reply <const>, why <const> = self.api:ask("GET", "/api/instances/Volume::" .. id)
  if not reply and why.verdict == "missing" then return nil end
  local record <const> = assert(reply, why).json
  if type(record) == "table" and record.id == id and math.tointeger(record.sizeInKb) then return record end
  error(senseless(self, "/api/instances/Volume::" .. id))
end

local function id_of_name(self, name)
  local options <const> = { json = { name = name }, effect = false }
  local reply <const>, why <const> = self.api:ask("POST", "/api/types/Volume/instances/action/queryIdByKey", options)
  if not reply and why.verdict == "missing" then return nil end
  local id <const> = string_in(assert(reply, why))
  return id:match("^" .. ID .. "$") or error(senseless(self, "the question for volume " .. name)) -- an empty one would be all volumes
end

local function check_system(self, pv, system)
  if not system or system == self.id then return end
  local why <const> = fail.new("config", "volume %s is on system %s, not on %s", pv.name, system, self.id)
  error(fail.hint(why, "set POWERFLEX_SYSTEM_ID to %s, and STORAGE_HOSTNAME to its gateway", system))
end

-- The volume's id and where it comes from: the handle says it; else the name is asked for.
local function place_of(self, pv)
  local handle <const>, name <const> = (pv.handle or ""):lower(), pv.attributes.Name or ""
  if handle:find("/", 1, true) then
    local why <const> = fail.new("unsupported", "%s is an NFS volume (%s)", pv.name, handle)
    error(fail.hint(why, "use a StorageClass of block volumes"))
  end
  local system <const>, id <const> = handle:match("^(" .. ID .. ")%-(" .. ID .. ")$")
  check_system(self, pv, system)
  check_system(self, pv, (pv.attributes.StorageSystem or ""):lower():match("^" .. ID .. "$"))
  if id then return id, "handle " .. handle end
  if name ~= "" then return id_of_name(self, name), "attribute Name " .. name end
  local why <const> = fail.new("config", 'PersistentVolume %s has handle "%s" and no attribute Name', pv.name, handle)
  error(
    fail.hint(why, "a handle is <system id>-<volume id>, 16 hex digits each; or let volumeAttributes have the Name")
  )
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
    local why <const> =
      fail.new("not_found", "could not find the volume of %s on system %s (%s)", pv.name, self.id, from)
    error(fail.hint(why, "was it deleted? check that the PersistentVolume is of this array"))
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
  local hex <const> = device.identifier(by.naa or fail.raise("unsupported", "PowerFlex finds volumes by device only"))
  if #hex ~= 2 * #self.id or hex:sub(1, #self.id) ~= self.id then return nil end
  local record <const> = volume(self, hex:sub(#self.id + 1))
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

local function sdcs(self) return self:get(("/api/instances/System::%s/relationships/Sdc"):format(self.id)) end

-- Those of the ESXi host among the system's.
local function matching(seen, initiators)
  local is_wanted <const>, found <const> = {}, {}
  for _, port in ipairs(initiators) do
    is_wanted[guid_of(port.id)] = true
  end
  for _, sdc in ipairs(seen) do
    if sdc.osType == "Esx" and is_wanted[guid_of(sdc.sdcGuid)] then found[#found + 1] = sdc end
  end
  return found
end

local function pick(self, found)
  local up <const> = {}
  for _, sdc in ipairs(found) do
    if sdc.mdmConnectionState ~= "Disconnected" then up[#up + 1] = sdc end
  end
  if #up == 1 then return up[1] end
  local names <const> = words.list(list.map(found, label))
  if #up > 1 then
    local why <const> = fail.new("conflict", "system %s has %d SDCs of the ESXi host: %s", self.id, #up, names)
    error(fail.hint(why, "remove those that are no more: scini of a host has one GUID"))
  end
  local is_unapproved <const> = found[1].sdcApproved == false and ", nor approved" or ""
  local why <const> = fail.new("unreachable", "the SDC of the ESXi host is not connected%s: %s", is_unapproved, names)
  error(
    fail.hint(why, "see why scini on the host does not reach the MDMs: esxcli system module parameters list -m scini")
  )
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
  local made <const>, why = change(self, "addMappedSdc", lun, { sdcId = host.id, allowMultipleMappings = "true" })
  if made then return "made", lun end
  if why.verdict == "mapped" then return "existing", lun end
  error(fail.wrap(why, "map volume %s (%s) to %s (%s)", lun.name, lun.id, host.name, host.id))
end

--- From this SDC alone.
function System:unmap(lun, host)
  local gone <const>, why = change(self, "removeMappedSdc", lun, { sdcId = host.id })
  if gone or why.verdict == "unmapped" or why.verdict == "missing" then return true end
  error(fail.wrap(why, "unmap volume %s (%s) from %s (%s)", lun.name, lun.id, host.name, host.id))
end

function System:close() self.api:close() end

return M
