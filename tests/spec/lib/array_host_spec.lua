local fake_http <const> = require "spec.support.fake_http"
local secret <const> = require "lunalift.secret"
local stand_in <const> = require "spec.support.stand_in"

describe("the inside of an array's state", function()
  local wire, restore, script, host, conf

  before_each(function()
    wire = fake_http.install()
    restore = stand_in.install { ["lunalift.timer"] = stand_in.clock().timer }
    local rest <const> = require "lib.rest"
    script = { limits = { requests_per_s = 4 } }
    function script.open(given)
      conf = given
      local api <const> = rest.open(given, {
        session = {
          login = function(client) return { ["X-Key"] = assert(client:post "/login").json.key } end,
          lost = function() return false end,
          logout = function(client) assert(client:delete "/login") end,
        },
      })
      local reply <const>, why <const> = api:ask("GET", "/about")
      if not reply then error(why) end
      return { about = function() return "box" end }
    end
    package.loaded["vendors.box"] = script
    host = require "lib.array_host"
  end)

  after_each(function()
    package.loaded["vendors.box"] = nil
    restore()
    wire:restore()
  end)

  local function open() return host.open("box", { hostname = "box", username = "u", password = secret.new "p" }) end

  it("opens the array at the pace that its script declares", function()
    wire:expect("POST", "/login"):reply { key = "k" }
    wire:expect("GET", "/about")
    open()
    assert.same({ requests_per_s = 4 }, conf.limits)
    assert.equal("box", host.call "about")
    wire:done()
  end)

  it("logs out again when opening fails half-way, and tells why it failed", function()
    wire:expect("POST", "/login"):reply { key = "k" }
    wire:expect("GET", "/about"):refuse(404)
    wire:expect("DELETE", "/login")
    local ok <const>, why <const> = pcall(open)
    assert.same({ false, "not_found" }, { ok, why.kind })
    wire:done()
  end)
end)
