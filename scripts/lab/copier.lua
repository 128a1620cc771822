--- The door of an array that copies volumes by itself, as no vendor's: for what the core does with such copies.
local array_copy <const> = require "lab.array_copy"
local json <const> = require "lunalift.json"
local server <const> = require "lunalift.server"

---@class lab.copier
local M <const> = {}

---@class lab.Copier
---@field settings lab.CopyPace of the copies of all arrays
---@field volumes table<string, { id: string, name: string, path: string, size_bytes: integer, naa: string? }> by NAA or vVol id
---@field copies table<string, table>
local Copier <const> = {}
Copier.__index = Copier

local function shown(copy) return { id = copy.id, state = copy.state, percent = array_copy.percent(copy) } end

local function start(self, body)
  local known <const> = self.copies[body.id]
  if known then return 200, shown(known) end
  local source <const>, target <const> = self.volumes[body.source], self.volumes[body.target]
  if not source or not target then return 404, { error = "no such volume" } end
  local copy <const> = array_copy.start(source, target)
  copy.id = body.id
  self.copies[body.id] = copy
  self.starts = self.starts + 1
  return 201, shown(copy)
end

local ROUTES <const> = {
  ["GET volumes"] = function(self, id)
    local volume <const> = self.volumes[id]
    if not volume then return 404, { error = "no such volume" } end
    return 200, { id = volume.id, name = volume.name, naa = volume.naa, size_bytes = volume.size_bytes }
  end,
  ["POST copies"] = function(self, _, request) return start(self, assert(json.decode(request.body))) end,
  ["GET copies"] = function(self, id)
    local copy <const> = self.copies[id]
    if not copy then return 404, { error = "no such copy" } end
    array_copy.advance(copy, self.settings)
    return 200, shown(copy)
  end,
  ["DELETE copies"] = function(self, id)
    self.copies[id] = nil
    return 200, {}
  end,
}

---@param request ServerRequest
---@return ServerAnswer
function Copier:handle(request)
  local kind <const>, id <const> = request.path:match "^/(%a+)/?(.*)$"
  local route <const> = ROUTES[("%s %s"):format(request.method, kind)]
  local status, value = 404, { error = "no such door" }
  if route then
    status, value = route(self, id, request)
  end
  return { status = status, headers = { ["Content-Type"] = "application/json" }, body = json.encode(value) }
end

--- A volume that it may copy from or to.
---@param id string NAA or vVol id
function Copier:add(id, name, path, size_bytes)
  local naa <const> = id:find "^naa%." and id or nil
  self.volumes[id] = { id = id, name = name, path = path, size_bytes = size_bytes, naa = naa }
end

function Copier:state()
  local copies <const> = {}
  for id, copy in pairs(self.copies) do
    copies[id] = shown(copy)
  end
  return { copies = copies, starts = self.starts }
end

function Copier:close() self.server:close() end

---@param faults lab.Faults
---@return lab.Copier
function M.start(faults)
  local self <const> = setmetatable({ settings = {}, volumes = {}, copies = {}, starts = 0 }, Copier)
  self.server = assert(server.listen {
    on_request = faults:wrap("copier", function(request) return self:handle(request) end),
  })
  self.port = self.server.port
  return self
end

return M
