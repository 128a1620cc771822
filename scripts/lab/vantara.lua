--- A Hitachi VSP: LDEVs, the host groups of its ports, LUN paths, Thin Image pairs that clone. Its wire is lab.vantara.rest.
local array_copy <const> = require "lab.array_copy"
local esxi <const> = require "lab.esxi"
local fabric <const> = require "lab.fabric"
local list <const> = require "lab.list"
local rest <const> = require "lab.vantara.rest"
local server <const> = require "lunalift.server"
local timer <const> = require "lunalift.timer"

---@class lab.vantara
local M <const> = {}

local by <const>, each <const>, find <const>, keep <const> = list.by, list.each, list.find, list.keep

---@class vantara.Options
---@field fabric lab.Fabric
---@field faults lab.Faults
---@field copier { settings: lab.CopyPace }
---@field cert string
---@field key Secret|string
---@field port? integer
---@field username string
---@field password string
---@field storage_id string 12 digits: six of the model, six of the serial number
---@field model string
---@field ports { id: string, kind: "fc"|"iscsi" }[]
---@field alive_s number a session without requests
---@field job_s number that a job takes
---@field ending_s? number that a pair is listed yet that deletes itself
---@field data_reduction string of every volume: "disabled", "compression", …

---@class vantara.Ldev
---@field id integer
---@field label string
---@field size_bytes integer
---@field path string backing file
---@field naa string
---@field paths { group: vantara.Group, lun: integer }[]

---@class vantara.Group
---@field id string "CL1-A,1"
---@field port table
---@field number integer
---@field name string
---@field members string[]
---@field iscsi_name? string

---@class lab.Vantara : lab.Array
local Vsp <const> = {}
Vsp.__index = Vsp

local FIRST_LDEV <const>, LAST_LDEV <const> = 0x1234, 65279
local POOL <const> = 30
local MAX_LUN <const> = 4095
local ENDING_S <const> = 0.05

-- What there is ----------------------------------------------------------------------------------------------------------------------

local function publish(self, ldev)
  self.fabric:set_maps(
    ldev.naa,
    each(
      ldev.paths,
      function(path) return { initiators = path.group.members, number = path.lun, via = path.group.id } end
    )
  )
end

