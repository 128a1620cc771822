--- Hitachi VSP, on a wire that asks for every request of the dialect: LUN paths, and copies inside the array.
local vantara_site <const> = require "spec.support.vantara_site"

local SCOPE <const>, NAA <const>, ADAPTERS <const> = vantara_site.SCOPE, vantara_site.NAA, vantara_site.ADAPTERS
local record <const>, path <const>, merged <const> = vantara_site.record, vantara_site.path, vantara_site.merged
local refusal <const>, job <const>, raised <const> = vantara_site.refusal, vantara_site.job, vantara_site.raised
local COPY_ID <const> = "0b1c2d3e-4f50-4162-8394-a5b6c7d8e9f0"
local COPY_GROUP <const> = "0b1c2d3e4f5041628394a5b6c7d8e9f0"
local LUN <const> = { id = "4660", name = "LDEV 4660", size_bytes = 10737418240 }
local SOURCE <const>, TARGET <const> = { id = "171", name = "LDEV 171" }, { id = "999", name = "LDEV 999" }

describe("vantara", function()
  local site, wire

  before_each(function()
    site = vantara_site.start()
    wire = site.wire
  end)

  after_each(function() site:stop() end)

  describe("LUN paths", function()
    local array
    local ONE <const>, TWO <const> = { id = "CL1-A,1", name = "CL1-A,1" }, { id = "CL2-B,2", name = "CL2-B,2" }

    before_each(function() array = site:open { groups = "CL1-A,1 : CL2-B,2" } end)

    local function post(port, number)
      local body <const> = { ldevId = 4660, portId = port, hostGroupNumber = number }
      return wire:expect("POST", SCOPE .. "/luns", nil, body)
    end

    local function get_job(...) wire:expect("GET", SCOPE .. "/jobs/100"):reply(job(...)) end

    it("are made through each host group, and tell the NAA", function()
      local lun = LUN
      local ports <const> = { path("CL1-A", 1, 5) }
      post("CL1-A", 1):reply(job "Queued", 202)
      get_job("Queued", { status = "Initializing" })
      get_job "Succeeded"
      site:get_ldev(4660, record { naaId = NAA, ports = ports })
      local outcome
      outcome, lun = array:map(lun, array:hosts_of(ADAPTERS)[1])
      assert.same({ "made", "naa." .. NAA, 5 }, { outcome, lun.naa, lun.number })
      local headers <const> = wire.calls[4].options.headers
      assert.same({ ["Response-Job-Status"] = "Completed", ["Response-Max-Wait"] = "5" }, headers)
      ports[2] = path("CL2-B", 2, 7)
      post("CL2-B", 2):reply(job "Succeeded") -- which has ended by the time it answers
      site:get_ldev(4660, record { naaId = NAA, ports = ports })
      outcome, lun = array:map(lun, array:hosts_of(ADAPTERS)[2])
      assert.same({ "made", "naa." .. NAA, 7 }, { outcome, lun.naa, lun.number })
    end)

    it("that are there already are left, and told", function()
      post("CL1-A", 1):reply(job "Running", 202)
      get_job("Failed", { error = refusal("KART40046-E", "B958", "015A") })
      site:get_ldev(4660, record { naaId = NAA, ports = { path("CL1-A", 1, 5) } })
      local outcome <const>, lun <const> = array:map(LUN, ONE)
      assert.same({ "existing", "naa." .. NAA, 5 }, { outcome, lun.naa, lun.number })
    end)

    it("that the array refuses are told in its words, with all codes and its advice", function()
      post("CL1-A", 1):reply(job("Failed", { error = refusal("KART40046-E", "1111", "2222") }))
      local why <const> = raised(array.map, array, LUN, ONE)
      assert.equal("failed", why.kind)
      assert.equal(
        "map LDEV 4660 to host group CL1-A,1: the array says: An error occurred. (code KART40046-E, 1111,2222)",
        tostring(why)
      )
      assert.equal("See the manual.", why.hint)
      post("CL1-A", 1):refuse(412, refusal "KART40000-E")
      assert.matches("the array says: An error occurred.", tostring(raised(array.map, array, LUN, ONE)))
      post("CL1-A", 1):refuse(403, refusal "KART30000-E")
      assert.matches("role Storage Administrator", raised(array.map, array, LUN, ONE).hint)
    end)

    it("are tried again by whoever asks, while others hold the array or it is busy", function()
      for _, said in ipairs {
        refusal "KART40050-E",
        refusal "KART40051-E",
        refusal "KART40052-E",
        refusal "KART00003-E",
        refusal("KART40046-E", "2E11", "2205"),
        refusal("KART40046-E", "2E11", "2207"),
        merged(refusal "KART40046-E", { errorCode = { errorCode = "EX_EACCES" } }),
      } do
        post("CL1-A", 1):reply(job("Failed", { error = said }))
        local why <const> = raised(array.map, array, LUN, ONE)
        assert.same({ "busy", true }, { why.kind, why.refused })
      end
    end)

    it("may have been made when a job's end is not seen, or is unknown to the array", function()
      post("CL1-A", 1):reply(job "Running", 202)
      for _ = 1, 80 do
        get_job "Started"
      end
      local why <const> = raised(array.map, array, LUN, ONE)
      wire.expected, wire.next = {}, 1
      assert.same({ "timeout", true }, { why.kind, why.unanswered })
      assert.matches("job 100 is Running, Started", tostring(why), 1, true)
      post("CL1-A", 1):reply(job("Unknown", { error = refusal "KART40046-E" }))
      assert.is_true(raised(array.map, array, LUN, ONE).unanswered)
    end)

    it("to a host group that is gone are not found", function()
      post("CL1-A", 1):refuse(404, refusal "KART30013-E")
      assert.equal("not_found", raised(array.map, array, LUN, ONE).kind)
    end)

    it("are told with their host groups and numbers", function()
      site:get_ldev(4660, record { ports = { path("CL1-A", 1, 5), path("CL2-B", 2, 0) } })
      assert.same(
        { { id = "CL1-A,1", name = "CL1-A,1", number = 5 }, { id = "CL2-B,2", name = "CL2-B,2", number = 0 } },
        array:maps_of(LUN)
      )
      site:get_ldev(4660, record())
      assert.same({}, array:maps_of(LUN))
    end)

    it("are removed one by one, by the number that each has", function()
      local ports <const> = { path("CL1-A", 1, 0), path("CL2-B", 2, 1) }
      for _, id in ipairs { "CL1-A,1,0", "CL2-B,2,1" } do
        site:get_ldev(4660, record { ports = ports })
        wire:expect("DELETE", SCOPE .. "/luns/" .. id):reply(job "Succeeded", 202)
      end
      assert.is_true(array:unmap(LUN, ONE))
      assert.is_true(array:unmap(LUN, TWO))
    end)

    it("may be there yet when the array has forgotten the job that removes them", function()
      site:get_ldev(4660, record { ports = { path("CL1-A", 1, 0) } })
      wire:expect("DELETE", SCOPE .. "/luns/CL1-A,1,0"):reply(job "Started", 202)
      wire:expect("GET", SCOPE .. "/jobs/100"):refuse(404, refusal "KART30013-E")
      assert.is_true(raised(array.unmap, array, LUN, ONE).unanswered)
    end)

    it("that are gone count as removed, before and meanwhile; so does a volume that is gone", function()
      site:get_ldev(4660, record { ports = { path("CL1-A", 1, 0) } })
      assert.is_true(array:unmap(LUN, TWO))
      for _, said in ipairs { refusal "KART30013-E", { message = "", errorCode = { errorCode = "EX_ENOOBJ" } } } do
        site:get_ldev(4660, record { ports = { path("CL1-A", 1, 0) } })
        wire:expect("DELETE", SCOPE .. "/luns/CL1-A,1,0"):reply(job("Failed", { error = said }))
        assert.is_true(array:unmap(LUN, ONE))
      end
      site:get_ldev(4660, record()):refuse(404, refusal "KART30013-E")
      assert.is_true(array:unmap(LUN, ONE))
      site:get_ldev(4660, record { ports = { path("CL1-A", 1, 0) } })
      wire:expect("DELETE", SCOPE .. "/luns/CL1-A,1,0"):refuse(500, refusal("KART40046-E", "B958", "9999"))
      local why <const> = raised(array.unmap, array, LUN, ONE)
      assert.matches("unmap LDEV 4660 from host group CL1-A,1: ", tostring(why), 1, true)
      assert.matches("B958,9999", tostring(why), 1, true)
    end)
  end)

  describe("copies", function()
    local array
    local COPY <const> = { id = COPY_ID, source = SOURCE, target = TARGET, handle = { pair = "171,3" } }

    before_each(function() array = site:open { copy_speed = "faster" } end)

    local function get_pairs(...)
      wire:expect("GET", SCOPE .. "/snapshots", { svolLdevId = 999 }):reply { data = { ... } }
    end

    local function pair(status, rate, group)
      return {
        snapshotGroupName = group or COPY_GROUP,
        primaryOrSecondary = "S-VOL",
        status = status,
        pvolLdevId = 171,
        muNumber = 3,
        svolLdevId = 999,
        snapshotId = "171,3",
        progressRate = rate,
      }
    end

    local function expect_start(over, source, target)
      get_pairs()
      site:get_ldev(171, record(merged({ ldevId = 171 }, source)))
      site:get_ldev(999, record(merged({ ldevId = 999, poolId = 7 }, target)))
      return wire:expect(
        "POST",
        SCOPE .. "/snapshots",
        nil,
        merged({
          snapshotGroupName = COPY_GROUP,
          snapshotPoolId = 7,
          pvolLdevId = 171,
          svolLdevId = 999,
          isClone = true,
          canCascade = true,
          clonesAutomation = true,
          copySpeed = "faster",
        }, over)
      )
    end

    it("begin with a pair in the target's pool, under our name, at the speed that was asked for", function()
      expect_start():reply(job("Succeeded", { affectedResources = { "/v1/objects/snapshots/171,3" } }), 202)
      assert.same({ pair = "/v1/objects/snapshots/171,3" }, array:copy_start(COPY_ID, SOURCE, TARGET))
      local headers <const> = wire.calls[#wire.calls].options.headers
      assert.equal("NoWait", headers["Job-Mode-Wait-Configuration-Change"])
      assert.equal(32, #COPY_GROUP)
    end)

    it("say so when one of both saves capacity", function()
      local over <const>, saving <const> =
        { isDataReductionForceCopy = true }, { dataReductionMode = "compression_deduplication" }
      expect_start(over, saving):reply(job "Succeeded")
      array:copy_start(COPY_ID, SOURCE, TARGET)
      expect_start(over, nil, saving):reply(job "Succeeded")
      array:copy_start(COPY_ID, SOURCE, TARGET)
    end)

    it("are started once: a second start is the first one's", function()
      get_pairs(pair("PSUP", 40))
      assert.same({ pair = "171,3" }, array:copy_start(COPY_ID, SOURCE, TARGET))
    end)

    it("are refused with the pool's number when that cannot hold pairs", function()
      expect_start():reply(job("Failed", { error = refusal("KART40046-E", "2E30", "600E") }))
      local why <const> = raised(array.copy_start, array, COPY_ID, SOURCE, TARGET)
      assert.equal("config", why.kind)
      assert.matches("copy LDEV 171 to LDEV 999, pool 7: the array says", tostring(why))
      assert.matches("DISABLE_RDM_METHOD", why.hint)
    end)

    it("run while their pair is about to be listed, and while it copies", function()
      get_pairs()
      get_pairs(pair("PSUP", 100, "somebody else's"))
      get_pairs(pair "COPY")
      get_pairs(pair("PSUP", 40))
      for i, percent in ipairs { 0, 0, 0, 40 } do
        assert.same({ state = "running", percent = percent }, array:copy_poll(COPY_ID, COPY), i)
      end
      get_pairs(pair("PSUP", 100))
      assert.same({ state = "done", percent = 100 }, array:copy_poll(COPY_ID, COPY))
    end)

    it("are done when their pair, that was listed, has deleted itself", function()
      get_pairs(pair("PSUP", 90))
      assert.equal("running", array:copy_poll(COPY_ID, COPY).state)
      get_pairs(pair("SMPP", 100))
      assert.equal("running", array:copy_poll(COPY_ID, COPY).state)
      get_pairs()
      assert.same({ state = "done", percent = 100 }, array:copy_poll(COPY_ID, COPY))
    end)

    it("are done, too, when it was gone before anybody looked", function()
      get_pairs()
      assert.equal("running", array:copy_poll(COPY_ID, COPY).state)
      site.clock.now_s = site.clock.now_s + 5
      get_pairs()
      assert.same({ state = "done", percent = 100 }, array:copy_poll(COPY_ID, COPY))
    end)

    it("have failed when their pair is suspended by an error", function()
      get_pairs(pair("PSUE", 40))
      local found <const> = array:copy_poll(COPY_ID, COPY)
      assert.equal("failed", found.state)
      assert.matches("pair 171,3 is PSUE", found.reason)
    end)

    it("are unknown when their start was never answered and nothing is there", function()
      get_pairs()
      assert.is_nil(array:copy_poll(COPY_ID, { id = COPY_ID, source = SOURCE, target = TARGET }))
    end)

    it("are stopped by deleting the pair, and it is waited until that is gone", function()
      for _, status in ipairs { "COPY", "PSUP", "PSUE" } do
        get_pairs(pair(status, 40))
        wire:expect("DELETE", SCOPE .. "/snapshots/171,3"):reply(job "Succeeded", 202)
        get_pairs(pair "SMPP")
        get_pairs()
        array:copy_stop(COPY_ID, COPY)
      end
    end)

    it("that have copied everything are left to end by themselves", function()
      for _, found in ipairs { pair("PSUP", 100), pair "SMPP" } do
        get_pairs(found)
        get_pairs(found)
        get_pairs()
        array:copy_stop(COPY_ID, COPY)
      end
      get_pairs()
      array:copy_stop(COPY_ID, COPY)
      assert.is_true(#site.clock.naps > 0)
    end)

    it("whose start was not answered are looked for once more before they count as stopped", function()
      get_pairs()
      get_pairs(pair "COPY")
      wire:expect("DELETE", SCOPE .. "/snapshots/171,3"):refuse(404, refusal "KART30013-E")
      get_pairs()
      array:copy_stop(COPY_ID, { id = COPY_ID, source = SOURCE, target = TARGET })
      assert.same({ 5 }, site.clock.naps)
    end)
  end)
end)
