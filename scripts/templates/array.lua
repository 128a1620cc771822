--- Acme Box, simulated: its volumes have real bytes, and the lab's ESXi hosts see what is mapped to them. Bend the wire below to your
--- array's API page, odd status codes and all: its rules are the array's, not those that your vendor script hopes for.
---
---   POST /api/v1/login {user, password}             201 {token}; later requests bear "Authorization: Bearer TOKEN"
---   POST /api/v1/logout
---   GET /api/v1/system · /ports · /volumes?wwn=&vvol= · /hosts · /maps?volume=&host=    lists: {items, next}, next page: ?cursor=NEXT
---   GET /api/v1/volumes/ID · /copies/ID
---   POST /api/v1/hosts {name, ports} · /maps {volume, host} · /copies {id, source, target}
---   DELETE /api/v1/hosts/ID · /maps/VOLUME/HOST · /copies/ID
---   refusals: {error: {code, message}}
local array_copy <const> = require "lab.array_copy"
local codec <const> = require "lunalift.codec"
local fabric <const> = require "lab.fabric"
local json <const> = require "lunalift.json"
local list <const> = require "lab.list"
local server <const> = require "lunalift.server"

---@class lab.acme
local M <const> = {}

---@class acme.Options what the scenario says of the array, and what the site brings
---@field username string
---@field password string
---@field fabric lab.Fabric who sees which volume: ESXi hosts look here when they rescan
---@field faults lab.Faults
---@field copier { settings: lab.CopyPace }
---@field cert string
---@field key Secret|string
---@field port? integer

---@class acme.Simulated : lab.Array
---@field port integer
local Box <const> = {}
Box.__index = Box

local by <const>, each <const>, keep <const> = list.by, list.each, list.keep

local PAGE <const> = 50
local POOL <const> = "pool1"
local WWN <const> = "60ac3e%026x"
local PORTS <const> = {
  { kind = "iscsi", id = "iqn.2001-01.example.acme:box1" },
  { kind = "fc", id = "50ac3e0000000001" },
}

-- ---- what there is ----

local function next_id(self, kind)
  self.count = self.count + 1
  return ("%s-%d"):format(kind, self.count)
end

-- Tell the fabric who sees the volume now.
local function publish(self, volume)
  local maps <const> = keep(self.maps, function(map) return map.volume == volume end)
  self.fabric:set_maps(
    volume.naa,
    each(maps, function(map) return { initiators = map.host.ports, number = map.number, via = map.host.name } end)
  )
end

