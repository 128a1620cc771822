local fail <const> = require "lib.fail"
local fs <const> = require "lunalift.fs"
local fake_job <const> = require "spec.support.fake_job"

describe("the checks", function()
  local checks, job, all

  before_each(function()
    checks = require "lib.checks"
    job = fake_job.new {
      site = { conf = { vcenter = { host = "vc" }, array = { hostname = "array" } } },
      request = { vm = "vm-1", vmdk = { text = "[ds] a/a.vmdk", datastore = "ds" }, namespace = "shop", claim = "data" },
    }
    all = table.move(checks.LIST, 1, #checks.LIST, 1, {})
  end)

  after_each(function()
    for i = #checks.LIST, 1, -1 do
      checks.LIST[i] = nil
    end
    table.move(all, 1, #all, 1, checks.LIST)
  end)

  local function only(...)
    local list <const> = { ... }
    for i = 1, math.max(#checks.LIST, #list) do
      checks.LIST[i] = list[i]
    end
  end

  local function named(name)
    for _, check in ipairs(all) do
      if check.name == name then return check end
    end
  end

  local function raised(fn, ...)
    local ok <const>, why <const> = pcall(fn, ...)
    assert.is_false(ok)
    assert.is_true(fail.is(why), tostring(why))
    return why
  end

  it("have names of their own, and build on checks that there are, without circles", function()
    local function depth(name, seen)
      assert.is_nil(seen[name], "circle through " .. name)
      seen[name] = true
      for _, need in ipairs(assert(named(name), name).needs or {}) do
        depth(need, setmetatable({}, { __index = seen }))
      end
    end
    local names <const> = {}
    for _, check in ipairs(all) do
      assert.is_nil(names[check.name], check.name)
      names[check.name] = true
      depth(check.name, {})
    end
  end)

  it("skip what builds on a failed one, say why, and make all others", function()
    only(
      { name = "last", of = "vm", needs = { "middle" }, run = function() return "never" end },
      { name = "middle", of = "vm", needs = { "first" }, run = function() return "never" end },
      { name = "first", of = "vm", run = function() error(fail.hint(fail.new("config", "no"), "do this")) end },
      { name = "other", of = "claim", run = function() return "fine" end },
      { name = "so so", of = "disk", run = function() return "well", "do that" end },
      { name = "silent", of = "host", run = function() return nil, "nobody tells" end },
      { name = "broken", of = "array", run = function() error "a mistake" end }
    )
    local results <const> = checks.all(job)
    local texts <const> = {}
    for i, result in ipairs(results) do
      texts[i] = ("%s %s %s: %s"):format(result.name, result.subject, result.status, result.text)
    end
    assert.same({
      "last vm-1 skipped: 'first' failed",
      "middle vm-1 skipped: 'first' failed",
      "first vm-1 fail: no",
      "other shop/data pass: fine",
      "so so [ds] a/a.vmdk warn: well",
    }, table.move(texts, 1, 5, 1, {}))
    assert.same({ "do this", "config", "do that" }, { results[3].fix, results[3].kind, results[5].fix })
    assert.same({ "skipped", "nobody tells" }, { results[6].status, results[6].text })
    assert.same({ "fail", "bug" }, { results[7].status, results[7].kind })
  end)

  it("that are fatal end a copy by the first failure, and warn of the rest", function()
    local asked <const> = {}
    local function asking(name, by, fn)
      return {
        name = name,
        of = "vm",
        fatal = name ~= "cheap",
        by = by,
        run = function()
          asked[#asked + 1] = name
          return fn()
        end,
      }
    end
    local function fine() return "fine" end
    only(
      asking("cheap", nil, fine),
      asking("array's", "array", fine),
      asking("warns", "host", function() return "so so", "do that" end),
      asking("fails", nil, function() fail.raise("busy", "not now") end),
      asking("later", nil, fine)
    )
    assert.equal("not now", raised(checks.fatal, job, { way = { by = "host" } }).message)
    assert.same({ "warns", "fails" }, asked)
    assert.same({ "warning so so; do that" }, fake_job.only(job.trace, "warning"))
  end)

  it("want nobody to write to the disk: a host would notice, an array would not", function()
    local power <const> = named("VM power").run
    local on <const>, top <const> = { name = "web", power = "poweredOn" }, { path = "[ds] a/a.vmdk", is_top = true }
    local way <const> = { by = "array" }
    assert.same({ "poweredOff" }, { power { vm = { power = "poweredOff" }, disk = top, way = way } })
    local below <const> = { path = "[ds] a/a.vmdk", top = "[ds] a/a-1.vmdk", is_top = false }
    assert.same({ "poweredOn, writes to [ds] a/a-1.vmdk" }, { power { vm = on, disk = below, way = way } })
    local text <const>, fix <const> = power { vm = on, disk = top, way = { by = "host" } }
    assert.matches("VM web is poweredOn: a disk it has open cannot be copied", text)
    assert.matches("power it off", fix)
    local why <const> = raised(power, { vm = on, disk = top, way = way })
    assert.equal("VM web is poweredOn and writes to [ds] a/a.vmdk", why.message)
    assert.matches("make a snapshot", why.hint)
  end)

  it("compare makers where the array cannot look devices up", function()
    local match <const> = named("array and datastore match").run
    local found <const> = {
      way = { by = "host" },
      array = { offers = function() return false end },
      disk = { datastore = { extents = { "naa.600a098000000001" } } },
      lun = { naa = "NAA.600A098000000002" },
    }
    assert.same({ "devices of one maker" }, { match(found) })
    found.lun.naa = "naa.624a937000000001"
    local text <const>, fix <const> = match(found)
    assert.equal("naa.600a098000000001 and naa.624a937000000001 are of different makers", text)
    assert.is_string(fix)
  end)

  it("count the paths to the devices", function()
    local states = { "active", "standby" }
    local host <const> = { name = "esx", ref = { type = "HostSystem", id = "host-1" }, vcenter = {} }
    function host.vcenter.retrieve()
      local paths <const> = {}
      for i, state in ipairs(states) do
        paths[i] = { state = state, adapter = "key-vmhba2" }
      end
      return {
        {
          props = {
            ["config.storageDevice.scsiLun"] = { { canonicalName = "naa.1", key = "lun-1" } },
            ["config.storageDevice.multipathInfo"] = { lun = { { lun = "lun-1", path = paths } } },
          },
        },
      }
    end
    local found <const> = { host = host, devices = { "naa.1" } }
    local paths <const> = named("paths").run
    assert.same({ "2 to naa.1" }, { paths(found) })
    states = { "active", "dead", "dead" }
    assert.equal("2 of 3 paths to naa.1 are dead", (paths(found)))
    states = { "dead" }
    assert.equal("host esx has no active path to naa.1", raised(paths, found).message)
  end)

  it("find the descriptor's room too small, and /tmp's", function()
    local datastore <const> = { name = "ds", type = "VMFS", free_bytes = 100 }
    local found <const> = { disk = { datastore = datastore }, host = { name = "esx" }, facts = { freeTmpBytes = 10 } }
    assert.equal(
      "datastore ds has 100 bytes free, 4 MiB are needed",
      raised(named("room for descriptors").run, found).message
    )
    assert.equal(
      "/tmp of host esx has 10 bytes free, 1 MiB are needed",
      raised(named("room in /tmp").run, found).message
    )
    for _, untold in ipairs { false, -592705486848 } do
      datastore.free_bytes = untold or nil
      assert.is_nil((named("room for descriptors").run(found)))
    end
  end)

  it("blame no copy of the disk on others that the next run goes on with", function()
    local path <const> = os.tmpname()
    job.request.journal, job.request.vmdk.on_host = "file:" .. path, "/vmfs/volumes/ds/a/a.vmdk"
    local clone <const> = { taskId = "t-1", state = "running", source = "/vmfs/volumes/ds/a/a.vmdk" }
    local wrapper <const> = { offers = function() return true end, tasks = function() return { clone } end }
    local found <const> =
      { job = job, volume = { claim = { uid = "u-1" } }, host = { name = "esx" }, wrapper = wrapper }
    assert(fs.write(path, '{"v":1,"task":"t-1","entries":[]}'))
    assert.matches("a run that ended left", (named("other runs").run(found)))
    assert.equal("only that of the run that left its journal", (named("clones of the disk").run(found)))
    clone.taskId = "t-2"
    assert.matches("clone t%-2 on esx reads", raised(named("clones of the disk").run, found).message)
    assert(fs.remove(path))
    assert(fs.remove(path .. ".lock"))
  end)

  describe("ask the wrapper for the descriptor's place where the datastore is no VMFS", function()
    local room <const> = named("room for descriptors").run
    local facts, found

    before_each(function()
      facts = {}
      found = {
        job = { request = { vmdk = { on_host = "/vmfs/volumes/filer/a.vmdk" } } },
        disk = { path = "[filer] a.vmdk", datastore = { name = "filer", type = "NFS", free_bytes = 100 } },
        host = { name = "esx" },
        wrapper = {
          preflight = function(_, source)
            assert.equal("/vmfs/volumes/filer/a.vmdk", source)
            return facts
          end,
        },
      }
    end)

    it("and take what it tells", function()
      facts = { descriptorFolder = "/vmfs/volumes/1", freeDatastoreBytes = 5 << 20 }
      assert.equal("5 MiB free on /vmfs/volumes/1", (room(found)))
      facts.freeDatastoreBytes = 100
      assert.equal("datastore /vmfs/volumes/1 has 100 bytes free, 4 MiB are needed", raised(room, found).message)
    end)

    it("and refuse without one, or with a wrapper that knows of none", function()
      local message <const> = "no VMFS datastore on host esx for the RDM descriptor of [filer] a.vmdk"
      assert.equal(message, raised(room, found).message)
      facts = nil
      assert.equal(message, raised(room, found).message)
    end)
  end)
end)
