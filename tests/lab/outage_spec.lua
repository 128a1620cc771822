--- Peers that are away for longer than one answer, on the site and the clock of the matrices.
local matrix <const> = require "support.matrix"
local probe <const> = require "lunalift.probe"
local task <const> = require "lunalift.task"
local timer <const> = require "lunalift.timer"
local vsphere <const> = require "lunalift.vsphere"
local secret <const> = require "lunalift.secret"

local AWAY_S <const> = 180

describe("an outage", function()
  local bench

  setup(function()
    bench = matrix.open()
    probe.skip_waits(true)
  end)

  teardown(function()
    probe.skip_waits(false)
    bench:close()
  end)

  local function count(requests, method)
    local n = 0
    for _, entry in ipairs(requests) do
      if entry.method == method then n = n + 1 end
    end
    return n
  end

  it("of the vCenter for minutes, with all logins lost, ends no copy that goes on", function()
    local until_s
    local away <const> = { service = "vcenter", times = 0, action = "drop" }
    local outcome <const> = bench:run {
      before = function(entry)
        if entry.target == "vmkfstools.taskGet" and not until_s then
          until_s = timer.now() + AWAY_S
          bench.lab.faults:set { away }
        elseif until_s and timer.now() >= until_s and #bench.lab.faults.rules > 0 then
          bench.lab.faults:set {}
          bench.lab.vcenter.sessions:expire()
        end
      end,
    }
    assert.is_nil(outcome.why)
    assert.same({}, outcome.problems)
    assert.equal(1, outcome.writers)
    assert.is_true(count(outcome.requests, "ExecuteSoap") > 30)
    assert.equal(2, count(outcome.requests, "Login"))
  end)

  it("that takes the array's password away ends the run at once, and leaves nothing behind", function()
    local outcome <const> = bench:run {
      rule = { service = "ontap", match = { method = "POST", path = "*/lun-maps" }, action = "status:401" },
    }
    assert.equal("denied", outcome.why.kind)
    assert.is_truthy(outcome.why.hint)
    assert.same({}, outcome.problems)
    assert.equal(1, outcome.struck and 1)
  end)

  it("of a login is mended by one new login, however many calls meet it", function()
    local vc <const> = bench.about.vcenter
    local session <const> = vsphere.open {
      host = vc.host,
      username = vc.username,
      password = secret.new(vc.password),
      tls = { ca_file = bench.about.ca_file },
    }
    assert(session:login())
    bench.lab.vcenter.sessions:expire()
    bench.lab.faults.requests = {}
    local calls <const> = {}
    for i = 1, 20 do
      calls[i] = function()
        return assert(session:call("CurrentTime", { type = "ServiceInstance", id = "ServiceInstance" }))
      end
    end
    task.all(calls)
    assert.equal(1, count(bench.lab.faults.requests, "Login"))
    assert.equal(1, #bench.lab.vcenter.sessions:list())
    assert(session:logout())
    assert.same({}, bench.lab.vcenter.sessions:list())
  end)

  it("uses a host object that another run made meanwhile, and removes it, as the last one there", function()
    local is_made = false
    local mark <const> = bench.lab.vcenter.uuid:sub(1, 8)
    local outcome <const> = bench:run {
      before = function(entry)
        if entry.method == "POST" and entry.path:find "igroups$" and not is_made then
          is_made = true
          bench.lab.array:add_igroup {
            svm = "svm0",
            name = ("xcopy-host-21-%s-iscsi"):format(mark),
            protocol = "iscsi",
            os_type = "vmware",
            initiators = { "iqn.1998-01.com.vmware:esx-01:64" },
            luns = {},
          }
        end
      end,
    }
    assert.is_nil(outcome.why)
    assert.is_true(is_made)
    assert.same({}, outcome.problems)
  end)
end)
