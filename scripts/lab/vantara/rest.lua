--- The wire of a Hitachi VSP: its Configuration Manager REST API, in both forms of its paths; sessions that end, jobs, errors.
local array_copy <const> = require "lab.array_copy"
local codec <const> = require "lunalift.codec"
local json <const> = require "lunalift.json"
local list <const> = require "lab.list"
local timer <const> = require "lunalift.timer"

---@class vantara.rest
local M <const> = {}

local by <const>, each <const>, keep <const> = list.by, list.each, list.keep
local MAX_SESSIONS <const> = 64
local BLOCK_BYTES <const> = 512
local OBJECTS <const> = "/ConfigurationManager/v1/objects"

-- Answers ----------------------------------------------------------------------------------------------------------------------------

--- Refuse: raised, and made the answer, or the end of a job.
---@param ssb? string[] two codes
function M.refuse(status, message_id, message, ssb)
  local body <const> = {
    errorSource = OBJECTS,
    messageId = message_id,
    message = message,
    cause = "",
    solution = "Check the request.",
    solutionType = "SEE_ERROR_DETAIL",
    errorCode = ssb and { SSB1 = ssb[1], SSB2 = ssb[2] } or nil,
  }
  error({ refusal = { status = status, body = body } }, 0)
end

local function missing() M.refuse(404, "KART30013-E", "The specified object does not exist.") end

local function invalid(what) M.refuse(400, "KART40038-E", ("The value of %s is missing or invalid."):format(what)) end

local function answer(status, value)
  return { status = status, headers = { ["content-type"] = "application/json" }, body = json.encode(value) }
end

local function data(items) return { data = json.array(items) } end

local function int(value) return math.tointeger(tonumber(value)) end

local function is_true(value) return value == true or value == "true" end

-- Sessions ---------------------------------------------------------------------------------------------------------------------------

local function sweep(self)
  local now <const> = timer.now()
  self.sessions = keep(self.sessions, function(session) return now - session.used_s < session.alive_s end)
end

local function refuse_login() M.refuse(401, "KART30005-E", "The user ID or password is wrong.") end

