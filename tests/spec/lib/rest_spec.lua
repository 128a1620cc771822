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
