--- The peers of a job: vCenter, array, Kubernetes; each opened once, when first needed, and closed at the end.
local arrays <const> = require "lib.arrays"
local fail <const> = require "lib.fail"
local kube <const> = require "lunalift.kube"
local task <const> = require "lunalift.task"
local vcenter <const> = require "lib.vcenter"

local M <const> = {}

---@class lib.Site
---@field job lib.Job
local Site <const> = {}
Site.__index = Site

---@class lib.SiteConf
---@field vcenter { host: string, username: string, password: Secret, tls: Trust }
---@field array { vendor: string, hostname: string, username: string?, password: Secret?, token: Secret?, tls: Trust }
---@field kube { kubeconfig: string?, master: string? }

---@param conf lib.SiteConf
---@return lib.Site
function M.new(conf) return setmetatable({ conf = conf, mutex = task.mutex(), opened = {}, last = {} }, Site) end

local function once(self, name, open)
  local _lock <close> = self.mutex:lock()
  self.opened[name] = self.opened[name] or open()
  return self.opened[name]
end

---@return lib.Vcenter
function Site:vcenter()
  return once(self, "vcenter", function() return vcenter.open(self.job, self.conf.vcenter) end)
end

---@return lib.Array
function Site:array()
  return once(self, "array", function() return arrays.open(self.job, self.conf.array.vendor, self.conf.array) end)
end

---@return Kube
function Site:kube()
  return once(self, "kube", function()
    local cluster <const>, why <const> = kube.open(self.conf.kube)
    if not cluster and not why.hint then why.hint = "check --kubeconfig, or KUBECONFIG" end
    return assert(cluster, why)
  end)
end

local function close(self, name)
  local peer <const> = self.opened[name]
  if not peer then return end
  local ok <const>, why <const> = pcall(peer.close, peer)
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
    function() close(self, "array") end,
    function() close(self, "vcenter") end,
  }
  self.opened = {}
end

return M
