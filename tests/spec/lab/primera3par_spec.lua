local fakes <const> = require "support.fakes"
fakes.install()

local fabric <const> = require "lab.fabric"
local primera3par <const> = require "lab.primera3par"

local ESX <const> = { { name = "esx1", initiators = { "21000024ff123456", "iqn.1998-01.com.vmware:esx1" } } }

describe("the simulated 3PAR", function()
  local array, site, key

  local function ask(method, path, json, args)
    local answer <const> = array:handle {
      method = method,
      path = path,
      query = "",
      args = args or {},
      headers = { ["x-hp3par-wsapi-sessionkey"] = key },
      body = json and fakes.json.encode(json) or "",
      peer = "127.0.0.1",
    }
    return answer.body ~= "" and fakes.json.decode(answer.body) or nil, answer.status, answer.headers
  end

  local function login(user)
    local body <const> = { user = user or "3paradm", password = "p" }
    local answer <const>, status <const> = ask("POST", "/api/v1/credentials", body)
    key = answer.key
    return status
  end

  local function start(options)
    site = fabric.new()
    local all <const> =
      { fabric = site, username = "3paradm", password = "p", users = { eve = { password = "p", role = "browse" } } }
    for name, value in pairs(options or {}) do
      all[name] = value
    end
    array = primera3par.new(all)
    for _, name in ipairs { "v1", "v2" } do
      array:provision { name = name, size_bytes = 1 << 20, file = "/tmp/" .. name }
    end
    login()
  end

  -- Status and code of what must be refused.
  local function refused(status, code, ...)
    local answer <const>, found <const> = ask(...)
    assert.same({ status, code }, { found, answer and answer.code })
    assert.equal("string", type(answer.desc))
  end

  before_each(start)

  it("answers about itself to anybody, and else to sessions alone", function()
    key = nil
    assert.equal(30301215, ask("GET", "/api").build)
    refused(403, 6, "GET", "/api/v1/system")
    refused(403, 5, "POST", "/api/v1/credentials", { user = "3paradm", password = "x" })
    assert.equal(201, login())
    assert.equal(200, select(2, ask("GET", "/api/v1/system")))
    assert.equal(200, select(2, ask("DELETE", "/api/v1/credentials/" .. key)))
    refused(403, 6, "GET", "/api/v1/system")
  end)

  it("ends sessions that are idle", function()
    start { idle_s = 0 }
    refused(403, 6, "GET", "/api/v1/volumes")
  end)

  it("lets those who may only look do nothing else", function()
    login "eve"
    assert.equal(200, select(2, ask("GET", "/api/v1/hosts")))
    refused(403, 13, "POST", "/api/v1/hosts", { name = "h" })
    assert.equal(200, select(2, ask("DELETE", "/api/v1/credentials/" .. key)))
  end)

  it("knows no other paths, methods and words", function()
    refused(404, 11, "GET", "/api/v1/volumez")
    refused(404, 11, "GET", "/rest/x")
    refused(501, 9, "DELETE", "/api/v1/system")
    refused(400, 12, "GET", "/api/v1/volumes", nil, { query = "wwn EQ 1" })
    refused(400, 12, "GET", "/api/v1/volumes", nil, { query = '"wwn LIKE 1"' })
    refused(400, 12, "POST", "/api/v1/volumes/v1", { action = "promote" })
  end)

  it("filters exactly, and where it is too old for that tells all", function()
    array:show("prod", {}, { "v1", "v2" }, ESX)
    local wanted <const> = { query = '"volumeName EQ v2"' }
    assert.equal(3, ask("GET", "/api/v1/vluns", nil, wanted).total)
    assert.equal(0, ask("GET", "/api/v1/vluns", nil, { query = '"volumeName EQ V2"' }).total)
    array.build = 30201291
    assert.equal(6, ask("GET", "/api/v1/vluns", nil, wanted).total)
  end)

  it("shows a volume on the fabric to the hosts in a set, as they come and go", function()
    array:show("prod", {}, {}, ESX)
    assert.equal(201, select(2, ask("POST", "/api/v1/hostsets", { name = "new" })))
    local body <const> = { volumeName = "v1", lun = 3, hostname = "set:new", autoLun = true }
    local _, status <const>, headers <const> = ask("POST", "/api/v1/vluns", body)
    assert.same({ 201, "/api/v1/vluns/v1,3,set:new" }, { status, headers.Location })
    assert.same({}, site:seen_by { "21:00:00:24:ff:12:34:56" })
    ask("PUT", "/api/v1/hostsets/new", { action = 1, setmembers = { "esx1" } })
    assert.equal(3, site:seen_by({ "21:00:00:24:ff:12:34:56" })[1].number)
    assert.equal(200, select(2, ask("DELETE", "/api/v1/vluns/v1%2C3%2Cset%3Anew")))
    assert.same({}, site:seen_by { "21:00:00:24:ff:12:34:56" })
  end)

  it("is as fussy about LUN numbers as each of its models", function()
    array:show("prod", {}, { "v1" }, ESX) -- LUN 0
    local function export(fields)
      fields.volumeName, fields.hostname = "v2", "esx1"
      return select(2, ask("POST", "/api/v1/vluns", fields))
    end
    assert.equal(400, export { autoLun = true })
    assert.equal(409, export { autoLun = true, lun = 0 })
    assert.equal(201, export { lun = 4 })
    ask("DELETE", "/api/v1/vluns/v2,4,esx1")
    array.build = 40000128
    assert.equal(400, export { lun = 4 })
    assert.equal(201, export { autoLun = true, lun = 4 })
  end)

  it("refuses a copy for want of a snapshot's space, unless pools have that", function()
    local body <const> = { action = "createPhysicalCopy", parameters = { destVolume = "v2", online = false } }
    array.volumes[1].snap_cpg = nil
    local answer <const>, status <const> = ask("POST", "/api/v1/volumes/v1", body)
    assert.equal(403, status)
    assert.matches("snapshots", answer.desc)
    body.parameters.destCPG = "cpg"
    refused(400, 12, "POST", "/api/v1/volumes/v1", body)
    start { build = 100000000, copier = { settings = { hang_at = 0 } } }
    body.parameters.destCPG = nil
    local task <const> = ask("POST", "/api/v1/volumes/v1", body).taskid
    local found <const> = ask("GET", "/api/v1/tasks/" .. task)
    assert.same({ 2, "v1->v2", 400 }, { found.status, found.name, found.totalSteps })
    assert.equal(200, select(2, ask("PUT", "/api/v1/volumes/v2", { action = 1 })))
    assert.equal(3, ask("GET", "/api/v1/tasks/" .. task).status)
    assert.equal(404, select(2, ask("PUT", "/api/v1/volumes/v2", { action = 1 })))
    refused(400, 12, "GET", "/api/v1/tasks/x")
  end)
end)
