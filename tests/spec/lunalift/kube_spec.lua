local codec <const> = require "lunalift.codec"
local fs <const> = require "lunalift.fs"
local json <const> = require "lunalift.json"
local kube <const> = require "lunalift.kube"
local server <const> = require "lunalift.server"
local task <const> = require "lunalift.task"
local timer <const> = require "lunalift.timer"

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

  it("patches in four ways", function()
    local types <const> = {
      merge = "application/merge-patch+json",
      json = "application/json-patch+json",
      strategic = "application/strategic-merge-patch+json",
      apply = "application/apply-patch+yaml",
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

  describe("watches", function()
    local CLAIMS <const> = "/api/v1/persistentvolumeclaims?watch=1"

    local function stream(fn) answer = { headers = { ["Content-Type"] = "application/json" }, stream = fn } end

    it("hand over an event as soon as its line is whole", function()
      stream(function(send)
        send '{"type":"ADDED","object":{"n":'
        timer.sleep(0.05)
        send '1}}\n{"type":"BOOKMARK"}\n{"type":"DELETED"'
        timer.sleep(0.2)
        send "}\n"
      end)
      local watch <const> = assert(api:watch(CLAIMS))
      local begun_s <const> = timer.now()
      assert.same({ type = "ADDED", object = { n = 1 } }, watch:next(5))
      assert.same({ type = "BOOKMARK" }, watch:next(5))
      assert.is_true(timer.now() - begun_s < 0.2)
      assert.same({ type = "DELETED" }, watch:next(5))
      assert.same({ n = 1 }, table.pack(watch:next(5)), "the end, without a failure")
      assert.same({ n = 1 }, table.pack(watch:next(5)))
      assert.equal("watch=1", seen.query)
    end)

    it("may be silent, and be asked on", function()
      stream(function(send)
        timer.sleep(0.2)
        send '{"type":"ADDED"}\n'
        timer.sleep(60)
      end)
      local watch <close> = assert(api:watch(CLAIMS))
      local nothing <const>, why <const> = watch:next(0.05)
      assert.is_nil(nothing)
      assert.equal("timeout", why.kind)
      assert.equal("ADDED", watch:next(5).type)
    end)

    it("are closed while one waits for them", function()
      stream(function() timer.sleep(60) end)
      local watch <const> = assert(api:watch(CLAIMS))
      local reader <const> = task.spawn(function() return "ended", watch:next(60) end)
      timer.sleep(0.05)
      assert.error_matches(function() watch:next(1) end, "another task waits")
      watch:close()
      assert.same({ "ended", n = 2 }, table.pack(reader:wait()))
    end)

    it("lose nothing while nobody reads", function()
      local count <const> = 40
      local pad <const> = ("x"):rep(100000)
      stream(function(send)
        for i = 1, count do
          send(('{"type":"ADDED","object":{"n":%d,"pad":"%s"}}\n'):format(i, pad))
        end
      end)
      local watch <const> = assert(api:watch(CLAIMS))
      assert.equal(1, watch:next(5).object.n)
      timer.sleep(0.2)
      for i = 2, count do
        assert.equal(i, watch:next(5).object.n)
      end
      assert.is_nil(watch:next(5))
    end)

    it("take one event that is longer than what may wait", function()
      stream(function(send)
        send('{"type":"ADDED","object":{"pad":"' .. ("y"):rep(3 << 20) .. '"}}\n')
        timer.sleep(60)
      end)
      local watch <close> = assert(api:watch(CLAIMS))
      assert.equal(3 << 20, #watch:next(10).object.pad)
    end)

    it("say why they are refused, or broken off", function()
      answer = status_of(410, "Expired", "too old resource version")
      local _, why = assert(api:watch(CLAIMS)):next(5)
      assert.same({ "not_found", 410, "Expired" }, { why.kind, why.status, why.reason })
      assert.equal("watch: 410 too old resource version", why.message)
      stream(function() error "on purpose, for the log" end)
      _, why = assert(api:watch(CLAIMS)):next(5)
      assert.equal("protocol", why.kind)
      stream(function(send) send "<html>\n" end)
      _, why = assert(api:watch(CLAIMS)):next(5)
      assert.equal("protocol", why.kind)
      listener:close()
      _, why = assert(api:watch(CLAIMS)):next(5)
      assert.equal("unreachable", why.kind)
    end)
  end)
end)
