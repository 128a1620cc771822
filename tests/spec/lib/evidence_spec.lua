local codec <const> = require "lunalift.codec"
local fail <const> = require "lib.fail"
local fake_job <const> = require "spec.support.fake_job"
local stand_in <const> = require "spec.support.stand_in"

local MIB <const> = 1 << 20
local GIB <const> = 1 << 30

describe("evidence", function()
  local restore, evidence, clones, job, features

  before_each(function()
    restore = stand_in.install { ["lunalift.log"] = stand_in.log() }
    evidence = require "lib.evidence"
    job = fake_job.new()
    features = { digest = true, taskList = true }
    clones = { asked = {}, running = {}, facts = {} }
    function clones.offers(_, name) return features[name] or false end
    function clones.preflight(self, source, target)
      self.asked[#self.asked + 1] = ("%s %s"):format(source, target or "alone")
      return self.facts
    end
    function clones.tasks(self) return self.running end
    -- Equal on both ends, save what `differs` says.
    function clones.digests(self, _, _, extents)
      local found <const> = { algorithm = "sha256", source = {}, target = {} }
      self.asked[#self.asked + 1] = extents
      for i, extent in ipairs(extents) do
        found.source[i] = codec.sha256(tostring(extent.offset))
        found.target[i] = codec.sha256(self.differs == extent.offset and "other" or tostring(extent.offset))
      end
      return found
    end
  end)

  after_each(function() restore() end)

  local DONE <const> = { running = false, percent = 100, exit_code = 0, stderr = "", state = "done" }

  local function ends_of(bytes)
    return {
      source = "/vmfs/volumes/ds/web/web.vmdk",
      target = "/vmfs/devices/disks/naa.600a",
      naa = "naa.600a",
      bytes = bytes,
    }
  end

  local function raised(fn, ...)
    local ok <const>, why <const> = pcall(fn, ...)
    assert.is_false(ok)
    assert.is_true(fail.is(why), tostring(why))
    return why
  end

  local function vm_on(...)
    return { name = "web", datastores = { { name = "other", extents = {} }, { name = "ds", extents = { ... } } } }
  end

  describe("before the writer", function()
    it("refuses a target that holds a datastore of the VM, however the name is spelt", function()
      local why <const> = raised(evidence.check_apart, vm_on("naa.600b", "NAA.600A"), "naa.600a")
      assert.equal("conflict", why.kind)
      assert.equal("naa.600a is the device that holds datastore ds of VM web", why.message)
      evidence.check_apart(vm_on "naa.600b", "naa.600a")
      evidence.check_apart(vm_on "naa.600b", nil)
    end)

    local function refusal(facts)
      clones.facts = facts
      return raised(evidence.before, job, clones, ends_of(GIB)).kind
    end

    it("refuses what the host tells of either end", function()
      assert.equal("not_found", refusal { sourceExists = false })
      assert.equal("conflict", refusal { sourceExists = true, sourceBytes = GIB + 512 })
      assert.equal("not_found", refusal { deviceExists = false })
      assert.equal("failed", refusal { deviceStatus = "dead timeout" })
      assert.equal("no_space", refusal { deviceBytes = GIB - 512 })
    end)

    it("is content with ends that fit exactly, and with facts that nobody knows", function()
      clones.facts =
        { sourceExists = true, sourceBytes = GIB, deviceExists = true, deviceStatus = "on", deviceBytes = GIB }
      assert.equal(clones.facts, evidence.before(job, clones, ends_of(GIB)))
      clones.facts = nil
      assert.same({}, evidence.before(job, clones, ends_of(GIB)))
    end)

    it("refuses a device that another clone writes to, and no other", function()
      local target <const> = "/vmfs/devices/disks/naa.600a"
      clones.running = {
        { taskId = "ended", state = "done", target = target },
        { taskId = "elsewhere", state = "running", target = "/vmfs/devices/disks/naa.600aa" },
        { taskId = job.ledger.task_id, state = "running", target = target },
      }
      evidence.before(job, clones, ends_of(GIB))
      clones.running[4] = { taskId = "foreign", state = "running", target = target }
      local why <const> = raised(evidence.before, job, clones, ends_of(GIB))
      assert.equal("busy", why.kind)
      assert.matches("foreign", why.message)
      features.taskList = nil
      evidence.before(job, clones, ends_of(GIB))
    end)

    it("looks at the source alone on a dry run", function()
      job.dry_run = true
      clones.facts = { deviceExists = false }
      evidence.before(job, clones, ends_of(GIB))
      assert.same({ "/vmfs/volumes/ds/web/web.vmdk alone" }, clones.asked)
    end)
  end)

  describe("the sampled choice", function()
    local function check(bytes, seed)
      local extents <const> = evidence.sampled(bytes, seed)
      local past = 0
      for _, extent in ipairs(extents) do
        assert.is_true(extent.offset >= past, "ordered, without overlap")
        assert.equal(0, extent.offset % 512 + extent.length % 512)
        past = extent.offset + extent.length
      end
      assert.equal(0, extents[1].offset)
      assert.equal(bytes, past)
      return extents
    end

    it("is all of a disk of 64 MiB or less", function()
      for _, bytes in ipairs { 512, MIB, MIB + 512, 64 * MIB - 512, 64 * MIB } do
        local sum = 0
        for _, extent in ipairs(check(bytes, "s")) do
          sum = sum + extent.length
        end
        assert.equal(bytes, sum)
      end
    end)

    it("is 64 extents of a larger one, first and last among them, at most 64 MiB", function()
      for _, bytes in ipairs { 64 * MIB + 512, 65 * MIB, 66 * MIB, 127 * MIB, 40 * GIB, 40 * GIB + 512, 62 << 40 } do
        assert.equal(64, #check(bytes, "s"))
      end
      assert.equal(512, evidence.sampled(40 * GIB + 512, "s")[64].length)
    end)

    it("spreads over the whole disk", function()
      local stretch <const> = 40 * GIB // 62
      for i, extent in ipairs(evidence.sampled(40 * GIB, "s")) do
        if i > 1 and i < 64 then
          assert.is_true(math.abs(extent.offset - (i - 1.5) * stretch) <= stretch / 2 + 2 * MIB)
        end
      end
    end)

    it("follows from the seed", function()
      assert.same(evidence.sampled(GIB, "a"), evidence.sampled(GIB, "a"))
      assert.is_not.same(evidence.sampled(GIB, "a"), evidence.sampled(GIB, "b"))
    end)
  end)

  describe("after the writer", function()
    local function prove(bytes, mode, last)
      job.request.verify = mode
      job:step "prove it"
      return evidence.prove(job, clones, ends_of(bytes), last or DONE)
    end

    it("samples under the job's id", function()
      local proof <const> = prove(GIB)
      assert.same({ "sampled", true, true, 64, 64 * MIB }, {
        proof.mode,
        proof.verified,
        proof.equal,
        proof.extents,
        proof.bytes,
      })
      assert.equal(job.id, proof.seed)
      assert.same({ evidence.sampled(GIB, job.id) }, clones.asked)
      assert.equal("64 extents, 64 MiB, equal on both ends (sampled)", evidence.text(proof))
    end)

    it("compares every byte in calls that the wrapper takes", function()
      local proof <const> = prove(GIB + 512, "full")
      assert.equal(GIB + 512, proof.bytes)
      local past = 0
      for _, extents in ipairs(clones.asked) do
        local bytes = 0
        for _, extent in ipairs(extents) do
          assert.equal(past, extent.offset)
          past, bytes = extent.offset + extent.length, bytes + extent.length
        end
        assert.is_true(#extents <= 64 and bytes <= 256 * MIB)
      end
      assert.same({ GIB + 512, 5 }, { past, #clones.asked })
      assert.is_true(#fake_job.only(job.trace, "waiting") >= 4)
    end)

    it("names the first extent that differs, and keeps it", function()
      clones.differs = 512 * MIB
      local why <const> = raised(prove, GIB, "full")
      assert.equal("failed", why.kind)
      assert.equal("the copy on naa.600a differs from the disk within 16 MiB from byte 536870912", why.message)
      assert.same({ false, false, 536870912 }, {
        job.facts.proof.verified,
        job.facts.proof.equal,
        job.facts.proof.first_difference,
      })
    end)

    it("takes no answer for equal that is not two digests for each extent", function()
      local good <const> = codec.sha256 "x"
      for _, answer in ipairs {
        {},
        { algorithm = "sha256", source = {}, target = {} },
        { algorithm = "sha256", source = { "" }, target = { "" } },
        { algorithm = "sha256", source = { good }, target = {} },
        { algorithm = "sha256", source = { good, good }, target = { good, good } },
        { algorithm = "none", source = { good }, target = { good } },
      } do
        clones.digests = function() return answer end
        assert.equal("protocol", raised(prove, MIB).kind)
      end
    end)

    it("says why nothing was compared", function()
      assert.equal("not verified: as asked", evidence.text(prove(GIB, "none")))
      features.digest = nil
      assert.equal("not verified: this host's wrapper cannot read back", evidence.text(prove(GIB, "full")))
      features.digest = true
      clones.digests = function() fail.raise("failed", "not one plain extent, or a snapshot: /vmfs/x.vmdk") end
      assert.equal(
        "not verified: the host cannot read this disk as one file (a snapshot, vSAN or vVol)",
        evidence.text(prove(GIB))
      )
      assert.is_nil(job.facts.proof.seed)
    end)

    it("does not call a disk unreadable that could not be read this time", function()
      clones.digests = function() fail.raise("failed", "cannot read /vmfs/x: in use, by a running VM perhaps") end
      assert.matches("in use", raised(prove, GIB).message)
    end)

    it("wants 100 percent where nothing was compared", function()
      local why <const> = raised(prove, GIB, "none", { percent = 97, exit_code = 0 })
      assert.equal("failed", why.kind)
      assert.matches("incomplete evidence: .* at 97 %%", why.message)
      assert.is_true(prove(GIB, "sampled", { percent = 0, exit_code = 0 }).verified)
    end)

    it(
      "believes no exit code of a task that its host does not call done",
      function()
        assert.matches("calls it killed", raised(prove, GIB, "sampled", { percent = 100, state = "killed" }).message)
      end
    )

    it("compares nothing on a dry run", function()
      job.dry_run = true
      assert.equal("not verified: dry run", evidence.text(evidence.prove(job, clones, ends_of(GIB), nil)))
      assert.same({}, clones.asked)
    end)
  end)

  describe("of what must hold", function()
    it("wants room for the disk", function()
      evidence.check_room({ name = "l", size_bytes = 8 }, { capacity_bytes = 8 })
      local why <const> = raised(evidence.check_room, { name = "l", size_bytes = 7 }, { capacity_bytes = 8 })
      assert.equal("no_space", why.kind)
      assert.equal("make the claim at least 8 bytes large", why.hint)
    end)

    it("takes an array's word for its own copy, and says so", function()
      local proof <const> = evidence.of_array(fake_job.new(), { state = "done", percent = 100 })
      assert.equal("not verified: the array copied by itself, and says done", evidence.text(proof))
      assert.matches("incomplete evidence", raised(evidence.of_array, fake_job.new(), { percent = 90 }).message)
    end)
  end)
end)
