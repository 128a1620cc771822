--- Arrays as flows see them: the vendor contract, with what the core owns around it: a state of its own, retried reads, numbered effects.
local address <const> = require "lib.address"
local fail <const> = require "lib.fail"
local isolate <const> = require "lunalift.isolate"
local script <const> = require "lunalift.script"
local words <const> = require "lib.words"

local M <const> = {}

local API <const> = 1
local MEMORY_BYTES <const> = 64 << 20

---@class lib.Lun
---@field id string
---@field name string
---@field naa? string as ESXi shows it; may be known only once mapped
---@field size_bytes integer
---@field serial? string
---@field number? integer LUN number, once mapped

---@class lib.ArrayHost
---@field id string
---@field name string by which find_host finds it again
---@field initiators? lib.Initiator[]
---@field ours? boolean found by our name, not because it owns the initiators
---@field made? boolean told by create_host: false when it was there before

---@class lib.Array
---@field vendor table metadata
local Array <const> = {}
Array.__index = Array

--- Names of the vendors there are, built in and laid over.
---@return string[]
function M.names()
  local names <const> = {}
  for _, file in ipairs(script.list "vendors") do
    names[#names + 1] = file.name:match "^vendors%.(.+)$"
  end
  table.sort(names)
  return names
end

--- The vendor's name as the product key is spelt; raises a config failure that lists those there are.
---@param name string
---@return string
function M.check_name(name)
  local names <const> = M.names()
  for _, known in ipairs(names) do
    if known == name then return known end
  end
  local near <const> = words.nearest(name, names)
  local why <const> = fail.new("config", "no storage vendor '%s': there are %s", name, words.list(names))
  error(
    fail.hint(
      why,
      near and ("did you mean %s?"):format(near) or "put its script into a folder given by --scripts, as vendors/%s.lua",
      name
    )
  )
end

---@param name string the vendor's product key
---@return table metadata
---@return lunalift.isolate inside
local function load(name, hostname, ca_file)
  local inside <const> = assert(isolate.open {
    module = "lib.array_host",
    hosts = { address.host(hostname) },
    ca_file = ca_file,
    memory_bytes = MEMORY_BYTES,
  })
  local vendor <const>, why <const> = inside:call("describe", name)
  if not vendor then error(fail.wrap(why, "the vendor script %s cannot be used", name)) end
  if vendor.api ~= API then
    fail.raise(
      "unsupported",
      "the vendor script %s is written for api = %s; this program offers api = %d",
      name,
      vendor.api,
      API
    )
  end
  return vendor, inside
end

--- What the vendor declares, without opening an array.
---@param name string
---@return table
function M.describe(name)
  local vendor <const>, inside <const> = load(M.check_name(name), "none")
  inside:close()
  return vendor
end

--- Log in. conf: hostname, username, password, token, tls, timeout_s, and the vendor's own options by name.
---@param job lib.Job
---@param name string
---@param conf table
---@return lib.Array
function M.open(job, name, conf)
  local vendor <const>, inside <const> = load(M.check_name(name), conf.hostname, conf.tls and conf.tls.ca_file)
  conf.hostname = address.bracketed(conf.hostname)
  local self <const> = setmetatable({ job = job, vendor = vendor, inside = inside, where = conf.hostname }, Array)
  self.job:read("log in to " .. self.where, function() return inside:call("open", name, conf) end)
  return self
end

--- Call one function of the contract, once.
---@param name string
---@return any value
---@return Fail? why
function Array:ask(name, ...) return self.inside:call("call", name, ...) end

function Array:read(name, ...)
  local args <const> = table.pack(...)
  return self.job:read("array." .. name, function() return self:ask(name, table.unpack(args, 1, args.n)) end)
end

function Array:info() return self:read "info" end

--- The volume behind a PersistentVolume { name, handle, driver, attributes }.
---@return lib.Lun
function Array:lun_of(pv)
  for _, driver in ipairs(self.vendor.drivers) do
    if driver == pv.driver then return self:read("lun_of", pv) end
  end
  local why <const> = fail.new(
    "config",
    "volume %s was made by CSI driver %s, which is not one of %s",
    pv.name,
    pv.driver,
    self.vendor.title
  )
  error(
    fail.hint(why, "use a storage class of %s, or another --storage-vendor-product", words.list(self.vendor.drivers))
  )
end

function Array:targets() return self:read "targets" end
function Array:maps_of(lun) return self:read("maps_of", lun) end
function Array:luns_of(host) return self:read("luns_of", host) end

--- The volume of a device { naa = … } or a vVol { vvol = … }; nil where it is none of this array's. Optional.
---@return lib.Lun?
function Array:find_lun(id) return self:read("find_lun", id) end

--- Does the vendor have this optional function?
---@param name string
---@return boolean
function Array:offers(name)
  return self.job:read("array." .. name, function() return self.inside:call("has", name) end)
end

function Array:find_host(initiators, name) return self:read("find_host", initiators, name) end

--- The host object through which these initiators see LUNs: found, or promised and made.
---@param initiators lib.Initiator[]
---@param name string
---@return lib.ArrayHost
---@return boolean made
function Array:ensure_host(initiators, name)
  local function find() return self:find_host(initiators, name) end
  local found <const> = find()
  if found then return found, false end
  local about <const> = ("host object %s on %s"):format(name, self.where)
  local promise <const> = self.job:promise("array.remove_host", { name = name, initiators = initiators }, about)
  local is_lost = false
  local host <const> = self.job:effect("array.create_host", name, function()
    local made <const>, why <const> = self:ask("create_host", name, initiators)
    local other <const> = why and why.kind == "conflict" and find() -- made by another run meanwhile
    if other then other.made = false end
    return made or other or nil, why
  end, {
    standin = { id = "new", name = name },
    look = function()
      is_lost = true
      return find()
    end,
  })
  if host.made == false and not is_lost then -- only completed; if an answer was lost, it may be ours
    self.job:withdraw(promise)
    return host, false
  end
  if host.name ~= name then self.job:amend(promise, { name = host.name }) end -- arrays may shorten names
  return host, true
end

function Array:remove_host(host)
  return self.job:effect("array.remove_host", host.name, function()
    local done <const>, why <const> = self:ask("remove_host", host)
    if why then return nil, why end
    return done or true
  end, { standin = true, look = function() return not self:find_host(host.initiators or {}, host.name) or nil end })
end

--- Does `host` see the LUN now?
---@return table? map as maps_of tells it
function Array:map_to(lun, host)
  for _, map in ipairs(self:maps_of(lun)) do
    if map.id == host.id or map.name == host.name then return map end
  end
end

local function mapped_in_a_dry_run(lun)
  if lun.naa then return lun end
  return { id = lun.id, name = lun.name, size_bytes = lun.size_bytes, naa = "(known once mapped)" }
end

local function map_once(self, lun, host)
  local target <const> = ("%s to %s"):format(lun.name, host.name)
  local promise
  if self.job.dry_run or not self:map_to(lun, host) then
    promise = self.job:promise(
      "array.unmap",
      { lun = lun, host = host },
      ("LUN %s is mapped to %s"):format(lun.name, host.name)
    )
  end
  local is_lost = false
  local outcome <const> = self.job:effect("array.map", target, function()
    local outcome <const>, scope <const>, mapped <const> = self:ask("map", lun, host)
    if not outcome then return nil, scope end
    return { outcome = outcome, lun = mapped or lun }
  end, {
    standin = { outcome = "made", lun = mapped_in_a_dry_run(lun) },
    -- mapping again is idempotent, and tells what a mapping makes known
    look = function() is_lost = true end,
  })
  if not outcome.lun.naa then
    fail.raise("failed", "%s does not tell which device LUN %s is, now that it is mapped", self.where, lun.name)
  end
  if promise and is_lost then return outcome.lun, "made" end -- the mapping that "exists" may be ours
  if outcome.outcome == "existing" and promise then self.job:withdraw(promise) end
  return outcome.lun, outcome.outcome
end

-- The other end of the race: an empty host object is removed by whoever made it, when its run ends.
local function host_anew(self, host, why)
  local may_be_gone <const> = fail.is(why, "not_found") and host.initiators
  if not may_be_gone or self:find_host(host.initiators, host.name) then error(why) end
  return (self:ensure_host(host.initiators, host.name))
end

--- Show the LUN to the host: promised first, unless the host sees it already; then nothing is ours to undo. If the host
--- object was removed meanwhile, it is made anew.
---@param lun lib.Lun
---@param host lib.ArrayHost
---@return lib.Lun lun with what mapping made known
---@return "made"|"existing" outcome
function Array:map(lun, host)
  local done <const>, mapped, outcome = pcall(map_once, self, lun, host)
  if not done then
    mapped, outcome = map_once(self, lun, host_anew(self, host, mapped))
  end
  return mapped, outcome
end

function Array:unmap(lun, host)
  local target <const> = ("%s from %s"):format(lun.name, host.name)
  return self.job:effect("array.unmap", target, function()
    local _, why <const> = self:ask("unmap", lun, host)
    if why then return nil, why end
    return true
  end, { standin = true, look = function() return not self:map_to(lun, host) or nil end })
end

function Array:close()
  self.inside:call("call", "close")
  self.inside:close()
end

return M
