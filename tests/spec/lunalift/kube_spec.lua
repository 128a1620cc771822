local codec <const> = require "lunalift.codec"
local fs <const> = require "lunalift.fs"
local json <const> = require "lunalift.json"
local kube <const> = require "lunalift.kube"
local server <const> = require "lunalift.server"

local PVC <const> = "/api/v1/namespaces/vms/persistentvolumeclaims/disk"

local function config_of(port, user)
  return ([[
current-context: a
contexts: [{ name: a, context: { cluster: c, user: u, namespace: vms } }]
clusters: [{ name: c, cluster: { server: 'http://127.0.0.1:%d' } }]
users: [{ name: u, user: %s }]
]]):format(port, user or "{ token: t0ken }")
end

--- What the API says when it refuses.
local function status_of(code, reason, message, details)
  return {
    status = code,
    headers = { ["Content-Type"] = "application/json" },
    body = json.encode {
      kind = "Status",
      status = "Failure",
      code = code,
      reason = reason,
      message = message,
      details = details,
    },
  }
end

describe("lunalift.kube", function()
  local path, listener, api, seen, answer
  before_each(function()
    path = "/tmp/kube-" .. codec.uuid()
    answer = { headers = { ["Content-Type"] = "application/json" }, body = '{"kind":"X","n":9007199254740991}' }
    listener = assert(server.listen {
      on_request = function(request)
        seen = request
        return answer
      end,
    })
    assert(fs.write(path, config_of(listener.port)))
    api = assert(kube.open { kubeconfig = path })
  end)
  after_each(function()
    listener:close()
    assert(fs.remove(path))
  end)

  it("knows its server and namespace", function()
    assert.equal("http://127.0.0.1:" .. listener.port, api.server)
    assert.equal("vms", api.namespace)
    assert.is_nil(api.nonsense)
  end)

  it("gets an object with exact integers", function()
    assert.same({ kind = "X", n = 9007199254740991 }, api:get(PVC .. "?x=y"))
    assert.equal("GET", seen.method)
    assert.equal(PVC, seen.path)
    assert.equal("x=y", seen.query)
    assert.equal("Bearer t0ken", seen.headers.authorization)
    assert.equal("application/json", seen.headers.accept)
    assert.equal("", seen.body)
  end)

  it("creates, replaces and deletes", function()
    for verb, method in pairs { create = "POST", update = "PUT", delete = "DELETE" } do
      assert(api[verb](api, PVC, { a = 1 }))
      assert.equal(method, seen.method)
      assert.equal('{"a":1}', seen.body)
      assert.equal("application/json", seen.headers["content-type"])
    end
    assert(api:delete(PVC))
    assert.equal("", seen.body)
  end)

  it("patches in three ways", function()
    local types <const> = {
      merge = "application/merge-patch+json",
      json = "application/json-patch+json",
      strategic = "application/strategic-merge-patch+json",
    }
    for kind, content_type in pairs(types) do
      assert(api:patch(PVC, json.array {}, kind))
      assert.equal("PATCH", seen.method)
      assert.equal(content_type, seen.headers["content-type"])
      assert.equal("[]", seen.body)
    end
    assert(api:patch(PVC, { a = json.null }))
    assert.equal("application/merge-patch+json", seen.headers["content-type"])
    assert.equal('{"a":null}', seen.body)
  end)

  it("makes a failure of a Status", function()
    answer = status_of(404, "NotFound", 'persistentvolumeclaims "disk" not found')
    local object, why = api:get(PVC)
    assert.is_nil(object)
    assert.equal("not_found", why.kind)
    assert.equal(404, why.status)
    assert.equal("NotFound", why.reason)
    assert.equal("GET " .. PVC .. ': 404 persistentvolumeclaims "disk" not found', why.message)
    assert.is_nil(why.refused)
    assert.is_nil(why.unanswered)
  end)

  it("tells kinds of refusal apart", function()
    local kinds <const> = {
      [400] = "failed",
      [401] = "denied",
      [403] = "denied",
      [409] = "conflict",
      [410] = "not_found",
      [415] = "unsupported",
      [422] = "config",
      [429] = "busy",
      [500] = "failed",
      [503] = "busy",
      [504] = "timeout",
    }
    for status, kind in pairs(kinds) do
      answer = status_of(status, "Whatever", "no")
      local why <const> = select(2, api:create(PVC, {}))
      assert.equal(kind, why.kind, status)
      assert.equal(status == 401 or status == 429 or status == 503 or nil, why.refused, status)
      assert.equal(status == 504 or nil, why.unanswered, status)
    end
    answer = status_of(500, "ServerTimeout", "try again")
    assert.equal("busy", select(2, api:create(PVC, {})).kind)
  end)

  it("hints at what to do about 401 and 403", function()
    answer = status_of(401, "Unauthorized", "Unauthorized")
    assert.matches("token", select(2, api:get(PVC)).hint)
    answer = status_of(403, "Forbidden", 'cannot get resource "x"')
    assert.matches("permission", select(2, api:get(PVC)).hint)
  end)

  it("says when to come back", function()
    answer = status_of(429, "TooManyRequests", "busy", { retryAfterSeconds = 7 })
    assert.equal(7, select(2, api:get(PVC)).retry_after_s)
    answer = { status = 503, headers = { ["Retry-After"] = "3" }, body = "overloaded" }
    local why <const> = select(2, api:get(PVC))
    assert.equal(3, why.retry_after_s)
    assert.equal("GET " .. PVC .. ": 503 overloaded", why.message)
    answer = status_of(409, "Conflict", "modified")
    assert.is_nil(select(2, api:get(PVC)).retry_after_s)
  end)

  it("does not take an answer that is no JSON for an object", function()
    answer = { body = "<html>a proxy's page</html>" }
    local object, why = api:create(PVC, {})
    assert.is_nil(object)
    assert.equal("protocol", why.kind)
    assert.is_true(why.unanswered)
    assert.is_nil(select(2, api:get(PVC)).unanswered)
  end)

  it("reports a server that went away as unanswered", function()
    answer = { drop = true }
    local object, why = api:create(PVC, {})
    assert.is_nil(object)
    assert.equal("protocol", why.kind)
    assert.is_true(why.unanswered)
  end)

  it("returns configuration failures, and raises on misuse", function()
    assert(fs.write(path, config_of(1, "{ exec: { command: aws } }")))
    local opened, why = kube.open { kubeconfig = path }
    assert.is_nil(opened)
    assert.equal("config", why.kind)
    assert.equal(path .. ":4: users[u].user.exec: is not supported", why.message)
    assert.matches("kubectl create token", why.hint)
    assert.error_matches(function() kube.open { kubconfig = path } end, "did you mean 'kubeconfig'")
    assert.error_matches(function() api:get "no-slash" end, "begins with /")
    assert.error_matches(function() api:create(PVC) end, "table expected")
    assert.error_matches(function() api:patch(PVC, {}, "jsonpatch") end, "invalid option")
  end)
end)
