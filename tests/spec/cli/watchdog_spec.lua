local fs <const> = require "lunalift.fs"
local process <const> = require "lunalift.process"

describe("the watchdog of the program", function()
  it("ends a script that computes in C, names its line, and leaves no core", function()
    local dir <const> = process.run({ argv = { "mktemp", "-d" } }).out:match "%S+"
    assert(process.run { argv = { "mkdir", dir .. "/cli" } })
    fs.write(dir .. "/cli/flow.lua", 'return { run = function()\n  return ("a"):rep(1 << 14):find ".-.-.-b"\nend }\n')
    local result <const> = process.run {
      argv = { os.getenv "LUNALIFT_BIN", "flow", "--scripts", dir },
      env = { LUNALIFT_WATCHDOG_S = "1" },
      cwd = dir,
    }
    assert.equal("ABRT", tostring(result.signal):gsub("^SIG", ""):gsub("^6$", "ABRT"))
    assert.matches("nothing has moved for 1000 ms", result.err)
    assert.matches("cli/flow.lua:2, in find", result.err)
    assert.equal("cli\n", process.run({ argv = { "ls", dir } }).out)
    process.run { argv = { "rm", "-rf", dir } }
  end)
end)
