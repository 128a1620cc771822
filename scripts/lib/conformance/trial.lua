--- An array, opened as the core does, and what a case needs to set its scene there and to put everything back.
local arrays <const> = require "lib.arrays"
local codec <const> = require "lunalift.codec"
local contract <const> = require "lib.vendor_contract"
local jobs <const> = require "lib.job"
local judge <const> = require "lib.conformance.judge"
local report <const> = require "lib.report"
local retry <const> = require "lib.retry"
local task <const> = require "lunalift.task"

local M <const> = {}

--- What a vendor is tried on: the lab's array (lab.array_rig), or a real one (lib.conformance.real).
---@class lib.Rig
---@field vendor table metadata
---@field about string for people
---@field conf table as lib.arrays takes it
---@field pvs table[] two, as lun_of takes them
---@field naas? string[] their devices, where they are known
---@field size_bytes? integer of each
---@field initiators lib.Initiator[] of one ESXi host
---@field strangers lib.Initiator[] that no host object holds
---@field secrets table<string, true>
---@field overwrites boolean the second volume may be copied onto
---@field state fun(self, t: lib.Trial): table the array's objects
---@field renew? fun(self) make it as it was in the beginning; only the lab's array has that, and what follows
---@field end_sessions? fun(self) those that were left open
---@field crowd? fun(self, count: integer) as many host objects of other hosts, that see the first volume
---@field interpose? fun(self, k: integer?, act: fun()?) done by others before the k-th request from now on is served
---@field has_jobs? fun(self): boolean can a job of the array be made to end badly?
---@field strike? fun(self, rule: table?)
---@field requests? lib.RigRequest[]
---@field sessions? fun(self): integer?
---@field wrong_password? Secret
---@field visits? integer how often another host was asked
---@field elsewhere? string its URL

---@class lib.RigRequest
---@field method string or the call of an RPC
---@field path string
---@field body? string how it begins, without secrets
---@field sent string all of it, to compare
---@field effect boolean it is to change something
---@field struck? string the fault
---@field status? integer
---@field changed? boolean an object of the array is another one since
---@field turned? boolean a session has begun, or ended

---@class lib.Trial
---@field rig lib.Rig
---@field array lib.Array
---@field login lib.ArrayLogin
---@field has table<string, boolean> the functions of the contract that the array has
---@field host_name string of a host object of our own
---@field copy? lib.ArrayCopy of the case
---@field ports lib.Initiator[] that such a one is made of: the host's, or where these have a host object those of nobody
local Trial <const> = {}
Trial.__index = Trial

M.HOST_NAME = "xcopy-vendor-test-00000000"

--- Log in. Without patience: each question is asked once, so that what it raises is seen.
---@param rig lib.Rig
---@param changes? table of conf; false: absent
---@return lib.Trial
function M.open(rig, changes)
  local conf <const> = {}
  for key, value in pairs(rig.conf) do
    conf[key] = value
  end
  for key, value in pairs(changes or {}) do
    conf[key] = value or nil
  end
  local job <const> =
    jobs.new { name = "vendor test", request = { patience_s = 0 }, site = {}, report = report.new "quiet" }
  local login <const> = arrays.login(job, rig.vendor.name, conf)
  local self <const> = setmetatable({
    rig = rig,
    login = login,
    array = arrays.of(job, login),
    has = {},
    host_name = M.HOST_NAME,
  }, Trial)
  for _, each in ipairs(contract.FUNCTIONS) do
    self.has[each.name] = login.inside:call("has", each.name)
  end
  return self
end

--- Before any case, for the host may have a host object already.
function Trial:choose_ports()
  local is_free <const> = not self.has.create_host or not self:hosts()[1]
  self.ports = is_free and self.rig.initiators or self.rig.strangers
end

--- Log out, which fails nobody.
function Trial:close()
  local _, why <const> = self.login.inside:call("call", "close")
  self.login.inside:close()
  if why then judge.check_clean(why) end
end

--- One function of the contract, once.
---@return any ... its results; nil and the failure
function Trial:ask(name, ...)
  local results <const> = table.pack(self.array:ask(name, ...))
  judge.check_secrets(self.rig.secrets, results)
  return table.unpack(results, 1, results.n)
end

--- The same where there is nothing wrong, so that it must succeed.
function Trial:sure(name, ...)
  local results <const> = table.pack(self:ask(name, ...))
  local why <const> = results[1] == nil and results[2]
  if why then judge.wrong(("%s succeeds: nothing is wrong"):format(name), "%s", judge.text(why)) end
  return table.unpack(results, 1, results.n)
end

---@param i? integer which of the two volumes
---@return lib.Lun
function Trial:lun(i) return self:sure("lun_of", self.rig.pvs[i or 1]) end

--- The host's host objects.
---@return lib.ArrayHost[]
function Trial:hosts() return self:sure("hosts_of", self.rig.initiators, self.host_name) end

--- Those of our own, where such a one can be made.
---@return lib.ArrayHost[]
function Trial:own_hosts() return self:sure("hosts_of", self.ports, self.host_name) end

--- The one that is there, or one of our own.
---@return lib.ArrayHost
function Trial:host() return self:hosts()[1] or self:sure("create_host", self.host_name, self.ports) end

---@return lib.ArrayHost
function Trial:own_host() return self:own_hosts()[1] or self:sure("create_host", self.host_name, self.ports) end

---@return table? map as maps_of tells it
function Trial:map_of(lun, host)
  for _, map in ipairs(self:sure("maps_of", lun)) do
    if map.id == host.id then return map end
  end
end

--- Of the first volume onto the second, not yet started.
---@return lib.ArrayCopy
function Trial:new_copy()
  self.copy = { id = codec.uuid(), source = self:lun(1), target = self:lun(2) }
  return self.copy
end

--- Put everything back that a case may have made: what the core's promises do.
function Trial:clean()
  local copy <const> = self.copy
  if copy then self:sure("copy_stop", copy.id, copy) end
  self.copy = nil
  for _, hosts in ipairs { self:hosts(), self.ports ~= self.rig.initiators and self:own_hosts() or {} } do
    for _, host in ipairs(hosts) do
      for i in ipairs(self.rig.pvs) do
        self:sure("unmap", self:lun(i), host)
      end
      if host.ours then self:sure("remove_host", host) end
    end
  end
end

--- At once; a conflict, and what may be tried again, is no harm.
---@param ... fun(): any, Fail?
function M.both(...)
  local tasks <const> = {}
  for i, act in ipairs { ... } do
    tasks[i] = task.spawn(act)
  end
  for _, each in ipairs(tasks) do
    local done <const>, why <const> = each:wait()
    local is_harmless <const> = done ~= nil or why == nil or why.kind == "conflict" or retry.is_passing(why)
    if not is_harmless then judge.wrong("both succeed, or one finds a conflict", "%s", judge.text(why)) end
  end
end

return M
