local device = require "lib.device"
local fail = require "lib.fail"

describe("a device name", function()
  it("holds the identifier, with naa. or without", function()
    assert.equal("600a0980383139544924583130314c41", device.identifier "naa.600A0980383139544924583130314c41")
    assert.equal("600a0980383139544924583130314c41", device.identifier "600a0980383139544924583130314c41")
  end)

  it("of the vml kind holds it after ten digits", function()
    local name = "vml.0200180000600a098038313954492458313032502d4c554e20432d"
    assert.equal("600a098038313954492458313032502d", device.identifier(name))
  end)

  it("that holds none is refused", function()
    for _, name in ipairs {
      "",
      "naa.",
      "naa.600g",
      "vml.",
      "vml.0200180000600a09803831395449245831303250",
      "mpx.vmhba0:C0:T0:L0",
    } do
      local _, why = pcall(device.identifier, name)
      assert.is_true(fail.is(why, "config"), name)
    end
  end)

  it("is one array's own by its beginning and length, also where a vVol bears it", function()
    local hex = "60002ac0000000000000182d00021f6b"
    for _, by in ipairs {
      { naa = "naa." .. hex:upper() },
      { vvol = "naa." .. hex },
      { vvol = "VVOL:" .. hex },
      { vvol = "rfc4122.60002ac0-0000-0000-0000-182d00021f6b" },
    } do
      assert.equal(hex, device.own(by, "60002ac", 32))
    end
    for _, by in ipairs {
      { naa = "naa.600a0980383139544924583130314c41" },
      { naa = "naa.60002ac000" },
      { vvol = "rfc4122.0a0b0c0d-0000-4000-8000-00000000abcd" },
      { vvol = "naa.60002ac0000000000000182d00021fZZ" },
    } do
      assert.is_nil(device.own(by, "60002ac", 32))
    end
    assert.equal("config", select(2, pcall(device.own, { naa = "naa.60002acZ" }, "60002ac", 32)).kind)
  end)
end)

describe("bytes", function()
  it("are hex digits and back", function()
    assert.equal("383139544924583130314c41", device.hex "819TI$X101LA")
    assert.equal("819TI$X101LA", device.bytes(device.hex "819TI$X101LA"))
    assert.equal("0a00ff", device.hex "\n\0\xff")
  end)
end)
