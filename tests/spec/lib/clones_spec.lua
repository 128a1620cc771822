local fail <const> = require "lib.fail"
local fake_host <const> = require "spec.support.fake_host"
local fake_job <const> = require "spec.support.fake_job"
local stand_in <const> = require "spec.support.stand_in"

local OURS <const> = { taskId = true, taskKill = true, taskList = true, preflight = true }
local SOURCE <const>, DEVICE <const> = "/vmfs/volumes/ds/web/web.vmdk", "/vmfs/devices/disks/naa.1"

describe("the clones of a host", function()
  local restore, clock, wrapper

  before_each(function()
    clock = stand_in.clock()
    wrapper = { features = OURS, sent = {} }
    function wrapper.version() return { version = "1.0.0" } end
    function wrapper:offers(name) return self.features[name] or false end
    restore = stand_in.install {
      ["lunalift.timer"] = clock.timer,
      ["lunalift.log"] = stand_in.log(),
      ["lunalift.clone"] = { over_esxcli = function() return wrapper end },
    }
  end)

  after_each(function() restore() end)

  local function raised(fn, ...)
    local ok <const>, why <const> = pcall(fn, ...)
    assert.is_false(ok)
    assert.is_true(fail.is(why), tostring(why))
    return why
  end

  -- Answers to one call of the wrapper, the last one for ever; what is asked goes to `sent`.
  local function answers(name, list)
    local asked = 0
    wrapper[name] = function(_, argument)
      asked = math.min(asked + 1, #list)
      wrapper.sent[#wrapper.sent + 1] = name
      wrapper[name .. "_argument"] = argument
      return table.unpack(list[asked], 1, 2)
    end
  end

  local function open(options)
    local job <const> = fake_job.new(options)
    local host <const> = require("lib.hosts").open(fake_host.vcenter(job), { type = "HostSystem", id = "host-1" })
    return require("lib.clones").open(host), job
  end

  it("need a wrapper: its absence tells how to install it", function()
    function wrapper.version() return nil, { kind = "unsupported", fault = "NotFound", message = "no such command" } end
    local why <const> = raised(open)
    assert.equal("unsupported", why.kind)
    assert.equal("the VIB vmkfstools-wrapper is not installed on host-1.example", why.message)
    assert.matches("install it on host%-1.example", why.hint)
  end)

  it("are not called missing when the host cannot be asked", function()
    function wrapper.version() return nil, fake_job.refusal "denied" end
    assert.equal("denied", raised(open).kind)
  end)

  it("tell ours from upstream's by what it offers", function()
    assert.is_true((open()).is_ours)
    wrapper.features = { taskId = true }
    assert.is_false((open()).is_ours)
    assert.is_nil((open()):preflight(SOURCE, DEVICE))
  end)

  it("read digests of both ends, and ask again while the host cannot be reached", function()
    answers("digest", { { nil, fake_job.refusal "unreachable" }, { { algorithm = "sha256" } } })
    local extents <const> = { { offset = 0, length = 512 } }
    assert.equal("sha256", (open()):digests(SOURCE, DEVICE, extents).algorithm)
    assert.same({ "digest", "digest" }, wrapper.sent)
    assert.same({ source = SOURCE, target = DEVICE, extents = extents }, wrapper.digest_argument)
  end)

  describe("start", function()
    it("promised first, under the job's id", function()
      answers("start", { { { taskId = "t" } } })
      local clones <const>, job <const> = open()
      job.ledger.task_id = "t"
      assert.equal("t", clones:start(SOURCE, DEVICE))
      assert.same({ task_id = "t", source = SOURCE, target = DEVICE }, wrapper.start_argument)
      assert.equal("journal clone.stop", job.trace[1])
      assert.equal("effect 1 clone.start " .. SOURCE .. " to " .. DEVICE, job.trace[2])
      assert.same({ type = "HostSystem", id = "host-1" }, job.ledger.promises[1].args.host)
      assert.equal("t", job.ledger.promises[1].args.task_id)
    end)

    it("under the host's id with upstream's wrapper, and the promise learns it", function()
      wrapper.features = {}
      answers("start", { { { taskId = "theirs" } } })
      local clones <const>, job <const> = open()
      assert.equal("theirs", clones:start(SOURCE, DEVICE))
      assert.is_nil(wrapper.start_argument.task_id)
      assert.equal("theirs", job.ledger.promises[1].args.task_id)
    end)

    it("are found when the answer was lost", function()
      answers("start", { { nil, fake_job.refusal("timeout", { unanswered = true }) } })
      local clones <const>, job <const> = open()
      answers("tasks", { { { { taskId = "x" }, { taskId = job.ledger.task_id, state = "running" } } } })
      assert.equal(job.ledger.task_id, clones:start(SOURCE, DEVICE))
      assert.same({ "start", "tasks" }, wrapper.sent)
    end)

    it("are sent again under the same id when the lost one is not there", function()
      answers("start", { { nil, fake_job.refusal("timeout", { unanswered = true }) }, { { taskId = "t" } } })
      answers("tasks", { { {} } })
      local clones <const> = open()
      clones:start(SOURCE, DEVICE)
      assert.same({ "start", "tasks", "start" }, wrapper.sent)
    end)

    it("are never sent again to upstream's wrapper, and the promise stays", function()
      wrapper.features = {}
      answers("start", { { nil, fake_job.refusal("timeout", { unanswered = true }) } })
      local clones <const>, job <const> = open()
      assert.equal("timeout", raised(clones.start, clones, SOURCE, DEVICE).kind)
      assert.same({ "start" }, wrapper.sent)
      assert.equal(1, #job.ledger.promises)
    end)

    it("leave no promise when upstream's wrapper refused them", function()
      wrapper.features = {}
      answers("start", { { nil, fake_job.refusal "failed" } })
      local clones <const>, job <const> = open()
      assert.equal("failed", raised(clones.start, clones, SOURCE, DEVICE).kind)
      assert.same({}, job.ledger.promises)
    end)

    it("refuse a device that another clone writes to, and leave that one alone", function()
      answers("start", { { { taskId = "other", existing = true } } })
      local clones <const>, job <const> = open()
      local why <const> = raised(clones.start, clones, SOURCE, DEVICE)
      assert.equal("busy", why.kind)
      assert.equal("another clone, other, writes to " .. DEVICE .. " already", why.message)
      assert.same({}, job.ledger.promises)
    end)

    it("in words only on a dry run, and then there is nothing to follow", function()
      local clones <const>, job <const> = open { dry_run = true }
      local id <const> = clones:start(SOURCE, DEVICE)
      assert.equal(job.ledger.task_id, id)
      assert.is_nil(clones:follow(id)())
    end)
  end)

  describe("progress", function()
    local function poll(state)
      answers("poll", { { state } })
      return (open()):poll "t"
    end

    it("is read from `Clone: N% done` alone", function()
      assert.equal(47, poll({ exitCode = "", lastLine = "Clone: 47% done." }).percent)
      assert.equal(0, poll({ exitCode = "", lastLine = "Cloning disk '/vmfs/volumes/ds/50%/a.vmdk'..." }).percent)
      assert.equal(0, poll({ exitCode = "", lastLine = "Clone: 50%.vmdk" }).percent)
      assert.equal(0, poll({ exitCode = "" }).percent)
    end)

    it(
      "is the last of a line that was redrawn",
      function()
        assert.equal(3, poll({ exitCode = "", lastLine = "Clone: 1% done.\rClone: 2% done.\rClone: 3% done." }).percent)
      end
    )

    it("stays between 0 and 100, and believes our wrapper's own number", function()
      assert.equal(100, poll({ exitCode = "", lastLine = "Clone: 250% done." }).percent)
      assert.equal(12, poll({ exitCode = "", percent = 12, lastLine = "Clone: 99% done." }).percent)
    end)

    it("has ended with an exit code, whatever it is", function()
      assert.is_true(poll({ exitCode = "" }).running)
      assert.same({ false, 0 }, { poll({ exitCode = "0" }).running, poll({ exitCode = "0" }).exit_code })
      assert.equal(1, poll({ exitCode = "killed" }).exit_code)
    end)

    it("keeps unknown offload apart from none", function()
      assert.is_nil(poll({ exitCode = "" }).offloaded)
      assert.is_false(poll({ exitCode = "", xcopyUsed = false }).offloaded)
    end)

    it("survives minutes without answers", function()
      local list <const> = {}
      for i = 1, 100 do
        list[i] = { nil, fake_job.refusal "unreachable" }
      end
      list[101] = { { exitCode = "0" } }
      answers("poll", list)
      assert.is_false((open()):poll("t").running)
      assert.is_true(clock.now_s > 1300)
    end)
  end)

  describe("are followed", function()
    it("to their end", function()
      answers("poll", {
        { { exitCode = "", lastLine = "Clone: 10% done." } },
        { { exitCode = "", lastLine = "Clone: 60% done." } },
        { { exitCode = "0", lastLine = "Clone: 100% done." } },
      })
      local seen <const> = {}
      for progress in (open()):follow "t" do
        seen[#seen + 1] = progress.percent
      end
      assert.same({ 10, 60, 100 }, seen)
      for _, nap in ipairs(clock.naps) do
        assert.is_true(nap >= 0.3 and nap <= 5)
      end
    end)

    it("and fail with the exit code, and what vmkfstools said as the cause", function()
      answers("poll", { { { exitCode = "255", stdErr = "Failed to lock the file (16392) 100 %s" } } })
      local clones <const> = open()
      local why <const> = raised(clones:follow "t")
      assert.equal("failed", why.kind)
      assert.equal("the clone ended with exit code 255", why.message)
      assert.equal("Failed to lock the file (16392) 100 %s", why.cause.message)
      assert.matches("vmkfstools %-D FILE", why.hint)
    end)
  end)

  describe("are stopped", function()
    it("by killing the writer; what it left is cleaned then", function()
      answers("tasks", { { { { taskId = "t", state = "running" } } } })
      answers("kill", { { { taskId = "t", state = "killed", writerAlive = false } } })
      answers("clean", { { true } })
      local clones <const> = open()
      assert.is_true(clones:stop "t")
      assert.same({ "tasks", "kill" }, wrapper.sent)
      clones:clean "t"
      assert.same({ "tasks", "kill", "clean" }, wrapper.sent)
    end)

    it("by nothing when they have ended, and are not to be cleaned when the host knows none", function()
      answers("tasks", { { { { taskId = "t", state = "done" } } } })
      assert.is_true((open()):stop "t")
      assert.is_false((open()):stop("unknown", true))
      assert.same({ "tasks", "tasks" }, wrapper.sent)
    end)

    it("after a second look when the answer to the start was lost: it may begin only now", function()
      answers("tasks", { { {} }, { { { taskId = "t", state = "running" } } } })
      answers("kill", { { { writerAlive = false } } })
      assert.is_true((open()):stop "t")
      assert.same({ "tasks", "tasks", "kill" }, wrapper.sent)
    end)

    it("and cleaned once: what the host has forgotten is clean", function()
      answers("clean", { { nil, { kind = "failed", message = "Task directory /tmp/x not found" } } });
      (open()):clean "t"
      answers("clean", { { nil, fake_job.refusal "failed" } })
      local clones <const> = open()
      assert.equal("failed", raised(clones.clean, clones, "t").kind)
    end)

    it("incompletely while a writer lives, and nothing is cleaned", function()
      answers("tasks", { { { { taskId = "t", state = "running" } } } })
      answers("kill", { { nil, fake_job.refusal("failed", { reply = { taskId = "t", writerAlive = true } }) } })
      local clones <const> = open()
      local why <const> = raised(clones.stop, clones, "t")
      assert.equal("incomplete", why.kind)
      assert.equal("the writer of task t on host-1.example does not end", why.message)
      assert.same({ "tasks", "kill" }, wrapper.sent)
    end)

    it("again when the answer to the kill was lost", function()
      answers("tasks", { { { { taskId = "t", state = "running" } } } })
      answers("kill", { { nil, fake_job.refusal("timeout", { unanswered = true }) }, { { state = "killed" } } })
      assert.is_true((open()):stop "t")
      assert.same({ "tasks", "kill", "kill" }, wrapper.sent)
    end)

    describe("with upstream's wrapper", function()
      before_each(function() wrapper.features = {} end)

      it("never while they run: that is incomplete, and says what to do", function()
        answers("poll", { { { exitCode = "", lastLine = "Clone: 5% done." } } })
        local clones <const> = open()
        local why <const> = raised(clones.stop, clones, "t")
        assert.equal("incomplete", why.kind)
        assert.equal("a writer may live on host-1.example: task t still runs", why.message)
        assert.matches("wait for it to end", why.hint)
        assert.same({ "poll" }, wrapper.sent)
      end)

      it("by nothing once they have ended, or the host has forgotten them", function()
        answers("poll", { { { exitCode = "1" } } })
        assert.is_true((open()):stop "t")
        answers("poll", { { nil, { kind = "failed", message = "Task directory not found" } } })
        assert.is_false((open()):stop "t")
        answers("poll", { { nil, fake_job.refusal "denied" } })
        local clones <const> = open()
        assert.equal("denied", raised(clones.stop, clones, "t").kind)
      end)

      it("whose id was not learnt, by the host, which lets go of no device that a writer has open", function()
        local clones <const>, job <const> = open()
        local asked <const> = {}
        function clones.host.detach(_, naa)
          asked[#asked + 1] = naa
          if #asked == 1 then fail.raise("failed", "it is busy") end
        end
        local why <const> = raised(clones.stop, clones, nil, false, DEVICE)
        assert.equal("incomplete", why.kind)
        assert.matches("its start was lost, and it is busy", why.message, 1, true)
        assert.is_false(clones:stop(nil, false, DEVICE))
        assert.same({ "naa.1", "naa.1" }, asked)
        assert.matches("files on host%-1%.example", table.concat(job.trace, " "))
      end)
    end)
  end)
end)
