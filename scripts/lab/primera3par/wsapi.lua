--- WSAPI's calls: the address book, sessions, filters, and what each call does.
local codec <const> = require "lunalift.codec"
local copies <const> = require "lab.primera3par.copies"
local json <const> = require "lunalift.json"
local list <const> = require "lab.list"
local refusal <const> = require "lab.primera3par.refusal"
local san <const> = require "lab.primera3par.san"
local timer <const> = require "lunalift.timer"

---@class primera3par.wsapi
local M <const> = { POOLS_HAVE_SNAPSHOTS = copies.POOLS_HAVE_SNAPSHOTS }

local answer <const>, refuse <const> = refusal.answer, refusal.raise
local by <const>, each <const>, find <const>, keep <const> = list.by, list.each, list.find, list.keep

local PRIMERA <const>, VLUN_QUERY <const> = 40000128, 30201292
local WRITERS <const> = { edit = true, super = true }
local HOST_TYPE <const>, SET_TYPE <const>, PORT_TYPE <const> = 3, 5, 2
local PORT <const> = { node = 0, slot = 1, cardPort = 1 }
local STRANGER <const> = { FCPaths = json.array { { wwn = "21000024FF999999" } }, iSCSIPaths = json.array {} }

-- Sessions

local function live_session(self, request)
  local key <const> = request.headers["x-hp3par-wsapi-sessionkey"] or ""
  local session <const> = self.sessions[key]
  if session and timer.now() - session.last_s <= self.idle_s then
    session.last_s = timer.now()
    return session
  end
  self.sessions[key] = nil
  refuse(403, 6, "invalid session key")
end

-- Filters: "FIELD EQ VALUE", in double quotes; of hosts FCPaths[wwn==VALUE OR …].

local function expression(request)
  local text <const> = request.args.query
  if not text then return nil end
  return text:match '^"%s*(.-)%s*"$' or refuse(400, 12, "invalid input: URI query")
end

local function filtered(request, rows)
  local text <const> = expression(request)
  if not text then return rows end
  local field <const>, value <const> = text:match "^(%a+)%s+EQ%s+'?([^%s']+)'?$"
  if not field then refuse(400, 12, "invalid input: URI query") end
  return keep(rows, function(row) return tostring(row[field]) == value end)
end

