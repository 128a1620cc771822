local fail <const> = require "lib.fail"
local fs <const> = require "lunalift.fs"
local process <const> = require "lunalift.process"
local stand_in <const> = require "spec.support.stand_in"
local vendor_check <const> = require "lib.vendor_check"

describe("lunalift vendor new", function()
  local restore, console, folder

  before_each(function()
    console = stand_in.console()
    restore = stand_in.install { ["lunalift.console"] = console }
    folder = process.run({ argv = { "mktemp", "-d" } }).out:match "%S+"
  end)

  after_each(function()
    restore()
    process.run { argv = { "rm", "-rf", folder } }
  end)

  local function run(...) return require("cli.vendor").run { "new", ... } end

  local function refused(...)
    local ok <const>, why <const> = pcall(run, ...)
    assert.is_false(ok)
    assert.is_true(fail.is(why, "config"), tostring(why))
    assert.is_string(why.hint)
    return why.message
  end

  it("writes a vendor that lacks nothing of the contract, and its array, under that name and title", function()
    local dir <const> = folder .. "/a/my scripts"
    assert.equal(0, run("superBox", "--title", "Super Box 9000", "--dir", dir .. "/"))
    local verdict <const> = vendor_check.file(dir .. "/vendors/superBox.lua")
    assert.same({}, verdict.problems)
    assert.equal("Super Box 9000", verdict.title)
    for _, room in ipairs { "vendors", "lab" } do
      local text <const> = assert(fs.read(("%s/%s/superBox.lua"):format(dir, room)))
      assert.matches("SUPERBOX_POOL", text, 1, true)
      assert.matches("Super Box 9000", text, 1, true)
      assert.is_nil(text:lower():gsub("60ac3e", ""):find "acme")
    end
    local text <const> = fs.read(dir .. "/vendors/superBox.lua")
    assert.matches('vendor = "Super", product = "Super Box 9000"', text, 1, true)
    assert.matches("lunalift lab --scripts " .. dir .. " --array superBox", console.said, 1, true)
  end)

  it("writes over nothing", function()
    run("box", "--dir", folder)
    assert(fs.write(folder .. "/vendors/box.lua", "mine"))
    assert.equal(folder .. "/vendors/box.lua is there already", refused("box", "--dir", folder))
    assert.equal("mine", fs.read(folder .. "/vendors/box.lua"))
    fs.remove(folder .. "/vendors/box.lua")
    assert.equal(folder .. "/lab/box.lua is there already", refused("box", "--dir", folder))
    assert.is_nil(fs.stat(folder .. "/vendors/box.lua"))
  end)

  it("refuses names that are none, that there are, and that the lab has, before it writes", function()
    for _, name in ipairs { "", "Box", "2box", "my-box", "../box", "a.b", "a b", "ü" } do
      assert.equal(("'%s' is no name for a vendor"):format(name), refused(name, "--dir", folder))
    end
    assert.matches("^there is a vendor ontap: /.*/vendors/ontap.lua$", refused("ontap", "--dir", folder))
    assert.equal("the lab has a script fabric of its own", refused("fabric", "--dir", folder))
    assert.equal("'a \"b\"' is no title", refused("box", "--title", 'a "b"', "--dir", folder))
    assert.equal("vendor new needs one name", refused("box", "other", "--dir", folder))
    assert.same({}, fs.list(folder))
  end)

  it("says so where it may not write", function()
    assert(fs.write(folder .. "/file", ""))
    local ok <const>, why <const> = pcall(run, "box", "--dir", folder .. "/file/scripts")
    assert.is_false(ok)
    assert.is_true(fail.is(why), tostring(why))
  end)
end)
