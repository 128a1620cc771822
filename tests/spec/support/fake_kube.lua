--- The lab's API server without a socket, seen with the rights that forklift gives to its populator, and breakable.
local json <const> = require "lunalift.json"
local task <const> = require "lunalift.task"

local M <const> = {}

M.NAMESPACE = "move"

local KINDS <const> =
  { [403] = "denied", [404] = "not_found", [409] = "conflict", [410] = "not_found", [422] = "config" }
local PATCHES <const> = {
  merge = "application/merge-patch+json",
  json = "application/json-patch+json",
  strategic = "application/strategic-merge-patch+json",
  apply = "application/apply-patch+yaml",
}

local function query(text)
  local args <const> = {}
  for key, value in (text or ""):gmatch "([^&=]+)=([^&]*)" do
    args[key] = require("lunalift.codec").unpercent(value)
  end
  return args
end

local function request(self, method, path, object, content_type)
  return self.lab:handle {
    method = method,
    path = path:match "^[^?]*",
    args = query(path:match "%?(.*)$"),
    headers = { authorization = "Bearer " .. self.token, ["content-type"] = content_type or "application/json" },
    body = object and json.encode(object) or "",
  }
end

local function refusal(answer)
  local state <const> = json.decode(answer.body)
  return {
    kind = KINDS[answer.status] or "failed",
    status = answer.status,
    reason = state.reason,
    message = state.message,
  }
end

local function call(self, method, path, object, content_type)
  self.calls[#self.calls + 1] = method
  local failure <const> = self.fails and self.fails(method, path, object)
  if failure and not failure.unanswered then return nil, failure end
  local answer <const> = request(self, method, path, object, content_type)
  if failure then return nil, failure end
  if answer.status < 300 then return json.decode(answer.body) end
  return nil, refusal(answer)
end

-- As KubeWatch is. `drop(why)` ends it, as a broken connection would.
local Watch <const> = {}
Watch.__index = Watch

function Watch:next(within_s)
  while true do
    local event <const> = table.remove(self.events, 1)
    if event then return event end
    if self.is_over then return nil, self.why end
    if not self.bell:wait(within_s) then return nil, { kind = "timeout", message = "silent" } end
  end
end

function Watch:drop(why)
  self.is_over, self.why = true, why
  self.bell:ring()
end

function Watch:close()
  if self.streaming then self.streaming:cancel "the watch was closed" end
  self:drop()
end

Watch.__close = Watch.close

local function watch(self, path)
  self.calls[#self.calls + 1] = "WATCH"
  local answer <const> = request(self, "GET", path)
  local found <const> = setmetatable({ path = path, events = {}, bell = task.bell() }, Watch)
  self.watches[#self.watches + 1] = found
  local failure <const> = self.fails and self.fails("WATCH", path)
  if failure or not answer.stream then
    found:drop(failure or refusal(answer))
    return found
  end
  local function send(line)
    found.events[#found.events + 1] = json.decode(line)
    found.bell:ring()
    return not found.is_over
  end
  found.streaming = task.spawn(function()
    answer.stream(send)
    found:drop()
  end)
  return found
end

--- A client; `fails(method, path, object)` may return a failure for a request: unanswered ones are acted on all the same.
---@param token? string "admin": with all rights
---@return table kube with `lab`, `calls`, `watches`
function M.new(token)
  local kube <const> = {
    calls = {},
    watches = {},
    token = token or "t",
    lab = require("lab.kube").new {
      tokens = { t = require("lab.kube").populator(M.NAMESPACE), admin = { user = "admin" } },
    },
  }
  function kube:get(path) return call(self, "GET", path) end
  function kube:create(path, object) return call(self, "POST", path, object) end
  function kube:update(path, object) return call(self, "PUT", path, object) end
  function kube:delete(path, object) return call(self, "DELETE", path, object) end
  function kube:patch(path, object, kind) return call(self, "PATCH", path, object, PATCHES[kind or "merge"]) end
  kube.watch = watch
  kube.lab:put {
    apiVersion = "v1",
    kind = "PersistentVolumeClaim",
    metadata = { name = "data", namespace = M.NAMESPACE, uid = "u-1" },
    spec = {},
  }
  return kube
end

M.CLAIM = { name = "data", namespace = M.NAMESPACE, uid = "u-1" }

--- The claim's Lease as the server has it.
function M.lease(kube, name)
  return kube.lab:get("/apis/coordination.k8s.io/v1/namespaces/move/leases/" .. (name or "lunalift-u-1"))
end

return M
