local fail = require "lib.fail"
local ontap_site = require "ontap_site"

local list, raised, refusal = ontap_site.list, ontap_site.raised, ontap_site.refusal
local S = ontap_site.SVM.uuid
local LUN_FIELDS = "serial_number,space.size,class,status.state"
local LUNS = "/api/storage/luns"

local function record(fields)
  local lun = {
    uuid = "L",
    name = "/vol/v/lun0",
    svm = ontap_site.SVM,
    serial_number = "ZlAFA?QMnBdX",
    class = "regular",
    space = { size = 10737418240 },
    status = { state = "online" },
  }
  for key, value in pairs(fields or {}) do
    lun[key] = value
  end
  return lun
end

local function pv(attributes)
  return { name = "pvc-1", handle = "pvc-1", driver = "csi.trident.netapp.io", attributes = attributes }
end

describe("ontap", function()
  local site, wire

  before_each(function()
    site = ontap_site.start()
    wire = site.wire
  end)

  after_each(function()
    site:stop()
    wire:done()
  end)

  it("says what it is", function()
    local vendor = site.vendor
    assert.equal(1, vendor.api)
    assert.equal("ontap", vendor.name)
    assert.same({ "csi.trident.netapp.io" }, vendor.drivers)
    assert.same({ "iscsi", "fc" }, vendor.fabrics)
    assert.equal("ONTAP_SVM", vendor.options.svm.env)
    assert.equal("stable", vendor.status)
  end)

  describe("opening", function()
    local function seen(...) wire:expect("GET", "/api/svm/svms", { name = "*" }):reply(list(...)) end
    local other = { uuid = "O", name = "svm1" }

    it("takes the SVM that was asked for, and its version", function()
      seen(other, ontap_site.SVM)
      wire
        :expect("GET", "/api/cluster", { fields = "version" })
        :reply { version = { generation = 9, major = 14, minor = 1, full = "x" } }
      local array = site.vendor.open(site.conf { svm = "svm0" })
      assert.same({ vendor = "NetApp", product = "ONTAP", model = "", version = "9.14.1", svm = "svm0" }, array:info())
    end)

    it("takes the only SVM when none was asked for, an empty name being none", function()
      seen(ontap_site.SVM)
      assert.equal(S, site.vendor.open(site.conf()).svm.uuid)
      seen(ontap_site.SVM)
      assert.equal(S, site.vendor.open(site.conf { svm = "" }).svm.uuid)
    end)

    it("names the SVM that is not there, and those that are", function()
      seen(other)
      local why = raised(site.vendor.open, site.conf { svm = "svm0" })
      assert.equal("config", why.kind)
      assert.matches("no SVM svm0, the account sees: svm1", tostring(why))
      assert.matches("ONTAP_SVM", why.hint)
    end)

    it("cannot derive the SVM from several, or none", function()
      seen(other, ontap_site.SVM)
      local why = raised(site.vendor.open, site.conf())
      assert.equal("config", why.kind)
      assert.matches("cannot derive SVM, the account sees: svm0, svm1", tostring(why))
      assert.matches("set ONTAP_SVM .* or STORAGE_HOSTNAME to the SVM management LIF", why.hint)
      seen()
      assert.matches("cannot derive SVM, the account sees: none", tostring(raised(site.vendor.open, site.conf())))
    end)

    it("asks once when the password is wrong, and says whose", function()
      wire:expect("GET", "/api/svm/svms"):refuse(401, refusal("6691623", "User is not authorized"))
      local why = raised(site.vendor.open, site.conf())
      assert.equal("denied", why.kind)
      assert.is_nil(why.refused)
      assert.matches("ontap.example as admin", tostring(why))
      assert.matches("STORAGE_USERNAME and STORAGE_PASSWORD", why.hint)
      assert.equal(1, #wire.calls)
    end)

    it("refuses a token, which ONTAP does not know, without a request", function()
      local why = raised(site.vendor.open, site.conf { username = false, password = false, token = "t" })
      assert.equal("config", why.kind)
      assert.matches("STORAGE_TOKEN", why.hint)
      assert.equal(0, #wire.calls)
    end)

    it("passes on host, login, trust and time-out; a URL may end in a slash", function()
      seen(ontap_site.SVM)
      site.vendor.open(site.conf { hostname = "https://ontap.example:8443/" })
      local options = wire.clients[1]
      assert.equal("https://ontap.example:8443", options.base)
      assert.equal("admin", options.username)
      assert.equal("*secret*", options.password)
      assert.same({ insecure = true }, options.tls)
      assert.equal(30, options.timeout_s)
      assert.same({ Accept = "application/json" }, options.headers)
    end)

    it("finds a failure in an answer without records", function()
      wire:expect("GET", "/api/svm/svms"):reply(nil)
      assert.equal("protocol", raised(site.vendor.open, site.conf()).kind)
    end)
  end)

  describe("information", function()
    it("lacks the version when the role may not read it", function()
      local array = site:open()
      wire:expect("GET", "/api/cluster"):refuse(403, refusal("6", "not authorized for that command"))
      assert.is_nil(array:info().version)
    end)

    it("fails when the array does not answer", function()
      local array = site:open()
      wire:expect("GET", "/api/cluster"):vanish "unreachable"
      assert.equal("unreachable", raised(array.info, array).kind)
    end)
  end)

  describe("targets", function()
    it("are the SVM's IQN and the WWPNs of its live FC interfaces", function()
      local array = site:open()
      wire
        :expect("GET", "/api/protocols/san/iscsi/services", { ["svm.uuid"] = S, fields = "enabled,target.name" })
        :reply(list { enabled = true, target = { name = "iqn.1992-08.com.netapp:sn.1:vs.2" } })
      wire
        :expect("GET", "/api/network/fc/interfaces", { ["svm.uuid"] = S, fields = "enabled,state,wwpn,data_protocol" })
        :reply(
          list(
            { enabled = true, state = "online", wwpn = "20:00:00:50:56:b4:13:a8", data_protocol = "fcp" },
            { enabled = true, state = "online", wwpn = "20:00:00:50:56:b4:13:a9", data_protocol = "fc_nvme" },
            { enabled = false, state = "offline", wwpn = "20:00:00:50:56:b4:13:aa", data_protocol = "fcp" }
          )
        )
      assert.same({
        { kind = "iscsi", id = "iqn.1992-08.com.netapp:sn.1:vs.2" },
        { kind = "fc", id = "20:00:00:50:56:b4:13:a8" },
      }, array:targets())
    end)

    it("are none on an SVM without services", function()
      local array = site:open()
      wire
        :expect("GET", "/api/protocols/san/iscsi/services")
        :reply(list { enabled = false, target = { name = "iqn.x" } })
      wire:expect("GET", "/api/network/fc/interfaces"):reply(list())
      assert.same({}, array:targets())
    end)
  end)

  describe("the volume of", function()
    local array

    before_each(function() array = site:open() end)

    local function found(path, ...)
      wire:expect("GET", LUNS, { ["svm.uuid"] = S, name = path, fields = LUN_FIELDS }):reply(list(...))
    end

    it("ontap-san is lun0 in its FlexVol", function()
      local path = "/vol/test-internal-name/lun0"
      found(path, record { name = path, serial_number = "819TI$X101LA" })
      assert.same({
        id = "L",
        name = path,
        naa = "naa.600a0980383139544924583130314c41",
        size_bytes = 10737418240,
        serial = "819TI$X101LA",
        svm = "svm0",
      }, array:lun_of(pv { internalName = "test-internal-name", protocol = "block" }))
    end)

    it("has an NAA made of the serial number's bytes", function()
      found("/vol/v/lun0", record())
      assert.equal("naa.600a09805a6c4146413f514d6e426458", array:lun_of(pv { internalName = "v" }).naa)
    end)

    it("ontap-san-economy is a LUN in a shared FlexVol", function()
      local flexvol = "trident_lun_pool_copy_offload_cluster_ASVRVZBSPB"
      local lun = "copy_offload_cluster_pvc_5c9d270a_11c8_4c36_9f12_f0d5f69870cf"
      array.svm.name = "vserver-ecosystem-mtv"
      local path = ("/vol/%s/%s"):format(flexvol, lun)
      found(path, record { name = path })
      local id = ("/svm/vserver-ecosystem-mtv/flexvol/%s/lun/%s"):format(flexvol, lun)
      assert.equal(path, array:lun_of(pv { internalID = id, internalName = lun }).name)
      array.svm.name = "svm0"
      found("/vol/myflexvol/mylun", record { name = "/vol/myflexvol/mylun" })
      array:lun_of(pv { internalID = "/svm/svm0/flexvol/myflexvol/lun/mylun" })
    end)

    it("ASA r2 is a LUN without a FlexVol", function()
      found("mylun", record { name = "mylun" })
      assert.equal("mylun", array:lun_of(pv { internalID = "/svm/svm0/lun/mylun", internalName = "mylun" }).name)
    end)

    it("an empty internalID is that of internalName", function()
      found("/vol/v/lun0", record())
      array:lun_of(pv { internalID = "", internalName = "v" })
    end)

    local REFUSED = {
      {
        "neither attribute",
        {},
        "config",
        "neither internalID nor internalName attribute found on PersistentVolume pvc%-1",
      },
      { "two empty ones", { internalID = "", internalName = "" }, "config", "neither internalID nor internalName" },
      { "no flexvol", { internalID = "/svm/svm0/x" }, "config", "missing /flexvol/ in /svm/svm0/x" },
      {
        "no lun",
        { internalID = "/svm/svm0/flexvol/myflexvol" },
        "config",
        "missing /lun/ in /svm/svm0/flexvol/myflexvol",
      },
      {
        "a namespace",
        { internalID = "/svm/svm0/namespace/n" },
        "unsupported",
        "/svm/svm0/namespace/n is not a SCSI LUN",
      },
      { "a qtree", { internalID = "/svm/svm0/flexvol/v/qtree/q" }, "unsupported", "/qtree/q is not a SCSI LUN" },
      { "a file volume", { internalName = "v", protocol = "file" }, "unsupported", "internalName v is not a SCSI LUN" },
      {
        "another SVM",
        { internalID = "/svm/svm1/flexvol/v/lun/l" },
        "config",
        "volume pvc%-1 is in SVM svm1, not svm0",
      },
    }
    for _, case in ipairs(REFUSED) do
      it("a PersistentVolume with " .. case[1] .. " is refused without a request", function()
        local why = raised(array.lun_of, array, pv(case[2]))
        assert.equal(case[3], why.kind)
        assert.matches(case[4], tostring(why))
        assert.equal(1, #wire.calls)
      end)
    end

    it("another SVM has a hint that names it", function()
      local why = raised(array.lun_of, array, pv { internalID = "/svm/svm1/lun/l" })
      assert.equal("set ONTAP_SVM to svm1", why.hint)
    end)

    it("an imported volume is the only LUN of its FlexVol", function()
      found "/vol/v/lun0"
      found("/vol/v/*", record { name = "/vol/v/data" })
      assert.equal("/vol/v/data", array:lun_of(pv { internalName = "v" }).name)
    end)

    it("a FlexVol with several other LUNs is not guessed", function()
      found "/vol/v/lun0"
      found("/vol/v/*", record { name = "/vol/v/b" }, record { name = "/vol/v/a" })
      local why = raised(array.lun_of, array, pv { internalName = "v" })
      assert.equal("not_found", why.kind)
      assert.matches(
        "no LUN /vol/v/lun0 in SVM svm0 %(from internalName v; LUNs of that FlexVol: /vol/v/a, /vol/v/b%)",
        tostring(why)
      )
      assert.truthy(why.hint)
    end)

    it("a missing economy LUN is named with the attribute that it came from", function()
      found "/vol/v/l"
      local why = raised(array.lun_of, array, pv { internalID = "/svm/svm0/flexvol/v/lun/l" })
      assert.equal("not_found", why.kind)
      assert.matches("no LUN /vol/v/l in SVM svm0 %(from internalID /svm/svm0/flexvol/v/lun/l%)", tostring(why))
    end)

    it("is never a LUN of another name that the filter let through", function()
      found("/vol/v/l", record { name = "/vol/v/l2" })
      assert.equal("not_found", raised(array.lun_of, array, pv { internalID = "/svm/svm0/flexvol/v/lun/l" }).kind)
    end)

    it("is refused when it is offline, a vVol, or has a strange serial number", function()
      found("/vol/v/lun0", record { status = { state = "offline" } })
      local why = raised(array.lun_of, array, pv { internalName = "v" })
      assert.matches("LUN /vol/v/lun0 is offline, not online", tostring(why))
      assert.truthy(why.hint)
      found("/vol/v/lun0", record { class = "vvol" })
      assert.equal("unsupported", raised(array.lun_of, array, pv { internalName = "v" }).kind)
      found("/vol/v/lun0", record { serial_number = "short" })
      assert.equal("protocol", raised(array.lun_of, array, pv { internalName = "v" }).kind)
    end)

    it("says what ONTAP says, with the code, when it refuses", function()
      wire:expect("GET", LUNS):refuse(403, refusal("6", "not authorized for that command"))
      local why = raised(array.lun_of, array, pv { internalName = "v" })
      assert.equal("denied", why.kind)
      assert.matches("ONTAP says: not authorized for that command %(code 6%)", tostring(why))
      assert.matches("role", why.hint)
    end)
  end)

  describe("a device", function()
    local array

    before_each(function() array = site:open() end)

    it("is found by its NAA, or vml name, through the serial number", function()
      for _, name in ipairs {
        "naa.600a098038313954492458313032502d",
        "vml.0200180000600a098038313954492458313032502d4c554e20432d",
      } do
        wire
          :expect("GET", LUNS, { ["svm.uuid"] = S, serial_number = "819TI$X102P-", fields = LUN_FIELDS })
          :reply(list(record { serial_number = "819TI$X102P-" }))
        local lun = array:find_lun { naa = name }
        assert.equal("/vol/v/lun0", lun.name)
        assert.equal("naa.600a098038313954492458313032502d", lun.naa)
      end
    end)

    it("is not found when only the filter matches", function()
      wire:expect("GET", LUNS):reply(list(record { serial_number = "819TI$X102Pz" }))
      assert.is_nil(array:find_lun { naa = "naa.600a098038313954492458313032502d" })
    end)

    it("of another vendor is not looked for", function()
      assert.is_nil(array:find_lun { naa = "naa.60002ac0000000000000000000000001" })
      assert.is_nil(array:find_lun { naa = "naa.600a0980" })
    end)

    it("with a name that is none is refused", function()
      for _, name in ipairs { "", "naa.xyz", "vml.0200180000600a0980383139" } do
        assert.equal("config", raised(array.find_lun, array, { naa = name }).kind)
      end
      assert.is_true(fail.is(raised(array.find_lun, array, { vvol = "naa.600a" }), "unsupported"))
    end)
  end)

  it("has nothing to log out from", function() site:open():close() end)
end)
