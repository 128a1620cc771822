--- The REST calls of a PowerFlex gateway: logins, the address book, refusals with status 500, and the pages for people of 4.x.
local codec <const> = require "lunalift.codec"
local json <const> = require "lunalift.json"
local list <const> = require "lab.list"
local timer <const> = require "lunalift.timer"

---@class powerflex.rest
local M <const> = {}

local by <const>, each <const> = list.by, list.each
local ID <const> = "^" .. ("%x"):rep(16) .. "$"
local PAGE <const> = "<!DOCTYPE html><html><head><title>%d</title></head><body>nginx</body></html>"

-- Codes before 4.0, and since.
local CODES <const> = {
  missing = { 79, 79, "Could not find the volume" },
  mapped = { 81, 4037, "The volume is already mapped to this SDC" },
  unmapped = { 84, 4039, "The volume is not mapped to SDC" },
}

-- ---- answers ----

local function answer(status, value)
  local body <const> = value == nil and "" or json.encode(value)
  return { status = status, headers = { ["Content-Type"] = "application/json;charset=utf-8" }, body = body }
end

-- Raised, and made an answer by `handle`.
local function refuse(status, text, code)
  error({ refusal = { status, { message = text, httpStatusCode = status, errorCode = code or 0 } } }, 0)
end

-- Newer releases say it in details.
local function in_details(body)
  body.details = json.array { { error = "MDM_ERROR", errorMessage = body.message } }
  body.message = "Error with details"
  return body
end

-- A page for people, of the proxy before the gateway.
local function page(status) error({ refusal = { status, PAGE:format(status) } }, 0) end

local function refuse_by(self, name)
  local code <const> = CODES[name]
  refuse(500, code[3], self.major < 4 and code[1] or code[2])
end

local function refused(self, refusal)
  local status <const>, body <const> = refusal[1], refusal[2]
  if type(body) == "table" then
    return answer(status, self.major >= 4 and status == 500 and in_details(body) or body)
  end
  return { status = status, headers = { ["Content-Type"] = "text/html" }, body = body }
end

-- ---- sessions ----

local function new_session(self, refresh)
  local token <const> = codec.base64(codec.random_hex(24))
  self.sessions[token] = { refresh = refresh, used_s = timer.now() }
  return token
end

local function unauthorized(self)
  if self.major >= 4 then page(401) end
  refuse(401, "Unauthorized")
end

local function credentials(request)
  local encoded <const> = (request.headers.authorization or ""):match "^[Bb]asic%s+(%S+)$"
  return (encoded and codec.unbase64(encoded) or ""):match "^([^:]*):(.*)$"
end

local function live(self, token)
  local session <const> = token and self.sessions[token]
  if not session then return nil end
  if timer.now() - session.used_s > self.idle_s then
    self.sessions[token] = nil
    return nil
  end
  session.used_s = timer.now()
  return token
end

-- Whose session it is: Basic with any user and the token, before 4.0; a bearer since, but for what the older logins need.
local function session_of(self, request, takes_both)
  local _, basic <const> = credentials(request)
  local bearer <const> = (request.headers.authorization or ""):match "^Bearer (%S+)$"
  local token
  if self.major < 4 then
    token = basic
  else
    token = bearer or takes_both and basic or nil
  end
  return live(self, token) or unauthorized(self)
end

-- ---- records ----

local function link(rel, href) return { rel = rel, href = href } end

local function sdc_record(self, sdc)
  local path <const> = "/api/instances/Sdc::" .. sdc.id
  return {
    id = sdc.id,
    sdcGuid = sdc.guid,
    name = sdc.name,
    sdcIp = self.major < 4 and sdc.ip or nil,
    sdcIps = json.array { sdc.ip },
    osType = sdc.os,
    hostType = "SdcHost",
    mdmConnectionState = sdc.state,
    sdcApproved = true,
    systemId = self.system_id,
    perfProfile = "HighPerformance",
    links = json.array { link("self", path), link("/api/Sdc/relationship/Volume", path .. "/relationships/Volume") },
  }
