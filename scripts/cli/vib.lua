--- lunalift vib: the package of the ESXi side, made here.
local console <const> = require "lunalift.console"
local fail <const> = require "lib.fail"
local files <const> = require "lunalift.journal"
local flags <const> = require "lib.flags"
local vib <const> = require "lib.vib"
local words <const> = require "lib.words"

local M <const> = {}

local USAGE <const> = [[
usage: lunalift vib build --output FILE

Makes the VIB vmkfstools-wrapper, which brings the wrapper and its esxcli extension to an ESXi host. The same version gives the same bytes;
SOURCE_DATE_EPOCH sets the date in it.

]]

local COMMON <const> = {
  { name = "scripts", help = "folder laid over the built-in scripts, file by file" },
  { name = "v", help = "log for debugging, to standard error", type = "level" },
  { name = "help", help = "this text", type = "bool" },
}

local function build(values)
  local path <const> = values.output
  if (path or "") == "" then
    error(
      fail.hint(
        fail.new("config", "missing value for --output"),
        "give the file to write: --output vmkfstools-wrapper.vib"
      )
    )
  end
  local bytes <const> = vib.build()
  local made <const> = vib.read(bytes, path)
  local done <const>, why <const> = files.write(path, bytes)
  fail.assert(done, why, "the VIB cannot be written")
  console.out(
    ("%s: %s %s of %s, %d bytes, sha256 %s\n"):format(path, vib.NAME, made.version, made.vendor, #bytes, made.sha256)
  )
  return 0
end

local VERBS <const> = {
  build = { run = build, flags = { { name = "output", help = "file to write" } } },
}

local function verb_of(name)
  if VERBS[name] then return VERBS[name] end
  local names <const> = {}
  for each in pairs(VERBS) do
    names[#names + 1] = each
  end
  local what <const> = name and ("vib has no verb '%s'"):format(name) or "vib needs a verb"
  error(fail.hint(fail.new("config", "%s", what), words.suggestion(name or "", names, "see lunalift help vib")))
end

---@param args string[]
---@return integer exit_code
function M.run(args)
  local name = args[1]
  if name == "--help" then
    console.out(USAGE .. flags.help(VERBS.build.flags) .. "\n" .. flags.help(COMMON) .. "\n")
    return 0
  end
  local verb <const> = verb_of(name)
  return verb.run(flags.parse(table.move(args, 2, #args, 1, {}), verb.flags))
end

return M
