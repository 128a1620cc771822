local ontap_site = require "ontap_site"

local list, raised, refusal = ontap_site.list, ontap_site.raised, ontap_site.refusal
local S = ontap_site.SVM.uuid
local NAME = "xcopy-hostsystem-host-12"
local IGROUPS = "/api/protocols/san/igroups"
local MAPS = "/api/protocols/san/lun-maps"
local LUN = { id = "L", name = "/vol/v/lun0", naa = "naa.x", size_bytes = 1, serial = "ZlAFA?QMnBdX", svm = "svm0" }

local function iscsi(id, adapter) return { kind = "iscsi", id = id, adapter = adapter or "vmhba64" } end
local A, B = iscsi "iqn.adapter1", iscsi("iqn.adapter2", "vmhba65")
local FC = { kind = "fc", id = "fc.2000000000000001:2100000000000002", adapter = "vmhba2" }

local function members(...)
  local found = {}
  for i, name in ipairs { ... } do
    found[i] = { name = name }
  end
  return found
end

local function group(protocol, initiators, fields)
  local made =
    { uuid = "G", name = NAME .. "-" .. protocol, protocol = protocol, os_type = "vmware", initiators = initiators }
  for key, value in pairs(fields or {}) do
    made[key] = value
  end
  return made
end

local function body(protocol, initiators)
  return {
    name = NAME .. "-" .. protocol,
    protocol = protocol,
    os_type = "vmware",
    svm = { uuid = S },
    initiators = initiators,
  }
end

local function host(ports)
  return { id = "G", name = NAME .. "-iscsi", protocol = "iscsi", ports = ports or { "iqn.adapter1" }, ours = true }
end

local function lun()
  local copy = {}
  for key, value in pairs(LUN) do
    copy[key] = value
  end
  return copy
end

local site, wire, array

local function start()
  site = ontap_site.start()
  wire = site.wire
  array = site:open()
end

local function stop()
  site:stop()
  wire:done()
end

