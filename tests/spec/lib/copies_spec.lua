local fake_job <const> = require "spec.support.fake_job"
local stand_in <const> = require "spec.support.stand_in"

describe("a copy that is followed", function()
  local restore, clock, copies, job

  before_each(function()
    clock = stand_in.clock()
    restore = stand_in.install { ["lunalift.timer"] = clock.timer, ["lunalift.log"] = stand_in.log() }
    copies, job = require "lib.copies", fake_job.new()
  end)

  after_each(function() restore() end)

  -- Its states ten seconds apart.
  local function follow(percents, began_s)
    local i, list = 0, {}
    local copy <const> = { job = job, began_s = began_s, found = { disk = { capacity_bytes = 1000 } } }
    function copy.states()
      return function()
        i = i + 1
        clock.now_s = clock.now_s + 10
        return percents[i] and { percent = percents[i], offloaded = true, blind = percents.is_blind }
      end
    end
    function copy.judge() return true end
    for progress in copies.follow(copy) do
      list[#list + 1] = progress
    end
    return list, copy
  end

  it("tells bytes, rate and what is left, from its start on", function()
    local list <const>, copy <const> = follow({ 0, 25, 100 }, clock.now_s)
    assert.same({ percent = 0, bytes = 0, total_bytes = 1000, rate = 0, offloaded = true }, list[1])
    local second <const> = { percent = 25, bytes = 250, total_bytes = 1000, rate = 12.5, eta_s = 60, offloaded = true }
    assert.same(second, list[2])
    assert.same({ 1000, 1000, 40 }, { job.facts.bytes, job.facts.seen_bytes, job.facts.copy_seconds })
    assert.equal("1000 bytes, 25 bytes/s, offloaded", copies.judge(copy))
  end)

  it("tells of an earlier run's only what it saw itself", function()
    local list <const>, copy <const> = follow { 40, 65, 100 }
    assert.same({ 400, 0 }, { list[1].bytes, list[1].rate })
    assert.same({ 650, 25, 14 }, { list[2].bytes, list[2].rate, list[2].eta_s })
    assert.same({ 600, 30 }, { job.facts.seen_bytes, job.facts.copy_seconds })
    assert.equal("1000 bytes, the last 600 bytes at 20 bytes/s, offloaded", copies.judge(copy))
  end)

  it("tells no rate where the array cannot tell how far an earlier run's copy is", function()
    local list <const>, copy <const> = follow { 0, 0, 100, is_blind = true }
    assert.same({ 0, 0, 0 }, { list[1].rate, list[2].rate, list[3].rate })
    assert.equal("1000 bytes, begun before this run, offloaded", copies.judge(copy))
  end)

  it("tells no rate of one that had ended before", function()
    local list <const>, copy <const> = follow { 100 }
    assert.same({ 1, 0 }, { #list, list[1].rate })
    assert.is_nil(list[1].eta_s)
    assert.equal("1000 bytes, begun before this run, offloaded", copies.judge(copy))
  end)
end)
