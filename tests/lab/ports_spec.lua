--- The ports of a host as a vCenter tells them, over the wire.
local fake_job <const> = require "spec.support.fake_job"
local fs <const> = require "lunalift.fs"
local json <const> = require "lunalift.json"
local labs <const> = require "lab.site"
local process <const> = require "lunalift.process"
local scenario <const> = require "lab.scenario"
local secret <const> = require "lunalift.secret"
local vcenters <const> = require "lib.vcenter"

local NQN <const>, GUID <const> = "nqn.2014-08.com.vmware:nvme:esx-01", "9E56672F-2F4B-4A42-BFF4-88B6846FBFDA"
local SUBSYSTEM <const> = "nqn.1992-08.com.example:sn.1:subsystem.a"

local HBAS <const> = {
  { device = "vmhba64", kind = "iscsi", driver = "iscsi_vmk", model = "m", iqn = "iqn.1998-01.com.vmware:esx-01:64" },
  { device = "vmhba66", kind = "nvme", driver = "nvmetcp", model = "m", nqn = NQN },
  { device = "vmhba67", kind = "sdc", driver = "scini", model = "m", guid = GUID },
}

describe("a host's ports", function()
  local dir, lab, login, host

  setup(function()
    dir = process.run({ argv = { "mktemp", "-d" } }).out:match "%S+"
    local changes <const> = { datacenters = { { moref = "datacenter-3", name = "DC" } } }
    changes.datacenters[1].hosts = { { moref = "host-21", name = "esx-01.lab.example", hbas = HBAS } }
    lab = labs.start { dir = dir .. "/lab", scenario = scenario.merge(assert(scenario.read()), changes) }
    local file <const> = dir .. "/lun"
    assert(fs.truncate(file, 1 << 20))
    lab.fabric:add_lun {
      naa = "eui.b4f2d5322f73780f5a5beec600000002",
      path = file,
      size_bytes = 1 << 20,
      array = "other",
      vendor = "NVMe",
      model = "Other",
      serial = "1",
      target_ports = { { kind = "nvme", id = SUBSYSTEM }, { kind = "sdc", id = "b4f2d5322f73780f" } },
    }
    local about <const> = json.decode(assert(fs.read(lab.dir .. "/site.json"))).vcenter
    local job <const> = fake_job.new()
    login = vcenters.login(job, {
      host = about.host,
      username = about.username,
      password = secret.new(about.password),
      tls = { thumbprint = about.thumbprint },
    })
    host = vcenters.of(job, login):host_again { type = "HostSystem", id = "host-21" }
  end)

  teardown(function()
    if login then login:close() end
    if lab then lab:stop() end
    process.run { argv = { "rm", "-rf", dir } }
  end)

  it("are of the fabrics that an array speaks", function()
    assert.same({ { kind = "iscsi", id = HBAS[1].iqn, adapter = "vmhba64" } }, host:ports { "iscsi", "fc" })
    assert.same({
      { kind = "nvme", id = NQN, adapter = "vmhba66" },
      { kind = "sdc", id = GUID, adapter = "vmhba67" },
    }, host:ports { "nvme", "sdc" })
  end)

  it("reach an array by its subsystem, or by PowerFlex' own network", function()
    local nvme <const> = host:initiators_reaching({ "nvme", "iscsi" }, { { kind = "nvme", id = SUBSYSTEM } })
    assert.same({ { kind = "nvme", id = NQN, adapter = "vmhba66" } }, nvme)
    assert.same({ { kind = "sdc", id = GUID, adapter = "vmhba67" } }, host:initiators_reaching { "sdc" })
  end)

  it("show a LUN that is mapped to them", function()
    local naa <const> = "eui.b4f2d5322f73780f5a5beec600000002"
    for _, id in ipairs { NQN, GUID } do
      lab.fabric:set_maps(naa, { { initiators = { id }, number = 3, via = "x" } })
      host:rescan { "vmhba66", "vmhba67" }
      assert.equal("on", host:device(naa).Status)
      lab.fabric:set_maps(naa, {})
      host:drop_paths { "vmhba66", "vmhba67" }
      assert.is_nil(host:device(naa))
    end
  end)
end)
