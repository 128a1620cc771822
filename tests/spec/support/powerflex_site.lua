--- An opened powerflex vendor on a fake wire, for its specs. Secrets are plain text there.
local fake_http <const> = require "spec.support.fake_http"
local stand_in <const> = require "spec.support.stand_in"

local M <const> = {}

M.SYSTEM, M.VOLUME = "b4f2d5322f73780f", "5a5beec600000002"
M.ESX, M.WORKER = "c423b09900000008", "d0f055a700000000"
M.GUID = "9E56672F-2F4B-4A42-BFF4-88B6846FBFDA"
M.NAA = "eui." .. M.SYSTEM .. M.VOLUME

local PLAIN <const> = { new = function(text) return text end, is = function(value) return type(value) == "string" end }

--- Fresh scripts on stand-ins.
function M.start()
  local site <const> = { wire = fake_http.install(), log = stand_in.log() }
  site.restore = stand_in.install {
    ["lunalift.log"] = site.log,
    ["lunalift.secret"] = PLAIN,
    ["lunalift.timer"] = stand_in.clock().timer,
    ["vendors.powerflex"] = nil,
  }
  package.loaded["vendors.powerflex"] = nil
  site.vendor = require "vendors.powerflex"
  return setmetatable(site, { __index = M })
end

function M:stop()
  package.loaded["vendors.powerflex"] = nil
  self.restore()
  self.wire:restore()
end

function M.conf(fields)
  local conf <const> =
    { hostname = "https://192.0.2.40", username = "admin", password = "*secret*", system_id = M.SYSTEM, timeout_s = 30 }
  for key, value in pairs(fields or {}) do
    conf[key] = value or nil
  end
  return conf
end

--- The array's body of a refusal.
function M.refusal(code, message, details)
  return { message = message or "no", httpStatusCode = 500, errorCode = code, details = details }
end

--- What a login asks; the version is asked for once.
function M:log_in(version)
  self.wire:expect("GET", "/api/login"):reply "tok"
  if version then self.wire:expect("GET", "/api/version"):reply(version) end
end

function M:sees_systems(...) self.wire:expect("GET", "/api/types/System/instances"):reply { ... } end

--- The array, logged in.
function M:open(version)
  self:log_in(version or "3.6.0")
  self:sees_systems { id = M.SYSTEM, name = "sys1", systemVersionName = "DellEMC PowerFlex Version: R3_6.0.354" }
  return self.vendor.open(M.conf())
end

--- What calling a method raises.
function M.raised(fn, ...)
  local done <const>, why <const> = pcall(fn, ...)
  assert(not done, "nothing was raised")
  return why
end

return M
