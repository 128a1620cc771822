--- The conformance suite of vendor scripts: that the four pass it, and that it can fail.
local fs <const> = require "lunalift.fs"
local json <const> = require "lunalift.json"
local labs <const> = require "support.lab"
local process <const> = require "lunalift.process"
local task <const> = require "lunalift.task"

local CANARY <const> = "CanaryArray"

-- Processes of their own, all at once: they mostly wait. The build without sanitizers where there is one.
local function run_all(runs)
  local tasks <const>, ended <const> = {}, {}
  for name, run in pairs(runs) do
    tasks[name] = task.spawn(process.run, {
      argv = { labs.QUICK_BIN, "vendor", "test", table.unpack(run.words) },
      env = { PATH = os.getenv "PATH", LUNALIFT_LOG = "debug", BROKEN_BY = run.broken_by },
    })
  end
  for name, each in pairs(tasks) do
    ended[name] = assert(each:wait())
  end
  return ended
end

describe("the conformance suite", function()
  describe("is passed by", function()
    local ended
    local VENDORS <const> = { "ontap", "powerflex", "primera3par", "vantara", "acme" } -- the last is what vendor new makes

    setup(function()
      local dir <const> = process.run({ argv = { "mktemp", "-d" } }).out:match "%S+"
      assert(process.run { argv = { labs.QUICK_BIN, "vendor", "new", "acme", "--dir", dir } })
      local runs <const> = {}
      for _, name in ipairs(VENDORS) do
        runs[name] = { words = { name, "-vv", "--scripts", dir } }
      end
      ended = run_all(runs)
      process.run { argv = { "rm", "-r", dir } }
    end)

    for _, name in ipairs(VENDORS) do
      it(name, function()
        local one <const> = ended[name]
        local passed <const> = tonumber(one.out:match "(%d+) passed, 0 failed, %d+ skipped %(")
        assert.is_truthy(passed, one.out .. one.err:sub(-2000))
        assert.equal(0, one.code)
        assert.is_true(passed > 200, one.out)
        assert.is_nil(one.err:find(CANARY, 1, true))
        print("# " .. one.out:match "([^\n]+)\n$")
      end)
    end
  end)

  describe("finds a script that", function()
    local ended
    -- The mistake, the group of cases that finds it, and what is said of it.
    local MISTAKES <const> = {
      { "unmaps others, too", "unmap", "expected  all on the array is as it was before\n  happened  vluns gone: " },
      { "leaks a session", "open and close", "happened  a session is left open" },
      { "changes when asked", "maps_of", "expected  a question changes nothing" },
      { "calls all maps made", "twice", 'happened  the second map returns "made"' },
      { "calls no map made", "map", 'happened  it says "existing", so that the core would leave' },
      {
        "breaks on 404",
        "find_lun",
        "404, at request 1 of 1\n[^\n]*\n  happened  the script breaks: [^\n]*broken.lua:%d+",
      },
      {
        "sends an effect twice",
        "map",
        "reset after the act[^\n]*\n[^\n]*\n  happened  POST /api/v1/vluns was sent again",
      },
      { "leaves the host object behind", "create_host", "happened  sets new: " },
      { "takes what is not there for done", "unmap", "404[^\n]*\n[^\n]*\n  happened  it says done, and it was not" },
      { "tells the token", "info", "expected  passwords and tokens are secrets" },
    }
    local function words(group) return { "broken", "--scripts", "tests/support/broken", "--only", group } end

    setup(function()
      local runs <const> = { nothing = { words = words "map" } }
      for _, mistake in ipairs(MISTAKES) do
        runs[mistake[1]] = { words = words(mistake[2]), broken_by = mistake[1] }
      end
      ended = run_all(runs)
    end)

    for _, mistake in ipairs(MISTAKES) do
      it(mistake[1], function()
        local one <const> = ended[mistake[1]]
        assert.equal(1, one.code, one.out .. one.err:sub(-2000))
        assert.matches(mistake[3], one.out)
        assert.is_truthy(one.out:find("\n  look at   tests/support/broken/vendors/broken.lua", 1, true))
      end)
    end

    it("and has nothing to say of the same script without mistakes", function()
      assert.matches("%d+ passed, 0 failed, 0 skipped", ended.nothing.out)
      assert.equal(0, ended.nothing.code)
    end)
  end)

  describe("on an array of the environment", function()
    local lab, before

    setup(function()
      lab = labs.start(nil, labs.QUICK_BIN)
      before = lab:snapshot()
    end)

    teardown(function() lab:stop() end)

    local function volume(name)
      return json.encode { name = name, handle = name, attributes = { internalName = name:gsub("%-", "_") } }
    end

    local function claim(name) return volume("trident_" .. lab:claim(name).pv) end

    local function argv(first, ...)
      local words <const> = { "vendor", "test", "ontap", "--array", "--volume", first, ... }
      return { argv = table.move({ "--other-volume", claim "vm-58-disk-1" }, 1, 2, #words + 1, words) }
    end

    it("says what it will do, and does nothing of it unless told to", function()
      local ended <const> = lab:populate(argv(claim "vm-57-disk-1"))
      assert.equal(2, ended.code, ended.out .. ended.err)
      assert.matches("host object xcopy%-vendor%-test%-00000000 is made of iqn[^\n]*, and removed", ended.out)
      assert.matches("add %-%-yes when", ended.err)
      assert.same(before, lab:snapshot())
    end)

    it("makes no faults, and leaves nothing behind", function()
      local ended <const> = lab:populate(argv(claim "vm-57-disk-1", "--yes", "--only", "two jobs"))
      assert.equal(0, ended.code, ended.out .. ended.err)
      assert.matches("faults +1 skipped: a real array has no door for them", ended.out)
      assert.matches("\n4 passed, 0 failed, 2 skipped", ended.out)
      assert.same(before, lab:snapshot())
    end)

    it("leaves nothing behind when it is stopped", function()
      local running <const> = lab:start_populate(argv(claim "vm-57-disk-1", "--yes"))
      labs.wait_until(20, "an igroup", function() return #lab:state().ontap.igroups > #before.ontap.igroups end)
      running:kill "INT"
      local ended <const> = running:wait()
      assert.is_truthy(ended.err:find("stopped by SIGINT", 1, true), ended.err)
      assert.same(before, lab:snapshot())
    end)

    it("touches no volume that somebody uses", function()
      local ended <const> = lab:populate(argv(volume "ds_datastore_15", "--yes"))
      assert.is_true(ended.code > 0)
      assert.matches("is mapped to esx_production_3: it is not touched", ended.err)
      assert.same(before, lab:snapshot())
    end)
  end)

  describe("refuses", function()
    local function refused(words)
      local one <const> = run_all({ one = { words = words } }).one
      assert.equal(2, one.code, one.out)
      return one.err
    end

    it("a group and a fault that there is not, with what there is", function()
      assert.matches("did you mean map%?", refused { "ontap", "--only", "mapp" })
      assert.matches("there is no '4180'", refused { "ontap", "--fault", "4180" })
    end)

    it("a vendor for which the lab has no array, and says where to put one", function()
      local dir <const> = process.run({ argv = { "mktemp", "-d" } }).out:match "%S+"
      local text <const> = assert(fs.read "scripts/vendors/ontap.lua")
      assert(fs.mkdir(dir .. "/vendors"))
      assert(fs.write(dir .. "/vendors/acme.lua", (text:gsub('"ontap"', '"acme"'))))
      local said <const> = refused { "acme", "--scripts", dir }
      process.run { argv = { "rm", "-r", dir } }
      assert.matches("write lab/acme.lua beside vendors/acme.lua", said, 1, true)
    end)
  end)
end)
