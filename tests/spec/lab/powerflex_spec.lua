local fakes <const> = require "support.fakes"
fakes.install()

local fabric <const> = require "lab.fabric"
local powerflex <const> = require "lab.powerflex"

local GUID <const>, WORKER <const> = "9E56672F-2F4B-4A42-BFF4-88B6846FBFDA", "2C5D0E41-0000-4000-8000-000000000001"
local VOLUMES <const> = "/api/types/Volume/instances"

describe("the simulated PowerFlex", function()
  local array, site, volume, sdc, auth

  local function ask(method, path, body, headers)
    local answer <const> = array:handle {
      method = method,
      path = path,
      query = "",
      args = {},
      headers = headers or { authorization = auth },
      body = body and fakes.json.encode(body) or "",
      peer = "127.0.0.1",
    }
    local is_json <const> = answer.headers["Content-Type"]:find "json"
    return is_json and answer.body ~= "" and fakes.json.decode(answer.body) or answer.body, answer.status
  end

  local function basic(user, password) return "Basic " .. fakes.codec.base64(user .. ":" .. password) end

  local function start(options)
    options.fabric, options.username, options.password = site, "admin", "gehëim:1"
    options.workers = options.workers or {}
    array = powerflex.new(options)
    sdc = array:add_sdc { guid = GUID }
    volume = array:provision { name = "pvc-1", pv = "pvc-1", size_bytes = 1 << 30, file = "/tmp/a" }
    local token <const> = ask("GET", "/api/login", nil, { authorization = basic("admin", "gehëim:1") })
    auth = array.major < 4 and basic("", token) or "Bearer " .. token
  end

  before_each(function()
    site = fabric.new()
    start {}
  end)

  local function act(action, body)
    return ask("POST", ("/api/instances/Volume::%s/action/%s"):format(volume.id, action), body)
  end

  local function code(answer, status) return { status, answer.errorCode } end

  describe("as a door", function()
    it("takes the token with any user before 4.0, and no bearer", function()
      local token <const> = fakes.codec.unbase64(auth:match "%S+$"):sub(2)
      assert.equal(200, select(2, ask("GET", VOLUMES, nil, { authorization = basic("someone", token) })))
      assert.equal(401, select(2, ask("GET", VOLUMES, nil, { authorization = "Bearer " .. token })))
      assert.equal(401, select(2, ask("GET", VOLUMES, nil, {})))
    end)

    it("takes a bearer since 4.0, and Basic for the version alone", function()
      start { version = "4.5.0" }
      local old <const> = { authorization = basic("", auth:match "%S+$") }
      assert.equal(200, select(2, ask("GET", VOLUMES)))
      assert.equal("4.5.0", ask("GET", "/api/version", nil, old))
      local answer <const>, status <const> = ask("GET", VOLUMES, nil, old)
      assert.equal(401, status)
      assert.matches("<html>", answer)
    end)

    it("ends sessions by logout, by the clock, and by the lab", function()
      array.idle_s = -1
      assert.equal(401, select(2, ask("GET", VOLUMES)))
      start {}
      assert.equal(200, select(2, ask("GET", "/api/logout")))
      assert.equal(401, select(2, ask("GET", VOLUMES)))
      start {}
      array:expire()
      assert.equal(401, select(2, ask("GET", VOLUMES)))
    end)

    it("has the login of PowerFlex Manager, with a logout of its own", function()
      start { version = "4.5.0", no_gateway_login = false }
      local login <const> = { username = "admin", password = "gehëim:1" }
      local answer <const> = ask("POST", "/rest/auth/login", login, {})
      local headers <const> = { authorization = "Bearer " .. answer.access_token }
      assert.equal(200, select(2, ask("GET", VOLUMES, nil, headers)))
      local body <const> = { refresh_token = answer.refresh_token }
      assert.equal(204, select(2, ask("POST", "/rest/auth/logout", body, headers)))
      assert.equal(401, select(2, ask("GET", VOLUMES, nil, headers)))
      login.password = "x"
      assert.equal(401, select(2, ask("POST", "/rest/auth/login", login, {})))
    end)

    it("knows no other paths: words before 4.0, a page since", function()
      assert.equal("The requested resource is not available", ask("GET", "/api/x").message)
      start { version = "4.5.0" }
      assert.matches("<html>", (ask("GET", "/api/x")))
    end)
  end)

  describe("as a reader", function()
    it("tells volumes by id and by name, and all of them where no id is given", function()
      local found <const> = ask("GET", "/api/instances/Volume::" .. volume.id)
      assert.same({ 1 << 20, nil }, { found.sizeInKb, found.mappedSdcInfo })
      assert.equal(volume.id, ask("POST", VOLUMES .. "/action/queryIdByKey", { name = found.name }))
      assert.equal(1, #ask("GET", "/api/instances/Volume::"))
    end)

    it("answers 500 to what it does not know", function()
      assert.same({ 500, 79 }, code(ask("GET", "/api/instances/Volume::ffffffffffffffff")))
      assert.same({ 500, 79 }, code(ask("POST", VOLUMES .. "/action/queryIdByKey", { name = "x" })))
      assert.same({ 500, 0 }, code(ask("GET", "/api/instances/Volume::xyz")))
      assert.same({ 500, 0 }, code(ask("GET", "/api/instances/System::ffffffffffffffff/relationships/Sdc")))
    end)

    it("lists SDCs, and the volumes of each", function()
      local path <const> = ("/api/instances/System::%s/relationships/Sdc"):format(array.system_id)
      assert.same({ GUID, "Esx" }, { ask("GET", path)[1].sdcGuid, ask("GET", path)[1].osType })
      act("addMappedSdc", { guid = GUID:lower() })
      assert.equal(volume.id, ask("GET", "/api/instances/Sdc::" .. sdc.id .. "/relationships/Volume")[1].id)
    end)
  end)

  describe("as a mapper", function()
    it("shows a volume to an SDC, once, with the codes of its release", function()
      for version, wanted in pairs { ["3.6.0"] = { 81, 84 }, ["4.5.0"] = { 4037, 4039 } } do
        start { version = version }
        assert.equal(200, select(2, act("addMappedSdc", { sdcId = sdc.id })))
        assert.equal(volume.naa, site:seen_by({ GUID })[1].lun.naa)
        assert.same({ 500, wanted[1] }, code(act("addMappedSdc", { sdcId = sdc.id })))
        assert.equal(200, select(2, act("removeMappedSdc", { sdcId = sdc.id })))
        assert.same({ 500, wanted[2] }, code(act("removeMappedSdc", { sdcId = sdc.id })))
        assert.same({}, site:seen_by { GUID })
        site:remove_lun(volume.naa)
      end
    end)

    it("lets a second SDC in only where that is said, in a string", function()
      start { workers = { { guid = WORKER, os = "Linux" } } }
      assert.equal(500, select(2, act("addMappedSdc", { sdcId = sdc.id })))
      assert.equal(400, select(2, act("addMappedSdc", { sdcId = sdc.id, allowMultipleMappings = true })))
      assert.equal(200, select(2, act("addMappedSdc", { sdcId = sdc.id, allowMultipleMappings = "TRUE" })))
      assert.equal(2, #ask("GET", "/api/instances/Volume::" .. volume.id).mappedSdcInfo)
    end)

    it("removes one mapping and keeps the other's limits, or removes all", function()
      start { workers = { { guid = WORKER, os = "Linux" } } }
      act("addMappedSdc", { sdcId = sdc.id, allowMultipleMappings = "true" })
      act("removeMappedSdc", { sdcId = sdc.id })
      local left <const> = ask("GET", "/api/instances/Volume::" .. volume.id).mappedSdcInfo
      assert.same({ 1, 500 }, { #left, left[1].limitIops })
      assert.equal(200, select(2, act("removeMappedSdc", { allSdcs = "" })))
      assert.is_nil(ask("GET", "/api/instances/Volume::" .. volume.id).mappedSdcInfo)
    end)

    it("refuses what names no SDC, two, or one that it does not know", function()
      for _, body in ipairs { {}, { sdcId = sdc.id, guid = GUID }, { sdcId = "ffffffffffffffff" }, { hostId = sdc.id } } do
        assert.is_true(select(2, act("addMappedSdc", body)) >= 400)
      end
      assert.equal(404, select(2, act("addMappedHost", { hostId = sdc.id })))
    end)

    it("tells newer clients in details", function()
      start { version = "4.5.0" }
      local answer <const> = act("addMappedSdc", { sdcId = "ffffffffffffffff" })
      assert.same(
        { "Error with details", "Could not find the SDC" },
        { answer.message, answer.details[1].errorMessage }
      )
    end)
  end)
end)
