local task <const> = require "lunalift.task"
local timer <const> = require "lunalift.timer"

describe("lunalift.task", function()
  it("runs a child later, never from the call that started it", function()
    local ran = false
    local child <const> = task.spawn(function() ran = true end)
    assert.is_false(ran)
    child:wait()
    assert.is_true(ran)
  end)

  it("hands over arguments and results", function()
    local child <const> = task.spawn(function(a, b) return a + b, "and", nil, 4 end, 1, 2)
    assert.same({ 3, "and", nil, 4, n = 4 }, table.pack(child:wait()))
  end)

  it("returns nil and the failure of a child that raised, with its traceback", function()
    local child <const> = task.spawn(function() error { kind = "busy", message = "come back" } end)
    local value <const>, why <const> = child:wait()
    assert.is_nil(value)
    assert.equal("busy", why.kind)
    assert.matches("task_spec", why.traceback)
  end)

  it("makes a bug of whatever else was raised", function()
    local _, why <const> = task.spawn(function() error "oops" end):wait()
    assert.equal("bug", why.kind)
    assert.matches("oops", why.message)
    for _, raised in ipairs { false, 12, print, {}, { kind = "busy" }, { kind = {}, message = "m" } } do
      local _, also <const> = task.spawn(function() error(raised) end):wait()
      assert.equal("bug", also.kind)
      assert.equal(tostring(raised), also.message)
    end
    local _, none <const> = task.spawn(function() error(nil) end):wait()
    assert.equal("nil", none.message)
  end)

  it("survives what cannot even be shown", function()
    local odd <const> = setmetatable({}, { __tostring = function() error "not so" end })
    local _, why <const> = task.spawn(function() error(odd) end):wait()
    assert.equal("bug", why.kind)
  end)

  it("keeps what was raised when it is not to be written to", function()
    local locked <const> = setmetatable({ kind = "busy", message = "no" }, { __newindex = function() error "no" end })
    local _, why <const> = task.spawn(function() error(locked) end):wait()
    assert.equal(locked, why)
    assert.is_nil(rawget(locked, "traceback"))
  end)

  it("hands over as many results as a stack holds", function()
    local child <const> = task.spawn(function() return table.unpack({}, 1, 600000) end)
    assert.equal(600000, select("#", child:wait()))
  end)

  it("does not let a pcall swallow a cancel", function()
    local after = false
    local child <const> = task.spawn(function()
      pcall(timer.sleep, 60)
      after = true
    end)
    timer.sleep(0.01)
    child:cancel "enough"
    local _, why <const> = child:wait()
    assert.equal("cancelled", why.kind)
    assert.equal("enough", why.message)
    assert.is_false(after)
  end)

  it("cancels the children of a task that ends", function()
    local child
    task.spawn(function() child = task.spawn(timer.sleep, 60) end):wait()
    local _, why <const> = child:wait()
    assert.equal("cancelled", why.kind)
  end)

  it("closes what a cancelled task had open, and closers cannot wait then", function()
    local closed, why_closer
    local child <const> = task.spawn(function()
      local _guard <close> = setmetatable({}, {
        __close = function()
          closed = true
          local _, why <const> = task.within(1, timer.sleep, 0)
          why_closer = why
        end,
      })
      timer.sleep(60)
    end)
    timer.sleep(0.01)
    child:cancel()
    child:wait()
    assert.is_true(closed)
    assert.is_nil(why_closer)
  end)

  it("shields a child from its parent's cancel, and joins it even then", function()
    local finished = false
    local parent <const> = task.spawn(function()
      task
        .shield(5, function()
          timer.sleep(0.05)
          finished = true
        end)
        :join()
    end)
    timer.sleep(0.01)
    parent:cancel()
    parent:wait()
    assert.is_true(finished)
  end)

  it("gives a shielded child its own deadline", function()
    local _, why <const> = task.shield(0.02, timer.sleep, 60):join()
    assert.equal("timeout", why.kind)
  end)

  it("ends what is not done in its time", function()
    local value <const>, why <const> = task.within(0.02, timer.sleep, 60)
    assert.is_nil(value)
    assert.equal("timeout", why.kind)
    assert.equal(7, task.within(5, function() return 7 end))
  end)

  it("runs a group, keeping the order of results", function()
    local function later(s, value)
      return function()
        timer.sleep(s)
        return value
      end
    end
    assert.same({ 1, false, 3 }, task.all { later(0.03, 1), function() end, later(0.01, 3) })
    assert.same({}, task.all {})
  end)

  it("cancels the rest of a group at its first failure, waits for them, and raises it", function()
    local other
    local ok <const>, why <const> = pcall(task.all, {
      function()
        other = "running"
        local _guard <close> = setmetatable({}, { __close = function() other = "ended" end })
        timer.sleep(60)
      end,
      function() error { kind = "busy", message = "no" } end,
    })
    assert.is_false(ok)
    assert.equal("busy", why.kind)
    assert.equal("ended", other)
  end)

  it("starts none of a group that is no list of functions", function()
    local ran = false
    local ok <const>, why <const> = pcall(task.all, { function() ran = true end, 42 })
    assert.is_false(ok)
    assert.matches("list of functions", why)
    timer.sleep(0)
    assert.is_false(ran)
    assert.same({}, task.all(setmetatable({}, { __len = function() return -5 end })))
  end)

  it("lets one task at a time through a mutex, in the order of asking", function()
    local mutex <const>, order <const> = task.mutex(), {}
    local function worker(name)
      return function()
        local _lock <close> = mutex:lock()
        order[#order + 1] = name .. " in"
        timer.sleep(0.005)
        order[#order + 1] = name .. " out"
      end
    end
    task.all { worker "a", worker "b", worker "c" }
    assert.same({ "a in", "a out", "b in", "b out", "c in", "c out" }, order)
  end)

  it("passes a mutex on when the waiting task is cancelled", function()
    local mutex <const> = task.mutex()
    local waiting
    local third = false
    do
      local _lock <close> = mutex:lock()
      waiting = task.spawn(function() mutex:lock() end)
      task.spawn(function()
        local _mine <close> = mutex:lock()
        third = true
      end)
      timer.sleep(0.01)
      waiting:cancel()
      waiting:wait()
      assert.is_false(third)
    end
    timer.sleep(0.01)
    assert.is_true(third)
  end)

  it("names the call that cannot wait here", function()
    local ok <const>, why <const> = pcall(table.sort, { 2, 1 }, function() timer.sleep(0) end)
    assert.is_false(ok)
    assert.matches("cannot wait here", why)
    local ok2 <const>, why2 <const> = pcall(string.gsub, "a", "a", function() timer.sleep(0) end)
    assert.is_false(ok2)
    assert.matches("cannot wait here", why2)
  end)

  it("ends a task that computes for too long, whatever it catches", function()
    local rounds = 0
    local child <const> = task.spawn(function()
      while true do
        rounds = rounds + 1
        pcall(function()
          while true do
          end
        end)
      end
    end)
    local _, why <const> = child:wait()
    assert.equal("bug", why.kind)
    assert.matches("too long", why.message)
    assert.equal(1, rounds)
  end)

  it("rings for all who wait, and for nobody else", function()
    local bell <const>, woken <const> = task.bell(), {}
    local function wait(name)
      if bell:wait() then table.insert(woken, name) end
    end
    local first <const>, second <const> = task.spawn(wait, "a"), task.spawn(wait, "b")
    timer.sleep(0)
    bell:ring()
    first:wait()
    second:wait()
    table.sort(woken)
    assert.same({ "a", "b" }, woken)
    assert.is_false(bell:wait(0.01), "a ring is not kept")
  end)

  it("waits for a bell no longer than it may, and not at all when cancelled", function()
    local bell <const> = task.bell()
    local begun_s <const> = timer.now()
    assert.is_false(bell:wait(0.05))
    assert.is_true(timer.now() - begun_s >= 0.04)
    local waiting <const> = task.spawn(function() bell:wait() end)
    timer.sleep(0)
    waiting:cancel()
    assert.equal("cancelled", select(2, waiting:wait()).kind)
    bell:ring()
    assert.error_matches(function() bell:wait(-1) end, "out of range")
  end)
end)