end

local function map_record(map)
  return {
    sdcId = map.sdc.id,
    sdcIp = map.sdc.ip,
    sdcName = map.sdc.name,
    accessMode = map.access,
    limitIops = map.iops,
    limitBwInMbps = 0,
    isDirectBufferMapping = false,
  }
end

local function volume_record(volume)
  return {
    id = volume.id,
    name = volume.name,
    sizeInKb = volume.size_bytes // 1024,
    volumeType = "ThinProvisioned",
    storagePoolId = "7daaf71e00000000",
    vtreeId = volume.id,
    mappedSdcInfo = volume.maps[1] and each(volume.maps, map_record) or nil,
    links = json.array { link("self", "/api/instances/Volume::" .. volume.id) },
  }
end

local function system_record(self)
  local name <const> = "DellEMC PowerFlex Version: R" .. self.version:gsub("%.", "_", 1) .. ".354"
  local path <const> = "/api/instances/System::" .. self.system_id
  return {
    id = self.system_id,
    name = self.name,
    installId = "1f2e3d4c5b6a7988",
    systemVersionName = name,
    mdmClusterState = "ClusteredNormal",
    links = json.array { link("self", path), link("/api/System/relationship/Sdc", path .. "/relationships/Sdc") },
  }
end

-- ---- what requests name ----

local function body_of(request)
  local body <const> = request.body ~= "" and json.decode(request.body)
  if type(body) ~= "table" then refuse(400, "Request message is not readable. Please check request format") end
  return body
end

-- Booleans are strings; empty ones, too, are taken for yes.
local function flag(body, name)
  local value <const> = body[name]
  if value == nil then return false end
  if type(value) ~= "string" then refuse(400, ("Illegal syntax: %s is no string"):format(name)) end
  return value == "" or value:lower() == "true"
end

local function volume_at(self, id)
  if not id:find(ID) then refuse(500, ("id (%s) must be a hexadecimal number"):format(id)) end
  return by(self.volumes, "id", id) or refuse_by(self, "missing")
end

local function sdc_at(self, id) return by(self.sdcs, "id", id) or refuse(500, "Could not find the SDC") end

-- Either its id or its GUID.
local function sdc_of(self, body)
  if (body.sdcId == nil) == (body.guid == nil) then refuse(400, "Either sdcId or guid must be given") end
  if body.sdcId then return sdc_at(self, body.sdcId) end
  return by(self.sdcs, "guid", body.guid:upper()) or refuse(500, "Could not find the SDC")
end

local TAKES <const> = {
  addMappedSdc = { "sdcId", "guid", "allowMultipleMappings", "allowOnExtManagedVol", "accessMode", "volumeClass" },
  removeMappedSdc = { "sdcId", "guid", "allSdcs", "allowOnExtManagedVol", "ignoreScsiInitiators", "volumeClass" },
}

local function check_fields(action, body)
  local is_taken <const> = {}
  for _, name in ipairs(TAKES[action]) do
    is_taken[name] = true
  end
  for name in pairs(body) do
    if not is_taken[name] then refuse(400, ("Unrecognized field: %s"):format(name)) end
  end
end

-- ---- the calls ----

local ACTIONS <const> = {}

function ACTIONS.addMappedSdc(self, volume, body)
  local sdc <const> = sdc_of(self, body)
  if by(volume.maps, "sdc", sdc) then refuse_by(self, "mapped") end
  if volume.maps[1] and not flag(body, "allowMultipleMappings") then
    refuse(500, "The volume is mapped to another SDC, and multiple mappings are not allowed")
  end
  self:map(volume, sdc, { access = body.accessMode })
end

function ACTIONS.removeMappedSdc(self, volume, body)
  if flag(body, "allSdcs") then return self:unmap(volume) end
  local sdc <const> = sdc_of(self, body)
  if not by(volume.maps, "sdc", sdc) then refuse_by(self, "unmapped") end
  self:unmap(volume, sdc)
end

