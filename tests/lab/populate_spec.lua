--- Whole runs that succeed, in every style of output, and what they leave: equal bytes and nothing else.
local fs <const> = require "lunalift.fs"
local json <const> = require "lunalift.json"
local labs <const> = require "support.lab"

describe("populate, on a site", function()
  local lab, before, claim, source

  setup(function()
    lab = labs.start()
    claim = lab:claim "vm-57-disk-1"
    source = labs.sha256(lab:source_of(claim))
  end)

  teardown(function() lab:stop() end)

  before_each(function()
    before = lab:snapshot()
    fs.pwrite(claim.lun_path, 0, ("x"):rep(4096)) -- what an earlier copy wrote is no proof of this one
  end)

  local function assert_copied(ended)
    assert.equal(0, ended.code, ended.err .. ended.out)
    assert.equal(source, labs.sha256(claim.lun_path))
    assert.same(before, lab:snapshot())
    lab:assert_no_secret(ended.out .. ended.err)
  end

  it("copies, and tells it in lines", function()
    local ended <const> = lab:populate()
    assert_copied(ended)
    assert.matches("Z open both ends: .* status=done seconds=%d", ended.out)
    assert.matches("Z copy: 100 %%.* percent=100 bytes=8388608 ", ended.out)
    assert.matches("Z done in %d[%d.]* s.* status=done seconds=[%d.]+\n$", ended.out)
    assert.not_matches("\27", ended.out)
  end)

  it("copies, and tells it to machines, each line an object", function()
    local ended <const> = lab:populate { flags = { output = "json" } }
    assert_copied(ended)
    local last
    local events <const> = {}
    for line in ended.out:gmatch "[^\n]+" do
      last = assert(json.decode(line))
      events[last.event] = (events[last.event] or 0) + 1
    end
    assert.equal("done", last.status)
    assert.equal("result", last.event)
    assert.is_true(events.step >= 10 and events.effect >= 5 and events.progress >= 1)
  end)

  it("copies, and is quiet about it", function()
    local ended <const> = lab:populate { words = { "--quiet" } }
    assert_copied(ended)
    assert.equal("", ended.out .. ended.err)
  end)
end)
