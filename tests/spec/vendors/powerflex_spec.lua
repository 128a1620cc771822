local powerflex_site <const> = require "spec.support.powerflex_site"

local P <const> = powerflex_site
local raised <const>, refusal <const> = P.raised, P.refusal
local SYSTEMS <const> = "/api/types/System/instances"
local SDCS <const> = ("/api/instances/System::%s/relationships/Sdc"):format(P.SYSTEM)
local VOLUME <const> = "/api/instances/Volume::" .. P.VOLUME
local ADD <const>, REMOVE <const> = VOLUME .. "/action/addMappedSdc", VOLUME .. "/action/removeMappedSdc"
local BY_NAME <const> = "/api/types/Volume/instances/action/queryIdByKey"
local NAME <const> = "k8s-2a1b3c4d5e"
local PORT <const> = { kind = "sdc", id = "9e56672f-2f4b-4a42-bff4-88b6846fbfda", adapter = "vmhba67" }
local HOST <const> = { id = P.ESX, name = "SDC esx-01" }
local LUN <const> = { id = P.VOLUME, name = NAME, naa = P.NAA, size_bytes = 17179869184 }

local function laid_over(record, fields)
  for key, value in pairs(fields or {}) do
    record[key] = value or nil
  end
  return record
end

local function volume(...)
  local maps <const> = {}
  for i, id in ipairs { ... } do
    maps[i] = { sdcId = id, sdcIp = "192.0.2.61", accessMode = "ReadWrite", limitIops = 100 }
  end
  return { id = P.VOLUME, name = NAME, sizeInKb = 16777216, mappedSdcInfo = maps[1] and maps or nil }
end

local function sdc(fields)
  return laid_over({
    id = P.ESX,
    sdcGuid = P.GUID,
    name = "esx-01",
    sdcIp = "192.0.2.51",
    osType = "Esx",
    mdmConnectionState = "Connected",
    sdcApproved = true,
  }, fields)
end

local WORKER <const> = {
  id = P.WORKER,
  sdcGuid = "2C5D0E41-0000-4000-8000-000000000001",
  osType = "Linux",
  mdmConnectionState = "Connected",
}

local function pv(fields)
  return laid_over({
    name = "pvc-1",
    handle = P.SYSTEM .. "-" .. P.VOLUME,
    driver = "csi-vxflexos.dellemc.com",
    attributes = { Name = NAME, StorageSystem = P.SYSTEM },
  }, fields)
end

