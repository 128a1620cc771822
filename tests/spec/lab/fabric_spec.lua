local fabric <const> = require "lab.fabric"

local function lun(naa)
  return {
    naa = naa,
    path = "/tmp/" .. naa,
    size_bytes = 1,
    array = "ontap",
    vendor = "NETAPP",
    model = "LUN C-Mode",
    serial = "s",
  }
end

describe("the lab's fabric", function()
  it("shows a LUN to mapped initiators only, however they are spelled", function()
    local f <const> = fabric.new()
    f:add_lun(lun "naa.1")
    assert.same({}, f:seen_by { "iqn.1998-01.com.vmware:a" })
    f:set_maps(
      "naa.1",
      { { initiators = { "iqn.1998-01.com.VMware:A", "20:00:00:25:b5:00:00:0f" }, number = 7, via = "g" } }
    )
    assert.equal("naa.1", f:seen_by({ "iqn.1998-01.com.vmware:a" })[1].lun.naa)
    assert.equal(7, f:seen_by({ "fc.20000025B5AA0000:20000025B500000F" })[1].number)
    assert.same({}, f:seen_by { "20000025b500000e" })
  end)

  it("replaces mappings as a whole and forgets them with the LUN", function()
    local f <const>, seen <const> = fabric.new(), {}
    f:watch(function(naa) seen[#seen + 1] = naa end)
    f:add_lun(lun "naa.1")
    f:set_maps("naa.1", { { initiators = { "iqn.a" }, number = 0, via = "g" } })
    f:set_maps("naa.1", {})
    assert.same({}, f:seen_by { "iqn.a" })
    f:remove_lun "naa.1"
    assert.is_nil(f:find "naa.1")
    assert.same({ "naa.1", "naa.1", "naa.1", "naa.1" }, seen)
  end)

  it("lists what is seen by number, then by name", function()
    local f <const> = fabric.new()
    for number, naa in ipairs { "naa.c", "naa.a", "naa.b" } do
      f:add_lun(lun(naa))
      f:set_maps(naa, { { initiators = { "iqn.a" }, number = number // 2, via = "g" } })
    end
    local names <const> = {}
    for _, each in ipairs(f:seen_by { "iqn.a" }) do
      names[#names + 1] = each.lun.naa
    end
    assert.same({ "naa.c", "naa.a", "naa.b" }, names)
  end)
end)
