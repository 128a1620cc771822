local json <const> = require "lunalift.json"
local stand_in <const> = require "spec.support.stand_in"

local GIB <const> = 1 << 30

describe("the report", function()
  local restore, clock, console

  -- The report of a style as it is on this console.
  local function report_on(style, terminal, log)
    console, clock = stand_in.console(terminal), stand_in.clock()
    restore = stand_in.install {
      ["lunalift.console"] = console,
      ["lunalift.timer"] = clock.timer,
      ["lunalift.log"] = log or require "lunalift.log",
    }
    return require("lib.report").new(style)
  end

  after_each(function()
    if restore then restore() end
    restore = nil
  end)

  local STEP <const> = { title = "copy", status = "done", seconds = 21.43, found = "40 GiB, 1.9 GiB/s" }
  local function progress(percent, fields)
    local p <const> =
      { percent = percent, bytes = percent * GIB // 10, total_bytes = 10 * GIB, rate = GIB / 3, eta_s = 12.6 }
    for key, value in pairs(fields or {}) do
      p[key] = value
    end
    return p
  end

  local WHY <const> = {
    kind = "not_found",
    message = "naa.1 did not appear on esx2 within 1 min 0 s",
    hint = "give a lower LUN number",
    step = "discover",
    cause = { kind = "config", message = "LUN number 312 is at or above Disk.MaxLUN (256)" },
  }

  local FAILURE <const> = [[
error: naa.1 did not appear on esx2 within 1 min 0 s
  why   LUN number 312 is at or above Disk.MaxLUN (256)
  fix   give a lower LUN number
  left  LUN 7 is still mapped
]]

  describe("on a terminal", function()
    it("ends each step's line with what was found", function()
      report_on("text", { utf8 = true }):step_end(STEP)
      assert.matches("^\r\27%[K  ✓ copy +21%.4 s   40 GiB, 1%.9 GiB/s\n$", console.said)
    end)

    it("marks a failed step", function()
      report_on("text", {}):step_end { title = "copy", status = "failed", seconds = 1, found = "" }
      assert.matches("✗ copy", console.said, 1, true)
    end)

    it("draws a bar with percent, bytes, rate, time left and offload", function()
      report_on("text", { width = 200 }):progress(STEP, progress(50, { offloaded = true }))
      assert.equal(
        "\r\27[K  ▸ copy     ████████████              50 %   5 GiB of 10 GiB   341.3 MiB/s   13 s left   offloaded",
        console.said
      )
    end)

    it("draws half cells, and says nothing of an unknown offload", function()
      report_on("text", { width = 200 }):progress(STEP, progress(53))
      assert.matches(("█"):rep(12) .. "▌", console.said, 1, true)
      assert.not_matches("offload", console.said)
    end)

    it("uses ASCII marks where the locale is not UTF-8", function()
      local report <const> = report_on("text", { utf8 = false, width = 200 })
      report:step_begin(STEP)
      report:progress(STEP, progress(50))
      report:step_end(STEP)
      report:step_end { title = "copy", status = "failed", seconds = 1, found = "" }
      assert.is_nil(console.said:find "[\128-\255]")
      assert.matches("> copy     ############ ", console.said, 1, true)
      assert.matches("+ copy", console.said, 1, true)
      assert.matches("x copy", console.said, 1, true)
    end)

    it("fits the line in progress into the width, counting characters", function()
      for _, width in ipairs { 20, 40, 79 } do
        local report <const> = report_on("text", { width = width })
        report:progress(STEP, progress(90, { offloaded = false }))
        local line <const> = console.said:match "^\r\27%[K(.*)$"
        assert.equal(width - 1, utf8.len(line))
        restore()
      end
      local report <const> = report_on("text", { width = 30 })
      report:waiting(STEP, ("é"):rep(60))
      assert.equal(29, utf8.len(console.said:match "K(.*)$"))
    end)

    it("shortens the bar before the time left", function()
      report_on("text", { width = 80 }):progress(STEP, progress(50))
      assert.matches(" 13 s left$", console.said)
      assert.matches("█ +50 %%", console.said)
    end)

    it("redraws at most five times a second, but always the end", function()
      local report <const> = report_on("text", {})
      local function draws()
        local _, count <const> = console.said:gsub("\r", "")
        return count
      end
      report:progress(STEP, progress(1))
      clock.now_s = clock.now_s + 0.1
      report:progress(STEP, progress(2))
      assert.equal(1, draws())
      clock.now_s = clock.now_s + 0.2
      report:progress(STEP, progress(3))
      assert.equal(2, draws())
      report:progress(STEP, progress(100))
      assert.equal(3, draws())
    end)

    it("lists the effects of a dry run only", function()
      local report <const> = report_on("text", {})
      report:effect { number = 1, name = "array.map", target = "x to y", dry = false }
      assert.equal("", console.said)
      report:effect { number = 2, name = "array.map", target = "x to y", dry = true }
      assert.equal("\r\27[K    2  array.map            x to y\n", console.said)
    end)

    it("ends in the result, or in error, why, fix and what is left", function()
      local report <const> = report_on("text", {})
      report:finished { ok = true, text = "done in 25.0 s" }
      assert.equal("done in 25.0 s\n", console.said)
      report:finished { ok = false, why = WHY, left = { "LUN 7 is still mapped" } }
      assert.equal(FAILURE, console.complained)
    end)
  end)

  describe("off a terminal", function()
    it("writes a line a step, with a time stamp, and key=value at the end", function()
      local report <const> = report_on "text"
      report:title "lunalift 1.0.0 100 %"
      report:step_begin(STEP)
      report:step_end(STEP)
      report:step_end { title = "map", status = "failed", seconds = 1, found = "" }
      assert.equal(
        "2026-01-31T12:00:00Z lunalift 1.0.0 100 %\n"
          .. "2026-01-31T12:00:00Z copy: 40 GiB, 1.9 GiB/s status=done seconds=21.4\n"
          .. "2026-01-31T12:00:00Z map: failed status=failed seconds=1.0\n",
        console.said
      )
    end)

    it("writes progress with whole numbers for machines", function()
      report_on("text"):progress(STEP, progress(50))
      assert.matches("13 s left percent=50 bytes=5368709120 rate=357913941 eta_s=13\n$", console.said)
    end)

    local function count(text)
      local _, n <const> = console.said:gsub(text, "")
      return n
    end

    it("writes progress every ten seconds or five percent", function()
      local report <const> = report_on "text"
      for percent = 0, 20 do
        report:progress(STEP, progress(percent))
      end
      assert.equal(5, count "percent=")
      clock.now_s = clock.now_s + 10
      report:progress(STEP, progress(20))
      assert.equal(6, count "percent=")
    end)

    it("writes what it waits for once in ten seconds, and at once when that changes", function()
      local report <const> = report_on "text"
      report:waiting(STEP, "naa.1 is not there yet")
      clock.now_s = clock.now_s + 2
      report:waiting(STEP, "naa.1 is not there yet")
      assert.equal(1, count "waiting")
      report:waiting(STEP, "naa.1 is off")
      assert.equal(2, count "waiting")
      clock.now_s = clock.now_s + 10
      report:waiting(STEP, "naa.1 is off")
      assert.equal(3, count "waiting")
    end)

    it("warns on a line of its own", function()
      report_on("text"):warning "VM web is poweredOn"
      assert.matches("Z warning: VM web is poweredOn\n$", console.said)
    end)

    it("ends in the result, or in error, why, fix and what is left", function()
      local report <const> = report_on "text"
      report:finished { ok = true, text = "done", seconds = 2.5 }
      assert.matches("done status=done seconds=2.5\n", console.said, 1, true)
      report:finished { ok = false, why = WHY, left = { "LUN 7 is still mapped" } }
      assert.equal(FAILURE, console.complained)
    end)
  end)

  describe("for machines", function()
    local function objects()
      local list <const> = {}
      for line in console.said:gmatch "(.-)\n" do
        list[#list + 1] = assert(json.decode(line))
      end
      return list
    end

    it("writes one object a line, with stable names", function()
      local report <const> = report_on("json", {})
      report:title "lunalift"
      report:step_begin(STEP)
      report:progress(STEP, progress(50, { offloaded = false }))
      report:waiting(STEP, "slots")
      report:warning "VM web is poweredOn"
      report:effect { number = 1, name = "array.map", target = "x", dry = true }
      report:step_end(STEP)
      local events <const> = {}
      for i, object in ipairs(objects()) do
        events[i] = object.event
        assert.equal("2026-01-31T12:00:00.123456Z", object.time)
      end
      assert.same({ "start", "step", "progress", "waiting", "warning", "effect", "step" }, events)
      local p <const> = objects()[3]
      assert.same(
        { 50, 5 * GIB, 10 * GIB, 357913941, false },
        { p.percent, p.bytes, p.total_bytes, p.rate, p.offloaded }
      )
    end)

    it("ends in one result, with the failure and its causes", function()
      local report <const> = report_on("json", {})
      report:finished { ok = false, why = WHY, left = { "LUN 7 is still mapped" }, seconds = 3 }
      local result <const> = objects()[1]
      assert.equal("failed", result.status)
      assert.same(WHY, result.failure)
      assert.same({ "LUN 7 is still mapped" }, result.left)
      assert.equal("", console.complained)
    end)

    it("says that nothing is left as an empty list", function()
      report_on("json", {}):finished { ok = true, text = "done", seconds = 1 }
      assert.matches('"left":[]', console.said, 1, true)
    end)
  end)

  describe("for the quiet", function()
    it("says nothing but failures", function()
      local report <const> = report_on("quiet", {})
      report:title "lunalift"
      report:step_begin(STEP)
      report:progress(STEP, progress(50))
      report:waiting(STEP, "slots")
      report:effect { number = 1, name = "array.map", target = "x", dry = true }
      report:step_end(STEP)
      report:finished { ok = true, text = "done" }
      assert.equal("", console.said .. console.complained)
      report:finished { ok = false, why = WHY, left = { "LUN 7 is still mapped" } }
      assert.equal("", console.said)
      assert.equal(FAILURE, console.complained)
    end)
  end)

  it("knows no other style", function()
    local ok <const>, why <const> = pcall(report_on, "xml")
    assert.is_false(ok)
    assert.equal("bug", why.kind)
  end)

  for _, style in ipairs { "text", "json" } do
    it("goes on when nobody reads it any more, and says so once: " .. style, function()
      local log <const> = stand_in.log()
      local report <const> = report_on(style, nil, log)
      console.out = function() return nil, { kind = "failed", message = "standard output: Broken pipe" } end
      report:step_end(STEP)
      report:step_end(STEP)
      assert.equal(1, #log.lines)
      assert.equal("standard output: Broken pipe", log.lines[1].fields.why)
    end)
  end
end)
