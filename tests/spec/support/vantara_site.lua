--- An opened Hitachi VSP on a fake wire, for its specs, and what its REST API says.
local fail <const> = require "lib.fail"
local fake_http <const> = require "spec.support.fake_http"
local secret <const> = require "lunalift.secret"
local stand_in <const> = require "spec.support.stand_in"

local M <const> = {}

M.ID = "934000612345"
M.SCOPE = "/v1/objects/storages/" .. M.ID
M.STORAGE = { storageDeviceId = M.ID, model = "VSP E790", serialNumber = 612345, dkcMicroVersion = "93-07-21-80/00" }
M.NAA = "60060e80221234005060123400001234"
M.ADAPTERS = { { kind = "fc", id = "fc.20000024ff123456:21000024ff123456", adapter = "vmhba2" } }

--- `over` laid on `base`; false takes a field away.
function M.merged(base, over)
  local all <const> = {}
  for _, from in ipairs { base, over or {} } do
    for key, value in pairs(from) do
      all[key] = value or nil
    end
  end
  return all
end

--- An LDEV.
function M.record(over)
  return M.merged({
    ldevId = 4660,
    emulationType = "OPEN-V-CVS",
    blockCapacity = 20971520,
    attributes = { "CVS", "HDP" },
    label = "spc-abcdef1234",
    status = "NML",
    poolId = 30,
    dataReductionMode = "disabled",
  }, over)
end

function M.path(port, number, lun) return { portId = port, hostGroupNumber = number, hostGroupName = "esx1", lun = lun } end

function M.refusal(message_id, ssb1, ssb2)
  return {
    errorSource = "/ConfigurationManager/v1/objects/luns",
    messageId = message_id,
    message = "An error occurred.",
    solution = "See the manual.",
    errorCode = { SSB1 = ssb1, SSB2 = ssb2 },
  }
end

local ENDED <const> = { Succeeded = true, Failed = true, Unknown = true }

function M.job(state, fields)
  return M.merged({ jobId = 100, status = ENDED[state] and "Completed" or "Running", state = state }, fields)
end

--- What calling a function raises.
function M.raised(fn, ...)
  local done <const>, why <const> = pcall(fn, ...)
  assert(not done, "nothing was raised")
  assert(fail.is(why), tostring(why))
  return why
end

function M.conf(over)
  return M.merged({ hostname = "192.0.2.10", username = "u", password = secret.new "p", storage_id = M.ID }, over)
end

local Site <const> = {}
Site.__index = Site

--- Fresh scripts on a wire and a clock of their own, until stop().
function M.start()
  local self <const> = setmetatable({ wire = fake_http.install(), clock = stand_in.clock() }, Site)
  self.restore = stand_in.install { ["lunalift.timer"] = self.clock.timer }
  package.loaded["vendors.vantara"] = nil
  self.vendor = require "vendors.vantara"
  return self
end

function Site:stop()
  self.restore()
  self.wire:restore()
  package.loaded["vendors.vantara"] = nil
  self.wire:done()
end

function Site:expect_version(version)
  self.wire
    :expect("GET", "/configuration/version")
    :reply { productName = "Configuration Manager", apiVersion = version }
end

function Site:expect_login(token, at)
  local opened <const> = { token = token, sessionId = tonumber(token:match "%d+") }
  self.wire:expect("POST", (at or M.SCOPE) .. "/sessions", nil, {}):reply(opened)
end

--- The array, logged in to.
function Site:open(over)
  self:expect_version "1.31.0"
  self:expect_login "t1"
  self.wire:expect("GET", M.SCOPE):reply(M.STORAGE)
  return self.vendor.open(M.conf(over))
end

function Site:get_ldev(id, answer) return self.wire:expect("GET", ("%s/ldevs/%d"):format(M.SCOPE, id)):reply(answer) end

return M
