--- Whole runs that end early: what the array, the host and the cluster look like afterwards, and what the user is told.
local labs <const> = require "support.lab"
local timer <const> = require "lunalift.timer"

local SLOW <const> = { rate = 1048576, xcopy = 1 } -- bytes a second: eight seconds for the disk
local FAST <const> = { rate = 0, xcopy = 1 }

describe("populate ends early", function()
  local lab, before, mark

  setup(function() lab = labs.start() end)

  teardown(function() lab:stop() end)

  before_each(function()
    before = lab:snapshot()
    mark = lab:mark()
  end)

  local function assert_said(ended, code, texts)
    assert.equal(code, ended.code, ended.out .. ended.err)
    for _, text in ipairs(texts) do
      assert.is_truthy(ended.err:find(text, 1, true), ("%q is not in: %s"):format(text, ended.err))
    end
    lab:assert_no_secret(ended.out .. ended.err)
  end

  local function assert_nothing_left(ended)
    assert.is_truthy(ended.err:find("  left  nothing: all that was changed is put back", 1, true), ended.err)
    assert.same(before, lab:snapshot())
  end

  local function host() return lab:state().hosts[1] end

  -- Cut short while the writer writes.
  local function stopped(options, signal)
    lab:host("vmkfstools", SLOW)
    local run <const> = lab:start_populate(options)
    labs.wait_until(20, "a writer", function() return host().writers[1] end)
    run:kill(signal or "TERM")
    local ended <const> = run:wait()
    lab:host("vmkfstools", FAST)
    return ended
  end

  it("when Disk.MaxLUN hides the device, and gives the command that shows it", function()
    lab:host("condition", { settings = { ["Disk.MaxLUN"] = 2 } })
    local ended <const> = lab:populate { flags = { ["discover-timeout"] = "0.5" } }
    lab:host("condition", { settings = { ["Disk.MaxLUN"] = 1024 } })
    assert_said(ended, 1, {
      lab:claim("vm-57-disk-1").naa .. " did not appear on esx-01.lab.example",
      "LUN number 2 is at or above Disk.MaxLUN (2)",
      "esxcli system settings advanced set -o /Disk/MaxLUN -i 1024",
    })
    assert_nothing_left(ended)
  end)

  it("when the device never appears, and says where to look", function()
    lab:host("condition", { discovery_lag_s = 3600 })
    local ended <const> = lab:populate { flags = { ["discover-timeout"] = "0.5" } }
    lab:host("condition", { discovery_lag_s = 0 })
    assert_said(
      ended,
      1,
      { " did not appear on esx-01.lab.example within ", "check the paths from esx-01.lab.example" }
    )
    assert_nothing_left(ended)
  end)

  it("when the clone fails, and shows what vmkfstools said", function()
    local text <const> = "There is not enough space on the file system for the selected operation (13)"
    lab:host("vmkfstools", { rate = 0, xcopy = 1, fail_at = 40, fail_code = 255, fail_text = text })
    local ended <const> = lab:populate()
    lab:host("vmkfstools", FAST)
    assert_said(
      ended,
      1,
      { "the clone ended with exit code 255", "  why   Failed to clone disk: " .. text, "  fix   " }
    )
    assert_nothing_left(ended)
  end)

  local function is_command(entry, pattern) return entry.method == "ExecuteSoap" and (entry.target or ""):find(pattern) end

  -- Where in the lab's log the first request stands that `holds`.
  local function place(requests, holds)
    for i, entry in ipairs(requests) do
      if holds(entry) then return i end
    end
    error "no such request"
  end

  it("upon SIGTERM during the copy: first the writer, then the device, then the mapping", function()
    local ended <const> = stopped()
    assert_said(ended, 4, { "stopped by SIGTERM" })
    assert_nothing_left(ended)
    local requests <const> = lab:requests_since(mark)
    local kill <const> = place(requests, function(entry) return is_command(entry, "^vmkfstools%.taskKill$") end)
    local off <const> = place(requests, function(entry) return is_command(entry, "device%.set$") end)
    local unmap <const> = place(
      requests,
      function(entry)
        return entry.service == "ontap" and entry.method == "DELETE" and entry.path:find("lun-maps", 1, true)
      end
    )
    assert.is_true(kill < off and off < unmap)
  end)

  it("upon SIGINT in the same way, for those who sit before it", function()
    local ended <const> = stopped(nil, "INT")
    assert_said(ended, 4, { "stopped by SIGINT" })
    assert_nothing_left(ended)
  end)

  it("upon a second SIGTERM while it puts back: at once, and reap does the rest", function()
    lab:faults { { service = "vcenter", match = { target = "*device.set" }, action = "hang:60", times = 0 } }
    local run <const> = lab:start_populate()
    labs.wait_until(20, "the detach", function()
      for _, request in ipairs(lab:requests_since(mark, "vcenter")) do
        if is_command(request, "device%.set$") then return true end
      end
    end)
    run:kill "TERM"
    local began_s <const> = timer.now()
    timer.sleep(0.2)
    run:kill "TERM"
    local ended <const> = run:wait()
    assert.is_true(timer.now() - began_s < 10)
    assert_said(
      ended,
      5,
      { "is on at esx-01.lab.example: stopped by another SIGTERM", "there was no time left for it" }
    )
    lab:faults {}
    local reaped <const> = lab:populate { argv = { "reap", "--apply" } }
    assert.equal(0, reaped.code, reaped.out .. reaped.err)
    local after <const> = lab:snapshot()
    before.sessions, after.sessions = nil, nil -- there was no time for that, either
    assert.same(before, after)
    assert(lab.control:post "/sessions/expire")
  end)

  it("upon SIGTERM with upstream's wrapper: a writer that cannot be stopped keeps its LUN", function()
    local claim <const> = lab:claim "vm-58-disk-1"
    lab:host("wrapper", { variant = "upstream" })
    local ended <const> = stopped { claim = claim.name }
    assert_said(
      ended,
      5,
      { "stopped by SIGTERM", "a writer may live on esx-01.lab.example", "upstream's wrapper cannot stop a clone" }
    )
    local mapped
    for _, lun in ipairs(lab:state().luns) do
      if lun.naa == claim.naa then mapped = #lun.maps end
    end
    assert.equal(1, mapped)
    assert.equal("on", host().devices[claim.naa].status)
    labs.wait_until(20, "the end of the writer", function() return not host().writers[1] end)
  end)
end)
