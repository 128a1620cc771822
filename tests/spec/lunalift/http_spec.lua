local certificate <const> = require "lunalift.certificate"
local fs <const> = require "lunalift.fs"
local http <const> = require "lunalift.http"
local isolate <const> = require "lunalift.isolate"
local json <const> = require "lunalift.json"
local secret <const> = require "lunalift.secret"
local server <const> = require "lunalift.server"
local task <const> = require "lunalift.task"
local timer <const> = require "lunalift.timer"

--- A site that keeps what it was asked and answers with `site.answer`.
local function open_site(answer)
  local site <const> = { answer = answer, seen = {}, count = 0 }
  site.server = assert(server.listen {
    on_request = function(request)
      site.seen, site.count = request, site.count + 1
      return type(site.answer) == "function" and site.answer(request) or site.answer
    end,
  })
  site.base = "http://127.0.0.1:" .. site.server.port
  function site.client(options)
    options = options or {}
    options.base = site.base
    return http.client(options)
  end
  return setmetatable(site, { __close = function() site.server:close() end })
end

local function json_answer(value, status)
  return { status = status, headers = { ["Content-Type"] = "application/json" }, body = json.encode(value) }
end

describe("lunalift.http", function()
  it("gives the reply of a 2xx", function()
    local site <close> = open_site(json_answer({ size = 1 << 45, list = { 1, 2 } }, 202))
    local reply <const> = assert(site.client():get "/x")
    assert.equal(202, reply.status)
    assert.equal("application/json", reply.headers["content-type"])
    assert.same({ size = 1 << 45, list = { 1, 2 } }, reply.json)
    assert.equal("integer", math.type(reply.json.size))
    assert.matches('"size"', reply.body)
    assert.is_true(reply.duration_s >= 0 and reply.duration_s < 5)
  end)

  it("has no json where there is none", function()
    local site <close> = open_site { body = "{}" }
    assert.is_nil(assert(site.client():get "/").json)
    site.answer = { headers = { ["Content-Type"] = "application/json" }, body = "{broken" }
    local reply <const> = assert(site.client():get "/")
    assert.is_nil(reply.json)
    assert.equal("{broken", reply.body)
    site.answer = { headers = { ["Content-Type"] = "application/hal+json; charset=utf-8" }, body = "[1]" }
    assert.same({ 1 }, assert(site.client():get "/").json)
  end)

  it("runs no script while it reads a query", function()
    local site <close> = open_site {}
    local query <const> = {}
    local asked = 0
    query.a = setmetatable({ "1" }, {
      __len = function() asked = asked + 1 end,
      __index = function() asked = asked + 1 end,
    })
    assert(site.client():get("/q", { query = query }))
    assert.equal("a=1", site.seen.query)
    assert.equal(0, asked)
  end)

  it("encodes a query in the order of its keys", function()
    local site <close> = open_site {}
    local query <const> = { b = { "1", "2&" }, a = "x y/ü", d = true, c = 12, e = {} }
    assert(site.client():get("/q", { query = query }))
    assert.equal("a=x%20y%2F%C3%BC&b=1&b=2%26&c=12&d=true", site.seen.query)
    assert(site.client():get("/q?z=1", { query = { a = "2" } }))
    assert.equal("z=1&a=2", site.seen.query)
    assert(site.client():get("/q", { query = {} }))
    assert.equal("", site.seen.query)
  end)

  it("sends json, forms and plain bodies", function()
    local site <close> = open_site {}
    local client <const> = site.client()
    assert(client:post("/", { json = { b = 1 << 53, a = json.array {} } }))
    assert.equal('{"a":[],"b":9007199254740992}', site.seen.body)
    assert.equal("application/json", site.seen.headers["content-type"])
    assert(client:post("/", { json = { user = "a", password = secret.new 'p"\\s' } }))
    assert.equal([[{"password":"p\"\\s","user":"a"}]], site.seen.body)
    assert(client:patch("/", { json = {}, headers = { ["content-type"] = "application/merge-patch+json" } }))
    assert.equal("PATCH", site.seen.method)
    assert.equal("application/merge-patch+json", site.seen.headers["content-type"])
    assert(client:put("/", { form = { user = "a b", pass = secret.new "p&ss" } }))
    assert.equal("pass=p%26ss&user=a%20b", site.seen.body)
    assert.equal("application/x-www-form-urlencoded", site.seen.headers["content-type"])
    assert(client:delete("/", { body = secret.new "hidden" }))
    assert.equal("hidden", site.seen.body)
    assert(client:post "/")
    assert.equal("0", site.seen.headers["content-length"])
    assert.is_nil(site.seen.headers["content-type"])
    assert(client:request("HEAD", "/"))
    assert.equal("HEAD", site.seen.method)
  end)

  it("sends the client's headers, a request's own over them, and forgets what it is told to", function()
    local site <close> = open_site {}
    local client <const> = site.client {
      headers = { ["X-A"] = "client", ["X-B"] = secret.new "hidden" },
      username = "root",
      password = secret.new "pw",
    }
    assert(client:get("/", { headers = { ["x-a"] = "request" } }))
    assert.equal("request", site.seen.headers["x-a"])
    assert.equal("hidden", site.seen.headers["x-b"])
    assert.equal("Basic cm9vdDpwdw==", site.seen.headers.authorization)
    client:set_headers { authorization = secret.new("token"):wrap("Bearer ", ""), ["x-b"] = false, ["X-C"] = "new" }
    assert(client:get "/")
    assert.equal("client", site.seen.headers["x-a"])
    assert.is_nil(site.seen.headers["x-b"])
    assert.equal("new", site.seen.headers["x-c"])
    assert.equal("Bearer token", site.seen.headers.authorization)
    client:set_headers { Authorization = "Other" }
    assert(client:get "/")
    assert.equal("Other", site.seen.headers.authorization)
  end)

  it("is not changed by what happens to its options later", function()
    local site <close> = open_site {}
    local options <const> = { headers = { ["X-A"] = "1" } }
    local client <const> = site.client(options)
    options.base, options.headers["X-A"] = "http://127.0.0.1:1", "2"
    assert(client:get "/")
    assert.equal("1", site.seen.headers["x-a"])
  end)

  it("joins values of a repeated header", function()
    local site <close> =
      open_site { headers = { ["X-A"] = "1", ["x-a"] = "2", ["Set-Cookie"] = "a=1", ["set-cookie"] = "b=2" } }
    local headers <const> = assert(site.client():get "/").headers
    assert.is_true(headers["x-a"] == "1, 2" or headers["x-a"] == "2, 1")
    assert.is_true(headers["set-cookie"] == "a=1\nb=2" or headers["set-cookie"] == "b=2\na=1")
  end)

  it("makes a failure of every other status, its kind by the number", function()
    local kinds <const> = {
      [302] = "failed",
      [400] = "failed",
      [401] = "denied",
      [403] = "denied",
      [404] = "not_found",
      [408] = "timeout",
      [409] = "conflict",
      [410] = "not_found",
      [412] = "conflict",
      [413] = "no_space",
      [415] = "unsupported",
      [422] = "config",
      [429] = "busy",
      [500] = "failed",
      [502] = "failed",
      [503] = "busy",
      [504] = "timeout",
      [507] = "no_space",
    }
    local site <close> = open_site()
    for status, kind in pairs(kinds) do
      site.answer = json_answer({ error = "no\nway" }, status)
      local reply <const>, why <const> = site.client():post("/v1/x", { query = { token = "t0ken" } })
      assert.is_nil(reply)
      assert.equal(kind, why.kind, status)
      assert.equal(status, why.status)
      assert.same({ error = "no\nway" }, why.json)
      assert.equal(site.answer.body, why.body)
      assert.equal("application/json", why.headers["content-type"])
      assert.matches("^POST http://127%.0%.0%.1:%d+/v1/x: HTTP status " .. status, why.message)
      assert.not_matches("t0ken", why.message)
      assert.equal(status == 401 or status == 429 or status == 503 or nil, why.refused, status)
      assert.equal(status == 502 or status == 504 or nil, why.unanswered, status)
    end
  end)

  it("keeps the beginning of a long refusal", function()
    local site <close> = open_site { status = 500, body = ("y"):rep(10000) }
    local _, why <const> = site.client():get "/"
    assert.equal(4096, #why.body)
  end)

  it("reads Retry-After in both its forms", function()
    local site <close> = open_site()
    local function retry_after(value)
      site.answer = { status = 503, headers = { ["Retry-After"] = value } }
      return select(2, site.client():get "/").retry_after_s
    end
    assert.equal(7, retry_after "7")
    assert.equal(0, retry_after "Wed, 21 Oct 2015 07:28:00 GMT")
    assert.is_true(retry_after "Wed, 21 Oct 2099 07:28:00 GMT" > 1e9)
    assert.is_nil(retry_after "soon")
    assert.is_nil(retry_after "nan")
  end)

  it("tells no answer from no way there", function()
    local _, why = http.client({ base = "http://127.0.0.1:1" }):post "/"
    assert.equal("unreachable", why.kind)
    assert.is_true(why.refused)
    assert.is_nil(why.unanswered)
    local site <close> = open_site { drop = true }
    _, why = site.client():post "/"
    assert.equal("protocol", why.kind)
    assert.is_true(why.unanswered)
    assert.is_nil(why.refused)
    assert.equal(1, site.count)
    site.answer = function() timer.sleep(5) end
    _, why = site.client():get("/", { timeout_s = 0.05 })
    assert.equal("timeout", why.kind)
    assert.is_true(why.unanswered)
  end)

  it("reaches only the hosts of its state's list", function()
    local site <close> = open_site {}
    local guest <const> = assert(isolate.open { module = "spec.http_guest", hosts = { "array.example", "127.0.0.1" } })
    assert.equal(200, (guest:call("get", site.base, "/")))
    local port <const> = site.server.port
    for _, base in ipairs {
      "http://localhost:" .. port,
      "http://[::1]:" .. port,
      "http://2130706434:" .. port,
      "elsewhere.example",
    } do
      local status <const>, why <const> = guest:call("get", base, "/")
      assert.is_nil(status)
      assert.equal("denied", why.kind)
      assert.is_true(why.refused)
      assert.matches("array%.example, 127%.0%.0%.1", why.message)
    end
    assert.matches("^elsewhere%.example is none", select(2, guest:call("get", "elsewhere.example", "/")).message)
    assert.equal(1, site.count)
  end)

  it("reads no file of CA certificates for a guest but the one its state was given", function()
    local site <close> = open_site {}
    local path <const> = os.tmpname()
    assert(fs.write(path, assert(certificate.ca { cn = "any" }).cert))
    local guest <const> = assert(isolate.open { module = "spec.http_guest", ca_file = path })
    assert.equal(200, (guest:call("get", site.base, "/", { ca_file = path })))
    for _, other in ipairs { "/etc/passwd", path .. "/../x" } do
      local _, why <const> = guest:call("get", site.base, "/", { ca_file = other })
      assert.equal("denied", why.kind)
    end
    local bare <const> = assert(isolate.open { module = "spec.http_guest" })
    assert.equal("denied", select(2, bare:call("get", site.base, "/", { ca_file = path })).kind)
    os.remove(path)
  end)

  it("counts the bodies of a guest in its memory ceiling", function()
    local site <close> = open_site { body = ("x"):rep(1 << 20) }
    local guest <const> = assert(isolate.open { module = "spec.http_guest", memory_bytes = 6 << 20 })
    for _ = 1, 10 do
      assert.equal(1, guest:call("get_at_once", site.base, 1)) -- each gives back what it took
    end
    local answered, why = guest:call("get_at_once", site.base, 10)
    assert.is_true((answered or 0) < 6, why.message)
    assert.equal("no_space", why.kind)
    assert.matches("memory", why.message)
    answered = guest:call("get_at_once", site.base, 10, ("y"):rep(1 << 20))
    assert.is_true((answered or 0) < 6, why.message)
    assert.equal(1, guest:call("get_at_once", site.base, 1))
  end)

  it("holds replies to their ceiling", function()
    local site <close> = open_site { body = ("x"):rep(1001) }
    local _, why <const> = site.client({ max_body = 1000 }):get "/"
    assert.equal("no_space", why.kind)
    assert.equal(1001, #assert(site.client({ max_body = 1001 }):get "/").body)
  end)

  it("lets go of a request when its task is cancelled", function()
    local site <close> = open_site(function() timer.sleep(5) end)
    for wait = 0, 5 do
      local asking <const> = task.spawn(function() return site.client():get "/" end)
      timer.sleep(wait / 100)
      asking:cancel "enough"
      local _, why <const> = asking:wait()
      assert.equal("cancelled", why.kind)
    end
  end)

  it("runs many requests at once", function()
    local site <close> = open_site(function(request) return { body = request.path } end)
    local client <const> = site.client()
    local asks <const> = {}
    for i = 1, 200 do
      asks[i] = function() return assert(client:get("/" .. i)).body end
    end
    for i, path in ipairs(task.all(asks)) do
      assert.equal("/" .. i, path)
    end
  end)

  it("raises on options and arguments that are wrong", function()
    local site <close> = open_site {}
    local client <const> = site.client()
    for i, options in ipairs {
      {},
      { base = "" },
      { base = "h", timeout = 1 },
      { base = "h", timeout_s = "1" },
      { base = "h", timeout_s = 0 },
      { base = "h", password = "text" },
      { base = "h", headers = { a = 1 } },
      { base = "h", tls = { verify = false } },
      { base = "h/x?y" },
    } do
      assert.has_error(function() http.client(options) end, nil, "client " .. i)
    end
    for i, options in ipairs {
      { qery = {} },
      { query = "a=b" },
      { query = { a = function() end } },
      { query = { "a" } },
      { json = {}, body = "" },
      { body = 1 },
      { headers = { a = {} } },
      { json = function() end },
    } do
      assert.has_error(function() client:post("/", options) end, nil, "request " .. i)
    end
    assert.has_error(function() client:get "elsewhere" end)
    assert.has_error(function() client:get "@evil.example/" end)
    assert.has_error(function() client:request("get", "/") end)
    assert.has_error(function() client:set_headers { a = 1 } end)
    assert.has_error(function() client:set_headers { false } end)
    assert.equal(0, site.count)
  end)

  it("refuses an address or header that cannot be sent, as configuration", function()
    for _, base in ipairs { "ftp://h", "https://user:pw@h", "https://h\xc3\xb6st" } do
      local _, why <const> = http.client({ base = base }):get "/"
      assert.equal("config", why.kind)
      assert.is_true(why.refused)
      assert.not_matches("pw", why.message)
    end
    local _, why <const> = http.client({ base = "h", headers = { a = "b\r\nc: d" } }):get "/"
    assert.equal("config", why.kind)
  end)
end)
