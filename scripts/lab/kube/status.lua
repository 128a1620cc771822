--- The Status objects that the API server says no with, in its own words.
local json <const> = require "lunalift.json"

---@class kube.status
local M <const> = {}

---@class kube.Resource
---@field group string "" for the core
---@field version string
---@field name string plural, as in paths
---@field kind string
---@field namespaced boolean
---@field short? string[] as kubectl abbreviates it
---@field status? boolean has a status subresource
---@field generation? boolean counts the changes of all but status and metadata
---@field returns_deleted? boolean DELETE answers with the object, not with a Status
---@field conditional? boolean PUT wants a resourceVersion
---@field phase? string in the status of a new one
---@field review? boolean is answered, not stored
---@field decode? fun(object: table, is_strict: boolean)
---@field validate? fun(resource: kube.Resource, object: table)

--- "v1", or "coordination.k8s.io/v1".
---@param resource kube.Resource
---@return string
function M.group_version(resource)
  return resource.group == "" and resource.version or resource.group .. "/" .. resource.version
end

---@param status integer
---@param value table
---@return ServerAnswer
function M.answer(status, value)
  return { status = status, headers = { ["content-type"] = "application/json" }, body = json.encode(value) .. "\n" }
end

--- Refuse: raised, and made an answer by `guard`.
function M.refuse(code, reason, message, details, metadata)
  local body <const> = {
    kind = "Status",
    apiVersion = "v1",
    metadata = metadata or {},
    status = "Failure",
    message = message,
    reason = reason,
    details = details,
    code = code,
  }
  error({ status = body }, 0)
end

---@param fn fun(): ServerAnswer
---@return ServerAnswer
function M.guard(fn)
  local ok <const>, answer <const> = pcall(fn)
  if ok then return answer end
  if type(answer) ~= "table" or type(answer.status) ~= "table" then error(answer, 0) end
  return M.answer(answer.status.code, answer.status)
end

--- "leases.coordination.k8s.io", or plain "secrets".
---@param resource kube.Resource
---@return string
function M.qualified(resource) return resource.group == "" and resource.name or resource.name .. "." .. resource.group end

local function details(resource, name, kind)
  return { name = name, group = resource.group ~= "" and resource.group or nil, kind = kind or resource.name }
end

local function about(resource, name, text, ...)
  return ('%s "%s" '):format(M.qualified(resource), name) .. text:format(...)
end

function M.not_found(resource, name)
  M.refuse(404, "NotFound", about(resource, name, "not found"), details(resource, name))
end

function M.exists(resource, name)
  M.refuse(409, "AlreadyExists", about(resource, name, "already exists"), details(resource, name))
end

function M.conflict(resource, name, why)
  local text <const> = "Operation cannot be fulfilled on " .. about(resource, name, "")
  M.refuse(409, "Conflict", text:sub(1, -2) .. ": " .. why, details(resource, name))
end

function M.stale(resource, name)
  M.conflict(
    resource,
    name,
    "the object has been modified; please apply your changes to the latest version and try again"
  )
end

function M.invalid(resource, name, field, why)
  local kind <const> = resource.group == "" and resource.kind or resource.kind .. "." .. resource.group
  local found <const> = details(resource, name, resource.kind)
  found.causes = { { reason = "FieldValueInvalid", message = why, field = field } }
  M.refuse(422, "Invalid", ('%s "%s" is invalid: %s: %s'):format(kind, name, field, why), found)
end

function M.forbidden(resource, name, why)
  local subject <const> = M.qualified(resource) .. (name and (' "%s"'):format(name) or "")
  M.refuse(403, "Forbidden", ("%s is forbidden: %s"):format(subject, why), details(resource, name))
end

function M.bad(message) M.refuse(400, "BadRequest", message) end

--- Success, for a DELETE of what leaves no object behind.
---@return table
function M.deleted(resource, object)
  local found <const> = details(resource, object.metadata.name)
  found.uid = object.metadata.uid
  return { kind = "Status", apiVersion = "v1", metadata = {}, status = "Success", details = found }
end

return M
