local fail <const> = require "lib.fail"
local fake_job <const> = require "spec.support.fake_job"
local stand_in <const> = require "spec.support.stand_in"
local task <const> = require "lunalift.task"
local timer <const> = require "lunalift.timer"

describe("a job", function()
  local restore, clock, log, undo

  before_each(function()
    clock, log, undo = stand_in.clock(), stand_in.log(), {}
    restore = stand_in.install { ["lunalift.timer"] = clock.timer, ["lunalift.log"] = log, ["lib.undo"] = undo }
  end)

  after_each(function() restore() end)

  -- An undo that tells the trace, or fails with `why`.
  local function undoes(name, options)
    undo[name] = {
      within_s = options and options.within_s or 5,
      barrier = options and options.barrier,
      after = options and options.after,
      run = function(job, args)
        job.trace[#job.trace + 1] = ("undo %s %s"):format(name, args.id or "")
        job.ledger.undone[#job.ledger.undone + 1] = name .. " undone"
        if options and options.why then error(options.why) end
      end,
    }
  end

  local function raised(fn, ...)
    local ok <const>, why <const> = pcall(fn, ...)
    assert.is_false(ok)
    return why
  end

  describe("makes effects", function()
    it("numbered, in order, and returns what they return", function()
      local job <const> = fake_job.new()
      assert.equal("one", job:effect("array.map", "a to b", function() return "one" end))
      assert.is_false(job:effect("host.rescan", "vmhba1", function() return false end))
      assert.same({ "effect 1 array.map a to b", "effect 2 host.rescan vmhba1" }, job.trace)
    end)

    it("or none at all, nor a promise of one, where it only reads", function()
      local job <const> = fake_job.new()
      job.read_only = true
      local function never() error "it was made" end
      assert.equal("bug", raised(job.effect, job, "array.map", "a to b", never).kind)
      assert.equal("bug", raised(job.promise, job, "array.unmap", {}, "a is mapped").kind)
      assert.same({}, job.trace)
    end)

    local function scripted(answers)
      local sent = 0
      return function()
        sent = sent + 1
        return table.unpack(answers[sent], 1, 2)
      end
    end

    it("again as a new number when they were refused before anything was done", function()
      local job <const> = fake_job.new()
      local act <const> = scripted { { nil, fake_job.refusal("busy", { refused = true }) }, { "done" } }
      assert.equal("done", job:effect("array.map", "x", act))
      assert.same({ "effect 1 array.map x", "effect 2 array.map x" }, job.trace)
      assert.same({ 1 }, clock.naps)
    end)

    it("again when the peer said, and no longer than the user's patience", function()
      local job <const> = fake_job.new { request = { patience_s = 30 } }
      local why <const> = raised(
        job.effect,
        job,
        "array.map",
        "x",
        function() return nil, fake_job.refusal("busy", { refused = true, retry_after_s = 9 }) end
      )
      assert.equal("busy", why.kind)
      assert.equal(4, #job.trace)
      assert.same({ 9, 9, 9 }, clock.naps)
    end)

    it("again, but three times at most, when each time the login was refused", function()
      local job <const> = fake_job.new { request = { patience_s = 30 } }
      local why <const> = raised(
        job.effect,
        job,
        "array.map",
        "x",
        function() return nil, fake_job.refusal("denied", { refused = true }) end
      )
      assert.equal("denied", why.kind)
      assert.equal(3, #job.trace)
    end)

    it("looked up, too, when a whole answer tells nothing about them", function()
      local job <const> = fake_job.new()
      local act <const> = scripted { { nil, fake_job.refusal("failed", { status = 500 }) } }
      assert.equal("found", job:effect("array.map", "x", act, { look = function() return "found" end }))
    end)

    it("once when the answer was lost, and the look finds them done", function()
      local job <const> = fake_job.new()
      local act <const> = scripted { { nil, fake_job.refusal("timeout", { unanswered = true }) } }
      assert.equal("found", job:effect("array.map", "x", act, { look = function() return "found" end }))
      assert.same({ "effect 1 array.map x" }, job.trace)
    end)

    it("again when the answer was lost, and the look does not find them", function()
      local job <const> = fake_job.new()
      local act <const> = scripted { { nil, fake_job.refusal("timeout", { unanswered = true }) }, { "done" } }
      assert.equal("done", job:effect("array.map", "x", act, { look = function() end }))
      assert.equal(2, #job.trace)
    end)

    it("never again when the answer was lost, and nobody can look", function()
      local job <const> = fake_job.new()
      local lost <const> = fake_job.refusal("timeout", { unanswered = true })
      assert.equal(lost, raised(job.effect, job, "array.map", "x", scripted { { nil, lost } }))
      assert.equal(1, #job.trace)
    end)

    it("never again when they simply failed", function()
      local job <const> = fake_job.new()
      local no <const> = fake_job.refusal "conflict"
      assert.equal(
        no,
        raised(job.effect, job, "array.map", "x", scripted { { nil, no } }, { look = function() return 1 end })
      )
      assert.equal(1, #job.trace)
    end)

    it("and calls an act that returns nothing at all a bug", function()
      local job <const> = fake_job.new()
      assert.equal("bug", raised(job.effect, job, "array.map", "x", function() end).kind)
    end)

    it("in words only on a dry run", function()
      local job <const> = fake_job.new { dry_run = true }
      local function never() error "acted" end
      assert.equal("stand-in", job:effect("array.map", "x", never, { standin = "stand-in" }))
      assert.is_nil(job:effect("host.rescan", "y", never))
      assert.same({ "would 1 array.map x", "would 2 host.rescan y" }, job.trace)
    end)
  end)

  describe("reads", function()
    it("again while the failure may pass, and raises the last one", function()
      local job <const> = fake_job.new { request = { patience_s = 1 } }
      local why <const> = raised(job.read, job, "x", function() return nil, fake_job.refusal "busy" end)
      assert.equal("busy", why.kind)
      assert.is_true(#clock.naps > 1)
    end)

    it("what is not there as nothing", function()
      assert.is_nil(fake_job.new():read("x", function() end))
    end)
  end)

  describe("promises", function()
    before_each(function()
      undoes "array.unmap"
      undoes "host.detach"
      undoes("clone.stop", { barrier = true })
    end)

    it("in the journal before the act, and settles them in reverse when the flow returns", function()
      local job <const> = fake_job.new()
      local why <const>, left <const> = job:run(function()
        job:promise("array.unmap", { id = 1 }, "LUN 1 is mapped")
        job:effect("array.map", "1", function() return true end)
        job:promise("host.detach", { id = 2 }, "device 2 is on")
        job:effect("host.rescan", "2", function() return true end)
      end)
      assert.is_nil(why)
      assert.same({}, left)
      assert.same({
        "journal array.unmap",
        "effect 1 array.map 1",
        "journal array.unmap host.detach",
        "effect 2 host.rescan 2",
        "step leave nothing behind",
        "undo host.detach 2",
        "journal array.unmap",
        "undo array.unmap 1",
        "journal",
        "journal cleared",
        "done leave nothing behind: host.detach undone, array.unmap undone",
        "closed",
      }, job.trace)
    end)

    it("with all that another process needs", function()
      local job <const> = fake_job.new()
      job:promise("array.unmap", { id = 1 }, "LUN 1 is mapped")
      local written <const> = job.ledger.journal.written[1]
      assert.equal("test", written.flow)
      assert.equal(job.ledger.task_id, written.task)
      assert.same({ n = 1, undo = "array.unmap", args = { id = 1 }, about = "LUN 1 is mapped" }, written.entries[1])
    end)

    it("settles them in reverse when the flow fails, and keeps the flow's failure with its step", function()
      local job <const> = fake_job.new()
      local why <const>, left <const> = job:run(function()
        job:step "show it"
        job:promise("array.unmap", { id = 1 }, "")
        job:promise("host.detach", { id = 2 }, "")
        fail.raise("not_found", "no such thing")
      end)
      assert.equal("not_found", why.kind)
      assert.equal("show it", why.step)
      assert.same({}, left)
      assert.same({ "undo host.detach 2", "undo array.unmap 1" }, fake_job.only(job.trace, "undo"))
      assert.same({ "failed show it: " }, fake_job.only(job.trace, "failed"))
    end)

    it("settles them in reverse when the flow is cancelled", function()
      local job <const> = fake_job.new()
      task.spawn(function()
        timer.sleep(0.01)
        job:cancel "stopped by SIGTERM"
      end)
      local why <const> = job:run(function()
        job:promise("array.unmap", { id = 1 }, "")
        job:promise("host.detach", { id = 2 }, "")
        while true do
          pcall(timer.sleep, 60)
        end
      end)
      assert.equal("cancelled", why.kind)
      assert.equal("stopped by SIGTERM", why.message)
      assert.same({ "undo host.detach 2", "undo array.unmap 1" }, fake_job.only(job.trace, "undo"))
    end)

    it("no longer than it was given when it is to go soon, and leaves the rest in the journal", function()
      undoes("host.detach", { within_s = 300, why = fake_job.refusal "unreachable" })
      undoes("array.unmap", { within_s = 300, why = fake_job.refusal "unreachable" })
      local job <const> = fake_job.new()
      local asked_s
      task.spawn(function()
        timer.sleep(0.01)
        asked_s = clock.now_s
        job:cancel("stopped by SIGTERM", 20)
      end)
      local _, left <const> = job:run(function()
        job:promise("array.unmap", { id = 1 }, "")
        job:promise("host.detach", { id = 2 }, "")
        while true do
          pcall(timer.sleep, 60)
        end
      end)
      assert.equal(2, #left)
      assert.is_true(clock.now_s > asked_s + 5 and clock.now_s <= asked_s + 20, tostring(clock.now_s - asked_s))
      assert.same({}, fake_job.only(job.trace, "journal cleared"))
    end)

    it("nothing, and clears no journal, when it was cancelled before it ran", function()
      local job <const> = fake_job.new()
      job:cancel "never mind"
      local why <const> = job:run(function() job:step "open both ends" end)
      assert.equal("cancelled", why.kind)
      assert.same({ "closed" }, job.trace)
    end)

    it("is not interrupted while it settles", function()
      undo["array.unmap"].run = function(job)
        job:cancel "again"
        timer.sleep(0.02)
        job.trace[#job.trace + 1] = "undo to its end"
      end
      local job <const> = fake_job.new()
      local why <const>, left <const> = job:run(function() job:promise("array.unmap", {}, "") end)
      assert.is_nil(why)
      assert.same({}, left)
      assert.same({ "undo to its end" }, fake_job.only(job.trace, "undo"))
    end)

    it("goes on with the others when an undo fails, and leaves that one in the journal", function()
      undoes("host.detach", { why = fake_job.refusal "conflict" })
      local job <const> = fake_job.new()
      local _, left <const> = job:run(function()
        job:promise("array.unmap", { id = 1 }, "")
        job:promise("host.detach", { id = 2 }, "device 2 is on")
      end)
      assert.equal(1, #left)
      assert.equal("device 2 is on", left[1].promise.about)
      assert.equal("conflict", left[1].why.kind)
      local tried <const> = "undo host.detach 2"
      assert.same({ tried, tried, tried, "undo array.unmap 1" }, fake_job.only(job.trace, "undo"))
      assert.same("journal host.detach", fake_job.only(job.trace, "journal")[3])
      assert.same({}, fake_job.only(job.trace, "journal cleared"))
      assert.same(1, #fake_job.only(job.trace, "failed leave nothing behind"))
    end)

    it("keeps one that has no use while another is left, and nothing else", function()
      undoes("array.unmap", { why = fake_job.refusal "denied" })
      undoes("host.drop_paths", { after = "array.unmap" })
      undoes "array.remove_host"
      local job <const> = fake_job.new()
      local _, left <const> = job:run(function()
        job:promise("array.remove_host", { id = 1 }, "a host object")
        job:promise("host.drop_paths", { id = 2 }, "dead paths")
        job:promise("array.unmap", { id = 3 }, "a map")
      end)
      assert.same({ "a map", "dead paths" }, { left[1].promise.about, left[2].promise.about })
      assert.equal(2, #left)
      assert.equal(0, #fake_job.only(job.trace, "undo host.drop_paths"))
      assert.equal(1, #fake_job.only(job.trace, "undo array.remove_host"))
    end)

    it("leaves what is still promised when settling itself fails, and lets the journal and the peers go", function()
      undoes "array.unmap"
      local job <const> = fake_job.new()
      local why <const>, left <const> = job:run(function()
        job:promise("array.unmap", {}, "mapped")
        job.report.step_begin = function() error "not enough memory" end
      end)
      assert.is_nil(why)
      assert.same({ "mapped", "bug" }, { left[1].promise.about, left[1].why.kind })
      assert.equal("closed", job.trace[#job.trace])
      assert.equal(1, #job.ledger.promises)
    end)

    it("keeps all earlier ones behind a barrier that does not fall", function()
      undoes("clone.stop", { barrier = true, why = fake_job.refusal "incomplete" })
      local job <const> = fake_job.new()
      local _, left <const> = job:run(function()
        job:promise("array.unmap", { id = 1 }, "mapped")
        job:promise("host.detach", { id = 2 }, "on")
        job:promise("clone.stop", { id = 3 }, "writing")
        job:promise("host.detach", { id = 4 }, "later")
      end)
      local tried <const> = "undo clone.stop 3"
      assert.same({ "undo host.detach 4", tried, tried, tried }, fake_job.only(job.trace, "undo"))
      local about <const> = {}
      for i, item in ipairs(left) do
        about[i] = item.promise.about
      end
      assert.same({ "writing", "on", "mapped" }, about)
      assert.equal(3, #job.ledger.promises)
    end)

    it("keeps one at the second try when something stood in the way of the first", function()
      local tries = 0
      undoes "array.unmap"
      undo["array.unmap"].run = function()
        tries = tries + 1
        if tries == 1 then error(fake_job.refusal "denied") end
      end
      local job <const> = fake_job.new()
      local _, left <const> = job:run(function() job:promise("array.unmap", { id = 1 }, "") end)
      assert.same({}, left)
      assert.equal(2, tries)
    end)

    it("gives up an undo that takes too long, and tells so", function()
      undoes("host.detach", { within_s = 0.02 })
      undo["host.detach"].run = function() timer.sleep(60) end
      local job <const> = fake_job.new()
      local _, left <const> = job:run(function() job:promise("host.detach", {}, "") end)
      assert.equal("timeout", left[1].why.kind)
    end)

    it("withdraws one that has nothing to undo", function()
      local job <const> = fake_job.new()
      job:run(function()
        local first <const> = job:promise("array.unmap", { id = 1 }, "")
        job:promise("host.detach", { id = 2 }, "")
        job:withdraw(first)
        job:withdraw(first)
        assert.equal(3, job:promise("host.detach", { id = 3 }, "").n)
      end)
      assert.same({ "undo host.detach 3", "undo host.detach 2" }, fake_job.only(job.trace, "undo"))
      assert.equal("journal host.detach", fake_job.only(job.trace, "journal")[3])
    end)

    it("amends one that became better known, in the journal too", function()
      local job <const> = fake_job.new()
      local promise <const> = job:promise("clone.stop", { host = "h" }, "")
      job:amend(promise, { id = "t-1" })
      assert.same({ host = "h", id = "t-1" }, job.ledger.journal.written[2].entries[1].args)
    end)

    it("refuses what nobody can undo, before the act", function()
      local job <const> = fake_job.new()
      local why <const>, left <const> = job:run(function()
        job:promise("array.unmap", { id = 1 }, "")
        job:promise("array.unmapp", {}, "")
      end)
      assert.equal("nobody knows how to undo array.unmapp", why.message)
      assert.same({}, left)
      assert.same({ "undo array.unmap 1" }, fake_job.only(job.trace, "undo"))
    end)

    it("does nothing without its journal: an unwritten promise ends the flow before the act", function()
      local job <const> = fake_job.new()
      local acted = false
      local why <const> = job:run(function()
        job.ledger.journal.broken = true
        job:promise("array.unmap", { id = 1 }, "")
        acted = true
      end)
      assert.equal("the disk is full", why.message)
      assert.is_false(acted)
      assert.same({}, fake_job.only(job.trace, "undo"))
      assert.same({ "closed" }, fake_job.only(job.trace, "closed"))
    end)

    it("undoes all the same when the journal breaks meanwhile", function()
      local job <const> = fake_job.new()
      local why <const>, left <const> = job:run(function()
        job:promise("array.unmap", { id = 1 }, "")
        job:promise("host.detach", { id = 2 }, "")
        job.ledger.journal.broken = true
      end)
      assert.is_nil(why)
      assert.same({}, left)
      assert.same({ "undo host.detach 2", "undo array.unmap 1" }, fake_job.only(job.trace, "undo"))
      assert.same({ "closed" }, fake_job.only(job.trace, "closed"))
      assert.equal("journal not written", log.lines[#log.lines].message)
    end)

    it("of a dead run as its own, and numbers on", function()
      local job <const> = fake_job.new()
      local entries <const> = { { n = 7, undo = "array.unmap", args = { id = 7 }, about = "" } }
      job:run(function()
        job.ledger:take_over { task = "t-7", subject = { vm = "vm-1" }, entries = entries }
        assert.equal("t-7", job.ledger.task_id)
        assert.equal(8, job:promise("host.detach", { id = 8 }, "").n)
        assert.equal("vm-1", job.ledger.journal.written[1].subject.vm)
      end)
      assert.same({ "undo host.detach 8", "undo array.unmap 7" }, fake_job.only(job.trace, "undo"))
      assert.same({ "journal cleared" }, fake_job.only(job.trace, "journal cleared"))
    end)

    it("with what is done and proved in each journal from then on", function()
      local job <const> = fake_job.new()
      undoes "array.unmap"
      job:run(function()
        job:promise("array.unmap", {}, "")
        job:note { bytes = 7, vm = "vm-1" }
        job:done { "bytes" }
      end)
      assert.is_nil(job.ledger.journal.written[1].done)
      assert.same({ bytes = 7 }, job.ledger.journal.written[2].done)
      assert.same({ 3, { bytes = 7 } }, { #job.ledger.journal.written, job.ledger.journal.written[3].done })
      assert.same({ "journal cleared" }, fake_job.only(job.trace, "journal cleared"))
    end)

    it("no more once the journal is another's: neither acts nor settles", function()
      local job <const> = fake_job.new()
      local acted = 0
      local function act()
        acted = acted + 1
        return true
      end
      local why <const>, left <const> = job:run(function()
        job:promise("array.unmap", { id = 1 }, "mapped")
        job:effect("array.map", "x", act)
        job.ledger.journal.fence = function() error(fake_job.refusal "conflict") end
        job:effect("host.rescan", "x", act)
      end)
      assert.equal("conflict", why.kind)
      assert.equal(1, acted)
      assert.same({ "mapped", "conflict" }, { left[1].promise.about, left[1].why.kind })
      assert.same({}, fake_job.only(job.trace, "undo"))
      assert.same({}, fake_job.only(job.trace, "journal cleared"))
    end)

    it("but keeps what a later version promised, and all before it", function()
      local job <const> = fake_job.new()
      local _, left <const> = job:run(function()
        local later <const> = { n = 2, undo = "moon.land", args = {}, about = "on the moon" }
        job.ledger:take_over {
          task = "t",
          entries = { { n = 1, undo = "array.unmap", args = {}, about = "mapped" }, later },
        }
      end)
      assert.equal(2, #left)
      assert.matches("nobody knows how to undo moon.land", left[1].why.message)
      assert.same({}, fake_job.only(job.trace, "undo"))
    end)

    it("neither writes nor undoes anything on a dry run", function()
      local job <const> = fake_job.new { dry_run = true }
      local _, left <const> = job:run(function() job:promise("array.unmap", { id = 1 }, "") end)
      assert.same({ "closed" }, job.trace)
      assert.same({}, left)
      assert.equal(1, #job.ledger.promises)
    end)
  end)

  describe("tells", function()
    it("each step with what it found and how it ended", function()
      local job <const> = fake_job.new()
      job:run(function()
        job:step "one"
        job:found("%d %% of %s", 5, "it")
        job:step "two"
        job:found "100 %"
      end)
      assert.same({ "step one", "done one: 5 % of it", "step two", "done two: 100 %", "closed" }, job.trace)
    end)

    it("waiting and progress, also before the first step", function()
      local job <const> = fake_job.new()
      job:waiting("%s is away", "esx2")
      job:progress { percent = 1 }
      assert.same({ "waiting test: esx2 is away" }, job.trace)
    end)
  end)
end)
