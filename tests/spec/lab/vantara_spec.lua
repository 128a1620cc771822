local codec <const> = require "lunalift.codec"
local fabric <const> = require "lab.fabric"
local fs <const> = require "lunalift.fs"
local json <const> = require "lunalift.json"
local probe <const> = require "lunalift.probe"
local process <const> = require "lunalift.process"
local scenario <const> = require "lab.scenario"
local timer <const> = require "lunalift.timer"
local vantara <const> = require "lab.vantara"

local ESX <const>, WWPN <const> = "iqn.1998-01.com.vmware:esx-1", "a1000025b5000a02"
local MIB <const> = 1 << 20
local AT_THE_END <const> = { ["response-job-status"] = "Completed", ["response-max-wait"] = "10" }
local AT_ONCE <const> = { ["job-mode-wait-configuration-change"] = "NoWait" }

describe("the simulated Hitachi VSP", function()
  local array, site, copier, token, volume, dir
  local prefix = ""

  local function ask(method, path, body, headers)
    local query <const> = {}
    for name, value in (path:match "%?(.*)$" or ""):gmatch "(%w+)=([^&]*)" do
      query[name] = value
    end
    local answer <const> = array:handle {
      method = method,
      path = "/ConfigurationManager" .. prefix .. path:gsub("%?.*", ""),
      args = query,
      headers = scenario.merge({ authorization = token and "Session " .. token }, headers or {}),
      body = body and json.encode(body) or "",
    }
    return answer.body and json.decode(answer.body), answer.status
  end

  local function login(password, body)
    local headers <const> = { authorization = "Basic " .. codec.base64("maintenance:" .. (password or "s&cret 2")) }
    return ask("POST", "/sessions", body or {}, headers)
  end

  local function start(options)
    site, copier = fabric.new(), { settings = {} }
    site:plug { { kind = "fc", wwpn = WWPN }, { kind = "iscsi", iqn = ESX }, { kind = "fc", wwpn = "1", arrays = {} } }
    local settings <const> = scenario.merge(assert(scenario.read()).vantara, options or {})
    array = vantara.new(scenario.merge(settings, { fabric = site, copier = copier }))
    array:show("esx", { WWPN, ESX }, {})
    prefix, token = "/v1/objects", nil
    token = login().token
    for _, name in ipairs { "a", "b" } do
      local file <const> = dir .. "/" .. name
      assert(fs.fill(file, { size = MIB, seed = name:byte() }))
      volume = array:provision { name = name, pv = name, size_bytes = MIB, file = file }
    end
  end

  setup(function()
    dir = process.run({ argv = { "mktemp", "-d" } }).out:match "%S+"
    probe.skip_waits(true)
  end)

  teardown(function()
    probe.skip_waits(false)
    process.run { argv = { "rm", "-rf", dir } }
  end)

  before_each(function() start() end)

  local function code(answer, status)
    local codes <const> = answer.errorCode or (answer.error or {}).errorCode or {}
    return { status, (answer.error or answer).messageId, codes.SSB1, codes.SSB2 }
  end

  local function clone_body(over)
    return scenario.merge({
      snapshotGroupName = "group",
      snapshotPoolId = 30,
      pvolLdevId = volume.id - 1,
      svolLdevId = volume.id,
      isClone = true,
      canCascade = true,
      clonesAutomation = true,
      copySpeed = "slower",
    }, over or {})
  end

  local function pair()
    local all <const> = ask("GET", "/snapshots?svolLdevId=" .. volume.id).data
    return all[1] and { all[1].status, all[1].progressRate }
  end

  it("tells its version without a session, and nothing else", function()
    prefix, token = "", nil
    assert.equal("1.31.0", ask("GET", "/configuration/version").apiVersion)
    prefix = "/v1/objects"
    assert.same({ 401, "KART40047-E" }, code(ask("GET", "/ports")))
    assert.same({ 401, "KART30005-E" }, code(login "wrong"))
  end)

  it("serves the paths of the array, and those of Ops Center under its own id", function()
    assert.equal("934000612345", ask("GET", "/storages").data[1].storageDeviceId)
    assert.equal(4, #ask("GET", "/ports").data)
    prefix = "/v1/objects/storages/934000612345"
    assert.equal(612345, ask("GET", "").serialNumber)
    assert.equal(4, #ask("GET", "/ports").data)
    prefix = "/v1/objects/storages/934000612346"
    assert.same({ 404, "KART30013-E" }, code(ask("GET", "/ports")))
  end)

  it("ends sessions that nobody uses, and has 64 of them", function()
    timer.sleep(299)
    assert.equal(200, select(2, ask("GET", "/ports")))
    timer.sleep(301)
    assert.equal(401, select(2, ask("GET", "/ports")))
    assert.equal(400, select(2, login(nil, { aliveTime = 301 })))
    for _ = 1, 64 do
      assert.equal(200, select(2, login()))
    end
    assert.equal(503, select(2, login()))
    array:expire()
    assert.equal(200, select(2, login()))
  end)

  it("tells who is logged in, the host group for FC only", function()
    local ports <const> = {}
    for _, port in ipairs(ask("GET", "/ports?detailInfoType=logins").data) do
      ports[port.portId] = port.logins
    end
    assert.same({ 1, WWPN, "CL1-A,1" }, { #ports["CL1-A"], ports["CL1-A"][1].loginWwn, ports["CL1-A"][1].hostGroupId })
    assert.same({ { loginIscsiName = ESX } }, ports["CL1-C"])
    local group <const> = "?portId=CL1-C&hostGroupNumber=1"
    assert.equal(ESX, ask("GET", "/host-iscsis" .. group).data[1].iscsiName)
    assert.same({ 400, "KART40038-E" }, code(ask("GET", "/host-groups")))
  end)

  it("makes up the NAA of a volume with its first path", function()
    local path <const> = "/ldevs/" .. volume.id
    assert.is_nil(ask("GET", path).naaId)
    local body <const> = { ldevId = tostring(volume.id), portId = "CL1-A", hostGroupNumber = "1" } -- as upstream writes numbers
    local job, status = ask("POST", "/luns", body, AT_THE_END)
    assert.same({ 202, "Completed", "Succeeded" }, { status, job.status, job.state })
    local found <const> = ask("GET", path)
    assert.equal(volume.naa, "naa." .. found.naaId)
    assert.same({ { initiators = { WWPN }, number = 0, via = "CL1-A,1" } }, site:maps_of(volume.naa))
    assert.same({ 202, "KART40046-E", "B958", "015A" }, code(ask("POST", "/luns", body, AT_THE_END)))
    local other <const> = { ldevId = volume.id - 1, portId = "CL1-A", hostGroupNumber = 1, lun = 0 }
    assert.same({ 202, "KART40046-E", "B958", "0947" }, code(ask("POST", "/luns", other, AT_THE_END)))
    job, status = ask("DELETE", "/luns/CL1-A,1,0", {}, AT_THE_END)
    assert.same({ 202, "Succeeded" }, { status, job.state })
    assert.same({ 404, "KART30013-E" }, code(ask("DELETE", "/luns/CL1-A,1,0")))
    assert.is_nil(ask("GET", path).naaId)
    assert.equal("NOT DEFINED", ask("GET", "/ldevs/1").emulationType)
  end)

  it("does in a job what it accepts, and waits for its end only so long as it was told", function()
    start { job_s = 20 }
    local body <const> = { ldevId = volume.id, portId = "CL1-A", hostGroupNumber = 1 }
    local job <const> = ask("POST", "/luns", body, AT_THE_END)
    assert.same({ "Initializing", "Queued" }, { job.status, job.state })
    assert.same({}, site:maps_of(volume.naa))
    timer.sleep(10)
    local ended <const> = ask("GET", "/jobs/" .. job.jobId)
    assert.same({ "Completed", "Succeeded" }, { ended.status, ended.state })
    assert.equal("/ConfigurationManager/v1/objects/luns/CL1-A,1,0", ended.affectedResources[1])
    assert.equal(1, #site:maps_of(volume.naa))
  end)

  it("clones by a pair that deletes itself", function()
    copier.settings = { rate = MIB // 10 }
    ask("POST", "/snapshots", clone_body(), scenario.merge(AT_ONCE, AT_THE_END))
    assert.same({ "COPY", 0 }, pair())
    timer.sleep(4)
    assert.equal("PSUP", pair()[1])
    assert.is_true(pair()[2] > 30 and pair()[2] < 60)
    copier.settings = {}
    assert.same({ "SMPP", 100 }, pair())
    timer.sleep(1)
    assert.is_nil(pair())
    assert.equal(fs.read(dir .. "/a"), fs.read(dir .. "/b"))
  end)

  it("ends the job of a pair with its copy, unless that is not to be waited for", function()
    copier.settings = { rate = MIB // 10 }
    local job <const> = ask("POST", "/snapshots", clone_body())
    timer.sleep(2)
    assert.equal("Initializing", ask("GET", "/jobs/" .. job.jobId).status)
    timer.sleep(11)
    assert.equal("Completed", ask("GET", "/jobs/" .. job.jobId).status)
  end)

  it("suspends a pair that fails, and deletes one that copies", function()
    copier.settings = { fail_at = 50 }
    local job <const> = ask("POST", "/snapshots", clone_body(), AT_THE_END)
    assert.same({ "PSUE", 50 }, pair())
    assert.same({ 202, "KART40046-E", "2E30", "0078" }, code(ask("POST", "/snapshots", clone_body(), AT_THE_END)))
    ask("DELETE", "/snapshots/" .. job.affectedResources[1]:match "[^/]+$", nil, AT_THE_END)
    assert.equal("SMPP", pair()[1])
    timer.sleep(1)
    assert.is_nil(pair())
  end)

  it("refuses clones without what they need", function()
    start { data_reduction = "compression" }
    local refused <const> = {
      { { snapshotGroupName = ("x"):rep(33) }, "KART40038-E" },
      { { canCascade = false }, "KART40038-E" },
      { { autoSplit = true }, "KART40038-E" },
      { { snapshotPoolId = 1 }, "KART40046-E" },
      { {}, "KART40046-E" },
    }
    for _, case in ipairs(refused) do
      local job <const> = ask("POST", "/snapshots", clone_body(case[1]), AT_THE_END)
      assert.same({ "Failed", case[2] }, { job.state, job.error.messageId })
    end
    local body <const> = clone_body { isDataReductionForceCopy = true }
    assert.equal("Succeeded", ask("POST", "/snapshots", body, AT_THE_END).state)
  end)
end)