local function add_volume(self, given)
  local id <const> = next_id(self, "vol")
  local wwn <const> = WWN:format(self.count)
  local volume <const> = { id = id, name = given.name, wwn = wwn, vvol = given.vvol, naa = "naa." .. wwn }
  volume.path, volume.size_bytes, volume.serial = given.file, given.size_bytes, wwn:sub(-12)
  self.volumes[#self.volumes + 1] = volume
  self.fabric:add_lun {
    naa = volume.naa,
    path = volume.path,
    size_bytes = volume.size_bytes,
    array = "acme",
    vendor = "ACME",
    model = "Box",
    serial = volume.serial,
    target_ports = PORTS,
  }
  return volume
end

local function add_host(self, name, ports)
  local host <const> = { id = next_id(self, "host"), name = name, ports = each(ports, fabric.initiator) }
  self.hosts[#self.hosts + 1] = host
  return host
end

-- The array takes FC ports as the 16 digits of the WWPN, in capitals, and nothing else.
local function is_written_well(port) return port:find "^iqn%." ~= nil or #port == 16 and not port:find "[^%dA-F]" end

local function owner_of(self, port)
  local wanted <const> = fabric.initiator(port)
  return list.find(self.hosts, function(host)
    return list.find(host.ports, function(held) return held == wanted end) ~= nil
  end)
end

-- The lowest LUN number that the host does not see yet.
local function free_number(self, host)
  local taken <const> = {}
  for _, map in ipairs(keep(self.maps, function(map) return map.host == host end)) do
    taken[map.number] = true
  end
  local number = 0
  while taken[number] do
    number = number + 1
  end
  return number
end

local function add_map(self, volume, host)
  local map <const> = { volume = volume, host = host, number = free_number(self, host) }
  self.maps[#self.maps + 1] = map
  publish(self, volume)
  return map
end

-- ---- the wire ----

-- Raised, and made an answer by `handle`.
local function refuse(status, code, message) error({ status = status, code = code, message = message }, 0) end

local function answer(status, value)
  return { status = status, headers = { ["Content-Type"] = "application/json" }, body = json.encode(value) }
end

local function named(items, id, what) return by(items, "id", id) or refuse(404, "missing", "no such " .. what) end

local function map_of(self, volume, host)
  return list.find(self.maps, function(map) return map.volume == volume and map.host == host end)
end

local function shown(record, fields)
  local view <const> = {}
  for name in fields:gmatch "%S+" do
    view[name] = record[name]
  end
  return view
end

local function volume_shown(volume)
  local view <const> = shown(volume, "id name wwn vvol serial size_bytes")
  view.pool = POOL
  return view
end

local function host_shown(host) return shown(host, "id name ports") end

local function map_shown(map)
  return { volume = shown(map.volume, "id name"), host = shown(map.host, "id name"), number = map.number }
end

local function copy_shown(self, copy)
  array_copy.advance(copy, self.copier.settings)
  local reason <const> = copy.state == "failed" and "the back end failed" or nil
  return { id = copy.id, state = copy.state, percent = array_copy.percent(copy), reason = reason }
end

-- All items whose fields are as asked, a page at a time.
local function page(items, args, show)
  local from <const> = math.tointeger(tonumber(args.cursor)) or 0
  local last <const> = math.min(from + PAGE, #items)
  local views <const> = each(table.move(items, from + 1, last, 1, {}), show)
  return 200, { items = json.array(views), next = last < #items and tostring(last) or nil }
end

-- Method, path below /api/v1, and what is done; captures of the path are handed over. Returns status and body.
local ROUTES <const> = {
  {
    "POST /login",
    is_open = true,
    function(self, request)
      if request.json.user ~= self.username or request.json.password ~= self.password then
        refuse(401, "denied", "wrong user or password")
      end
      local token <const> = codec.random_hex(16)
      self.sessions[token] = true
      return 201, { token = token }
    end,
  },
  {
    "POST /logout",
    function(self, request)
      self.sessions[request.token] = nil
      return 200, {}
    end,
  },
  { "GET /system", function() return 200, { model = "Box 9", version = "1.2.3" } end },
  {
    "GET /ports",
    function(_, request)
      return page(PORTS, request.args, function(port) return { kind = port.kind, name = port.id, up = true } end)
    end,
  },
  {
    "GET /volumes",
    function(self, request)
      local wwn <const>, vvol <const> = request.args.wwn, request.args.vvol
      local suiting <const> = keep(
        self.volumes,
        function(volume) return (not wwn or volume.wwn == wwn:lower()) and (not vvol or volume.vvol == vvol) end
      )
      return page(suiting, request.args, volume_shown)
    end,
  },
  { "GET /volumes/([%w-]+)", function(self, _, id) return 200, volume_shown(named(self.volumes, id, "volume")) end },
  { "GET /hosts", function(self, request) return page(self.hosts, request.args, host_shown) end },
  {
    "POST /hosts",
    function(self, request)
      local name <const>, ports <const> = request.json.name, request.json.ports
      if type(name) ~= "string" or #name > 31 then refuse(400, "invalid", "a name has 1 to 31 characters") end
      if by(self.hosts, "name", name) then refuse(409, "exists", "there is a host of that name") end
      for _, port in ipairs(ports) do
        if not is_written_well(port) then refuse(400, "invalid", ("%s is no port"):format(port)) end
        local owner <const> = owner_of(self, port)
        if owner then refuse(409, "exists", ("port %s belongs to host %s"):format(port, owner.name)) end
      end
      return 201, host_shown(add_host(self, name, ports))
    end,
  },
  {
    "DELETE /hosts/([%w-]+)",
    function(self, _, id)
      local host <const> = named(self.hosts, id, "host")
      if by(self.maps, "host", host) then refuse(409, "in_use", "volumes are mapped to the host") end
      self.hosts = keep(self.hosts, function(other) return other ~= host end)
      return 200, {}
    end,
  },
  {
    "GET /maps",
    function(self, request)
      local volume <const>, host <const> = request.args.volume, request.args.host
      local suiting <const> = keep(
        self.maps,
        function(map) return (not volume or map.volume.id == volume) and (not host or map.host.id == host) end
      )
      return page(suiting, request.args, map_shown)
    end,
  },
  {
    "POST /maps",
    function(self, request)
      local volume <const> = named(self.volumes, request.json.volume, "volume")
      local host <const> = named(self.hosts, request.json.host, "host")
      if map_of(self, volume, host) then refuse(409, "mapped", "the host sees the volume already") end
      return 201, map_shown(add_map(self, volume, host))
    end,
  },
  {
    "DELETE /maps/([%w-]+)/([%w-]+)",
    function(self, _, volume_id, host_id)
      local map <const> = list.find(
        self.maps,
        function(map) return map.volume.id == volume_id and map.host.id == host_id end
      ) or refuse(404, "missing", "no such map")
      self.maps = keep(self.maps, function(other) return other ~= map end)
      publish(self, map.volume)
      return 200, {}
    end,
  },
  {
    "POST /copies",
    function(self, request)
      local source <const> = named(self.volumes, request.json.source, "volume")
      local target <const> = named(self.volumes, request.json.target, "volume")
      if by(self.copies, "id", request.json.id) then refuse(409, "exists", "there is a copy of that id") end
      if source.size_bytes > target.size_bytes then
        refuse(409, "too_small", "the target is smaller than the source")
      end
      local copy <const> = array_copy.start(source, target)
      copy.id = request.json.id
      self.copies[#self.copies + 1] = copy
      return 201, copy_shown(self, copy)
    end,
  },
  { "GET /copies/([%w-]+)", function(self, _, id) return 200, copy_shown(self, named(self.copies, id, "copy")) end },
  {
    "DELETE /copies/([%w-]+)",
    function(self, _, id)
      local copy <const> = named(self.copies, id, "copy")
      self.copies = keep(self.copies, function(other) return other ~= copy end)
      return 200, {}
    end,
  },
}

local function dispatch(self, request)
  local asked <const> = ("%s %s"):format(request.method, request.path:match "^/api/v1(/.*)$" or "")
  request.token = (request.headers.authorization or ""):match "^Bearer (%w+)$"
  request.json = request.body ~= "" and json.decode(request.body) or {}
  for _, route in ipairs(ROUTES) do
    local found <const> = { asked:match("^" .. route[1] .. "$") }
    if found[1] then
      if not route.is_open and not self.sessions[request.token or ""] then refuse(401, "session", "log in first") end
      return answer(route[2](self, request, table.unpack(found)))
    end
  end
  refuse(404, nil, "no such call")
end

---@param request ServerRequest
---@return ServerAnswer
function Box:handle(request)
  local ok <const>, found <const> = pcall(dispatch, self, request)
  if ok then return found end
  if type(found) ~= "table" or not found.status then error(found, 0) end
  return answer(found.status, { error = { code = found.code, message = found.message } })
end

-- ---- what the lab asks: lab.Array in scripts/lab/site.lua ----

--- A volume, of the PersistentVolume `pv` if that is given; `csi` is what your CSI driver writes.
---@param given { name: string, pv: string?, size_bytes: integer, file: string }
---@return lab.Volume
function Box:provision(given)
  local volume <const> = add_volume(self, given)
  local csi <const> = { driver = "csi.acme.example", volumeHandle = volume.id, volumeAttributes = { pool = POOL } }
  return { id = volume.id, naa = volume.naa, csi = csi }
end

--- A vVol is a volume whose UUID vSphere knows.
function Box:keep_vvol(uuid, file, size_bytes)
  add_volume(self, { name = "vvol-" .. uuid, vvol = uuid, file = file, size_bytes = size_bytes })
end

--- Volumes to ESXi hosts, as an administrator did long ago: each host has an object with all its ports.
---@param ids string[] of volumes
---@param hosts { name: string, initiators: string[] }[]
function Box:show(_, _, ids, hosts)
  for _, given in ipairs(hosts) do
    local host <const> = by(self.hosts, "name", given.name) or add_host(self, given.name, given.initiators)
    for _, id in ipairs(ids) do
      add_map(self, assert(by(self.volumes, "id", id), "no such volume"), host)
    end
  end
end

--- What site.json says of it: the vendor's own settings, as variables.
function Box:about() return { env = { ACME_POOL = POOL } } end

--- All there is, as plain data: tests compare it before and after.
function Box:state()
  return {
    sessions = list.count(self.sessions),
    hosts = json.array(each(self.hosts, host_shown)),
    maps = json.array(each(self.maps, map_shown)),
    copies = json.array(each(self.copies, function(copy) return copy.id end)),
  }
end

--- End all sessions.
function Box:expire() self.sessions = {} end

function Box:close() self.server:close() end

---@param options acme.Options
---@return acme.Simulated array
function M.start(options)
  local self <const> = setmetatable({
    fabric = options.fabric,
    copier = options.copier,
    username = options.username,
    password = options.password,
    count = 0,
    sessions = {},
    volumes = {},
    hosts = {},
    maps = {},
    copies = {},
  }, Box)
  self.server = assert(server.listen {
    port = options.port,
    cert = options.cert,
    key = options.key,
    on_request = options.faults:wrap("acme", function(request) return self:handle(request) end),
  })
  self.port = self.server.port
  return self
end

return M