local function members(rows) return answer(200, { total = #rows, members = json.array(rows) }) end

-- As the array tells them

local function paths(host)
  local fc <const>, iscsi <const> = {}, {}
  for i, port in ipairs(host.ports) do
    if port:find "^%x+$" then
      fc[#fc + 1] = { wwn = port, portPos = { node = i % 2, slot = 1, cardPort = 1 }, hostSpeed = 0 }
    else
      iscsi[#iscsi + 1] = { name = port, IPAddr = "192.0.2.5", portPos = PORT, hostSpeed = 0 }
    end
  end
  return json.array(fc), json.array(iscsi)
end

local function host_shown(host)
  local fc <const>, iscsi <const> = paths(host)
  return { id = host.id, name = host.name, persona = host.persona, FCPaths = fc, iSCSIPaths = iscsi }
end

local function set_shown(set)
  local names <const> = set.members[1] and json.array(each(set.members, function(name) return name end)) or nil
  return { id = set.id, name = set.name, setmembers = names }
end

local function volume_shown(self, volume)
  return {
    id = volume.id,
    name = volume.name,
    wwn = volume.wwn,
    uuid = volume.uuid,
    sizeMiB = volume.size_bytes >> 20,
    userCPG = volume.cpg,
    snapCPG = volume.snap_cpg,
    state = 1,
    copyType = copies.onto(self, volume) and 2 or 1,
    provisioningType = 2,
  }
end

-- The template, then a row for each path of each host behind it, which bears that host's name.
local function vlun_rows(self, vlun)
  local type <const> = vlun.port and PORT_TYPE or vlun.hostname:find "^set:" and SET_TYPE or HOST_TYPE
  local function row(fields)
    fields.lun, fields.volumeName, fields.volumeWWN = vlun.number, vlun.volume.name, vlun.volume.wwn
    fields.multipathing = 1
    return fields
  end
  local rows <const> = { row { hostname = vlun.hostname, portPos = vlun.port, type = type, active = false } }
  for _, host in ipairs(san.hosts_behind(self, vlun.hostname)) do
    for _, port in ipairs(host.ports) do
      rows[#rows + 1] = row { hostname = host.name, remoteName = port, portPos = PORT, type = HOST_TYPE, active = true }
    end
  end
  return rows
end

-- Calls

local Call <const> = {}

local function named(items, name, code, what)
  return by(items, "name", name) or refuse(404, code, what .. " does not exist")
end

local function volume_at(self, name) return named(self.volumes, name, 23, "volume") end
local function set_at(self, name) return named(self.sets, name, 102, "set") end
local function host_at(self, name) return named(self.hosts, name, 17, "host") end

function Call.login(self, request)
  local user <const> = self.users[request.json.user or ""]
  if not user or user.password ~= request.json.password then refuse(403, 5, "invalid username or password") end
  local key <const> = ("%d-%s"):format(self:next_id(), codec.random_hex(16))
  self.sessions[key] = { last_s = timer.now(), role = user.role or "super" }
  return answer(201, { key = key }, "/api/v1/credentials/" .. key)
end

function Call.logout(self, _, key)
  if not self.sessions[key] then refuse(403, 6, "invalid session key") end
  self.sessions[key] = nil
  return answer(200)
end

function Call.system(self)
  local is_primera <const> = self.build >= PRIMERA
  return answer(200, {
    id = 107,
    name = "ecosys",
    systemVersion = is_primera and "4.5.20.2" or "3.3.1.215",
    model = is_primera and "HPE_3PAR A630" or "HP_3PAR 8400",
    serialNumber = "4UW0002955",
  })
end

function Call.hosts(self, request)
  local text <const> = expression(request)
  local shown <const> = each(self.hosts, host_shown)
  if not text then
    shown[#shown + 1] = STRANGER
    return members(shown)
  end
  local wanted <const> = {}
  for value in text:gmatch "[=E]=?Q?%s*([^%s%[%]=]+)" do
    wanted[value:upper()] = true
  end
  local found <const> = keep(self.hosts, function(host)
    return find(host.ports, function(port) return wanted[port:upper()] end) ~= nil
  end)
  if not found[1] then refuse(404, 17, "host does not exist") end
  return members(each(found, host_shown))
end

function Call.host(self, _, name) return answer(200, host_shown(host_at(self, name))) end

function Call.create_host(self, request)
  local body <const> = request.json
  if body.FCWWNs and body.iSCSINames then
    refuse(400, 12, "invalid input: parameters cannot be present at the same time")
  end
  for _, wwn in ipairs(body.FCWWNs or {}) do
    if #wwn ~= 16 or wwn:find "%X" then refuse(400, 12, "invalid input: wrong type") end
  end
  local ports <const> = body.FCWWNs or body.iSCSINames or {}
  san.add_host(self, { name = body.name, persona = body.persona or 1, ports = ports })
  return answer(201, nil, "/api/v1/hosts/" .. body.name)
end

function Call.remove_host(self, _, name)
  san.remove_host(self, host_at(self, name))
  return answer(200)
end

function Call.sets(self) return members(each(self.sets, set_shown)) end
function Call.set(self, _, name) return answer(200, set_shown(set_at(self, name))) end

function Call.create_set(self, request)
  san.add_set(self, { name = request.json.name, members = request.json.setmembers or {} })
  return answer(201, nil, "/api/v1/hostsets/" .. request.json.name)
end

function Call.change_set(self, request, name)
  local action <const> = request.json.action
  if action ~= 1 and action ~= 2 then refuse(400, 12, "invalid input: enum value") end
  san.change_set(self, set_at(self, name), action, request.json.setmembers or {})
  return answer(200, nil, "/api/v1/hostsets/" .. name)
end

function Call.remove_set(self, _, name)
  san.remove_set(self, set_at(self, name))
  return answer(200)
end

function Call.vluns(self, request)
  local rows <const> = {}
  for _, vlun in ipairs(self.vluns) do
    local more <const> = vlun_rows(self, vlun)
    table.move(more, 1, #more, #rows + 1, rows)
  end
  return members(self.build >= VLUN_QUERY and filtered(request, rows) or rows)
end

-- A 3PAR takes no autoLun without a number, a Primera no number without autoLun; maxAutoLun makes the array choose.
local function wanted_number(self, body)
  local has_number <const> = math.type(body.lun) == "integer" and body.lun >= 0
  if body.autoLun and has_number and body.maxAutoLun then return "auto" end
  if not has_number or not body.autoLun and self.build >= PRIMERA then refuse(400, 12, "invalid input: lun") end
  return body.lun
end

function Call.create_vlun(self, request)
  local body <const> = request.json
  local volume <const> = volume_at(self, body.volumeName)
  local hostname <const> = body.hostname or refuse(400, 12, "invalid input: hostname or portPos is required")
  if hostname:find "^set:" then
    named(self.sets, hostname:sub(5), 17, "host set")
  else
    host_at(self, hostname)
  end
  if copies.onto(self, volume) then refuse(409, 97, "the volume is a target of physical copy") end
  local vlun <const> = san.add_vlun(self, volume, wanted_number(self, body), { hostname = hostname })
  return answer(201, nil, ("/api/v1/vluns/%s,%d,%s"):format(volume.name, vlun.number, hostname))
end

function Call.remove_vlun(self, _, key)
  local volume <const>, number <const>, hostname <const> = key:match "^([^,]*),(%d+),([^,]*)"
  local vlun <const> = find(
    self.vluns,
    function(vlun) return vlun.volume.name == volume and vlun.number == tonumber(number) and vlun.hostname == hostname end
  )
  san.remove_vlun(self, vlun or refuse(404, 19, "VLUN does not exist"))
  return answer(200)
end

function Call.volumes(self, request)
  return members(filtered(request, each(self.volumes, function(volume) return volume_shown(self, volume) end)))
end

function Call.volume(self, _, name) return answer(200, volume_shown(self, volume_at(self, name))) end

function Call.copy_volume(self, request, name)
  local source <const>, given <const> = volume_at(self, name), request.json.parameters or {}
  if request.json.action ~= "createPhysicalCopy" then refuse(400, 12, "invalid input: action") end
  local id <const> = copies.start(self, source, volume_at(self, given.destVolume), given)
  return answer(201, { taskid = id }, "/api/v1/volumes/" .. given.destVolume)
end

function Call.change_volume(self, request, name)
  local volume <const>, body <const> = volume_at(self, name), request.json
  if body.action == 1 then
    copies.stop(self, volume)
  elseif body.action ~= nil then
    refuse(400, 12, "invalid input: enum value")
  elseif body.newName and by(self.volumes, "name", body.newName) then
    refuse(409, 22, "volume already exists")
  end
  volume.name, volume.snap_cpg = body.newName or volume.name, body.snapCPG or volume.snap_cpg
  return answer(200, nil, "/api/v1/volumes/" .. volume.name)
end

function Call.tasks(self)
  return members(each(self.tasks, function(task) return copies.shown(self, task) end))
end

function Call.task(self, _, id)
  local number <const> = math.tointeger(tonumber(id)) or refuse(400, 12, "invalid input: task ID is not an integer")
  return answer(200, copies.shown(self, by(self.tasks, "id", number) or refuse(404, 145, "task does not exist")))
end

local ROUTES <const> = {
  { "^/credentials/([^/]+)$", DELETE = Call.logout },
  { "^/system$", GET = Call.system },
  { "^/hosts$", GET = Call.hosts, POST = Call.create_host },
  { "^/hosts/([^/]+)$", GET = Call.host, DELETE = Call.remove_host },
  { "^/hostsets$", GET = Call.sets, POST = Call.create_set },
  { "^/hostsets/([^/]+)$", GET = Call.set, PUT = Call.change_set, DELETE = Call.remove_set },
  { "^/vluns$", GET = Call.vluns, POST = Call.create_vlun },
  { "^/vluns/([^/]+)$", DELETE = Call.remove_vlun },
  { "^/volumes$", GET = Call.volumes },
  { "^/volumes/([^/]+)$", GET = Call.volume, POST = Call.copy_volume, PUT = Call.change_volume },
  { "^/tasks$", GET = Call.tasks },
  { "^/tasks/([^/]+)$", GET = Call.task },
}

local function body_of(request)
  if request.body == "" then return {} end
  local body <const> = json.decode(request.body)
  return type(body) == "table" and body or refuse(400, 12, "invalid input: JSON")
end

local function dispatch(self, request)
  if request.method == "GET" and request.path == "/api" then
    return answer(200, { major = 1, minor = self.build >= PRIMERA and 9 or 6, revision = 0, build = self.build })
  end
  local path <const> = request.path:match "^/api/v1(/.*)$" or refuse(404, 11, "resource does not exist")
  local asked <const> = { args = request.args, json = body_of(request) }
  if request.method == "POST" and path == "/credentials" then return Call.login(self, asked) end
  local session <const> = live_session(self, request)
  for _, route in ipairs(ROUTES) do
    local key <const> = path:match(route[1])
    if key then
      local call <const> = route[request.method] or refuse(501, 9, "the resource does not support the operation")
      local is_free <const> = request.method == "GET" or call == Call.logout
      if not is_free and not WRITERS[session.role] then refuse(403, 13, "permission denied") end
      return call(self, asked, codec.unpercent(key))
    end
  end
  refuse(404, 11, "resource does not exist")
end

--- Answer one request of the wire.
---@param request ServerRequest
---@return ServerAnswer
function M.handle(self, request) return refusal.guard(dispatch, self, request) end

return M
