local initiator = require "lib.initiator"

local ID = "fc.20000000c0a80abc:2a000000c0a80def"

describe("an FC adapter's id", function()
  it("holds node and port name", function()
    local wwnn, wwpn = initiator.parse_fc(ID)
    assert.equal("20000000C0A80ABC", wwnn)
    assert.equal("2A000000C0A80DEF", wwpn)
    assert.equal("2A000000C0A80DEF", initiator.wwpn(ID))
  end)

  local REFUSED = {
    { "20000000c0a80abc:2a000000c0a80def", "does not start with fc." },
    { "f.20000000c0a80abc:2a000000c0a80def", "does not start with fc." },
    { "", "does not start with fc." },
    { "fc.20000000c0a80abc", "one colon" },
    { "fc.20:00:00:00", "one colon" },
    { "fc.:2a000000c0a80def", "empty half" },
    { "fc.20000000c0a80abc:", "empty half" },
    { "fc.:", "empty half" },
    { "fc.20000000c0a80ab:2a000000c0a80def", "odd number" },
    { "fc.20000000c0a80abc:2a000000c0a80de", "odd number" },
    { "fc.Z0000000c0a80abc:2a000000c0a80def", "not hexadecimal" },
    { "fc.20000000c0a80abc:Ga000000c0a80def", "not hexadecimal" },
    { "fc.:zzz", "empty half" },
    { "fc.zzz:00", "odd number" },
  }
  for _, case in ipairs(REFUSED) do
    it(("is refused as %q: %s"):format(case[1], case[2]), function()
      local wwnn, why = initiator.parse_fc(case[1])
      assert.is_nil(wwnn)
      assert.equal("protocol", why.kind)
      assert.truthy(why.message:find(case[2], 1, true), why.message)
    end)
  end

  it("needs a whole port name", function()
    local wwpn, why = initiator.wwpn "fc.20:21"
    assert.is_nil(wwpn)
    assert.matches("16 digits", why.message)
  end)
end)

describe("colons", function()
  it("stand between pairs, and an odd tail stays", function()
    assert.equal("2A:00:00:00:C0:A8:0D:EF", initiator.colons "2A000000C0A80DEF")
    assert.equal("2a:00", initiator.colons "2a00")
    assert.equal("12:34:56:78:9", initiator.colons "123456789")
    assert.equal("", initiator.colons "")
  end)

  it("go, with dashes and blanks, when a WWN is normalised", function()
    assert.equal("2A00C0A8", initiator.normalise "2a:00-c0 a8")
    assert.equal("", initiator.normalise "")
  end)
end)

describe("two names", function()
  it("are one port however a WWPN is written", function()
    local writings = {
      ID,
      "2a:00:00:00:c0:a8:0d:ef",
      "2A000000C0A80DEF",
      "2a-00-00-00-c0-a8-0d-ef",
      { id = ID, kind = "fc" },
      ID:upper(),
    }
    for _, a in ipairs(writings) do
      for _, b in ipairs(writings) do
        assert.is_true(initiator.same(a, b))
      end
    end
    assert.is_false(initiator.same(ID, "2a:00:00:00:c0:a8:0d:ee"))
    assert.is_false(initiator.same(ID, "20000000c0a80abc"))
  end)

  it("are one IQN in any case, but not without its dashes and colons", function()
    assert.is_true(initiator.same("iqn.1998-01.com.vmware:ESX1-52d1", "iqn.1998-01.com.vmware:esx1-52d1"))
    assert.is_false(initiator.same("iqn.1998-01.com.vmware:esx1-1", "iqn.1998-01.com.vmware:esx11"))
    assert.is_false(initiator.same("iqn.1998-01.com.vmware:esx1", ID))
    assert.is_true(initiator.same("", ""))
  end)
end)

describe("the ports of a host", function()
  local function iscsi(id, adapter) return { kind = "iscsi", id = id, adapter = adapter or "vmhba64" } end
  local fc = { kind = "fc", id = ID, adapter = "vmhba2" }

  it("that a group lacks are found whatever the writing", function()
    local other = { kind = "fc", id = "fc.20000000c0a80abc:2a000000c0a80d00", adapter = "vmhba3" }
    assert.same({ other }, initiator.missing({ fc, other }, { "2A:00:00:00:C0:A8:0D:EF" }))
    assert.same({ fc }, initiator.missing({ fc }, {}))
  end)

  it("are used over FC when there is any, in either order", function()
    for _, ports in ipairs { { iscsi "iqn.a", fc }, { fc, iscsi "iqn.a" } } do
      local fabric, chosen, left_out = initiator.one_fabric(ports)
      assert.equal("fc", fabric)
      assert.same({ fc }, chosen)
      assert.same({ "vmhba64 iqn.a: FC is used" }, left_out)
    end
  end)

  it("are used over iSCSI without FC, each once", function()
    local fabric, chosen, left_out =
      initiator.one_fabric { iscsi "iqn.a", iscsi("IQN.a", "vmhba65"), iscsi "eui.0123456789abcdef" }
    assert.equal("iscsi", fabric)
    assert.same({ iscsi "iqn.a", iscsi "eui.0123456789abcdef" }, chosen)
    assert.same({}, left_out)
  end)

  it("are left out with the reason when they do not speak SCSI or are malformed", function()
    local fabric, chosen, left_out = initiator.one_fabric {
      { kind = "nvme", id = "nqn.2014-08.org.nvmexpress:esx1", adapter = "vmhba66" },
      { kind = "iscsi", id = "nqn.x", adapter = "vmhba67" },
      { kind = "other", id = "vmhba1", adapter = "vmhba1" },
      { kind = "fc", id = "fc.20:", adapter = "vmhba4" },
    }
    assert.is_nil(fabric)
    assert.same({}, chosen)
    assert.equal("vmhba66 nqn.2014-08.org.nvmexpress:esx1: speaks neither iSCSI nor FC", left_out[1])
    assert.equal(4, #left_out)
    assert.matches("empty half", left_out[4])
  end)

  it("are chosen for a host object with a text of those left out, and none is a mistake that says why", function()
    local fabric, chosen, left_out = initiator.choose({ iscsi "iqn.a", fc }, "a group", "add one")
    assert.same({ "fc", { fc }, "vmhba64 iqn.a: FC is used" }, { fabric, chosen, left_out })
    assert.is_nil(select(3, initiator.choose({ fc }, "a group", "add one")))
    for text, ports in pairs {
      ["none given"] = {},
      ["vmhba67 nqn.x: speaks neither"] = { { kind = "iscsi", id = "nqn.x", adapter = "vmhba67" } },
    } do
      local _, why = pcall(initiator.choose, ports, "a group", "add one")
      assert.same({ "config", "add one" }, { why.kind, why.hint })
      assert.matches("no initiator that a group can hold: " .. text, why.message)
    end
  end)
end)
