--- /folder: files of datastores over HTTP, for whoever is logged in.
local codec <const> = require "lunalift.codec"
local fs <const> = require "lunalift.fs"

---@class lab.folder
local M <const> = {}

local function plain(status, text)
  return { status = status, headers = { ["Content-Type"] = "text/plain" }, body = text or "" }
end

--- The datastore's folder on disk; nil when datacenter or datastore is unknown.
local function root_of(vc, args)
  local datacenter <const> = vc.tree:by_path(args.dcPath or "")
  if not datacenter or datacenter.type ~= "Datacenter" then return nil end
  for _, object in ipairs(vc.tree:below(datacenter, "Datastore", true)) do
    if object.datastore.name == args.dsName or object.props.name == args.dsName then return object.datastore.folder end
  end
end

local function is_inside(path)
  for part in path:gmatch "[^/]+" do
    if part == ".." then return false end
  end
  return true
end

local METHODS <const> = {}

function METHODS.GET(path)
  local found <const> = fs.stat(path)
  if not found then return plain(404, "not found\n") end
  if found.kind == "directory" then return plain(200, table.concat(fs.list(path) or {}, "\n") .. "\n") end
  return { status = 200, headers = { ["Content-Type"] = "application/octet-stream" }, body = fs.read(path) or "" }
end

function METHODS.HEAD(path)
  local found <const> = fs.stat(path)
  if not found then return plain(404) end
  return { status = 200, headers = { ["Content-Type"] = "application/octet-stream" } }
end

function METHODS.PUT(path, request)
  local existed <const> = fs.stat(path) ~= nil
  if not fs.write(path, request.body) then return plain(404, "no such directory\n") end
  return plain(existed and 200 or 201)
end

function METHODS.DELETE(path)
  if not fs.stat(path) then return plain(404) end
  fs.remove(path)
  return plain(204)
end

---@param vc lab.Vcenter
---@param request ServerRequest
---@return ServerAnswer
function M.handle(vc, request)
  if not vc.sessions:of(request) then
    return { status = 401, headers = { ["WWW-Authenticate"] = 'Basic realm="VMware HTTP server"' }, body = "" }
  end
  local path <const> = codec.unpercent(request.path:match "^/folder/(.*)$")
  local root <const> = root_of(vc, request.args)
  if not root or not is_inside(path) then return plain(404, "no such datastore\n") end
  local method <const> = METHODS[request.method]
  return method and method(root .. "/" .. path, request) or plain(405)
end

return M