describe("powerflex", function()
  local site, wire

  before_each(function()
    site = P.start()
    wire = site.wire
  end)

  after_each(function()
    site:stop()
    wire:done()
  end)

  local function headers_of(array) return array.api.client.headers end

  it("says what it is", function()
    local vendor <const> = site.vendor
    assert.same({ 1, "powerflex", "stable" }, { vendor.api, vendor.name, vendor.status })
    assert.same({ "csi-vxflexos.dellemc.com" }, vendor.drivers)
    assert.same({ "sdc" }, vendor.fabrics)
    assert.equal("POWERFLEX_SYSTEM_ID", vendor.options.system_id.env)
    assert.is_true(vendor.options.system_id.required)
  end)

  describe("logging in", function()
    it("has a token for Basic before 4.0, and asks in the gateway's own version", function()
      local array <const> = site:open "3.6.0"
      assert.same({
        Authorization = "Basic OnRvaw==",
        Accept = "application/json;version=3.6",
        ["Content-Type"] = "application/json;version=3.6",
      }, headers_of(array))
      assert.equal("Basic OnRvaw==", wire.calls[2].options.headers.Authorization)
      assert.same({ "admin", "*secret*" }, { wire.clients[1].username, wire.clients[1].password })
    end)

    it("has a bearer's token since 4.0", function()
      local array <const> = site:open "4.5.0"
      assert.equal("Bearer tok", headers_of(array).Authorization)
      assert.equal("application/json;version=4.5", headers_of(array).Accept)
    end)

    it("takes strings without their quotes", function()
      wire:expect("GET", "/api/login").result.body = " tok\n"
      wire:expect("GET", "/api/version").result.body = "3.5.1 "
      wire.expected[1].result.json, wire.expected[2].result.json = nil, nil
      site:sees_systems { id = P.SYSTEM }
      assert.equal("application/json;version=3.5", headers_of(site.vendor.open(P.conf())).Accept)
    end)

    it("goes to PowerFlex Manager where the gateway has no login, and out of it there", function()
      wire:expect("GET", "/api/login"):refuse(404)
      wire
        :expect("POST", "/rest/auth/login", nil, { username = "admin", password = "*secret*" })
        :reply { access_token = "ey.J-a_b", refresh_token = "ref", expires_in = 300 }
      wire:expect("GET", "/api/version"):reply "4.5"
      site:sees_systems { id = P.SYSTEM }
      local array <const> = site.vendor.open(P.conf())
      assert.equal("Bearer ey.J-a_b", headers_of(array).Authorization)
      assert.equal("Bearer ey.J-a_b", wire.calls[3].options.headers.Authorization)
      wire:expect("POST", "/rest/auth/logout", nil, { refresh_token = "ref" }):reply(nil, 204)
      array:close()
    end)

    it("ends with one request when the password is wrong, and says whose", function()
      wire:expect("GET", "/api/login"):refuse(401, refusal(0, "Unauthorized"))
      local why <const> = raised(site.vendor.open, P.conf())
      assert.same({ "denied", nil }, { why.kind, why.refused })
      assert.matches("192.0.2.40 as admin: user name or password refused: PowerFlex says: Unauthorized", why.message)
      assert.matches("STORAGE_PASSWORD", why.hint)
    end)

    it("is not done by a page for people", function()
      wire:expect("GET", "/api/login").result.body = "<!doctype html><title>PowerFlex</title>"
      wire.expected[1].result.json = nil
      local why <const> = raised(site.vendor.open, P.conf())
      assert.equal("protocol", why.kind)
      assert.matches("STORAGE_HOSTNAME", why.hint)
    end)

    it("fails when the version makes no sense, and is undone", function()
      site:log_in "current"
      wire:expect("GET", "/api/logout")
      assert.equal("protocol", raised(site.vendor.open, P.conf()).kind)
    end)

    it("is undone at the end; a logout that is refused is only logged", function()
      for _, refused in ipairs { false, true } do
        local array <const> = site:open()
        local logout <const> = wire:expect("GET", "/api/logout")
        if refused then logout:refuse(404) end
        array:close()
      end
      assert.equal(1, #site.log.lines)
    end)
  end)

  describe("opening", function()
    for about, id in pairs { missing = false, empty = "", short = "b4f2", wordy = "sys1 of the lab, w" } do
      it("wants a system id: " .. about, function()
        local why <const> = raised(site.vendor.open, P.conf { system_id = id })
        assert.equal("config", why.kind)
        assert.matches("POWERFLEX_SYSTEM_ID .* vxflexos%-config", why.hint)
        assert.equal(0, #wire.clients)
      end)
    end

    it(
      "wants user name and password",
      function() assert.equal("config", raised(site.vendor.open, P.conf { password = false }).kind) end
    )

    it("takes the id in capitals, and an address that ends in /api", function()
      site:log_in "3.6"
      site:sees_systems { id = P.SYSTEM }
      local array <const> =
        site.vendor.open(P.conf { system_id = " " .. P.SYSTEM:upper(), hostname = "https://192.0.2.40/api/" })
      assert.equal(P.SYSTEM, array.id)
      assert.equal("https://192.0.2.40", wire.clients[1].base)
    end)

    it("takes no other system for it, even if that has no name", function()
      site:log_in "3.6"
      site:sees_systems({ id = "aaaa000000000000", name = "" }, { id = "bbbb000000000000", name = "two" })
      local why <const> = raised(site.vendor.open, P.conf())
      assert.equal("config", why.kind)
      assert.matches("no system b4f2d5322f73780f, but aaaa000000000000 and two %(bbbb000000000000%)", why.message)
      assert.matches("POWERFLEX_SYSTEM_ID", why.hint)
    end)

    it("refuses releases whose calls are others", function()
      site:log_in "5.0"
      site:sees_systems { id = P.SYSTEM, systemVersionName = "DellEMC PowerFlex Version: R5_0.1000.100" }
      local why <const> = raised(site.vendor.open, P.conf())
      assert.same({ "unsupported", "5_0.1000.100" }, { why.kind, why.message:match "5_[%d.]+" })
    end)

    it("tells the release of the software, not that of its REST API", function()
      local info <const> = site:open():info()
      assert.same({ "Dell", "PowerFlex", "3_6.0.354" }, { info.vendor, info.product, info.version })
    end)
  end)

  describe("with a session that is lost", function()
    it("logs in once more and asks the same", function()
      for _, status in ipairs { 401, 403 } do
        local array <const> = site:open()
        wire:expect("GET", VOLUME):refuse(status)
        site:log_in()
        wire:expect("GET", VOLUME):reply(volume())
        assert.same({}, array:maps_of(LUN))
      end
    end)

    it("does so for what changes something", function()
      local array <const> = site:open()
      wire:expect("GET", VOLUME):reply(volume())
      wire:expect("POST", ADD):refuse(401)
      site:log_in()
      wire:expect("POST", ADD)
      assert.equal("made", (array:map(LUN, HOST)))
      wire:expect("POST", REMOVE):refuse(401)
      site:log_in()
      wire:expect("POST", REMOVE)
      assert.is_true(array:unmap(LUN, HOST))
    end)

    it("does so at every call", function()
      local array <const> = site:open()
      local function lost_at(method, path, answer, call)
        wire:expect(method, path):refuse(401)
        site:log_in()
        wire:expect(method, path):reply(answer)
        return call()
      end
      assert.same({ HOST }, lost_at("GET", SDCS, { sdc() }, function() return array:hosts_of { PORT } end))
      wire:expect("POST", BY_NAME):reply(P.VOLUME)
      lost_at("GET", VOLUME, volume(), function() return array:lun_of(pv { handle = "x" }) end)
      site:log_in "3.6"
      lost_at("GET", SYSTEMS, { { id = P.SYSTEM } }, function() return site.vendor.open(P.conf()) end)
    end)

    it("gives up when that is lost, too, and does not log in a third time", function()
      local array <const> = site:open()
      wire:expect("GET", VOLUME):refuse(401)
      site:log_in()
      wire:expect("GET", VOLUME):refuse(401)
      local why <const> = raised(array.maps_of, array, LUN)
      assert.same({ "denied", nil }, { why.kind, why.refused })
    end)

    it("says which right is missing when the account may not map", function()
      local array <const> = site:open()
      wire:expect("GET", VOLUME):reply(volume())
      wire:expect("POST", ADD):refuse(403)
      site:log_in()
      wire:expect("POST", ADD):refuse(403)
      local why <const> = raised(array.map, array, LUN, HOST)
      assert.equal("denied", why.kind)
      assert.matches("role", why.hint)
    end)
  end)

  describe("the volume", function()
    local array

    before_each(function() array = site:open() end)

    it("is the one of the handle", function()
      wire:expect("GET", VOLUME):reply(volume())
      assert.same(LUN, array:lun_of(pv()))
    end)

    it("is that also where a handle has capitals, attributes are none, or the volume has another name now", function()
      for _, changed in ipairs {
        { attributes = {} },
        { attributes = { Name = "old" } },
        { handle = pv().handle:upper() },
      } do
        wire:expect("GET", VOLUME):reply(volume())
        assert.equal(P.NAA, array:lun_of(pv(changed)).naa)
      end
      assert.equal("old", site.log.lines[1].fields.attribute)
    end)

    it("is asked for by name where the handle says nothing", function()
      wire:expect("POST", BY_NAME, nil, { name = NAME }):reply(P.VOLUME)
      wire:expect("GET", VOLUME):reply(volume())
      assert.equal(P.NAA, array:lun_of(pv { handle = "pvc-1" }).naa)
      assert.is_false(wire.calls[4].options.effect)
    end)

    it("is not found by an id that is empty, for that would be all volumes", function()
      wire:expect("POST", BY_NAME):reply ""
      assert.equal("protocol", raised(array.lun_of, array, pv { handle = "" }).kind)
    end)

    for code in pairs { [78] = true, [79] = true } do
      it("was deleted, with code " .. code, function()
        wire:expect("GET", VOLUME):refuse(500, refusal(code, "Could not find the volume"))
        local why <const> = raised(array.lun_of, array, pv())
        assert.equal("not_found", why.kind)
        assert.matches(
          "volume of pvc%-1 on system b4f2d5322f73780f %(handle b4f2d5322f73780f%-5a5beec600000002%)",
          why.message
        )
        wire:expect("POST", BY_NAME):refuse(500, refusal(code, "Could not find the volume"))
        assert.matches(
          "attribute Name " .. NAME:gsub("%-", "%%-"),
          raised(array.lun_of, array, pv { handle = "x" }).message
        )
      end)
    end

    it("was deleted, also where that is a 404", function()
      wire:expect("GET", VOLUME):refuse(404, refusal(0, "Could not find the volume"))
      assert.matches("volume of pvc%-1", raised(array.lun_of, array, pv()).message)
    end)

    local REFUSED <const> = {
      {
        "another system's handle",
        { handle = "aaaa000000000000-" .. P.VOLUME },
        "config",
        "aaaa000000000000.*" .. P.SYSTEM,
      },
      {
        "a handle that its attributes contradict",
        { attributes = { StorageSystem = "aaaa000000000000" } },
        "config",
        "aaaa000000000000.*" .. P.SYSTEM,
      },
      { "an NFS volume", { handle = P.SYSTEM .. "/65ab0000" }, "unsupported", "NFS volume" },
      { "neither a handle nor a name", { handle = "x", attributes = {} }, "config", "no attribute Name" },
      { "an empty name", { handle = "", attributes = { Name = "" } }, "config", "no attribute Name" },
    }
    for _, case in ipairs(REFUSED) do
      it("is refused without a request for " .. case[1], function()
        local why <const> = raised(array.lun_of, array, pv(case[2]))
        assert.equal(case[3], why.kind)
        assert.matches(case[4], why.message)
        assert.is_truthy(why.hint)
        assert.equal(3, #wire.calls)
      end)
    end

    it("is found by its device, which another array's is not", function()
      wire:expect("GET", VOLUME):reply(volume())
      assert.same(LUN, array:find_lun { naa = P.NAA:upper():gsub("EUI", "eui") })
      wire:expect("GET", VOLUME):refuse(500, refusal(79))
      assert.is_nil(array:find_lun { naa = P.NAA })
      for _, naa in ipairs {
        "naa.600a0980383139544924583130314c41",
        "eui.aaaa000000000000" .. P.VOLUME,
        "eui." .. P.SYSTEM,
      } do
        assert.is_nil(array:find_lun { naa = naa })
      end
      assert.equal("unsupported", raised(array.find_lun, array, { vvol = "rfc4122.x" }).kind)
    end)

    it("is not what the answer does not show", function()
      for _, body in ipairs { "text", { id = "other", sizeInKb = 1 }, { id = P.VOLUME } } do
        wire:expect("GET", VOLUME):reply(body)
        assert.equal("protocol", raised(array.lun_of, array, pv()).kind)
      end
    end)
  end)

  describe("the host", function()
    local array

    before_each(function() array = site:open() end)

    local function sees(...) wire:expect("GET", SDCS):reply { ... } end

    it("is the SDC with the GUID of scini, in any spelling", function()
      for _, id in ipairs { PORT.id, PORT.id:upper(), " {" .. P.GUID .. "} " } do
        sees(WORKER, sdc())
        assert.same({ HOST }, array:hosts_of({ { kind = "sdc", id = id, adapter = "vmhba67" } }, "xcopy-host-21"))
      end
    end)

    it("is one, however many adapters have the GUID", function()
      sees(sdc { name = false })
      assert.same({ { id = P.ESX, name = "SDC 192.0.2.51" } }, array:hosts_of { PORT, PORT })
    end)

    it("is no SDC of another system of that GUID, nor one without any", function()
      sees(WORKER, sdc { osType = "Linux" }, sdc { sdcGuid = false })
      assert.same({}, array:hosts_of { PORT })
      sees(WORKER, sdc { osType = "Linux" })
      local text <const> = array:why_none { PORT }
      assert.matches("esx%-01 %(9E56672F%-2F4B%-4A42%-BFF4%-88B6846FBFDA, Linux and Connected%)", text)
      assert.matches("2C5D0E41%-0000", text)
    end)

    it("is unknown where there are no SDCs at all", function()
      sees()
      assert.same({}, array:hosts_of { PORT })
      sees()
      assert.matches("these SDCs: none", array:why_none { PORT })
    end)

    it("is the SDC that is connected, if another was left over", function()
      sees(sdc { id = "c423b09900000001", mdmConnectionState = "Disconnected" }, sdc())
      assert.equal(P.ESX, array:hosts_of({ PORT })[1].id)
    end)

    it("is not guessed among two", function()
      sees(sdc { id = "c423b09900000001" }, sdc())
      assert.equal("conflict", raised(array.hosts_of, array, { PORT }).kind)
    end)

    it("is away while its SDC is not connected, and that it is not approved is told", function()
      local away <const> = sdc { mdmConnectionState = "Disconnected" }
      away.sdcApproved = false
      sees(away)
      local why <const> = raised(array.hosts_of, array, { PORT })
      assert.equal("unreachable", why.kind)
      assert.matches("not connected, nor approved: esx%-01", why.message)
    end)

    it("cannot be told from an answer that is no list", function()
      wire:expect("GET", SDCS):reply "text"
      assert.equal("protocol", raised(array.hosts_of, array, { PORT }).kind)
    end)
  end)

  describe("mapping", function()
    local array

    before_each(function() array = site:open() end)

    local function sees(...) wire:expect("GET", VOLUME):reply(volume(...)) end

    local function adds() return wire:expect("POST", ADD, nil, { sdcId = P.ESX, allowMultipleMappings = "true" }) end

    local function removes() return wire:expect("POST", REMOVE, nil, { sdcId = P.ESX }) end

    it("is told as the array has it", function()
      sees()
      assert.same({}, array:maps_of(LUN))
      sees(P.WORKER)
      assert.same({ { id = P.WORKER, name = "SDC 192.0.2.61" } }, array:maps_of(LUN))
      wire:expect("GET", VOLUME):refuse(500, refusal(79))
      assert.same({}, array:maps_of(LUN))
    end)

    it("is made beside the worker's", function()
      sees(P.WORKER)
      adds().result.json = nil
      assert.same({ "made", LUN }, { array:map(LUN, HOST) })
    end)

    it("is left alone when it is there", function()
      sees(P.WORKER, P.ESX)
      assert.same({ "existing", LUN }, { array:map(LUN, HOST) })
    end)

    local ALREADY <const> = {
      refusal(81, "Volume is already mapped to this SDC"),
      refusal(4037, "x"),
      refusal(0, "Error with details", { { error = "MDM", errorMessage = "Volume is already mapped to SDC" } }),
    }
    local GONE <const> = {
      refusal(84, "The volume is not mapped to SDC"),
      refusal(4039, "x"),
      refusal(79, "Could not find the volume"),
      refusal(0, "Error with details", { { error = "Could not find the SDC" } }),
    }

    it("that somebody else made at that moment exists", function()
      for _, body in ipairs(ALREADY) do
        sees()
        adds():refuse(500, body)
        assert.equal("existing", (array:map(LUN, HOST)))
      end
    end)

    it("is removed from that SDC alone", function()
      removes().result.json = nil
      assert.is_true(array:unmap(LUN, HOST))
    end)

    it("that is gone is removed", function()
      for _, body in ipairs(GONE) do
        removes():refuse(500, body)
        assert.is_true(array:unmap(LUN, HOST))
      end
    end)

    it("is refused for good, in the array's words", function()
      local details <const> = { { error = "MDM", errorMessage = "the volume is locked" } }
      for _, body in ipairs { refusal(0, "the volume is locked"), refusal(0, "Error with details", details) } do
        sees()
        adds():refuse(500, body)
        local why <const> = raised(array.map, array, LUN, HOST)
        assert.same({ "failed", nil, nil }, { why.kind, why.status, why.unanswered })
        assert.matches(
          "map volume k8s.*5a5beec600000002.*c423b09900000008.*PowerFlex says: the volume is locked %(code 0%)",
          tostring(why)
        )
        removes():refuse(500, body)
        assert.matches(
          "unmap volume k8s.* from SDC esx%-01.*is locked",
          tostring(raised(array.unmap, array, LUN, HOST))
        )
      end
    end)

    it("of a deleted volume, or to an SDC that is gone, is not found", function()
      for _, text in ipairs { "Could not find the volume", "Could not find the SDC" } do
        sees()
        adds():refuse(500, refusal(0, text))
        assert.equal("not_found", raised(array.map, array, LUN, HOST).kind)
      end
    end)

    it("may be tried again when the array is busy", function()
      sees()
      adds():refuse(500, refusal(0, "The MDM cluster is busy. Please try again later"))
      assert.equal("busy", raised(array.map, array, LUN, HOST).kind)
    end)

    it("may have been made when the answer was lost", function()
      sees()
      adds():refuse(502, nil)
      wire.expected[wire.next + 1].why.headers = { ["content-type"] = "text/html" }
      local why <const> = raised(array.map, array, LUN, HOST)
      assert.is_true(why.unanswered)
      assert.matches("502 Bad Gateway", tostring(why))
      assert.matches("STORAGE_HOSTNAME", why.hint)
    end)
  end)

  it("shows a page for people by its status line", function()
    local array <const> = site:open()
    wire:expect("GET", VOLUME):refuse(502).why.headers = { ["content-type"] = "text/html; charset=utf-8" }
    local why <const> = raised(array.maps_of, array, LUN)
    assert.matches("502 Bad Gateway", why.message)
    assert.equal(502, why.status)
  end)

  it("asks for the system once", function()
    local array <const> = site:open()
    wire:expect("GET", VOLUME):reply(volume())
    array:lun_of(pv())
    local asked = 0
    for _, call in ipairs(wire.calls) do
      if call.path == SYSTEMS then asked = asked + 1 end
    end
    assert.equal(1, asked)
  end)
end)
