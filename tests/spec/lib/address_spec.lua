local address <const> = require "lib.address"

describe("an address", function()
  it("gives its host without scheme, port and path", function()
    for text, host in pairs {
      ["array.example"] = "array.example",
      ["array.example:8443"] = "array.example",
      ["https://array.example:8443/api"] = "array.example",
      ["10.0.0.1:443"] = "10.0.0.1",
      ["fd00::1"] = "fd00::1",
      ["::1"] = "::1",
      ["[fd00::1]"] = "fd00::1",
      ["[fd00::1]:8443"] = "fd00::1",
      ["https://[fd00::1]:8443/api"] = "fd00::1",
      ["::ffff:10.0.0.1"] = "::ffff:10.0.0.1",
    } do
      assert.equal(host, address.host(text))
    end
  end)

  it("brackets a lone IPv6 address and nothing else", function()
    assert.equal("[fd00::1]", address.bracketed "fd00::1")
    for _, text in ipairs { "array.example:8443", "[fd00::1]:8443", "https://[fd00::1]", "be.ef:80" } do
      assert.equal(text, address.bracketed(text))
    end
  end)
end)
