--- lunalift vendor record and replay: a session with an array in one readable file, without its secrets, and the same session once more
--- without the array.
local arrays <const> = require "lib.arrays"
local console <const> = require "lunalift.console"
local fail <const> = require "lib.fail"
local flags <const> = require "lib.flags"
local fs <const> = require "lunalift.fs"
local json <const> = require "lunalift.json"
local redact <const> = require "lib.redact"
local script <const> = require "lunalift.script"
local timer <const> = require "lunalift.timer"
local vendor_call <const> = require "cli.vendor_call"

local M <const> = {}

local FORMAT <const> = 1
local ABOUT <const> =
  "a session with a storage array, without its secrets; lunalift vendor replay FILE holds it once more, without the array"

local USAGE <const> = [[
usage: lunalift vendor record NAME --output FILE [flags] -- FUNCTION [JSON]… [-- FUNCTION [JSON]…]…

Logs in to the array of the environment, makes these calls, logs out, and writes to FILE all that was asked and answered. For a JSON,
@2 is what the second call returned, @2.1 the first item of that list:
  -- lun_of '{"name":"pvc-1","handle":"…",…}' -- hosts_of '[…]' '"xcopy-1"' -- map @1 @2.1 -- unmap @1 @2.1
Passwords, tokens and cookies are left out; names, addresses and serial numbers are not: look through it before you hand it on.

]]

local OUTPUT <const> = { name = "output", help = "file to write; mandatory" }

local function refuse(hint, fmt, ...) fail.advise("config", hint, fmt, ...) end

-- ---- record ----

local function split(words)
  local calls <const> = { {} }
  for _, word in ipairs(words) do
    if word == "--" then
      calls[#calls + 1] = {}
    else
      table.insert(calls[#calls], word)
    end
  end
  return calls
end

-- The words of a call, with `value_of(n, i)` as JSON in place of @n.i.
local function filled(words, value_of)
  local texts <const> = {}
  for i, word in ipairs(words) do
    local number <const>, item <const> = word:match "^@(%d+)%.?(%d*)$"
    texts[i] = number and json.encode(value_of(tonumber(number), tonumber(item))) or word
  end
  return texts
end

-- Before anything is opened.
local function check(calls, is_sure)
  for i, words in ipairs(calls) do
    if not words[1] then refuse("lunalift vendor record --help", "there is nothing after a --") end
    local function any_value(number)
      if number >= 1 and number < i then return {} end
      refuse("@1 is what the first call returned", "call %d, %s: there is no call %d before it", i, words[1], number)
    end
    vendor_call.read(filled(words, any_value), is_sure)
  end
end

local function result_of(results, number, item)
  local value = results[number]
  if item then value = type(value) == "table" and value[item] or nil end
  if value ~= nil then return value end
  local where <const> = item and ("@%d.%d"):format(number, item) or "@" .. number
  refuse("see what the calls before it returned", "nothing was returned at %s", where)
end

local function line_of(i, name, results)
  console.out(redact.value(("%d  %-12s %s\n"):format(i, name, json.encode(results))))
end

-- What fails belongs to the session, too.
local function make(array, calls)
  local results <const> = {}
  for i, words in ipairs(calls) do
    local texts <const> = filled(words, function(...) return result_of(results, ...) end)
    local of <const>, values <const> = vendor_call.read(texts, true)
    local returned <const> = table.pack(pcall(vendor_call.ask, array, of, values))
    if returned[1] then
      local list <const> = table.move(returned, 2, returned.n, 1, {})
      results[i] = #list > 1 and list or list[1]
      line_of(i, of.name, results[i] == nil and json.null or results[i])
    else
      line_of(i, of.name, fail.text(fail.of(returned[2])))
    end
  end
end

local function plural(number, what) return ("%d %s%s"):format(number, what, number == 1 and "" or "s") end

local function count(session)
  local requests = 0
  for _, call in ipairs(session) do
    requests = requests + #call.requests
  end
  return plural(#session, "call") .. ", " .. plural(requests, "request")
end

local function write(path, vendor, text)
  local session <const> = assert(json.decode(text))
  for _, call in ipairs(session) do -- lists, also where they are empty
    json.array(call.given)
    json.array(call.requests)
  end
  local record <const> = {
    about = ABOUT,
    format = FORMAT,
    program = require("cli.main").VERSION,
    recorded = timer.iso(),
    script = { sha256 = assert(script.find("vendors." .. vendor)).sha256 },
    session = session,
    vendor = vendor,
  }
  assert(fs.write(path, json.encode(record, { indent = true }) .. "\n"))
  console.out(("%s: %s\n"):format(path, count(session)))
end

---@param args string[]
---@return integer exit_code
function M.record(args)
  local known <const> =
    table.move(vendor_call.array_flags(), 1, #vendor_call.array_flags(), 3, { OUTPUT, vendor_call.SURE })
  local values <const>, rest <const> = flags.parse(args, known)
  if values.help then
    console.out(USAGE .. flags.help(known) .. "\n")
    return 0
  end
  local vendor <const> = table.remove(rest, 1)
  if not rest[1] then refuse(USAGE:match "[^\n]+", "vendor record needs a vendor, and calls after a --") end
  if not values.output then refuse(USAGE:match "[^\n]+", "--output is missing") end
  if fs.stat(values.output) then refuse("take another name", "%s is there already", values.output) end
  local calls <const> = split(rest)
  check(calls, values.yes)
  local job <const> = vendor_call.array_job(vendor, values)
  local kept
  local function keep(...) kept = table.pack(...) end
  local why <const> = job:run(function()
    local login <const> = arrays.login(job, vendor, job.site.conf.array, keep)
    job.site:closing { close = function() login:close() end }
    make(arrays.of(job, login), calls)
  end)
  if kept then write(values.output, vendor, assert(table.unpack(kept))) end
  if why then error(why) end
  return 0
end

-- ---- replay ----

local function read(path)
  local record <const> = json.decode((assert(fs.read(path))))
  if type(record) ~= "table" or type(record.session) ~= "table" then
    refuse("give a file that lunalift vendor record wrote", "%s is no recorded session", path)
  elseif record.format ~= FORMAT then
    refuse("take a newer lunalift", "%s is of format %s, which is not known here", path, record.format)
  end
  return record
end

---@param path string
---@return integer exit_code
function M.replay(path)
  local record <const> = read(path)
  local file <const> = assert(script.find("vendors." .. arrays.check_name(record.vendor)))
  local difference <const> = arrays.replay(record.vendor, record.session)
  if not difference then
    console.out(("%s: %s, all as recorded\n"):format(path, count(record.session)))
    return 0
  end
  local is_changed <const> = file.sha256 ~= record.script.sha256
  console.out(("%s: %s\n"):format(path, difference))
  console.out(("  script    %s%s\n"):format(file.path, is_changed and ", which has changed since" or ""))
  return 1
end

return M