local function open_session(self, request)
  local encoded <const> = (request.headers.authorization or ""):match "^[Bb]asic%s+(%S+)$"
  if not encoded or codec.unbase64(encoded) ~= self.username .. ":" .. self.password then refuse_login() end
  local alive_s <const> = request.body.aliveTime == nil and self.alive_s or int(request.body.aliveTime)
  if not alive_s or alive_s <= 0 or alive_s > 300 then invalid "aliveTime" end
  if #self.sessions >= MAX_SESSIONS then M.refuse(503, "KART30003-E", "No more sessions can be made.") end
  self.session_count = (self.session_count or 0) + 1
  local session <const> =
    { id = self.session_count, token = codec.random_hex(16), alive_s = alive_s, used_s = timer.now() }
  self.sessions[#self.sessions + 1] = session
  return { token = session.token, sessionId = session.id }
end

local function check_session(self, request)
  local token <const> = (request.headers.authorization or ""):match "^Session%s+(%S+)$"
  local session <const> = token and by(self.sessions, "token", token)
  if not session then M.refuse(401, "KART40047-E", "The session does not exist, or has ended.") end
  session.used_s = timer.now()
end

local function session_of(self, id) return by(self.sessions, "id", int(id)) or missing() end

-- Jobs -------------------------------------------------------------------------------------------------------------------------------

--- Do what a job is for, when its time has come; and end it, unless it waits for a copy.
function M.run_due(job)
  if job.act and timer.now() >= job.due_s then
    local ok <const>, done <const> = pcall(job.act)
    if not ok and not (type(done) == "table" and done.refusal) then error(done, 0) end
    job.act, job.state = nil, ok and "Succeeded" or "Failed"
    job.affected, job.error = ok and done or nil, not ok and done.refusal.body or nil
  end
end

local function shown_job(job)
  local is_done <const> = not job.act and not (job.holds and job.holds())
  return {
    jobId = job.id,
    self = ("%s/jobs/%d"):format(OBJECTS, job.id),
    userId = "maintenance",
    status = is_done and "Completed" or "Initializing",
    state = is_done and job.state or "Queued",
    affectedResources = is_done and job.affected and json.array { OBJECTS .. job.affected } or nil,
    error = is_done and job.error or nil,
  }
end

-- Accept something to be done; `act` returns the path of what it made or removed.
local function accept(self, request, act, holds)
  if self.fails_job then act = function() M.refuse(500, "KART40046-E", "The job ended abnormally.") end end
  self.fails_job = nil
  local job <const> =
    { id = 100 + #self.jobs, act = act, holds = holds, state = "Queued", due_s = timer.now() + self.job_s }
  self.jobs[#self.jobs + 1] = job
  if (request.headers["response-job-status"] or ""):find "^Completed" then
    local until_s <const> = timer.now() + (int(request.headers["response-max-wait"]) or 60)
    self:advance()
    while shown_job(job).status ~= "Completed" and timer.now() < until_s do
      timer.sleep(math.max(0.01, math.min(job.due_s, until_s) - timer.now()))
      self:advance()
    end
  end
  return shown_job(job), 202
end

-- Records ----------------------------------------------------------------------------------------------------------------------------

local function shown_ldev(ldev)
  local is_mapped <const> = #ldev.paths > 0
  return {
    ldevId = ldev.id,
    clprId = 0,
    emulationType = "OPEN-V-CVS",
    byteFormatCapacity = ("%.2f G"):format(ldev.size_bytes / (1 << 30)),
    blockCapacity = ldev.size_bytes // BLOCK_BYTES,
    numOfPorts = is_mapped and #ldev.paths or nil,
    ports = is_mapped and json.array(each(
      ldev.paths,
      function(path)
        return {
          portId = path.group.port.id,
          hostGroupNumber = path.group.number,
          hostGroupName = path.group.name,
          lun = path.lun,
        }
      end
    )) or nil,
    attributes = json.array { "CVS", "HDP" },
    label = ldev.label,
    status = "NML",
    poolId = ldev.pool,
    dataReductionStatus = ldev.data_reduction:upper(),
    dataReductionMode = ldev.data_reduction,
    naaId = is_mapped and ldev.naa:match "^naa%.(.*)$" or nil, -- there is none without a path
  }
end

local function shown_login(port, login)
  if port.kind == "iscsi" then return { loginIscsiName = login.name } end -- its target is not told
  return { loginWwn = login.name, wwnNickName = "-", isLoggedIn = true, hostGroupId = login.group and login.group.id }
end

local function shown_port(self, port, has_logins)
  local logins <const> = has_logins
    and json.array(each(self:logins(port), function(login) return shown_login(port, login) end))
  return {
    portId = port.id,
    portType = port.kind == "fc" and "FIBRE" or "ISCSI",
    portAttributes = json.array { "TAR" },
    portSpeed = "AUT",
    lunSecuritySetting = true,
    wwn = port.wwn,
    fabricMode = port.kind == "fc" or nil,
    tcpPort = port.kind == "iscsi" and "3260" or nil,
    ipv4Address = port.kind == "iscsi" and "192.0.2.41" or nil,
    logins = logins or nil,
  }
end

local function shown_group(group)
  return {
    hostGroupId = group.id,
    portId = group.port.id,
    hostGroupNumber = group.number,
    hostGroupName = group.name,
    iscsiName = group.iscsi_name,
    hostMode = "VMWARE_EX",
    hostModeOptions = json.array { 54, 63 },
  }
end

local function shown_pair(self, pair)
  return {
    snapshotGroupName = pair.group,
    primaryOrSecondary = "S-VOL",
    status = self:pair_status(pair),
    pvolLdevId = pair.pvol.id,
    muNumber = pair.mu,
    svolLdevId = pair.svol.id,
    snapshotPoolId = self.pool,
    snapshotId = ("%d,%d"):format(pair.pvol.id, pair.mu),
    progressRate = array_copy.percent(pair.copy),
    isClone = true,
    canCascade = true,
  }
end

local function shown_storage(self)
  return {
    storageDeviceId = self.storage_id,
    model = self.model,
    serialNumber = self.serial,
    dkcMicroVersion = "93-07-21-80/00",
    svpIp = "192.0.2.40",
  }
end

-- Calls ------------------------------------------------------------------------------------------------------------------------------

local function port_of(self, id) return by(self.ports, "id", id) or invalid "portId" end

-- The host group that a query or a body names.
local function group_of(self, given)
  local number <const> = int(given.hostGroupNumber) or invalid "hostGroupNumber"
  return self:group(("%s,%d"):format(port_of(self, given.portId).id, number)) or missing()
end

local function ldev_of(self, value, what)
  local id <const> = int(value)
  if not self:is_ldev_number(id) then invalid(what) end
  return self:ldev(id) or missing()
end

local function members(field)
  return function(self, request)
    local group <const> = group_of(self, request.args)
    return data(each(
      group.members,
      function(name)
        return {
          hostWwnId = field == "hostWwn" and ("%s,%s"):format(group.id, name) or nil,
          hostIscsiId = field == "iscsiName" and ("%s,%s"):format(group.id, name) or nil,
          portId = group.port.id,
          hostGroupNumber = group.number,
          hostGroupName = group.name,
          [field] = name,
        }
      end
    ))
  end
end

local function create_lun(self, request)
  local body <const> = request.body
  local group <const>, id <const> = group_of(self, body), int(body.ldevId)
  if not self:is_ldev_number(id) then invalid "ldevId" end
  return accept(self, request, function()
    local lun <const> = self:add_path(self:ldev(id) or missing(), group, body.lun and int(body.lun))
    return ("/luns/%s,%d"):format(group.id, lun)
  end)
end

local function luns(self, request)
  local group <const>, found <const> = group_of(self, request.args), {}
  for _, ldev in ipairs(self.ldevs) do
    local path <const> = by(ldev.paths, "group", group)
    if path then
      found[#found + 1] = {
        lunId = ("%s,%d"):format(group.id, path.lun),
        portId = group.port.id,
        hostGroupNumber = group.number,
        hostMode = "VMWARE_EX",
        lun = path.lun,
        ldevId = ldev.id,
        isCommandDevice = false,
      }
    end
  end
  return data(found)
end

local function delete_lun(self, request, group_id, lun)
  local group <const> = self:group(group_id)
  local is_there <const> = group
    and by(luns(self, { args = { portId = group.port.id, hostGroupNumber = group.number } }).data, "lun", int(lun))
  if not is_there then missing() end
  return accept(self, request, function()
    if not self:remove_path(group, int(lun)) then missing() end
    return ("/luns/%s,%s"):format(group_id, lun)
  end)
end

-- What a clone needs, and does not bear.
local function check_clone(self, body, pvol, svol)
  local name <const> = body.snapshotGroupName
  if type(name) ~= "string" or #name < 1 or #name > 32 then invalid "snapshotGroupName" end
  if not is_true(body.isClone) or not is_true(body.canCascade) or is_true(body.autoSplit) then invalid "isClone" end
  if int(body.snapshotPoolId) ~= self.pool then
    M.refuse(500, "KART40046-E", "The pool is no pool for snapshots.", { "2E30", "600E" })
  end
  if pvol.size_bytes ~= svol.size_bytes then
    M.refuse(500, "KART40046-E", "The capacities of P-VOL and S-VOL differ.", { "2E10", "2334" })
  end
  local saves <const> = pvol.data_reduction ~= "disabled" or svol.data_reduction ~= "disabled"
  if saves and not is_true(body.isDataReductionForceCopy) then
    M.refuse(500, "KART40046-E", "A volume with capacity saving needs isDataReductionForceCopy.", { "2E13", "A001" })
  end
end

local function create_pair(self, request)
  local body <const> = request.body
  local pvol <const>, svol <const> =
    ldev_of(self, body.pvolLdevId, "pvolLdevId"), ldev_of(self, body.svolLdevId, "svolLdevId")
  local pair
  local holds <const> = request.headers["job-mode-wait-configuration-change"] ~= "NoWait"
    and function() return pair ~= nil and pair.copy.state == "running" end
  return accept(self, request, function()
    check_clone(self, body, pvol, svol)
    pair = self:add_pair(body.snapshotGroupName, pvol, svol)
    return ("/snapshots/%d,%d"):format(pvol.id, pair.mu)
  end, holds or nil)
end

local function snapshots(self, request)
  local args <const> = request.args
  local function fits(pair)
    return (args.snapshotGroupName == nil or args.snapshotGroupName == pair.group)
      and (args.pvolLdevId == nil or int(args.pvolLdevId) == pair.pvol.id)
      and (args.svolLdevId == nil or int(args.svolLdevId) == pair.svol.id)
  end
  return data(each(keep(self.pairs, fits), function(pair) return shown_pair(self, pair) end))
end

local function delete_pair(self, request, pvol, mu)
  local pair <const> = self:pair(int(pvol), int(mu)) or missing()
  return accept(self, request, function()
    self:delete_pair(pair)
    return ("/snapshots/%s,%s"):format(pvol, mu)
  end)
end

local function ldev(self, _, text)
  local id <const> = int(text)
  if not self:is_ldev_number(id) then missing() end
  local found <const> = self:ldev(id)
  return found and shown_ldev(found) or { ldevId = id, emulationType = "NOT DEFINED", attributes = json.array {} }
end

local function ports(self, request)
  local args <const> = request.args
  local shown <const> = each(
    self.ports,
    function(port) return shown_port(self, port, (args.detailInfoType or ""):find "logins" ~= nil) end
  )
  return data(
    keep(
      shown,
      function(port)
        return (args.portId or port.portId) == port.portId and (args.portType or port.portType) == port.portType
      end
    )
  )
end

local function groups(self, request)
  local port <const> = port_of(self, request.args.portId)
  return data(each(keep(self.groups, function(group) return group.port == port end), shown_group))
end

local ROUTES <const> = {
  {
    "GET",
    "^/sessions/(%d+)$",
    function(self, _, id) return { sessionId = session_of(self, id).id, userId = self.username } end,
  },
  {
    "DELETE",
    "^/sessions/(%d+)$",
    function(self, _, id)
      local session <const> = session_of(self, id)
      self.sessions = keep(self.sessions, function(each_) return each_ ~= session end)
      return json.null
    end,
  },
  { "GET", "^/ldevs/(%d+)$", ldev },
  { "GET", "^/ldevs$", function(self) return data(each(self.ldevs, shown_ldev)) end },
  { "GET", "^/ports$", ports },
  {
    "GET",
    "^/ports/([^/]+)$",
    function(self, _, id) return shown_port(self, by(self.ports, "id", id) or missing()) end,
  },
  { "GET", "^/host%-groups$", groups },
  { "GET", "^/host%-groups/([^/]+)$", function(self, _, id) return shown_group(self:group(id) or missing()) end },
  { "GET", "^/host%-wwns$", members "hostWwn" },
  { "GET", "^/host%-iscsis$", members "iscsiName" },
  { "GET", "^/luns$", luns },
  { "POST", "^/luns$", create_lun },
  { "DELETE", "^/luns/([^/]+,%d+),(%d+)$", delete_lun },
  { "GET", "^/snapshots$", snapshots },
  { "POST", "^/snapshots$", create_pair },
  { "DELETE", "^/snapshots/(%d+),(%d+)$", delete_pair },
  { "GET", "^/jobs/(%d+)$", function(self, _, id) return shown_job(by(self.jobs, "id", int(id)) or missing()) end },
}

local function dispatch(self, request, path)
  for _, route in ipairs(ROUTES) do
    local found <const> = { path:match(route[2]) }
    if route[1] == request.method and found[1] then return route[3](self, request, table.unpack(found)) end
  end
  missing()
end

local function respond(self, request)
  if request.path == "/ConfigurationManager/configuration/version" then
    return { productName = "Configuration Manager REST API", apiVersion = "1.31.0" }
  end
  local path = request.path:match "^/ConfigurationManager/v1/objects(/.*)$" or missing()
  local storage_id <const>, rest <const> = path:match "^/storages/([^/]+)(.*)$"
  if storage_id then
    path = rest
    if storage_id ~= self.storage_id then missing() end
  end
  sweep(self)
  if request.method == "POST" and path == "/sessions" then return open_session(self, request) end
  check_session(self, request)
  if path == "/storages" then return data { shown_storage(self) } end
  if path == "" then return shown_storage(self) end
  return dispatch(self, request, path)
end

local function body_of(raw)
  if raw.body == nil or raw.body == "" then return {} end
  local body <const> = json.decode(raw.body)
  return type(body) == "table" and body or invalid "the body"
end

--- Answer one request of the wire.
---@param raw ServerRequest
---@return ServerAnswer
function M.handle(self, raw)
  local ok <const>, value <const>, status <const> = pcall(function()
    local request <const> =
      { method = raw.method, path = raw.path, args = raw.args or {}, headers = raw.headers or {}, body = body_of(raw) }
    return respond(self, request)
  end)
  if ok and value == json.null then return { status = 200 } end
  if ok then return answer(status or 200, value) end
  if type(value) ~= "table" or not value.refusal then error(value, 0) end
  return answer(value.refusal.status, value.refusal.body)
end

return M
