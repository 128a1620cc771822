--- The peers of a job: vCenter, array, Kubernetes; each opened once, when first needed, and closed at the end, or given back where jobs
--- share them.
local arrays <const> = require "lib.arrays"
local fail <const> = require "lib.fail"
local kube <const> = require "lunalift.kube"
local peers <const> = require "lib.peers"
local task <const> = require "lunalift.task"
local vcenter <const> = require "lib.vcenter"

local M <const> = {}

---@class lib.Site
---@field job lib.Job
local Site <const> = {}
Site.__index = Site

---@class lib.SiteConf
---@field vcenter { key: string?, host: string, username: string, password: Secret, tls: Trust } key tells logins apart that jobs share
---@field array { key: string?, vendor: string, hostname: string, username: string?, password: Secret?, token: Secret?, tls: Trust }
---@field kube { kubeconfig: string?, master: string? }

---@param conf lib.SiteConf
---@param shared? lib.Peers of all jobs of this process; without it this job's alone
---@return lib.Site
function M.new(conf, shared)
  return setmetatable(
    { conf = conf, peers = shared or peers.new(), mutex = task.mutex(), opened = {}, taken = {}, last = {} },
    Site
  )
end

local function once(self, name, open)
  local _lock <close> = self.mutex:lock()
  self.opened[name] = self.opened[name] or open()
  return self.opened[name]
end

-- What this job has taken is given back once, by that name.
local function take(self, name, login)
  local key <const> = self.conf[name].key or name
  local peer <const> = self.peers:take(key, login)
  self.taken[name] = key
  return peer
end

---@return lib.Vcenter
function Site:vcenter()
  return once(self, "vcenter", function()
    local login <const> = take(self, "vcenter", function() return vcenter.login(self.job, self.conf.vcenter) end)
    return vcenter.of(self.job, login)
  end)
end

---@return lib.Array
function Site:array()
  return once(self, "array", function()
    local conf <const> = self.conf.array
    local login <const> = take(self, "array", function() return arrays.login(self.job, conf.vendor, conf) end)
    return arrays.of(self.job, login)
  end)
end

---@return Kube
function Site:kube()
  return once(self, "kube", function()
    local cluster <const>, why <const> = kube.open(self.conf.kube)
    if not cluster and not why.hint then why.hint = "check --kubeconfig, or KUBECONFIG" end
    return assert(cluster, why)
  end)
end

local function give_back(self, name)
  local key <const> = self.taken[name]
  if not key then return end
  self.taken[name] = nil
  local ok <const>, why <const> = pcall(self.peers.give, self.peers, key)
  if not ok then self.job:warn("not logged out of the %s: %s; its login ends by itself", name, fail.text(why)) end
end

--- Call its `close` when the site is closed.
---@param what { close: fun() }
function Site:closing(what) self.last[#self.last + 1] = what end

--- Log out everywhere at once, so that a peer that hangs costs no other its logout. What cannot be closed is only said.
function Site:close()
  for _, what in ipairs(self.last) do
    what.close()
  end
  task.all {
    function() give_back(self, "array") end,
    function() give_back(self, "vcenter") end,
  }
  self.opened = {}
end

return M
