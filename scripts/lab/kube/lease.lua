--- What the API server holds a Lease to: its fields, and their values.
local status <const> = require "lab.kube.status"
local timer <const> = require "lunalift.timer"

---@class kube.lease
local M <const> = {}

local TOP <const> = { apiVersion = true, kind = true, metadata = true, spec = true }
local SPEC <const> = {
  holderIdentity = true,
  leaseDurationSeconds = true,
  acquireTime = true,
  renewTime = true,
  leaseTransitions = true,
  strategy = true,
  preferredHolder = true,
}
local CANNOT <const> = 'Lease in version "v1" cannot be handled as a Lease: '

local function drop_unknown(object, known, prefix, dropped)
  for field in pairs(object) do
    if not known[field] then
      object[field] = nil
      dropped[#dropped + 1] = ('unknown field "%s%s"'):format(prefix, field)
    end
  end
end

--- Make a Lease of what was sent. Fields that it has not got are dropped in silence, unless that was asked to be refused.
---@param object table
---@param is_strict boolean
function M.decode(object, is_strict)
  local dropped <const> = {}
  drop_unknown(object, TOP, "", dropped)
  drop_unknown(object.spec or {}, SPEC, "spec.", dropped)
  table.sort(dropped)
  if is_strict and #dropped > 0 then status.bad(CANNOT .. "strict decoding error: " .. table.concat(dropped, ", ")) end
  for _, field in ipairs { "acquireTime", "renewTime" } do
    local text <const> = object.spec and object.spec[field]
    if text and not timer.parse(text) then
      local layout <const> = "2006-01-02T15:04:05.000000Z07:00"
      status.bad(CANNOT .. ('parsing time "%s" as "%s": cannot parse "%s" as "2006"'):format(text, layout, text))
    end
  end
end

---@param resource kube.Resource
---@param object table
function M.validate(resource, object)
  local function refuse(field, why)
    local value <const> = object.spec[field]
    status.invalid(resource, object.metadata.name, "spec." .. field, ("Invalid value: %d: %s"):format(value, why))
  end
  local spec <const> = object.spec or {}
  if spec.leaseDurationSeconds and spec.leaseDurationSeconds <= 0 then
    refuse("leaseDurationSeconds", "must be greater than 0")
  end
  if spec.leaseTransitions and spec.leaseTransitions < 0 then
    refuse("leaseTransitions", "must be greater than or equal to 0")
  end
end

return M
