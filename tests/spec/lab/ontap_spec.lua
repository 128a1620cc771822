local fakes <const> = require "support.fakes"
fakes.install()

local fabric <const> = require "lab.fabric"
local ontap <const> = require "lab.ontap"

local PATH <const> = "/vol/trident_pvc_1/lun0"
local ESX <const> = "iqn.1998-01.com.vmware:esx1-52d1"
local LUNS <const>, IGROUPS <const>, MAPS <const> =
  "/api/storage/luns", "/api/protocols/san/igroups", "/api/protocols/san/lun-maps"

describe("the simulated ONTAP", function()
  local array, site, lun

  local function ask(method, path, options)
    local given <const> = options or {}
    local parts <const> = {}
    for name, value in pairs(given.query or {}) do
      parts[#parts + 1] = fakes.codec.percent(name) .. "=" .. fakes.codec.percent(tostring(value))
    end
    local headers <const> = {
      authorization = given.auth or ("Basic " .. fakes.codec.base64 "admin:gehëim:1"),
      accept = given.accept or "application/json",
      ["x-dot-svm-name"] = given.tunnel,
    }
    local answer <const> = array:handle {
      method = method,
      path = path,
      query = given.raw_query or table.concat(parts, "&"),
      args = {},
      headers = headers,
      body = given.json and fakes.json.encode(given.json) or given.body or "",
      peer = "127.0.0.1",
    }
    return fakes.json.decode(answer.body), answer.status, answer.headers
  end

  local function svm_uuid(name) return ask("GET", "/api/svm/svms", { query = { name = name } }).records[1].uuid end

  local function make_igroup(body)
    body.os_type = body.os_type or "vmware"
    body.svm = body.svm or { name = "svm0" }
    local answer <const>, status <const> = ask("POST", IGROUPS, { query = { return_records = true }, json = body })
    return answer.records and answer.records[1] or answer.error, status
  end

  local function map(igroup, to)
    local body <const> = { svm = { name = "svm0" }, lun = { uuid = (to or lun).uuid }, igroup = { uuid = igroup.uuid } }
    local answer <const>, status <const> = ask("POST", MAPS, { query = { return_records = true }, json = body })
    return answer.records and answer.records[1] or answer.error, status
  end

  before_each(function()
    site = fabric.new()
    array = ontap.new {
      fabric = site,
      username = "admin",
      password = "gehëim:1",
      users = { vsadmin = { password = "v", svm = "svm0" } },
      shadow_svm = "svm1",
    }
    lun = array:add_volume {
      svm = "svm0",
      path = PATH,
      size_bytes = 10737418240,
      file = "/tmp/a",
      serial = "819TI$X101LA",
      nodes = { "node1", "node2" },
    }
  end)

  describe("as a door", function()
    it("answers 401 to a wrong password, with a string code", function()
      local answer <const>, status <const>, headers <const> = ask("GET", "/api/cluster", { auth = "Basic eDp5" })
      assert.equal(401, status)
      assert.equal("string", type(answer.error.code))
      assert.truthy(headers["www-authenticate"])
    end)

    it("takes UTF-8 passwords with colons", function() assert.equal(200, select(2, ask("GET", "/api/cluster"))) end)

    it("tells name, uuid and version of the cluster", function()
      local answer <const> = ask("GET", "/api/cluster", { query = { fields = "version" } })
      assert.equal("c1", answer.name)
      assert.equal(9, answer.version.generation)
    end)

    it(
      "puts up with doubled and trailing slashes",
      function() assert.equal(200, select(2, ask("GET", "/api//cluster/"))) end
    )

    it("knows no other paths and no other methods", function()
      assert.equal(404, select(2, ask("GET", "/api/storage/volumez")))
      assert.equal(405, select(2, ask("PUT", "/api/cluster")))
    end)

    it("shows one SVM to an account of that SVM", function()
      local auth <const> = "Basic " .. fakes.codec.base64 "vsadmin:v"
      local answer <const> = ask("GET", "/api/svm/svms", { auth = auth })
      assert.equal(1, answer.num_records)
      assert.equal("svm0", answer.records[1].name)
      assert.equal(1, ask("GET", LUNS, { auth = auth }).num_records)
    end)
  end)

  describe("as a reader", function()
    it("returns an empty list, not 404, for what is not there", function()
      local answer <const>, status <const> = ask("GET", LUNS, { query = { name = "/vol/none/lun0" } })
      assert.equal(200, status)
      assert.same({ records = {}, num_records = 0 }, answer)
    end)

    it("holds a LUN of the same path in another SVM", function()
      assert.equal(2, ask("GET", LUNS, { query = { name = PATH } }).num_records)
      local scoped <const> = ask("GET", LUNS, { query = { name = PATH, ["svm.uuid"] = svm_uuid "svm0" } })
      assert.equal(1, scoped.num_records)
      assert.equal(lun.uuid, scoped.records[1].uuid)
      assert.equal(1, ask("GET", LUNS, { query = { name = PATH }, tunnel = "svm1" }).num_records)
    end)

    it("shows keys always and other fields only when they are named", function()
      local query <const> = { name = PATH, ["svm.name"] = "svm0" }
      local record = ask("GET", LUNS, { query = query }).records[1]
      assert.same({ uuid = lun.uuid, name = PATH, svm = { uuid = svm_uuid "svm0", name = "svm0" } }, record)
      query.fields = "serial_number,space.size"
      record = ask("GET", LUNS, { query = query }).records[1]
      assert.equal("819TI$X101LA", record.serial_number)
      assert.same({ size = 10737418240 }, record.space)
      assert.is_nil(record.status)
    end)

    it("keeps expensive fields back until they are named", function()
      assert.is_nil(ask("GET", LUNS .. "/" .. lun.uuid).lun_maps)
      assert.is_nil(ask("GET", LUNS .. "/" .. lun.uuid, { query = { fields = "*" } }).lun_maps)
      assert.equal(2, #ask("GET", LUNS .. "/" .. lun.uuid, { query = { fields = "lun_maps" } }).lun_maps)
    end)

    it("leaves initiators out where there are none", function()
      local igroup <const> = make_igroup { name = "empty", protocol = "iscsi" }
      assert.is_nil(ask("GET", IGROUPS .. "/" .. igroup.uuid, { query = { fields = "initiators" } }).initiators)
    end)

    it("refuses fields and filters that it does not know, and passes over old hyphens", function()
      assert.equal(400, select(2, ask("GET", LUNS, { query = { fields = "serial" } })))
      assert.equal(400, select(2, ask("GET", LUNS, { query = { serial = "x" } })))
      local answer <const>, status <const> = ask("GET", MAPS, { query = { fields = "logical-unit-number" } })
      assert.equal(200, status)
      assert.is_nil(answer.records[1].logical_unit_number)
    end)

    it("takes patterns, alternatives and literal special characters", function()
      local query <const> = { ["svm.name"] = "svm0", name = "node1-*|node2-*" }
      assert.equal(2, ask("GET", IGROUPS, { query = query }).num_records)
      query.name = "node?-*"
      assert.equal(0, ask("GET", IGROUPS, { query = query }).num_records)
      assert.equal(1, ask("GET", LUNS, { query = { serial_number = "819TI$X101LA" } }).num_records)
    end)

    it("finds groups by their initiators", function()
      local query <const> = { ["initiators.name"] = "iqn.1994-05.com.redhat:node1,iqn.none", fields = "os_type" }
      local answer <const> = ask("GET", IGROUPS, { query = query })
      assert.equal(1, answer.num_records)
      assert.equal("linux", answer.records[1].os_type)
    end)

    it("pages, and its next links lead through all records once", function()
      local seen <const>, pages = {}, 0
      local path, raw_query = MAPS, "max_records=1&fields=logical_unit_number&lun.name=" .. fakes.codec.percent(PATH)
      repeat
        local answer <const> = ask("GET", path, { raw_query = raw_query })
        pages = pages + 1
        for _, record in ipairs(answer.records) do
          assert.is_nil(seen[record.igroup.name])
          seen[record.igroup.name] = record.logical_unit_number
        end
        local href <const> = answer._links and answer._links.next.href
        path, raw_query = (href or ""):match "^([^?]+)%?(.*)$"
      until not href
      assert.equal(2, pages)
      assert.equal(0, seen["node1-0a1b2c3d-4e5f-4061-8293-a4b5c6d7e8f9"])
    end)

    it("adds links unless plain JSON was asked for", function()
      local record <const> =
        ask("GET", LUNS, { accept = "*/*", query = { name = PATH, ["svm.name"] = "svm0" } }).records[1]
      assert.equal(LUNS .. "/" .. lun.uuid, record._links.self.href)
      assert.truthy(record.svm._links.self.href)
    end)

    it("tells its target ports", function()
      local iscsi <const> =
        ask("GET", "/api/protocols/san/iscsi/services", { query = { fields = "target" }, tunnel = "svm0" })
      assert.matches("^iqn%.1992%-08%.com%.netapp:sn%.", iscsi.records[1].target.name)
      local fc <const> =
        ask("GET", "/api/network/fc/interfaces", { query = { fields = "wwpn", ["svm.name"] = "svm0" } })
      assert.equal(2, fc.num_records)
      assert.matches("^%x%x:%x%x:%x%x:%x%x:%x%x:%x%x:%x%x:%x%x$", fc.records[1].wwpn)
      local ports <const> = site:find(lun.naa).target_ports
      assert.equal(iscsi.records[1].target.name, ports[1].id)
    end)
  end)

  describe("with initiator groups", function()
    it("creates and fills one in a call, and says where it is", function()
      local body <const> =
        { name = "g", os_type = "vmware", protocol = "iscsi", svm = { name = "svm0" }, initiators = { { name = ESX } } }
      local answer <const>, status <const>, headers <const> = ask("POST", IGROUPS, { json = body })
      assert.equal(201, status)
      assert.same({ num_records = 1 }, answer)
      local found <const> = ask("GET", headers.location)
      assert.equal("g", found.name)
      assert.same({ { name = ESX } }, found.initiators)
    end)

    it("refuses a name twice in one SVM, not in two", function()
      make_igroup { name = "g" }
      local why <const>, status <const> = make_igroup { name = "g" }
      assert.same({ 409, "5374023" }, { status, why.code })
      assert.equal(201, select(2, make_igroup { name = "g", svm = { name = "svm1" } }))
    end)

    it("wants an SVM, a known one, and no fields of its own invention", function()
      assert.equal("2621707", ask("POST", IGROUPS, { json = { name = "g", os_type = "vmware" } }).error.code)
      assert.equal("2621462", make_igroup({ name = "g", svm = { name = "nope" } }).code)
      assert.equal("262179", make_igroup({ name = "g", colour = "red" }).code)
      assert.equal(201, select(2, ask("POST", IGROUPS, { tunnel = "svm0", json = { name = "g", os_type = "vmware" } })))
    end)

    it("keeps names in lower case and WWPNs as pairs, and recognises them in any spelling", function()
      local igroup <const> = make_igroup { name = "g", protocol = "fcp" }
      local path <const> = IGROUPS .. "/" .. igroup.uuid .. "/initiators"
      local _, status <const>, headers <const> = ask("POST", path, { json = { name = "21000024FF34CEFD" } })
      assert.equal(201, status)
      assert.equal(path .. "/21:00:00:24:ff:34:ce:fd", headers.location)
      local answer <const>, again <const> = ask("POST", path, { json = { name = "21:00:00:24:FF:34:CE:FD" } })
      assert.same({ 409, "5374035" }, { again, answer.error.code })
      assert.equal(200, select(2, ask("DELETE", path .. "/21:00:00:24:FF:34:CE:FD")))
      assert.equal("5374034", ask("DELETE", path .. "/21:00:00:24:FF:34:CE:FD").error.code)
    end)

    it("refuses malformed names and those of the other protocol, and then adds none", function()
      local igroup <const> = make_igroup { name = "g", protocol = "iscsi" }
      local path <const> = IGROUPS .. "/" .. igroup.uuid .. "/initiators"
      for _, name in ipairs {
        "vmhba2",
        "fc.2000000000000001:2100000000000002",
        "nqn.2014-08.org:x",
        "iqn.bad",
        "21:00:00:24:ff:34:ce:fd",
      } do
        local answer <const>, status <const> =
          ask("POST", path, { json = { records = { { name = ESX }, { name = name } } } })
        assert.same({ 400, "5374039" }, { status, answer.error.code })
      end
      assert.equal(0, ask("GET", path).num_records)
      assert.equal("262186", ask("POST", path, { json = { name = ESX, records = { { name = ESX } } } }).error.code)
    end)

    it("refuses an initiator that another group holds under another system", function()
      make_igroup { name = "a", os_type = "linux", initiators = { { name = ESX } } }
      assert.equal("5374734", make_igroup({ name = "b", initiators = { { name = ESX } } }).code)
    end)

    it("deletes a mapped group only when forced, and its maps with it", function()
      local igroup <const> = make_igroup { name = "g", initiators = { { name = ESX } } }
      map(igroup)
      local answer <const>, status <const> = ask("DELETE", IGROUPS .. "/" .. igroup.uuid)
      assert.same({ 409, "1254213" }, { status, answer.error.code })
      local forced <const> = { query = { allow_delete_while_mapped = "true" } }
      assert.equal(200, select(2, ask("DELETE", IGROUPS .. "/" .. igroup.uuid, forced)))
      assert.same({}, site:seen_by { ESX })
      assert.equal("5374852", ask("DELETE", IGROUPS .. "/" .. igroup.uuid).error.code)
    end)
  end)

  describe("with maps", function()
    it("shows the LUN to the host under the lowest free number", function()
      local made <const>, status <const> = map((make_igroup { name = "g", initiators = { { name = ESX } } }))
      assert.equal(201, status)
      assert.equal(0, made.logical_unit_number)
      local seen <const> = site:seen_by { ESX:upper() }
      assert.equal(lun.naa, seen[1].lun.naa)
      assert.equal("naa.600a0980383139544924583130314c41", lun.naa)
    end)

    it("gives an initiator no number twice, whatever group it comes through", function()
      local second <const> = array:add_volume { svm = "svm0", path = "/vol/b/lun0", size_bytes = 4096, file = "/tmp/b" }
      map((make_igroup { name = "a", initiators = { { name = ESX } } }))
      local made <const> = map(make_igroup { name = "b", initiators = { { name = ESX } } }, second)
      assert.equal(1, made.logical_unit_number)
    end)

    it("refuses a map that exists, and one that shows a LUN twice", function()
      local igroup <const> = make_igroup { name = "a", initiators = { { name = ESX } } }
      map(igroup)
      assert.equal("1254207", map(igroup).code)
      local other <const> = make_igroup { name = "b", initiators = { { name = ESX } } }
      assert.equal("1254193", map(other).code)
      local empty <const> = make_igroup { name = "c" }
      map(empty)
      local path <const> = IGROUPS .. "/" .. empty.uuid .. "/initiators"
      assert.equal("1254193", ask("POST", path, { json = { name = ESX } }).error.code)
    end)

    it("refuses LUN and group of two SVMs, and LUNs for virtual volumes", function()
      local foreign <const> = make_igroup { name = "g", svm = { name = "svm1" } }
      local why <const>, status <const> = map(foreign)
      assert.same({ 404, "5374878", "igroup.uuid" }, { status, why.code, why.target })
      local vvol <const> =
        array:add_volume { svm = "svm0", path = "/vol/v/l", size_bytes = 1, file = "/tmp/v", class = "vvol" }
      assert.equal("5374329", map(make_igroup { name = "h" }, vvol).code)
    end)

    it("removes one, and says 5374922 when it is gone", function()
      local igroup <const> = make_igroup { name = "g", initiators = { { name = ESX } } }
      map(igroup)
      local path <const> = MAPS .. "/" .. lun.uuid .. "/" .. igroup.uuid
      assert.equal(200, select(2, ask("GET", path)))
      assert.equal(200, select(2, ask("DELETE", path)))
      assert.same({}, site:seen_by { ESX })
      local answer <const>, status <const> = ask("DELETE", path)
      assert.same({ 404, "5374922" }, { status, answer.error.code })
      assert.equal("5374875", ask("DELETE", MAPS .. "/nope/" .. igroup.uuid).error.code)
    end)

    it("follows initiators that join or leave a mapped group", function()
      local igroup <const> = make_igroup { name = "g" }
      map(igroup)
      local path <const> = IGROUPS .. "/" .. igroup.uuid .. "/initiators"
      ask("POST", path, { json = { name = ESX } })
      assert.equal(1, #site:seen_by { ESX })
      assert.equal("1254213", ask("DELETE", path .. "/" .. ESX).error.code)
      ask("DELETE", path .. "/" .. ESX, { query = { allow_delete_while_mapped = true } })
      assert.same({}, site:seen_by { ESX })
    end)

    it("holds what the site maps by hand", function()
      array:add_igroup { svm = "svm0", name = "esx", os_type = "vmware", initiators = { ESX }, luns = { lun.uuid } }
      assert.equal(lun.naa, site:seen_by({ ESX })[1].lun.naa)
    end)

    it("tells the control door who sees what", function()
      local state <const> = array:state()
      assert.equal(PATH, state.luns[1].path)
      assert.equal(2, #state.luns[1].maps)
      assert.same({ "iqn.1994-05.com.redhat:node1" }, state.luns[1].maps[1].initiators)
    end)
  end)
end)