describe("an ontap host", function()
  before_each(start)
  after_each(stop)

  local function sees(protocol, ...)
    local query = { ["svm.uuid"] = S, name = NAME .. "-" .. protocol, fields = "protocol,os_type,initiators.name" }
    wire:expect("GET", IGROUPS, query):reply(list(...))
  end

  local function posts(protocol, ...)
    return wire:expect("POST", IGROUPS, { return_records = true }, body(protocol, members(...)))
  end

  describe("is found", function()
    it("by our name, and tells all that it holds", function()
      sees("iscsi", group("iscsi", members("iqn.adapter1", "iqn.adapter2", "iqn.old")))
      assert.same({ host { "iqn.adapter1", "iqn.adapter2", "iqn.old" } }, array:hosts_of({ A, B }, NAME))
    end)

    it("though it holds less than was asked for, or nothing", function()
      sees("iscsi", group("iscsi", members "iqn.adapter1"))
      assert.same({ host() }, array:hosts_of({ A, B }, NAME))
      sees("iscsi", group("iscsi", nil))
      assert.same({ host {} }, array:hosts_of({ A }, NAME))
    end)

    it("not when there is none, or one of a longer name", function()
      sees "iscsi"
      assert.same({}, array:hosts_of({ A }, NAME))
      sees("iscsi", group("iscsi", members "iqn.adapter1", { name = NAME .. "-iscsi-2" }))
      assert.same({}, array:hosts_of({ A }, NAME))
    end)

    it("under the same protocol in whatever order the initiators come", function()
      for _, ports in ipairs { { A, FC }, { FC, A } } do
        sees("fcp", group("fcp", members "21:00:00:00:00:00:00:02"))
        assert.same({ "21:00:00:00:00:00:00:02" }, array:hosts_of(ports, NAME)[1].ports)
      end
    end)

    it("in a mixed igroup too", function()
      sees("iscsi", group("iscsi", members "iqn.adapter1", { protocol = "mixed" }))
      assert.equal("G", array:hosts_of({ A }, NAME)[1].id)
    end)

    it("never in an igroup of that name for something else", function()
      for _, fields in ipairs { { protocol = "fcp" }, { os_type = "linux" } } do
        sees("iscsi", group("iscsi", members "iqn.adapter1", fields))
        local why = raised(array.hosts_of, array, { A }, NAME)
        assert.equal("conflict", why.kind)
        assert.matches("igroup xcopy%-hostsystem%-host%-12%-iscsi is for", tostring(why))
        assert.matches("rename or delete it", why.hint)
      end
    end)

    it("only for ports that an igroup can hold", function()
      local nvme = { kind = "nvme", id = "nqn.2014-08.org.nvmexpress:esx1", adapter = "vmhba66" }
      local odd = { kind = "other", id = "vmhba1", adapter = "vmhba1" }
      local why = raised(array.hosts_of, array, { nvme, odd }, NAME)
      assert.equal("config", why.kind)
      assert.matches("vmhba66 nqn.2014%-08.org.nvmexpress:esx1: .*; vmhba1 vmhba1: ", tostring(why))
      assert.matches("iSCSI or FC", why.hint)
      assert.matches("none given", tostring(raised(array.create_host, array, NAME, {})))
      assert.equal(1, #wire.calls)
    end)
  end)

  describe("is created", function()
    it("and filled in one request", function()
      posts("iscsi", "iqn.adapter1", "iqn.adapter2"):reply(
        list(group("iscsi", members("iqn.adapter1", "iqn.adapter2"))),
        201
      )
      assert.same(host { "iqn.adapter1", "iqn.adapter2" }, array:create_host(NAME, { A, B }))
    end)

    it("with WWPNs in colon form; what is left out is said", function()
      posts("fcp", "21:00:00:00:00:00:00:02"):reply(list(group("fcp", members "21:00:00:00:00:00:00:02")), 201)
      assert.equal("fcp", array:create_host(NAME, { FC, A }).protocol)
      assert.equal("vmhba64 iqn.adapter1: FC is used", site.log[1].fields.why)
    end)

    it("and known again whatever the letter case of its WWPNs", function()
      local ab = { kind = "fc", id = "fc.20000000c0a80abc:2a000000c0a80def", adapter = "vmhba3" }
      posts("fcp", "2A:00:00:00:C0:A8:0D:EF"):reply(list(group("fcp", members "2a:00:00:00:c0:a8:0d:ef")), 201)
      assert.equal("G", array:create_host(NAME, { ab }).id)
    end)

    it("and read again when the answer holds no record", function()
      posts("iscsi", "iqn.adapter1"):reply(nil, 201, { location = IGROUPS .. "/G" })
      sees("iscsi", group("iscsi", members "iqn.adapter1"))
      assert.same(host(), array:create_host(NAME, { A }))
    end)

    it("and not believed when it lacks an initiator then, or is not there", function()
      for _, found in ipairs { { group("iscsi", members "iqn.adapter1") }, {} } do
        posts("iscsi", "iqn.adapter1", "iqn.adapter2"):reply(nil, 201)
        sees("iscsi", table.unpack(found))
        local why = raised(array.create_host, array, NAME, { A, B })
        assert.equal("protocol", why.kind)
        assert.matches("not listed with its initiators in SVM svm0", tostring(why))
      end
    end)

    it("in a job that is waited for", function()
      posts("iscsi", "iqn.adapter1"):reply({ job = { uuid = "J" } }, 202)
      local query = { fields = "state,message,code,error" }
      wire:expect("GET", "/api/cluster/jobs/J", query):reply { state = "running" }
      wire:expect("GET", "/api/cluster/jobs/J", query):reply { state = "success" }
      sees("iscsi", group("iscsi", members "iqn.adapter1"))
      assert.equal("G", array:create_host(NAME, { A }).id)
      assert.equal(1, #site.naps)
    end)

    it("not by a job that fails, and ONTAP's reason is told", function()
      posts("iscsi", "iqn.adapter1"):reply({ job = { uuid = "J" } }, 202)
      wire:expect("GET", "/api/cluster/jobs/J"):reply { state = "failure", message = "peer is down", code = 77 }
      local why = raised(array.create_host, array, NAME, { A })
      assert.equal("failed", why.kind)
      assert.matches("ONTAP says: peer is down %(code 77%)", tostring(why))
    end)

    it("perhaps, when its job cannot be asked for", function()
      posts("iscsi", "iqn.adapter1"):reply({ job = { uuid = "J" } }, 202)
      wire:expect("GET", "/api/cluster/jobs/J"):vanish "unreachable"
      assert.is_true(raised(array.create_host, array, NAME, { A }).unanswered)
    end)
  end)

  describe("is not created", function()
    it("when one of that name is there", function()
      posts("iscsi", "iqn.adapter1"):refuse(409, refusal("5374023", "exists"))
      assert.equal("conflict", raised(array.create_host, array, NAME, { A }).kind)
    end)

    it("when another igroup has the initiator under another OS type", function()
      posts("iscsi", "iqn.adapter1"):refuse(400, refusal("5374734", "different OS type", "name"))
      local why = raised(array.create_host, array, NAME, { A })
      assert.equal("conflict", why.kind)
      assert.matches("of iqn.adapter1 %(vmhba64%).*ONTAP says: .*5374734, at name", tostring(why))
      assert.matches("OS type vmware", why.hint)
    end)

    it("when a new igroup is refused: igroup, initiators and SVM are named", function()
      posts("iscsi", "iqn.adapter1", "iqn.adapter2"):refuse(400, refusal("5374039", "bad name", "initiators.name"))
      local why = raised(array.create_host, array, NAME, { A, B })
      assert.equal("config", why.kind)
      assert.matches(
        "make igroup xcopy.*%-iscsi of iqn.adapter1 %(vmhba64%), iqn.adapter2 %(vmhba65%) in SVM svm0: ONTAP",
        tostring(why)
      )
    end)

    it("for certain, when ONTAP is away", function()
      posts("iscsi", "iqn.adapter1"):vanish("timeout", { unanswered = true })
      local why = raised(array.create_host, array, NAME, { A })
      assert.equal("timeout", why.kind)
      assert.is_true(why.unanswered)
    end)
  end)

  describe("is removed", function()
    local function mapped(...)
      wire:expect("GET", MAPS, { ["svm.uuid"] = S, ["igroup.uuid"] = "G", fields = "lun,igroup" }):reply(list(...))
    end

    it("when nothing is mapped to it", function()
      mapped()
      wire:expect("DELETE", IGROUPS .. "/G", {})
      assert.equal("removed", array:remove_host(host()))
    end)

    it("not while another LUN is mapped to it", function()
      mapped { lun = { uuid = "L2" }, igroup = { uuid = "G" } }
      assert.equal("in use", array:remove_host(host()))
    end)

    it("by whoever was first", function()
      mapped()
      wire:expect("DELETE", IGROUPS .. "/G"):refuse(404, refusal("5374852", "igroup does not exist"))
      assert.equal("removed", array:remove_host(host()))
    end)

    it("not when another run maps to it at that moment", function()
      mapped()
      wire:expect("DELETE", IGROUPS .. "/G"):refuse(409, refusal("1254213", "mapped"))
      mapped { lun = { uuid = "L2" }, igroup = { uuid = "G" } }
      assert.equal("in use", array:remove_host(host()))
    end)

    it("not when ONTAP refuses, and it is named", function()
      mapped()
      wire:expect("DELETE", IGROUPS .. "/G"):refuse(409, refusal("99", "no"))
      mapped()
      assert.matches("remove igroup xcopy", tostring(raised(array.remove_host, array, host())))
    end)
  end)
end)

describe("ontap maps", function()
  before_each(start)
  after_each(stop)

  local QUERY = { ["svm.uuid"] = S, ["lun.name"] = "/vol/v/lun0", fields = "svm,lun,igroup,logical_unit_number" }

  local function map_record(uuid, name, number, lun_uuid)
    return {
      svm = ontap_site.SVM,
      lun = { uuid = lun_uuid or "L", name = "/vol/v/lun0" },
      igroup = { uuid = uuid, name = name },
      logical_unit_number = number,
    }
  end

  local function sees(...) wire:expect("GET", MAPS, QUERY):reply(list(...)) end

  local function posts()
    return wire:expect(
      "POST",
      MAPS,
      { return_records = true },
      { svm = { uuid = S }, lun = { uuid = "L" }, igroup = { uuid = "G" } }
    )
  end

  local worker = map_record("W", "node1-f1e2", 0)
  local ours = map_record("G", NAME .. "-iscsi", 3)

  it("lists who sees the LUN, each fit to be mapped again", function()
    sees(worker, ours)
    assert.same(
      { { id = "W", name = "node1-f1e2", number = 0 }, { id = "G", name = NAME .. "-iscsi", number = 3 } },
      array:maps_of(lun())
    )
    sees()
    wire
      :expect("POST", MAPS, nil, { svm = { uuid = S }, lun = { uuid = "L" }, igroup = { uuid = "W" } })
      :reply(list(map_record("W", "node1-f1e2", 0)), 201)
    assert.equal("made", (array:map(lun(), { id = "W", name = "node1-f1e2", number = 0 })))
  end)

  it("follows the pages of the list, as they are linked", function()
    local href = "/api/protocols/san/lun-maps?start.lun.uuid=L&max_records=1"
    local page = list(worker)
    page._links = { next = { href = href } }
    wire:expect("GET", MAPS, QUERY):reply(page)
    wire:expect("GET", href, {}):reply(list(ours))
    local maps = array:maps_of(lun())
    assert.equal("node1-f1e2", maps[1].name)
    assert.equal(NAME .. "-iscsi", maps[2].name)
  end)

  it("asks for its own SVM, and takes no other LUN of that path", function()
    sees(worker, map_record("X", "foreign", 1, "L-of-another-svm"))
    assert.same({ { id = "W", name = "node1-f1e2", number = 0 } }, array:maps_of(lun()))
  end)

  it("makes the map, and the LUN comes back with its number", function()
    sees(worker)
    posts():reply(list { logical_unit_number = 3 }, 201)
    local outcome, mapped = array:map(lun(), host())
    assert.equal("made", outcome)
    assert.equal(3, mapped.number)
    assert.equal("naa.x", mapped.naa)
  end)

  it("reads the number when the answer lacks it", function()
    sees()
    posts():reply(nil, 201)
    sees(ours)
    local outcome, mapped = array:map(lun(), host())
    assert.equal("made", outcome)
    assert.equal(3, mapped.number)
  end)

  it("leaves a map that is there", function()
    sees(worker, ours)
    local outcome, mapped = array:map(lun(), host())
    assert.equal("existing", outcome)
    assert.equal(3, mapped.number)
  end)

  it("treats a map that another run just made as existing", function()
    sees(worker)
    posts():refuse(409, refusal("1254207", "already mapped"))
    sees(worker, ours)
    local outcome, mapped = array:map(lun(), host())
    assert.equal("existing", outcome)
    assert.equal(3, mapped.number)
  end)

  it("says when the igroup is not in the SVM", function()
    for _, answer in ipairs {
      { 400, refusal("5374878", "no igroup") },
      { 404, refusal("5", "No such initiator group exists", "igroup.uuid") },
    } do
      sees(worker)
      posts():refuse(answer[1], answer[2])
      local why = raised(array.map, array, lun(), host())
      assert.equal("not_found", why.kind)
      assert.matches("igroup xcopy%-hostsystem%-host%-12%-iscsi is not in SVM svm0", tostring(why))
      assert.matches("check ONTAP_SVM", why.hint)
    end
  end)

  local REFUSALS = {
    { "1254193", "conflict", "igroup" },
    { "1254324", "conflict", "LUN number" },
    { "1254201", "not_found", nil },
    { "5374329", "unsupported", "vVol" },
    { "5374053", "busy", "restore" },
    { "5374316", "busy", "LUN move" },
    { "5374573", "config", "interface of that protocol" },
    { "5374584", "config", "interface of that protocol" },
    { "5374875", "not_found", "ONTAP_SVM" },
    { "2621462", "config", "ONTAP_SVM" },
    { "2621706", "config", "ONTAP_SVM" },
    { "2621707", "config", "ONTAP_SVM" },
    { "5373966", "unsupported", "NVMe" },
    { "3", "unsupported", "9.6" },
    { "5374572", "failed", nil },
    { "5374585", "failed", nil },
  }
  for _, case in ipairs(REFUSALS) do
    it(("refused with code %s is %s, and names LUN, igroup, SVM and maps"):format(case[1], case[2]), function()
      sees(worker)
      posts():refuse(400, refusal(case[1], "words"))
      local why = raised(array.map, array, lun(), host())
      assert.equal(case[2], why.kind)
      assert.matches(
        "map LUN /vol/v/lun0 to igroup xcopy.*%-iscsi in SVM svm0 %(iscsi%), mapped now to node1%-f1e2: ONTAP says: words",
        tostring(why)
      )
      assert.truthy(tostring(why):find("code " .. case[1], 1, true))
      if case[3] then
        assert.matches(case[3], why.hint)
      else
        assert.is_nil(why.hint)
      end
      assert.equal(case[2] == "busy" or nil, why.refused)
    end)
  end

  local function held(...)
    local query = { ["svm.uuid"] = S, ["igroup.uuid"] = "G", fields = "lun,igroup" }
    wire:expect("GET", MAPS, query):reply(list(...))
  end

  local function reads(uuid, ...)
    local query = { ["svm.uuid"] = S, uuid = uuid, fields = "serial_number,space.size,class,status.state" }
    wire:expect("GET", "/api/storage/luns", query):reply(list(...))
  end

  it("lists what an igroup sees, each fit to be unmapped", function()
    held({ lun = { uuid = "L" }, igroup = { uuid = "G" } }, { lun = { uuid = "gone" }, igroup = { uuid = "G" } })
    reads("L", { uuid = "L", name = "/vol/v/lun0", serial_number = "ZlAFA?QMnBdX", space = { size = 1 } })
    reads "gone"
    local luns = array:luns_of(host())
    assert.equal(1, #luns)
    assert.same({ "L", "/vol/v/lun0", 1 }, { luns[1].id, luns[1].name, luns[1].size_bytes })
    assert.equal("naa.600a09805a6c4146413f514d6e426458", luns[1].naa)
    sees(ours)
    wire:expect("DELETE", MAPS .. "/L/G", {})
    assert.is_true(array:unmap(luns[1], host()))
    held()
    assert.same({}, array:luns_of(host()))
  end)

  it("leaves unanswered what was not answered", function()
    sees()
    posts():vanish("timeout", { unanswered = true })
    assert.is_true(raised(array.map, array, lun(), host()).unanswered)
  end)

  it("takes no code of a 503 or 504 for a verdict", function()
    sees(ours)
    wire:expect("DELETE", MAPS .. "/L/G"):refuse(503, refusal("4", "later"))
    local why = raised(array.unmap, array, lun(), host())
    assert.equal("busy", why.kind)
    assert.is_true(why.refused)
    sees(ours)
    wire:expect("DELETE", MAPS .. "/L/G"):refuse(504, refusal("4", "later"))
    assert.is_true(raised(array.unmap, array, lun(), host()).unanswered)
  end)

  it("removes the map", function()
    sees(worker, ours)
    wire:expect("DELETE", MAPS .. "/L/G", {})
    assert.is_true(array:unmap(lun(), host()))
  end)

  it("does nothing when there is none to remove", function()
    sees(worker)
    assert.is_true(array:unmap(lun(), host()))
  end)

  it("treats a map, LUN or igroup that just went as removed", function()
    for _, code in ipairs { "5374922", "5374875", "5374878", "4" } do
      sees(ours)
      wire:expect("DELETE", MAPS .. "/L/G"):refuse(code == "5374875" and 400 or 404, refusal(code, "gone"))
      assert.is_true(array:unmap(lun(), host()))
    end
  end)

  it("tells with names when it cannot remove one", function()
    sees(ours)
    wire:expect("DELETE", MAPS .. "/L/G"):refuse(500, refusal("1", "internal"))
    local why = raised(array.unmap, array, lun(), host())
    assert.equal("failed", why.kind)
    assert.matches("unmap LUN /vol/v/lun0 from igroup xcopy.*: ONTAP says: internal %(code 1%)", tostring(why))
  end)
end)
