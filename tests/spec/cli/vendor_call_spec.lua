local fail <const> = require "lib.fail"
local json <const> = require "lunalift.json"
local stand_in <const> = require "spec.support.stand_in"

local ACCOUNT <const> = { "--storage-hostname=box", "--storage-username=u", "--storage-password=p" }

describe("lunalift vendor call", function()
  local restore, console, array, opened

  before_each(function()
    console = stand_in.console()
    array = { asked = {}, answers = {}, closed = 0 }
    function array:ask(name, ...)
      self.asked[#self.asked + 1] = { name, ... }
      return table.unpack(self.answers, 1, self.answers.n or #self.answers)
    end
    function array:read(...)
      local value <const>, why <const> = self:ask(...)
      if value == nil and why then error(why) end
      return value
    end
    function array:lun_of(pv) return self:read("lun_of", pv) end
    function array:close() self.closed = self.closed + 1 end
    restore = stand_in.install {
      ["lunalift.console"] = console,
      ["lib.arrays"] = {
        describe = function() return { options = {} } end,
        login = function(_, name, conf)
          opened = { name = name, hostname = conf.hostname }
          return array
        end,
        of = function(_, login) return login end,
      },
    }
  end)

  after_each(function() restore() end)

  local function run(...)
    local args <const> = { ... }
    table.move(ACCOUNT, 1, #ACCOUNT, #args + 1, args)
    return require("cli.vendor_call").run(args)
  end

  local function said() return json.decode(console.said) end

  local function refused(...)
    local ok <const>, why <const> = pcall(run, ...)
    assert.is_false(ok)
    assert.is_true(fail.is(why, "config"))
    assert.same({}, array.asked)
    return why.message, why.hint
  end

  it("opens that vendor's array, prints what it returns, and logs out", function()
    array.answers = { { product = "Box" } }
    assert.equal(0, run("acme", "info"))
    assert.same({ product = "Box" }, said())
    assert.same({ name = "acme", hostname = "box" }, opened)
    assert.equal(1, array.closed)
  end)

  it("hands over each JSON as a value", function()
    array.answers = { {} }
    assert.equal(0, run("acme", "hosts_of", '[{"kind":"iscsi","id":"iqn.x"}]', '"xcopy-1"'))
    assert.same({ { "hosts_of", { { kind = "iscsi", id = "iqn.x" } }, "xcopy-1" } }, array.asked)
    assert.equal("[]\n", console.said)
  end)

  it("prints several results as a list, and none as null", function()
    array.answers = { "made", { id = "1", number = 4 } }
    assert.equal(0, run("acme", "map", "{}", "{}", "--yes"))
    assert.same({ "made", { id = "1", number = 4 } }, said())
    console.said, array.answers = "", { n = 0 }
    assert.equal(0, run("acme", "find_lun", "{}"))
    assert.equal("null\n", console.said)
  end)

  it("prints a failure, too, and returns 1", function()
    local why <const> = fail.hint(fail.new("not_found", "no volume"), "look elsewhere")
    array.answers = { nil, why, n = 2 }
    assert.equal(1, run("acme", "lun_of", "{}"))
    assert.same({ kind = "not_found", message = "no volume", hint = "look elsewhere" }, said())
    assert.equal(1, array.closed)
  end)

  it("changes nothing without --yes", function()
    local message <const>, hint <const> = refused("acme", "unmap", "{}", "{}")
    assert.equal("unmap changes the array", message)
    assert.matches("--yes", hint, 1, true)
  end)

  it("refuses what the contract has not, before it opens anything", function()
    assert.equal("'lunof' is no function that may be called", (refused("acme", "lunof", "{}")))
    assert.equal("'close' is no function that may be called", (refused("acme", "close")))
    assert.equal("map takes 2 values, not 1", (refused("acme", "map", "{}")))
    assert.matches("argument 1 is no JSON: {", (refused("acme", "maps_of", "{")), 1, true)
    refused "acme"
  end)
end)
