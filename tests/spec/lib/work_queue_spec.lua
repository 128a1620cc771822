local stand_in <const> = require "spec.support.stand_in"
local task <const> = require "lunalift.task"
local timer <const> = require "lunalift.timer"

describe("a work queue", function()
  local restore, log, queue, running, done

  before_each(function()
    log = stand_in.log()
    restore = stand_in.install { ["lunalift.log"] = log }
    done = {}
  end)

  after_each(function()
    if running then running:cancel() end
    running = nil
    restore()
  end)

  local function start(work, workers)
    queue = require("lib.work_queue").new { name = "test", workers = workers or 2, work = work, first_s = 0.02 }
    running = task.spawn(queue.run, queue)
    return queue
  end

  local function note(key) done[#done + 1] = key end

  local function wait_for(count)
    local until_s <const> = timer.now() + 5
    while #done < count and timer.now() < until_s do
      timer.sleep(0.005)
    end
    return done
  end

  it("works on each key once, in the order of their coming", function()
    start(note, 1)
    for _, key in ipairs { "a", "b", "a", "c", "b" } do
      queue:add(key)
    end
    assert.equal(3, queue:len())
    assert.same({ "a", "b", "c" }, wait_for(3))
    queue:add "a"
    assert.same({ "a", "b", "c", "a" }, wait_for(4))
    assert.equal(0, queue:len())
  end)

  it("never works on a key twice at a time, and once more when it was added meanwhile", function()
    local at_work, most = 0, 0
    start(function(key)
      at_work = at_work + 1
      most = math.max(most, at_work)
      timer.sleep(0.02)
      at_work = at_work - 1
      note(key)
    end, 4)
    queue:add "a"
    timer.sleep(0.01)
    assert.equal(1, queue.busy)
    for _ = 1, 5 do
      queue:add "a"
    end
    wait_for(2)
    timer.sleep(0.05)
    assert.same({ "a", "a" }, done)
    assert.equal(1, most)
  end)

  it("works on as many keys at a time as it has workers", function()
    local at_work, most = 0, 0
    start(function(key)
      at_work = at_work + 1
      most = math.max(most, at_work)
      timer.sleep(0.01)
      at_work = at_work - 1
      note(key)
    end, 3)
    for i = 1, 12 do
      queue:add(tostring(i))
    end
    wait_for(12)
    assert.equal(3, most)
  end)

  it("works on what is due later when it is due, the soonest time counting", function()
    start(note)
    queue:add("c", 0.09)
    queue:add("a", 60)
    queue:add("b", 0.06)
    queue:add("a", 0.03)
    queue:add("b", 60)
    assert.equal(3, queue:len())
    assert.same({ "a", "b", "c" }, wait_for(3))
    queue:add("a", 60)
    queue:add "a"
    assert.same({ "a", "b", "c", "a" }, wait_for(4))
    assert.equal(0, queue:len())
  end)

  it("sorts thousands of them", function()
    start(note, 1)
    local earliest <const>, latest <const> = {}, {}
    for i = 1, 2000 do
      local key <const>, after_s <const> = tostring(i), 0.1 + math.random() / 10
      earliest[key] = timer.now() + after_s
      queue:add(key, after_s)
      latest[key] = timer.now() + after_s
    end
    wait_for(2000)
    for i = 2, #done do
      assert.is_true(earliest[done[i - 1]] <= latest[done[i]])
    end
  end)

  it("comes back when the work asks for it", function()
    local times = 0
    start(function(key)
      note(key)
      times = times + 1
      if times < 3 then return 0.01 end
    end)
    queue:add "a"
    wait_for(3)
    timer.sleep(0.05)
    assert.equal(3, #done)
  end)

  it("tries again what fails, later each time, and forgets that once it goes well", function()
    local at <const>, failures = {}, 3
    start(function(key)
      at[#at + 1] = timer.now()
      note(key)
      failures = failures - 1
      if failures >= 0 then error { kind = "busy", message = "not now" } end
    end)
    queue:add "a"
    wait_for(2)
    assert.is_true(queue:failures "a" > 0)
    wait_for(4)
    timer.sleep(0)
    assert.equal(0, queue:failures "a")
    assert.is_true(at[4] - at[3] > at[2] - at[1])
  end)

  it("waits as long as a failure says", function()
    local failed_s, again_s
    start(function(key)
      note(key)
      if failed_s then
        again_s = timer.now()
        return
      end
      failed_s = timer.now()
      error { kind = "busy", message = "overloaded", retry_after_s = 0.2 }
    end)
    queue:add "a"
    wait_for(2)
    assert.is_true(again_s - failed_s >= 0.19)
  end)

  it("says loudly what is a mistake of its own", function()
    start(function(key)
      note(key)
      if #done == 1 then error "on purpose" end
    end)
    queue:add "a"
    wait_for(2)
    assert.equal("error", log.lines[1].level)
    assert.matches("on purpose", log.lines[1].fields.why)
  end)
end)
