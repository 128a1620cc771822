--- A NetApp ONTAP 9 cluster: the part of its REST interface that deals with LUNs, initiator groups and their maps.
--- The rules are ONTAP's, not our client's; error texts and codes too where they are known.
local codec <const> = require "lunalift.codec"
local fs <const> = require "lunalift.fs"
local list <const> = require "lab.list"
local rest <const> = require "lab.ontap.rest"
local san <const> = require "lab.ontap.san"
local server <const> = require "lunalift.server"
local timer <const> = require "lunalift.timer"

---@class lab.ontap
local M <const> = {}

---@class ontap.Svm
---@field name string
---@field uuid? string
---@field iqn? string the iSCSI target; false: none
---@field fc_ports? string[] WWPNs of the FC interfaces, 16 hex digits each

---@class ontap.Volume
---@field svm string
---@field path string "/vol/NAME/lun0"
---@field size_bytes integer
---@field file string backing file
---@field serial? string 12 characters
---@field class? string "regular", or "vvol"
---@field nodes? string[] Kubernetes nodes that Trident has published it to

---@class ontap.Igroup
---@field svm string
---@field name string
---@field protocol? string
---@field os_type? string
---@field initiators? string[]
---@field luns? string[] uuids of LUNs that it sees already

---@class ontap.Options
---@field fabric lab.Fabric
---@field faults lab.Faults
---@field cert string
---@field key Secret|string
---@field port? integer
---@field name? string of the cluster
---@field username string cluster administrator
---@field password string
---@field users? table<string, { password: string, svm: string? }> more accounts; with svm: that SVM's alone
---@field svm? string of what the site provisions
---@field svms? ontap.Svm[] svm0 and svm1 unless given
---@field volumes? ontap.Volume[]
---@field igroups? ontap.Igroup[]
---@field shadow_svm? string gets a LUN of the same path for every volume elsewhere, so that an unscoped look-up is found out
---@field page_limit? integer no list answers with more records at once

---@class lab.Ontap
---@field port integer
local Ontap <const> = {}
Ontap.__index = Ontap

local SERIAL_CHARS <const> = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789?$+-/&"
local NAA_PREFIX <const> = "naa.600a0980"
local TRIDENT <const> = "0a1b2c3d-4e5f-4061-8293-a4b5c6d7e8f9" -- the backend's uuid in Trident's group names
local by <const>, each <const>, find <const> = list.by, list.each, list.find

--- Answer one request of the wire.
---@param request ServerRequest
---@return ServerAnswer
function Ontap:handle(request) return rest.handle(self, request) end

