--- lunalift vib: the package of the ESXi side, made here, and brought to hosts.
local console <const> = require "lunalift.console"
local fail <const> = require "lib.fail"
local files <const> = require "lunalift.journal"
local flags <const> = require "lib.flags"
local vib <const> = require "lib.vib"
local vib_hosts <const> = require "cli.vib_hosts"
local words <const> = require "lib.words"

local M <const> = {}

local USAGE <const> = [[
usage: lunalift vib build --output FILE
usage: lunalift vib install --host H,… | --datastore NAME,… | --all [flags]
usage: lunalift vib status --host H,… | --datastore NAME,… | --all [flags]

build makes the VIB vmkfstools-wrapper, which brings the wrapper and its esxcli extension to an ESXi host. The same version gives the same
bytes; SOURCE_DATE_EPOCH sets the date in it. install brings it to hosts, over SSH and as root, and restarts hostd where that has not read
the extension; a host that has it, or a newer one, is left alone. status only looks.

]]

local AFTERWORD <const> = [[

exit codes: 0 done, or all hosts have it; 1 failed, or a host lacks it; 2 configuration; 3 worth another try; 4 cancelled
]]

local BUILD <const> = { { name = "output", help = "build: file to write; install, status: table or json" } }

local function build(args)
  local values <const>, rest <const> = flags.parse(args, BUILD)
  local path <const> = values.output or ""
  if path == "" or rest[1] then
    local why <const> =
      fail.new("config", rest[1] and ("'%s' is no flag"):format(rest[1]) or "missing value for --output")
    error(fail.hint(why, "give the file to write: --output vmkfstools-wrapper.vib"))
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

local VERBS <const> = { build = build, install = vib_hosts.install, status = vib_hosts.status }

local function verb_of(name)
  if VERBS[name] then return VERBS[name] end
  local what <const> = name and ("vib has no verb '%s'"):format(name) or "vib needs a verb"
  local verbs <const> = { "build", "install", "status" }
  local usage <const> = "see lunalift help vib"
  error(fail.hint(fail.new("config", "%s", what), name and words.suggestion(name, verbs, usage) or usage))
end

---@param args string[]
---@return integer exit_code
function M.run(args)
  for _, word in ipairs(args) do
    if word == "--help" or word == "-help" then
      console.out(USAGE .. flags.help(BUILD) .. "\n" .. flags.help(vib_hosts.FLAGS) .. "\n" .. AFTERWORD)
      return 0
    end
  end
  return verb_of(args[1])(table.move(args, 2, #args, 1, {}))
end

return M
