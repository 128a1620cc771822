--- The property collector: which objects a filter selects, and what of them is told.
local schema <const> = require "lab.schema"
local vim <const> = require "lab.vim"

---@class lab.properties
local M <const> = {}

---@class lab.Object a managed object
---@field type string
---@field id string
---@field props table<string, any> values of lab.vim, or functions that return them

---@class lab.World
---@field find fun(self: lab.World, ref: Moref): lab.Object?

local function unknown(path) return vim.fault("InvalidProperty", "", { { "name", path } }) end

local function keyed(list, key)
  local wanted <const> = key:gsub('^"(.*)"$', "%1")
  for _, item in ipairs(list.items) do
    local found <const> = item.kind == "object" and vim.field(item, "key")
    if found and tostring(type(found) == "table" and (found.id or found.text) or found) == wanted then return item end
  end
end

local function step_into(value, word, path)
  local indexed <const>, key <const> = word:match "^([%w_]+)%[(.-)%]$"
  local name <const> = indexed or word
  if value.kind ~= "object" or not schema.has_field(value.type, name) then error(unknown(path)) end
  local found = vim.field(value, name)
  if found and key then found = found.kind == "array" and keyed(found, key) or nil end
  return found
end

--- The value at a path such as "config.hardware.device"; nil when unset. Raises InvalidProperty for a path that cannot be.
---@param object lab.Object
---@param path string
---@return any
function M.value(object, path)
  local first <const>, rest <const> = path:match "^([^.]+)%.?(.*)$"
  if not first or not schema.has_property(object.type, first) then error(unknown(path)) end
  local value = vim.now(object.props[first])
  for word in rest:gmatch "[^.]+" do
    if value == nil then return nil end
    if type(value) ~= "table" then error(unknown(path)) end
    value = step_into(value, word, path)
  end
  return value
end

local function refs_of(value)
  if value == nil then return {} end
  if value.kind == "ref" then return { value } end
  return value.kind == "array" and value.type == "ManagedObjectReference" and value.items or {}
end

local function name_traversals(specs, named)
  for _, spec in ipairs(specs) do
    if spec._type == "TraversalSpec" then
      if spec.name then named[spec.name] = spec end
      name_traversals(spec.selectSet, named)
    end
  end
  return named
end

---@class lab.Walk
---@field world lab.World
---@field named table<string, table>
---@field seen table<any, table> per traversal: the objects it was walked from
---@field emit fun(object: lab.Object)

local walk

local function traverse(state, object, spec)
  local seen <const> = state.seen[spec] or {}
  state.seen[spec] = seen
  if seen[object] or not schema.is_a(object.type, spec.type) then return end
  seen[object] = true
  for _, ref in ipairs(refs_of(M.value(object, spec.path))) do
    local target <const> = state.world:find(ref)
    if target then
      if not spec.skip then state.emit(target) end
      walk(state, target, spec.selectSet)
    end
  end
end

function walk(state, object, specs)
  for _, spec in ipairs(specs) do
    local meant <const> = spec._type == "TraversalSpec" and spec or state.named[spec.name or ""]
    if not meant then error(vim.fault("InvalidArgument", "A specified parameter was not correct: selectSet")) end
    traverse(state, object, meant)
  end
end

local function paths_for(object, prop_set)
  local paths <const>, wanted = {}, false
  for _, spec in ipairs(prop_set) do
    if schema.is_a(object.type, spec.type) then
      wanted = true
      local list = spec.pathSet
      if spec.all then
        list = {}
        for name in pairs(object.props) do
          list[#list + 1] = name
        end
        table.sort(list)
      end
      table.move(list, 1, #list, #paths + 1, paths)
    end
  end
  return wanted and paths or nil
end

local function content_of(object, paths, denial)
  local set <const>, missing <const>, seen <const> = {}, {}, {}
  for _, path in ipairs(paths) do
    local value <const> = M.value(object, path)
    if not seen[path] then
      seen[path] = true
      if denial then
        missing[#missing + 1] = vim.object("MissingProperty", { { "path", path }, { "fault", vim.localized(denial) } })
      elseif value ~= nil then
        set[#set + 1] = vim.object("DynamicProperty", { { "name", path }, { "val", value, any = true } })
      end
    end
  end
  return vim.object("ObjectContent", {
    { "obj", vim.ref(object.type, object.id) },
    { "propSet", vim.array("DynamicProperty", set) },
    { "missingSet", vim.array("MissingProperty", missing) },
  })
end

local function check_types(spec)
  for _, each in ipairs(spec.propSet) do
    if not schema.has_type(each.type) then
      error(vim.fault("InvalidArgument", "A specified parameter was not correct: propSet.type"))
    end
  end
end

local function collect_one(world, spec, add)
  check_types(spec)
  for _, start in ipairs(spec.objectSet) do
    local object <const> = world:find(start.obj)
    if object then
      if not start.skip then add(object, spec.propSet) end
      walk({
        world = world,
        named = name_traversals(start.selectSet, {}),
        seen = {},
        emit = function(target) add(target, spec.propSet) end,
      }, object, start.selectSet)
    elseif not spec.reportMissingObjectsInResults then
      error(
        vim.fault("ManagedObjectNotFound", "The object has already been deleted or has not been completely created", {
          { "obj", vim.ref(start.obj.type, start.obj.id) },
        })
      )
    end
  end
end

--- ObjectContent of all that the filters select, in the order found, each object once a filter.
---@param world lab.World
---@param spec_set table[] PropertyFilterSpec as decoded by lab.soap
---@param denial? lab.Fault put in the place of every value
---@return lab.Value[]
function M.collect(world, spec_set, denial)
  local found <const> = {}
  for _, spec in ipairs(spec_set) do
    local told <const> = {}
    collect_one(world, spec, function(object, prop_set)
      local paths <const> = not told[object] and paths_for(object, prop_set)
      if paths then
        told[object] = true
        found[#found + 1] = content_of(object, paths, denial)
      end
    end)
  end
  return found
end

return M
