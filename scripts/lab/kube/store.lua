--- The objects of a cluster and the rules of their lives: versions, identities, finalizers, owners.
local codec <const> = require "lunalift.codec"
local patch <const> = require "lab.kube.patch"
local status <const> = require "lab.kube.status"
local task <const> = require "lunalift.task"
local timer <const> = require "lunalift.timer"

---@class kube.store
local M <const> = {}

---@class kube.Store
local Store <const> = {}
Store.__index = Store

local GC_DELAY_S <const> = 0.3 -- the real collector takes 0.1 to 1 s
local POD_GRACE_S <const> = 30
local REMEMBERED <const> = 20000 -- changes

---@return kube.Store
function M.new()
  return setmetatable({ objects = {}, version = 1000, oldest = 1000, changes = {}, bell = task.bell() }, Store)
end

local function address(resource, namespace, name)
  return table.concat({ status.qualified(resource), resource.namespaced and namespace or "", name }, "/")
end

--- By what lists are ordered and continued.
---@param object table
---@return string
function M.place(object) return (object.metadata.namespace or "") .. "/" .. object.metadata.name end

local function now() return (timer.iso():gsub("%.%d+Z$", "Z")) end

local function entry_of(self, resource, namespace, name) return self.objects[address(resource, namespace, name)] end

---@class kube.Change
---@field version integer
---@field type string as of a watch that sees everything
---@field resource kube.Resource
---@field object table
---@field old? table

