local fail <const> = require "lib.fail"
local stand_in <const> = require "spec.support.stand_in"

describe("the command line", function()
  local restore, console, ran, result

  local function command(name)
    return {
      run = function(args)
        ran = { name, table.unpack(args) }
        if fail.is(result) then error(result) end
        return result
      end,
    }
  end

  before_each(function()
    console, ran, result = stand_in.console(), nil, 0
    restore = stand_in.install {
      ["lunalift.console"] = console,
      ["lunalift.log"] = stand_in.log(),
      ["lunalift.script"] = { find = function(name) return name ~= "cli.lab" and {} or nil end },
      ["cli.populate"] = command "populate",
      ["cli.flow"] = command "flow",
    }
  end)

  after_each(function() restore() end)

  local function main(...) return require("cli.main").main { ... } end

  it("runs a command with the words behind it, and ends as it does", function()
    result = 5
    assert.equal(5, main("flow", "check", "x.lua"))
    assert.same({ "flow", "check", "x.lua" }, ran)
  end)

  it("takes a first flag for populate, as forklift starts it", function()
    main("--source-vm-id=vm-1", "--dry-run")
    assert.same({ "populate", "--source-vm-id=vm-1", "--dry-run" }, ran)
    main("-source-vm-id", "vm-1")
    assert.same({ "populate", "-source-vm-id", "vm-1" }, ran)
  end)

  it("says how to install a command that was left out", function()
    assert.equal(2, main "lab")
    assert.matches("the command 'lab' is not installed here", console.complained, 1, true)
    assert.matches("--component lab", console.complained, 1, true)
  end)

  it("says what it is, and what there is", function()
    for _, word in ipairs { "version", "--version" } do
      assert.equal(0, main(word))
    end
    assert.matches("^lunalift %d+%.%d+%.%d+\nlunalift ", console.said)
    console.said = ""
    for _, word in ipairs { "help", "--help", "-h" } do
      assert.equal(0, main(word))
    end
    assert.equal(0, main())
    assert.matches("usage: lunalift COMMAND", console.said)
    assert.matches("populate  ", console.said)
    assert.is_nil(ran)
  end)

  it("asks a command for its own help", function()
    main("help", "populate")
    assert.same({ "populate", "--help" }, ran)
  end)

  it("refuses other words, with the nearest command", function()
    assert.equal(2, main "polulate")
    assert.equal("error: no command 'polulate'\n  fix   did you mean populate?\n", console.complained)
    console.complained = ""
    assert.equal(2, main("help", "xyzzy-plugh"))
    assert.matches("see lunalift help", console.complained)
  end)

  it("tells a failure by its lines, and by its exit code", function()
    local CODES <const> = {
      config = 2,
      denied = 2,
      unsupported = 2,
      busy = 3,
      timeout = 3,
      unreachable = 3,
      cancelled = 4,
      incomplete = 5,
      failed = 1,
      not_found = 1,
      conflict = 1,
      no_space = 1,
      protocol = 1,
      bug = 1,
    }
    for kind in pairs(fail.KINDS) do
      console.complained = ""
      result = fail.hint(fail.new(kind, "it went wrong"), "do this")
      assert.equal(CODES[kind], main "flow", kind)
      assert.equal("error: it went wrong\n  fix   do this\n", console.complained)
    end
  end)

  it("calls whatever else is raised a bug", function()
    package.loaded["cli.flow"].run = function() error "oops" end
    assert.equal(1, main "flow")
    assert.matches("^error: .*oops", console.complained)
  end)
end)