local function sdc_records(self)
  return json.array(each(self.sdcs, function(sdc) return sdc_record(self, sdc) end))
end

-- Pattern, what of the path is captured; `open` is reached without a session, `both` with either form of it.
local ROUTES <const> = {
  {
    "GET /api/login",
    open = true,
    run = function(self, request)
      local user <const>, password <const> = credentials(request)
      if self.no_gateway_login then page(404) end
      if user ~= self.username or password ~= self.password then refuse(401, "Unauthorized") end
      return new_session(self)
    end,
  },
  {
    "GET /api/logout",
    both = true,
    run = function(self, _, token)
      self.sessions[token] = nil
      return ""
    end,
  },
  {
    "POST /rest/auth/login",
    open = true,
    run = function(self, request)
      if self.major < 4 then page(404) end
      local body <const> = body_of(request)
      if body.username ~= self.username or body.password ~= self.password then refuse(401, "Unauthorized") end
      local refresh <const> = codec.random_hex(16)
      local token <const> = new_session(self, refresh)
      return { access_token = token, refresh_token = refresh, token_type = "Bearer", expires_in = self.idle_s }
    end,
  },
  {
    "POST /rest/auth/logout",
    run = function(self, request, token)
      if self.sessions[token].refresh ~= body_of(request).refresh_token then refuse(400, "no such refresh token") end
      self.sessions[token] = nil
    end,
  },
  { "GET /api/version", both = true, run = function(self) return self.version end },
  { "GET /api/types/System/instances", run = function(self) return json.array { system_record(self) } end },
  { "GET /api/types/Sdc/instances", run = sdc_records },
  {
    "GET /api/instances/System::(%w+)/relationships/Sdc",
    run = function(self, _, _, id)
      if id ~= self.system_id then refuse(500, "Could not find the system") end
      return sdc_records(self)
    end,
  },
  {
    "GET /api/instances/Sdc::(%w+)",
    run = function(self, _, _, id) return sdc_record(self, sdc_at(self, id)) end,
  },
  {
    "GET /api/instances/Sdc::(%w+)/relationships/Volume",
    run = function(self, _, _, id) return json.array(each(self:volumes_of(sdc_at(self, id)), volume_record)) end,
  },
  { "GET /api/types/Volume/instances", run = function(self) return json.array(each(self.volumes, volume_record)) end },
  {
    "POST /api/types/Volume/instances/action/queryIdByKey",
    run = function(self, request)
      return (by(self.volumes, "name", body_of(request).name) or refuse_by(self, "missing")).id
    end,
  },
  {
    "GET /api/instances/Volume::(%w*)",
    run = function(self, _, _, id)
      if id == "" then return json.array(each(self.volumes, volume_record)) end
      return volume_record(volume_at(self, id))
    end,
  },
  {
    "POST /api/instances/Volume::(%w+)/action/(%a+)",
    run = function(self, request, _, id, action)
      local volume <const>, body <const> = volume_at(self, id), body_of(request)
      if not ACTIONS[action] then refuse(404, "Unknown action") end
      check_fields(action, body)
      ACTIONS[action](self, volume, body)
      return {}
    end,
  },
}

local function dispatch(self, request)
  local path <const> = request.path:gsub("/+", "/")
  for _, route in ipairs(ROUTES) do
    local found <const> = { (request.method .. " " .. path):match("^" .. route[1] .. "$") }
    if found[1] then
      local token <const> = not route.open and session_of(self, request, route.both) or nil
      return answer(200, route.run(self, request, token, table.unpack(found)))
    end
  end
  if self.major >= 4 then page(404) end
  refuse(404, "The requested resource is not available")
end

---@param array lab.Powerflex
---@param request ServerRequest
---@return ServerAnswer
function M.handle(array, request)
  local ok <const>, found <const> = pcall(dispatch, array, request)
  if ok then
    if found.body == "" then found.status = 204 end
    return found
  end
  if type(found) ~= "table" or not found.refusal then error(found, 0) end
  return refused(array, found.refusal)
end

return M
