--- Arrays as flows see them: the vendor contract, with what the core owns around it: a state of its own, retried reads, numbered effects.
local address <const> = require "lib.address"
local contract <const> = require "lib.vendor_contract"
local fail <const> = require "lib.fail"
local hints <const> = require "lib.hints"
local isolate <const> = require "lunalift.isolate"
local json <const> = require "lunalift.json"
local masks <const> = require "lib.masks"
local script <const> = require "lunalift.script"
local secret <const> = require "lunalift.secret"
local words <const> = require "lib.words"

local M <const> = {}

local MEMORY_BYTES <const> = 64 << 20

---@class lib.Lun
---@field id string
---@field name string
---@field naa? string as ESXi shows it, naa.… or eui.…; may be known only once mapped
---@field size_bytes integer
---@field serial? string
---@field number? integer LUN number, once mapped

---@class lib.ArrayHost
---@field id string
---@field name string by which hosts_of finds it again
---@field ours? boolean it bears our name: only such a one is ever removed
---@field ports? string[] all that it holds, as the array writes them; where it is ours
---@field shared? boolean others than this ESXi host see what is mapped to it
---@field made? boolean by this run, for certain

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
      near and ("did you mean %s?"):format(near)
        or "put its script into a folder given by --scripts or LUNALIFT_SCRIPTS, as vendors/%s.lua",
      name
    )
  )
end

local function state_for(hostname, options)
  options.module, options.hosts, options.memory_bytes = "lib.array_host", { address.host(hostname) }, MEMORY_BYTES
  return assert(isolate.open(options))
end

---@param name string the vendor's product key
---@return table metadata
---@return lunalift.isolate inside
local function load(name, hostname, ca_file)
  local inside <const> = state_for(hostname, { ca_file = ca_file })
  local vendor <const>, why <const> = inside:call("describe", name)
  if not vendor then error(fail.wrap(why, "the vendor script %s cannot be used", name)) end
  if vendor.api ~= contract.API then
    fail.raise(
      "unsupported",
      "the vendor script %s is written for api = %s; this program offers api = %d",
      name,
      vendor.api,
      contract.API
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

--- What a file would declare as the vendor `name`, whatever it says.
---@param name string
---@param path string
---@return table? metadata
---@return Fail? why
function M.describe_file(name, path)
  local inside <const> = state_for("none", { script = "vendors." .. name, file = path })
  local vendor <const>, why <const> = inside:call("describe", name)
  inside:close()
  return vendor, why
end

---@class lib.ArrayLogin an opened array that jobs can share
---@field vendor table metadata
---@field inside lunalift.isolate
---@field where string
---@field keep? fun(calls: string?, why: Fail?)
local Login <const> = {}
Login.__index = Login

local function tell_tape(self)
  if self.keep then self.keep(self.inside:call "tape") end
end

--- conf: hostname, username, password, token, tls, timeout_s, and the vendor's own options by name.
---@param job lib.Job that waits for it
---@param name string
---@param conf table
---@param keep? fun(calls: string?, why: Fail?) gets all that was asked and answered, in the end, even if that is a failed login
---@return lib.ArrayLogin
function M.login(job, name, conf, keep)
  local vendor <const>, inside <const> = load(M.check_name(name), conf.hostname, conf.tls and conf.tls.ca_file)
  conf.hostname = address.bracketed(conf.hostname)
  local self <const> = setmetatable({ vendor = vendor, inside = inside, where = conf.hostname, keep = keep }, Login)
  if keep then inside:call "record" end
  local function open() return inside:call("open", name, conf) end
  local is_open <const>, why <const> = pcall(job.read, job, "log in to " .. conf.hostname, open)
  if is_open then return self end
  tell_tape(self)
  error(why)
end

function Login:close()
  self.inside:call("call", "close")
  tell_tape(self)
  self.inside:close()
end

-- As it was given; secrets are not known any more, and need not be.
local function given_again(value)
  if value == json.null then return nil end
  if value == masks.MASK then return secret.new(value) end
  if type(value) ~= "table" then return value end
  local copy <const> = {}
  for key, inner in pairs(value) do
    copy[key] = given_again(inner)
  end
  return copy
end

--- Make the same calls once more, answered from what was kept.
---@param name string
---@param calls lib.TapeCall[]
---@return string? difference the first, in words
function M.replay(name, calls)
  local _vendor <const>, inside <const> = load(M.check_name(name), "none")
  inside:call("replay", json.encode(calls))
  local difference
  for _, call in ipairs(calls) do
    local given <const> = given_again(call.given)
    if call.call == "open" then
      inside:call("open", given[1], given[2])
    else
      inside:call("call", call.call, table.unpack(given, 1, #call.given))
    end
    difference = inside:call "difference"
    if difference then break end
  end
  inside:close()
  return difference
end

--- The array for one job.
---@param job lib.Job
---@param login lib.ArrayLogin
---@return lib.Array
function M.of(job, login)
  return setmetatable({ job = job, vendor = login.vendor, inside = login.inside, where = login.where }, Array)
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
  hints.raise("volume of another driver", {
    volume = pv.name,
    driver = pv.driver,
    vendor = self.vendor.title,
    drivers = words.list(self.vendor.drivers),
  })
end

--- Its target ports that are up; nil where it cannot tell.
---@return { kind: string, id: string }[]?
function Array:targets()
  if self:offers "targets" then return self:read "targets" end
end

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

--- The host objects through which these initiators see LUNs; none is {}.
---@return lib.ArrayHost[]
function Array:hosts_of(initiators, name) return self:read("hosts_of", initiators, name) end

--- Unless anything is mapped to it. One that is gone is removed, so that it may be said twice.
---@return "removed"|"in use"
function Array:remove_host(host)
  return self.job:effect("array.remove_host", host.name, function()
    local done <const>, why <const> = self:ask("remove_host", host)
    if why then return nil, why end
    return done or true
  end, { standin = true, look = function() end })
end

--- Does `host` see the LUN now?
---@return table? map as maps_of tells it
function Array:map_to(lun, host)
  for _, map in ipairs(self:maps_of(lun)) do
    if map.id == host.id then return map end
  end
end

function Array:unmap(lun, host)
  local target <const> = ("%s from %s"):format(lun.name, host.name)
  return self.job:effect("array.unmap", target, function()
    local _, why <const> = self:ask("unmap", lun, host)
    if why then return nil, why end
    return true
  end, { standin = true, look = function() return not self:map_to(lun, host) or nil end })
end

return M
