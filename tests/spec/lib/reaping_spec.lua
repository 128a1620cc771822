local fake_job <const> = require "spec.support.fake_job"
local json <const> = require "lunalift.json"
local stand_in <const> = require "spec.support.stand_in"

describe("reaping", function()
  local restore, reaping, files, held, leases, settled, left_over

  before_each(function()
    files, held, leases, settled, left_over = {}, {}, {}, {}, {}
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
        list = function() return leases end,
        take = function(_, _, lease) return lease.name end,
      },
      ["lib.dead_runs"] = {
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

  local function lease(is_dead)
    return {
      name = "lunalift-u",
      is_dead = is_dead,
      lease = { name = "taken", metadata = { annotations = { m = text() } } },
    }
  end

  local function make_job(request)
    return fake_job.new {
      request = request,
      site = {
        array = function() return { where = "array.example" } end,
        vcenter = function() return { where = "vc.example" } end,
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

    it("of a run that may live, and says until when", function()
      leases = { lease(false) }
      leases[1].age_s, leases[1].dead_in_s = 11.8, 18.2
      local items <const> = reaping.journals(make_job { namespace = "move" })
      assert.equal("its run was heard of 12 s ago; silent for 19 s more, it counts as dead", items[1].why)
      assert.is_true(reaping.has_live(items))
      reaping.settle(make_job {}, items)
      assert.same({ "kept", {} }, { items[1].outcome, settled })
      assert.matches("counts as dead", items[1].why)
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

  it("settles other things where they may be removed, and says why they stay", function()
    local job <const> = make_job {}
    local items <const> = {
      { kind = "map", state = "left", about = "a", remove = function() settled[#settled + 1] = "a" end },
      { kind = "map", state = "left", about = "b", why = "unproved" },
      { kind = "map", state = "left", about = "c", remove = function() error(fake_job.refusal "busy") end },
    }
    reaping.settle(job, items)
    assert.same({ "settled", "kept", "kept" }, { items[1].outcome, items[2].outcome, items[3].outcome })
    assert.same({ "unproved", "it said busy" }, { items[2].why, items[3].why })
    assert.same({ { "a" }, 2 }, { settled, reaping.count_left(items) })
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
end)