local function new_serial()
  local random <const>, serial <const> = codec.random_hex(12), {}
  for byte in random:gmatch "%x%x" do
    local at <const> = tonumber(byte, 16) % #SERIAL_CHARS + 1
    serial[#serial + 1] = SERIAL_CHARS:sub(at, at)
  end
  return table.concat(serial)
end

local function naa_of(serial)
  return NAA_PREFIX .. serial:gsub(".", function(char) return ("%02x"):format(char:byte()) end)
end

local function add_svm(self, given)
  local index <const> = #self.svms + 1
  local uuid <const> = given.uuid or codec.uuid()
  local iqn <const> = ("iqn.1992-08.com.netapp:sn.%s:vs.%d"):format(uuid:gsub("-", ""), index + 2)
  local ports <const> = given.fc_ports
    or { ("200000a0980000%02x"):format(2 * index), ("200000a0980000%02x"):format(2 * index + 1) }
  self.svms[index] = {
    uuid = uuid,
    name = given.name,
    iqn = given.iqn == nil and iqn or given.iqn or nil,
    fc_ports = ports,
    wwnn = ("200000a098000f%02x"):format(index),
    fc_uuids = each(ports, function() return codec.uuid() end),
    lif_uuid = codec.uuid(),
    address = ("192.0.2.%d"):format(index),
  }
end

local function target_ports(svm)
  local ports <const> = each(svm.fc_ports, function(wwpn) return { kind = "fc", id = wwpn } end)
  if svm.iqn then table.insert(ports, 1, { kind = "iscsi", id = svm.iqn }) end
  return ports
end

---@param given ontap.Igroup
function Ontap:add_igroup(given)
  local igroup <const> = {
    uuid = codec.uuid(),
    name = given.name,
    svm = assert(by(self.svms, "name", given.svm), "no such SVM"),
    protocol = given.protocol or "iscsi",
    os_type = given.os_type or "linux",
    delete_on_unmap = false,
    initiators = {},
  }
  san.add_initiators(self, igroup, each(given.initiators or {}, function(name) return { name = name } end))
  self.igroups[#self.igroups + 1] = igroup
  for _, uuid in ipairs(given.luns or {}) do
    san.add_map(self, assert(by(self.luns, "uuid", uuid), "no such LUN"), igroup)
  end
  return igroup
end

--- Trident's own group of a node, as its ontap-san driver makes it.
local function node_igroup(self, svm, node)
  local name <const> = node .. "-" .. TRIDENT
  return find(self.igroups, function(igroup) return igroup.svm == svm and igroup.name == name end)
    or self:add_igroup { svm = svm.name, name = name, initiators = { "iqn.1994-05.com.redhat:" .. node } }
end

local function add_lun(self, given)
  local svm <const> = assert(by(self.svms, "name", given.svm), "no such SVM")
  local serial <const> = given.serial or new_serial()
  assert(#serial == 12, "a serial has 12 characters")
  local lun <const> = {
    uuid = codec.uuid(),
    name = given.path,
    svm = svm,
    class = given.class or "regular",
    size_bytes = given.size_bytes,
    serial = serial,
    naa = naa_of(serial),
    created = timer.iso():gsub("%.%d+Z$", "+00:00"),
  }
  self.luns[#self.luns + 1] = lun
  self.fabric:add_lun {
    naa = lun.naa,
    path = given.file,
    size_bytes = given.size_bytes,
    array = "ontap",
    vendor = "NETAPP",
    model = "LUN C-Mode",
    serial = serial,
    target_ports = target_ports(svm),
  }
  return lun
end

---@param given ontap.Volume
---@return { uuid: string, naa: string, serial: string }
function Ontap:add_volume(given)
  local lun <const> = add_lun(self, given)
  for _, node in ipairs(given.nodes or {}) do
    san.add_map(self, lun, node_igroup(self, lun.svm, node))
  end
  if self.shadow_svm and self.shadow_svm ~= given.svm then
    local file <const> = given.file .. ".shadow"
    assert(fs.truncate(file, given.size_bytes))
    add_lun(self, { svm = self.shadow_svm, path = given.path, size_bytes = given.size_bytes, file = file })
  end
  return { uuid = lun.uuid, naa = lun.naa, serial = lun.serial }
end

--- A volume as Trident's driver ontap-san makes it, or an administrator.
function Ontap:provision(given)
  local name <const> = given.pv and "trident_" .. given.pv:gsub("%-", "_") or given.name
  local path <const> = ("/vol/%s/lun0"):format(name)
  local lun <const> = self:add_volume { svm = self.svm, path = path, size_bytes = given.size_bytes, file = given.file }
  local attributes <const> = { backendUUID = TRIDENT, internalName = name, name = given.pv, protocol = "block" }
  local csi <const> = { driver = "csi.trident.netapp.io", volumeHandle = given.pv, volumeAttributes = attributes }
  return { id = lun.uuid, naa = lun.naa, csi = csi }
end

function Ontap:show(name, initiators, ids)
  self:add_igroup {
    svm = self.svm,
    name = name,
    protocol = "mixed",
    os_type = "vmware",
    initiators = initiators,
    luns = ids,
  }
end

function Ontap:about() return { svm = self.svm, env = { ONTAP_SVM = self.svm } } end

--- All there is, as plain data.
function Ontap:state()
  local function names(igroup)
    return each(igroup.initiators, function(initiator) return initiator.name end)
  end
  return {
    igroups = each(
      self.igroups,
      function(igroup)
        return {
          uuid = igroup.uuid,
          name = igroup.name,
          svm = igroup.svm.name,
          protocol = igroup.protocol,
          os_type = igroup.os_type,
          initiators = names(igroup),
        }
      end
    ),
    luns = each(self.luns, function(lun)
      return {
        uuid = lun.uuid,
        path = lun.name,
        svm = lun.svm.name,
        naa = lun.naa,
        serial = lun.serial,
        size_bytes = lun.size_bytes,
        maps = each(
          san.maps_where(self, "lun", lun),
          function(map) return { igroup = map.igroup.name, number = map.number, initiators = names(map.igroup) } end
        ),
      }
    end),
  }
end

function Ontap:close()
  if self.server then self.server:close() end
  self.server = nil
end

--- The cluster without a socket: `array:handle(request)`.
---@param options ontap.Options
---@return lab.Ontap array
function M.new(options)
  local users <const> = { [options.username] = { password = options.password } }
  for name, account in pairs(options.users or {}) do
    users[name] = account
  end
  local self <const> = setmetatable({
    fabric = options.fabric,
    name = options.name or "c1",
    uuid = codec.uuid(),
    users = users,
    page_limit = options.page_limit,
    shadow_svm = options.shadow_svm,
    svm = options.svm,
    svms = {},
    luns = {},
    igroups = {},
    maps = {},
  }, Ontap)
  self.node = { uuid = codec.uuid(), name = self.name .. "-01" }
  for _, svm in ipairs(options.svms or { { name = "svm0" }, { name = "svm1" } }) do
    add_svm(self, svm)
  end
  for _, volume in ipairs(options.volumes or {}) do
    self:add_volume(volume)
  end
  for _, igroup in ipairs(options.igroups or {}) do
    self:add_igroup(igroup)
  end
  return self
end

---@param options ontap.Options
---@return lab.Ontap array
function M.start(options)
  local self <const> = M.new(options)
  self.server = assert(server.listen {
    port = options.port,
    cert = options.cert,
    key = options.key,
    on_request = options.faults:wrap("ontap", function(request) return self:handle(request) end),
  })
  self.port = self.server.port
  return self
end

return M
