--- Several runs on one ESXi host: they share its host object on the array, whoever made it and whoever is last, and what was there before.
local fs <const> = require "lunalift.fs"
local http <const> = require "lunalift.http"
local json <const> = require "lunalift.json"
local labs <const> = require "support.lab"
local secret <const> = require "lunalift.secret"
local timer <const> = require "lunalift.timer"

local RUNS <const>, ROUNDS <const> = 5, 4
local IQN <const> = "iqn.1998-01.com.vmware:esx-01:64"

local function scenario()
  local vms <const> = {}
  for i = 1, RUNS do
    local disk <const> = { datastore = "ds 1", file = ("web %d/web.vmdk"):format(i), size_mib = 1 }
    vms[i] = { moref = "vm-" .. i, name = "web " .. i, host = "host-21", disks = json.array { disk } }
  end
  local hba <const> = { device = "vmhba64", kind = "iscsi", driver = "iscsi_vmk", model = "iSCSI", iqn = IQN }
  return {
    esxi = { rescan_s = 0 },
    datacenters = json.array {
      {
        moref = "datacenter-3",
        name = "DC",
        hosts = json.array { { moref = "host-21", name = "esx-01.lab.example", hbas = json.array { hba } } },
        datastores = json.array {
          { moref = "datastore-15", name = "ds 1", uuid = "66aa0f10-5d2c3b1e-8a17-005056a10015", size_mib = 64 },
        },
        vms = json.array(vms),
      },
    },
  }
end

describe("runs on one host", function()
  local lab

  local function array(method, path, body)
    local about <const> = lab.site.arrays[1]
    local client <const> = http.client {
      base = ("https://%s/api/protocols/san"):format(about.host),
      username = about.username,
      password = secret.new(about.password),
      tls = { ca_file = lab.site.ca_file },
    }
    return assert(client[method](client, path, { json = body, query = { return_records = true } })).json
  end

  -- An igroup of the name that we give, by somebody else.
  local function make_igroup(initiators)
    local members <const> = {}
    for i, name in ipairs(initiators) do
      members[i] = { name = name }
    end
    return array("post", "/igroups", {
      name = ("xcopy-host-21-%s-iscsi"):format(lab.site.vcenter.uuid:sub(1, 8)),
      protocol = "iscsi",
      os_type = "vmware",
      svm = { name = lab.site.arrays[1].svm },
      initiators = json.array(members),
    }).records[1]
  end

  setup(function() lab = labs.start(scenario(), labs.QUICK_BIN) end)
  teardown(function() lab:stop() end)

  it("at once all succeed, and leave nothing of what they shared", function()
    local before <const> = lab:snapshot()
    for round = 1, ROUNDS do
      local started <const> = {}
      for i = 1, RUNS do
        local claim <const> = lab:claim(("vm-%d-disk-1"):format(i))
        fs.pwrite(claim.lun_path, 0, ("x"):rep(4096))
        started[claim] = lab:start_populate { claim = claim.name }
        timer.sleep(0.07 * (round - 1)) -- at once, and in a row
      end
      for claim, run in pairs(started) do
        local ended <const> = run:wait()
        assert.equal(0, ended.code, ended.err)
        assert.equal(labs.sha256(lab:source_of(claim)), labs.sha256(claim.lun_path))
      end
      assert.same(before, lab:snapshot())
    end
  end)

  it("leave on what was on before them, and mapped what was mapped", function()
    local claim <const>, igroup <const> = lab:claim "vm-1-disk-1", make_igroup { IQN }
    local lun
    for _, each in ipairs(lab:state().ontap.luns) do
      if each.naa == claim.naa then lun = each end
    end
    local svm <const> = { name = lab.site.arrays[1].svm }
    array("post", "/lun-maps", { svm = svm, lun = { uuid = lun.uuid }, igroup = { uuid = igroup.uuid } })
    assert.equal(0, lab:populate({ claim = "vm-2-disk-1" }).code) -- its rescan finds the other's LUN as well
    local before <const> = lab:snapshot()
    assert.equal("on", before.hosts["host-21"].devices[claim.naa].status)
    local ended <const> = lab:populate { claim = claim.name }
    assert.equal(0, ended.code, ended.err)
    assert.matches("%(found%), mapping existing", ended.out)
    assert.same(before, lab:snapshot())
    array("delete", ("/lun-maps/%s/%s"):format(lun.uuid, igroup.uuid))
    array("delete", "/igroups/" .. igroup.uuid)
  end)

  it("refuse an igroup of our name that shows LUNs to others, too, and do not touch it", function()
    local igroup <const> = make_igroup { IQN, "iqn.1998-01.com.vmware:other:64" }
    local before <const> = lab:snapshot()
    local ended <const> = lab:populate { claim = "vm-2-disk-1" }
    assert.equal(1, ended.code)
    assert.matches("holds ports of another host: iqn.1998-01.com.vmware:other:64", ended.err, 1, true)
    assert.matches("\n  fix   take them out of it", ended.err)
    assert.same(before, lab:snapshot())
    array("delete", "/igroups/" .. igroup.uuid)
  end)
end)
