--- One kind of objects at the Kubernetes API: where they are, in pages and as they change, and the ways to change them.
local backoff <const> = require "lib.backoff"
local codec <const> = require "lunalift.codec"
local retry <const> = require "lib.retry"
local timer <const> = require "lunalift.timer"

local M <const> = {}

local PAGE <const> = 250
local PAGE_WITHIN_S <const> = 60
local EXPIRED <const> = 410
local FRESH_LISTS <const> = 3 -- begun when the pages of the last have expired, each of longer pages

---@class lib.Resource
---@field kube Kube
---@field root string
---@field plural string
local Resource <const> = {}
Resource.__index = Resource

---@param kube Kube
---@param root string "/api/v1", "/apis/GROUP/VERSION"
---@param plural string "persistentvolumeclaims"
---@return lib.Resource
function M.new(kube, root, plural) return setmetatable({ kube = kube, root = root, plural = plural }, Resource) end

--- What tells objects of a kind apart: "NAMESPACE/NAME", or "NAME" outside of namespaces.
---@param object table
---@return string
function M.key(object) return M.key_of(object.metadata.namespace, object.metadata.name) end

--- The same of one that is not at hand.
---@param namespace? string
---@param name string
---@return string
function M.key_of(namespace, name) return namespace and ("%s/%s"):format(namespace, name) or name end

---@param key string
---@return string? namespace
---@return string name
function M.split(key)
  local namespace <const>, name <const> = key:match "^([^/]*)/(.*)$"
  return namespace, name or key
end

-- ---- paths ----

