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

  describe("finds what was changed for the worse in", function()
    local ended
    local folders <const> = {}

    -- The script, the mistake, what is put in place of what, the group of cases that finds it, and what is said of it.
    local CHANGES <const> = {
      {
        "acme",
        "cuts the names of hosts",
        { '"xcopy-" .. codec.sha256(name):sub(1, HOST_NAME_LENGTH - 6)', "name:sub(1, HOST_NAME_LENGTH)" },
        "hostile names",
        "expected  names that are shortened stay different",
      },
      {
        "acme",
        "reads the first page only",
        { "return answer.items, answer.next", "return answer.items" },
        "of others",
        "many others come before what is ours\n  expected  the host object found is",
      },
      {
        "acme",
        "calls made what another has made meanwhile",
        { 'outcome = made and "made" or "existing"', 'outcome = "made"' },
        "two jobs",
        'happened  the other maps it before request 2, and both say "made"',
      },
      {
        "acme",
        "takes over a name that is taken",
        {
          'fail.assert(record, why, "make host',
          'if not record and why.code == "exists" then return self:hosts_of(initiators, name)[1] end\n'
            .. '  fail.assert(record, why, "make host',
        },
        "twice",
        "expected  what exists is a conflict",
      },
      {
        "acme",
        "calls all host objects ours",
        { "ours = record.name == host_name(name)", "ours = true" },
        "hosts_of",
        "happened  esx.* is ours, it says, and does not bear our name",
      },
      {
        "acme",
        "has numbers for ids",
        { "return { id = record.id, name = record.name, ports", "return { id = 9, name = record.name, ports" },
        "hosts_of",
        "happened  id of the host is 9, a number; it must be a text",
      },
      {
        "vantara",
        "takes a job that ended badly for done",
        { 'return ends[job.state] or "failed"', 'return "done"' },
        "map",
        "its job ends badly\n[^\n]*\n  happened  it says done, and it was not",
      },
      {
        "rpc",
        "says refused where only asking after it was",
        {
          'if not made and why.code ~= "mapped"',
          'local late <const> = select(2, self.api:ask("POST", "/hosts/query", { json = {}, effect = false }))\n'
            .. "    if late then late.refused = true error(late) end\n"
            .. '    if not made and why.code ~= "mapped"',
        },
        "map",
        "expected  a failure that is not marked refused: it was done",
      },
    }

    -- The same array, but that lists are asked for by POST.
    local RPC_SCRIPT <const> = {
      { "self.api:get(path, query)", 'self.api:get(path .. "/query", nil, query)' },
      { "query = query or {}", "query = query or { all = true }" },
    }
    local RPC_ARRAY <const> = {
      {
        "local asked <const> = ",
        'local is_query <const> = request.path:find "/query$"\n'
          .. '  request.json = request.body ~= "" and json.decode(request.body) or {}\n'
          .. '  if is_query then request.method, request.path, request.args = "GET", request.path:sub(1, -7), request.json end\n'
          .. "  local asked <const> = ",
      },
      {
        "return self:handle(request) end),",
        "return self:handle(request) end, { describe = function(request)\n"
          .. '  local effect <const> = request.method ~= "GET" and not request.path:find "/query$"\n'
          .. "  return { method = request.method, path = request.path, effect = effect }\n"
          .. "end }),",
      },
    }

    local function change(path, changes)
      local text = assert(fs.read(path))
      for _, each in ipairs(changes) do
        local first <const>, last <const> = text:find(each[1], 1, true)
        assert(first, each[1])
        text = text:sub(1, first - 1) .. each[2] .. text:sub(last + 1)
      end
      assert(fs.write(path, text))
    end

    -- A folder with a script of its own; `rpc` is a skeleton, too.
    local function folder_of(name, changes)
      local dir <const> = process.run({ argv = { "mktemp", "-d" } }).out:match "%S+"
      local script <const> = ("%s/vendors/%s.lua"):format(dir, name)
      folders[#folders + 1] = dir
      if name == "vantara" then
        assert(fs.mkdir(dir .. "/vendors"))
        assert(fs.write(script, assert(fs.read "scripts/vendors/vantara.lua")))
      else
        assert(process.run { argv = { labs.QUICK_BIN, "vendor", "new", name, "--dir", dir } })
      end
      if name == "rpc" then
        change(script, RPC_SCRIPT)
        change(dir .. "/lab/rpc.lua", RPC_ARRAY)
      end
      change(script, changes)
      return dir
    end

    setup(function()
      local runs <const> = { rpc = { words = { "rpc", "--only", "map", "--scripts", folder_of("rpc", {}) } } }
      for _, each in ipairs(CHANGES) do
        runs[each[2]] = { words = { each[1], "--only", each[4], "--scripts", folder_of(each[1], { each[3] }) } }
      end
      ended = run_all(runs)
    end)

    teardown(function()
      for _, dir in ipairs(folders) do
        process.run { argv = { "rm", "-r", dir } }
      end
    end)

    for _, each in ipairs(CHANGES) do
      it(("%s: it %s"):format(each[1], each[2]), function()
        local one <const> = ended[each[2]]
        assert.equal(1, one.code, one.out .. one.err:sub(-2000))
        assert.matches(each[5], one.out)
      end)
    end

    it(
      "nothing where questions go by POST, and the array says so",
      function() assert.equal(0, ended.rpc.code, ended.rpc.out .. ended.rpc.err:sub(-2000)) end
    )
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
      assert.matches("\n4 passed, 0 failed, 3 skipped", ended.out)
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
