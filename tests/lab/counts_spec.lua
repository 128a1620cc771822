--- How much one populate asks of its peers: what tests/bench measures in seconds as well, here as numbers that any machine gets.
local labs = require "support.lab"
local traffic = require "support.traffic"

describe("one populate", function()
  local CLONE_S <const> = 10
  local lab, requests

  lazy_setup(function()
    lab = labs.start()
    local claim <const> = lab:claim "vm-57-disk-1"
    lab:host("vmkfstools", { rate = claim.size_bytes // CLONE_S, xcopy = 1 })
    local mark <const> = lab:mark()
    local ended <const> = lab:populate()
    assert.equal(0, ended.code, ended.err)
    requests = lab:requests_since(mark)
  end)
  lazy_teardown(function() lab:stop() end)

  it("takes at most 32 SOAP calls for a clone of 10 s", function()
    local soap <const> = traffic.soap(requests)
    assert.is_true(soap.all <= 32, tostring(soap.all))
    assert.is_true(soap.all > 15)
  end)

  it("logs in once, and reads virtual machine and host in one call each", function()
    local soap <const> = traffic.soap(requests)
    assert.equal(3, soap.login)
    assert.equal(2, soap.properties)
    assert.equal(0, soap.other)
  end)

  it("asks for the executer once, and then takes one round trip for an esxcli command", function()
    local soap <const> = traffic.soap(requests)
    assert.equal(1, soap.executer)
    assert.equal(#traffic.of(requests, "esxi"), soap.esxcli)
  end)

  it("asks the array at most 17 times", function() assert.is_true(#traffic.of(requests, "ontap") <= 17) end)

  it(
    "asks the cluster 4 times for claim and volume, and 10 times for its turns on the host, by upstream's name of it",
    function()
      local reads, turns = 0, 0
      for _, request in ipairs(traffic.of(requests, "kube")) do
        local lease <const> = request.path:match "/leases/?(.*)$"
        reads, turns = reads + (lease and 0 or 1), turns + (lease and 1 or 0)
        local is_known <const> = not lease or lease == "" or lease:find "^lunalift%-clone%-%x+%-host%-21%-0$"
        assert.is_truthy(is_known or lease == "esxi-lock-hostsystem-host-21-slot-0", lease)
      end
      assert.is_true(reads <= 4 and turns <= 10, reads .. " and " .. turns)
    end
  )

  it("reads over one connection a peer, makes each effect over one of its own, and shakes hands but once", function()
    for _, service in ipairs { "vcenter", "ontap", "kube" } do
      local found <const> = traffic.connections(requests, service)
      assert.equal(1, found.reads, service)
      assert.equal(0, found.shared, service)
      assert.equal(1, found.handshakes, service)
    end
    assert.is_true(traffic.connections(requests, "vcenter").effects >= 5)
    assert.is_true(traffic.connections(requests, "ontap").effects >= 4)
  end)
end)
