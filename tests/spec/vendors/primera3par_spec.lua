local sites <const> = require "primera3par_site"
local secret <const> = require "lunalift.secret"

local HANDLE <const>, VOLUME <const>, WWN <const>, NAA <const> = sites.HANDLE, sites.VOLUME, sites.WWN, sites.NAA
local SET <const> = sites.SET
local LOST <const> = { code = 6, desc = "invalid session key" }
local query <const>, members <const>, volume <const>, row <const> = sites.query, sites.members, sites.volume, sites.row
local raised <const> = sites.raised

describe("primera3par", function()
  local site, wire, array, lun, host

  before_each(function()
    site = sites.start()
    wire, lun, host = site.wire, site.lun, site.host
  end)

  after_each(function() site:stop() end)

  local function open() array = site:open() end

  local function login(key) site:login(key) end

  local function vluns(...) return site:vluns(...) end

  it("says what it is", function()
    assert.same({ 1, "primera3par", "csi.hpe.com" }, { site.vendor.api, site.vendor.name, site.vendor.drivers[1] })
    assert.same({ "iscsi", "fc" }, site.vendor.fabrics)
  end)

  -- ---- the session ----

  describe("a session", function()
    it("is begun with name and password, borne in a header, and ended", function()
      open()
      assert.equal("https://192.0.2.20:8080/api/v1", wire.clients[1].base)
      assert.equal("***", tostring(wire.clients[1].headers["X-HP3PAR-WSAPI-SessionKey"]))
      assert.same(
        { vendor = "HPE", product = "Primera/3PAR", model = "HPE_3PAR A630", version = "4.5.20.2" },
        array:info()
      )
      wire:expect("DELETE", "/credentials/k1"):reply()
      array:close()
    end)

    it("is not asked for again when the password is refused", function()
      wire:expect("POST", "/credentials"):refuse(403, { code = 5, desc = "invalid username or password" })
      local why <const> = raised(site.vendor.open, site.conf)
      assert.same({ "denied", 5 }, { why.kind, why.code })
      assert.matches(
        "https://192.0.2.20:8080 as 3paradm: user name or password refused: WSAPI says: invalid",
        tostring(why)
      )
      assert.matches("STORAGE_PASSWORD", why.hint)
      assert.equal(1, #wire.calls)
    end)

    it("wants a user, a password and an array that answers as one", function()
      site.conf.password = nil
      assert.equal("config", raised(site.vendor.open, site.conf).kind)
      site.conf.password = secret.new "x"
      wire:expect("POST", "/credentials"):vanish "unreachable"
      assert.matches("https://host:8080 %(3PAR%)", raised(site.vendor.open, site.conf).hint)
      wire:expect("POST", "/credentials"):refuse(404)
      assert.matches("no WSAPI says it so", raised(site.vendor.open, site.conf).hint)
      wire:expect("POST", "/credentials"):reply({}, 201)
      assert.equal("protocol", raised(site.vendor.open, site.conf).kind)
    end)

    it("that has expired is renewed, and the request sent again as it was", function()
      open()
      local export <const> = { volumeName = VOLUME, lun = 1, hostname = SET, autoLun = true }
      vluns("volumeName", VOLUME):refuse(403, LOST)
      login "k2"
      vluns("volumeName", VOLUME)
      vluns("hostname", SET):refuse(401)
      login "k3"
      vluns("hostname", SET)
      vluns("hostname", "esx1")
      wire:expect("POST", "/vluns", nil, export):refuse(403, LOST)
      login "k4"
      wire:expect("POST", "/vluns", nil, export):reply(nil, 201)
      assert.equal("made", (array:map(lun, host)))
    end)

    it("with something that is no WSAPI finds nothing out", function()
      login "k1"
      wire:expect("GET", "/system"):reply(nil)
      assert.equal("protocol", raised(site.vendor.open, site.conf).kind)
      open()
      for _, call in ipairs {
        { "/vluns", "maps_of", lun },
        { "/vluns", "unmap", lun, host },
        { "/vluns", "remove_host", host },
        { "/hostsets/" .. sites.NAME, "hosts_of", {}, sites.NAME },
        { "/volumes/" .. VOLUME, "lun_of", { name = "pv", handle = HANDLE } },
        { "/volumes", "find_lun", { naa = NAA } },
        { "/tasks/7", "copy_stop", "c", { handle = { task = 7 } } },
      } do
        wire:expect("GET", call[1]):reply(nil)
        local why <const> = raised(array[call[2]], array, table.unpack(call, 3))
        assert.equal("protocol", why.kind)
        assert.matches(call[1], why.message, 1, true)
      end
    end)

    it("that is lost at once again is not asked for a third time", function()
      open()
      vluns("volumeName", VOLUME):refuse(403, LOST)
      login "k2"
      vluns("volumeName", VOLUME):refuse(403, LOST)
      local why <const> = raised(array.maps_of, array, lun)
      assert.same({ "denied", 6 }, { why.kind, why.code })
      assert.matches("showwsapisession", why.hint)
    end)

    it("may expire before each call", function()
      open()
      local source <const> = { name = "src1", size_bytes = 1 }
      local copy <const> = { id = "c", source = source, target = lun, handle = { task = 7 } }
      local calls <const> = {
        { "GET", "/volumes/" .. VOLUME, volume(), "lun_of", { name = "pv", handle = HANDLE } },
        { "GET", "/volumes", members(), "find_lun", { naa = NAA } },
        { "GET", "/vluns", members(), "maps_of", lun },
        { "GET", "/vluns", members(), "luns_of", host },
        { "GET", "/vluns", members(), "unmap", lun, host },
        { "GET", "/vluns", members(row(1)), "remove_host", host },
        {
          "GET",
          "/tasks",
          members { type = 1, status = 2, id = 7, name = "src1->" .. VOLUME },
          "copy_start",
          "c",
          source,
          lun,
        },
        { "GET", "/tasks/7", { id = 7, status = 1 }, "copy_poll", "c", copy },
        { "GET", "/tasks/7", { id = 7, status = 1 }, "copy_stop", "c", copy },
      }
      for i, call in ipairs(calls) do
        wire:expect(call[1], call[2]):refuse(403, LOST)
        login("again" .. i)
        wire:expect(call[1], call[2]):reply(call[3])
        array[call[4]](array, table.unpack(call, 5))
      end
    end)

    it("is no cure for a right that is missing", function()
      open()
      vluns("volumeName", VOLUME):refuse(403, { code = 13, desc = "permission denied" })
      local why <const> = raised(array.maps_of, array, lun)
      assert.same({ "denied", 13 }, { why.kind, why.code })
      assert.matches("edit or super", why.hint)
    end)
  end)

  -- ---- volumes ----

  describe("the volume", function()
    before_each(function() open() end)

    local function pv(handle) return { name = "pv1", handle = handle, driver = "csi.hpe.com", attributes = {} } end

    it("is named by the first 31 characters of the handle", function()
      wire:expect("GET", "/volumes/" .. VOLUME):reply(volume())
      local found <const> = array:lun_of(pv(HANDLE))
      assert.same({ VOLUME, NAA, 10 << 30 }, { found.name, found.naa, found.size_bytes })
    end)

    it("that is not there is told by the name that was tried, and by the handle", function()
      for _, answer in ipairs { false, volume { name = "another" } } do
        local asked <const> = wire:expect("GET", "/volumes/" .. VOLUME)
        if answer then
          asked:reply(answer)
        else
          asked:refuse(404, { code = 23, desc = "volume does not exist" })
        end
        local why <const> = raised(array.lun_of, array, pv(HANDLE))
        assert.equal("not_found", why.kind)
        assert.matches(
          "no volume " .. VOLUME .. " on https://192.0.2.20:8080 as 3paradm (from volumeHandle " .. HANDLE,
          why.message,
          1,
          true
        )
      end
    end)

    it("is not looked for by a handle that is empty or odd", function()
      assert.equal("config", raised(array.lun_of, array, pv "").kind)
      wire:expect("GET", "/volumes/a%2Fb%2C%20c"):refuse(404, { code = 23, desc = "no" })
      assert.equal("not_found", raised(array.lun_of, array, pv "a/b, c").kind)
    end)

    it("without a name of 3PAR's for its device is refused", function()
      for _, fields in ipairs { { wwn = "5000C500" }, { wwn = false }, { wwn = ("Z"):rep(32) }, { sizeMiB = false } } do
        wire:expect("GET", "/volumes/" .. VOLUME):reply(volume(fields))
        assert.equal("protocol", raised(array.lun_of, array, pv(HANDLE)).kind)
      end
    end)

    it("of a device or a vVol is found by WWN or UUID", function()
      local by_wwn <const> = query("wwn EQ %s", WWN)
      for _, by in ipairs {
        { naa = NAA },
        { naa = "vml.0200010000" .. WWN:lower() .. "565620202020" },
        { vvol = "rfc4122.60002ac0-0000-0000-0000-182d00021f6b" },
        { vvol = "naa." .. WWN },
      } do
        wire
          :expect("GET", "/volumes", by_wwn)
          :reply(members(volume { name = "other", wwn = WWN:gsub("B$", "C") }, volume()))
        assert.equal(NAA, array:find_lun(by).naa)
      end
      local uuid <const> = "e8307953-a6a3-4adb-bce1-098c210ca53c"
      for _, vvol in ipairs { "rfc4122." .. uuid, "vvol:" .. uuid:upper(), uuid } do
        wire:expect("GET", "/volumes", query("uuid EQ %s", uuid)):reply(members(volume { uuid = uuid }))
        assert.equal(NAA, array:find_lun({ vvol = vvol }).naa)
      end
    end)

    it("of others' devices is none, without a question", function()
      assert.is_nil(array:find_lun { naa = "naa.624a93700000000000009999" })
      assert.is_nil(array:find_lun { naa = "naa.60002ac000000000" })
    end)

    it("that nobody has is none, though the filter be unknown or passed over", function()
      wire:expect("GET", "/volumes", query("wwn EQ %s", WWN)):reply { total = 0 }
      assert.is_nil(array:find_lun { naa = NAA })
      wire:expect("GET", "/volumes", query("wwn EQ %s", WWN)):refuse(400, { code = 12, desc = "invalid input" })
      wire:expect("GET", "/volumes", {}):reply(members(volume { wwn = "60002AC" .. ("0"):rep(25) }))
      assert.is_nil(array:find_lun { naa = NAA })
    end)
  end)

  -- ---- copies ----

  describe("a copy", function()
    local START <const> = {
      action = "createPhysicalCopy",
      parameters = { destVolume = VOLUME, online = false, saveSnapshot = false, priority = 2 },
    }
    local source, copy

    before_each(function()
      open()
      source = { name = "src1", size_bytes = 10 << 30 }
      copy = { id = "c", source = source, target = lun, handle = { task = 77 } }
    end)

    local function tasks(...) wire:expect("GET", "/tasks", {}):reply(members(...)) end

    local function task(status, fields)
      local found <const> = { id = 77, type = 1, name = "src1->" .. VOLUME, status = status }
      for name, value in pairs(fields or {}) do
        found[name] = value
      end
      return found
    end

    local function polled(...) wire:expect("GET", "/tasks/77"):reply(task(...)) end

    it("is a physical one onto the volume, and its task is followed", function()
      tasks()
      vluns("volumeName", VOLUME)
      wire:expect("POST", "/volumes/src1", nil, START):reply({ taskid = 77 }, 201)
      assert.same({ task = 77 }, array:copy_start("c", source, lun))
      polled(2)
      polled(2, { totalSteps = 200, completedSteps = 50 })
      polled(1)
      local first <const>, second <const> = array:copy_poll("c", copy), array:copy_poll("c", copy)
      assert.same({ "running", nil, "running", 25 }, { first.state, first.percent, second.state, second.percent })
      assert.equal("done", array:copy_poll("c", copy).state)
    end)

    it("that fails or is cancelled says which task it was", function()
      for _, status in ipairs { 3, 4 } do
        polled(status)
        local found <const> = array:copy_poll("c", copy)
        assert.equal("failed", found.state)
        assert.matches("task 77 (src1->" .. VOLUME .. ")", found.reason, 1, true)
      end
    end)

    it("whose start was not answered is found by its task, and not started twice", function()
      copy.handle = nil
      local before <const> = { task(1, { id = 70 }), task(4, { id = 71 }), task(2, { id = 72, type = 2 }) }
      tasks(table.unpack(before))
      assert.is_nil(array:copy_poll("c", copy))
      before[4] = task(2)
      tasks(table.unpack(before))
      assert.equal("running", array:copy_poll("c", copy).state)
      tasks(table.unpack(before))
      assert.same({ task = 77 }, array:copy_start("c", source, lun))
    end)

    it("that the array has forgotten is none", function()
      wire:expect("GET", "/tasks/77"):refuse(404, { code = 145, desc = "no such task" })
      assert.is_nil(array:copy_poll("c", copy))
    end)

    it("is refused onto a volume that somebody sees, who is named", function()
      tasks()
      vluns(
        "volumeName",
        VOLUME,
        row(1, { hostname = "worker1" }),
        row(2, { hostname = "", portPos = { node = 0, slot = 1, cardPort = 2 } })
      )
      local why <const> = raised(array.copy_start, array, "c", source, lun)
      assert.equal("conflict", why.kind)
      assert.equal("volume " .. VOLUME .. " is exported to port 0:1:2, worker1", why.message)
      tasks() -- and when it is exported between the two questions
      vluns("volumeName", VOLUME)
      wire:expect("POST", "/volumes/src1"):refuse(403, { code = 153, desc = "volume is exported" })
      vluns("volumeName", VOLUME, row(1, { hostname = "worker1" }))
      assert.matches("is exported to worker1", raised(array.copy_start, array, "c", source, lun).message)
    end)

    it("is refused onto a smaller volume", function()
      tasks()
      source.size_bytes = (10 << 30) + 1
      assert.equal("config", raised(array.copy_start, array, "c", source, lun).kind)
    end)

    it("of a volume that allows no snapshot is not helped by changing it", function()
      tasks()
      vluns("volumeName", VOLUME)
      wire:expect("POST", "/volumes/src1"):refuse(403, { code = 158, desc = "snapshots not allowed" })
      vluns("volumeName", VOLUME)
      wire:expect("GET", "/volumes/src1"):reply(volume { name = "src1", snapCPG = false })
      local why <const> = raised(array.copy_start, array, "c", source, lun)
      assert.equal("unsupported", why.kind)
      assert.matches("snapshots not allowed %(code 158%)", tostring(why))
      assert.matches("setvv -snp_cpg", why.hint, 1, true)
    end)

    it("is refused in the array's words else", function()
      tasks()
      vluns("volumeName", VOLUME)
      wire:expect("POST", "/volumes/src1"):refuse(409, { code = 150, desc = "copy in progress" })
      local why <const> = raised(array.copy_start, array, "c", source, lun)
      assert.equal("conflict", why.kind)
      assert.matches("copy volume src1 onto .*copy in progress", tostring(why))
    end)

    it("is stopped, and has stopped when its task has ended", function()
      polled(2)
      wire:expect("PUT", "/volumes/" .. VOLUME, nil, { action = 1 }):reply()
      polled(2)
      polled(3)
      array:copy_stop("c", copy)
      assert.equal(1, #site.clock.naps)
    end)

    it("that has ended, or ends meanwhile, needs no stop", function()
      polled(1)
      array:copy_stop("c", copy)
      polled(2)
      wire:expect("PUT", "/volumes/" .. VOLUME):refuse(404, { code = 148, desc = "no physical copy" })
      polled(1)
      array:copy_stop("c", copy)
    end)

    it("that cannot be stopped says so", function()
      polled(2)
      wire:expect("PUT", "/volumes/" .. VOLUME):refuse(403, { code = 13, desc = "permission denied" })
      polled(2)
      assert.matches("stop the copy onto volume", tostring(raised(array.copy_stop, array, "c", copy)))
    end)
  end)
end)
