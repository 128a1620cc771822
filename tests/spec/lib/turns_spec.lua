local fake_job <const> = require "spec.support.fake_job"
local fake_kube <const> = require "spec.support.fake_kube"
local json <const> = require "lunalift.json"
local stand_in <const> = require "spec.support.stand_in"
local task <const> = require "lunalift.task"
local timer <const> = require "lunalift.timer"

local RESCAN_LEASE <const>, LOCKS <const> =
  "esxi-lock-hostsystem-host-1-slot-0", "/apis/coordination.k8s.io/v1/namespaces/move/leases"

describe("turns on a host", function()
  local restore, turns, kube, clock

  local function setup_with(fakes)
    fakes["lunalift.log"] = stand_in.log()
    restore = stand_in.install(fakes)
    turns = require "lib.turns"
    kube = fake_kube.new()
  end

  after_each(function() restore() end)

  -- A job with a host of its own; `closers` are what its site would close.
  local function host_of(request, claim)
    local closers <const> = {}
    local site <const> = {
      kube = function() return kube end,
      closing = function(_, what) closers[#closers + 1] = what end,
    }
    local job <const> = fake_job.new { request = request, site = site }
    job.ledger.subject = claim and { claim = claim }
    job.closers = closers
    local vcenter <const> = { where = "vc.example", about = { instanceUuid = "u" } }
    return { job = job, name = "esx", ref = { type = "HostSystem", id = "host-1" }, vcenter = vcenter }
  end

  local function lease(name) return kube.lab:get(LOCKS .. "/" .. name) end

  local function slot(n)
    for _, each in ipairs(assert(kube:get(LOCKS)).items) do
      if each.metadata.name:find("^lunalift%-clone%-%x%x%x%x%x%x%x%x%-host%-1%-" .. n .. "$") then return each end
    end
  end

  local function holder(object) return object and object.spec.holderIdentity end

  local function is_never_served() return false end

  -- ---- by a real clock: jobs of one process ----

  describe("among the jobs of one process", function()
    before_each(function() setup_with {} end)

    it("share rescans: a hundred disks need no more than three", function()
      local mapped <const>, visible <const>, rescans = {}, {}, 0
      local function rescan()
        rescans = rescans + 1
        local found <const> = {}
        for id in pairs(mapped) do
          found[id] = true
        end
        timer.sleep(0.05)
        for id in pairs(found) do
          visible[id] = true
        end
      end
      local jobs <const> = {}
      for id = 1, 100 do
        jobs[id] = function()
          timer.sleep(id % 10 * 0.003)
          mapped[id] = true
          local host <const> = host_of {}
          while not visible[id] do
            turns.rescan(host, rescan, function() return visible[id] == true end)
          end
        end
      end
      task.all(jobs)
      assert.is_true(rescans >= 1 and rescans <= 3, tostring(rescans))
    end)

    it("rescan one at a time, also when one of them fails", function()
      local now, most = 0, 0
      local function rescan(id)
        now = now + 1
        most = math.max(most, now)
        timer.sleep(0.005)
        now = now - 1
        if id == 2 then error { kind = "failed", message = "no" } end
      end
      local jobs <const> = {}
      for id = 1, 5 do
        jobs[id] = function()
          pcall(turns.rescan, host_of {}, function() rescan(id) end, is_never_served)
        end
      end
      task.all(jobs)
      assert.equal(1, most)
    end)

    it("clone a few at a time without any Lease, and have no slot longer than their site is open", function()
      local now, most = 0, 0
      local jobs <const> = {}
      for id = 1, 4 do
        jobs[id] = function()
          local host <const> = host_of { clone_slots = 2 }
          turns.take_slot(host.job, host, false)
          now = now + 1
          most = math.max(most, now)
          timer.sleep(0.01)
          now = now - 1
          host.job.closers[1].close()
        end
      end
      task.all(jobs)
      assert.equal(2, most)
    end)
  end)

  -- ---- by a clock that jumps: Leases ----

  describe("among pods", function()
    local REQUEST <const> = { lease_namespace = "move", lease_s = 10, clone_slots = 2 }

    before_each(function()
      clock = stand_in.clock()
      clock.timer.epoch = function() return 1700000000 + math.floor(clock.now_s) end
      clock.timer.iso = function(at) return timer.iso(at or clock.timer.epoch()) end
      setup_with {
        ["lunalift.timer"] = clock.timer,
        ["lunalift.task"] = setmetatable({
          -- the keeper would sleep by a clock that jumps; what is released is released at once
          background = function()
            return { cancel = function() end }
          end,
        }, { __index = task }),
      }
    end)

    local function request(changes)
      local new <const> = {}
      for key, value in pairs(REQUEST) do
        new[key] = value
      end
      for key, value in pairs(changes or {}) do
        new[key] = value
      end
      return new
    end

    local function put(name, by, seconds)
      assert(kube:create(LOCKS, {
        apiVersion = "coordination.k8s.io/v1",
        kind = "Lease",
        metadata = { name = name, namespace = "move" },
        spec = { holderIdentity = by, leaseDurationSeconds = seconds, renewTime = clock.timer.iso() },
      }))
    end

    it("rescan under upstream's Lease, and let it go in a way that upstream understands", function()
      local host <const> = host_of(request(), "u-1")
      local during
      turns.rescan(host, function() during = holder(lease(RESCAN_LEASE)) end, is_never_served)
      assert.equal("lunalift-u-1", during)
      local after <const> = lease(RESCAN_LEASE)
      assert.is_nil(after.spec.holderIdentity)
      assert.equal(10, after.spec.leaseDurationSeconds)
      assert.is_true(timer.parse(after.spec.renewTime) + 10 < clock.timer.epoch())
    end)

    it("let it go also when the rescan fails", function()
      local host <const> = host_of(request(), "u-1")
      assert.is_false(
        pcall(turns.rescan, host, function() error { kind = "failed", message = "no" } end, is_never_served)
      )
      assert.is_nil(holder(lease(RESCAN_LEASE)))
    end)

    it("wait for one that renews, and rescan no more when that has served them", function()
      put(RESCAN_LEASE, "another-pod", 10)
      local looks = 0
      local function renew(method)
        if method ~= "GET" then return nil end
        looks, kube.fails = looks + 1, nil
        local stored <const> = assert(kube:get(LOCKS .. "/" .. RESCAN_LEASE))
        stored.spec.holderIdentity = looks < 15 and "another-pod" or nil
        stored.spec.renewTime = clock.timer.iso()
        assert(kube:update(LOCKS .. "/" .. RESCAN_LEASE, stored))
        kube.fails = looks < 15 and renew or nil
      end
      kube.fails = renew
      local host <const>, acts = host_of(request(), "u-1"), 0
      local waited_s <const> = turns.rescan(host, function() acts = acts + 1 end, function() return true end)
      assert.equal(0, acts)
      assert.is_true(waited_s >= 14, tostring(waited_s)) -- longer than its duration, since it was seen to renew
      assert.equal("waiting test: another-pod rescans esx", fake_job.only(host.job.trace, "waiting")[1])
    end)

    it("take over from one that was watched in silence, whatever its clock says", function()
      put(RESCAN_LEASE, "dead-pod", 10)
      local stored <const> = lease(RESCAN_LEASE)
      stored.spec.renewTime = timer.iso(clock.timer.epoch() + 300)
      assert(kube:update(LOCKS .. "/" .. RESCAN_LEASE, stored))
      local host <const>, acts = host_of(request(), "u-1"), 0
      local waited_s <const> = turns.rescan(host, function() acts = acts + 1 end, is_never_served)
      assert.equal(1, acts)
      assert.is_true(waited_s > 10 and waited_s < 13, tostring(waited_s))
    end)

    it("are at once the next run's of the same claim", function()
      put(RESCAN_LEASE, "lunalift-u-1", 10)
      local waited_s <const> = turns.rescan(host_of(request(), "u-1"), function() end, is_never_served)
      assert.equal(0, waited_s)
    end)

    it("are done without, once that is said, where Leases may not be written or there are none", function()
      for _, why in ipairs {
        { kind = "denied", message = "leases is forbidden", status = 403 },
        { kind = "not_found", message = "namespaces not found", status = 404 },
      } do
        kube.fails = function(method) return method == "POST" and why or nil end
        local host <const>, acts = host_of(request(), "u-1"), 0
        for _ = 1, 2 do
          turns.rescan(host, function() acts = acts + 1 end, is_never_served)
        end
        turns.take_slot(host.job, host, false)
        assert.equal(2, acts)
        assert.equal(1, #fake_job.only(host.job.trace, "warning work on hosts is not coordinated with other pods: "))
        assert.same({}, host.job.ledger.promises)
        host.job.closers[1].close()
      end
    end)

    it("clone in slots of their own, promised, and released by settling", function()
      local one <const>, two <const> = host_of(request(), "u-1"), host_of(request(), "u-2")
      turns.take_slot(one.job, one, false)
      turns.take_slot(two.job, two, false)
      assert.same({ "lunalift-u-1", "lunalift-u-2" }, { holder(slot(0)), holder(slot(1)) })
      assert.equal("lease.release", one.job.ledger.promises[1].undo)
      one.job.ledger:settle(one.job)
      assert.is_nil(holder(slot(0)))
      assert.equal("lunalift-u-2", holder(slot(1)))
      two.job.ledger:settle(two.job)
      assert.is_nil(holder(slot(1)))
    end)

    it("wait visibly for a slot", function()
      local one <const>, two <const> =
        host_of(request { clone_slots = 1 }, "u-1"), host_of(request { clone_slots = 1 }, "u-2")
      turns.take_slot(one.job, one, false)
      local waits = 0
      two.job.report.waiting = function(_, _, text)
        waits = waits + 1
        assert.equal("all 1 slots for clones on esx are taken, by lunalift-u-1", text)
        if waits == 3 then one.job.ledger:settle(one.job) end
      end
      turns.take_slot(two.job, two, false)
      assert.equal(3, waits)
      assert.equal("lunalift-u-2", holder(slot(0)))
      two.job.ledger:settle(two.job)
    end)

    it("do not wait with a clone that runs already", function()
      local one <const>, two <const> =
        host_of(request { clone_slots = 1 }, "u-1"), host_of(request { clone_slots = 1 }, "u-2")
      turns.take_slot(one.job, one, false)
      turns.take_slot(two.job, two, true)
      assert.equal("lunalift-u-1", holder(slot(0)))
      two.job.ledger:settle(two.job)
      assert.equal("lunalift-u-1", holder(slot(0)))
      one.job.ledger:settle(one.job)
    end)

    it("let go what a dead run's name holds, and nothing else", function()
      put("lunalift-clone-00000000-host-1-0", "lunalift-u-1", 30)
      put("lunalift-clone-00000000-host-1-1", "lunalift-u-2", 30)
      local host <const> = host_of(request(), "u-9")
      local names <const> = json.array {}
      for i = 0, 2 do
        names[i + 1] = "lunalift-clone-00000000-host-1-" .. i
      end
      turns.release(host.job, { namespace = "move", names = names, holder = "lunalift-u-1" })
      assert.is_nil(holder(lease(names[1])))
      assert.equal("lunalift-u-2", holder(lease(names[2])))
    end)
  end)
end)
