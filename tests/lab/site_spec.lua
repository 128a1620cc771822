local fs <const> = require "lunalift.fs"
local http <const> = require "lunalift.http"
local json <const> = require "lunalift.json"
local process <const> = require "lunalift.process"
local secret <const> = require "lunalift.secret"
local timer <const> = require "lunalift.timer"
local vsphere <const> = require "lunalift.vsphere"

local HOST <const> = { type = "HostSystem", id = "host-21" }
local IQN <const> = "iqn.1998-01.com.vmware:esx-01.lab.example:1234:64"
local SOURCE <const> = "pct:/vmfs/volumes/ds%201/web%20%26%20s%C3%B6hne/web%20%26%20s%C3%B6hne.vmdk"
local TASK <const> = "0123abcd-0000-4000-8000-000000000001"

local function wait_until(within_s, holds)
  local deadline <const> = timer.now() + within_s
  while timer.now() < deadline do
    local value <const> = holds()
    if value then return value end
    timer.sleep(0.05)
  end
  error("not within " .. within_s .. " s")
end

describe("a site in a process of its own", function()
  local dir, lab, site, vc, array, control, pvc, device, bytes

  setup(function()
    dir = process.run({ argv = { "mktemp", "-d" } }).out:match "%S+"
    lab = assert(process.start { argv = { os.getenv "LUNALIFT_BIN", "lab", "--dir", dir .. "/my lab" } })
    local text <const> = wait_until(30, function() return fs.read(dir .. "/my lab/site.json") end)
    site = assert(json.decode(text))
    vc = vsphere.open {
      host = site.vcenter.host,
      username = site.vcenter.username,
      password = secret.new(site.vcenter.password),
      tls = { thumbprint = site.vcenter.thumbprint },
    }
    array = http.client {
      base = "https://" .. site.arrays[1].host,
      username = site.arrays[1].username,
      password = secret.new(site.arrays[1].password),
      tls = { ca_file = site.ca_file },
    }
    control = http.client { base = site.control.url }
    pvc, bytes = site.pvcs[1], site.vms[1].disks[1]
    device = "/vmfs/devices/disks/" .. pvc.naa
  end)

  teardown(function()
    if lab then
      lab:kill "TERM"
      lab:wait()
    end
    process.run { argv = { "rm", "-rf", dir } }
  end)

  local function command(words, args) return vc:esxcli(HOST, words, args, { effect = true }) end

  local function reply(words, args)
    local row <const> = assert(command("vmkfstools " .. words, args))[1]
    return row.message ~= "" and json.decode(row.message) or {}, row.status
  end

  local function host_state()
    for _, host in ipairs(control:get("/state").json.hosts) do
      if host.moref == HOST.id then return host end
    end
  end

  local function map()
    local svm <const> = { name = site.arrays[1].svm }
    local body <const> =
      { name = "xcopy", protocol = "iscsi", os_type = "vmware", svm = svm, initiators = { { name = IQN } } }
    local made <const>, why <const> = array:post("/api/protocols/san/igroups", { json = body })
    assert(made or why.kind == "conflict", why and why.message)
    local path
    for _, lun in ipairs(control:get("/state").json.ontap.luns) do
      if lun.naa == pvc.naa then path = lun.path end
    end
    assert(
      array:post(
        "/api/protocols/san/lun-maps",
        { json = { svm = svm, igroup = { name = "xcopy" }, lun = { name = path } } }
      )
    )
  end

  it("says to a shell what it says to programs, and that nothing is mapped", function()
    local names <const> =
      "$GOVMOMI_HOSTNAME|$GOVMOMI_PASSWORD|$STORAGE_PASSWORD|$LUNALIFT_SOURCE_VMDK|$LAB_LUN|$LAB_FLAT"
    local said <const> =
      process.run { argv = { "sh", "-c", '. "$1" && printf %s "' .. names .. '"', "sh", site.dir .. "/site.env" } }
    assert.equal(
      table.concat({
        site.vcenter.host,
        site.vcenter.password,
        site.arrays[1].password,
        pvc.vmdk,
        pvc.lun_path,
        bytes.flat_path,
      }, "|"),
      said.out
    )
    assert.equal("nothing\n", control:get("/mapped").body)
  end)

  it("shows a LUN of the array to a host after map and rescan, and the wrapper fills it", function()
    map()
    local found, why = command("storage core device list", { device = pvc.naa })
    assert.is_nil(found)
    assert.equal("CLIFault", why.fault)
    assert(command("storage core adapter rescan", { all = true, type = "add" }))
    found = assert(command("storage core device list", { device = pvc.naa }))
    assert.equal("on", found[1].Status)

    assert(control:post("/host/host-21/vmkfstools", { json = { rate = 67108864, xcopy = 1 } }))
    assert.equal(pvc.naa .. " → xcopy: " .. IQN .. "\n", control:get("/mapped").body)
    local started <const> = reply("clone", { ["source-vmdk"] = SOURCE, ["target-lun"] = device, ["task-id"] = TASK })
    assert.equal(TASK, started.taskId)
    assert.same(
      { nil, "CLIFault" },
      { command("storage core device set", { device = pvc.naa, state = "off" }), "CLIFault" }
    )
    local state
    wait_until(30, function()
      state = reply("taskGet", { id = TASK })
      return state.exitCode ~= ""
    end)
    assert.equal("0", state.exitCode)
    assert.is_true(state.xcopyUsed)
    for _, offset in ipairs { 0, bytes.size_bytes // 2, bytes.size_bytes - 4096 } do
      assert.is_true(fs.pread(bytes.flat_path, offset, 4096) == fs.pread(pvc.lun_path, offset, 4096))
    end
    local _message <const>, status <const> = reply("taskClean", { id = TASK })
    assert.equal("0", status)
    assert(command("storage core device set", { device = pvc.naa, state = "off" }))
    assert.same({ pvc.naa }, host_state().detached)
  end)

  it("puts a lost reply in the way of a clone that has begun", function()
    assert(command("storage core device set", { device = pvc.naa, state = "on" }))
    assert(control:post("/host/host-21/vmkfstools", { json = { rate = 1048576, xcopy = 1 } }))
    local rule <const> =
      { service = "vcenter", match = { method = "ExecuteSoap", target = "vmkfstools.clone" }, action = "drop_after" }
    assert(control:post("/faults", { json = json.array { rule } }))
    local found <const>, why <const> =
      command("vmkfstools clone", { ["source-vmdk"] = SOURCE, ["target-lun"] = device, ["task-id"] = TASK })
    assert.is_nil(found)
    assert.is_true(why.unanswered)
    assert.same({ TASK }, host_state().tasks)
    assert.equal(pvc.naa, host_state().writers[1].naa)
    assert.is_false(reply("taskKill", { id = TASK }).writerAlive)
    assert.same({}, host_state().writers)
  end)

  it("ends logins as a restart of vCenter does, and the client logs in again", function()
    assert(vc:esxcli(HOST, "system version get"))
    assert.is_true(control:post("/sessions/expire").json.ended > 0)
    assert.equal("8.0.3", assert(vc:esxcli(HOST, "system version get"))[1].Version)
  end)

  it("answers as a host without the VIB when it was taken away", function()
    assert(control:post("/host/host-21/wrapper", { json = { variant = "none" } }))
    local found <const>, why <const> = vc:esxcli(HOST, "vmkfstools version")
    assert.is_nil(found)
    assert.equal("unsupported", why.kind)
    assert(control:post("/host/host-21/wrapper", { json = { variant = "upstream" } }))
    assert.same({ version = "0.3.3" }, (reply "version"))
    assert(control:post("/host/host-21/wrapper", { json = { variant = "lunalift" } }))
  end)

  it("serves datastore files to those who are logged in", function()
    local place <const> =
      { dc = "Werke/Nürnberg & Fürth", datastore = "Daten & Söhne", path = "O'Neil's db/note.txt" }
    assert(vc:put_file { dc = place.dc, datastore = place.datastore, path = place.path, content = "ö" })
    assert.equal("ö", assert(vc:get_file(place)))
    local found <const>, why <const> =
      vc:get_file { dc = "DC2", datastore = "Daten & Söhne", path = "O'Neil's db/note.txt" }
    assert.is_nil(found)
    assert.equal("not_found", why.kind)
  end)

  it("ends with 0 upon TERM, and takes running copies with it", function()
    reply("taskClean", { id = TASK })
    reply("clone", { ["source-vmdk"] = SOURCE, ["target-lun"] = device, ["task-id"] = TASK })
    local pid <const> = host_state().writers[1].pid
    lab:kill "TERM"
    assert.equal(0, lab:wait().code)
    lab = nil
    wait_until(5, function() return not fs.stat("/proc/" .. pid) end)
    assert.is_nil(fs.stat(site.dir .. "/site.json"))
    assert.is_nil(fs.stat(site.dir .. "/site.env"))
  end)
end)
