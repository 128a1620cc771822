--- Several runs on one host at the same time, each a process of its own, as pods are.
local labs <const> = require "support.lab"
local task <const> = require "lunalift.task"
local timer <const> = require "lunalift.timer"

local LOCKS <const> = "/apis/coordination.k8s.io/v1/namespaces/openshift-mtv/leases"
local CLAIMS <const> = { "vm-57-disk-1", "vm-58-disk-1", "vm-59-disk-1" }

describe("runs that share a host", function()
  local lab, before

  setup(function() lab = labs.start({ esxi = { rescan_s = 0.6 } }, labs.QUICK_BIN) end)
  teardown(function() lab:stop() end)

  before_each(function() before = lab:snapshot() end)

  after_each(function()
    lab:host("vmkfstools", {})
    assert.same(before, lab:snapshot())
    for _, lease in ipairs(assert(lab.kube:get(LOCKS)).items) do
      assert.is_nil(lease.spec.holderIdentity, lease.metadata.name)
    end
  end)

  local function writers() return #lab:state().hosts[1].writers end
  local function rescans() return lab:state().hosts[1].rescans end

  it("share rescans, and clone two at a time", function()
    lab:host("vmkfstools", { rate = 2097152 })
    local running <const>, most, were <const> = {}, 0, rescans()
    for i, claim in ipairs(CLAIMS) do
      running[i] = lab:start_populate { claim = claim }
    end
    local watch <const> = task.spawn(function()
      while true do
        most = math.max(most, writers())
        timer.sleep(0.05)
      end
    end)
    local waited = 0
    for _, each in ipairs(running) do
      local ended <const> = each:wait()
      assert.equal(0, ended.code, ended.err .. ended.out)
      local is_told <const> =
        ended.out:find("all 2 slots for clones on esx-01.lab.example are taken, by lunalift-", 1, true)
      waited = waited + (is_told and 1 or 0)
    end
    watch:cancel()
    assert.equal(2, most)
    assert.is_true(waited >= 1)
    -- one before and one after each copy would be six
    assert.is_true(rescans() - were <= 5, ("%d rescans"):format(rescans() - were))
  end)

  it("end at once when they are cancelled while they wait for a slot", function()
    lab:host("vmkfstools", { hang_at = 10 })
    local first <const> = lab:start_populate { claim = CLAIMS[1], words = { "--clone-slots=1" } }
    labs.wait_until(20, "a writer", function() return writers() == 1 end)
    local second <const> = lab:start_populate { claim = CLAIMS[2], words = { "--clone-slots=1" } }
    labs.wait_until(20, "the other waits", function() return (second:output()):find "all 1 slots for clones" end)
    second:kill "TERM"
    local ended <const> = second:wait()
    assert.equal(4, ended.code, ended.err)
    assert.equal(1, writers())
    first:kill "TERM"
    assert.equal(4, first:wait().code)
  end)

  it("take the slot of a run that died, with its clone", function()
    lab:host("vmkfstools", { hang_at = 10 })
    local first <const> = lab:start_populate { claim = CLAIMS[1], words = { "--clone-slots=1" } }
    labs.wait_until(20, "a writer", function() return writers() == 1 end)
    first:kill "KILL"
    first:wait()
    assert(lab.control:post "/sessions/expire")
    lab:host("vmkfstools", {})
    local ended <const> = lab:populate { claim = CLAIMS[1], words = { "--clone-slots=1" } }
    assert.equal(0, ended.code, ended.err)
    assert.matches("go on from an earlier run: clone %x+%-[%x-]+ goes on", ended.out)
    assert.is_true(ended.seconds < 10, tostring(ended.seconds))
  end)

  it("do without Leases, and say so, where they may not write them", function()
    local ended <const> = lab:populate {
      env = { KUBECONFIG = lab.site.kube.populator_kubeconfig, HOST_LEASE_NAMESPACE = "elsewhere" },
    }
    assert.equal(0, ended.code, ended.err)
    local _, warnings <const> = ended.out:gsub("warning: work on hosts is not coordinated with other pods: ", "")
    assert.equal(1, warnings)
  end)
end)
