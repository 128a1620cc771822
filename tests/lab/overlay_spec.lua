--- Flows and vendors that users lay over the built-in ones, without a compiler, and the check that finds their mistakes.
local fs <const> = require "lunalift.fs"
local labs <const> = require "support.lab"
local process <const> = require "lunalift.process"

local FLOW <const> = "flows/populate.lua"
local VENDOR <const> = "vendors/ontap.lua"

describe("scripts laid over the built-in ones", function()
  local lab, before, folder

  setup(function()
    lab = labs.start()
    before = lab:snapshot()
    folder = lab.dir .. "/my scripts"
  end)

  teardown(function() lab:stop() end)

  before_each(function()
    process.run { argv = { "rm", "-rf", folder } }
    process.run { argv = { "mkdir", "-p", folder .. "/flows", folder .. "/vendors" } }
  end)

  -- The built-in text with one place changed.
  local function changed(name, from, to)
    local text <const> = assert(fs.read(fs.cwd() .. "/scripts/" .. name))
    local first <const>, last <const> = text:find(from, 1, true)
    assert(first, from .. " is not in " .. name)
    return text:sub(1, first - 1) .. to .. text:sub(last + 1)
  end

  local function lay(name, from, to) assert(fs.write(folder .. "/" .. name, changed(name, from, to))) end

  local function assert_laid_over(ended, name)
    local path <const> = folder .. "/" .. name
    local sha256 <const> = labs.sha256(path)
    assert.equal(0, ended.code, ended.err)
    local title <const> = ended.out:match "[^\n]+"
    local said <const> = ("(%s, sha256 %s)"):format(path, sha256:sub(1, 12))
    assert.is_truthy(title:find(said, 1, true), title)
    assert.is_truthy(ended.err:find("script laid over the built-in one", 1, true), ended.err)
    assert.is_truthy(ended.err:find("sha256=" .. sha256, 1, true), ended.err)
    assert.same(before, lab:snapshot())
  end

  it("are taken from --scripts: a flow with another line in it", function()
    lay(FLOW, 'job:step "copy"', 'job:step "move the bytes, as we say here"')
    local ended <const> = lab:populate { flags = { scripts = folder } }
    assert_laid_over(ended, FLOW)
    assert.matches("Z move the bytes, as we say here: 8 MiB", ended.out)
  end)

  it("claim no success that they have not proved", function()
    lay(FLOW, "job:done {", "local _ = {")
    local ended <const> = lab:populate { flags = { scripts = folder } }
    assert.equal(1, ended.code)
    assert.matches("error: the flow ended without job:done", ended.err, 1, true)
  end)

  it("are taken from LUNALIFT_SCRIPTS: a vendor of ours", function()
    lay(VENDOR, 'product = "ONTAP"', 'product = "ONTAP as we patched it"')
    local ended <const> = lab:populate { env = { LUNALIFT_SCRIPTS = folder } }
    assert_laid_over(ended, VENDOR)
    assert.matches("· ONTAP as we patched it 9", ended.out)
  end)

  it("are followed through the links of a mounted ConfigMap, and read anew by each run", function()
    local function publish(version, text)
      local data <const> = folder .. "/.." .. version
      process.run { argv = { "mkdir", "-p", data .. "/flows" } }
      assert(fs.write(data .. "/" .. FLOW, text))
      fs.remove(folder .. "/..data")
      assert(fs.symlink(".." .. version, folder .. "/..data"))
    end
    process.run { argv = { "rmdir", folder .. "/flows" } }
    assert(fs.symlink("..data/flows", folder .. "/flows"))
    for _, version in ipairs { "2026_01_01", "2026_01_02" } do
      publish(version, changed(FLOW, 'job:step "copy"', ('job:step "copy of %s"'):format(version)))
      local ended <const> = lab:populate { flags = { scripts = folder } }
      assert_laid_over(ended, FLOW)
      assert.is_truthy(ended.out:find("Z copy of " .. version, 1, true))
    end
  end)

  it("give way to --scripts where both have the file", function()
    lay(FLOW, 'job:step "copy"', 'job:step "copy from the flag"')
    local other <const> = lab.dir .. "/other"
    process.run { argv = { "mkdir", "-p", other .. "/flows" } }
    assert(fs.write(other .. "/" .. FLOW, changed(FLOW, 'job:step "copy"', 'job:step "copy from the variable"')))
    local ended <const> = lab:populate { flags = { scripts = folder }, env = { LUNALIFT_SCRIPTS = other } }
    assert_laid_over(ended, FLOW)
    assert.matches("Z copy from the flag: ", ended.out, 1, true)
  end)

  it("that are no Lua end the run before it begins, with file, line and the check to use", function()
    lay(FLOW, 'job:step "copy"', 'job:step "copy')
    local ended <const> = lab:populate { flags = { scripts = folder } }
    assert.equal(2, ended.code, ended.err)
    assert.matches(folder .. "/flows/populate.lua:%d+: unfinished string", ended.err)
    assert.is_truthy(ended.err:find("lunalift flow check " .. folder .. "/flows/populate.lua\n", 1, true), ended.err)
    assert.same(before, lab:snapshot())
  end)

  it("that break in the middle leave nothing behind", function()
    lay(FLOW, 'job:step "copy"', 'job:step "copy"\n  local _ = job.no_such.thing')
    local ended <const> = lab:populate { flags = { scripts = folder } }
    assert.equal(1, ended.code, ended.err)
    assert.matches("populate.lua:%d+: .*no_such", ended.err)
    assert.matches("\n  left  nothing", ended.err)
    assert.same(before, lab:snapshot())
  end)

  it("are checked: nothing to say of a good flow, line and fix for a bad one", function()
    lay(FLOW, 'job:step "copy"', 'job:step "my copy"')
    local good <const> = lab:populate { argv = { "flow", "check", folder .. "/" .. FLOW } }
    assert.equal(0, good.code, good.err)
    assert.matches("no problems\n$", good.out)

    lay(FLOW, 'job:step "copy"', 'job:stepp "copy"')
    local bad <const> = lab:populate { argv = { "flow", "check", folder .. "/" .. FLOW } }
    assert.equal(2, bad.code)
    assert.matches("flows/populate.lua:%d+  a job has no stepp: did you mean step%?\n1 problem\n$", bad.out)

    local absent <const> = lab:populate { argv = { "flow", "check", folder .. "/flows/none.lua" } }
    assert.equal(2, absent.code)
  end)
end)
