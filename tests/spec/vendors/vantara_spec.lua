--- Hitachi VSP, on a wire that asks for every request of the dialect: login, volumes, host groups.
local secret <const> = require "lunalift.secret"
local vantara_site <const> = require "spec.support.vantara_site"

local SCOPE <const>, STORAGE <const>, NAA <const> = vantara_site.SCOPE, vantara_site.STORAGE, vantara_site.NAA
local ADAPTERS <const>, conf <const>, raised <const> = vantara_site.ADAPTERS, vantara_site.conf, vantara_site.raised
local record <const>, path <const> = vantara_site.record, vantara_site.path
local refusal <const>, job <const> = vantara_site.refusal, vantara_site.job
local HANDLE <const> = "01--fc--934000612345--4660--spc-abcdef1234"
local COPY_ID <const>, TARGET <const> = "0b1c2d3e-4f50-4162-8394-a5b6c7d8e9f0", { id = "999", name = "LDEV 999" }
local LUN <const> = { id = "4660", name = "LDEV 4660", size_bytes = 10737418240 }

describe("vantara", function()
  local site, wire

  before_each(function()
    site = vantara_site.start()
    wire = site.wire
  end)

  after_each(function() site:stop() end)

  local function get_logins(...)
    local ports <const> = { ... }
    wire:expect("GET", SCOPE .. "/ports", { detailInfoType = "logins" }):reply { data = ports }
  end

  it("says what it is", function()
    assert.equal(1, site.vendor.api)
    assert.equal("vantara", site.vendor.name)
    assert.same({ "hspc.csi.hitachi.com" }, site.vendor.drivers)
    assert.same({ "fc", "iscsi" }, site.vendor.fabrics)
    assert.is_true(site.vendor.options.storage_id.required)
    assert.same({ "slower", "medium", "faster" }, site.vendor.options.copy_speed.choices)
  end)

  describe("opening", function()
    it("takes versions from 1.9 on, and no older one", function()
      for _, version in ipairs { "1.9.0", "1.10.0", "2.0.0" } do
        site:expect_version(version)
        site:expect_login "t1"
        wire:expect("GET", SCOPE):reply(STORAGE)
        assert(site.vendor.open(conf()))
      end
      for _, version in ipairs { "1.8.0", "0.9.0", "invalid" } do
        site:expect_version(version)
        local why <const> = raised(site.vendor.open, conf())
        assert.equal("unsupported", why.kind)
        assert.matches(version, why.message, 1, true)
        assert.matches("1.9 or later", why.hint, 1, true)
      end
    end)

    it("logs in with the password once, and bears the token from then on", function()
      local array <const> = site:open()
      assert.equal("https://192.0.2.10:443/ConfigurationManager", wire.clients[1].base)
      assert.equal("u", wire.clients[1].username)
      assert.is_true(secret.is(array.api.client.headers.Authorization))
      assert.same(
        { vendor = "Hitachi", product = "Vantara", model = "VSP E790", version = "93-07-21-80/00" },
        array:info()
      )
      wire:expect("DELETE", SCOPE .. "/sessions/1")
      array:close()
    end)

    it("names the account when the login is refused, and asks nothing else", function()
      for _, status in ipairs { 401, 403 } do
        site:expect_version "1.9.0"
        wire:expect("POST", SCOPE .. "/sessions"):refuse(status, refusal "KART30005-E")
        local why <const> = raised(site.vendor.open, conf())
        assert.equal("denied", why.kind)
        assert.is_nil(why.refused)
        assert.matches("192.0.2.10 as u: user name or password refused", why.message, 1, true)
        assert.matches(status == 401 and "STORAGE_USERNAME" or "Storage Administrator", why.hint)
      end
    end)

    it("waits its turn when all sessions are taken", function()
      site:expect_version "1.9.0"
      wire:expect("POST", SCOPE .. "/sessions"):refuse(503)
      local why <const> = raised(site.vendor.open, conf())
      assert.same({ "busy", true }, { why.kind, why.refused })
      assert.matches("64 REST sessions", why.hint)
    end)

    it("is where STORAGE_PORT says, unless the address names a port", function()
      site:open { port = 23451 }
      assert.equal("https://192.0.2.10:23451/ConfigurationManager", wire.clients[1].base)
      site:open { hostname = "https://[fd00::1]:8443/", port = 8443 }
      assert.equal("https://[fd00::1]:8443/ConfigurationManager", wire.clients[2].base)
      local why <const> = raised(site.vendor.open, conf { hostname = "vsp.example:8443", port = 443 })
      assert.same({ "config", 2 }, { why.kind, #wire.clients })
      assert.matches("STORAGE_HOSTNAME names port 8443, STORAGE_PORT 443", why.message, 1, true)
    end)

    it("finds the array by its serial number, by the shorter paths", function()
      local at <const> = "/v1/objects"
      site:expect_version "1.31.0"
      site:expect_login("t1", at)
      wire:expect("GET", at .. "/storages"):reply { data = { { storageDeviceId = "1", serialNumber = 1 }, STORAGE } }
      local array <const> = site.vendor.open(conf { storage_id = "612345" })
      wire:expect("GET", at .. "/ldevs/4660"):reply(record())
      assert.equal("4660", array:lun_of({ name = "pv", handle = HANDLE, attributes = {} }).id)

      site:expect_version "1.31.0"
      site:expect_login("t1", at)
      wire:expect("GET", at .. "/storages"):reply { data = { STORAGE } }
      local why <const> = raised(site.vendor.open, conf { storage_id = "7" })
      assert.equal("config", why.kind)
      assert.matches("no array 7 at 192.0.2.10 as u, but 934000612345", why.message, 1, true)
    end)

    it("tells of a STORAGE_ID that is not there, missing, or no REST API", function()
      site:expect_version "1.31.0"
      site:expect_login "t1"
      wire:expect("GET", SCOPE):refuse(404, refusal "KART30013-E")
      assert.matches("check STORAGE_ID", raised(site.vendor.open, conf()).hint)
      assert.equal("config", raised(site.vendor.open, conf { storage_id = false }).kind)
      wire:expect("GET", "/configuration/version"):refuse(404)
      assert.matches("STORAGE_PORT", raised(site.vendor.open, conf()).hint)
      assert.matches("STORAGE_PASSWORD", raised(site.vendor.open, conf { password = false }).hint)
    end)

    it("refuses a list of host groups that is none, before any request", function()
      local why <const> = raised(site.vendor.open, conf { groups = "CL1-A,1:invalid-format" })
      assert.equal("config", why.kind)
      assert.matches("'invalid-format' is no host group", why.message, 1, true)
      assert.matches("CL1-A,1", why.hint, 1, true)
      assert.equal(0, #wire.calls)
    end)
  end)

  describe("a session that has ended", function()
    it("is opened anew at whichever call, which is asked once more", function()
      local array <const> = site:open()
      local calls <const> = {
        { "GET", "/ldevs/4660", record { ports = {} }, function() array:maps_of(LUN) end },
        { "GET", "/ports", { data = {} }, function() array:hosts_of(ADAPTERS) end },
        {
          "GET",
          "/snapshots",
          { data = {} },
          function() array:copy_poll(COPY_ID, { id = COPY_ID, target = TARGET }) end,
        },
      }
      for i, call in ipairs(calls) do
        wire:expect(call[1], SCOPE .. call[2]):refuse(401, refusal "KART40047-E")
        site:expect_login("t" .. i + 1)
        wire:expect(call[1], SCOPE .. call[2]):reply(call[3])
        call[4]()
      end
    end)

    it("and when what changes something meets it, that is sent once more, and its job followed", function()
      local array <const> = site:open()
      wire:expect("POST", SCOPE .. "/luns"):refuse(401)
      site:expect_login "t2"
      wire:expect("POST", SCOPE .. "/luns"):reply(job "Started", 202)
      wire:expect("GET", SCOPE .. "/jobs/100"):refuse(401)
      site:expect_login "t3"
      wire:expect("GET", SCOPE .. "/jobs/100"):reply(job "Succeeded")
      site:get_ldev(4660, record { naaId = NAA, ports = { path("CL1-A", 1, 5) } })
      assert.equal("made", (array:map(LUN, { id = "CL1-A,1", name = "CL1-A,1" })))
    end)

    it("is an error when the next one has ended, too", function()
      local array <const> = site:open()
      wire:expect("GET", SCOPE .. "/ldevs/4660"):refuse(401)
      site:expect_login "t2"
      wire:expect("GET", SCOPE .. "/ldevs/4660"):refuse(401)
      local why <const> = raised(array.maps_of, array, LUN)
      assert.same({ "denied", nil }, { why.kind, why.refused })
    end)

    it("needs no closing", function()
      local array <const> = site:open()
      wire:expect("DELETE", SCOPE .. "/sessions/1"):refuse(401)
      array:close()
    end)
  end)

  describe("the volume of", function()
    local array

    before_each(function() array = site:open() end)

    local function lun_of(handle) return array:lun_of { name = "pv", handle = handle, attributes = {} } end

    it("a handle is its LDEV, whose NAA is known once it is mapped", function()
      site:get_ldev(4660, record())
      local lun <const> = lun_of(HANDLE)
      assert.same({ id = "4660", name = "LDEV 4660 (spc-abcdef1234)", size_bytes = 10737418240 }, lun)
      site:get_ldev(4660, record { naaId = NAA:upper() })
      local mapped <const> = lun_of(HANDLE)
      assert.equal("naa." .. NAA, mapped.naa)
      assert.equal("80221234005060123400001234", mapped.serial)
    end)

    it("a handle of another form is refused without a request", function()
      local asked <const> = #wire.calls
      for _, handle in ipairs {
        "02--fc--934000612345--100--vol1",
        "01--fc--ABC123",
        "01--fc--934000612345--0x12--vol1",
        "01--fc--934000612345--1--a--b",
        "pvc-1",
        "",
      } do
        local why <const> = raised(lun_of, handle)
        assert.equal("config", why.kind)
        assert.matches(("'%s'"):format(handle), why.message, 1, true)
      end
      assert.equal(asked, #wire.calls)
    end)

    it("another array is refused without a request, by id or by serial number", function()
      local asked <const> = #wire.calls
      local why <const> = raised(lun_of, "01--fc--886000123456--4660--vol1")
      assert.matches("on array 886000123456, not 934000612345", why.message, 1, true)
      assert.equal(asked, #wire.calls)
      site:get_ldev(4660, record { label = "vol1" })
      assert.equal("4660", lun_of("01--fc--612345--4660--vol1").id)
      array.storage = { storageDeviceId = "ABC123DEF456" }
      site:get_ldev(100, record { ldevId = 100, label = "vol1" })
      assert.equal("100", lun_of("01--fc--ABC123DEF456--100--vol1").id)
    end)

    it("a deleted volume is told, in each way in which the array says so", function()
      for _, answer in ipairs { { ldevId = 4660, emulationType = "NOT DEFINED" }, false } do
        local asked <const> = site:get_ldev(4660, answer)
        if not answer then asked:refuse(404, refusal "KART30013-E") end
        local why <const> = raised(lun_of, HANDLE)
        assert.equal("not_found", why.kind)
        assert.matches("no LDEV 4660 on array 934000612345 (from " .. HANDLE, why.message, 1, true)
      end
      site:get_ldev(4660, record { label = "spc-ffffffffff" })
      local why <const> = raised(lun_of, HANDLE)
      assert.equal("not_found", why.kind)
      assert.matches("LDEV 4660 is named spc-ffffffffff, and pv says spc-abcdef1234", why.message, 1, true)
    end)

    it("a blocked one is no target", function()
      site:get_ldev(4660, record { status = "BLK" })
      assert.matches("LDEV 4660 is blocked", raised(lun_of, HANDLE).message)
    end)

    it("a device or vVol is the LDEV of its last four digits, if that has this NAA", function()
      local naa <const> = "60060e800000000000000000000000ab"
      for _, by in ipairs {
        { naa = "naa." .. naa },
        { naa = "vml.02000a0000" .. naa .. "4f50454e2d56" },
        { vvol = "naa." .. naa:upper() },
      } do
        site:get_ldev(171, record { ldevId = 171, naaId = naa })
        assert.equal("171", array:find_lun(by).id)
      end
    end)

    it("a device is none of this array's under another NAA, where its LDEV is not there, or of another make", function()
      local device <const> = { naa = "naa.60060e800000000000000000000000ab" }
      for _, answer in ipairs {
        record { ldevId = 171, naaId = "60060e801111111111111111111111ab" },
        record { ldevId = 171 },
        { ldevId = 171, emulationType = "NOT DEFINED" },
      } do
        site:get_ldev(171, answer)
        assert.is_nil(array:find_lun(device))
      end
      assert.is_nil(array:find_lun { naa = "naa.1234567890" })
      assert.is_nil(array:find_lun { vvol = "rfc4122.0a0b0c0d-0000-4000-8000-00000000abcd" })
      assert.equal("config", raised(array.find_lun, array, { naa = "naa.60060e800000000000000000000000ZZ" }).kind)
      assert.is_nil(array:find_lun { vvol = "naa.60060e800000000000000000000000ZZ" })
    end)
  end)

  describe("host groups", function()
    it("are those that the user names, each once, and nothing is asked", function()
      local array <const> = site:open { groups = "CL1-A,1 : cl2-B, 02::CL1-A,1" }
      local asked <const> = #wire.calls
      assert.same(
        { { id = "CL1-A,1", name = "CL1-A,1" }, { id = "CL2-B,2", name = "CL2-B,2" } },
        array:hosts_of(ADAPTERS, "xcopy")
      )
      assert.equal(asked, #wire.calls)
    end)

    it("are those of the ports that the initiators are logged in to, however they are written", function()
      local array <const> = site:open()
      get_logins({
        portId = "CL1-A",
        portType = "FIBRE",
        logins = {
          { loginWwn = "21000024FF123456", hostGroupId = "CL1-A,1", isLoggedIn = true },
          { loginWwn = "2100002400000001", hostGroupId = "CL1-A,1", isLoggedIn = true },
          { loginWwn = "2100002400000002", isLoggedIn = true },
        },
      }, {
        portId = "CL2-B",
        portType = "FIBRE",
        logins = {
          { loginWwn = "21000024ff123456", hostGroupId = "CL2-B,1" },
          { loginWwn = "21000024ff123456", hostGroupId = "CL2-B,1" },
        },
      }, {
        portId = "CL3-A",
        portType = "FIBRE",
        logins = { { loginWwn = "21000024ff123456" } },
      }, { portId = "CL4-A", portType = "FIBRE" })
      assert.same(
        { { id = "CL1-A,1", name = "CL1-A,1", shared = true }, { id = "CL2-B,1", name = "CL2-B,1" } },
        array:hosts_of(ADAPTERS, "xcopy")
      )
    end)

    it("are none for initiators that are not there, or have no proper name", function()
      local array <const> = site:open()
      local logins <const> = { { loginWwn = "21000024ff123456", hostGroupId = "CL1-A,1" } }
      for _, id in ipairs { "fc.0:ffffffffffffffff", "fc.invalid", "fc.0", "unknown.0:21000024ff123456", "" } do
        get_logins { portId = "CL1-A", portType = "FIBRE", logins = logins }
        assert.same({}, array:hosts_of({ { kind = "fc", id = id, adapter = "vmhba2" } }, "xcopy"))
      end
      get_logins { portId = "CL1-A", portType = "FIBRE", logins = logins }
      local other <const> = { { kind = "fc", id = "fc.0:ffffffffffffffff", adapter = "vmhba2" } }
      assert.equal("none of the 1 logins at the array's ports is theirs", array:why_none(other))
    end)

    it("are missing for a port that is logged in and registered nowhere, and that is said", function()
      local array <const> = site:open()
      for _ = 1, 2 do
        get_logins { portId = "CL1-A", portType = "FIBRE", logins = { { loginWwn = "21000024ff123456" } } }
      end
      assert.same({}, array:hosts_of(ADAPTERS, "xcopy"))
      local text <const> = array:why_none(ADAPTERS)
      assert.matches("in no host group: 21000024ff123456 at port CL1-A; ", text, 1, true)
    end)

    it("are iSCSI targets, too, by the login or else by the names that they let in", function()
      local array <const> = site:open()
      local esx <const> = { { kind = "iscsi", id = "iqn.1998-01.com.vmware:esx1", adapter = "vmhba64" } }
      get_logins({
        portId = "CL1-C",
        portType = "ISCSI",
        logins = { { loginIscsiName = "iqn.1998-01.com.vmware:ESX1", hostGroupId = "CL1-C,1" } },
      }, {
        portId = "CL2-C",
        portType = "ISCSI",
        logins = { { loginIscsiName = "iqn.1998-01.com.vmware:esx1" } },
      })
      wire:expect("GET", SCOPE .. "/host-groups", { portId = "CL2-C" }):reply {
        data = {
          { hostGroupId = "CL2-C,0", hostGroupNumber = 0 },
          { hostGroupId = "CL2-C,2", hostGroupNumber = 2 },
        },
      }
      wire:expect("GET", SCOPE .. "/host-iscsis", { portId = "CL2-C", hostGroupNumber = 0 }):reply { data = {} }
      wire
        :expect("GET", SCOPE .. "/host-iscsis", { portId = "CL2-C", hostGroupNumber = 2 })
        :reply { data = { { iscsiName = "iqn.1998-01.com.vmware:esx1" } } }
      assert.same(
        { { id = "CL1-C,1", name = "CL1-C,1" }, { id = "CL2-C,2", name = "CL2-C,2" } },
        array:hosts_of(esx, "xcopy")
      )
    end)

    it("are of one fabric: FC before iSCSI", function()
      local array <const> = site:open()
      local both <const> = { ADAPTERS[1], { kind = "iscsi", id = "iqn.1998-01.com.vmware:esx1", adapter = "vmhba64" } }
      local iscsi <const> = { { loginIscsiName = "iqn.1998-01.com.vmware:esx1", hostGroupId = "CL1-C,1" } }
      local fc <const> = { loginWwn = "21000024ff123456" }
      for _, group in ipairs { "CL1-A,1", false } do
        fc.hostGroupId = group or nil
        get_logins({ portId = "CL1-C", logins = iscsi }, { portId = "CL1-A", logins = { fc } })
        assert.equal(group or "CL1-C,1", array:hosts_of(both)[1].id)
      end
    end)

    it("are reached through all ports, or those of the groups that were named", function()
      local ports <const> = {
        { portId = "CL1-A", portType = "FIBRE", wwn = "50060e80124e3b00" },
        { portId = "CL2-A", portType = "FIBRE", wwn = "50060e80124e3b10" },
        { portId = "CL1-C", portType = "ISCSI" },
        { portId = "CL9-Z", portType = "NVME_TCP" },
      }
      local targets <const> = {
        data = {
          { hostGroupId = "CL1-C,0", iscsiName = "iqn.1994-04.jp.co.hitachi:0" },
          { hostGroupId = "CL1-C,1", iscsiName = "iqn.1994-04.jp.co.hitachi:1" },
        },
      }
      local found <const> = {}
      for _, groups in ipairs { "", "CL2-A,1:CL1-C,1" } do
        local array <const> = site:open { groups = groups }
        wire:expect("GET", SCOPE .. "/ports"):reply { data = ports }
        wire:expect("GET", SCOPE .. "/host-groups", { portId = "CL1-C" }):reply(targets)
        for _, target in ipairs(array:targets()) do
          found[#found + 1] = target.kind .. " " .. target.id
        end
      end
      assert.same({
        "fc 50060e80124e3b00",
        "fc 50060e80124e3b10",
        "iscsi iqn.1994-04.jp.co.hitachi:0",
        "iscsi iqn.1994-04.jp.co.hitachi:1",
        "fc 50060e80124e3b10",
        "iscsi iqn.1994-04.jp.co.hitachi:1",
      }, found)
    end)

    it("are never made", function()
      local array <const> = site:open()
      assert.is_nil(array.create_host)
      assert.is_nil(array.remove_host)
    end)
  end)
end)
