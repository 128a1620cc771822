local esxi <const> = require "lab.esxi"
local fabric <const> = require "lab.fabric"
local files <const> = require "lab.files"
local fs <const> = require "lunalift.fs"
local process <const> = require "lunalift.process"
local storage <const> = require "lab.storage"
local vim <const> = require "lab.vim"

local NAA <const> = "naa.600a098038304437415d4b6a59682f52"
local IQN <const> = "iqn.1998-01.com.vmware:esx-1"
local WWPN <const> = "a1000025b5000a02"

describe("a simulated ESXi host", function()
  local dir, shared, host

  before_each(function()
    dir = process.run({ argv = { "mktemp", "-d" } }).out:match "%S+"
    for _, folder in ipairs { "vmfs/devices/disks", "var/lab/devices", "var/lab/writers" } do
      files.mkdirs(dir .. "/" .. folder)
    end
    fs.truncate(dir .. "/lun", 1048576)
    shared = fabric.new()
    shared:add_lun {
      naa = NAA,
      path = dir .. "/lun",
      size_bytes = 1048576,
      array = "ontap",
      vendor = "NETAPP",
      model = "LUN C-Mode",
      serial = "80D7A]KjYh/R",
      target_ports = {
        { kind = "iscsi", id = "iqn.1992-08.com.netapp:sn.1" },
        { kind = "fc", id = "200000a098000002" },
      },
    }
    host = esxi.new {
      name = "esx-1",
      moref = "host-1",
      root = dir,
      uuid = "u",
      address = "127.0.0.1",
      fabric = shared,
      settings = { ["Disk.MaxLUN"] = 256 },
      hbas = {
        { device = "vmhba2", kind = "fc", wwnn = "20000025b5000a01", wwpn = WWPN, driver = "q", model = "m" },
        { device = "vmhba3", kind = "fc", wwnn = "20000025b5000a01", wwpn = "a1000025b5000b02", arrays = {} },
        { device = "vmhba64", kind = "iscsi", iqn = IQN, driver = "iscsi_vmk", model = "m" },
      },
    }
  end)

  after_each(function() process.run { argv = { "rm", "-rf", dir } } end)

  local function map(initiators, number)
    shared:set_maps(NAA, { { initiators = initiators, number = number or 7, via = "g" } })
  end

  local function status() return host.devices[NAA] and host.devices[NAA].status or "absent" end

  local function is_open() return fs.stat(host:device_path(NAA)) ~= nil end

  it("finds a LUN only after it was mapped and a rescan was made", function()
    host:rescan "add"
    assert.equal("absent", status())
    map { IQN }
    assert.equal("absent", status())
    host:rescan "delete"
    assert.equal("absent", status())
    host:rescan "add"
    assert.equal("on", status())
    assert.is_true(is_open())
  end)

  it("keeps an open device where it is while others rescan", function()
    map { IQN }
    host:rescan "add"
    local path <const> = host:device_path(NAA)
    local function inode() return process.run({ argv = { "stat", "-c", "%i %z", path } }).out end
    local before <const> = inode()
    host:rescan "all"
    host:refresh(NAA)
    assert.equal(before, inode())
  end)

  it("loses a LUN that is taken away while on, until a rescan deletes it", function()
    map { IQN }
    host:rescan "all"
    shared:set_maps(NAA, {})
    assert.equal("dead timeout", status())
    assert.is_false(is_open())
    host:rescan "add"
    assert.equal("dead timeout", status())
    map { IQN }
    assert.equal("on", status())
    shared:set_maps(NAA, {})
    host:rescan("delete", "vmhba64")
    assert.equal("absent", status())
  end)

  it("detaches, remembers it, and brings the device back off when it was not forgotten", function()
    map { IQN }
    host:rescan "all"
    assert.is_true(host:set_state(NAA, "off"))
    assert.same({ nil, "already" }, { host:set_state(NAA, "off") })
    assert.is_false(is_open())
    shared:set_maps(NAA, {})
    host:rescan "delete"
    assert.equal("absent", status())
    map { IQN }
    host:rescan "add"
    assert.equal("off", status())
    assert.is_true(host:forget_detached(NAA))
    assert.equal("off", status())
    host:rescan "add"
    assert.equal("on", status())
  end)

  it("is busy while a writer lives, and no longer when it died without a word", function()
    map { IQN }
    host:rescan "all"
    local writer <const> = process.start { argv = { "sleep", "60" } }
    fs.write(("%s/var/lab/writers/%s@%d"):format(dir, NAA, writer.pid), "")
    assert.same({ nil, "busy" }, { host:set_state(NAA, "off") })
    writer:kill "KILL"
    writer:wait()
    assert.is_true(host:set_state(NAA, "off"))
  end)

  it("does not look beyond Disk.MaxLUN, nor through a network without the array", function()
    map({ IQN }, 256)
    host:rescan "all"
    assert.equal("absent", status())
    map({ "a1:00:00:25:b5:00:0b:02" }, 3)
    host:rescan "all"
    assert.equal("absent", status())
    map({ IQN }, 255)
    host:rescan "all"
    assert.equal("on", status())
  end)

  it("keeps the device while one of two adapters still sees it, with the other's path dead", function()
    map { IQN, "a1:00:00:25:b5:00:0a:02" }
    host:rescan "all"
    map { IQN }
    assert.equal("on", status())
    assert.same({ "vmhba64" }, host:live_adapters(NAA))
    local unit <const> = vim.field(vim.field(storage.info(host), "multipathInfo"), "lun").items[1]
    local states <const> = {}
    for _, path in ipairs(vim.field(unit, "path").items) do
      states[vim.field(path, "name")] = vim.field(path, "state")
    end
    assert.same({ ["vmhba2:C0:T0:L7"] = "dead", ["vmhba64:C0:T0:L7"] = "active" }, states)
  end)

  it("tells WWNs as signed decimals", function()
    local hba <const> = vim.field(storage.info(host), "hostBusAdapter").items[1]
    assert.equal("-6845471271652685310", vim.field(hba, "portWorldWideName").text)
  end)

  it("names the ports it is logged in to before any LUN is mapped", function()
    local topology <const> = vim.field(storage.info(host), "scsiTopology")
    local ports <const> = {}
    for _, interface in ipairs(vim.field(topology, "adapter").items) do
      ports[#ports + 1] = #vim.field(interface, "target").items
    end
    assert.same({ 1, 0, 1 }, ports)
  end)
end)