local function query_of(args)
  local names <const>, parts <const> = {}, {}
  for name in pairs(args) do
    names[#names + 1] = name
  end
  table.sort(names)
  for i, name in ipairs(names) do
    parts[i] = ("%s=%s"):format(name, codec.percent(tostring(args[name])))
  end
  return #parts > 0 and "?" .. table.concat(parts, "&") or ""
end

---@param namespace? string nil: all, or a kind outside of namespaces
---@param name? string nil: the collection
---@param args? table<string, any> of the query
---@param subresource? string "status"
---@return string
function Resource:path(namespace, name, args, subresource)
  local parts <const> = { self.root }
  if namespace then parts[#parts + 1] = "namespaces/" .. codec.percent(namespace) end
  parts[#parts + 1] = self.plural
  if name then parts[#parts + 1] = codec.percent(name) end
  parts[#parts + 1] = subresource
  return table.concat(parts, "/") .. query_of(args or {})
end

local function path_of(self, object, args, subresource)
  return self:path(object.metadata.namespace, object.metadata.name, args, subresource)
end

-- ---- what there is ----

---@class lib.Selection
---@field namespace? string nil: all
---@field labels? string a selector
---@field fields? string a selector

local function selectors(selection, args)
  args.labelSelector, args.fieldSelector = selection.labels, selection.fields
  return args
end

local function page(self, selection, limit, continue)
  local args <const> = selectors(selection, { limit = limit, continue = continue })
  local path <const> = self:path(selection.namespace, nil, args)
  return retry.read("list " .. self.plural, PAGE_WITHIN_S, function() return self.kube:get(path) end)
end

-- Returns the version that all its pages are of.
local function list(self, selection, limit, fn)
  local continue, version
  repeat
    local found <const>, why <const> = page(self, selection, limit, continue)
    if not found then return nil, why end
    for _, object in ipairs(found.items) do
      fn(object)
    end
    version, continue = found.metadata.resourceVersion, found.metadata.continue
  until (continue or "") == ""
  return version
end

--- Hand over each object, a page at a time: nothing of it is kept here.
---@param selection lib.Selection
---@param fn fun(object: table) must not wait for long: pages expire
---@param begin? fun() the list begins; once more when its pages have expired, and then it holds what `fn` has seen already, too
---@return string? version to watch from
---@return Fail? why
function Resource:each(selection, fn, begin)
  local limit, version, why = PAGE, nil, nil
  for _ = 1, FRESH_LISTS do
    if begin then begin() end
    version, why = list(self, selection, limit, fn)
    if version or why.status ~= EXPIRED then break end
    limit = 4 * limit
  end
  return version, why
end

--- What becomes of them after a version. Bookmarks included.
---@param selection lib.Selection
---@param version string
---@param lasts_s integer
---@return KubeWatch? watch
---@return Fail? why
function Resource:watch(selection, version, lasts_s)
  local args <const> = selectors(selection, {
    watch = 1,
    resourceVersion = version,
    allowWatchBookmarks = true,
    timeoutSeconds = lasts_s,
  })
  return self.kube:watch(self:path(selection.namespace, nil, args), { timeout_s = lasts_s + 30 })
end

---@return table? object
---@return Fail? why
function Resource:get(namespace, name) return self.kube:get(self:path(namespace, name)) end

--- What the API has of this kind.
---@class lib.ResourceFacts
---@field is_served boolean
---@field has_status boolean its status is a resource of its own

---@return lib.ResourceFacts? facts
---@return Fail? why
function Resource:discover()
  local found <const>, why <const> = self.kube:get(self.root)
  if not found and why.status ~= 404 then return nil, why end
  local facts <const> = { is_served = false, has_status = false }
  for _, each in ipairs(found and found.resources or {}) do
    if each.name == self.plural then facts.is_served = true end
    if each.name == self.plural .. "/status" then facts.has_status = true end
  end
  return facts
end

-- ---- changes ----

---@param object table with its metadata, apiVersion and kind
---@return table? object
---@return Fail? why
function Resource:create(object) return self.kube:create(self:path(object.metadata.namespace), object) end

--- Replace it; the version in it guards it.
---@return table? object
---@return Fail? why
function Resource:update(object) return self.kube:update(path_of(self, object), object) end

--- Read it, change it and write it back, anew as often as others write meanwhile.
---@param within_s number
---@param change fun(object: table): boolean? false: it is as it should be, and stays
---@return table? object
---@return Fail? why
function Resource:change(within_s, namespace, name, change)
  local until_s <const>, failures = timer.now() + within_s, 0
  while true do
    local object <const>, unread <const> = self:get(namespace, name)
    if not object then return nil, unread end
    if change(object) == false then return object end
    local changed <const>, why <const> = self:update(object)
    if changed or why.kind ~= "conflict" or timer.now() > until_s then return changed, why end
    failures = failures + 1
    timer.sleep(backoff.after(failures, { first_s = 0.01, longest_s = 1 }))
  end
end

--- Guarded if the patch names metadata.resourceVersion (or, of JSON patches, tests it).
---@param patch table
---@param kind? string "merge" (default), "json", "strategic"
---@return table? object
---@return Fail? why
function Resource:patch(namespace, name, patch, kind) return self.kube:patch(self:path(namespace, name), patch, kind) end

--- The same of its status, wherever this cluster keeps it.
---@return table? object
---@return Fail? why
function Resource:patch_status(namespace, name, patch, kind)
  if not self.facts then
    local facts <const>, why <const> = self:discover()
    if not facts then return nil, why end
    self.facts = facts
  end
  local path <const> = self:path(namespace, name, nil, self.facts.has_status and "status" or nil)
  return self.kube:patch(path, patch, kind)
end

--- Make it so, by server-side apply: what it names is ours, what it no longer names is taken away, what is others' stays.
---@param object table only what is ours, with apiVersion, kind and name
---@param options { manager: string, force: boolean?, subresource: string? } force: take over what another manager has set otherwise
---@return table? object
---@return Fail? why conflict: names the manager and the fields
function Resource:apply(object, options)
  local args <const> = { fieldManager = options.manager, force = options.force }
  return self.kube:patch(path_of(self, object, args, options.subresource), object, "apply")
end

--- Only if it is that one still.
---@param object table
---@param options? { version: boolean?, propagation: string?, grace_s: integer? } version: and unchanged since
---@return boolean? gone_or_going true even when it has gone already
---@return Fail? why conflict: there is another one of the name
function Resource:delete(object, options)
  local given <const>, meta <const> = options or {}, object.metadata
  local _, why <const> = self.kube:delete(path_of(self, object), {
    apiVersion = "v1",
    kind = "DeleteOptions",
    preconditions = { uid = meta.uid, resourceVersion = given.version and meta.resourceVersion or nil },
    propagationPolicy = given.propagation,
    gracePeriodSeconds = given.grace_s,
  })
  if why and why.status ~= 404 then return nil, why end
  return true
end

return M
