--- Server-side apply: which manager has set which field, and whose word counts.
local json <const> = require "lunalift.json"
local patch <const> = require "lab.kube.patch"
local status <const> = require "lab.kube.status"

---@class kube.apply
local M <const> = {}

M.CONTENT_TYPE = "application/apply-patch+yaml"

-- What is nobody's: the server's own.
local OWN <const> = {
  [".apiVersion"] = true,
  [".kind"] = true,
  [".metadata.name"] = true,
  [".metadata.namespace"] = true,
  [".metadata.uid"] = true,
  [".metadata.resourceVersion"] = true,
  [".metadata.creationTimestamp"] = true,
  [".metadata.deletionTimestamp"] = true,
  [".metadata.deletionGracePeriodSeconds"] = true,
}

-- Lists of which each item is a field of its own, by their field: true if it is its own key. Other lists are one field.
local KEYS <const> = { finalizers = true, ownerReferences = "uid", conditions = "type" }

local function is_list(value) return value[1] ~= nil or getmetatable(value) ~= nil end

local function item_path(path, key, item)
  if key == true then return ("%s[=%s]"):format(path, json.encode(item)) end
  return ("%s[%s=%s]"):format(path, key, json.encode(item[key]))
end

-- Call visit(path, value) for each field.
local function walk(value, path, field, visit)
  local key <const> = KEYS[field]
  if type(value) ~= "table" or (is_list(value) and not key) or (next(value) == nil and path ~= "") then
    if not OWN[path] then visit(path, value) end
  elseif is_list(value) then
    for _, item in ipairs(value) do
      walk(item, item_path(path, key, item), nil, visit)
    end
  else
    for name, item in pairs(value) do
      walk(item, path .. "." .. name, name, visit)
    end
  end
end

local function fields_of(object)
  local fields <const> = {}
  walk(object, "", nil, function(path, value) fields[path] = value end)
  return fields
end

-- The value without the fields in `gone`; nil when nothing is left of it.
local function without(value, path, field, gone)
  if gone[path] then return nil end
  local key <const> = KEYS[field]
  if type(value) ~= "table" or (is_list(value) and not key) or next(value) == nil then return value end
  local left <const> = {}
  if is_list(value) then
    for _, item in ipairs(value) do
      left[#left + 1] = without(item, item_path(path, key, item), nil, gone)
    end
  else
    for name, item in pairs(value) do
      left[name] = without(item, path .. "." .. name, name, gone)
    end
  end
  return next(left) ~= nil and left or nil
end

local merge

local function merge_list(old, new, key)
  local merged <const>, at <const> = {}, {}
  for i, item in ipairs(type(old) == "table" and old or {}) do
    merged[i] = item
    at[key == true and item or item[key]] = i
  end
  for _, item in ipairs(new) do
    local i <const> = at[key == true and item or item[key]]
    merged[i or #merged + 1] = i and merge(merged[i], item) or patch.copy(item)
  end
  return merged
end

function merge(old, new, field)
  if type(new) ~= "table" then return new end
  if is_list(new) then return KEYS[field] and merge_list(old, new, KEYS[field]) or patch.copy(new) end
  local merged <const> = type(old) == "table" and patch.copy(old) or {}
  for name, item in pairs(new) do
    merged[name] = merge(merged[name], item, name)
  end
  return merged
end

-- ---- managers ----

---@class kube.Manager
---@field name string
---@field applies boolean
---@field version string of the API
---@field fields table<string, true>

local function manager_of(managers, name, applies, version)
  for _, each in ipairs(managers) do
    if each.name == name and each.applies == applies then return each end
  end
  managers[#managers + 1] = { name = name, applies = applies, version = version, fields = {} }
  return managers[#managers]
end

-- Fields that were changed or taken away are no longer theirs who had set them.
local function disown(managers, old, new, except)
  for path in pairs(old) do
    if new[path] == nil or not patch.same(old[path], new[path]) then
      for _, each in ipairs(managers) do
        if each ~= except then each.fields[path] = nil end
      end
    end
  end
end

--- Note who has made a change otherwise than by apply.
---@param managers kube.Manager[]
---@param old table? nil: it was made
---@param new table
---@param name string of the manager
function M.note(managers, old, new, name)
  local was <const>, is <const> = old and fields_of(old) or {}, fields_of(new)
  local manager <const> = manager_of(managers, name, false, new.apiVersion)
  disown(managers, was, is)
  for path, value in pairs(is) do
    if was[path] == nil or not patch.same(was[path], value) then manager.fields[path] = true end
  end
end

local function is_anothers(managers, path, ours)
  for _, each in ipairs(managers) do
    if each ~= ours and each.fields[path] then return each end
  end
end

-- ---- conflicts ----

local function shown(manager)
  return manager.applies and ("%q"):format(manager.name) or ("%q using %s"):format(manager.name, manager.version)
end

local function text_of(conflicts)
  if #conflicts == 1 then
    return ("Apply failed with 1 conflict: conflict with %s: %s"):format(conflicts[1].who, conflicts[1].path)
  end
  local lines <const>, last = {}, nil
  for _, conflict in ipairs(conflicts) do
    if conflict.who ~= last then lines[#lines + 1] = ("conflicts with %s:"):format(conflict.who) end
    last = conflict.who
    lines[#lines + 1] = "- " .. conflict.path
  end
  return ("Apply failed with %d conflicts: %s"):format(#conflicts, table.concat(lines, "\n"))
end

local function refuse(conflicts)
  if #conflicts == 0 then return end
  table.sort(conflicts, function(a, b) return a.who == b.who and a.path < b.path or a.who < b.who end)
  local causes <const> = {}
  for i, conflict in ipairs(conflicts) do
    causes[i] = { reason = "FieldManagerConflict", message = "conflict with " .. conflict.who, field = conflict.path }
  end
  status.refuse(409, "Conflict", text_of(conflicts), { causes = causes })
end

local function conflicts_of(managers, ours, was, wanted)
  local found <const> = {}
  for path, value in pairs(wanted) do
    local other <const> = was[path] ~= nil and not patch.same(was[path], value) and is_anothers(managers, path, ours)
    if other then found[#found + 1] = { who = shown(other), path = path } end
  end
  return found
end

--- What becomes of an object that a manager applies its part to. The managers are noted by the function that comes with it.
---@param managers kube.Manager[]
---@param old table `{}` with its metadata for a new one
---@param wanted table
---@param name string of the manager
---@param force boolean
---@return table object
---@return fun() note
function M.apply(managers, old, wanted, name, force)
  local ours <const> = manager_of(managers, name, true, wanted.apiVersion)
  local was <const>, fields <const> = fields_of(old), fields_of(wanted)
  if not force then refuse(conflicts_of(managers, ours, was, fields)) end
  local gone <const> = {}
  for path in pairs(ours.fields) do
    if fields[path] == nil and not is_anothers(managers, path, ours) then gone[path] = true end
  end
  local new <const> = merge(without(old, "", nil, gone) or {}, wanted)
  return new,
    function()
      disown(managers, was, fields_of(new), ours)
      ours.fields = {}
      for path in pairs(fields) do
        ours.fields[path] = true
      end
    end
end

return M
