--- Acme Box over its REST API. A skeleton that works on the simulated array beside it, lab/acme.lua: bend both to your array, one function
--- after the other. "Ask:" says what each function must find out. The contract is in docs/vendors.md.
local codec <const> = require "lunalift.codec"
local device <const> = require "lib.device"
local fail <const> = require "lib.fail"
local initiator <const> = require "lib.initiator"
local list <const> = require "lib.list"
local pages <const> = require "lib.pages"
local rest <const> = require "lib.rest"

local VOLUMES <const>, HOSTS <const>, MAPS <const>, COPIES <const> = "/volumes", "/hosts", "/maps", "/copies"

local WWN_DIGITS <const> = 32
local OUI <const> = "60ac3e" -- the first digits of every volume's WWN: they tell this array's devices from others'
local HOST_NAME_LENGTH <const> = 31

---@type lib.Vendor
local M <const> = {
  api = 1,
  name = "acme",
  title = "Acme Box",
  drivers = { "csi.acme.example" }, -- spec.csi.driver of the PersistentVolumes that it resolves
  fabrics = { "iscsi", "fc" },
  limits = { requests_per_s = 20 },
  options = { -- each is checked, documented, put into the Secret's template, and in `conf` by its name
    pool = { type = "string", env = "ACME_POOL", help = "pool of the volumes, if only one may be used" },
  },
  maintainer = "you",
  status = "experimental",
}

---@class acme.Box : lib.Array
---@field api lib.Rest
---@field pool? string
---@field system table
local Box <const> = {}
Box.__index = Box

-- Asking ---------------------------------------------------------------------------------------------------------------------------

-- Ask: how does the array word a refusal, which of its codes mean something to the core, and what should the user do about them?
-- Does it refuse with status 200, too? Then add `refuses`.
local ERRORS <const> = {
  by = "Acme Box",
  meanings = {
    missing = { "not_found" },
    exists = { "conflict" },
    mapped = { "conflict" },
    in_use = { "conflict" },
    full = { "no_space", "the host sees as many volumes as it can: unmap some" },
    busy = { "busy" },
  },
  hints = { [403] = "give the account a role that may map volumes" },
  elsewhere = "STORAGE_HOSTNAME must name the management address of the array, Acme Box",
  read = function(body)
    local said <const> = body.error
    return said and { text = said.message, codes = { said.code } }
  end,
}

-- Ask: how does one log in, what do later requests bear, and how does the array say that it has forgotten it? Where user name and
-- password go with every request there is no session: write `basic = true` instead.
local SESSION <const> = {
  login = function(client, conf)
    local reply <const> = assert(client:post("/login", { json = { user = conf.username, password = conf.password } }))
    local token <const> = type(reply.json) == "table" and reply.json.token
    if type(token) ~= "string" then fail.raise("protocol", "the answer to the login holds no token") end
    return { Authorization = "Bearer " .. token }
  end,
  lost = function(why) return why.status == 401 end,
  logout = function(client) return client:post "/logout" end,
}

-- Ask: how do lists come in pages?
function Box:list(path, query)
  query = query or {}
  return pages.all(function(cursor)
    query.cursor = cursor
    local answer <const> = self.api:get(path, query)
    if type(answer.items) ~= "table" then self.api:raise_senseless(path) end
    return answer.items, answer.next
  end)
end

--- A wrong address, user name or option is to fail here.
---@param conf table as every vendor's, with pool
---@return acme.Box array
function M.open(conf)
  local self <const> = setmetatable({ pool = conf.pool }, Box)
  self.api = rest.open(conf, { path = "/api/v1", errors = ERRORS, session = SESSION })
  self.system = self.api:get "/system"
  return self
end

function Box:info()
  return { vendor = "Acme", product = "Acme Box", model = self.system.model, version = self.system.version }
end

--- Ask: which target ports are up, as hosts know them: IQNs, and for FC 16 hex digits of the WWPN.
function Box:targets()
  local up <const> = list.filter(self:list "/ports", function(port) return port.up end)
  return list.map(up, function(port) return { kind = port.kind, id = port.name } end)
end

-- Volumes --------------------------------------------------------------------------------------------------------------------------

-- Ask: how does ESXi's device name, naa.… or eui.…, follow from what the array tells? If only a mapping makes it known, leave `naa` away
-- here and let `map` tell it.
local function lun_from(record)
  local wwn <const>, size <const> = tostring(record.wwn):lower(), math.tointeger(record.size_bytes)
  if #wwn ~= WWN_DIGITS or wwn:find "%X" or not size then
    fail.raise("protocol", 'volume %s has WWN "%s" and %s bytes', record.name, record.wwn, record.size_bytes)
  end
  return { id = record.id, name = record.name, naa = "naa." .. wwn, size_bytes = size, serial = record.serial }
end

--- Ask: what does the CSI driver write into the PersistentVolume's handle and attributes, and how is the volume found by it? Never guess.
---@param pv { name: string, handle: string, driver: string, attributes: table<string, string> }
---@return lib.Lun lun
function Box:lun_of(pv)
  local id <const> = (pv.handle or ""):match "^[%w-]+$"
  if not id then
    fail.advise(
      "config",
      "a handle is a volume's id: letters and digits",
      'volume %s has the handle "%s"',
      pv.name,
      pv.handle
    )
  end
  local record <const> = self.api:find(VOLUMES .. "/" .. id)
  if not record then
    local hint <const> = "was it deleted? check that the PersistentVolume is of this array"
    fail.advise("not_found", hint, "no volume %s on %s (handle of %s)", id, self.api.site, pv.name)
  end
  if self.pool and record.pool ~= self.pool then
    local hint <const> = ("set ACME_POOL to %s, or take it away"):format(record.pool)
    fail.advise("config", hint, "volume %s is in pool %s, not in %s", pv.name, record.pool, self.pool)
  end
  return lun_from(record)
