--- An HPE 3PAR or Primera: the part of its Web Services API (WSAPI) that deals with volumes, hosts, host sets, VLUNs and physical copies.
--- The rules are the array's, not our client's. Where HPE's guide and clients name an error and no number for it, the number is made up.
local codec <const> = require "lunalift.codec"
local copies <const> = require "lab.primera3par.copies"
local list <const> = require "lab.list"
local san <const> = require "lab.primera3par.san"
local server <const> = require "lunalift.server"
local wsapi <const> = require "lab.primera3par.wsapi"

---@class lab.primera3par
local M <const> = {}

---@class primera3par.Options
---@field fabric lab.Fabric
---@field faults lab.Faults
---@field copier? { settings: lab.CopyPace }
---@field cert string
---@field key Secret|string
---@field port? integer
---@field username string
---@field password string
---@field users? table<string, { password: string, role: string? }> more accounts; role: browse, edit or super
---@field build? integer of the API: 30301215; from 40000128 on a Primera, from 100000000 on one whose pools have the snapshots' space
---@field idle_s? number after which sessions end
---@field is_registered? boolean false: ESXi hosts see their datastores through ports, and no host object has their initiators
---@field tells_progress? boolean tasks tell their steps

---@class lab.Primera3par
---@field port integer
local Primera3par <const> = {}
Primera3par.__index = Primera3par

local WWN <const> = "60002AC0000000000000%04X0002186B"
local CPG <const> = "SSD_r6"
local NAME_LENGTH <const> = 31
local PERSONA_VMWARE <const> = 8
local PORT <const> = { node = 0, slot = 1, cardPort = 1 }
local TARGET_PORTS <const> = {
  { kind = "fc", id = "20110002ac02186b" },
  { kind = "fc", id = "21110002ac02186b" },
  { kind = "iscsi", id = "iqn.2000-05.com.3pardata:20210002ac02186b" },
}

--- Answer one request of the wire.
---@param request ServerRequest
---@return ServerAnswer
function Primera3par:handle(request) return wsapi.handle(self, request) end

--- The next number of anything that the array counts.
function Primera3par:next_id()
  self.last_id = self.last_id + 1
  return self.last_id
end

---@param given { name: string, size_bytes: integer, file: string, uuid: string?, snap_cpg: string|false|nil }
---@return table volume
function Primera3par:add_volume(given)
  local id <const> = self:next_id()
  local wwn <const> = WWN:format(id)
  local volume <const> = {
    id = id,
    name = given.name:sub(1, NAME_LENGTH),
    wwn = wwn,
    naa = "naa." .. wwn:lower(),
    uuid = given.uuid or codec.uuid(),
    path = given.file,
    size_bytes = given.size_bytes,
    snap_cpg = given.snap_cpg == nil and self.build < wsapi.POOLS_HAVE_SNAPSHOTS and CPG or given.snap_cpg or nil,
    cpg = CPG,
  }
  self.volumes[#self.volumes + 1] = volume
  self.fabric:add_lun {
    naa = volume.naa,
    path = given.file,
    size_bytes = given.size_bytes,
    array = "primera3par",
    vendor = "3PARdata",
    model = "VV",
    serial = ("%d"):format(1600000 + id),
    target_ports = TARGET_PORTS,
  }
  return volume
end

-- What the site asks --------------------------------------------------------------------------------------------------------------

--- A volume as HPE's CSI driver makes it, or an administrator.
function Primera3par:provision(given)
  local volume <const> =
    self:add_volume { name = given.pv or given.name, size_bytes = given.size_bytes, file = given.file }
  local attributes <const> = { accessProtocol = "iscsi", volumeAccessMode = "block" }
  local csi <const> = { driver = "csi.hpe.com", volumeHandle = given.pv, volumeAttributes = attributes }
  return { id = volume.name, naa = volume.naa, csi = csi }
end

--- A vVol is a volume whose UUID vSphere knows.
function Primera3par:keep_vvol(uuid, file, size_bytes)
  self:add_volume { name = "vvol-" .. uuid, uuid = uuid, file = file, size_bytes = size_bytes }
end

local function register(self, name, hosts)
  for _, host in ipairs(hosts) do
    if not list.by(self.hosts, "name", host.name) then
      san.add_host(self, { name = host.name, persona = PERSONA_VMWARE, ports = host.initiators })
    end
  end
  san.add_set(self, { name = name, members = list.each(hosts, function(host) return host.name end) })
end

--- To a host set of the ESXi hosts, or to whoever comes through a port.
function Primera3par:show(name, initiators, ids, hosts)
  local to = { hostname = "", port = PORT, initiators = initiators }
  if self.is_registered then
    to = { hostname = "set:" .. name }
    register(self, name, hosts)
  end
  for _, id in ipairs(ids) do
    san.add_vlun(self, assert(list.by(self.volumes, "name", id), "no such volume"), "auto", to)
  end
end

function Primera3par:about() return { env = {} } end

--- All there is, as plain data. Live sessions count: a run shall end its own.
function Primera3par:state()
  return {
    hosts = list.each(
      self.hosts,
      function(host) return { name = host.name, persona = host.persona, ports = host.ports } end
    ),
    sets = list.each(self.sets, function(set) return { name = set.name, members = set.members } end),
    vluns = list.each(
      self.vluns,
      function(vlun) return { volume = vlun.volume.name, number = vlun.number, hostname = vlun.hostname } end
    ),
    volumes = list.each(self.volumes, function(volume) return { name = volume.name, snap_cpg = volume.snap_cpg } end),
    copies = list.each(copies.running(self), function(task) return task.name end),
    sessions = list.count(self.sessions),
  }
end

function Primera3par:expire() self.sessions = {} end

function Primera3par:close()
  if self.server then self.server:close() end
  self.server = nil
end

--- The array without a socket: `array:handle(request)`.
---@param options primera3par.Options
---@return lab.Primera3par array
function M.new(options)
  local users <const> = { [options.username] = { password = options.password, role = "super" } }
  for name, account in pairs(options.users or {}) do
    users[name] = account
  end
  return setmetatable({
    fabric = options.fabric,
    copier = options.copier or { settings = {} },
    users = users,
    build = options.build or 30301215,
    idle_s = options.idle_s or 900,
    is_registered = options.is_registered ~= false,
    tells_progress = options.tells_progress ~= false,
    sessions = {},
    volumes = {},
    hosts = {},
    sets = {},
    vluns = {},
    tasks = {},
    last_id = 100,
  }, Primera3par)
end

---@param options primera3par.Options
---@return lab.Primera3par array
function M.start(options)
  local self <const> = M.new(options)
  self.server = assert(server.listen {
    port = options.port,
    cert = options.cert,
    key = options.key,
    on_request = options.faults:wrap("primera3par", function(request) return self:handle(request) end),
  })
  self.port = self.server.port
  return self
end

return M
