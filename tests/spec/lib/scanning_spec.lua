local fake_job <const> = require "spec.support.fake_job"
local json <const> = require "lunalift.json"
local stand_in <const> = require "spec.support.stand_in"

local NAA <const>, PEER <const> = "naa.1", "xcopy-host-1-0a1b2c3d"
local ID <const> = "11111111-1111-4111-8111-111111111111"
local RDM <const> = 'createType="vmfsRawDeviceMap"\nRW 1 VMFSRDM "lunalift-rdmdisk-' .. ID .. '-rdm.vmdk"\n'

describe("scanning", function()
  local restore, scanning, cluster, tasks, luns, device_off, lists, did, volumes, journals, peers

  before_each(function()
    cluster, tasks, luns, device_off, lists, did, volumes, journals = {}, {}, {}, {}, true, {}, {}, {}
    peers = { [PEER] = { id = "h", name = PEER, ours = true, ports = { "IQN.a" } } }
    restore = stand_in.install {
      ["lunalift.log"] = stand_in.log(),
      ["lib.journal_lease"] = {
        MARK = "m",
        list = function() return cluster or error(fake_job.refusal "denied") end,
      },
      ["lib.datastores"] = { all = function() return volumes end },
    }
    scanning = require "lib.scanning"
  end)

  after_each(function() restore() end)

  local function note(...) did[#did + 1] = table.concat({ ... }, " ") end

  local clones <const> = {
    offers = function() return lists end,
    tasks = function() return tasks end,
    poll = function(_, id) return { updated_at = id == "old" and 1 or require("lunalift.timer").epoch() } end,
    clean = function(_, id) note("clean", id) end,
  }

  local host <const> = {
    ref = { id = "host-1" },
    name = "esx1",
    peer_name = PEER,
    upstream_name = "xcopy-hostsystem-host-1",
    ports = function() return { { id = "iqn.a" } } end,
    check_usable = function() end,
    wrapper = function() return clones end,
    initiators_reaching = function() return { { adapter = "vmhba1" } } end,
    detach = function(_, naa) note("detach", naa) end,
    drop_paths = function() note "drop" end,
    detached = function() return device_off end,
  }

  local array <const> = {
    vendor = { fabrics = { "iscsi" } },
    where = "array.example",
    targets = function() return {} end,
    hosts_of = function(_, _, name) return { peers[name] } end,
    offers = function() return true end,
    luns_of = function() return luns end,
    unmap = function(_, lun) note("unmap", lun.id) end,
    remove_host = function()
      note "remove"
      return "removed"
    end,
  }

  local function scan(assume_dead)
    local vcenter <const> = {
      where = "vc.example",
      all_hosts = function() return { { ref = { id = "host-1" }, name = "esx1" } } end,
      host_again = function() return host end,
    }
    local job <const> = fake_job.new {
      request = { assume_dead = assume_dead },
      site = { array = function() return array end, vcenter = function() return vcenter end },
    }
    local found <const> = scanning.scan(job, journals)
    local by_kind <const> = {}
    for _, item in ipairs(found) do
      by_kind[item.kind] = item
      if item.remove then item.remove() end
    end
    return by_kind, found
  end

  local function task(id, state)
    return { taskId = id, state = state, source = "s", target = "/vmfs/devices/disks/" .. NAA }
  end

  local function text(lun, naa)
    local map <const> = { n = 1, undo = "array.unmap", args = { lun = { id = lun } }, about = "mapped" }
    return { task = "t-9", subject = { host = "host-1", lun = lun, naa = naa }, entries = { map } }
  end

  local function journal(state, lun) return { kind = "journal", state = state, text = text(lun) } end

  local function lease(is_dead, lun)
    local kept <const> = text(lun)
    kept.v = 1
    return { name = "l", is_dead = is_dead, lease = { metadata = { annotations = { m = json.encode(kept) } } } }
  end

  describe("finds a LUN that is mapped to our host object", function()
    before_each(function() luns = { { id = "l-1", name = "one", naa = NAA } } end)

    it(
      "and leaves it and the host object alone, since both may be another run's; it tells how to say that they are not",
      function()
        local found <const> = scan()
        assert.same({}, did)
        assert.equal("lunalift reap --scan --apply --assume-dead naa.1", found.map.command)
        assert.equal("lunalift reap --scan --apply --assume-dead " .. PEER, found["host object"].command)
        assert.matches("about to copy", found.map.why)
      end
    )

    it("and takes away what the user names, device first, and nothing else", function()
      scan(NAA)
      assert.same({ "detach naa.1", "unmap l-1", "drop" }, did)
      did = {}
      scan(PEER)
      assert.same({ "remove" }, did)
    end)

    it("and leaves it while a clone writes to it, whatever the user says", function()
      tasks = { task("x", "running") }
      local found <const> = scan(NAA)
      assert.same({}, did)
      assert.same({ "a clone writes to it" }, { found.map.why, found.map.command })
    end)

    it("and looks for a writer once more before it is taken away", function()
      local asked = 0
      clones.tasks = function()
        asked = asked + 1
        return asked < 3 and {} or { task("x", "running") }
      end
      assert.is_false(pcall(scan, NAA))
      assert.same({}, did)
      clones.tasks = function() return tasks end
    end)

    it("and leaves it to a live run that is known to work with it, here or in any namespace", function()
      for _, known in ipairs { { { journal("live", "l-1") }, {} }, { {}, { lease(false, "l-1") } } } do
        journals, cluster = known[1], known[2]
        local found <const> = scan(NAA .. "," .. PEER)
        assert.same({ "live", "live" }, { found.map.state, found["host object"].state })
      end
      assert.same({}, did)
    end)

    it("but not because of a live run on another LUN, or a dead one of a Lease elsewhere", function()
      cluster = { lease(false, "l-2"), lease(true, "l-1") }
      scan(NAA)
      assert.equal(3, #did)
    end)

    it("and one of upstream's, but for another vCenter's host of that name, whose ports are in it", function()
      local other <const> = "xcopy-hostsystem-host-1"
      peers = { [other] = { id = "h", name = other, ours = true, ports = { "iqn.a" } } }
      assert.matches(other, scan()["host object"].command, 1, true)
      peers[other].ports = { "iqn.a", "iqn.b" }
      local _, items <const> = scan()
      assert.same({}, items)
    end)

    it("unless a dead run's journal names it: settling that one sees to it", function()
      journals = { journal("dead", "l-1") }
      assert.is_nil(scan().map)
    end)
  end)

  describe("finds tasks", function()
    before_each(function() peers = {} end)

    it("and cleans those that ended long ago, no others", function()
      tasks = { task("old", "done"), task("new", "failed"), task("x", "running") }
      local _, items <const> = scan()
      assert.same({ "clean old" }, did)
      assert.matches("ended lately", items[2].why)
      assert.equal("it runs", items[3].why)
    end)

    it("and cleans none of a live run, or when some may be unknown, unless the user names it", function()
      tasks, journals = { task("old", "done") }, { { kind = "journal", state = "live", text = text "l" } }
      journals[1].text.task = "old"
      assert.equal("live", scan().task.state)
      journals, cluster = {}, nil
      assert.matches("may not list all Leases", scan().task.why)
      assert.same({}, did)
      scan "old"
      assert.same({ "clean old" }, did)
    end)
  end)

  it("finds devices that are off, of which nothing tells who switched them off", function()
    device_off = { "naa.7" }
    local found <const> = scan()
    assert.matches("nothing proves", found["device off"].why)
    assert.equal("esxcli storage core device detached remove -d naa.7", found["device off"].command)
    assert.same({}, did)
  end)

  describe("finds descriptors", function()
    local files

    before_each(function()
      files = { ["vm/lunalift-rdmdisk-" .. ID .. ".vmdk"] = RDM }
      volumes = {
        {
          name = "ds",
          accessible = true,
          hosts = { ["host-1"] = true },
          full = function(_, path) return "[ds] " .. path end,
          search = function()
            local found <const> = {}
            for path in pairs(files) do
              found[#found + 1] = { folder = path:match "^.*/", name = path:match "[^/]+$" }
            end
            return found
          end,
          read = function(_, path) return files[path] end,
          delete = function(_, path) note("delete", path) end,
        },
      }
    end)

    local BOTH <const> =
      { "delete vm/lunalift-rdmdisk-" .. ID .. "-rdm.vmdk", "delete vm/lunalift-rdmdisk-" .. ID .. ".vmdk" }

    it("of tasks that every host has forgotten, and deletes them, although not all live runs are known", function()
      cluster = nil
      scan()
      assert.same(BOTH, did)
    end)

    it("but not those of tasks that a host knows: they go with their task", function()
      tasks = { task(ID, "running") }
      assert.is_nil(scan().descriptor)
      assert.same({}, did)
    end)

    it("and deletes none while a host cannot tell, unless the user names the task", function()
      lists = false
      local found <const> = scan()
      assert.same({}, did)
      assert.matches("the wrapper on esx1 lists no tasks", found.descriptor.why)
      assert.equal("lunalift reap --scan --apply --assume-dead " .. ID, found.descriptor.command)
      scan(ID)
      assert.same(BOTH, did)
    end)

    it("and deletes none whose text is another file's, whatever the user says", function()
      files["vm/lunalift-rdmdisk-" .. ID .. ".vmdk"] = 'createType="vmfs"\nRW 1 VMFS "web-flat.vmdk"\n'
      assert.equal("it is no RDM descriptor of a clone", scan(ID).descriptor.why)
      assert.same({}, did)
    end)

    it("and tells of upstream's, which it never deletes", function()
      files = { ["o'vm/a.vmdk-rdmdisk-12"] = "" }
      assert.equal([[vmkfstools -U '/vmfs/volumes/ds/o'\''vm/a.vmdk-rdmdisk-12']], scan().descriptor.command)
      assert.same({}, did)
    end)

    it("and tells which datastore it could not look at", function()
      volumes[1].accessible = false
      assert.same({ "unreadable", "no host reaches it" }, { scan().datastore.state, scan().datastore.why })
    end)
  end)

  it("refuses names that were not found, before anything is touched", function()
    local ok <const>, why <const> = pcall(scan, "naa.9")
    assert.is_false(ok)
    assert.equal("config", why.kind)
    assert.is_string(why.hint)
  end)

  it("tells which hosts it could not look at", function()
    host.check_usable = function() error(fake_job.refusal "unreachable") end
    local found <const> = scan()
    assert.same({ "esx1", "unreadable" }, { found.host.where, found.host.state })
    host.check_usable = function() end
  end)
end)
