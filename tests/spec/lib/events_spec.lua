local fake_kube <const> = require "spec.support.fake_kube"
local stand_in <const> = require "spec.support.stand_in"
local task <const> = require "lunalift.task"
local timer <const> = require "lunalift.timer"

local EVENTS <const> = "/api/v1/namespaces/move/events"

describe("events", function()
  local restore, log, events, kube, recorder, running

  before_each(function()
    log = stand_in.log()
    restore = stand_in.install { ["lunalift.log"] = log }
    events, kube = require "lib.events", fake_kube.new "admin"
    recorder = events.new(kube, { component = "lunalift-controller", instance = "pod-1" })
    running = task.spawn(recorder.run, recorder)
  end)

  after_each(function()
    running:cancel()
    restore()
  end)

  local function claim() return events.about(assert(kube:get "/api/v1/namespaces/move/persistentvolumeclaims/data")) end

  local function settle()
    local until_s <const> = timer.now() + 10
    repeat
      timer.sleep(0.005)
    until recorder:is_idle() or timer.now() > until_s
    return assert(kube:get(EVENTS)).items
  end

  it("are written as kubectl shows them", function()
    recorder:say(claim(), "Warning", "PopulatorFailed", "the array is full")
    local event <const> = settle()[1]
    local about <const> = event.involvedObject
    assert.same({ "v1", "PersistentVolumeClaim", "move", "data", "u-1" }, {
      about.apiVersion,
      about.kind,
      about.namespace,
      about.name,
      about.uid,
    })
    assert.same({ "Warning", "PopulatorFailed", "the array is full", 1 }, {
      event.type,
      event.reason,
      event.message,
      event.count,
    })
    assert.same({ "lunalift-controller", "pod-1" }, { event.reportingComponent, event.reportingInstance })
    assert.matches("^data%.%x+$", event.metadata.name)
  end)

  it("are counted, and not written again, when they are said again", function()
    for _ = 1, 3 do
      recorder:say(claim(), "Normal", "Waiting", "no class")
    end
    recorder:say(claim(), "Normal", "Waiting", "no node")
    local found <const> = settle()
    assert.equal(2, #found)
    local counts <const> = { [found[1].message] = found[1].count, [found[2].message] = found[2].count }
    assert.same({ ["no class"] = 3, ["no node"] = 1 }, counts)
    local _, requests <const> = table.concat(kube.calls, " "):gsub("POST", "")
    assert.equal(2, requests)
  end)

  it("are written anew when the API has dropped them", function()
    recorder.count_every_s = 0.05
    recorder:say(claim(), "Normal", "Waiting", "no class")
    local first <const> = settle()[1]
    assert(kube:delete(EVENTS .. "/" .. first.metadata.name))
    recorder:say(claim(), "Normal", "Waiting", "no class")
    local again <const> = settle()[1]
    assert.equal(2, again.count)
    assert.not_equal(first.metadata.name, again.metadata.name)
  end)

  it("are tried again when the API is away, and given up when it does not want them", function()
    local failures = 2
    kube.fails = function(method)
      if method ~= "POST" then return end
      failures = failures - 1
      if failures >= 0 then return { kind = "unreachable", message = "down" } end
    end
    recorder:say(claim(), "Normal", "Waiting", "no class")
    assert.equal(1, #settle())
    kube.fails = function(method)
      if method == "POST" then
        return { kind = "denied", status = 403, message = "the namespace is being terminated" }
      end
    end
    recorder:say(claim(), "Normal", "Waiting", "no node")
    assert.equal(1, #settle())
    assert.equal("an event is lost", log.lines[#log.lines].message)
  end)

  it("of very long names and messages are cut to what the API takes", function()
    local about <const> = claim()
    about.name = ("n"):rep(253)
    recorder:say(about, "Normal", "Waiting", ("m"):rep(5000))
    local event <const> = settle()[1]
    assert.equal(1024, #event.message)
    assert.is_true(#event.metadata.name <= 253)
  end)
end)
