--- Every writing request in the lab's own log lies inside a numbered effect of the flow's own trace; only the journal tells of them from
--- without.
local matrix <const> = require "support.matrix"
local probe <const> = require "lunalift.probe"

describe("the writing requests", function()
  local bench

  before_each(function()
    bench = matrix.open()
    probe.skip_waits(true)
  end)

  after_each(function()
    probe.skip_waits(false)
    bench:close()
  end)

  -- How many each peer got within effects, and how many about the journal. Each effect of the trace is there for one.
  local function writes_of(outcome)
    local counts <const>, used <const> = { vcenter = 0, ontap = 0, kube = 0, journal = 0 }, {}
    for _, entry in ipairs(outcome.requests) do
      if entry.effect then
        local name <const> = entry.inside and entry.service or "journal"
        counts[name] = counts[name] + 1
        if entry.inside then used[entry.inside] = true end
      end
    end
    for number, name in ipairs(outcome.job.trace) do
      assert.is_true(used[number], ("nothing was written in effect %d, %s"):format(number, name))
    end
    assert.equal(outcome.job.effects, #outcome.job.trace)
    return counts
  end

  local function targets_of(outcome)
    local found <const> = {}
    for _, entry in ipairs(outcome.requests) do
      if entry.effect then found[entry.target or entry.method] = outcome.job.trace[entry.inside] end
    end
    return found
  end

  it("of populate lie inside its effects, settling's too", function()
    local outcome <const> = bench:run {
      job = bench:job { request = { journal = "lease" } },
      may_leave = "^left behind: object leases",
    }
    assert.is_nil(outcome.why)
    assert.same({}, outcome.problems)
    local counts <const> = writes_of(outcome)
    assert.is_true(counts.vcenter > 4 and counts.ontap > 3 and counts.journal > 5)
    assert.equal(0, counts.kube) -- all that populate writes there is its journal
    local targets <const> = targets_of(outcome)
    assert.equal("clone.start", targets["vmkfstools.clone"])
    assert.equal("clone.clean", targets["vmkfstools.taskClean"])
    assert.equal("host.detach", targets["storage.core.device.set"])
  end)

  it("of reap lie inside its effects, after a run that died while its clone wrote", function()
    local dead <const> = bench:run {
      dies = true,
      after = function(entry, job)
        if entry.target == "vmkfstools.taskGet" then job:cancel "as if killed" end
      end,
    }
    assert.equal("cancelled", dead.why.kind)
    local outcome <const> = bench:run {
      job = bench:job { name = "reap", request = { apply = true } },
      flow = require "flows.reap",
    }
    assert.is_nil(outcome.why)
    assert.same({}, outcome.problems)
    local counts <const> = writes_of(outcome)
    assert.is_true(counts.vcenter > 3 and counts.ontap > 1)
    assert.equal("clone.kill", targets_of(outcome)["vmkfstools.taskKill"])
  end)
end)