local function add_group(self, port, name, members)
  local number <const> = #keep(self.groups, function(group) return group.port == port end)
  local id <const> = ("%s,%d"):format(port.id, number)
  local group <const> = { id = id, port = port, number = number, name = name, members = members }
  if port.kind == "iscsi" then
    group.iscsi_name = ("iqn.1994-04.jp.co.hitachi:rsd.e79.t.%s.%s.%d"):format(self.serial, port.id:lower(), number)
    table.insert(self.target_ports, { kind = "iscsi", id = group.iscsi_name })
  end
  self.groups[#self.groups + 1] = group
  return group
end

local function add_port(self, given)
  local port <const> = { id = given.id, kind = given.kind }
  self.ports[#self.ports + 1] = port
  if port.kind == "fc" then
    port.wwn = ("50060e80%06x%02x"):format(self.serial & 0xffffff, #self.ports)
    table.insert(self.target_ports, { kind = "fc", id = port.wwn })
  end
  add_group(self, port, port.id:sub(3) .. "-G00", {}) -- which every port has
end

function Vsp:ldev(id) return by(self.ldevs, "id", id) end
function Vsp:group(id) return by(self.groups, "id", id) end
function Vsp:is_ldev_number(id) return id ~= nil and id >= 0 and id <= LAST_LDEV end

--- Who is logged in to a port.
---@return { name: string, group: vantara.Group? }[]
function Vsp:logins(port)
  local logins <const> = {}
  for _, hba in ipairs(self.fabric.hbas) do
    local name <const> = hba.kind == port.kind and (hba.wwpn or hba.iqn)
    if name and esxi.reaches(hba, { array = "vantara" }) then
      local group <const> = find(self.groups, function(group)
        return group.port == port
          and find(group.members, function(member) return fabric.initiator(member) == fabric.initiator(name) end)
      end)
      logins[#logins + 1] = { name = name, group = group }
    end
  end
  return logins
end

--- Volumes as Hitachi Storage Plug-in for Containers makes them, or an administrator.
function Vsp:provision(given)
  local id <const> = FIRST_LDEV + #self.ldevs
  local low <const> = self.serial & 0xffff
  local ldev <const> = {
    id = id,
    label = given.pv and ("spc-%s"):format(given.pv:sub(-10)) or given.name,
    size_bytes = given.size_bytes,
    path = given.file,
    naa = ("naa.60060e8022%04x005060%04x0000%04x"):format(low, low, id),
    pool = POOL,
    data_reduction = self.data_reduction,
    paths = {},
  }
  self.ldevs[#self.ldevs + 1] = ldev
  self.fabric:add_lun {
    naa = ldev.naa,
    path = ldev.path,
    size_bytes = ldev.size_bytes,
    array = "vantara",
    vendor = "HITACHI",
    model = "OPEN-V",
    target_ports = self.target_ports,
  }
  local handle <const> = ("01--fc--%s--%d--%s"):format(self.storage_id, id, ldev.label)
  return {
    id = id,
    naa = ldev.naa,
    csi = { driver = "hspc.csi.hitachi.com", volumeHandle = handle, volumeAttributes = {} },
  }
end

function Vsp:show(name, initiators, ids)
  for _, port in ipairs(self.ports) do
    local members <const> = keep(initiators, function(id) return (id:find "^iqn" and "iscsi" or "fc") == port.kind end)
    local group <const> = add_group(self, port, name, members)
    for _, id in ipairs(ids) do
      self:add_path(self:ldev(id), group)
    end
  end
end

-- Paths ------------------------------------------------------------------------------------------------------------------------------

local function is_used(self, group, lun)
  return find(self.ldevs, function(ldev)
    return find(ldev.paths, function(path) return path.group == group and path.lun == lun end) ~= nil
  end)
end

--- Show an LDEV to a host group, under the lowest number that is free unless one is wanted.
---@return integer lun
function Vsp:add_path(ldev, group, wanted)
  if by(ldev.paths, "group", group) then
    rest.refuse(500, "KART40046-E", "The LU path is already defined.", { "B958", "015A" })
  end
  if wanted and is_used(self, group, wanted) then
    rest.refuse(500, "KART40046-E", "The LUN is used by another LDEV.", { "B958", "0947" })
  end
  local lun = wanted or 0
  while not wanted and is_used(self, group, lun) do
    lun = lun + 1
  end
  if lun > MAX_LUN then rest.refuse(500, "KART40046-E", "No LUN is free.", { "B958", "0231" }) end
  table.insert(ldev.paths, { group = group, lun = lun })
  publish(self, ldev)
  return lun
end

---@return boolean removed
function Vsp:remove_path(group, lun)
  for _, ldev in ipairs(self.ldevs) do
    for i, path in ipairs(ldev.paths) do
      if path.group == group and path.lun == lun then
        table.remove(ldev.paths, i)
        publish(self, ldev)
        return true
      end
    end
  end
  return false
end

-- Pairs ------------------------------------------------------------------------------------------------------------------------------

--- Begin to clone.
function Vsp:add_pair(group, pvol, svol)
  if by(self.pairs, "svol", svol) then
    rest.refuse(500, "KART40046-E", "The S-VOL is used by another pair.", { "2E30", "0078" })
  end
  local mu <const> = #keep(self.pairs, function(pair) return pair.pvol == pvol end) + 3
  local pair <const> = { group = group, pvol = pvol, svol = svol, mu = mu, copy = array_copy.start(pvol, svol) }
  self.pairs[#self.pairs + 1] = pair
  return pair
end

function Vsp:pair(pvol_id, mu)
  return find(self.pairs, function(pair) return pair.pvol.id == pvol_id and pair.mu == mu end)
end

function Vsp:delete_pair(pair)
  pair.copy.state, pair.ending_s = "stopped", timer.now()
end

---@return "COPY"|"PSUP"|"PSUE"|"SMPP"
function Vsp:pair_status(pair)
  if pair.ending_s then return "SMPP" end
  if pair.copy.state == "failed" then return "PSUE" end
  return pair.copy.done == 0 and "COPY" or "PSUP"
end

-- What goes on by itself: copies move, pairs that are through delete themselves, jobs end.
function Vsp:advance()
  local now <const> = timer.now()
  for _, pair in ipairs(self.pairs) do
    array_copy.advance(pair.copy, self.copier.settings)
    if pair.copy.state == "done" then pair.ending_s = pair.ending_s or now end
  end
  self.pairs = keep(self.pairs, function(pair) return not pair.ending_s or now - pair.ending_s < self.ending_s end)
  for _, job in ipairs(self.jobs) do
    rest.run_due(job)
  end
end

-- The door ---------------------------------------------------------------------------------------------------------------------------

function Vsp:about() return { env = { STORAGE_ID = self.storage_id } } end

--- The next job is to end badly.
---@param is_wanted boolean
function Vsp:fail_job(is_wanted) self.fails_job = is_wanted or nil end

function Vsp:expire() self.sessions = {} end

function Vsp:state()
  self:advance()
  return {
    groups = each(
      self.groups,
      function(group) return { id = group.id, name = group.name, members = group.members } end
    ),
    ldevs = each(self.ldevs, function(ldev)
      local paths <const> = each(ldev.paths, function(path) return { group = path.group.id, lun = path.lun } end)
      return { id = ldev.id, label = ldev.label, naa = ldev.naa, size_bytes = ldev.size_bytes, paths = paths }
    end),
    pairs = each(
      self.pairs,
      function(pair) return { group = pair.group, pvol = pair.pvol.id, svol = pair.svol.id } end
    ),
    sessions = #self.sessions,
  }
end

function Vsp:handle(request)
  self:advance()
  return rest.handle(self, request)
end

function Vsp:close()
  if self.server then self.server:close() end
  self.server = nil
end

--- The array without a socket: `array:handle(request)`.
---@param options vantara.Options
---@return lab.Vantara array
function M.new(options)
  local self <const> = setmetatable({
    fabric = options.fabric,
    copier = options.copier,
    username = options.username,
    password = options.password,
    storage_id = options.storage_id,
    serial = math.tointeger(tonumber(options.storage_id:sub(7))),
    model = options.model,
    alive_s = options.alive_s,
    job_s = options.job_s,
    ending_s = options.ending_s or ENDING_S,
    data_reduction = options.data_reduction,
    pool = POOL,
    ports = {},
    target_ports = {},
    groups = {},
    ldevs = {},
    pairs = {},
    jobs = {},
    sessions = {},
  }, Vsp)
  for _, port in ipairs(options.ports) do
    add_port(self, port)
  end
  return self
end

---@param options vantara.Options
---@return lab.Vantara array
function M.start(options)
  local self <const> = M.new(options)
  self.server = assert(server.listen {
    port = options.port,
    cert = options.cert,
    key = options.key,
    on_request = options.faults:wrap("vantara", function(request) return self:handle(request) end),
  })
  self.port = self.server.port
  return self
end

return M
