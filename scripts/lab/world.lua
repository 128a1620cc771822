--- The managed objects of the lab's vCenter: the tree of folders, datacenters, hosts, datastores and VMs, found by reference, name or path.
local schema <const> = require "lab.schema"
local vim <const> = require "lab.vim"

---@class lab.world
local M <const> = {}

---@class lab.World
---@field objects table<string, lab.Object> by id
---@field root lab.Object
local World <const> = {}
World.__index = World

---@return lab.World
function M.new() return setmetatable({ objects = {} }, World) end

---@return Moref
function M.ref_of(object) return vim.ref(object.type, object.id) end

---@param type string
---@param id string
---@param props table<string, any>
---@return lab.Object
function World:add(type, id, props)
  local object <const> = { type = type, id = id, props = props }
  self.objects[id] = object
  return object
end

function World:remove(object) self.objects[object.id] = nil end

---@param ref Moref
---@return lab.Object? nil also when the type is not the object's
function World:find(ref)
  local object <const> = self.objects[ref.id]
  if object and schema.is_a(object.type, ref.type) then return object end
end

--- Put an inventory object into its parent, under a name as given by users; `/`, `\` and `%` in it are escaped as vCenter does.
---@param parent lab.Object? nil for the root folder
function World:entity(type, id, parent, name, props)
  props.name = name:gsub("[%%/\\]", { ["%"] = "%25", ["/"] = "%2f", ["\\"] = "%5c" })
  props.parent = parent and M.ref_of(parent)
  local object <const> = self:add(type, id, props)
  if parent and parent.children then table.insert(parent.children, object) end
  return object
end

---@param parent lab.Object?
---@param child_types string[]
function World:folder(id, parent, name, child_types)
  local children <const> = {}
  local folder <const> = self:entity("Folder", id, parent, name, {
    childType = vim.strings(child_types),
    childEntity = function()
      local refs <const> = {}
      for i, child in ipairs(children) do
        refs[i] = M.ref_of(child)
      end
      return vim.refs(refs)
    end,
  })
  folder.children = children
  return folder
end

local BELOW <const> = {
  Datacenter = { "vmFolder", "hostFolder", "datastoreFolder", "networkFolder" },
  ComputeResource = { "host", "resourcePool" },
  ClusterComputeResource = { "host", "resourcePool" },
}

--- What lies directly below an object for name searches.
---@return lab.Object[]
function World:children(object)
  if object.children then return object.children end
  local found <const> = {}
  for _, name in ipairs(BELOW[object.type] or {}) do
    local value <const> = vim.now(object.props[name])
    for _, ref in ipairs(value and value.items or { value }) do
      found[#found + 1] = self:find(ref)
    end
  end
  return found
end

---@param name string
---@return lab.Object?
function World:child(object, name)
  for _, each in ipairs(self:children(object)) do
    if each.props.name == name then return each end
  end
end

--- By an inventory path from below the root folder: "Folder/DC/vm/name"; `/` within a name is `%2f`.
---@param path string
---@return lab.Object?
function World:by_path(path)
  local at = self.root
  for name in path:gmatch "[^/]+" do
    at = at and self:child(at, name)
  end
  return at
end

--- All inventory objects below one, itself left out, parents before children.
---@param type string
---@return lab.Object[]
function World:below(object, type, recursive, found)
  found = found or {}
  for _, child in ipairs(self:children(object)) do
    if schema.is_a(child.type, type) then found[#found + 1] = child end
    if recursive then self:below(child, type, true, found) end
  end
  return found
end

--- The datacenter above an object.
---@return lab.Object?
function World:datacenter_of(object)
  while object and object.type ~= "Datacenter" do
    object = object.props.parent and self:find(object.props.parent)
  end
  return object
end

---@return string names from below the root folder, joined by "/"
function World:path_of(object)
  local names <const> = {}
  while object and object ~= self.root do
    table.insert(names, 1, object.props.name)
    object = object.props.parent and self:find(object.props.parent)
  end
  return table.concat(names, "/")
end

return M
