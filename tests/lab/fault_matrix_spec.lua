local fail <const> = require "lib.fail"
local matrix <const> = require "support.matrix"

-- What strikes reads and effects alike; `_after`: when it was done already, which makes no difference for a read.
local ANY <const> =
  { "reset", "hang:3600", "status:401", "status:429", "status:500", "status:503", "truncate", "garbage", "drip:5" }
local EFFECTS <const> = { "reset_after", "hang_after:3600", "status_after:500", "status_after:502" }
local VCENTER <const> = { "fault:NotAuthenticated", "fault:SystemError" }
-- Of a connection that is dropped, of a host that breaks, and of a shell that says something else.
local SSH <const> = { "reset", "truncate", "garbage" }
local SSH_EFFECTS <const> = { "reset_after" }

-- What a flow may end by, although it struck only once: who refuses a password, or says that it failed, means it.
local FINAL <const> = { ["status:401"] = true, ["status:500"] = true, ["status_after:500"] = true }

local NEEDS_NO_LOGIN <const> = { GET = true, RetrieveServiceContent = true, Login = true, Logout = true }

local function add(cases, entry, actions, may_leave)
  for _, action in ipairs(actions) do
    local rule <const> = {
      service = entry.service,
      match = { method = entry.method, target = entry.target, path = not entry.target and entry.pattern or nil },
      after = entry.nth - 1,
      action = action,
    }
    cases[#cases + 1] = { entry = entry, action = action, rule = rule, may_leave = may_leave }
  end
end

-- What is the same by vCenter is proved there.
local FILES <const> = { PUT = true, MoveDatastoreFile_Task = true }

local function cases_over_ssh(requests)
  local cases <const> = {}
  for _, entry in ipairs(requests) do
    local is_ssh <const> = entry.service == "ssh"
    if is_ssh or FILES[entry.method] then add(cases, entry, is_ssh and SSH or ANY) end
    if (is_ssh or FILES[entry.method]) and entry.effect then add(cases, entry, is_ssh and SSH_EFFECTS or EFFECTS) end
  end
  return cases
end

local function cases_over_vib(requests)
  local cases <const> = {}
  for _, entry in ipairs(requests) do
    add(cases, entry, ANY)
    if entry.effect then add(cases, entry, EFFECTS) end
    -- A login of whose answer nothing came is known to nobody: it ends by its idle time.
    if entry.method == "Login" then add(cases, entry, EFFECTS, "^left behind: session") end
    if entry.service == "vcenter" and not NEEDS_NO_LOGIN[entry.method] then add(cases, entry, VCENTER) end
  end
  -- Those that wait long stand together, so that they wait together.
  table.sort(cases, function(a, b)
    if a.action ~= b.action then return a.action < b.action end
    return a.entry.n < b.entry.n
  end)
  return cases
end

local CASES_OF <const> = { vib = cases_over_vib, ssh = cases_over_ssh }

local function prove(transport)
  local trace <const> = matrix.trace(transport)
  assert.is_nil(trace.why)
  assert.same({}, trace.problems)

  local counts <const>, never <const>, wrong <const> = {}, {}, {}
  local cases <const> = matrix.some(CASES_OF[transport](trace.requests), transport)
  matrix.each(cases, function(case, outcome)
    local why <const> = outcome.why
    local kind <const> = not outcome.struck and "not reached" or why and "failed: " .. why.kind or "done"
    local name <const> = ("%s (%d) %s"):format(case.entry.key, case.entry.nth, case.action)
    counts[kind] = (counts[kind] or 0) + 1
    local function count(what, holds) never[what] = (never[what] or 0) + (holds and 1 or 0) end
    count("false success", not why and not outcome.is_equal)
    count("double start of a writer", outcome.writers > 1)
    count("write outside of an effect", outcome.outside > 0)
    local function is_wrong(fmt, ...) wrong[#wrong + 1] = name .. ": " .. fmt:format(...) end
    if not outcome.struck then is_wrong "not reached" end
    for _, problem in ipairs(outcome.problems) do
      is_wrong("%s", problem)
    end
    if why and not FINAL[case.action] then is_wrong("%s: %s", why.kind, fail.text(why)) end
  end, transport)
  matrix.tell(("%s: %d requests, %d faults, %s"):format(transport, #trace.requests, #cases, matrix.seconds()), counts)
  matrix.tell("what must never be", never)
  assert(#wrong == 0, "\n" .. table.concat(wrong, "\n"))
  assert.same({ ["false success"] = 0, ["double start of a writer"] = 0, ["write outside of an effect"] = 0 }, never)
end

describe("one fault at each request of populate", function()
  for _, transport in ipairs(matrix.TRANSPORTS) do
    it(
      ("leaves nothing behind, and ends in success or in a clean failure, over %s"):format(transport),
      function() prove(transport) end
    )
  end
end)
