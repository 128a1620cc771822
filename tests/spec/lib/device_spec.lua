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
end)

describe("bytes", function()
  it("are hex digits and back", function()
    assert.equal("383139544924583130314c41", device.hex "819TI$X101LA")
    assert.equal("819TI$X101LA", device.bytes(device.hex "819TI$X101LA"))
    assert.equal("0a00ff", device.hex "\n\0\xff")
  end)
end)
