local esxi <const> = require "lab.esxi"
local fabric <const> = require "lab.fabric"
local files <const> = require "lab.files"
local fs <const> = require "lunalift.fs"
local outside <const> = require "lab.outside"
local process <const> = require "lunalift.process"
local server <const> = require "lunalift.server"

local NAA <const> = "naa.600a098038304437415d4b6a59682f52"
local IQN <const> = "iqn.1998-01.com.vmware:esx-1"

describe("a simulated host whose devices are on another machine", function()
  local dir, shared, host, door, scripts, is_open

  before_each(function()
    dir = process.run({ argv = { "mktemp", "-d" } }).out:match "%S+"
    for _, folder in ipairs { "vmfs/devices/disks", "var/lab/devices" } do
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
      target_ports = { { kind = "iscsi", id = "iqn.1992-08.com.netapp:sn.1" } },
    }
    host = esxi.new {
      name = "esx-1",
      moref = "host-1",
      root = dir,
      uuid = "u",
      address = "127.0.0.1",
      fabric = shared,
      hbas = { { device = "vmhba64", kind = "iscsi", iqn = IQN, driver = "iscsi_vmk", model = "m" } },
    }
    shared:set_maps(NAA, { { initiators = { IQN }, number = 7, via = "g" } })
    host:rescan "all"
    scripts, is_open = {}, false
    door = assert(server.listen {
      on_request = function(request)
        scripts[#scripts + 1] = request.body
        return { status = request.body:find "is%-open" and not is_open and 500 or 200, body = "said" }
      end,
    })
    host:move_out(outside.new("http://127.0.0.1:" .. door.port))
  end)

  after_each(function()
    door:close()
    process.run { argv = { "rm", "-rf", dir } }
  end)

  it("shows what is on there, once, and hides it when it is off, unmapped or back", function()
    host:rescan "all"
    assert.same({ "lun show " .. NAA }, scripts)
    assert.is_true(host:set_state(NAA, "off"))
    host:set_state(NAA, "on")
    shared:set_maps(NAA, {})
    assert.same({
      "lun show " .. NAA,
      "lun is-open " .. NAA,
      "lun hide " .. NAA,
      "lun show " .. NAA,
      "lun hide " .. NAA,
    }, scripts)
  end)

  it("lets go of no device that a program there has open", function()
    is_open = true
    assert.same({ nil, "busy" }, { host:set_state(NAA, "off") })
  end)

  it("runs scripts there, whether they fail or not", function()
    assert.same({ "said", true }, { host.outside:run "true" })
    assert.same({ "said", false }, { host.outside:run "lun is-open x" })
    door:close()
    assert.error(function() host.outside:run "true" end)
  end)
end)
