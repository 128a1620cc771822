local fail <const> = require "lib.fail"
local script <const> = require "lunalift.script"
local stand_in <const> = require "spec.support.stand_in"

describe("lunalift vendor", function()
  local restore, console

  before_each(function()
    console = stand_in.console()
    restore = stand_in.install { ["lunalift.console"] = console }
  end)

  after_each(function() restore() end)

  local function run(...) return require("cli.vendor").run { ... } end

  it("lists the vendors with fabrics, status and where they come from", function()
    assert.equal(0, run "list")
    assert.matches("^VENDOR +TITLE +STATUS +FABRICS +FROM +SHA256\n", console.said)
    assert.matches("\nontap +NetApp ONTAP 9 +stable +iscsi,fc +built in +%x+\n", console.said)
  end)

  it("shows a vendor as it is, and knows a misspelt one", function()
    assert.equal(0, run("show", "ontap"))
    assert.equal(script.source(script.find("vendors.ontap").path), console.said)
    local ok <const>, why <const> = pcall(run, "show", "onatp")
    assert.is_false(ok)
    assert.is_true(fail.is(why, "config"))
    assert.equal("did you mean ontap?", why.hint)
  end)

  it("checks a vendor by name or file, wherever scripts are", function()
    assert.equal(0, run("check", "ontap", "--scripts", "/tmp"))
    assert.matches("ontap.lua: no problems\n  offers      info, ", console.said, 1, true)
    console.said = ""
    assert.equal(2, run("check", "--scripts=/tmp", script.find("lib.fail").path))
    assert.matches("fail.lua:%d+  the array has no info\n  fix   write function ", console.said)
  end)

  it("tells how it is used", function()
    assert.equal(0, run "--help")
    assert.matches("lunalift vendor check FILE|NAME ", console.said, 1, true)
    for _, args in ipairs { {}, { "show" }, { "check" }, { "frobnicate", "x" } } do
      local ok <const>, why <const> = pcall(run, table.unpack(args))
      assert.is_false(ok)
      assert.is_true(fail.is(why, "config"))
    end
  end)
end)
