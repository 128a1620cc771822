local fail <const> = require "lib.fail"
local in_process <const> = require "lib.populator.in_process"
local timer <const> = require "lunalift.timer"

describe("a copy in this process", function()
  local executor, opened, told

  before_each(function()
    told = {}
    opened = function()
      return {}, { close = function() end }
    end
    executor = in_process.new {
      open = function(order) return opened(order) end,
      on_change = function(order) told[#told + 1] = order.uid end,
      version = "1",
      limit = 2,
    }
  end)

  local function wait_until(holds)
    local until_s <const> = timer.now() + 5
    while not holds() do
      assert(timer.now() < until_s, "not within 5 s")
      timer.sleep(0.005)
    end
  end

  -- Returns what became of it.
  local function run(flow)
    executor:start({ key = "move/disk", uid = "u", flow = "populate", vendor = "ontap" }, flow)
    wait_until(function() return not executor:of("u").is_running end)
    assert.same("u", told[#told])
    return executor:of "u"
  end

  it("is done when its flow says so, and at no other end", function()
    local done <const> = run(function(job) job:done {} end)
    assert.is_nil(done.why)
    assert.equal("done", done.receipt.result.status)
    assert.matches("without job:done", run(function() end).why.message)
    assert.equal("not_found", run(function() fail.raise("not_found", "no disk") end).why.kind)
    assert.equal("bug", run(function() error "oops" end).why.kind)
  end)

  it("fails when it cannot be opened, or not be put down in the end", function()
    opened = function() fail.raise("config", "no Secret") end
    assert.equal("no Secret", run(function() end).why.message)
    opened = function()
      return {}, { close = function() end }
    end
    local ended <const> = run(function(job)
      job:done {}
      job.facts.lun = { name = function() end } -- no receipt can hold that
      job.facts.disk = setmetatable({}, { __index = function() error "unreadable" end })
    end)
    assert.equal("bug", ended.why.kind)
  end)

  it("is let go when another process is to go on with it: nothing is told, and nothing begun", function()
    executor:start(
      { key = "move/disk", uid = "u", flow = "populate", vendor = "ontap" },
      function() timer.sleep(60) end
    )
    timer.sleep(0.02)
    local before <const> = #told
    assert.is_true(executor:hand_over(5))
    assert.is_true(executor:of("u").is_running)
    assert.equal(before, #told)
    executor:start({ key = "move/next", uid = "n", flow = "populate" }, function() end)
    assert.is_nil(executor:of "n")
  end)

  it("is one of so many at a time", function()
    for _, uid in ipairs { "a", "b" } do
      assert.is_false(executor:is_full())
      executor:start({ key = "move/" .. uid, uid = uid, flow = "populate", vendor = "ontap" }, function(job)
        timer.sleep(0.02)
        job:done {}
      end)
    end
    assert.is_true(executor:is_full())
    wait_until(function() return not executor:is_full() end)
  end)
end)
