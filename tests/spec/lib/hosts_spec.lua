local fail <const> = require "lib.fail"
local fake_host <const> = require "spec.support.fake_host"
local fake_job <const> = require "spec.support.fake_job"
local stand_in <const> = require "spec.support.stand_in"

local LIST <const> = "storage core device list"
local RESCAN <const> = "storage core adapter rescan"
local FORGET <const> = "storage core device detached remove"
local SET <const> = "storage core device set"

local ISCSI <const> = {
  _type = "HostInternetScsiHba",
  key = "key-vmhba64",
  device = "vmhba64",
  iScsiName = "iqn.1998-01.com.vmware:esx1",
}
-- 0x20000000c0a80abc and, with the sign bit set, 0xa100000000000001
local FC <const> = {
  _type = "HostFibreChannelHba",
  key = "key-vmhba2",
  device = "vmhba2",
  nodeWorldWideName = "2305843012445932220",
  portWorldWideName = "-6845471433603153919",
}
local SCSI <const> = { "iscsi", "fc" }
local LOCAL <const> = { _type = "HostBlockHba", key = "key-vmhba0", device = "vmhba0" }

describe("a host", function()
  local restore, clock

  before_each(function()
    clock = stand_in.clock()
    restore = stand_in.install {
      ["lunalift.timer"] = clock.timer,
      ["lunalift.log"] = stand_in.log(),
      ["lunalift.clone"] = {},
    }
  end)

  after_each(function() restore() end)

  local function open(props, options)
    local job <const> = fake_job.new(options)
    local vcenter <const> = fake_host.vcenter(job, { fake_host.object("host-1", props) })
    return require("lib.hosts").open(vcenter, { type = "HostSystem", id = "host-1" }), job, vcenter.answers
  end

  local function raised(fn, ...)
    local ok <const>, why <const> = pcall(fn, ...)
    assert.is_false(ok)
    assert.is_true(fail.is(why), tostring(why))
    return why
  end

  it("has a name for arrays that no other vCenter's host of that id has, beside upstream's", function()
    local host <const> = open()
    assert.equal("xcopy-host-1-dbed6e0c", host.peer_name)
    assert.equal("xcopy-hostsystem-host-1", host.upstream_name)
    assert.equal("host-1.example", host.name)
  end)

  it("must be there, and connected", function()
    local job <const> = fake_job.new()
    local hosts <const> = require "lib.hosts"
    local why <const> = raised(hosts.open, fake_host.vcenter(job, {}), { type = "HostSystem", id = "host-9" })
    assert.equal("no host host-9 in vc.example", why.message)
    local away <const> = open { ["runtime.connectionState"] = "notResponding" }
    assert.equal("host host-1.example is notResponding", raised(away.check_usable, away).message)
    local resting <const> = open { ["runtime.inMaintenanceMode"] = true }
    local why_not <const> = raised(resting.check_usable, resting)
    assert.equal("host host-1.example is in maintenance mode", why_not.message)
    assert.matches("--migration-host", why_not.hint, 1, true)
    open():check_usable()
  end)

  describe("reaches an array", function()
    local function topology(...)
      local adapters <const> = {}
      for i, entry in ipairs { ... } do
        adapters[i] = { adapter = entry.hba.key, target = entry.targets }
      end
      return { adapter = adapters }
    end
    local function iscsi_target(name)
      return { transport = { _type = "HostInternetScsiTargetTransport", iScsiName = name } }
    end
    local function fc_target(wwpn)
      return {
        transport = { _type = "HostFibreChannelTargetTransport", nodeWorldWideName = "1", portWorldWideName = wwpn },
      }
    end

    it("through the iSCSI adapters that are logged in to its ports, whatever the case", function()
      local host <const> = open {
        ["config.storageDevice.hostBusAdapter"] = { LOCAL, ISCSI },
        ["config.storageDevice.scsiTopology"] = topology {
          hba = ISCSI,
          targets = { iscsi_target "iqn.1992-08.com.netapp:sn.1" },
        },
      }
      assert.same(
        { { kind = "iscsi", id = ISCSI.iScsiName, adapter = "vmhba64" } },
        host:initiators_reaching(SCSI, { { kind = "iscsi", id = "IQN.1992-08.com.netapp:sn.1" } })
      )
    end)

    it("through FC adapters, whose names are signed numbers", function()
      local host <const> = open {
        ["config.storageDevice.hostBusAdapter"] = { FC },
        ["config.storageDevice.scsiTopology"] = topology { hba = FC, targets = { fc_target "-6845471433603153918" } },
      }
      assert.same(
        { { kind = "fc", id = "fc.20000000c0a80abc:a100000000000001", adapter = "vmhba2" } },
        host:initiators_reaching(SCSI, { { kind = "fc", id = "A1:00:00:00:00:00:00:02" } })
      )
    end)

    it("through those adapters only that see one of its ports, each once", function()
      local host <const> = open {
        ["config.storageDevice.hostBusAdapter"] = { ISCSI, FC },
        ["config.storageDevice.scsiTopology"] = topology(
          { hba = ISCSI, targets = { iscsi_target "iqn.other" } },
          { hba = FC, targets = { fc_target "1", fc_target "2" } }
        ),
      }
      local reaching <const> = host:initiators_reaching(
        SCSI,
        { { id = "0000000000000001" }, { id = "0000000000000002" }, { id = "iqn.mine" } }
      )
      assert.equal(1, #reaching)
      assert.equal("vmhba2", reaching[1].adapter)
    end)

    it("or not, and then names the ports to connect", function()
      local host <const> = open { ["config.storageDevice.hostBusAdapter"] = { ISCSI } }
      local why <const> = raised(host.initiators_reaching, host, SCSI, { { id = "iqn.a" }, { id = "iqn.b" } })
      assert.equal("config", why.kind)
      assert.matches("iqn.a and iqn.b", why.hint, 1, true)
    end)
  end)

  describe("has ports of a fabric", function()
    local NVME <const> =
      { _type = "HostTcpHba", key = "key-vmhba66", device = "vmhba66", storageProtocol = "nvme", driver = "nvmetcp" }
    local SCINI <const> = {
      _type = "HostFibreChannelHba",
      key = "key-vmhba67",
      device = "vmhba67",
      driver = "scini",
      portWorldWideName = "0",
    }
    local SAS <const> =
      { _type = "HostSerialAttachedHba", key = "key-vmhba1", device = "vmhba1", nodeWorldWideName = "500056b3a1b2c3d4" }
    local NQN <const>, GUID <const> = "nqn.2014-08.com.vmware:nvme:esx1", "9E56672F-2F4B-4A42-BFF4-88B6846FBFDA"

    local function host_of_all()
      local host <const>, job <const>, answers <const> = open {
        ["config.storageDevice.hostBusAdapter"] = { ISCSI, FC, NVME, SCINI, SAS, LOCAL },
        ["config.storageDevice.nvmeTopology"] = {
          adapter = { { adapter = NVME.key, connectedController = { { subnqn = "nqn.array:one" } } } },
        },
        ["configManager.kernelModuleSystem"] = { type = "HostKernelModuleSystem", id = "k-1" },
      }
      answers["nvme info get"] = function() return { { HostNQN = NQN } } end
      answers.QueryModules = function()
        job.trace[#job.trace + 1] = "modules"
        return {
          { name = "iscsi_vmk", optionString = "ioctlIniGuidStr=no" },
          { name = "scini", optionString = "IoctlMdmIPStr=192.0.2.1 ioctlIniGuidStr=" .. GUID },
        }
      end
      return host, job
    end

    local function texts(ports)
      local shown <const> = {}
      for i, port in ipairs(ports) do
        shown[i] = ("%s %s %s"):format(port.kind, port.adapter, port.id)
      end
      return shown
    end

    it("and asks for names of the whole host only where an array speaks it, once", function()
      local host <const>, job <const> = host_of_all()
      assert.same({
        "iscsi vmhba64 " .. ISCSI.iScsiName,
        "fc vmhba2 fc.20000000c0a80abc:a100000000000001",
        "sas vmhba1 500056b3a1b2c3d4",
      }, texts(host:ports { "fc", "iscsi", "sas" }))
      assert.same({}, job.trace)
      for _ = 1, 2 do
        assert.same({ "nvme vmhba66 " .. NQN, "sdc vmhba67 " .. GUID }, texts(host:ports { "nvme", "sdc" }))
      end
      assert.same({ "host-1: nvme info get ", "modules" }, job.trace)
    end)

    it("of which NVMe ones reach a subsystem, and PowerFlex' need no target", function()
      local host <const> = host_of_all()
      assert.same(
        { "nvme vmhba66 " .. NQN },
        texts(host:initiators_reaching({ "nvme", "fc" }, { { kind = "nvme", id = "NQN.array:one" } }))
      )
      assert.same({ "sdc vmhba67 " .. GUID }, texts(host:initiators_reaching({ "sdc" }, nil, { "naa.1" })))
    end)

    it("or none, when the module has no GUID", function()
      local host <const> = open { ["config.storageDevice.hostBusAdapter"] = { SCINI } }
      local why <const> = raised(host.initiators_reaching, host, { "sdc" })
      assert.equal("host host-1.example has no adapter for PowerFlex (scini)", why.message)
    end)

    it("and none is up where an array tells of none", function()
      local host <const> = host_of_all()
      assert.matches("bring up a port", raised(host.initiators_reaching, host, SCSI, {}).hint)
    end)
  end)

  describe("reaches an array that tells no ports", function()
    local FC2 <const> = {
      _type = "HostFibreChannelHba",
      key = "key-vmhba3",
      device = "vmhba3",
      nodeWorldWideName = "1",
      portWorldWideName = "2",
    }

    local function adapters(hbas, paths, naas)
      local host <const> = open {
        ["config.storageDevice.hostBusAdapter"] = hbas,
        ["config.storageDevice.scsiLun"] = {
          { canonicalName = "naa.1", key = "key-1" },
          { canonicalName = "naa.2", key = "key-2" },
        },
        ["config.storageDevice.multipathInfo"] = { lun = paths },
      }
      local names <const> = {}
      for i, port in ipairs(host:initiators_reaching(SCSI, nil, naas)) do
        names[i] = port.adapter
      end
      return names
    end

    local function path(hba, state) return { adapter = hba.key, state = state } end

    it("through the active paths to the source, of all its devices", function()
      local paths <const> = {
        { lun = "key-1", path = { path(FC, "Active"), path(FC, "active"), path(ISCSI, "standby") } },
        { lun = "key-2", path = { path(FC2, "active") } },
      }
      assert.same({ "vmhba2" }, adapters({ FC, FC2, ISCSI }, paths, { "naa.1" }))
      assert.same({ "vmhba2", "vmhba3" }, adapters({ FC, FC2, ISCSI }, paths, { "naa.1", "naa.2" }))
    end)

    it("else through all FC adapters, else through all iSCSI ones", function()
      assert.same({ "vmhba2", "vmhba3" }, adapters({ LOCAL, ISCSI, FC, FC2 }, {}, { "naa.9" }))
      assert.same({ "vmhba64" }, adapters({ LOCAL, ISCSI }, {}, {}))
      local ok <const>, why <const> = pcall(adapters, { LOCAL }, {}, {})
      assert.is_false(ok)
      assert.equal("host host-1.example has no adapter for iSCSI and FC", why.message)
    end)
  end)

  describe("discovers a LUN", function()
    local LUN <const> = { naa = "naa.1", number = 7 }
    local OPTIONS <const> = { within_s = 60, adapters = { "vmhba2", "vmhba64" } }

    -- Statuses that the device list shows, one a look; the last for ever; false: not listed.
    local function shows(answers, statuses)
      local looks = 0
      answers[LIST] = function(args)
        looks = math.min(looks + 1, #statuses)
        if not statuses[looks] then return fake_host.no_device(args.device) end
        return { { Device = "naa.1", Status = statuses[looks] } }
      end
    end

    local function commands(job)
      local list <const> = {}
      for _, line in ipairs(fake_job.only(job.trace, "host-1: ")) do
        list[#list + 1] = line:sub(9)
      end
      return list
    end

    local LOOK <const> = LIST .. " device=naa.1"
    local RESCANS <const> = { RESCAN .. " adapter=vmhba2 type=add", RESCAN .. " adapter=vmhba64 type=add" }

    it("at the first look, without a rescan", function()
      local host <const>, job <const>, answers <const> = open()
      shows(answers, { "on" })
      assert.equal("on", host:discover(LUN, OPTIONS).Status)
      assert.same({ LOOK }, commands(job))
      assert.same({}, clock.naps)
    end)

    it("after one rescan of its adapters alone", function()
      local host <const>, job <const>, answers <const> = open()
      shows(answers, { false, "degraded" })
      assert.equal("degraded", host:discover(LUN, OPTIONS).Status)
      assert.same({ LOOK, RESCANS[1], RESCANS[2], LOOK }, commands(job))
      assert.same({ "waiting test: naa.1 is not there yet on host-1.example" }, fake_job.only(job.trace, "waiting"))
    end)

    it("that comes seconds later, with a rescan every ten seconds and no more", function()
      local host <const>, job <const>, answers <const> = open()
      local looks = 0
      answers[LIST] = function(args)
        looks = looks + 1
        if clock.now_s < 1015 then return fake_host.no_device(args.device) end
        return { { Status = "on" } }
      end
      host:discover(LUN, OPTIONS)
      assert.equal(2, #fake_job.only(job.trace, "host-1: " .. RESCANS[1]))
      assert.is_true(looks > 6)
    end)

    it("that an earlier run left off: forgotten, then found", function()
      for _, status in ipairs { "off", "dead timeout" } do
        local host <const>, job <const>, answers <const> = open()
        shows(answers, { status, "on" })
        host:discover(LUN, OPTIONS)
        assert.same({ LOOK, FORGET .. " device=naa.1", RESCANS[1], RESCANS[2], LOOK }, commands(job))
      end
    end)

    it("although forgetting finds nothing to forget", function()
      local host <const>, _, answers <const> = open()
      shows(answers, { "off", "on" })
      answers[FORGET] = function(args) return fake_host.no_device(args.device) end
      assert.equal("on", host:discover(LUN, OPTIONS).Status)
    end)

    it("but does not take a device that is off for one", function()
      local host <const>, _, answers <const> = open()
      shows(answers, { "off" })
      answers.QueryOptions = function() return { { key = "Disk.MaxLUN", value = 1024 } } end
      assert.equal("not_found", raised(host.discover, host, LUN, OPTIONS).kind)
    end)

    it("never, and then blames Disk.MaxLUN where it is too low", function()
      local host <const>, _, answers <const> = open()
      shows(answers, { false })
      answers.QueryOptions = function() return { { key = "Disk.MaxLUN", value = 256 } } end
      local why <const> = raised(host.discover, host, { naa = "naa.1", number = 312 }, OPTIONS)
      assert.equal("naa.1 did not appear on host-1.example within 1 min 0 s", why.message)
      assert.equal("LUN number 312 is at or above Disk.MaxLUN (256) of this host", why.cause.message)
      assert.equal("esxcli system settings advanced set -o /Disk/MaxLUN -i 1024", why.hint)
    end)

    it("never, and then tells to check the paths", function()
      local host <const>, _, answers <const> = open()
      shows(answers, { false })
      answers.QueryOptions = function() return { key = "Disk.MaxLUN", value = "1024" } end
      local why <const> = raised(host.discover, host, LUN, OPTIONS)
      assert.is_nil(why.cause)
      assert.matches("check the paths from host%-1.example", why.hint)
    end)

    it("never, and says so even when the explanation cannot be had", function()
      local host <const>, _, answers <const> = open()
      shows(answers, { false })
      answers.QueryOptions = function() fail.raise("denied", "no permission") end
      local why <const> = raised(host.discover, host, LUN, OPTIONS)
      assert.equal("not_found", why.kind)
      assert.matches("did not appear", why.message)
    end)

    it("and does not take a lost answer for an absent device", function()
      local host <const>, job <const>, answers <const> = open()
      answers[LIST] = function() return nil, fake_job.refusal("unreachable", { fault = nil }) end
      assert.equal("unreachable", raised(host.discover, host, LUN, OPTIONS).kind)
      assert.same({}, fake_job.only(job.trace, "host-1: " .. RESCAN))
    end)

    it("in words only on a dry run", function()
      local host <const>, job <const> = open(nil, { dry_run = true })
      assert.same({ Device = "naa.1", Status = "on" }, host:discover(LUN, OPTIONS))
      assert.same({
        "would 1 host.rescan vmhba2 on host-1.example",
        "would 2 host.rescan vmhba64 on host-1.example",
      }, job.trace)
    end)
  end)

  describe("checks the device before anything writes to it", function()
    local GIB <const> = 1 << 30

    it("that it is the one asked for", function()
      local host <const> = open()
      local why <const> = raised(host.check_device, host, { Device = "naa.2", Size = "1024" }, { naa = "naa.1" }, GIB)
      assert.equal("conflict", why.kind)
      host:check_device({ Device = "naa.1", Size = "1024" }, { naa = "naa.1" }, GIB)
    end)

    it("that it is large enough, where ESXi rounds down to MiB", function()
      local host <const> = open()
      host:check_device({ Size = "1024" }, { naa = "naa.1" }, GIB + 5)
      local why <const> = raised(host.check_device, host, { Size = "1023" }, { naa = "naa.1" }, GIB)
      assert.equal("no_space", why.kind)
      host:check_device({}, { naa = "naa.1" }, GIB)
    end)
  end)

  describe("detaches a device", function()
    -- A device with a state, as the host keeps it.
    local function device(answers, status)
      local state <const> = { status = status }
      answers[LIST] = function(args)
        if not state.status then return fake_host.no_device(args.device) end
        return { { Device = args.device, Status = state.status } }
      end
      answers[SET] = function(args)
        state.status = args.state
        return {}
      end
      answers[FORGET] = function(args)
        if not state.status then return fake_host.no_device(args.device) end
        state.status = nil
        return {}
      end
      return state
    end

    it("sets it off, waits until it is, and forgets it", function()
      local host <const>, job <const>, answers <const> = open()
      device(answers, "on")
      host:detach "naa.1"
      assert.same({
        "effect 1 host.detach naa.1 on host-1.example",
        "effect 2 host.forget naa.1 on host-1.example",
      }, fake_job.only(job.trace, "effect"))
    end)

    it("twice is as good as once", function()
      local host <const>, job <const>, answers <const> = open()
      device(answers, "on")
      host:detach "naa.1"
      host:detach "naa.1"
      assert.equal(2, #fake_job.only(job.trace, "effect"))
    end)

    it("only forgets one that is off already", function()
      local host <const>, job <const>, answers <const> = open()
      device(answers, "off")
      host:detach "naa.1"
      assert.same({ "effect 1 host.forget naa.1 on host-1.example" }, fake_job.only(job.trace, "effect"))
    end)

    it("only forgets one that is off and was unmapped since", function()
      local host <const>, job <const>, answers <const> = open()
      device(answers)
      answers["storage core device detached list"] = function()
        return { { DeviceUID = "naa.2" }, { DeviceUID = "naa.1" } }
      end
      host:detach "naa.1"
      host:detach "naa.3"
      assert.same({ "effect 1 host.forget naa.1 on host-1.example" }, fake_job.only(job.trace, "effect"))
    end)

    it("again when the answer was lost", function()
      local host <const>, job <const>, answers <const> = open()
      local state <const> = device(answers, "on")
      local set <const> = answers[SET]
      local sent = 0
      answers[SET] = function(args)
        sent = sent + 1
        if sent == 1 then return nil, fake_job.refusal("timeout", { unanswered = true }) end
        return set(args)
      end
      host:detach "naa.1"
      assert.is_nil(state.status)
      assert.equal(3, #fake_job.only(job.trace, "effect"))
    end)

    it("says when the host does not let go of it", function()
      local host <const>, _, answers <const> = open()
      device(answers, "on")
      answers[SET] = function() return {} end
      local why <const> = raised(host.detach, host, "naa.1")
      assert.equal("incomplete", why.kind)
      assert.equal("naa.1 is still on on host-1.example", why.message)
    end)

    it("does not take a lost answer for a device that is gone", function()
      local host <const>, _, answers <const> = open()
      answers[LIST] = function() return nil, fake_job.refusal "unreachable" end
      assert.equal("unreachable", raised(host.detach, host, "naa.1").kind)
    end)
  end)

  it("drops dead paths adapter by adapter", function()
    local host <const>, job <const> = open()
    host:drop_paths { "vmhba2", "vmhba64" }
    assert.same({
      "host-1: storage core adapter rescan adapter=vmhba2 type=delete",
      "host-1: storage core adapter rescan adapter=vmhba64 type=delete",
    }, fake_job.only(job.trace, "host-1"))
  end)
end)