-- A new version of the object, which watches will hear of.
local function bump(self, kind, resource, object, old)
  self.version = self.version + 1
  object.metadata.resourceVersion = tostring(self.version)
  local change <const> =
    { version = self.version, type = kind, resource = resource, object = patch.copy(object), old = old }
  self.changes[#self.changes + 1] = change
  if #self.changes > 2 * REMEMBERED then self:forget(self.changes[REMEMBERED].version) end
  self.bell:ring()
end

--- What has changed since a version that is remembered.
---@param version integer
---@return kube.Change[]
function Store:since(version)
  local first = #self.changes + 1
  while first > 1 and self.changes[first - 1].version > version do
    first = first - 1
  end
  return table.move(self.changes, first, #self.changes, 1, {})
end

--- Forget what was before a version, as etcd's compaction does: who asks from there is told that it has expired.
---@param version? integer nil: the present one
function Store:forget(version)
  self.oldest = version or self.version
  self.changes = self:since(self.oldest)
  self.bell:ring()
end

--- Lists that the server leaves out when they are empty.
local function tidy(meta)
  for _, field in ipairs { "finalizers", "ownerReferences", "labels", "annotations" } do
    if meta[field] and next(meta[field]) == nil then meta[field] = nil end
  end
end

---@return table? object a copy
function Store:get(resource, namespace, name)
  local entry <const> = entry_of(self, resource, namespace, name)
  return entry and patch.copy(entry.object)
end

--- Who has set which of its fields.
---@return kube.Manager[] of an object that is there; noted in it
function Store:managers(resource, namespace, name)
  local entry <const> = entry_of(self, resource, namespace, name)
  entry.managers = entry.managers or {}
  return entry.managers
end

--- Copies, by namespace and name.
---@return table[]
function Store:list(resource, namespace)
  local found <const> = {}
  for _, entry in pairs(self.objects) do
    if entry.resource == resource and (not namespace or entry.object.metadata.namespace == namespace) then
      found[#found + 1] = patch.copy(entry.object)
    end
  end
  table.sort(found, function(a, b) return M.place(a) < M.place(b) end)
  return found
end

--- Store a new object, or (as the lab's own hand, past all rules) an old one anew.
---@return table object a copy
function Store:insert(resource, object)
  local meta <const> = object.metadata
  local old <const> = entry_of(self, resource, meta.namespace, meta.name)
  meta.uid = meta.uid or (old and old.object.metadata.uid) or codec.uuid()
  meta.creationTimestamp = meta.creationTimestamp or (old and old.object.metadata.creationTimestamp) or now()
  object.apiVersion = status.group_version(resource)
  object.kind = resource.kind
  if resource.generation then meta.generation = meta.generation or 1 end
  tidy(meta)
  bump(self, old and "MODIFIED" or "ADDED", resource, object, old and old.object)
  self.objects[address(resource, meta.namespace, meta.name)] =
    { resource = resource, object = object, born = timer.now(), managers = {} }
  return patch.copy(object)
end

local function remove(self, resource, object)
  self.objects[address(resource, object.metadata.namespace, object.metadata.name)] = nil
  bump(self, "DELETED", resource, object, patch.copy(object))
end

local function new_finalizers(old, new)
  local had <const>, added <const> = {}, {}
  for _, name in ipairs(old.metadata.finalizers or {}) do
    had[name] = true
  end
  for _, name in ipairs(new.metadata.finalizers or {}) do
    if not had[name] then added[#added + 1] = ("%q"):format(name) end
  end
  return added
end

local function check_update(resource, old, new)
  local name <const>, before <const>, after <const> = old.metadata.name, old.metadata, new.metadata
  if after.resourceVersion and after.resourceVersion ~= before.resourceVersion then status.stale(resource, name) end
  if after.uid and after.uid ~= before.uid then
    local text <const> = "Precondition failed: UID in precondition: %s, UID in object meta: %s"
    status.conflict(resource, name, text:format(after.uid, before.uid))
  end
  local added <const> = new_finalizers(old, new)
  if before.deletionTimestamp and #added > 0 then
    local text <const> =
      "Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{%s}"
    status.invalid(resource, name, "metadata.finalizers", text:format(table.concat(added, ", ")))
  end
end

local FIXED <const> = {
  "name",
  "namespace",
  "uid",
  "creationTimestamp",
  "deletionTimestamp",
  "deletionGracePeriodSeconds",
  "generateName",
  "generation",
}

--- Replace an object; what is being deleted goes with its last finalizer.
---@param resource kube.Resource
---@param new table
---@param subresource? string "status": nothing but the status changes, otherwise all but it
---@param dry? boolean only show what would become of it
---@return table object
function Store:update(resource, new, subresource, dry)
  local entry <const> = entry_of(self, resource, new.metadata.namespace, new.metadata.name)
  local old <const> = entry and entry.object or status.not_found(resource, new.metadata.name)
  check_update(resource, old, new)
  if subresource == "status" then
    local state <const>, meta <const> = new.status, new.metadata
    new = patch.copy(old)
    new.status, new.metadata.annotations, new.metadata.labels = state, meta.annotations, meta.labels
  elseif resource.status then
    new.status = patch.copy(old.status)
  end
  for _, field in ipairs(FIXED) do
    new.metadata[field] = old.metadata[field]
  end
  new.apiVersion, new.kind, new.metadata.resourceVersion = old.apiVersion, old.kind, old.metadata.resourceVersion
  if resource.generation and not patch.same(old.spec, new.spec) then
    new.metadata.generation = old.metadata.generation + 1
  end
  tidy(new.metadata)
  if patch.same(old, new) or dry then return patch.copy(new) end
  entry.object = new
  if new.metadata.deletionTimestamp and not new.metadata.finalizers and not entry.lingers then
    remove(self, resource, new)
  else
    bump(self, "MODIFIED", resource, new, old)
  end
  return patch.copy(new)
end

local function is_running(resource, object)
  local phase <const> = object.status and object.status.phase
  return resource.name == "pods" and object.spec and object.spec.nodeName and phase ~= "Succeeded" and phase ~= "Failed"
end

local function orphan(self, uid)
  for _, entry in pairs(self.objects) do
    local kept <const> = {}
    for _, owner in ipairs(entry.object.metadata.ownerReferences or {}) do
      if owner.uid ~= uid then kept[#kept + 1] = owner end
    end
    if #kept < #(entry.object.metadata.ownerReferences or {}) then
      local old <const> = patch.copy(entry.object)
      entry.object.metadata.ownerReferences = kept
      tidy(entry.object.metadata)
      bump(self, "MODIFIED", entry.resource, entry.object, old)
    end
  end
end

--- Delete, or mark as being deleted what finalizers (or, of a pod, a kubelet that we have not got) hold back.
---@param options { grace_s: integer?, orphan: boolean? }
---@return table object
---@return boolean gone
function Store:delete(resource, object, options)
  local meta <const> = object.metadata
  local entry <const> = entry_of(self, resource, meta.namespace, meta.name)
  local lingers <const> = is_running(resource, object) and options.grace_s ~= 0
  if options.orphan then orphan(self, meta.uid) end
  local stored <const> = entry.object
  if not lingers and not stored.metadata.finalizers then
    remove(self, resource, stored)
    return patch.copy(stored), true
  end
  if not stored.metadata.deletionTimestamp then
    local old <const> = patch.copy(stored)
    stored.metadata.deletionTimestamp = now()
    stored.metadata.deletionGracePeriodSeconds = lingers and (options.grace_s or POD_GRACE_S) or 0
    bump(self, "MODIFIED", resource, stored, old)
  end
  entry.lingers = lingers
  return patch.copy(stored), false
end

local function owners_live(self, object)
  local uids <const> = {}
  for _, entry in pairs(self.objects) do
    uids[entry.object.metadata.uid] = true
  end
  for _, owner in ipairs(object.metadata.ownerReferences) do
    if uids[owner.uid] then return true end
  end
  return false
end

--- What the garbage collector would have done by now: delete what has owners and none of them lives.
function Store:collect()
  local orphans <const> = {}
  for _, entry in pairs(self.objects) do
    local meta <const> = entry.object.metadata
    local due <const> = timer.now() - entry.born > GC_DELAY_S and not meta.deletionTimestamp
    if due and meta.ownerReferences and not owners_live(self, entry.object) then orphans[#orphans + 1] = entry end
  end
  for _, entry in ipairs(orphans) do
    self:delete(entry.resource, entry.object, {})
  end
  if #orphans > 0 then self:collect() end
end

return M
