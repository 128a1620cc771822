--- One of the lab's arrays by itself, with an ESXi host on its fabric and volumes of a few MiB: what a vendor script is tried on.
local certificate <const> = require "lunalift.certificate"
local codec <const> = require "lunalift.codec"
local copier <const> = require "lab.copier"
local fabric <const> = require "lab.fabric"
local fail <const> = require "lib.fail"
local faults <const> = require "lab.faults"
local fs <const> = require "lunalift.fs"
local judge <const> = require "lib.conformance.judge"
local json <const> = require "lunalift.json"
local list <const> = require "lab.list"
local masks <const> = require "lib.masks"
local process <const> = require "lunalift.process"
local scenario <const> = require "lab.scenario"
local script <const> = require "lunalift.script"
local secret <const> = require "lunalift.secret"
local server <const> = require "lunalift.server"

---@class lab.array_rig
local M <const> = {}

local SERVICE <const> = "array"
local SIZE_BYTES <const> = 1 << 20
local PAGE <const> = 50 -- where an array's page is as long as one wants
local PVS <const> = { "pvc-6a1f0c52-0001", "pvc-6a1f0c52-0002" }
local USERNAME <const>, PASSWORD <const> = "lab & user", [[CanaryArray57K<&"'%41\ö]]

-- The ports of the ESXi host, of another one that uses the first volume, and of one that the array never saw.
local OURS <const> = {
  { device = "vmhba2", kind = "fc", wwnn = "20000025b5000a01", wwpn = "20000025b5000a02" },
  { device = "vmhba64", kind = "iscsi", iqn = "iqn.1998-01.com.vmware:esx-01.lab.example:1234:64" },
  { device = "vmhba66", kind = "nvme", nqn = "nqn.2014-08.example.lab:nvme:esx-01" },
  { device = "vmhba67", kind = "sdc", guid = "9E56672F-2F4B-4A42-BFF4-88B6846FBFDA" },
}
local FOREIGN <const> = {
  fc = "20000025b500ee02",
  iscsi = "iqn.1994-05.com.redhat:worker-7",
  nvme = "nqn.2014-08.org.nvmexpress:uuid:worker-7",
  sdc = "71D2A5E0-3C0B-4B7C-8E0D-0B6F1F5C7707",
}
local CROWD <const> = {
  fc = "20000025b5c%05x",
  iscsi = "iqn.1994-05.com.redhat:crowd-%d",
  nvme = "nqn.2014-08.org.nvmexpress:uuid:crowd-%d",
  sdc = "C0000000-0000-4000-8000-%012X",
}
local STRANGERS <const> = {
  fc = "fc.20000025b5ffff01:20000025b5ffff02",
  iscsi = "iqn.1998-01.com.vmware:nobody:1:64",
  nvme = "nqn.2014-08.example.lab:nvme:nobody",
  sdc = "00000000-0000-4000-8000-000000000000",
}

---@class lab.ArrayRig : lib.Rig
local Rig <const> = {}
Rig.__index = Rig

-- What there is --------------------------------------------------------------------------------------------------------------------

local function wire_name(hba) return hba.iqn or hba.wwpn or hba.nqn or hba.guid end

-- The host's adapters, of the fabrics that both speak.
local function plug(self)
  local speaks <const> = self.array.fabrics or { iscsi = true, fc = true }
  for _, kind in ipairs(self.vendor.fabrics) do
    local hba <const> = speaks[kind] and list.by(OURS, "kind", kind)
    if hba then
      self.fabric:plug { hba }
      local id <const> = kind == "fc" and ("fc.%s:%s"):format(hba.wwnn, hba.wwpn) or wire_name(hba)
      table.insert(self.initiators, { kind = kind, id = id, adapter = hba.device })
      table.insert(self.strangers, { kind = kind, id = STRANGERS[kind], adapter = "vmhba99" })
      table.insert(self.ids, wire_name(hba))
      table.insert(self.foreign_ids, FOREIGN[kind])
      table.insert(self.kinds, kind)
    end
  end
  if not self.initiators[1] then
    local hint <const> = "give the lab's array `fabrics` of those that the vendor lists: { iscsi = true }"
    fail.advise("config", hint, "the lab's array speaks none of the vendor's fabrics")
  end
end

local function add_volume(self, name, pv)
  local file <const> = self.dir .. "/" .. name
  assert(fs.truncate(file, SIZE_BYTES))
  local volume <const> = self.array:provision { name = name, pv = pv, size_bytes = SIZE_BYTES, file = file }
  self.copier:add(volume.naa, name, file, SIZE_BYTES)
  return volume
end

local function show(self, name, host, ids, volume)
  self.array:show(name, ids, { volume.id }, { { name = host, initiators = ids } })
end

-- The volumes of two claims, a datastore that production uses through a host object of the ESXi host, and another host's mapping.
local function provision(self)
  show(self, "esx_production_1", "esx-01.lab.example", self.ids, add_volume(self, "ds_1"))
  for i, pv in ipairs(PVS) do
    local volume <const> = add_volume(self, pv, pv)
    self.naas[i] = volume.naa
    self.pvs[i] = {
      name = pv,
      driver = volume.csi.driver,
      handle = volume.csi.volumeHandle,
      attributes = volume.csi.volumeAttributes or {},
    }
    if i == 1 then
      self.shared_volume = volume
      show(self, "worker_7", "worker-7", self.foreign_ids, volume)
    end
  end
end

-- Its requests ---------------------------------------------------------------------------------------------------------------------

-- Headers by which a script says who it is.
local TELLING <const> = { "auth", "token", "session", "key", "cookie" }

local function keep_secrets(self, request)
  for name, value in pairs(request.headers) do
    for _, part in ipairs(TELLING) do
      local word <const> = value:match(name == "cookie" and "=(.+)$" or "%S+$")
      if word and name:find(part, 1, true) then self.secrets[word] = true end
    end
  end
end

local function expire_in_time(self)
  if not self.expires_in then return end
  if self.expires_in == 0 then self.array:expire() end
  self.expires_in = self.expires_in - 1
end

local BODY_LETTERS <const> = 100

-- How a body begins, for people.
local function body_shown(self, body)
  local value <const> = body ~= "" and json.decode(body) or nil
  if type(value) ~= "table" then return nil end
  local text = json.encode(masks.plain(value))
  for word in pairs(self.secrets) do
    text = text:gsub(word:gsub("%p", "%%%0"), masks.MASK)
  end
  return #text <= BODY_LETTERS and text or text:sub(1, BODY_LETTERS) .. "…"
end

-- What others do in the moment before a request is served.
local function let_others_act(self)
  local act <const> = self.between
  if not act then return end
  self.before_request = self.before_request - 1
  if self.before_request > 0 then return end
  self.between = nil
  act()
end

-- Each request, with what it did to the array.
local function watched(self, handler, options)
  local function refuses(answer) return options and options.refuses and options.refuses(answer) end
  return function(request)
    let_others_act(self)
    keep_secrets(self, request)
    expire_in_time(self)
    local entry <const> = {
      path = request.path,
      body = body_shown(self, request.body),
      sent = ("%s %s?%s %s"):format(request.method, request.path, request.query, request.body),
    }
    self.requests[#self.requests + 1] = entry
    local n <const>, state <const>, sessions <const> = #self.faults.requests + 1, self:state(), self:sessions()
    local is_refused = false
    local answer <const> = self.faults:wrap(SERVICE, function(asked)
      local said <const> = handler(asked)
      is_refused = said and refuses(said)
      return said
    end, options)(request)
    local noted <const> = self.faults.requests[n]
    entry.method, entry.effect, entry.struck, entry.status = noted.method, noted.effect, noted.fault, noted.status
    entry.changed = noted.effect and not is_refused and not judge.same(state, self:state())
    entry.turned = sessions ~= self:sessions()
    return answer
  end
end

--- Let one rule strike; nil: none.
---@param rule? { action: string, after: integer, times: integer }
function Rig:strike(rule)
  local action <const> = rule and rule.action
  self.expires_in = action == "expire" and rule.after or nil
  if self:has_jobs() then self.array:fail_job(action == "job") end
  if rule then rule.service = SERVICE end
  self.faults:set { action ~= "expire" and action ~= "job" and rule or nil }
end

---@return boolean
function Rig:has_jobs() return self.array.fail_job ~= nil end

--- Have `act` done by others before the k-th request from now on is served; nil: nobody.
---@param k? integer
---@param act? fun()
function Rig:interpose(k, act)
  self.before_request, self.between = k, act
end

--- End sessions that were left open, as arrays do in time: few bear many.
function Rig:end_sessions()
  if (self:sessions() or 0) > 1 then self.array:expire() end
end

--- Many more host objects, of other hosts, that see the volume of the first claim.
---@param count integer
function Rig:crowd(count)
  for i = 1, count do
    local host <const> = ("a-host-%03d"):format(i)
    show(self, host, host, list.each(self.kinds, function(kind) return CROWD[kind]:format(i) end), self.shared_volume)
  end
end

-- An array with sessions counts them in its state.
function Rig:sessions() return self.array:state().sessions end

function Rig:state()
  local state <const> = self.array:state()
  state.sessions = nil
  return state
end

-- The whole ------------------------------------------------------------------------------------------------------------------------

local function start_array(self)
  local options <const> = scenario.merge(self.settings, {
    username = USERNAME,
    password = PASSWORD,
    fabric = self.fabric,
    copier = self.copier,
    cert = self.leaf.cert,
    key = self.leaf.key,
    job_s = 0, -- what arrays take their time for
    ending_s = 0,
    page_limit = PAGE,
  })
  options.faults = { wrap = function(_, _, ...) return watched(self, ...) end }
  self.array = require("lab." .. self.vendor.name).start(options)
end

--- A new array, as it was in the beginning.
function Rig:renew()
  if self.array then self.array:close() end
  self.fabric, self.faults = fabric.new(), faults.new()
  self.pvs, self.naas, self.initiators, self.strangers = {}, {}, {}, {}
  self.kinds, self.ids, self.foreign_ids = {}, {}, {}
  start_array(self)
  plug(self)
  provision(self)
  self.conf.hostname = "127.0.0.1:" .. self.array.port
end

local function listen_elsewhere(self)
  self.other = assert(server.listen {
    on_request = function()
      self.visits = self.visits + 1
      return { status = 200, body = "" }
    end,
  })
  self.elsewhere = ("http://localhost:%d/"):format(self.other.port)
end

local function check_there_is(product)
  if script.find("lab." .. product) then return end
  local why <const> = fail.new("config", "the lab has no array %s", product)
  error(
    fail.hint(
      why,
      "write lab/%s.lua beside vendors/%s.lua, in the folder given by --scripts or LUNALIFT_SCRIPTS; or try a real array, with --array",
      product,
      product
    )
  )
end

---@param vendor table as lib.arrays describes it
---@param settings table what a scenario says of the array
---@return lab.ArrayRig
function M.start(vendor, settings)
  check_there_is(vendor.name)
  local leaf <const> = assert(certificate.leaf { cn = "array.lab.example", names = { "IP:127.0.0.1" } })
  local self <const> = setmetatable({
    vendor = vendor,
    settings = settings,
    about = "the lab's array",
    dir = assert(process.run({ argv = { "mktemp", "-d" } }).out:match "%S+"),
    leaf = leaf,
    copier = copier.start(faults.new()),
    size_bytes = SIZE_BYTES,
    overwrites = true,
    secrets = { [PASSWORD] = true, [codec.base64(USERNAME .. ":" .. PASSWORD)] = true },
    requests = {},
    visits = 0,
    wrong_password = secret.new "wrong",
    conf = {
      username = USERNAME,
      password = secret.new(PASSWORD),
      tls = { thumbprint = leaf.sha256 },
      limits = {}, -- the lab bears any pace
    },
  }, Rig)
  self.copier.settings = { hang_at = 50 } -- copies stand still, so that two looks see the same
  self:renew()
  listen_elsewhere(self)
  self.env = self.array:about().env or {}
  return self
end

function Rig:close()
  for _, service in ipairs { self.array, self.copier, self.other } do
    service:close()
  end
  process.run { argv = { "rm", "-rf", self.dir } }
end

return M
