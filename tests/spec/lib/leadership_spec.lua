local fake_kube <const> = require "spec.support.fake_kube"
local stand_in <const> = require "spec.support.stand_in"
local task <const> = require "lunalift.task"
local timer <const> = require "lunalift.timer"

describe("leadership", function()
  local restore, leadership, kube, tasks, leads

  before_each(function()
    restore = stand_in.install { ["lunalift.log"] = stand_in.log() }
    leadership, kube, tasks, leads = require "lib.leadership", fake_kube.new "admin", {}, {}
  end)

  after_each(function()
    for _, each in pairs(tasks) do
      each:cancel()
    end
    restore()
  end)

  local function run(me, options)
    local given <const> = options or {}
    given.namespace, given.name, given.me = "move", "lunalift-controller", me
    given.retry_s, given.held_s = given.retry_s or 0.02, given.held_s or 15
    given.lead = given.lead
      or function(term)
        leads[me] = term
        local _gone <close> = setmetatable({}, { __close = function() leads[me] = nil end })
        timer.sleep(60)
      end
    tasks[me] = task.spawn(leadership.run, kube, given)
    return tasks[me]
  end

  local function wait_until(is_so)
    local until_s <const> = timer.now() + 10
    while not is_so() do
      assert.is_true(timer.now() < until_s, "it has not come to that")
      timer.sleep(0.005)
    end
  end

  local function lease() return fake_kube.lease(kube, "lunalift-controller") end

  it("is one's alone, and passes at once to another who waits, with a higher number", function()
    run "a"
    wait_until(function() return leads.a end)
    local holder
    run("b", { on_holder = function(name) holder = name end })
    wait_until(function() return holder end)
    assert.equal("a", holder)
    timer.sleep(0.1)
    assert.is_nil(leads.b)
    local first <const> = leads.a.number
    tasks.a:cancel()
    wait_until(function() return leads.b end)
    assert.is_nil(leads.a)
    assert.is_true(leads.b.number > first)
    assert.equal("b", lease().spec.holderIdentity)
  end)

  it("is taken from one who is silent, who has stopped by then", function()
    local is_cut_off, stopped_s, taken_s = false, nil, nil
    kube.fails = function(method, _, object)
      local holder <const> = object and object.spec and object.spec.holderIdentity
      if is_cut_off and method == "PUT" and holder == "a" then
        return { kind = "unreachable", message = "cut off", refused = true }
      end
    end
    local first <const> = run("a", {
      held_s = 2,
      certain_s = 1,
      lead = function(term)
        leads.a = term
        local _gone <close> = setmetatable({}, { __close = function() stopped_s = timer.now() end })
        timer.sleep(60)
      end,
    })
    wait_until(function() return leads.a end)
    is_cut_off = true
    run("b", {
      held_s = 2,
      lead = function()
        taken_s = timer.now()
        timer.sleep(60)
      end,
    })
    wait_until(function() return taken_s end)
    assert.is_true(stopped_s < taken_s)
    assert.error_matches(function() leads.a:check() end, "leads no more")
    local _, why <const> = first:wait()
    assert.equal("conflict", why.kind)
  end)

  it("is lost to whoever took it, at the next renewal", function()
    local first <const> = run("a", { held_s = 1, certain_s = 0.9 })
    wait_until(function() return leads.a end)
    local object <const> = lease()
    object.spec.holderIdentity = "thief"
    kube.lab:put(object)
    local _, why <const> = first:wait()
    assert.equal("conflict", why.kind)
    assert.matches("taken over by thief", why.message)
    assert.equal("thief", lease().spec.holderIdentity)
  end)

  it("is lost when it was uncertain for a moment, though it was renewed while the leader stopped", function()
    local renewals = 0
    kube.fails = function(method)
      if method ~= "PUT" then return nil end
      renewals = renewals + 1
      if renewals == 1 then timer.sleep(1) end
    end
    local first <const> = run("a", {
      held_s = 1,
      certain_s = 0.6,
      lead = function()
        local _slow <close> = setmetatable({}, {
          __close = function() task.shield(5, timer.sleep, 2):join() end,
        })
        timer.sleep(60)
      end,
    })
    local _, why <const> = first:wait()
    assert.is_true(renewals > 1)
    assert.equal("conflict", why.kind)
  end)

  it("is let go when what the leader does ends, or fails", function()
    assert.same({ "done", 2, n = 2 }, table.pack(run("a", { lead = function() return "done", 2 end }):wait()))
    assert.is_nil(lease().spec.holderIdentity)
    local _, why <const> = run("a", { lead = function() error { kind = "failed", message = "no" } end }):wait()
    assert.equal("failed", why.kind)
    assert.is_nil(lease().spec.holderIdentity)
  end)

  it("is asked for until the API answers", function()
    local times = 0
    kube.fails = function(method)
      if method ~= "GET" then return end
      times = times + 1
      if times < 3 then return { kind = "denied", message = "not yet" } end
    end
    run "a"
    wait_until(function() return leads.a end)
    assert.equal(3, times)
  end)
end)
