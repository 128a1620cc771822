local fail <const> = require "lib.fail"
local fake_job <const> = require "spec.support.fake_job"
local stand_in <const> = require "spec.support.stand_in"

local HOST <const> = { type = "HostSystem", id = "host-1" }
local DEVICE <const>, SOURCE <const> = "/vmfs/devices/disks/naa.1", "/vmfs/volumes/ds/web/web.vmdk"
local VOLUME <const> = { claim = { name = "data", namespace = "move", uid = "u-1" } }

describe("recovery", function()
  local restore, recovery, clock, left, tasks, device, home, leases, undone, subject

  before_each(function()
    clock, tasks, home, leases, undone = stand_in.clock(), {}, "", {}, {}
    device = { Device = "naa.1", Status = "on" }
    subject = {
      claim = "u-1",
      vm = "vm-1",
      vmdk = "[ds] web/web.vmdk",
      lun = "l-1",
      naa = "naa.1",
      host = "host-1",
      array = "array.example",
      vcenter = "vc.example",
    }
    local function undoes(name, barrier)
      return {
        within_s = 1,
        barrier = barrier,
        run = function(_, args)
          undone[#undone + 1] = name
          if args.why then error(args.why) end
        end,
      }
    end
    restore = stand_in.install {
      ["lunalift.timer"] = clock.timer,
      ["lunalift.log"] = stand_in.log(),
      ["lib.undo"] = {
        ["array.unmap"] = undoes "array.unmap",
        ["host.detach"] = undoes "host.detach",
        ["clone.stop"] = undoes("clone.stop", true),
      },
      ["lib.copies"] = { subject = function() return subject end },
      ["lib.journals"] = {
        home = function() return home end,
        of = function(job)
          local journal <const> = job.fake_journal
          journal.read = function() return left end
          return journal
        end,
      },
      ["lib.journal_lease"] = {
        MARK = "lunalift.io/journal",
        name = function(uid) return "lunalift-" .. uid end,
        list = function() return leases end,
        take = function(_, _, lease) return lease.journal end,
      },
    }
    recovery = require "lib.recovery"
  end)

  after_each(function() restore() end)

  local function entries(stop)
    local list <const> = {
      { n = 1, undo = "array.unmap", args = { lun = { id = "l-1" } }, about = "mapped" },
      { n = 2, undo = "host.detach", args = { host = HOST, naa = "naa.1" }, about = "on" },
    }
    if stop then list[3] = { n = 3, undo = "clone.stop", args = stop, about = "runs" } end
    return list
  end

  local function text(changes, stop)
    local about <const> = {}
    for key, value in pairs(subject) do
      about[key] = changes and changes[key] or value
    end
    return { task = "t", flow = "populate", subject = about, entries = entries(stop) }
  end

  local function make_job(options)
    local clones <const> = {
      offers = function() return not (options and options.upstream) end,
      find = function(_, id) return tasks[id] or false end,
      poll = function(_, id) return tasks[id] end,
    }
    local host <const> = {
      wrapper = function() return clones end,
      device = function() return device end,
    }
    local vcenter <const> = { host_again = function() return host end }
    local job <const> = fake_job.new {
      request = { vmdk = { on_host = SOURCE } },
      site = { vcenter = function() return vcenter end },
      dry_run = options and options.dry_run,
    }
    job.fake_journal, job.ledger.journal = job.ledger.journal, nil
    job:step "look for an earlier run"
    return job
  end

  -- As a flow does it. Returns the facts of a copy that is done, or what goes on.
  local function resume(job)
    local earlier
    recovery.hold(job, VOLUME)
    local copy <const> = { found = { volume = VOLUME }, go_on = function(_, it) earlier = it end }
    local done <const> = recovery.go_on(job, copy)
    return done and { done = done } or earlier
  end

  local STOP <const> = { host = HOST, task_id = "t", device = DEVICE }
  local function running() return { taskId = "t", state = "running", source = SOURCE, target = DEVICE, startedAt = 0 } end

  it("finds nothing in an empty journal, and then the journal is the run's own", function()
    local job <const> = make_job()
    assert.is_nil(resume(job))
    assert.equal(subject, job.ledger.subject)
    assert.equal(job.fake_journal, job.ledger.journal)
    assert.same({}, undone)
  end)

  it("opens no journal on a dry run", function()
    local job <const> = make_job { dry_run = true }
    left = text(nil, STOP)
    assert.is_nil(resume(job))
    assert.is_nil(job.ledger.journal)
  end)

  it("adopts a running clone, with its promises and its id", function()
    local job <const> = make_job()
    left, tasks.t = text(nil, STOP), running()
    local earlier <const> = resume(job)
    assert.same({ "t", "naa.1" }, { earlier.task_id, earlier.naa })
    assert.equal("t", job.ledger.task_id)
    assert.equal(3, #job.ledger.promises)
    assert.same({}, undone)
  end)

  it("adopts one that has ended well, for its evidence to judge", function()
    local job <const> = make_job()
    left, tasks.t = text(nil, STOP), running()
    tasks.t.state = "done"
    assert.is_table(resume(job))
  end)

  describe("of a copy that is done and proved", function()
    it("puts the rest back, and returns what is known of it", function()
      local job <const> = make_job()
      left, tasks.t = text(nil, STOP), running()
      left.done = { bytes = 7 }
      assert.same({ done = { bytes = 7 } }, resume(job))
      assert.same({ "clone.stop", "host.detach", "array.unmap" }, undone)
      assert.matches("done and proved", job.current.found)
      assert.is_nil(job.ledger.achieved)
    end)

    it("knows it still when all was put back but the journal", function()
      left = text()
      left.done, left.entries = { bytes = 7 }, {}
      assert.same({ done = { bytes = 7 } }, resume(make_job()))
    end)

    it("takes none of another disk for its own", function()
      local job <const> = make_job()
      left = text { vmdk = "[ds] other.vmdk" }
      left.done = { bytes = 7 }
      assert.is_nil(resume(job))
      assert.is_nil(job.ledger.achieved)
    end)
  end)

  describe("puts everything back, last first, and starts afresh under a new id, when", function()
    local function put_back(why)
      local job <const> = make_job()
      assert.is_nil(resume(job))
      assert.not_equal(left.task, job.ledger.task_id)
      assert.same({}, job.ledger.promises)
      assert.equal(subject, job.ledger.subject)
      assert.equal("array.unmap", undone[#undone])
      assert.matches(why, job.current.found)
    end

    it("no clone was begun", function()
      left = text()
      put_back "no clone was begun"
    end)

    it("the host does not know the clone", function()
      left = text(nil, STOP)
      put_back "never started"
    end)

    for _, state in ipairs { "failed", "killed", "lost" } do
      it("the clone has " .. state, function()
        left, tasks.t = text(nil, STOP), running()
        tasks.t.state = state
        put_back("has " .. state)
      end)
    end

    for _, key in ipairs { "claim", "vm", "vmdk", "lun", "host", "array", "vcenter" } do
      it("it was about another " .. key, function()
        left, tasks.t = text({ [key] = "other" }, STOP), running()
        put_back("another " .. key .. ": other")
        assert.equal("clone.stop", undone[1])
      end)
    end

    it("it does not say what it was about", function()
      left, tasks.t = text(nil, STOP), running()
      left.subject = nil
      put_back "does not say"
    end)

    it("the task of that id has other ends", function()
      left, tasks.t = text(nil, STOP), running()
      tasks.t.source = "/vmfs/volumes/ds/other.vmdk"
      put_back "other ends"
    end)

    it("the promises are of different devices", function()
      left, tasks.t = text(nil, { host = HOST, task_id = "t", device = "/vmfs/devices/disks/naa.2" }), running()
      put_back "do not fit together"
    end)

    it("the device is not on any more", function()
      left, tasks.t, device = text(nil, STOP), running(), { Status = "dead timeout" }
      tasks.t.state = "done"
      put_back "not on any more"
    end)
  end)

  it("touches nothing more when that cannot be done, and says what stands in the way", function()
    local job <const> = make_job()
    left = text { vm = "other" }
    left.entries[3] = {
      n = 3,
      undo = "clone.stop",
      args = { why = fail.hint(fail.new("incomplete", "a writer may live"), "wait for it") },
      about = "the clone runs",
    }
    local ok <const>, why <const> = pcall(resume, job)
    assert.is_false(ok)
    assert.equal("incomplete", why.kind)
    assert.equal("wait for it", why.hint)
    assert.equal("clone.stop", table.concat(undone, " "):match "^(clone%.stop) ?[clone.stop ]*$") -- tried anew, and nothing after it
    assert.equal(3, #job.ledger.promises)
  end)

  describe("when the flow ends before it has gone on", function()
    local function ended(why)
      local job <const> = make_job()
      left, tasks.t = text(nil, STOP), running()
      local _, left_behind = job:run(function()
        recovery.hold(job, VOLUME)
        error(why)
      end)
      return left_behind, job
    end

    for _, kind in ipairs { "busy", "denied", "not_found", "config" } do
      it(("leaves all as it was found, whether it may pass or not (%s), and says so"):format(kind), function()
        local left_behind <const>, job <const> = ended(fail.new(kind, "it said " .. kind))
        assert.equal(3, #left_behind)
        assert.matches("an earlier run's, left as it was found", left_behind[1].why.message)
        assert.matches("lunalift reap", left_behind[1].why.hint)
        assert.same({}, undone)
        assert.same({}, job.fake_journal.written)
      end)
    end

    it("puts all back when it is cancelled: who ends it wants no copy", function()
      assert.same({}, (ended(fail.new("cancelled", "stopped by SIGTERM"))))
      assert.same({ "clone.stop", "host.detach", "array.unmap" }, undone)
    end)
  end)

  describe("with upstream's wrapper", function()
    it("adopts what runs or has ended well, by its id alone", function()
      left, tasks.t = text(nil, STOP), { running = true }
      assert.is_table(resume(make_job { upstream = true }))
      left, tasks.t = text(nil, STOP), { running = false, exit_code = 0 }
      assert.is_table(resume(make_job { upstream = true }))
    end)

    it("adopts nothing that failed, or whose id was never learnt", function()
      left, tasks.t = text(nil, STOP), { running = false, exit_code = 1 }
      assert.is_nil(resume(make_job { upstream = true }))
      left = text(nil, { host = HOST, device = DEVICE })
      assert.is_nil(resume(make_job { upstream = true }))
    end)
  end)

  describe("settles for other claims of the namespace", function()
    local closed

    local function other(changes)
      local content <const> = changes.text or text()
      closed = false
      local journal <const> = {
        read = function() return content end,
        write = function() end,
        clear = function() end,
        fence = function() end,
        close = function() closed = true end,
      }
      local encoded <const> = require("lunalift.json").encode {
        v = 1,
        flow = content.flow,
        task = content.task,
        subject = content.subject,
        entries = content.entries,
      }
      leases = {
        {
          name = changes.name or "lunalift-u-2",
          holder = changes.holder or "pod-b",
          is_dead = changes.is_dead ~= false,
          age_s = changes.age_s or 3600,
          has_claim = changes.has_claim ~= false,
          lease = { metadata = { annotations = { ["lunalift.io/journal"] = encoded } }, journal = journal },
        },
      }
    end

    local function settled()
      home = "lease"
      local job <const> = make_job()
      resume(job)
      assert.same({}, job.ledger.promises)
      assert.equal(subject, job.ledger.subject)
      return #undone > 0
    end

    it("what dead runs left, and lets their journals go", function()
      other {}
      assert.is_true(settled())
      assert.is_true(closed)
    end)

    it("nothing of a run that lives, or was silent for a short time only", function()
      other { is_dead = false }
      assert.is_false(settled())
      other { age_s = 59 }
      assert.is_false(settled())
    end)

    it("nothing of another array or vCenter", function()
      other { text = text { array = "other.example" } }
      assert.is_false(settled())
      other { text = text { vcenter = "other.example" } }
      assert.is_false(settled())
    end)

    it("no clone that still runs, unless its claim is gone", function()
      tasks.t = running()
      other { text = text(nil, STOP) }
      assert.is_false(settled())
      other { text = text(nil, STOP), has_claim = false }
      assert.is_true(settled())
    end)

    it("and goes on with its own work when that fails", function()
      other {}
      leases[1].lease.metadata.annotations["lunalift.io/journal"] = "{"
      assert.is_false(settled())
    end)
  end)
end)
