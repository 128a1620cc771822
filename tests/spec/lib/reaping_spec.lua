local fake_job <const> = require "spec.support.fake_job"
local json <const> = require "lunalift.json"
local stand_in <const> = require "spec.support.stand_in"

local NAA <const> = "naa.1"

describe("reaping", function()
  local restore, reaping, files, held, leases, cluster, settled, left_over, tasks, luns, did, device_off, wrapper_lists

  before_each(function()
    files, held, leases, cluster, settled, left_over, did = {}, {}, {}, {}, {}, {}, {}
    tasks, luns, device_off, wrapper_lists = {}, {}, {}, true
    restore = stand_in.install {
      ["lunalift.log"] = stand_in.log(),
      ["lunalift.journal"] = {
        list = function()
          local names <const> = {}
          for path in pairs(files) do
            names[#names + 1] = path:match "[^/]+$"
          end
          return names
        end,
        read = function(path)
          if files[path] then return files[path] end
          return nil, { kind = "not_found", message = "none" }
        end,
        lock = function(path)
          if held[path] then return nil, { kind = "busy", message = "held" } end
          return { close = function() end }
        end,
      },
      ["lib.journals"] = { folder = function() return "/state" end },
      ["lib.journal_file"] = { open = function(path) return path end },
      ["lib.journal_lease"] = {
        MARK = "m",
        list = function(_, namespace)
          if namespace then return leases end
          if not cluster then error(fake_job.refusal "denied") end
          return cluster
        end,
        take = function(_, _, lease) return lease.name end,
      },
      ["lib.recovery"] = {
        settle = function(_, journal)
          settled[#settled + 1] = journal
          return left_over
        end,
      },
    }
    reaping = require "lib.reaping"
  end)

  after_each(function() restore() end)

  local function text(changes)
    local subject <const> = { array = "array.example", vcenter = "vc.example", host = "host-1" }
    for key, value in pairs(changes or {}) do
      subject[key] = value
    end
    local map <const> = { n = 1, undo = "array.unmap", args = { lun = { id = "l-9" } }, about = "LUN 9 is mapped" }
    return json.encode { v = 1, subject = subject, entries = { map } }
  end

  local function lease(is_dead, changes)
    return {
      name = "lunalift-u",
      is_dead = is_dead,
      lease = { name = "taken", metadata = { annotations = { m = text(changes) } } },
    }
  end

  local function make_job(request)
    local clones <const> = {
      offers = function() return wrapper_lists end,
      tasks = function() return tasks end,
      poll = function(_, id) return { updated_at = id == "old" and 1 or require("lunalift.timer").epoch() } end,
      clean = function(_, id) did[#did + 1] = "clean " .. id end,
    }
    local host <const> = {
      id = "hostsystem-host-1",
      name = "esx1",
      check_usable = function() end,
      wrapper = function() return clones end,
      initiators_reaching = function() return { { adapter = "vmhba1" } } end,
      detach = function(_, naa) did[#did + 1] = "detach " .. naa end,
      drop_paths = function() did[#did + 1] = "drop" end,
      detached = function() return device_off end,
    }
    local array <const> = {
      where = "array.example",
      targets = function() return {} end,
      find_host = function(_, _, name) return { id = "h", name = name, ours = true } end,
      offers = function() return true end,
      luns_of = function() return luns end,
      unmap = function(_, lun) did[#did + 1] = "unmap " .. lun.id end,
      remove_host = function()
        did[#did + 1] = "remove"
        return "removed"
      end,
    }
    local vcenter <const> = {
      where = "vc.example",
      all_hosts = function() return { { ref = { id = "host-1" }, name = "esx1" } } end,
      host_again = function() return host end,
    }
    return fake_job.new {
      request = request,
      site = {
        array = function() return array end,
        vcenter = function() return vcenter end,
      },
    }
  end

  local function states(items)
    local list <const> = {}
    for i, item in ipairs(items) do
      list[i] = item.state
    end
    return list
  end

  describe("finds journals", function()
    it("of this user's folder, in order, and of a namespace", function()
      files = { ["/state/b.json"] = text(), ["/state/a.json"] = "{", ["/state/c.json"] = text() }
      held["/state/c.json"] = true
      leases = { lease(true), lease(false) }
      local items <const> = reaping.journals(make_job { namespace = "move" })
      assert.same({ "unreadable", "dead", "live", "dead", "live" }, states(items))
      assert.same({ "file /state/b.json", "LUN 9 is mapped" }, { items[2].where, items[2].about })
      assert.equal("Lease move/lunalift-u", items[4].where)
      assert.equal(4, #items - 1)
      assert.equal(3, reaping.count_left(items))
    end)

    it("in the one file that was named, or nowhere else", function()
      files = { ["/state/b.json"] = text(), ["/j.json"] = text() }
      assert.equal("file /j.json", reaping.journals(make_job { journal = "file:/j.json" })[1].where)
      assert.same({}, reaping.journals(make_job { journal = "file:/none.json" }))
      for _, request in ipairs { { journal = "lease" }, { journal = "/j.json" } } do
        local ok <const>, why <const> = pcall(reaping.journals, make_job(request))
        assert.is_false(ok)
        assert.equal("config", why.kind)
      end
    end)
  end)

  describe("settles journals", function()
    local function outcome()
      local job <const> = make_job { journal = "file:/j.json" }
      local items <const> = reaping.journals(job)
      reaping.settle(job, items)
      return items[1].outcome, items[1].why
    end

    it("of dead runs on this site", function()
      files["/j.json"] = text()
      assert.equal("settled", outcome())
      assert.same({ "/j.json" }, settled)
    end)

    it("never of live runs, of other sites, or that nobody can read", function()
      files["/j.json"], held["/j.json"] = text(), true
      assert.same({ "kept", "its run goes on" }, { outcome() })
      held = {}
      for _, changes in ipairs { { array = "x" }, { vcenter = "x" } } do
        files["/j.json"] = text(changes)
        local kept <const>, why <const> = outcome()
        assert.equal("kept", kept)
        assert.matches("it is of array", why)
      end
      files["/j.json"] = json.encode { v = 1, entries = {} }
      assert.equal("kept", (outcome()))
      files["/j.json"] = "{"
      assert.equal("kept", (outcome()))
      assert.same({}, settled)
    end)

    it("and says what still stands in the way", function()
      files["/j.json"] = text()
      left_over = { { promise = { about = "device on" }, why = fake_job.refusal "busy" } }
      assert.same({ "kept", "device on: it said busy" }, { outcome() })
    end)
  end)

  describe("scans", function()
    before_each(function() luns = { { id = "l-1", name = "one", naa = NAA } } end)

    local function scan(request)
      local job <const> = make_job(request or { journal = "file:/j.json" })
      local journals <const> = reaping.journals(job)
      local items <const> = reaping.scan(job, journals)
      reaping.settle(job, items)
      return items
    end

    local function task(id, state)
      return { taskId = id, state = state, source = "s", target = "/vmfs/devices/disks/" .. NAA }
    end

    it("maps to our host object, and unmaps them device first", function()
      scan()
      assert.same({ "detach naa.1", "unmap l-1", "drop", "remove" }, did)
    end)

    it("tasks that ended long ago, and no others", function()
      luns, tasks = {}, { task("old", "done"), task("new", "failed"), task("x", "running") }
      local items <const> = scan()
      assert.same({ "clean old", "remove" }, did)
      assert.matches("ended lately", items[2].why)
      assert.equal("it runs", items[3].why)
    end)

    it("and leaves a LUN to which a clone writes, or might", function()
      tasks = { task("x", "running") }
      scan()
      assert.same({ "remove" }, did) -- the array itself refuses while it is in use
      did, tasks, wrapper_lists = {}, {}, false
      scan()
      assert.same({ "remove" }, did)
    end)

    it("and leaves a host on which a live run works, whose journal is here or in any namespace", function()
      files["/j.json"], held["/j.json"] = text(), true
      scan()
      files, cluster = {}, { lease(false) }
      scan()
      assert.same({}, did)
      cluster = { lease(false, { host = "host-2" }), lease(true) }
      scan()
      assert.equal(4, #did)
    end)

    it("and proves nothing where it may not list all Leases", function()
      cluster = nil
      local items <const> = scan()
      assert.same({}, did)
      assert.matches("live runs elsewhere are unknown", items[1].why)
    end)

    it("devices that are off, which nothing proves to be ours", function()
      luns, device_off = {}, { "naa.7" }
      local items <const> = scan()
      assert.same(
        { "device off", "kept", "nothing proves that it is ours" },
        { items[2].kind, items[2].outcome, items[2].why }
      )
    end)

    it("nothing that a journal names: settling that one sees to it", function()
      files["/j.json"] = text()
      luns = { { id = "l-9", name = "nine", naa = NAA } }
      scan()
      assert.same({ "remove" }, did)
    end)

    it("and tells which hosts it could not look at", function()
      local job <const> = make_job { journal = "file:/j.json" }
      job.site:vcenter().host_again = function() error(fake_job.refusal "unreachable") end
      local items <const> = reaping.scan(job, {})
      assert.same({ "host", "esx1", "unreadable" }, { items[1].kind, items[1].where, items[1].state })
      assert.equal(1, reaping.count_left(items))
    end)
  end)
end)
