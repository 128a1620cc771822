local fail = require "lib.fail"

describe("waiting for a peer", function()
  local now, naps, poll, saved

  before_each(function()
    now, naps = 0, {}
    saved = package.loaded["lunalift.timer"]
    package.loaded["lunalift.timer"] = {
      now = function() return now end,
      sleep = function(seconds)
        naps[#naps + 1], now = seconds, now + seconds
        return true
      end,
    }
    package.loaded["lib.poll"] = nil
    poll = require "lib.poll"
  end)

  after_each(function()
    package.loaded["lunalift.timer"], package.loaded["lib.poll"] = saved, nil
  end)

  it("returns what was found, without a pause when it is there at once", function()
    assert.equal("done", poll.wait("job", { within_s = 5 }, function() return "done" end))
    assert.same({}, naps)
  end)

  it("pauses longer and longer, up to ten times the first", function()
    local looks = 0
    poll.wait("job", { within_s = 100, every_s = 1 }, function()
      looks = looks + 1
      return looks == 7
    end)
    assert.same({ 1, 2, 4, 8, 10, 10 }, naps)
  end)

  it("gives up in time, after a last look at the end", function()
    local looks = 0
    local _, why = pcall(poll.wait, "job 7", { within_s = 2, every_s = 1.5 }, function() looks = looks + 1 end)
    assert.is_true(fail.is(why, "timeout"))
    assert.is_true(why.unanswered)
    assert.equal("job 7 has not ended within 2 s", tostring(why))
    assert.same({ 1.5, 0.5 }, naps)
    assert.equal(3, looks)
  end)

  it("passes on what the look raises, as unanswered: the work was accepted", function()
    local _, why = pcall(
      poll.wait,
      "job",
      { within_s = 2 },
      function() error { kind = "busy", message = "503", refused = true } end
    )
    assert.is_true(fail.is(why, "busy"))
    assert.is_true(why.unanswered)
    assert.is_nil(why.refused)
  end)

  describe("to the end of a copy", function()
    local function follow(states, stall_s)
      local seen <const>, i = {}, 0
      for state in
        poll.follow("the clone", { stall_s = stall_s }, function()
          i = math.min(i + 1, #states)
          return states[i]
        end)
      do
        seen[#seen + 1] = state.percent
      end
      return seen
    end

    local function running(percent, ops) return { running = true, percent = percent, clone_write_ops = ops } end
    local ENDED <const> = { running = false, percent = 100 }

    it("tells each state, the last one too, and asks at once when it is over already", function()
      assert.same({ 0, 50, 100 }, follow { running(0), running(50), ENDED })
      naps = {}
      assert.same({ 100 }, follow { ENDED })
      assert.same({}, naps)
    end)

    -- A copy that takes `whole_s` at an even pace: how often it was asked after, and how late its end was seen.
    local function even(whole_s, from)
      local asked = 0
      local function ask()
        asked = asked + 1
        local percent <const> = from + math.floor((100 - from) * now / whole_s)
        return { running = percent < 100, percent = percent }
      end
      for _ in poll.follow("the clone", {}, ask) do
      end
      return asked, now - whole_s
    end

    it("asks seldom, and most towards the end", function()
      for whole_s, most in pairs { [1] = 5, [10] = 10, [60] = 22, [3600] = 800 } do
        for _, from in ipairs { 0, 60 } do
          now = 0
          local asked <const>, late_s <const> = even(whole_s, from)
          local what <const> = ("%d s from %d %%: asked %d times, %g s late"):format(whole_s, from, asked, late_s)
          assert.is_true(asked <= most and late_s <= 1, what)
        end
      end
    end)

    it("gives up when nothing moves for so long", function()
      local ok <const>, why <const> = pcall(follow, { running(0), running(30) }, 60)
      assert.is_false(ok)
      assert.is_true(fail.is(why, "timeout"))
      assert.matches("^the clone stands still at 30 %% for 1 min", why.message)
      assert.matches("--stall-timeout", why.hint, 1, true)
      assert.is_true(now >= 60 and now < 70, tostring(now))
    end)

    it("waits for ever, and asks more and more seldom, when nobody can tell how far it is", function()
      local states <const> = {}
      for i = 1, 40 do
        states[i] = { running = true, percent = 0, blind = true }
      end
      states[41] = ENDED
      assert.equal(41, #follow(states, 20))
      assert.equal(5, naps[#naps])
    end)

    it("goes on while the counters move, and for ever where no limit is set", function()
      local states <const> = {}
      for i = 1, 40 do
        states[i] = running(30, i)
      end
      states[41] = ENDED
      assert.equal(41, #follow(states, 20))
      for i = 1, 40 do
        states[i] = running(30)
      end
      assert.equal(41, #follow(states, 0))
    end)
  end)
end)
