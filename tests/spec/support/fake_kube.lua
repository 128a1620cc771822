--- The lab's API server without a socket, seen with the rights that forklift gives to its populator, and breakable.
local json <const> = require "lunalift.json"

local M <const> = {}

M.NAMESPACE = "move"

local KINDS <const> = { [403] = "denied", [404] = "not_found", [409] = "conflict", [422] = "config" }

local function query(text)
  local args <const> = {}
  for key, value in (text or ""):gmatch "([^&=]+)=([^&]*)" do
    args[key] = require("lunalift.codec").unpercent(value)
  end
  return args
end

local function call(self, method, path, object)
  self.calls[#self.calls + 1] = method
  local failure <const> = self.fails and self.fails(method, path, object)
  if failure and not failure.unanswered then return nil, failure end
  local answer <const> = self.lab:handle {
    method = method,
    path = path:match "^[^?]*",
    args = query(path:match "%?(.*)$"),
    headers = { authorization = "Bearer t", ["content-type"] = "application/json" },
    body = object and json.encode(object) or "",
  }
  if failure then return nil, failure end
  if answer.status < 300 then return json.decode(answer.body) end
  return nil, { kind = KINDS[answer.status] or "failed", status = answer.status, message = answer.body }
end

--- A client; `fails(method, path, object)` may return a failure for a request: unanswered ones are acted on all the same.
---@return table kube with `lab`, `calls`
function M.new()
  local kube <const> = {
    calls = {},
    lab = require("lab.kube").new {
      tokens = { t = require("lab.kube").populator(M.NAMESPACE), admin = { user = "admin" } },
    },
  }
  function kube:get(path) return call(self, "GET", path) end
  function kube:create(path, object) return call(self, "POST", path, object) end
  function kube:update(path, object) return call(self, "PUT", path, object) end
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
