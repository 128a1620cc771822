--- Files of datastores as vCenter's HostDatastoreBrowser and FileManager know them.
local fs <const> = require "lunalift.fs"
local timer <const> = require "lunalift.timer"
local vim <const> = require "lab.vim"

---@class lab.browser
local M <const> = {}

local function not_found(path)
  return vim.fault("FileNotFound", ("File %s was not found"):format(path), { { "file", path } })
end

-- A glob as a pattern of Lua.
local function pattern_of(glob)
  local text <const> = glob:gsub("[%^%$%(%)%%%.%[%]%+%-]", "%%%0"):gsub("%*", ".*"):gsub("%?", ".")
  return "^" .. text .. "$"
end

-- What holds a disk's bytes, or points to a raw device, is not shown beside the descriptor that names it.
local function is_hidden(names, name)
  local base <const> = name:match "^(.*)%-flat%.vmdk$" or name:match "^(.*)%-rdm%.vmdk$"
  return base ~= nil and names[base .. ".vmdk"] == true
end

local function matches(patterns, name)
  for _, pattern in ipairs(patterns) do
    if name:find(pattern) then return true end
  end
  return #patterns == 0
end

local function file_info(path, name, details)
  local found <const> = fs.stat(path)
  return vim.object("FileInfo", {
    { "path", name },
    { "fileSize", details and details.fileSize and vim.long(found.size) or nil },
    { "modification", details and details.modification and vim.date(timer.iso(found.mtime)) or nil },
  })
end

-- What is in one folder. Folders are files too where one folder is searched; where all are, each has a result of its own.
local function search_folder(results, at, spec)
  local names <const>, files <const>, folders <const> = {}, {}, {}
  for _, name in ipairs(assert(fs.list(at.folder))) do
    names[name] = true
  end
  for name in pairs(names) do
    local path <const> = at.folder .. "/" .. name
    local is_folder <const> = fs.stat(path).kind == "directory"
    if is_folder and spec.is_deep then
      folders[#folders + 1] = name
    elseif matches(spec.patterns, name) and not is_hidden(names, name) then
      files[#files + 1] = file_info(path, name, spec.details)
    end
  end
  results[#results + 1] = vim.object("HostDatastoreBrowserSearchResults", {
    { "datastore", at.datastore },
    { "folderPath", at.path },
    { "file", vim.array("FileInfo", files) },
  })
  table.sort(folders)
  for _, name in ipairs(folders) do
    local below <const> =
      { folder = at.folder .. "/" .. name, path = ("%s%s/"):format(at.path, name), datastore = at.datastore }
    search_folder(results, below, spec)
  end
end

--- The files of a folder that match, or those of each folder below it.
---@param datastore lab.Datastore
---@param path string "[ds]" or "[ds] dir"
---@param spec { matchPattern: string[]?, details: table? } HostDatastoreBrowserSearchSpec
---@param is_deep boolean
---@return lab.Value
function M.search(datastore, path, spec, is_deep)
  local name <const>, folder <const> = path:match "^%[(.-)%] ?(.*)$"
  local at <const> = datastore.folder .. "/" .. (folder or "")
  if name ~= datastore.name or not fs.stat(at) then error(not_found(path)) end
  local patterns <const> = {}
  for i, glob in ipairs(spec.matchPattern or {}) do
    patterns[i] = pattern_of(glob)
  end
  local results <const> = {}
  local from <const> = ("[%s] %s"):format(name, folder ~= "" and folder .. "/" or "")
  local start <const> = { folder = at, path = from, datastore = vim.ref("Datastore", datastore.moref) }
  search_folder(results, start, { patterns = patterns, details = spec.details, is_deep = is_deep })
  return is_deep and vim.array("HostDatastoreBrowserSearchResults", results) or results[1]
end

-- Where a file is, or would be.
local function locate(datastores, path)
  local name <const>, file <const> = path:match "^%[(.-)%] (.+)$"
  for _, datastore in ipairs(datastores) do
    if datastore.name == name then return datastore.folder .. "/" .. file end
  end
  error(vim.fault("InvalidDatastore", "Invalid datastore path '" .. path .. "'.", { { "name", name } }))
end

--- One file, and nothing else that its text may name.
---@param datastores lab.Datastore[] of the datacenter
---@param path string "[ds] dir/file"
function M.delete(datastores, path)
  local on_disk <const> = locate(datastores, path)
  local found <const> = fs.stat(on_disk)
  if not found then error(not_found(path)) end
  if found.kind == "directory" then error(vim.fault("CannotDeleteFile", path, { { "file", path } })) end
  assert(fs.remove(on_disk))
end

---@param from lab.Datastore[] of the source's datacenter
---@param source string "[ds] dir/file"
---@param to lab.Datastore[]
---@param destination string
---@param force? boolean over a file that is there
function M.move(from, source, to, destination, force)
  local old <const>, new <const> = locate(from, source), locate(to, destination)
  if not fs.stat(old) then error(not_found(source)) end
  if fs.stat(new) and not force then
    error(vim.fault("FileAlreadyExists", destination .. " exists", { { "file", destination } }))
  end
  assert(fs.rename(old, new))
end

return M
