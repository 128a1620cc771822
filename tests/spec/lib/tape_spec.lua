local fake_http <const> = require "spec.support.fake_http"
local fail <const> = require "lib.fail"
local json <const> = require "lunalift.json"
local secret <const> = require "lunalift.secret"
local stand_in <const> = require "spec.support.stand_in"

describe("the tape of an array's session", function()
  local wire, restore, tape, rest, conf

  -- A state of an array's own, as each session has.
  local function enter()
    if wire then wire:restore() end
    if restore then restore() end
    wire = fake_http.install()
    restore = stand_in.install { ["lunalift.timer"] = stand_in.clock().timer }
    tape, rest = require "lib.tape", require "lib.rest"
  end

  before_each(function()
    enter()
    conf = { hostname = "box", username = "u", password = secret.new "pass-canary-1" }
  end)

  after_each(function()
    restore()
    wire:restore()
    wire, restore = nil, nil
  end)

  local SESSION <const> = {
    login = function(client, given)
      local reply <const> = assert(client:post("/login", { json = { user = given.username, word = given.password } }))
      return { Cookie = reply.headers["set-cookie"]:match "^[^;]*" }, reply.json.id
    end,
    lost = function(why) return why.status == 401 end,
    logout = function(client, id) return client:delete("/login/" .. id) end,
  }

  -- Opens, looks for a volume and logs out; `path` is what the script asks for.
  local function session(path, more)
    local api
    tape.call("open", { "box", { hostname = "box", password = conf.password, tls = { insecure = true } } }, function()
      api = rest.open(conf, { path = "/api", headers = { Accept = "x/y" }, session = SESSION })
      return true
    end)
    tape.call("lun_of", { { name = "pv" } }, function()
      local record <const> = api:get(path, { fields = "size", name = "a b" })
      if more then more(api) end
      return { id = record.id, size_bytes = record.size, token = record.token }
    end)
    pcall(tape.call, "map", { {}, {}, n = 2 }, function()
      local answer <const>, why <const> = api:change(
        "POST",
        "/maps",
        { lun = 1 },
        { headers = { ["X-Api-Key"] = secret.new "key-canary-2" } }
      )
      if not answer then error(fail.wrap(why, "map it")) end
    end)
    tape.call("close", {}, function() api:close() end)
  end

  local COOKIE <const> = "sid=cookie-canary-3; Path=/; HttpOnly"
  local ID <const> = "id/canary+4=="

  local function expect_all()
    wire:expect("POST", "/login"):reply({ id = ID, self = "/api/login/path-canary-5" }, 201, {
      ["set-cookie"] = COOKIE,
      ["content-type"] = "application/json",
      date = "now",
    })
    local answer <const> =
      { id = "v1", size = 4 << 40, token = "word-canary-6", secret = "short-7", list = json.array {} }
    wire:expect("GET", "/v"):reply(answer)
    wire:expect("POST", "/maps"):refuse(409, { text = "not with cookie-canary-3, nor with " .. ID })
    wire:expect("DELETE", "/login/" .. ID)
  end

  local function recorded()
    tape.record()
    expect_all()
    session "/v"
    wire:done()
    return tape.text()
  end

  local function difference(text, change)
    enter()
    tape.replay(text)
    change()
    return tape.difference()
  end

  it("has each call with its values, its requests, their answers, and what it returned or raised", function()
    local calls <const> = json.decode(recorded())
    local names <const> = {}
    for i, call in ipairs(calls) do
      names[i] = call.call
    end
    assert.same({ "open", "lun_of", "map", "close" }, names)
    assert.same({ "box", { hostname = "box", password = "***" } }, calls[1].given)
    local request <const> = calls[2].requests[2]
    assert.equal("GET /api/v?fields=size&name=a b", request.ask)
    assert.equal("x/y", request.headers.accept)
    assert.equal("***", request.headers.cookie)
    assert.equal(4 << 40, request.reply.json.size)
    assert.equal(4 << 40, calls[2].returned[1].size_bytes)
    assert.same({ lun = 1 }, calls[3].requests[1].body)
    assert.equal(409, calls[3].requests[1].refusal.status)
    assert.equal("conflict", calls[3].raised.kind)
    assert.is_nil(calls[2].requests[1].reply.headers.date)
  end)

  it("holds no secret: of what is sent, of what a login tells, and wherever it is said again", function()
    local text <const> = recorded()
    assert.is_nil(text:find "canary")
    assert.is_nil(text:find("short-7", 1, true))
    local calls <const> = json.decode(text)
    assert.equal("DELETE /api/login/" .. calls[2].requests[1].reply.json.id, calls[4].requests[1].ask)
    assert.matches("not with masked%-%d+, nor with masked%-%d+", calls[3].requests[1].refusal.json.text)
  end)

  it("plays the same session without an array", function()
    local text <const> = recorded()
    assert.is_nil(difference(text, function() session "/v" end))
    assert.equal(0, #wire.calls)
  end)

  it("tells the first request that differs, and where", function()
    local text <const> = recorded()
    assert.equal(
      "call 2, lun_of, request 2, ask\n  recorded  GET /api/v?fields=size&name=a b\n  now       GET /api/w?fields=size&name=a b",
      difference(text, function() pcall(session, "/w") end)
    )
    assert.equal(
      "call 2, lun_of asks more than was recorded\n  now       GET /api/more",
      difference(text, function()
        pcall(session, "/v", function(api) api:get "/more" end)
      end)
    )
  end)

  it("tells a request that is not made any more, and a result that is another", function()
    local calls <const> = json.decode(recorded())
    local changed <const> = json.decode(json.encode(calls))
    table.insert(changed[2].requests, { ask = "GET /api/z", headers = {}, reply = { status = 200 } })
    local said = difference(json.encode(changed), function() pcall(session, "/v") end)
    assert.equal("call 2, lun_of does not ask any more\n  recorded  GET /api/z", said)

    calls[2].returned[1].size_bytes = 7
    said = difference(json.encode(calls), function() pcall(session, "/v") end)
    assert.equal(("call 2, lun_of, returned[1].size_bytes\n  recorded  7\n  now       %d"):format(4 << 40), said)
  end)

  it("lets no mistake be caught and forgotten by the script", function()
    local text <const> = recorded()
    local said <const> = difference(text, function()
      session("/v", function(api) pcall(api.get, api, "/more") end)
    end)
    assert.matches("asks more than was recorded", said, 1, true)
  end)
end)
