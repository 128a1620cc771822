--- Datastores as vCenter shows their files: searched, read and deleted, whichever host has them.
local fail <const> = require "lib.fail"
local vsphere <const> = require "lunalift.vsphere"

local M <const> = {}

local list <const> = vsphere.list

local SEARCH_WITHIN_S <const>, CHANGE_WITHIN_S <const> = 900, 120
local READ_BYTES <const> = 64 << 10

---@class lib.Datastore
---@field name string
---@field url string
---@field accessible boolean
---@field hosts table<string, boolean> ids of those that mount the volume, in whatever datacenter
---@field browser Moref
---@field datacenter { ref: Moref, path: string }
local Datastore <const> = {}
Datastore.__index = Datastore

local PROPS <const> = {
  Datacenter = { "name", "parent" },
  Folder = { "name", "parent" },
  Datastore = { "name", "parent", "browser", "host", "summary.url", "summary.accessible" },
}

-- The datacenter above, and its path from below the root folder.
local function datacenter_of(objects, object)
  local names <const>, ref = {}, nil
  while object and object.props.parent do
    object = objects[object.props.parent.id]
    if object and object.ref.type == "Datacenter" then ref = object.ref end
    if object and ref and object.props.parent then table.insert(names, 1, object.props.name) end
  end
  return { ref = ref, path = table.concat(names, "/") }
end

--- Every volume once, though each of its datacenters has a datastore for it.
---@param vcenter lib.Vcenter
---@return lib.Datastore[]
function M.all(vcenter)
  local objects <const>, by_url <const>, found <const> = {}, {}, {}
  local seen <const> = vcenter:all({ "Datacenter", "Datastore" }, PROPS, { parents = true })
  for _, object in ipairs(seen) do
    objects[object.ref.id] = object
  end
  for _, object in ipairs(seen) do
    local props <const> = object.props
    if object.ref.type == "Datastore" then
      local url <const> = props["summary.url"] or object.ref.id
      if not by_url[url] then
        by_url[url] = setmetatable({
          vcenter = vcenter,
          name = props.name,
          url = url,
          accessible = props["summary.accessible"] ~= false,
          hosts = {},
          browser = props.browser,
          datacenter = datacenter_of(objects, object),
        }, Datastore)
        found[#found + 1] = by_url[url]
      end
      for _, mount in ipairs(list(props.host)) do
        by_url[url].hosts[mount.key.id] = true
      end
    end
  end
  table.sort(found, function(a, b) return a.name .. a.datacenter.path < b.name .. b.datacenter.path end)
  return found
end

--- One that is known by what a promise keeps.
---@param vcenter lib.Vcenter
---@param known { name: string, datacenter: { ref: Moref, path: string } }
---@return lib.Datastore
function M.of(vcenter, known)
  return setmetatable({ vcenter = vcenter, name = known.name, datacenter = known.datacenter }, Datastore)
end

---@param path string within the datastore
---@return string
function Datastore:full(path) return ("[%s] %s"):format(self.name, path) end

--- Files of all folders whose names match; extents may be left out.
---@param glob string
---@return { folder: string, name: string }[] folder "" or "dir/"
function Datastore:search(glob)
  local what <const> = "search datastore " .. self.name
  local search <const> = self.vcenter:ask("SearchDatastoreSubFolders_Task", self.browser, {
    { "datastorePath", ("[%s]"):format(self.name) },
    { "searchSpec", { { "matchPattern", glob } } },
  })
  local files <const> = {}
  for _, found in ipairs(list(self.vcenter:finish(what, search, SEARCH_WITHIN_S))) do
    local folder <const> = found.folderPath:match "^%[.-%] ?(.-)/?$"
    for _, file in ipairs(list(found.file)) do
      files[#files + 1] = { folder = folder ~= "" and folder .. "/" or "", name = file.path }
    end
  end
  return files
end

--- A small file's text; nil when it is not there.
---@param path string
---@return string?
function Datastore:read(path)
  local spec <const> = { dc = self.datacenter.path, datastore = self.name, path = path, max = READ_BYTES }
  local vcenter <const> = self.vcenter
  local ok <const>, text <const> = pcall(
    vcenter.job.read,
    vcenter.job,
    "read " .. self:full(path),
    function() return vcenter.session:get_file(spec) end
  )
  if ok then return text end
  if fail.is(text, "not_found") then return nil end
  error(text)
end

--- One file, and nothing else that its text may name; a file that is not there counts as deleted.
---@param path string
function Datastore:delete(path)
  local vcenter <const>, full <const> = self.vcenter, self:full(path)
  vcenter.job:effect("vcenter.delete_file", full, function()
    local args <const> = { { "name", full }, { "datacenter", self.datacenter.ref } }
    local ref <const>, why <const> =
      vcenter.session:call("DeleteDatastoreFile_Task", "fileManager", args, { effect = true })
    if not ref then return nil, why end
    local ok <const>, trouble <const> = pcall(vcenter.finish, vcenter, "delete " .. full, ref, CHANGE_WITHIN_S)
    if not ok and trouble.fault ~= "FileNotFound" then error(trouble) end
    return true
  end, { standin = true, look = function() end })
end

local function move(self, from, to)
  local vcenter <const> = self.vcenter
  local args <const> = {
    { "sourceName", self:full(from) },
    { "sourceDatacenter", self.datacenter.ref },
    { "destinationName", self:full(to) },
    { "destinationDatacenter", self.datacenter.ref },
    { "force", true },
  }
  local ref <const>, why <const> =
    vcenter.session:call("MoveDatastoreFile_Task", "fileManager", args, { effect = true })
  if not ref then return nil, why end
  vcenter:finish("move to " .. self:full(to), ref, CHANGE_WITHIN_S)
  return true
end

--- A small file with this text, whatever was there. It is written beside first: who reads meanwhile sees one or the other whole.
---@param path string
---@param text string
function Datastore:put(path, text)
  local vcenter <const>, job <const> = self.vcenter, self.vcenter.job
  local beside <const> = ("%s.%s"):format(path, job.id:sub(1, 8))
  local spec <const> = { dc = self.datacenter.path, datastore = self.name, path = beside, content = text }
  local known <const> = { name = self.name, datacenter = self.datacenter }
  local promise <const> =
    job:promise("datastore.delete", { datastore = known, path = beside }, self:full(beside) .. " is there")
  job:effect(
    "vcenter.put_file",
    self:full(beside),
    function() return vcenter.session:put_file(spec) end,
    { standin = true, look = function() end }
  )
  job:effect("vcenter.move_file", self:full(path), function() return move(self, beside, path) end, {
    standin = true,
    look = function() return self:read(path) == text or nil end,
  })
  job:withdraw(promise)
end

return M
