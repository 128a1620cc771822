local stand_in <const> = require "spec.support.stand_in"

describe("asking again", function()
  local restore, clock, log, retry

  before_each(function()
    clock, log = stand_in.clock(), stand_in.log()
    restore = stand_in.install { ["lunalift.timer"] = clock.timer, ["lunalift.log"] = log }
    retry = require "lib.retry"
  end)

  after_each(function() restore() end)

  -- Answers in turn, the last one for ever.
  local function answers(list)
    local asked = 0
    return function()
      asked = math.min(asked + 1, #list)
      return table.unpack(list[asked], 1, 2)
    end, function() return asked end
  end

  local BUSY <const> = { nil, { kind = "busy", message = "503" } }

  it("returns the first answer, false and nothing among them", function()
    assert.equal("x", retry.read("x", 5, function() return "x" end))
    assert.is_false(retry.read("x", 5, function() return false end))
    local value <const>, why <const> = retry.read("x", 5, function() end)
    assert.is_nil(value)
    assert.is_nil(why)
    assert.same({}, clock.naps)
  end)

  it("asks again with longer pauses while the failure may pass, and says so in the log", function()
    assert.equal("x", (retry.read("the weather", 60, (answers { BUSY, BUSY, BUSY, { "x" } }))))
    assert.same({ 0.2, 0.4, 0.8 }, clock.naps)
    assert.equal(3, #log.lines)
    assert.equal("the weather", log.lines[1].fields.what)
  end)

  it("takes a denial for final, unless what was asked had been allowed before", function()
    local denied <const> = { nil, { kind = "denied", message = "403" } }
    assert.is_nil((retry.read("x", 60, (answers { denied, { "x" } }))))
    assert.equal("x", (retry.read("x", 60, (answers { denied, denied, denied, denied, { "x" } }), { entitled = true })))
  end)

  it("pauses five seconds at most", function()
    retry.read("x", 60, (answers { BUSY }))
    assert.equal(5, math.max(table.unpack(clock.naps)))
  end)

  it("waits as long as the peer asked for", function()
    retry.read("x", 60, (answers { { nil, { kind = "busy", message = "429", retry_after_s = 7 } }, { "x" } }))
    assert.same({ 7 }, clock.naps)
  end)

  it("waits a minute at most, whatever the peer asked for", function()
    retry.read("x", 600, (answers { { nil, { kind = "busy", message = "429", retry_after_s = 86400 } }, { "x" } }))
    assert.same({ 60 }, clock.naps)
    assert.is_nil(
      (retry.read("x", 30, (answers { { nil, { kind = "busy", message = "429", retry_after_s = 86400 } } })))
    )
    assert.same({ 60 }, clock.naps)
  end)

  it("asks once more although the first answer took all the time", function()
    local asked = 0
    assert.equal(
      "x",
      retry.read("x", 60, function()
        asked = asked + 1
        if asked == 2 then return "x" end
        clock.now_s = clock.now_s + 61
        return nil, { kind = "timeout", message = "no answer in 60 s" }
      end)
    )
  end)

  it("returns the last failure when the next try would come too late", function()
    local value <const>, why <const> = retry.read("x", 1, (answers { BUSY }))
    assert.is_nil(value)
    assert.equal("503", why.message)
    assert.same({ 0.2, 0.4 }, clock.naps)
  end)

  it("takes a final failure for an answer", function()
    for _, kind in ipairs { "not_found", "denied", "config", "conflict", "unsupported", "failed" } do
      local ask <const>, asked <const> = answers { { nil, { kind = kind, message = "no" } } }
      local _, why <const> = retry.read("x", 60, ask)
      assert.equal(kind, why.kind)
      assert.equal(1, asked())
    end
  end)

  it("asks three times while whole answers make no sense, and on while answers are cut short", function()
    retry.read("x", 60, (answers { { nil, { kind = "protocol", message = "no JSON" } } }))
    assert.equal(2, #clock.naps)
    retry.read("x", 60, (answers { { nil, { kind = "protocol", message = "reset", unanswered = true } } }))
    assert.is_true(#clock.naps > 10)
  end)

  it("knows what may pass: no answer, busy peers, servers in trouble", function()
    for _, kind in ipairs { "timeout", "unreachable", "busy", "protocol" } do
      assert.is_true(retry.is_passing { kind = kind, message = "" })
    end
    assert.is_true(retry.is_passing { kind = "failed", message = "", status = 500 })
    assert.is_false(retry.is_passing { kind = "failed", message = "", status = 422 })
    assert.is_false(retry.is_passing { kind = "failed", message = "" })
  end)
end)