end

--- Ask: which volume is this device, or this vVol? nil for other arrays'. Needed for copies inside the array.
---@param by { naa: string?, vvol: string? }
---@return lib.Lun? lun
function Box:find_lun(by)
  local wwn <const> = device.own(by, OUI, WWN_DIGITS)
  local query <const> = wwn and { wwn = wwn } or by.vvol and { vvol = device.vvol(by.vvol) }
  local record <const> = query and self:list(VOLUMES, query)[1]
  return record and lun_from(record) or nil
end

-- Hosts ----------------------------------------------------------------------------------------------------------------------------

-- Ask: how does the array write an initiator?
local function port_name(port) return port.kind == "fc" and initiator.wwpn(port.id) or port.id end

-- Ask: how long may a host's name be? What is longer becomes a digest, always the same.
local function host_name(name)
  return #name <= HOST_NAME_LENGTH and name or "xcopy-" .. codec.sha256(name):sub(1, HOST_NAME_LENGTH - 6)
end

local function host_from(record, name)
  return { id = record.id, name = record.name, ports = record.ports, ours = record.name == host_name(name) }
end

--- Ask: through which host objects do these ports see volumes? On this array a port belongs to one host object at most, so that whoever has
--- it is used, and nobody's port is ever taken away.
---@return lib.ArrayHost[]
function Box:hosts_of(initiators, name)
  local own <const> = host_name(name)
  local suiting <const> = list.filter(
    self:list(HOSTS),
    function(host) return host.name == own or #initiator.among(initiators, host.ports) > 0 end
  )
  return list.map(suiting, function(host) return host_from(host, name) end)
end

--- Made and filled in one request, so that nothing half-made is left. What exists is a conflict. An array that cannot make hosts has
--- `why_none` instead.
---@return lib.ArrayHost
function Box:create_host(name, initiators)
  local own <const>, ports <const> = host_name(name), list.map(initiators, port_name)
  local record <const>, why <const> = self.api:change("POST", HOSTS, { name = own, ports = ports })
  fail.assert(record, why, "make host %s of %s", own, table.concat(ports, ", "))
  return record.id and host_from(record, name) or self.api:raise_senseless(HOSTS)
end

--- Only one that nothing is mapped to.
---@return "removed"|"in use" outcome
function Box:remove_host(host)
  local gone <const>, why <const> = self.api:remove(HOSTS .. "/" .. host.id)
  if gone then return "removed" end
  if why.code == "in_use" then return "in use" end
  error(fail.wrap(why, "remove host %s", host.name))
end

-- Mappings -------------------------------------------------------------------------------------------------------------------------

--- Ask: which host objects see the volume, and by which LUN number?
---@return lib.ArrayHost[]
function Box:maps_of(lun)
  return list.map(
    self:list(MAPS, { volume = lun.id }),
    function(map) return { id = map.host.id, name = map.host.name, number = map.number } end
  )
end

--- Ask: what does a host see? For `lunalift reap --scan`.
---@return lib.Lun[]
function Box:luns_of(host)
  return list.map(
    self:list(MAPS, { host = host.id }),
    function(map) return lun_from(self.api:get(VOLUMES .. "/" .. map.volume.id)) end
  )
end

---@return "made"|"existing" outcome
---@return lib.Lun lun with `number`, and whatever else mapping made known
function Box:map(lun, host)
  local map, outcome = list.find(self:maps_of(lun), "id", host.id), "existing"
  if not map then
    local made <const>, why = self.api:change("POST", MAPS, { volume = lun.id, host = host.id })
    if not made and why.code ~= "mapped" then error(fail.wrap(why, "map volume %s to host %s", lun.name, host.name)) end
    map = made or list.find(self:maps_of(lun), "id", host.id)
    outcome = made and "made" or "existing"
  end
  lun.number = map and map.number
  return outcome, lun
end

--- What is not mapped is unmapped.
function Box:unmap(lun, host)
  local gone <const>, why <const> = self.api:remove(("%s/%s/%s"):format(MAPS, lun.id, host.id))
  return fail.assert(gone, why, "unmap volume %s from host %s", lun.name, host.name)
end

-- Copies inside the array: take them away, with find_lun, if it cannot overwrite one volume with another -----------------------------

--- Ask: can a copy bear an id of ours? Then a second start is the first one's. Else find the copy by source and target.
function Box:copy_start(id, source, target)
  local body <const> = { id = id, source = source.id, target = target.id }
  local started <const>, why <const> = self.api:change("POST", COPIES, body)
  if not started and why.code ~= "exists" then
    error(fail.wrap(why, "copy volume %s onto %s", source.name, target.name))
  end
end

---@return lib.CopyState? state nil when the array knows no such copy
function Box:copy_poll(id)
  local copy <const> = self.api:find(COPIES .. "/" .. id)
  return copy and { state = copy.state, percent = copy.percent, reason = copy.reason }
end

--- When this returns nothing of the copy writes any more.
function Box:copy_stop(id)
  local gone <const>, why <const> = self.api:remove(COPIES .. "/" .. id)
  return fail.assert(gone, why, "stop the copy %s", id)
end

function Box:close() self.api:close() end

return M
