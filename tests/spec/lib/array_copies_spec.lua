local fail <const> = require "lib.fail"
local fake_job <const> = require "spec.support.fake_job"
local stand_in <const> = require "spec.support.stand_in"

local SOURCE <const>, TARGET <const> = { id = "s", name = "raw" }, { id = "t", name = "lun" }

describe("a copy inside the array", function()
  local restore, copies, job, answers, asked, array

  before_each(function()
    restore = stand_in.install { ["lunalift.timer"] = stand_in.clock().timer, ["lunalift.log"] = stand_in.log() }
    copies, job = require "lib.array_copies", fake_job.new { request = { stall_s = 60 } }
    answers, asked = {}, {}
    array = { where = "array.example" }
    function array.ask(_, name, id)
      asked[#asked + 1] = ("%s %s"):format(name, id == job.ledger.task_id and "ours" or id)
      local list <const> = answers[name] or {}
      local answer <const> = #list > 1 and table.remove(list, 1) or list[1]
      if fail.is(answer) then return nil, answer end
      return answer
    end
  end)

  after_each(function() restore() end)

  local function follow()
    local seen <const> = {}
    for progress in copies.follow(job, array, { id = "c" }) do
      seen[#seen + 1] = progress.percent
    end
    return seen
  end

  local function raised(fn, ...)
    local ok <const>, why <const> = pcall(fn, ...)
    assert.is_false(ok)
    assert.is_true(fail.is(why), tostring(why))
    return why
  end

  it("is promised before it is started, by an id of ours, and the promise learns the vendor's handle", function()
    answers.copy_start = { { task = 77 } }
    local copy <const> = copies.start(job, array, SOURCE, TARGET)
    assert.same({ id = job.ledger.task_id, source = SOURCE, target = TARGET, handle = { task = 77 } }, copy)
    assert.same({
      "journal array.copy_stop",
      "effect 1 array.copy_start raw to lun",
      "journal array.copy_stop",
    }, job.trace)
    assert.equal(copy, job.ledger.promises[1].args)
  end)

  it("is started again by the same id when the answer was lost", function()
    answers.copy_start = { { kind = "timeout", message = "lost", unanswered = true }, { task = 77 } }
    assert.same({ task = 77 }, copies.start(job, array, SOURCE, TARGET).handle)
    assert.same({ "copy_start ours", "copy_start ours" }, asked)
  end)

  it("is followed to its end, whatever percent the array tells", function()
    answers.copy_poll = { { state = "running" }, { state = "running", percent = 140 }, { state = "done", percent = 3 } }
    assert.same({ 0, 100, 100 }, follow())
  end)

  it("fails as the array says, or when the array has forgotten it", function()
    answers.copy_poll = { { state = "failed", reason = "pool full" } }
    assert.equal("the copy inside array.example failed: pool full", raised(follow).message)
    answers.copy_poll = {}
    assert.equal("array.example does not know the copy c any more", raised(follow).message)
  end)

  it("is never taken to stand still where the array tells no percent", function()
    answers.copy_poll = {}
    for i = 1, 40 do
      answers.copy_poll[i] = { state = "running" }
    end
    answers.copy_poll[41] = { state = "done" }
    assert.equal(41, #follow())
  end)

  it("is given up when it stands still", function()
    answers.copy_poll = { { state = "running", percent = 7 } }
    assert.matches("stands still at 7 %%", raised(follow).message)
  end)

  it("is alive while it runs and when it is done, and not when it failed or is unknown", function()
    for state, alive in pairs { running = true, done = true, failed = false } do
      answers.copy_poll = { { state = state } }
      assert.equal(alive, (copies.is_alive(job, array, { id = "c" })), state)
    end
    answers.copy_poll = {}
    assert.is_false((copies.is_alive(job, array, { id = "c" })))
  end)

  it("is stopped as an effect, again when no answer came", function()
    answers.copy_stop = { { kind = "timeout", message = "lost", unanswered = true }, true }
    copies.stop(job, array, { id = "c" })
    assert.same({ "copy_stop c", "copy_stop c" }, asked)
  end)
end)
