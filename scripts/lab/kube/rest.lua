--- The API server's paths and verbs: who may, what is named, what comes back.
local access <const> = require "lab.kube.access"
local apply <const> = require "lab.kube.apply"
local codec <const> = require "lunalift.codec"
local discovery <const> = require "lab.kube.discovery"
local json <const> = require "lunalift.json"
local patch <const> = require "lab.kube.patch"
local selector <const> = require "lab.kube.selector"
local status <const> = require "lab.kube.status"
local store <const> = require "lab.kube.store"
local tables <const> = require "lab.kube.table"
local watch <const> = require "lab.kube.watch"

---@class kube.rest
local M <const> = {}

---@class kube.Call
---@field method string
---@field resource kube.Resource
---@field namespace? string
---@field name? string
---@field subresource? string
---@field args table<string, string>
---@field headers table<string, string>
---@field body string
---@field account kube.Token

-- What is sent

local function decode_object(self, call)
  local object <const> = json.decode(call.body)
  if type(object) ~= "table" or object.kind == nil then
    status.bad "Object 'Kind' is missing: the body of the request is not an object of the API"
  end
  if object.kind ~= call.resource.kind or object.apiVersion ~= status.group_version(call.resource) then
    local text <const> = "%s in version %q cannot be handled as a %s"
    status.bad(text:format(object.kind, tostring(object.apiVersion), call.resource.kind))
  end
  object.metadata = object.metadata or {}
  local meta <const> = object.metadata
  if meta.namespace and meta.namespace ~= call.namespace then
    status.bad "the namespace of the provided object does not match the namespace sent on the request"
  end
  meta.namespace, meta.managedFields = call.namespace, nil
  if call.resource.decode then call.resource.decode(object, call.args.fieldValidation == "Strict") end
  self.prepare(call.resource, object)
  return object
end

local function check_name(resource, meta)
  if not meta.name and meta.generateName then meta.name = meta.generateName .. codec.random_hex(3):sub(1, 5) end
  if not meta.name then
    status.invalid(resource, "", "metadata.name", "Required value: name or generateName is required")
  elseif #meta.name > 253 or not meta.name:find "^[a-z0-9][-a-z0-9.]*$" or meta.name:find "[-.]$" then
    local text <const> = "Invalid value: %q: a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, "
      .. "'-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
      .. [['[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')]]
    status.invalid(resource, meta.name, "metadata.name", text:format(meta.name))
  end
end

local function is_dry(call) return call.args.dryRun == "All" end

local function manager_name(call)
  return call.args.fieldManager or (call.headers["user-agent"] or ""):match "^[^/%s]+" or "unknown"
end

local function managers_of(self, call, name)
  return self.store:managers(call.resource, call.namespace, name or call.name)
end

-- The verbs

local Verb <const> = {}

function Verb.get(self, call)
  local object <const> = self.store:get(call.resource, call.namespace, call.name)
    or status.not_found(call.resource, call.name)
  local is_row <const> = tables.are_wanted(call.headers.accept)
  return status.answer(200, is_row and tables.of(call.resource, { object }, {}) or object)
end

