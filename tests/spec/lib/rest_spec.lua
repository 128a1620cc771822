local fake_http <const> = require "spec.support.fake_http"
local secret <const> = require "lunalift.secret"
local stand_in <const> = require "spec.support.stand_in"
local task <const> = require "lunalift.task"

describe("the REST service of an array", function()
  local wire, clock, rest, restore, conf

  before_each(function()
    wire, clock = fake_http.install(), stand_in.clock()
    restore = stand_in.install { ["lunalift.timer"] = clock.timer }
    rest = require "lib.rest"
    conf = { hostname = "array1", username = "u", password = secret.new "p" }
  end)

  after_each(function()
    restore()
    wire:restore()
  end)

  local function raised(fn, ...)
    local ok <const>, why <const> = pcall(fn, ...)
    assert.is_false(ok)
    return why
  end

  it("is where the user says, at the array's own port unless a port is given", function()
    local bases <const> = {
      ["array1"] = "https://array1:8080/api",
      ["array1:443"] = "https://array1:443/api",
      ["http://array1"] = "http://array1:8080/api",
      ["https://array1:443/"] = "https://array1:443/api",
      ["[fd00::1]"] = "https://[fd00::1]:8080/api",
      ["[fd00::1]:443"] = "https://[fd00::1]:443/api",
      ["https://array1/gate//"] = "https://array1:8080/gate/api",
    }
    for hostname, base in pairs(bases) do
      conf.hostname = hostname
      rest.open(conf, { port = 8080, path = "/api" })
      assert.equal(base, wire.clients[#wire.clients].base)
    end
  end)

  it("wants a user name and a password", function()
    conf.password = nil
    local why <const> = raised(rest.open, conf, {})
    assert.equal("config", why.kind)
    assert.matches("STORAGE_PASSWORD", why.hint)
  end)

  it("answers, or fails in the array's own words", function()
    local api <const> = rest.open(conf, {
      basic = true,
      explain = function(why) why.message = "it says " .. why.json.text end,
    })
    wire:expect("GET", "/a"):reply { x = 1 }
    wire:expect("GET", "/b"):refuse(500, { text = "no" })
    assert.equal(1, api:ask("GET", "/a").json.x)
    local _, why <const> = api:ask("GET", "/b")
    assert.equal("it says no", why.message)
    wire:done()
  end)

  describe("whose errors are known", function()
    local api

    before_each(function()
      api = rest.open(conf, {
        errors = {
          by = "ACME",
          meanings = { [7] = { "not_found", "look" }, locked = { "busy" } },
          hints = { [403] = "get the role", unreachable = "is it on?" },
          elsewhere = "that is no ACME",
          read = function(body) return body.said and { text = body.said, codes = body.codes, hint = body.advice } end,
        },
      })
    end)

    local function refusal(status, body, method)
      wire:expect(method or "GET", "/a"):refuse(status, body)
      local _, why <const> = api:ask(method or "GET", "/a")
      return why
    end

    it("has its words, and the code that means something, in a failure", function()
      local why <const> = refusal(500, { said = "no such thing", codes = { "K1", 7 }, advice = "read" })
      assert.same({ "not_found", 7, "look" }, { why.kind, why.code, why.hint })
      assert.equal("ACME says: no such thing (code K1, 7)", why.message)
    end)

    it("has its own advice, and hints by status, for codes that mean nothing", function()
      assert.equal("read", refusal(500, { said = "no", codes = { 1 }, advice = "read" }).hint)
      assert.equal("get the role", refusal(403, { said = "no", codes = { 1 }, advice = "read" }).hint)
      assert.equal("get the role", refusal(403).hint)
    end)

    it("may be sent again what a code calls busy", function()
      local why <const> = refusal(500, { said = "later", codes = { "locked" } }, "POST")
      assert.same({ "busy", true }, { why.kind, why.refused })
    end)

    it("says of no question that nothing was done: perhaps it was, before it was asked", function()
      for _, status in ipairs { 401, 429, 503 } do
        assert.is_nil(refusal(status).refused)
        assert.is_true(refusal(status, nil, "POST").refused)
      end
    end)

    it("takes no page for people for an answer, whatever its status: of an effect it was lost", function()
      for method, unanswered in pairs { GET = false, POST = true } do
        wire:expect(method, "/a"):reply(nil, 200, { ["content-type"] = "text/html; charset=utf-8" })
        local reply <const>, why <const> = api:ask(method, "/a")
        assert.same({ nil, "protocol", unanswered }, { reply, why.kind, why.unanswered == true })
        assert.equal(method .. " /a: HTTP status 200 OK, and a page for people", why.message)
        assert.equal("that is no ACME", why.hint)
      end
    end)

    it("takes no code of a busy server or a lost answer for a verdict", function()
      for _, status in ipairs { 503, 504 } do
        local why <const> = refusal(status, { said = "no", codes = { 7 } })
        assert.is_not.equal("not_found", why.kind)
      end
    end)

    it("knows a stranger by a page, and by a 404 in no words of the array", function()
      assert.equal("that is no ACME", refusal(404, { error = "nginx" }).hint)
      wire:expect("GET", "/a"):refuse(502).why.headers = { ["content-type"] = "text/html" }
      local _, why <const> = api:ask("GET", "/a")
      assert.equal("that is no ACME", why.hint)
      assert.matches("502 Bad Gateway, and a page for people", why.message)
      wire:expect("GET", "/a"):vanish "unreachable"
      assert.equal("is it on?", select(2, api:ask("GET", "/a")).hint)
    end)

    it("gives what is there, nil for what the array says is not, and raises everything else", function()
      wire:expect("GET", "/a", { x = 1 }):reply { y = 2 }
      assert.same({ y = 2 }, api:get("/a", { x = 1 }))
      wire:expect("GET", "/a"):refuse(400, { said = "gone", codes = { 7 } })
      assert.is_nil(api:find "/a")
      wire:expect("GET", "/a"):refuse(404)
      assert.equal("not_found", raised(api.find, api, "/a").kind)
      for _, ask in ipairs { api.get, api.find } do
        wire:expect("GET", "/a"):reply(nil)
        local why <const> = raised(ask, api, "/a")
        assert.same({ "protocol", "that is no ACME" }, { why.kind, why.hint })
        assert.matches("the answer to /a makes no sense", why.message)
      end
    end)

    it("has removed what the array says is not there, and nothing else that failed", function()
      wire:expect("DELETE", "/a")
      assert.is_true(api:remove "/a")
      wire:expect("DELETE", "/a"):refuse(404, { said = "gone", codes = { 7 } })
      assert.is_true(api:remove "/a")
      for _, status in ipairs { 404, 504 } do
        wire:expect("DELETE", "/a"):refuse(status)
        assert.is_nil((api:remove "/a"))
      end
    end)
  end)

  describe("whose changes are jobs", function()
    local api

    before_each(function()
      api = rest.open(conf, {
        errors = { by = "ACME", meanings = {}, read = function(body) return { text = body.text, codes = {} } end },
        jobs = {
          within_s = 10,
          at = function(answer) return answer.job and "/jobs/" .. answer.job, { full = true } end,
          state = function(job) return job.state or "running", "job J is " .. (job.state or "new"), job.error end,
        },
      })
    end)

    local function change()
      wire:expect("POST", "/a", nil, { x = 1 }):reply({ job = "J" }, 202)
      return function() return api:change("POST", "/a", { x = 1 }) end
    end

    local function job(answer) wire:expect("GET", "/jobs/J", { full = true }):reply(answer) end

    it("follows them to their end, and answers with the ended job", function()
      local run <const> = change()
      job { state = "running" }
      job { state = "done", made = 1 }
      assert.equal(1, run().made)
      wire:expect("POST", "/a"):reply { id = 1 }
      assert.same({ id = 1 }, api:change("POST", "/a"))
      wire:expect("POST", "/a"):reply(nil, 204)
      assert.same({}, api:change("POST", "/a"))
    end)

    it("tells what the job says when it failed, and does not know when it cannot", function()
      for _, state in ipairs { "failed", "unknown" } do
        local run <const> = change()
        job { state = state, error = { text = "no" } }
        local done <const>, why <const> = run()
        assert.same({ "failed", "ACME says: no" }, { why.kind, why.message })
        assert.is_nil(done)
        assert.equal(state == "unknown" or nil, why.unanswered)
      end
    end)

    it("does not know, either, when asking fails or the job does not end", function()
      local run = change()
      wire:expect("GET", "/jobs/J"):vanish "unreachable"
      local _, why = run()
      assert.same({ "unreachable", true }, { why.kind, why.unanswered })
      run = change()
      for _ = 1, 20 do
        job { state = "running" }
      end
      _, why = run()
      assert.same({ "timeout", true, "job J is running" }, { why.kind, why.unanswered, why.message })
    end)
  end)

  describe("that takes all by POST, and refuses with status 200", function()
    local api

    before_each(function()
      api = rest.open(conf, {
        errors = {
          by = "ACME",
          meanings = { [7] = { "not_found" }, [8] = { "busy" } },
          refuses = function(body) return body.ok == false end,
          read = function(body) return body.no and { text = body.say, codes = { body.no } } end,
        },
        jobs = {
          within_s = 10,
          at = function(answer) return answer.job and "/rpc", nil, { call = "job", id = answer.job } end,
          state = function(job) return job.state or "running", "job J", job end,
        },
      })
    end)

    it("asks by POST what is no effect", function()
      wire:expect("POST", "/rpc", nil, { call = "get" }):reply { ok = true, x = 1 }
      assert.equal(1, api:get("/rpc", nil, { call = "get" }).x)
      assert.is_false(wire.calls[#wire.calls].options.effect)
      wire:expect("POST", "/rpc", nil, { call = "get" }):reply { ok = false, no = 7, say = "none" }
      assert.is_nil(api:find("/rpc", nil, { call = "get" }))
    end)

    it("has the array's words in a failure, and what its codes mean", function()
      for no, kind in pairs { [7] = "not_found", [8] = "busy", [9] = "failed" } do
        wire:expect("POST", "/rpc"):reply { ok = false, no = no, say = "no" }
        local done <const>, why <const> = api:change("POST", "/rpc", { call = "make" })
        assert.is_nil(done)
        assert.same({ kind, no, kind == "busy" }, { why.kind, why.code, why.refused == true })
        assert.equal(("ACME says: no (code %d)"):format(no), why.message)
      end
    end)

    it("asks by POST after a job, and does not know what became of one that it cannot ask after", function()
      wire:expect("POST", "/rpc", nil, { call = "make" }):reply { ok = true, job = 5 }
      wire:expect("POST", "/rpc", nil, { call = "job", id = 5 }):reply { ok = true, state = "done" }
      assert.equal("done", api:change("POST", "/rpc", { call = "make" }).state)
      wire:expect("POST", "/rpc", nil, { call = "make" }):reply { ok = true, job = 6 }
      wire:expect("POST", "/rpc", nil, { call = "job", id = 6 }):refuse(429)
      local _, why <const> = api:change("POST", "/rpc", { call = "make" })
      assert.same({ "busy", true }, { why.kind, why.unanswered })
      assert.is_nil(why.refused)
      wire:done()
    end)
  end)

  it("never sends a refused password twice", function()
    local api <const> = rest.open(conf, { basic = true })
    wire:expect("POST", "/a"):refuse(401)
    local _, why <const> = api:ask("POST", "/a")
    assert.same({ "denied", nil }, { why.kind, why.refused })
    assert.matches("STORAGE_USERNAME", why.hint)
    wire:done()
  end)

  it("keeps the pace that the array bears, also when several ask", function()
    conf.limits = { requests_per_s = 4 }
    local api <const> = rest.open(conf, {})
    for _ = 1, 3 do
      wire:expect("GET", "/a")
    end
    task.all {
      function() api:ask("GET", "/a") end,
      function() api:ask("GET", "/a") end,
      function() api:ask("GET", "/a") end,
    }
    assert.same({ 0.25, 0.25 }, clock.naps)
  end)

  describe("with sessions", function()
    local logins, logouts, spec

    before_each(function()
      logins, logouts = 0, {}
      spec = {
        session = {
          login = function(client)
            logins = logins + 1
            local reply <const>, why <const> = client:post "/login"
            if not reply then error(why) end
            return { ["X-Key"] = reply.json.key }, reply.json.key
          end,
          lost = function(why) return why.status == 401 end,
          logout = function(client, key)
            logouts[#logouts + 1] = key
            assert(client:delete("/login/" .. key))
          end,
        },
      }
    end)

    it("logs in at the first request, and bears the key as a secret", function()
      local api <const> = rest.open(conf, spec)
      assert.equal(0, logins)
      wire:expect("POST", "/login"):reply { key = "k1" }
      wire:expect("GET", "/a")
      wire:expect("GET", "/b")
      assert(api:ask("GET", "/a"))
      assert(api:ask("GET", "/b"))
      assert.is_true(secret.is(api.client.headers["X-Key"]))
      wire:done()
    end)

    it("logs in anew when the session is lost, and asks the same once more", function()
      local api <const> = rest.open(conf, spec)
      wire:expect("POST", "/login"):reply { key = "k1" }
      wire:expect("POST", "/a", nil, { x = 1 }):refuse(401)
      wire:expect("POST", "/login"):reply { key = "k2" }
      wire:expect("POST", "/a", nil, { x = 1 }):reply { done = true }
      assert.is_true(api:ask("POST", "/a", { json = { x = 1 } }).json.done)
      wire:done()
    end)

    it("gives up when the new session is lost at once", function()
      local api <const> = rest.open(conf, spec)
      wire:expect("POST", "/login"):reply { key = "k1" }
      wire:expect("GET", "/a"):refuse(401)
      wire:expect("POST", "/login"):reply { key = "k2" }
      wire:expect("GET", "/a"):refuse(401)
      local _, why <const> = api:ask("GET", "/a")
      assert.same({ "denied", nil }, { why.kind, why.refused })
      wire:done()
    end)

    it("logs in once for all who lost the session together", function()
      local api <const> = rest.open(conf, spec)
      local is_lost, logging_in = false, 0
      api.client.request = function() -- every request waits for a turn, so that both meet the lost session
        task.all { function() end }
        if is_lost and logging_in == 0 then return nil, { kind = "denied", message = "", status = 401 } end
        return { status = 200, headers = {}, body = "", json = {} }
      end
      spec.session.login = function()
        logins, logging_in = logins + 1, logging_in + 1
        return { ["X-Key"] = "k" }
      end
      assert(api:ask("GET", "/a"))
      is_lost, logging_in = true, 0
      task.all { function() assert(api:ask("GET", "/a")) end, function() assert(api:ask("GET", "/b")) end }
      assert.equal(2, logins)
    end)

    it("says that the password was refused, and does not try it again by itself", function()
      local api <const> = rest.open(conf, spec)
      wire:expect("POST", "/login"):refuse(401)
      local why <const> = raised(api.ask, api, "GET", "/a")
      assert.same({ "denied", nil }, { why.kind, why.refused })
      assert.matches("array1 as u: user name or password refused", why.message)
      assert.equal(1, logins)
    end)

    it("logs out at the end, once, and not when it never logged in", function()
      rest.open(conf, spec):close()
      local api <const> = rest.open(conf, spec)
      wire:expect("POST", "/login"):reply { key = "k1" }
      wire:expect("GET", "/a")
      wire:expect("DELETE", "/login/k1")
      api:ask("GET", "/a")
      api:close()
      api:close()
      assert.same({ "k1" }, logouts)
      wire:done()
    end)

    it("logs out of what is open when opening fails half-way", function()
      local api <const> = rest.open(conf, spec)
      wire:expect("POST", "/login"):reply { key = "k1" }
      wire:expect("GET", "/a")
      wire:expect("DELETE", "/login/k1")
      api:ask("GET", "/a")
      rest.abandon()
      assert.same({ "k1" }, logouts)
      wire:done()
    end)
  end)
end)
