--- A Dell PowerFlex system behind its gateway: volumes, SDCs, and who is mapped to what. Its rules are the array's, not our client's.
local codec <const> = require "lunalift.codec"
local list <const> = require "lab.list"
local rest <const> = require "lab.powerflex.rest"
local server <const> = require "lunalift.server"

---@class lab.powerflex
local M <const> = {}

---@class powerflex.Sdc
---@field id? string
---@field guid string of the kernel module scini, in capitals
---@field name? string
---@field os? string "Esx" or "Linux"
---@field state? string "Connected" or "Disconnected"
---@field ip? string

---@class powerflex.Options
---@field fabric lab.Fabric
---@field faults lab.Faults
---@field cert string
---@field key Secret|string
---@field port? integer
---@field username string
---@field password string
---@field system_id? string
---@field name? string of the system
---@field version? string of its REST API: "3.6.0"; "4.5.0" has the logins, the codes and the pages of 4.x
---@field no_gateway_login? boolean it knows the login of PowerFlex Manager only
---@field idle_s? number after which a session ends
---@field workers? powerflex.Sdc[] Kubernetes' nodes: each volume of a claim is mapped to them already, with limits

---@class lab.Powerflex : lab.Array
---@field port integer
---@field system_id string
---@field major integer of the version
local Powerflex <const> = { fabrics = { sdc = true } }
Powerflex.__index = Powerflex

local SYSTEM_ID <const> = "b4f2d5322f73780f"
local IDLE_S <const> = 600
local WORKERS <const> = { { guid = "2C5D0E41-6B1F-4E0A-9C57-0F2A6D7E1B01", name = "worker-1", os = "Linux" } }
local by <const>, each <const>, keep <const> = list.by, list.each, list.keep

--- Answer one request of the wire.
---@param request ServerRequest
---@return ServerAnswer
function Powerflex:handle(request) return rest.handle(self, request) end

-- Eight digits that no two objects share, and eight that count, as the array's own ids.
local function new_id(self, kind)
  self.count = self.count + 1
  return codec.sha256(kind .. self.system_id):sub(1, 8) .. ("%08x"):format(self.count)
end

---@param given powerflex.Sdc
function Powerflex:add_sdc(given)
  local sdc <const> = {
    id = given.id or new_id(self, "sdc"),
    guid = given.guid:upper(),
    name = given.name,
    os = given.os or "Esx",
    state = given.state or "Connected",
    ip = given.ip or ("192.0.2.%d"):format(50 + #self.sdcs),
  }
  self.sdcs[#self.sdcs + 1] = sdc
  return sdc
end

-- ---- mappings ----

local function publish(self, volume)
  self.fabric:set_maps(
    volume.naa,
    each(
      volume.maps,
      function(map)
        return { initiators = { map.sdc.guid }, number = map.number, via = "SDC " .. (map.sdc.name or map.sdc.id) }
      end
    )
  )
end

-- No protocol shows numbers here; the host counts the volumes that it sees.
local function free_number(self, sdc)
  local taken <const> = {}
  for _, volume in ipairs(self:volumes_of(sdc)) do
    taken[by(volume.maps, "sdc", sdc).number] = true
  end
  local number = 0
  while taken[number] do
    number = number + 1
  end
  return number
end

---@return table[] volumes
function Powerflex:volumes_of(sdc)
  return keep(self.volumes, function(volume) return by(volume.maps, "sdc", sdc) ~= nil end)
end

---@param limits? { iops: integer?, access: string? }
function Powerflex:map(volume, sdc, limits)
  limits = limits or {}
  local map <const> =
    { sdc = sdc, number = free_number(self, sdc), access = limits.access or "ReadWrite", iops = limits.iops or 0 }
  volume.maps[#volume.maps + 1] = map
  publish(self, volume)
end

--- From one SDC, or from all.
function Powerflex:unmap(volume, sdc)
  volume.maps = keep(volume.maps, function(map) return sdc and map.sdc ~= sdc end)
  publish(self, volume)
end

-- ---- what the site asks ----

---@param given { name: string, pv: string?, size_bytes: integer, file: string }
---@return lab.Volume
function Powerflex:provision(given)
  local id <const> = new_id(self, "volume")
  local volume <const> = {
    id = id,
    name = given.pv and "k8s-" .. codec.sha256(given.name):sub(1, 10) or given.name,
    size_bytes = given.size_bytes,
    naa = ("eui.%s%s"):format(self.system_id, id),
    maps = {},
  }
  self.volumes[#self.volumes + 1] = volume
  self.fabric:add_lun {
    naa = volume.naa,
    path = given.file,
    size_bytes = given.size_bytes,
    array = "powerflex",
    vendor = "EMC",
    model = "scini",
    target_ports = { { kind = "sdc", id = self.system_id } },
  }
  for _, worker in ipairs(given.pv and self.workers or {}) do
    self:map(volume, worker, { iops = 500 })
  end
  local csi <const> = {
    driver = "csi-vxflexos.dellemc.com",
    volumeHandle = ("%s-%s"):format(self.system_id, id),
    volumeAttributes = { Name = volume.name, StorageSystem = self.system_id, StoragePoolName = "pool1" },
  }
  return { id = id, naa = volume.naa, csi = csi }
end

--- A host's module makes itself known; volumes are mapped to it as an administrator did long ago.
---@param guids string[]
---@param ids string[]
function Powerflex:show(_, guids, ids)
  for _, guid in ipairs(guids) do
    local sdc <const> = by(self.sdcs, "guid", guid:upper()) or self:add_sdc { guid = guid }
    for _, id in ipairs(ids) do
      self:map(assert(by(self.volumes, "id", id), "no such volume"), sdc)
    end
  end
end

function Powerflex:about() return { env = { POWERFLEX_SYSTEM_ID = self.system_id } } end

--- All there is, as plain data. Live sessions count: a run shall end its own.
function Powerflex:state()
  return {
    sessions = list.count(self.sessions),
    sdcs = each(self.sdcs, function(sdc) return { id = sdc.id, guid = sdc.guid, name = sdc.name, os = sdc.os } end),
    volumes = each(self.volumes, function(volume)
      return {
        name = volume.name,
        naa = volume.naa,
        maps = each(volume.maps, function(map) return { sdc = map.sdc.id, iops = map.iops, access = map.access } end),
      }
    end),
  }
end

--- End all sessions.
function Powerflex:expire() self.sessions = {} end

function Powerflex:close()
  if self.server then self.server:close() end
  self.server = nil
end

--- The system without a socket: `array:handle(request)`.
---@param options powerflex.Options
---@return lab.Powerflex array
function M.new(options)
  local version <const> = options.version or "3.6.0"
  local self <const> = setmetatable({
    fabric = options.fabric,
    username = options.username,
    password = options.password,
    system_id = options.system_id or SYSTEM_ID,
    name = options.name or "sys1",
    version = version,
    major = math.tointeger(tonumber(version:match "^%d+")),
    no_gateway_login = options.no_gateway_login,
    idle_s = options.idle_s or IDLE_S,
    count = 0,
    sessions = {},
    sdcs = {},
    volumes = {},
  }, Powerflex)
  self.workers = each(options.workers or WORKERS, function(worker) return self:add_sdc(worker) end)
  return self
end

---@param options powerflex.Options
---@return lab.Powerflex array
function M.start(options)
  local self <const> = M.new(options)
  self.server = assert(server.listen {
    port = options.port,
    cert = options.cert,
    key = options.key,
    on_request = options.faults:wrap("powerflex", function(request) return self:handle(request) end),
  })
  self.port = self.server.port
  return self
end

return M