local function selected(self, call)
  local found <const> = {}
  for _, object in ipairs(self.store:list(call.resource, call.namespace)) do
    local suits <const>, unknown <const> = selector.fields(object, call.args.fieldSelector, call.resource.name)
    if unknown then status.bad(selector.refusal(call.resource, unknown)) end
    if suits and selector.labels(object, call.args.labelSelector) then found[#found + 1] = object end
  end
  return found
end

local TOO_OLD <const> = "The provided continue parameter is too old to display a consistent list result. You can start a new list "
  .. "without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. "
  .. "Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted "
  .. "between the time the first chunk was returned and now may show up in the list."

local function token_of(version, place) return codec.base64(("%d %s"):format(version, place)) end

-- The version of the first page, and the place of the last object that was shown.
local function continued(self, call)
  if not call.args.continue then return self.store.version, "" end
  local version, place <const> = (codec.unbase64(call.args.continue) or ""):match "^(%d+) (.*)$"
  version = math.tointeger(tonumber(version)) or status.bad "continue key is not valid"
  if version < self.store.oldest then
    local meta <const> = { continue = token_of(self.store.version, place) }
    status.refuse(410, "Expired", TOO_OLD, nil, meta)
  end
  return version, place
end

-- What changed meanwhile is seen as it is now, but told as of the first page, so that a watch from there hears of it.
local function page(self, call, objects)
  local version <const>, after <const> = continued(self, call)
  local limit <const>, items <const> = tonumber(call.args.limit) or 0, {}
  local meta <const> = { resourceVersion = tostring(version) }
  for i, object in ipairs(objects) do
    if store.place(object) > after then
      if limit > 0 and #items == limit then
        meta.continue = token_of(version, store.place(objects[i - 1]))
        meta.remainingItemCount = #objects - i + 1
        break
      end
      object.kind, object.apiVersion = nil, nil
      items[#items + 1] = object
    end
  end
  return items, meta
end

function Verb.watch(self, call) return watch.answer(self, call) end

function Verb.list(self, call)
  local items <const>, meta <const> = page(self, call, selected(self, call))
  if tables.are_wanted(call.headers.accept) then return status.answer(200, tables.of(call.resource, items, meta)) end
  return status.answer(200, {
    kind = call.resource.kind .. "List",
    apiVersion = status.group_version(call.resource),
    items = json.array(items),
    metadata = meta,
  })
end

local function made(self, call, object)
  check_name(call.resource, object.metadata)
  local name <const> = object.metadata.name
  if call.resource.validate then call.resource.validate(call.resource, object) end
  if object.metadata.resourceVersion then
    status.refuse(500, "InternalError", "resourceVersion should not be set on objects to be created")
  end
  if call.namespace and not self:has_namespace(call.namespace) then
    status.not_found(self.namespaces, call.namespace)
  end
  if self.store:get(call.resource, call.namespace, name) then status.exists(call.resource, name) end
  access.check_owners(self, call, object)
  local meta <const> = object.metadata
  meta.uid, meta.creationTimestamp, meta.deletionTimestamp, meta.deletionGracePeriodSeconds = nil, nil, nil, nil
  local phase <const> = call.resource.phase
  if phase or call.resource.status then object.status = phase and { phase = phase } end
  return is_dry(call) and object or self.store:insert(call.resource, object)
end

function Verb.create(self, call)
  local object <const> = decode_object(self, call)
  if call.resource.review then return status.answer(201, access.review(call.account, object)) end
  local new <const> = made(self, call, object)
  if not is_dry(call) then apply.note(managers_of(self, call, new.metadata.name), nil, new, manager_name(call)) end
  return status.answer(201, new)
end

-- `note` is called with the old object and the new one, and says who has set what.
local function replaced(self, call, object, note)
  if object.metadata.name ~= call.name then
    local text <const> = "the name of the object (%s) does not match the name on the URL (%s)"
    status.bad(text:format(tostring(object.metadata.name), call.name))
  end
  if call.resource.validate then call.resource.validate(call.resource, object) end
  access.check_owners(self, call, object)
  local old <const>, managers <const> =
    self.store:get(call.resource, call.namespace, call.name), managers_of(self, call)
  local new <const> = self.store:update(call.resource, object, call.subresource, is_dry(call))
  if is_dry(call) then return new end
  if note then
    note()
  else
    apply.note(managers, old, new, manager_name(call))
  end
  return new
end

function Verb.update(self, call)
  local object <const> = decode_object(self, call)
  local meta <const> = object.metadata
  if call.resource.conditional and not meta.resourceVersion then
    status.invalid(
      call.resource,
      call.name,
      "metadata.resourceVersion",
      "Invalid value: 0x0: must be specified for an update"
    )
  end
  return status.answer(200, replaced(self, call, object))
end

-- Server-side apply: its body is an object, and makes one where there is none.
local function applied(self, call)
  local manager <const> = call.args.fieldManager
  if not manager then
    local text <const> =
      'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for apply patch'
    status.refuse(422, "Invalid", text, {})
  end
  local wanted <const>, force <const> = decode_object(self, call), call.args.force == "true"
  wanted.metadata.name = wanted.metadata.name or call.name
  if not self.store:get(call.resource, call.namespace, call.name) then
    local new <const> = made(self, call, wanted)
    if not is_dry(call) then select(2, apply.apply(managers_of(self, call), new, wanted, manager, true))() end
    return status.answer(201, new)
  end
  local old <const> = self.store:get(call.resource, call.namespace, call.name)
  local new <const>, note <const> = apply.apply(managers_of(self, call), old, wanted, manager, force)
  return status.answer(200, replaced(self, call, new, note))
end

function Verb.patch(self, call)
  local content_type <const> = (call.headers["content-type"] or ""):match "^[^;]*"
  if content_type == apply.CONTENT_TYPE then return applied(self, call) end
  if not patch.knows(content_type) then
    local text <const> = "the body of the request was in an unknown format - accepted media types include: %s"
    local types <const> =
      "application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json, application/apply-patch+yaml"
    status.refuse(415, "UnsupportedMediaType", text:format(types))
  end
  local old <const> = self.store:get(call.resource, call.namespace, call.name)
    or status.not_found(call.resource, call.name)
  local body <const> = patch.decode(call.body)
  if type(body) ~= "table" then status.bad "error decoding patch" end
  local object <const> = patch.apply(content_type, old, body)
  if not object then
    status.refuse(422, "Invalid", "the server rejected our request due to an error in our request", {})
  end
  if object.metadata.uid ~= old.metadata.uid then
    local text <const> = ("Invalid value: %q: field is immutable"):format(tostring(object.metadata.uid))
    status.invalid(call.resource, call.name, "metadata.uid", text)
  end
  self.prepare(call.resource, object)
  return status.answer(200, replaced(self, call, object))
end

local function check_preconditions(call, object, wanted)
  local text <const> = "Precondition failed: %s in precondition: %s, %s in object meta: %s"
  for field, name in pairs { uid = "UID", resourceVersion = "ResourceVersion" } do
    if wanted[field] and wanted[field] ~= object.metadata[field] then
      status.conflict(call.resource, call.name, text:format(name, wanted[field], name, object.metadata[field]))
    end
  end
end

function Verb.delete(self, call)
  local object <const> = self.store:get(call.resource, call.namespace, call.name)
    or status.not_found(call.resource, call.name)
  local options <const> = call.body ~= "" and json.decode(call.body) or {}
  check_preconditions(call, object, options.preconditions or {})
  if is_dry(call) or options.dryRun then return status.answer(200, status.deleted(call.resource, object)) end
  local policy <const> = options.propagationPolicy or call.args.propagationPolicy
  local left <const>, gone <const> = self.store:delete(call.resource, object, {
    grace_s = options.gracePeriodSeconds or tonumber(call.args.gracePeriodSeconds),
    orphan = policy == "Orphan",
  })
  if gone and not call.resource.returns_deleted then return status.answer(200, status.deleted(call.resource, left)) end
  return status.answer(200, left)
end

-- Paths

local ONE <const> = { GET = "get", PUT = "update", PATCH = "patch", DELETE = "delete" }
local ALL <const> = { GET = "list", POST = "create" }

local function missing() status.refuse(404, "NotFound", "the server could not find the requested resource", {}) end

--- What a path names: its group and version, and the segments after them.
local function split(path)
  local rest <const> = path:match "^/api/v1/(.+)$"
  if rest then return "", "v1", rest end
  return path:match "^/apis/([^/]+)/([^/]+)/(.+)$"
end

local function segments(text)
  local list <const> = {}
  for segment in text:gmatch "[^/]+" do
    list[#list + 1] = codec.unpercent(segment)
  end
  return list
end

local function call_of(self, request)
  local group <const>, version <const>, rest <const> = split(request.path)
  if not group then missing() end
  local list <const> = segments(rest)
  local namespace
  if list[1] == "namespaces" and #list > 2 then
    namespace = list[2]
    list[1], list[2], list[3], list[4], list[5] = list[3], list[4], list[5], nil, nil
  end
  local resource <const> = self:resource_named(group, version, list[1]) or missing()
  if (namespace ~= nil) ~= resource.namespaced and (list[2] or namespace) then missing() end
  if list[3] and not (list[3] == "status" and resource.status) then missing() end
  return {
    method = request.method,
    resource = resource,
    namespace = namespace,
    name = list[2],
    subresource = list[3],
    args = request.args or {},
    headers = request.headers,
    body = request.body or "",
  }
end

--- Answer one request of the wire.
---@param self lab.Kube
---@param request ServerRequest
---@return ServerAnswer
function M.handle(self, request)
  return status.guard(function()
    self.store:collect()
    local account <const> = access.account(self.tokens, request)
    if request.path == "/readyz" or request.path == "/healthz" or request.path == "/livez" then
      return { status = 200, body = "ok" }
    end
    local page_found <const> = request.method == "GET" and discovery.document(self, request.path)
    if page_found then return status.answer(200, page_found) end
    local call <const> = call_of(self, request)
    call.account = account
    local verb = (call.name and ONE or ALL)[call.method]
    local watches <const> = call.args.watch == "true" or call.args.watch == "1"
    if watches and call.method == "GET" then verb = "watch" end
    if not verb or (verb == "create" and call.resource.namespaced and not call.namespace) then
      status.refuse(405, "MethodNotAllowed", "the server does not allow this method on the requested resource", {})
    end
    access.check(call, verb)
    return Verb[verb](self, call)
  end)
end

return M
