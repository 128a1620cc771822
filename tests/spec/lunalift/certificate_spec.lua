local certificate <const> = require "lunalift.certificate"
local http <const> = require "lunalift.http"
local secret <const> = require "lunalift.secret"
local server <const> = require "lunalift.server"

local function serve(leaf)
  return assert(server.listen {
    cert = leaf.cert,
    key = leaf.key,
    on_request = function() return { body = "tls" } end,
  })
end

local function get(site, tls) return http.client({ base = "127.0.0.1:" .. site.port, tls = tls }):get "/" end

describe("lunalift.certificate", function()
  it("makes a CA, and leaves that its clients trust", function()
    local ca <const> = assert(certificate.ca { cn = "Lab CA" })
    local leaf <const> = assert(certificate.leaf { cn = "site", names = { "IP:127.0.0.1" }, ca = ca })
    local site <close> = serve(leaf)
    assert.equal("tls", assert(get(site, { ca = ca.cert })).body)
    assert.equal("tls", assert(get(site, { thumbprint = leaf.sha256 })).body)
    assert.equal("tls", assert(get(site, { insecure = true })).body)
  end)

  it("makes a leaf that vouches for itself", function()
    local leaf <const> = assert(certificate.leaf { cn = "lone", names = { "DNS:a.example", "IP:127.0.0.1" } })
    local site <close> = serve(leaf)
    assert.equal("tls", assert(get(site, { ca = leaf.cert })).body)
    local reply <const>, why <const> = get(site)
    assert.is_nil(reply)
    assert.equal("config", why.kind)
    assert.is_true(why.refused)
    assert.matches(
      "self%-signed certificate of CN=lone %(SHA%-256 " .. leaf.sha256:gsub("%p", "%%%0") .. "%)",
      why.message
    )
  end)

  it("hands its keys out as secrets", function()
    local ca <const> = assert(certificate.ca { cn = "Lab CA" })
    assert.is_true(secret.is(ca.key))
    assert.equal("***", tostring(ca.key))
  end)

  it("refuses names that are none, and raises on mistakes", function()
    local leaf <const>, why <const> = certificate.leaf { cn = "x", names = { "example.com" } }
    assert.is_nil(leaf)
    assert.equal("config", why.kind)
    assert.has_error(function() certificate.ca { cm = "x" } end)
    assert.has_error(function() certificate.ca {} end)
    assert.has_error(function() certificate.leaf { cn = "x" } end)
    assert.has_error(function() certificate.leaf { cn = "x", names = {}, ca = {} } end)
  end)
end)
