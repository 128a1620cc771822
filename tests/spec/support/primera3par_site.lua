--- An opened primera3par vendor on a fake wire, for its specs, with the names of the reference's examples.
local fake_http <const> = require "spec.support.fake_http"
local secret <const> = require "lunalift.secret"
local stand_in <const> = require "spec.support.stand_in"

local VENDOR <const> = "vendors.primera3par"

local M <const> = {
  HANDLE = "pvc-6dff02f2-de63-40ab-a534-3bd5a7b47f82",
  VOLUME = "pvc-6dff02f2-de63-40ab-a534-3bd",
  WWN = "60002AC0000000000000182D00021F6B",
  NAA = "naa.60002ac0000000000000182d00021f6b",
  NAME = "xcopy-hostsystem-host-12",
  SET = "set:xcopy-hostsystem-host-12",
}

local function with(made, fields)
  for name, value in pairs(fields or {}) do
    made[name] = value or nil
  end
  return made
end

function M.query(fmt, ...) return { query = '"' .. fmt:format(...) .. '"' } end

function M.members(...) return { total = select("#", ...), members = { ... } } end

--- A volume as the array tells it; a field that is false is absent.
function M.volume(fields)
  return with(
    { id = 1234, name = M.VOLUME, wwn = M.WWN, sizeMiB = 10240, userCPG = "SSD_r6", snapCPG = "SSD_r6" },
    fields
  )
end

--- A VLUN: the template of an export to the set.
function M.row(number, fields)
  return with({ lun = number, volumeName = M.VOLUME, hostname = M.SET, type = 5, active = false }, fields)
end

---@class Primera3parSite
---@field wire FakeWire
---@field clock table
---@field vendor lib.Vendor
---@field conf table
---@field lun lib.Lun
---@field host lib.ArrayHost
---@field array lib.Array
local Site <const> = {}
Site.__index = Site

---@return Primera3parSite
function M.start()
  local self <const> = setmetatable({ wire = fake_http.install(), clock = stand_in.clock() }, Site)
  self.restore =
    stand_in.install { ["lunalift.timer"] = self.clock.timer, ["lunalift.log"] = stand_in.log(), [VENDOR] = false }
  package.loaded[VENDOR] = nil
  self.vendor = require(VENDOR)
  self.conf = { hostname = "https://192.0.2.20:8080", username = "3paradm", password = secret.new [[p"w]] }
  self.lun = { id = "w", name = M.VOLUME, naa = M.NAA, size_bytes = 10 << 30 }
  self.host = { id = M.SET, name = M.SET, members = { "esx1" }, ours = true }
  return self
end

function Site:stop()
  self.restore()
  self.wire:restore()
  self.wire:done()
end

--- A login must come.
function Site:login(key)
  self.wire
    :expect("POST", "/credentials", nil, { user = "3paradm", password = self.conf.password })
    :reply({ key = key }, 201, { location = "/api/v1/credentials/" .. key })
end

function Site:open()
  self:login "k1"
  self.wire
    :expect("GET", "/system")
    :reply { id = 107, name = "ecosys", systemVersion = "4.5.20.2", model = "HPE_3PAR A630" }
  self.array = self.vendor.open(self.conf)
  return self.array
end

--- VLUNs must be asked for, and these are there.
function Site:vluns(field, value, ...)
  return self.wire:expect("GET", "/vluns", M.query("%s EQ %s", field, value)):reply(M.members(...))
end

--- What calling a function raises.
function M.raised(fn, ...)
  local done <const>, why <const> = pcall(fn, ...)
  assert(not done, "nothing was raised")
  return why
end

return M
