local http <const> = require "lunalift.http"
local server <const> = require "lunalift.server"
local task <const> = require "lunalift.task"
local timer <const> = require "lunalift.timer"

local function listen(on_request, max_body)
  return assert(server.listen { on_request = on_request, max_body = max_body })
end

local function client(site) return http.client { base = "http://127.0.0.1:" .. site.port, timeout_s = 5 } end

describe("lunalift.server", function()
  it("tells the handler what was asked", function()
    local seen
    local site <close> = listen(function(request)
      seen = request
      return { status = 201, headers = { ["X-A"] = "b" }, body = "made" }
    end)
    local reply <const> = assert(client(site):post("/a%2Fb?x=%41+b&y&x=2&%7a=%zz&=", {
      body = "in\0side",
      headers = { ["X-In"] = "1" },
    }))
    assert.equal(201, reply.status)
    assert.equal("b", reply.headers["x-a"])
    assert.equal("made", reply.body)
    assert.equal("POST", seen.method)
    assert.equal("/a%2Fb", seen.path)
    assert.equal("x=%41+b&y&x=2&%7a=%zz&=", seen.query)
    assert.same({ x = "2", y = "", z = "%zz", [""] = "" }, seen.args)
    assert.equal("1", seen.headers["x-in"])
    assert.equal("in\0side", seen.body)
    assert.equal("127.0.0.1", seen.peer)
  end)

  it("answers 200 with nothing when the handler says nothing", function()
    local site <close> = listen(function() end)
    local reply <const> = assert(client(site):get "/")
    assert.equal(200, reply.status)
    assert.equal("", reply.body)
  end)

  it("lets handlers wait, side by side", function()
    local site <close> = listen(function()
      timer.sleep(0.1)
      return { body = "slept" }
    end)
    local begin <const> = timer.now()
    local asks <const> = {}
    for i = 1, 50 do
      asks[i] = function() return assert(client(site):get "/").body end
    end
    for _, body in ipairs(task.all(asks)) do
      assert.equal("slept", body)
    end
    assert.is_true(timer.now() - begin < 3)
  end)

  it("cuts a connection off, or lets an answer drip, for tests of clients", function()
    local site <close> = listen(function(request)
      if request.path == "/reset" then return { reset = true } end
      return { body = "drops", drip_s = request.path == "/slow" and 0.2 or 0.001 }
    end)
    local _, why = client(site):post "/reset"
    assert.equal("protocol", why.kind)
    assert.is_true(why.unanswered)
    assert.equal("drops", assert(client(site):get "/drip").body)
    _, why = client(site):get("/slow", { timeout_s = 0.3 })
    assert.equal("timeout", why.kind)
  end)

  it("answers piece by piece, and hears when the client goes", function()
    local gone
    local site <close> = listen(function(request)
      return {
        stream = function(send)
          if request.path == "/broken" then
            send "some"
            error "on purpose, in the middle of an answer"
          end
          for _, piece in ipairs { "one", "", "two" } do
            assert(send(piece))
            timer.sleep(0.01)
          end
          if request.path ~= "/endless" then return end
          while send "." do
            timer.sleep(0.01)
          end
          gone = true
        end,
      }
    end)
    assert.equal("onetwo", assert(client(site):get "/whole").body)
    assert.equal("protocol", select(2, client(site):get "/broken").kind)
    assert.equal("timeout", select(2, client(site):get("/endless", { timeout_s = 0.2 })).kind)
    timer.sleep(0.1)
    assert.is_true(gone)
  end)

  it("answers 500 for a handler that raises, or returns what is no answer", function()
    local answers <const> = {
      function() error "on purpose, for the log" end,
      function() error { kind = "bug", message = "on purpose, as a table" } end,
      function() return "text" end,
      function() return { status = 42 } end,
      function() return { statu = 200 } end,
      function() return { headers = { a = {} } } end,
      function() return { headers = { 1 } } end,
      function()
        timer.sleep(0)
        error "on purpose, after a wait"
      end,
    }
    local which
    local site <close> = listen(function() return answers[which]() end)
    for i = 1, #answers do
      which = i
      local _, why <const> = client(site):get "/"
      assert.equal(500, why.status, "answer " .. i)
    end
  end)

  it("drops a connection without a word", function()
    local site <close> = listen(function() return { drop = true } end)
    local _, why <const> = client(site):post "/"
    assert.equal("protocol", why.kind)
    assert.is_true(why.unanswered)
  end)

  it("outlives clients that leave early", function()
    local answered = 0
    local site <close> = listen(function()
      timer.sleep(0.05)
      answered = answered + 1
      return { body = ("x"):rep(100000) }
    end)
    for _ = 1, 5 do
      local asking <const> = task.spawn(function() return client(site):get "/" end)
      timer.sleep(0.02)
      asking:cancel()
      asking:wait()
    end
    timer.sleep(0.1)
    assert.equal(5, answered)
    assert.equal(200, assert(client(site):get "/").status)
  end)

  it("ends its handlers when it is closed", function()
    local reached, ended = false, false
    local site <const> = listen(function()
      reached = true
      local _end <close> = setmetatable({}, { __close = function() ended = true end })
      timer.sleep(60)
    end)
    local asking <const> = task.spawn(function() return client(site):get "/" end)
    while not reached do
      timer.sleep(0.01)
    end
    site:close()
    site:close()
    local _, why <const> = asking:wait()
    assert.equal("protocol", why.kind)
    assert.is_true(ended)
  end)

  it("serves on when its handle is forgotten", function()
    local port
    local close
    do
      local site <const> = listen(function() return { body = "still here" } end)
      port, close = site.port, function() site:close() end
    end
    collectgarbage()
    collectgarbage()
    assert.equal("still here", assert(http.client({ base = "http://127.0.0.1:" .. port }):get "/").body)
    close()
  end)

  it("refuses bodies above its ceiling", function()
    local asked = false
    local site <close> = listen(function() asked = true end, 1000)
    local _, why <const> = client(site):post("/", { body = ("x"):rep(1001) })
    assert.equal(413, why.status)
    assert.is_false(asked)
    assert.is_truthy(client(site):post("/", { body = ("x"):rep(1000) }))
  end)

  it("carries bodies of 16 MiB both ways", function()
    local site <close> = listen(function(request) return { body = request.body } end)
    local body <const> = ("0123456789abcdef"):rep(1 << 20)
    assert.is_true(assert(client(site):put("/", { body = body })).body == body)
  end)

  it("says that an address is taken", function()
    local site <close> = listen(function() end)
    local second <const>, why <const> = server.listen { port = site.port, on_request = function() end }
    assert.is_nil(second)
    assert.equal("conflict", why.kind)
  end)

  it("raises on options that are wrong", function()
    local function on_request() end
    assert.has_error(function() server.listen {} end)
    assert.has_error(function() server.listen { on_request = 1 } end)
    assert.has_error(function() server.listen { on_request = on_request, prt = 1 } end)
    assert.has_error(function() server.listen { on_request = on_request, port = 70000 } end)
    assert.has_error(function() server.listen { on_request = on_request, cert = "x" } end)
  end)
end)
