local fail <const> = require "lib.fail"
local fake_job <const> = require "spec.support.fake_job"
local json <const> = require "lunalift.json"
local stand_in <const> = require "spec.support.stand_in"

describe("a receipt", function()
  local restore, receipts, files, log, scripts

  before_each(function()
    files, log = { written = {} }, stand_in.log()
    log.redact = function(text) return (text:gsub("hunter2", "***")) end
    function files.read(path) return files.written[path], { kind = "not_found" } end
    function files.write(path, text)
      if files.broken then return nil, { kind = "no_space", message = "the disk is full" } end
      files.written[path] = text
      return true
    end
    scripts =
      { { name = "lib.job", layer = "built in", sha256 = "1" }, { name = "lib.evidence", layer = "/my", sha256 = "2" } }
    restore = stand_in.install {
      ["lunalift.log"] = log,
      ["lunalift.journal"] = files,
      ["lunalift.script"] = {
        find = function(name) return { name = name, path = "/x", layer = "built in", sha256 = "0" } end,
        list = function() return scripts end,
      },
    }
    receipts = require "lib.receipt"
  end)

  after_each(function() restore() end)

  local function job_at_end(request)
    local job <const> = fake_job.new { request = request, journal = false }
    job.version, job.vendor = "1.0.0", "ontap"
    job:step "find the disk"
    job:found "40 GiB, with hunter2"
    job:end_step "done"
    job:note {
      disk = { path = "[ds] web/web.vmdk", capacity_bytes = 100 << 40, key = 2000 },
      vm = { ref = { id = "vm-1" }, name = "web", devices = { "much" } },
      host = { ref = { id = "host-1" }, name = "esx" },
      volume = { name = "pv", handle = "h", driver = "d", attributes = { a = "b" }, claim = { name = "c", uid = "u" } },
      lun = { id = "1", name = "lun", size_bytes = 100 << 40 },
      naa = "naa.600a",
      bytes = 100 << 40,
      copy_seconds = 0.5,
      task = { exit_code = 0, percent = 100, clone_write_ops = 7, failed_clone_ops = 0 },
      offloaded = true,
      proof = { mode = "sampled", verified = true },
    }
    return job
  end

  it("tells what was copied, from where to where, how, and how it was proved", function()
    local receipt <const> = assert(json.decode(receipts.text(receipts.build(job_at_end()))))
    assert.same({ 1, "done", {} }, { receipt.v, receipt.result.status, receipt.result.left })
    assert.same({ path = "[ds] web/web.vmdk", bytes = 100 << 40, key = 2000 }, receipt.disk)
    assert.same({ id = "vm-1", name = "web" }, receipt.vm)
    assert.same({ name = "c", uid = "u" }, receipt.claim)
    assert.equal("naa.600a", receipt.lun.naa)
    assert.same({ 500, 200 << 40, 7 }, { receipt.copy.ms, receipt.copy.bytes_per_s, receipt.copy.clone_write_ops })
    assert.same({ mode = "sampled", verified = true }, receipt.verification)
    assert.equal("1.0.0", receipt.versions.lunalift)
  end)

  it("names flow and vendor, and whatever else is not built in", function()
    local names <const> = {}
    for i, file in ipairs(receipts.build(job_at_end()).scripts) do
      names[i] = file.name .. " " .. file.layer
    end
    assert.same({ "flows.test built in", "vendors.ontap built in", "lib.evidence /my" }, names)
  end)

  it("has no secret in it, whoever said it", function()
    local why <const> = { kind = "denied", message = "refused hunter2" }
    local text <const> = receipts.text(receipts.build(job_at_end(), why))
    assert.is_nil(text:find "hunter2")
    assert.matches("refused ***", text, 1, true)
  end)

  it("tells how it failed, and what is left", function()
    local why <const> = { kind = "failed", message = "bad", hint = "look", step = "copy" }
    local left <const> = { { promise = { about = "LUN x is mapped" }, why = { kind = "timeout", message = "late" } } }
    local result <const> = receipts.build(job_at_end(), why, left).result
    assert.same({ kind = "failed", message = "bad", hint = "look", step = "copy" }, result.failure)
    assert.same({ "failed", "LUN x is mapped", "late" }, { result.status, result.left[1].about, result.left[1].why })
    assert.equal("cancelled", receipts.build(job_at_end(), { kind = "cancelled", message = "x" }).result.status)
  end)

  it("of a job that found nothing is a receipt too", function()
    local job <const> = fake_job.new { journal = false }
    assert.is_nil(receipts.build(job, { kind = "denied", message = "no" }).copy)
  end)

  it("stays below 32 KiB", function()
    local job <const> = job_at_end()
    for i = 1, 40 do
      job:step(("step %d"):format(i))
      job:found(("x"):rep(2000))
    end
    job:end_step "done"
    local text <const> = receipts.text(receipts.build(job))
    assert.is_true(#text <= 32768)
    assert.equal("step 40", json.decode(text).steps[41].title)
  end)

  describe("is kept", function()
    it("in the file that was asked for", function()
      assert.equal("/r.json", receipts.keep(job_at_end { receipt = "/r.json" }))
      assert.equal(1, json.decode(files.written["/r.json"]).v)
    end)

    it("else beside a journal that is a file", function()
      local job <const> = job_at_end()
      job.ledger.journal = { path = "/state/uid.json", where = "file" }
      assert.equal("/state/uid.receipt.json", receipts.keep(job))
      assert.is_string(files.written["/state/uid.receipt.json"])
    end)

    it("and by a journal that keeps receipts itself", function()
      local kept
      local job <const> = job_at_end()
      job.ledger.journal = {
        where = "lease x",
        has_receipt = function() return kept ~= nil end,
        keep_receipt = function(_, text)
          kept = text
          return true
        end,
      }
      assert.equal("lease x", receipts.keep(job))
      assert.equal(1, json.decode(kept).v)
      assert.is_nil(receipts.keep(job, fail.new("denied", "no")))
      assert.equal("done", json.decode(kept).result.status)
    end)

    it("over that of an earlier copy only when something was changed", function()
      local job <const>, why <const> = job_at_end { receipt = "/r.json" }, fail.new("denied", "wrong password")
      assert.equal("/r.json", receipts.keep(job, why))
      files.written["/r.json"] = "earlier"
      assert.is_nil(receipts.keep(job, why))
      assert.equal("earlier", files.written["/r.json"])
      job.effects = 1
      assert.equal("/r.json", receipts.keep(job, why))
      assert.equal("denied", json.decode(files.written["/r.json"]).result.failure.kind)
    end)

    it("nowhere when there is no home for it, or nothing was changed", function()
      assert.is_nil(receipts.keep(job_at_end()))
      local job <const> = job_at_end { receipt = "/r.json" }
      job.dry_run = true
      assert.is_nil(receipts.keep(job))
      assert.same({}, files.written)
    end)

    it("or not: that fails no copy", function()
      files.broken = true
      assert.is_nil(receipts.keep(job_at_end { receipt = "/r.json" }))
      assert.equal("receipt not written", log.lines[#log.lines].message)
    end)
  end)
end)
