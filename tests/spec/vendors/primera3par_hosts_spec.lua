local sites <const> = require "primera3par_site"

local VOLUME <const>, NAA <const>, NAME <const>, SET <const> = sites.VOLUME, sites.NAA, sites.NAME, sites.SET
local FC <const> = { kind = "fc", id = "fc.20000024ff123456:21000024ff123456", adapter = "vmhba2" }
local IQN <const> = { kind = "iscsi", id = "iqn.1998-01.com.vmware:esx1", adapter = "vmhba64" }
local WWPN <const> = "21000024FF123456"
local members <const>, volume <const>, row <const>, raised <const> =
  sites.members, sites.volume, sites.row, sites.raised

local function esx1(wwn) return { id = 1, name = "esx1", FCPaths = { { wwn = wwn or WWPN } }, iSCSIPaths = {} } end

describe("primera3par", function()
  local site, wire, array, lun, host

  before_each(function()
    site = sites.start()
    wire, lun, host, array = site.wire, site.lun, site.host, site:open()
  end)

  after_each(function() site:stop() end)

  local function vluns(...) return site:vluns(...) end

  -- ---- hosts ----

  describe("the host", function()
    local NOT_THERE <const> = { code = 102, desc = "set does not exist" }

    local function set(name, ...)
      wire:expect("GET", "/hostsets/" .. name):reply { id = 3, name = name, setmembers = { ... } }
    end

    local function hosts(...) wire:expect("GET", "/hosts", {}):reply(members(...)) end

    it("is the host set of our name, with the ports of its members", function()
      set(NAME, "esx1")
      hosts(esx1 "21:00:00:24:ff:12:34:56", { FCPaths = { { wwn = "21000024FF999999" } } }, { name = "esx2" })
      local found <const> = array:hosts_of({ FC }, NAME)
      assert.same({ { id = SET, name = SET, members = { "esx1" }, ports = { FC.id }, ours = true } }, found)
    end)

    it("is none where there is no such set", function()
      for _, code in ipairs { 102, 77 } do
        wire:expect("GET", "/hostsets/" .. NAME):refuse(404, { code = code, desc = "no" })
        assert.same({}, array:hosts_of({ FC }, NAME))
      end
    end)

    it("shows all ports of a member that is another machine", function()
      set(NAME, "esx1", "esx2")
      hosts(esx1(), { name = "esx2", FCPaths = { { wwn = "21000024FF777777" } }, iSCSIPaths = { { name = "iqn.x" } } })
      assert.same({ FC.id, "21000024FF777777", "iqn.x" }, array:hosts_of({ FC, IQN }, NAME)[1].ports)
      wire:expect("GET", "/hostsets/" .. NAME):reply { id = 3, name = NAME } -- an empty set has no field for them
      hosts(esx1())
      assert.same({}, array:hosts_of({ FC }, NAME)[1].ports)
    end)

    it("has a digest for a name where the array takes no longer one", function()
      local names <const> = {
        ["xcopy-hostsystem-host-123456"] = "xcopy-d8d68eabd9c29388d5d69",
        ["xcopy-hostsystem-host-1234567"] = "xcopy-f26e34fa35d4a2c41d5f8",
        ["xcopy-27-characters-long-it"] = "xcopy-27-characters-long-it",
      }
      for name, used in pairs(names) do
        wire:expect("GET", "/hostsets/" .. used):refuse(404, NOT_THERE)
        assert.same({}, array:hosts_of({ FC }, name))
        hosts(esx1())
        wire:expect("POST", "/hostsets", nil, { name = used, setmembers = { "esx1" } }):reply(nil, 201)
        assert.equal("set:" .. used, array:create_host(name, { FC }).id)
      end
    end)

    it("is made of the host that owns the initiator, which stays as it is", function()
      hosts(esx1 "21:00:00:24:ff:12:34:56")
      wire:expect("POST", "/hostsets", nil, { name = NAME, setmembers = { "esx1" } }):reply(nil, 201)
      local made <const> = array:create_host(NAME, { FC, IQN })
      assert.same({ SET, { FC.id } }, { made.id, made.ports })
    end)

    it("is made of a host of our own, of one fabric, where nobody owns the initiators", function()
      hosts()
      wire:expect("POST", "/hosts", nil, { name = NAME, persona = 8, FCWWNs = { WWPN } }):reply(nil, 201)
      wire:expect("POST", "/hostsets", nil, { name = NAME, setmembers = { NAME } }):reply(nil, 201)
      assert.same({ FC.id }, array:create_host(NAME, { IQN, FC }).ports)
      hosts()
      wire:expect("POST", "/hosts", nil, { name = NAME, persona = 8, iSCSINames = { IQN.id } }):reply(nil, 201)
      wire:expect("POST", "/hostsets", nil, { name = NAME, setmembers = { NAME } }):reply(nil, 201)
      array:create_host(NAME, { IQN, { kind = "other", id = "vmhba0", adapter = "vmhba0" } })
    end)

    it("is not made of adapters that are neither, or are malformed", function()
      for _, port in ipairs {
        { kind = "other", id = "vmhba2", adapter = "vmhba2" },
        { kind = "fc", id = "fc.20000024ff123456", adapter = "vmhba3" },
        { kind = "fc", id = "fc.20:00:00:24", adapter = "vmhba3" },
      } do
        hosts()
        local why <const> = raised(array.create_host, array, NAME, { port })
        assert.equal("config", why.kind)
        assert.matches(port.adapter, why.message)
      end
    end)

    it("is the owner's when somebody registers the initiator meanwhile", function()
      for _, code in ipairs { 73, 16 } do
        hosts()
        wire:expect("POST", "/hosts"):refuse(409, { code = code, desc = "exists" })
        hosts(esx1())
        wire:expect("POST", "/hostsets", nil, { name = NAME, setmembers = { "esx1" } }):reply(nil, 201)
        array:create_host(NAME, { FC })
      end
    end)

    it("cannot be made when an owner is not to be seen", function()
      hosts()
      wire:expect("POST", "/hosts"):refuse(409, { code = 73, desc = "host WWN already used by host esx9" })
      hosts()
      local why <const> = raised(array.create_host, array, NAME, { FC })
      assert.equal("conflict", why.kind)
      assert.matches("make host " .. NAME .. " of " .. WWPN, tostring(why), 1, true)
      assert.matches("already used by host esx9 %(code 73%)", tostring(why))
      assert.matches("domain", why.hint)
    end)

    it("that exists is a conflict, never completed", function()
      for status, code in pairs { [409] = 101, [400] = 101 } do
        hosts(esx1())
        wire:expect("POST", "/hostsets"):refuse(status, { code = code, desc = "set exists" })
        assert.equal("conflict", raised(array.create_host, array, NAME, { FC }).kind)
      end
    end)

    it("is made anew when its member goes meanwhile", function()
      hosts(esx1())
      wire:expect("POST", "/hostsets"):refuse(404, { code = 17, desc = "host does not exist" })
      local why <const> = raised(array.create_host, array, NAME, { FC })
      assert.same({ "busy", true }, { why.kind, why.refused })
    end)

    it("is removed with the host of our name, and no other", function()
      vluns("hostname", SET)
      wire:expect("DELETE", "/hostsets/" .. NAME):reply()
      wire:expect("DELETE", "/hosts/" .. NAME):refuse(404, { code = 17, desc = "no" })
      assert.equal("removed", array:remove_host(host))
      vluns("hostname", SET):refuse(404, { code = 19, desc = "none" })
      wire:expect("DELETE", "/hostsets/" .. NAME):refuse(404, NOT_THERE)
      wire:expect("DELETE", "/hosts/" .. NAME):reply()
      assert.equal("removed", array:remove_host(host))
    end)

    it("stays while anything is exported to it, or it is in another set", function()
      vluns("hostname", SET, row(3))
      assert.equal("in use", array:remove_host(host))
      vluns("hostname", SET)
      wire:expect("DELETE", "/hostsets/" .. NAME):refuse(409, { code = 26, desc = "has exported VLUNs" })
      assert.equal("in use", array:remove_host(host))
      vluns("hostname", SET)
      wire:expect("DELETE", "/hostsets/" .. NAME):reply()
      wire:expect("DELETE", "/hosts/" .. NAME):refuse(409, { code = 77, desc = "host is in set" })
      assert.equal("in use", array:remove_host(host))
    end)
  end)

  -- ---- exports ----

  describe("an export", function()
    it("is one to a host or a set, not a path and not a port", function()
      vluns(
        "volumeName",
        VOLUME,
        row(1, { hostname = "set:worker-set" }),
        row(1, { hostname = "worker1", active = true, type = 3 }),
        row(2, { hostname = "", type = 2 }),
        row(4, { hostname = "esx9", volumeName = "another" })
      )
      assert.same({ { id = "set:worker-set", name = "set:worker-set", number = 1 } }, array:maps_of(lun))
    end)

    it("is asked for whole where the firmware knows no filter", function()
      vluns("volumeName", VOLUME):refuse(400, { code = 12, desc = "invalid input" })
      wire:expect("GET", "/vluns", {}):reply(members(row(2), row(3, { volumeName = "x" })))
      assert.equal(2, array:maps_of(lun)[1].number)
    end)

    it("gets the lowest number that neither the set nor a member uses", function()
      vluns("volumeName", VOLUME)
      vluns("hostname", SET, row(1), row(2), row(7, { hostname = "esx5" }))
      vluns("hostname", "esx1", row(4, { hostname = "esx1", active = true }))
      wire
        :expect("POST", "/vluns", nil, { volumeName = VOLUME, lun = 3, hostname = SET, autoLun = true })
        :reply(nil, 201, { location = "/api/v1/vluns/" .. VOLUME .. ",5," .. SET })
      local outcome <const>, mapped <const> = array:map(lun, host)
      assert.same({ "made", 5 }, { outcome, mapped.number })
    end)

    it("that is there is not made again", function()
      vluns("volumeName", VOLUME, row(6))
      local outcome <const>, mapped <const> = array:map(lun, host)
      assert.same({ "existing", 6 }, { outcome, mapped.number })
    end)

    it("is tried with the next number when another run takes one", function()
      vluns("volumeName", VOLUME)
      vluns("hostname", SET)
      vluns("hostname", "esx1")
      wire:expect("POST", "/vluns"):refuse(409, { code = 18, desc = "LUN exists" })
      local why <const> = raised(array.map, array, lun, host)
      assert.same({ "busy", true }, { why.kind, why.refused })
      vluns("volumeName", VOLUME)
      vluns("hostname", SET, row(1))
      vluns("hostname", "esx1")
      wire
        :expect("POST", "/vluns", nil, { volumeName = VOLUME, lun = 2, hostname = SET, autoLun = true })
        :reply(nil, 201)
      assert.equal("made", (array:map(lun, host)))
    end)

    it("fails when all numbers are taken, or host or volume are gone", function()
      local all <const> = {}
      for number = 1, 1023 do
        all[number] = row(number)
      end
      vluns("volumeName", VOLUME)
      vluns("hostname", SET, table.unpack(all))
      vluns("hostname", "esx1")
      assert.matches("set:.* uses all LUN numbers from 1 to 1023", raised(array.map, array, lun, host).message)
      for code, kind in pairs { [17] = "not_found", [23] = "not_found", [97] = "busy" } do
        vluns("volumeName", VOLUME)
        vluns("hostname", SET)
        vluns("hostname", "esx1")
        wire:expect("POST", "/vluns"):refuse(kind == "busy" and 409 or 404, { code = code, desc = "no" })
        assert.equal(kind, raised(array.map, array, lun, host).kind)
      end
    end)

    it("to a plain host is made by its plain name", function()
      vluns("volumeName", VOLUME)
      vluns("hostname", "esx9")
      wire
        :expect("POST", "/vluns", nil, { volumeName = VOLUME, lun = 1, hostname = "esx9", autoLun = true })
        :reply(nil, 201)
      assert.equal("made", (array:map(lun, { id = "esx9", name = "esx9" })))
    end)

    it("is taken away, the set's alone", function()
      vluns("volumeName", VOLUME, row(2, { hostname = "esx1" }), row(3), row(3, { hostname = "esx1", active = true }))
      wire:expect("DELETE", ("/vluns/%s,3,%s"):format(VOLUME, SET)):reply()
      assert.is_true(array:unmap(lun, host))
    end)

    it("that is gone, or goes meanwhile, is taken away", function()
      vluns("volumeName", VOLUME):refuse(404, { code = 19, desc = "VLUN does not exist" })
      assert.is_true(array:unmap(lun, host))
      vluns("volumeName", VOLUME, row(3))
      wire:expect("DELETE", ("/vluns/%s,3,%s"):format(VOLUME, SET)):refuse(404, { code = 19, desc = "no" })
      assert.is_true(array:unmap(lun, host))
    end)

    it("is told of all that a host sees", function()
      vluns("hostname", SET, row(3), row(4, { volumeName = "gone" }))
      wire:expect("GET", "/volumes/" .. VOLUME):reply(volume())
      wire:expect("GET", "/volumes/gone"):refuse(404, { code = 23, desc = "no" })
      local seen <const> = array:luns_of(host)
      assert.same({ VOLUME, NAA }, { seen[1].name, seen[1].naa })
      assert.is_nil(seen[2])
    end)
  end)
end)
