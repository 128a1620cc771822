local fail <const> = require "lib.fail"
local fake_job <const> = require "spec.support.fake_job"
local fake_kube <const> = require "spec.support.fake_kube"
local secret <const> = require "lunalift.secret"
local stand_in <const> = require "spec.support.stand_in"

local MARK <const> = "lunalift.io/journal"

describe("a journal in a Lease", function()
  local restore, clock, kube, journal_lease, variables, opened

  before_each(function()
    clock, variables, opened = stand_in.clock(), {}, {}
    -- the wall clock goes with the other; the keeper, which would sleep by it too, is left out
    clock.timer.epoch = function() return 1700000000 + math.floor(clock.now_s) end
    kube = fake_kube.new()
    local real_iso <const>, real_task <const> = require("lunalift.timer").iso, require "lunalift.task"
    clock.timer.iso = function(at) return real_iso(at or clock.timer.epoch()) end
    restore = stand_in.install {
      ["lunalift.timer"] = clock.timer,
      ["lunalift.log"] = stand_in.log(),
      ["lunalift.env"] = stand_in.env(variables),
      ["lunalift.task"] = setmetatable({
        background = function()
          return { cancel = function() end }
        end,
      }, { __index = real_task }),
    }
    journal_lease = require "lib.journal_lease"
  end)

  after_each(function() restore() end)

  local function job()
    return fake_job.new {
      journal = false,
      site = {
        kube = function() return kube end,
      },
    }
  end

  local function open()
    local journal <const> = journal_lease.open(job(), fake_kube.CLAIM)
    opened[#opened + 1] = journal
    return journal
  end

  local function raised(fn, ...)
    local ok <const>, why <const> = pcall(fn, ...)
    assert.is_false(ok)
    assert.is_true(fail.is(why), tostring(why))
    return why
  end

  local function text(count)
    local entries <const> = {}
    for i = 1, count do
      entries[i] = { n = i, undo = "array.unmap", args = { lun = 1 << 40 }, about = "x" }
    end
    return { job = "j", flow = "populate", task = "t", entries = entries }
  end

  it("belongs to the claim without blocking its deletion, and names its holder", function()
    variables.HOSTNAME = "populate-u-1"
    open()
    local lease <const> = fake_kube.lease(kube)
    assert.same(
      { { apiVersion = "v1", kind = "PersistentVolumeClaim", name = "data", uid = "u-1" } },
      lease.metadata.ownerReferences
    )
    assert.matches("^populate%-u%-1_", lease.spec.holderIdentity)
    assert.equal(15, lease.spec.leaseDurationSeconds)
    assert.is_nil(lease.metadata.finalizers)
  end)

  it("is annotated and kept by a finalizer while there is something in it, and neither when cleared", function()
    local journal <const> = open()
    assert.is_nil(journal:read())
    journal:write(text(2))
    assert.equal(1 << 40, journal:read().entries[2].args.lun)
    assert.same({ MARK }, fake_kube.lease(kube).metadata.finalizers)
    journal:write(text(1))
    assert.same({ MARK }, fake_kube.lease(kube).metadata.finalizers)
    journal:clear()
    local lease <const> = fake_kube.lease(kube)
    assert.is_nil((lease.metadata.annotations or {})[MARK])
    assert.is_nil(lease.metadata.finalizers)
    assert.is_string(lease.spec.holderIdentity)
    journal:close()
    assert.is_nil(fake_kube.lease(kube).spec.holderIdentity)
  end)

  it("leaves what others put on the Lease", function()
    local journal <const> = open()
    local stored <const> = fake_kube.lease(kube)
    stored.metadata.annotations = { theirs = "x" }
    stored.metadata.finalizers = { "example.com/theirs" }
    assert(kube:update("/apis/coordination.k8s.io/v1/namespaces/move/leases/lunalift-u-1", stored))
    journal:write(text(1))
    assert.same({ "example.com/theirs", MARK }, fake_kube.lease(kube).metadata.finalizers)
    journal:clear()
    assert.same({ "example.com/theirs" }, fake_kube.lease(kube).metadata.finalizers)
    assert.same({ theirs = "x" }, fake_kube.lease(kube).metadata.annotations)
  end)

  it("needs no verb that forklift's Role does not give", function()
    local journal <const> = open()
    journal:write(text(1))
    journal:fence()
    journal:clear()
    journal:close()
    journal_lease.list(job(), "move")
    for _, verb in ipairs(kube.calls) do
      assert.is_true(verb == "GET" or verb == "POST" or verb == "PUT", verb)
    end
    assert.equal("denied", raised(journal_lease.list, job(), "elsewhere").kind)
  end)

  it("is refused while its holder renews, naming the holder", function()
    variables.HOSTNAME = "pod-a"
    local first <const> = open()
    variables.HOSTNAME = "pod-b"
    local rounds = 0
    kube.fails = function(method)
      rounds = rounds + (method == "GET" and 1 or 0)
      if rounds == 4 and method == "GET" then
        rounds = 5
        first:write(text(1))
      end
    end
    local why <const> = raised(open)
    assert.equal("busy", why.kind)
    assert.matches("another run, pod%-a_", why.message)
    assert.is_string(why.hint)
  end)

  it("is taken over from a holder that was silent for as long as it may be", function()
    open():write(text(1))
    local began_s <const> = clock.now_s
    local second <const> = open()
    assert.equal("array.unmap", second:read().entries[1].undo)
    local waited_s <const> = clock.now_s - began_s
    assert.is_true(waited_s > 15 and waited_s < 20, tostring(waited_s))
    assert.equal(1, fake_kube.lease(kube).spec.leaseTransitions)
  end)

  it("is taken over at once from one that is long gone, and from one that let go", function()
    open():write(text(1))
    clock.now_s = clock.now_s + 31
    local second <const> = open()
    assert.same({}, clock.naps)
    second:close()
    assert.equal("array.unmap", open():read().entries[1].undo)
    assert.same({}, clock.naps)
  end)

  it("lets its former holder do nothing any more", function()
    local first <const> = open()
    first:write(text(1))
    clock.now_s = clock.now_s + 31
    open():write(text(2))
    for _, act in ipairs { "write", "clear", "fence" } do
      local why <const> = raised(first[act], first, text(3))
      assert.equal("conflict", why.kind)
    end
    first:close()
    assert.is_string(fake_kube.lease(kube).spec.holderIdentity)
  end)

  it("stops its holder before the next act when the API is silent for too long", function()
    local journal <const> = open()
    kube.fails = function() return { kind = "unreachable", message = "no route" } end
    clock.now_s = clock.now_s + 14
    journal:fence()
    clock.now_s = clock.now_s + 2
    local why <const> = raised(journal.fence, journal)
    assert.equal("conflict", why.kind)
    assert.matches("could not be renewed", why.message)
    kube.fails = nil
    journal:fence() -- nobody took it meanwhile: it is still ours
  end)

  it("survives answers that are lost: of its making, its taking and its writing", function()
    local function lose(which)
      kube.fails = function(method)
        if method ~= which then return nil end
        kube.fails = nil
        return { kind = "timeout", message = "lost", unanswered = true }
      end
    end
    lose "POST"
    local journal = open()
    journal:close()
    lose "PUT"
    journal = open()
    lose "PUT"
    journal:write(text(2))
    assert.equal(2, #journal:read().entries)
    journal:fence()
  end)

  it("takes neither secrets nor more than 64 KiB", function()
    local journal <const> = open()
    journal:write(text(1))
    local large <const>, telling <const> = text(1), text(1)
    large.entries[1].about = ("x"):rep(64 << 10)
    local why <const> = raised(journal.write, journal, large)
    assert.equal("no_space", why.kind)
    telling.entries[1].args = { password = secret.new "hunter2" }
    local ok <const>, said <const> = pcall(journal.write, journal, telling)
    assert.is_false(ok)
    assert.is_nil(tostring(said):find "hunter2")
    assert.equal("x", journal:read().entries[1].about)
  end)

  it("keeps a receipt when all is over, unless another run has begun", function()
    local journal <const> = open()
    journal:close()
    journal:keep_receipt "{}"
    assert.equal("{}", fake_kube.lease(kube).metadata.annotations["lunalift.io/receipt"])
    open()
    assert.equal("conflict", raised(journal.keep_receipt, journal, "{1}").kind)
    assert.equal("{}", fake_kube.lease(kube).metadata.annotations["lunalift.io/receipt"])
  end)

  it(
    "goes with a claim that is deleted, once nothing is left to undo, and is none of its holder's troubles then",
    function()
      local journal <const> = open()
      journal:write(text(1))
      assert(kube.lab:handle {
        method = "DELETE",
        path = "/apis/coordination.k8s.io/v1/namespaces/move/leases/lunalift-u-1",
        headers = { authorization = "Bearer admin" },
      })
      assert.is_string(fake_kube.lease(kube).metadata.deletionTimestamp)
      journal:clear()
      assert.is_nil(fake_kube.lease(kube))
      clock.now_s = clock.now_s + 60
      journal:fence()
      assert.is_false(journal:keep_receipt "{}")
      journal:close()
    end
  )

  it("is found among the others of its namespace, alive or dead", function()
    open():write(text(1))
    local found = journal_lease.list(job(), "move")
    assert.equal(1, #found)
    assert.same({ "lunalift-u-1", false, true }, { found[1].name, found[1].is_dead, found[1].has_claim })
    clock.now_s = clock.now_s + 31
    found = journal_lease.list(job(), "move")
    assert.is_true(found[1].is_dead)
    local taken <const> = journal_lease.take(job(), "move", found[1].lease)
    assert.equal("array.unmap", taken:read().entries[1].undo)
    assert.is_nil(journal_lease.take(job(), "move", found[1].lease)) -- another was quicker
    taken:clear()
    assert.same({}, journal_lease.list(job(), "move"))
  end)
end)
