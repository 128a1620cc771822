local fail <const> = require "lib.fail"
local fake_job <const> = require "spec.support.fake_job"
local undo <const> = require "lib.undo"

describe("an undo", function()
  local job, asked, array_host, is_known, no_clean

  before_each(function()
    asked, array_host, is_known, no_clean = {}, { name = "xcopy-esx1", ours = true }, true, nil
    local function ask(fmt, ...) asked[#asked + 1] = fmt:format(...) end
    local host <const> = {
      wrapper = function()
        return {
          host = { name = "esx1" },
          stop = function(_, id)
            ask("stop %s", id)
            return is_known
          end,
          clean = function(_, id)
            ask("clean %s", id)
            if no_clean then error(no_clean) end
          end,
        }
      end,
      detach = function(_, naa) ask("detach %s", naa) end,
      drop_paths = function(_, adapters) ask("drop %s", table.concat(adapters, " ")) end,
    }
    local vcenter <const> = {
      host_again = function(_, ref)
        ask("host %s", ref.id)
        return host
      end,
    }
    local array <const> = {
      unmap = function(_, lun, peer) ask("unmap %s %s", lun.id, peer.id) end,
      hosts_of = function(_, _, name)
        ask("find %s", name)
        return { array_host, array_host and { name = "production-esx1" } }
      end,
      remove_host = function(_, peer)
        ask("remove %s", peer.name)
        return peer.result or "removed"
      end,
    }
    job = fake_job.new {
      site = {
        vcenter = function() return vcenter end,
        array = function() return array end,
      },
    }
  end)

  local function run(name, args) undo[name].run(job, args) end

  local HOST <const> = { type = "HostSystem", id = "host-1" }

  it("stops a writer, and holds back what was promised before", function()
    run("clone.stop", { host = HOST, task_id = "t" })
    assert.same({ "host host-1", "stop t", "clean t" }, asked)
    for name, entry in pairs(undo) do
      assert.equal(name == "clone.stop" or name == "array.copy_stop", entry.barrier or false, name)
    end
  end)

  it("has nothing to clean of a clone that the host does not know", function()
    is_known = false
    run("clone.stop", { host = HOST, task_id = "t" })
    assert.same({ "host host-1", "stop t" }, asked)
  end)

  it("holds nothing back for files that a stopped clone left: they are said, and promised for later", function()
    no_clean = fake_job.refusal "failed"
    job.ledger.promises = { { n = 1, undo = "clone.stop", args = { host = HOST, task_id = "t" }, about = "it runs" } }
    local left <const> = job.ledger:settle(job)
    assert.same({}, left)
    assert.equal(1, #job.ledger.promises)
    assert.equal("clone.clean", job.ledger.promises[1].undo)
    assert.same({ host = HOST, task_id = "t" }, job.ledger.promises[1].args)
    assert.same(
      { "warning left behind: files of clone task t on esx1: it said failed" },
      fake_job.only(job.trace, "warning")
    )
    assert.same({}, job.ledger:settle(job)) -- not yet
    assert.equal(1, #job.ledger.promises)
    no_clean = nil
    assert.same({}, job.ledger:settle(job))
    assert.same({}, job.ledger.promises)
    assert.equal("journal cleared", job.trace[#job.trace])
  end)

  it("lets the next start copy anew when only files were left of a run that ended well", function()
    no_clean = fake_job.refusal "failed"
    job.ledger.promises = { { n = 1, undo = "clone.stop", args = { host = HOST, task_id = "t" }, about = "it runs" } }
    job.ledger.achieved = { bytes = 1 }
    assert.same({}, job.ledger:settle(job))
    local last <const> = job.ledger.journal.written[#job.ledger.journal.written]
    assert.equal("clone.clean", last.entries[1].undo)
    assert.is_nil(last.done)
  end)

  it("detaches the device, unmaps the LUN and drops dead paths", function()
    run("host.detach", { host = HOST, naa = "naa.1" })
    run("array.unmap", { lun = { id = "l" }, host = { id = "h" } })
    run("host.drop_paths", { host = HOST, adapters = { "vmhba1", "vmhba2" } })
    assert.same({ "host host-1", "detach naa.1", "unmap l h", "host host-1", "drop vmhba1 vmhba2" }, asked)
    assert.same({ "device detached", "LUN unmapped" }, job.ledger.undone)
  end)

  it("removes the host object of our name, and no other that owns the initiators", function()
    run("array.remove_host", { name = "xcopy-esx1", initiators = {} })
    assert.same({ "find xcopy-esx1", "remove xcopy-esx1" }, asked)
    assert.same({ "host object removed" }, job.ledger.undone)
  end)

  it("leaves a host object that another job uses, and does not boast", function()
    array_host.result = "in use"
    run("array.remove_host", { name = "xcopy-esx1", initiators = {} })
    assert.same({}, job.ledger.undone)
  end)

  it("leaves the host object to the next run, too, when the LUN stays mapped through it", function()
    local unmap <const> = job.site:array().unmap
    job.site:array().unmap = function() error(fake_job.refusal "denied") end
    local host <const> = { id = "h" }
    job.ledger.promises = {
      { n = 1, undo = "array.remove_host", args = { name = "xcopy-esx1", initiators = {} }, about = "host object" },
      { n = 2, undo = "array.unmap", args = { lun = { id = "l" }, host = host }, about = "map" },
    }
    assert.equal(2, #job.ledger:settle(job))
    assert.same({}, asked)
    job.site:array().unmap = unmap
    assert.same({}, job.ledger:settle(job))
    assert.same({ "unmap l h", "find xcopy-esx1", "remove xcopy-esx1" }, asked)
  end)

  it("finds nothing to remove when it was never made", function()
    array_host = nil
    run("array.remove_host", { name = "xcopy-esx1", initiators = {} })
    assert.same({ "find xcopy-esx1" }, asked)
    assert.same({}, job.ledger.undone)
  end)

  it("removes one that the array names otherwise", function()
    array_host = { name = "xcopy-esx1-iscsi", ours = true }
    run("array.remove_host", { name = "xcopy-esx1", initiators = {} })
    assert.same({ "find xcopy-esx1", "remove xcopy-esx1-iscsi" }, asked)
  end)

  it("lets failures through, since the runner keeps the promise then", function()
    job.site.array = function() fail.raise("unreachable", "box.example") end
    local ok <const>, why <const> = pcall(run, "array.unmap", {})
    assert.is_false(ok)
    assert.equal("unreachable", why.kind)
  end)

  it("has a deadline of its own, each", function()
    for name, entry in pairs(undo) do
      assert.is_true(entry.within_s > 0, name)
    end
  end)
end)
