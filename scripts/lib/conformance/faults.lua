--- What may go wrong between an array and us, each class at each request of each function of the contract, and what must come of it.
local fail <const> = require "lib.fail"
local judge <const> = require "lib.conformance.judge"
local retry <const> = require "lib.retry"
local trials <const> = require "lib.conformance.trial"

local M <const> = {}

local wrong <const>, text <const> = judge.wrong, judge.text

---@class lib.Fault
---@field key string as users write it
---@field action string of the rig
---@field title string
---@field passes? boolean the core must see that it may ask again
---@field renewed? boolean the function must succeed all the same
---@field of_jobs? boolean it strikes what the array goes on with, not a request
---@field disowns? boolean a session that lives may be taken for lost by it, and is nobody's then
---@field check? fun(why: Fail): string? what the failure lacks

local function denied(why) return why.kind ~= "denied" and "a failure of kind denied" or nil end

local function asked_to_wait(why) return not why.retry_after_s and "a failure with the array's Retry-After" or nil end

---@type lib.Fault[]
M.CLASSES = {
  { key = "401", action = "status:401", title = "401", check = denied, disowns = true },
  { key = "403", action = "status:403", title = "403", disowns = true },
  { key = "404", action = "status:404", title = "404" },
  { key = "409", action = "status:409", title = "409" },
  { key = "429", action = "status:429", title = "429 with Retry-After", passes = true, check = asked_to_wait },
  { key = "500", action = "status:500", title = "500", passes = true },
  { key = "503", action = "status:503", title = "503", passes = true },
  { key = "html", action = "html", title = "HTML instead of JSON", passes = true },
  { key = "html-after", action = "html_after", title = "HTML instead of JSON, after the act", passes = true },
  { key = "truncated", action = "truncate", title = "truncated", passes = true },
  { key = "garbage", action = "garbage", title = "garbage instead of JSON", passes = true },
  { key = "content-type", action = "type:text/plain", title = "wrong content type" },
  { key = "redirect", action = "redirect", title = "redirect to another host" },
  { key = "reset", action = "reset", title = "reset before the act", passes = true },
  { key = "reset-after", action = "reset_after", title = "reset after the act", passes = true },
  { key = "lost-session", action = "expire", title = "lost session", renewed = true },
  { key = "failed-job", action = "job", title = "its job ends badly", of_jobs = true },
}

-- The requests of one call ---------------------------------------------------------------------------------------------------------

local function requests_from(rig, mark)
  return rig.requests and table.move(rig.requests, mark + 1, #rig.requests, 1, {}) or {}
end

-- The one that was struck; and did the array do anything?
local function effects_of(rig, mark)
  local struck, changed
  for _, request in ipairs(requests_from(rig, mark)) do
    struck = struck or request.struck and request or nil
    changed = changed or request.changed
  end
  return struck, changed
end

local function check_never_twice(rig, mark)
  local done <const> = {}
  for _, request in ipairs(requests_from(rig, mark)) do
    if done[request.sent] and request.changed then
      local expected <const> = "an effect whose answer was lost is looked up: it may have been done"
      wrong(expected, "%s %s was sent again, and done twice", request.method, request.path)
    end
    done[request.sent] = done[request.sent] or request.changed
  end
end

local function check_never_sent_again(rig, mark)
  local lost
  for _, request in ipairs(requests_from(rig, mark)) do
    if lost and request.sent == lost then
      local expected <const> = "an effect whose answer was lost is no script's to repeat: the core looks first"
      wrong(expected, "%s %s was sent again at once", request.method, request.path)
    end
    lost = lost or request.struck and request.changed and request.sent or nil
  end
end

-- What a call came to --------------------------------------------------------------------------------------------------------------

local function check_failure(fault, is_effect, why)
  judge.check_clean(why)
  local may_ask_again <const> = retry.is_passing(why) or is_effect and (why.refused or why.unanswered)
  if fault.passes and not may_ask_again then
    wrong("a failure after which the core may ask again: busy, timeout, unreachable, protocol", "%s", text(why))
  end
  local lacks <const> = fault.check and fault.check(why)
  if lacks then wrong(lacks, "%s", text(why)) end
end

-- A refused step after one that was done is honest; of what came about in the end nobody may say that nothing was done.
local function check_marks(t, scene, s, mark, why)
  local struck <const>, changed <const> = effects_of(t.rig, mark)
  if not changed then return end
  if struck and struck.changed and not (why.unanswered or retry.is_passing(why)) then
    wrong("a failure marked unanswered: it was done", "%s", text(why))
  end
  local is_step <const> = struck and struck.effect and not struck.changed
  if why.refused and not is_step and scene.holds(t, s) then
    wrong("a failure that is not marked refused: it was done", "%s", text(why))
  end
end

local function check_results(t, scene, s, results, is_second)
  local says <const> = scene.check(t, s, table.unpack(results, 1, results.n))
    or not is_second and scene.first and scene.first(results[1])
  if says then wrong("a true result", "%s", says) end
  if scene.holds then
    if scene.took then scene.took(s, results[1]) end
    if not scene.holds(t, s) then wrong("what it says is done is done", "it says done, and it was not") end
  elseif t.rig.strike and not (scene.may_lack and judge.within or judge.same)(results[1], s.truth) then
    wrong("the same answer as without the fault", "it was answered, and the answer is another")
  end
end

local function failure_of(results) return results[1] == nil and results[2] or nil end

-- The core's second try, when the fault has passed.
local function again(t, scene, s)
  local results <const> = table.pack(t:ask(scene.name, scene.args(t, s)))
  local why <const> = failure_of(results)
  if not why then return check_results(t, scene, s, results, true) end
  local is_done <const> = scene.is_done and scene.is_done(t, s, why)
  if not is_done then wrong("called again, with nothing in the way, it succeeds", "%s", text(why)) end
end

-- The scene of a function; of what is no effect with its true answer.
local function set(t, scene)
  local s <const>, rig <const> = scene.prepare(t), t.rig
  if scene.holds then return s end
  rig.mark = rig.requests and #rig.requests
  s.truth = (t:sure(scene.name, scene.args(t, s)))
  local _, changed <const> = effects_of(rig, rig.mark)
  if changed then wrong("a question changes nothing on the array", "it has changed something") end
  return s
end

--- One function with nothing in the way.
---@param t lib.Trial
---@param scene lib.Scene
---@return integer count of its requests
function M.undisturbed(t, scene)
  local s <const>, rig <const> = set(t, scene), t.rig
  rig.mark = rig.requests and #rig.requests or 0
  local results <const> = table.pack(t:sure(scene.name, scene.args(t, s)))
  local count <const> = rig.requests and #rig.requests - rig.mark or 0
  check_results(t, scene, s, results)
  return count
end

local function strike(rig, fault, k)
  local action <const> = fault.action == "redirect" and "redirect:" .. rig.elsewhere or fault.action
  rig:strike { action = action, after = k - 1, times = 1 }
end

local function check_elsewhere(rig, visits)
  if rig.visits > visits then wrong("no other host is asked than the user named", "it followed the redirect") end
end

--- One function while a fault strikes the k-th of its requests, and once more when it has passed.
---@param t lib.Trial
---@param scene lib.Scene
---@param fault lib.Fault
---@param k integer
function M.call(t, scene, fault, k)
  local rig <const> = t.rig
  local s <const>, visits <const> = set(t, scene), rig.visits
  local mark <const> = #rig.requests
  rig.mark = mark
  strike(rig, fault, k)
  local results <const> = table.pack(t:ask(scene.name, scene.args(t, s)))
  rig:strike()
  check_elsewhere(rig, visits)
  local why <const> = failure_of(results)
  if scene.holds then check_never_sent_again(rig, mark) end
  if why then
    if fault.renewed then wrong("a new login, and the answer", "%s", text(why)) end
    check_failure(fault, scene.holds ~= nil, why)
    if scene.holds then check_marks(t, scene, s, mark, why) end
  else
    check_results(t, scene, s, results)
  end
  if why or scene.holds then again(t, scene, s) end
  if scene.holds and not fault.of_jobs then check_never_twice(rig, mark) end
end

-- Login and logout -----------------------------------------------------------------------------------------------------------------

local function check_logged_out(rig, sessions)
  if sessions and rig:sessions() > sessions then
    wrong("whoever could log in logs out: arrays have few sessions", "a session is left open")
  end
end

--- Login and logout with nothing in the way.
---@param rig lib.Rig
---@return integer count of requests
---@return table<integer, boolean> is_session at which of them a session began or ended
function M.login(rig)
  local before <const>, sessions <const>, is_session <const> = #rig.requests, rig:sessions(), {}
  trials.open(rig):close()
  check_logged_out(rig, sessions)
  for i = before + 1, #rig.requests do
    is_session[i - before] = rig.requests[i].turned
  end
  return #rig.requests - before, is_session
end

--- Login and logout while a fault strikes the k-th of their requests.
---@param rig lib.Rig
---@param fault lib.Fault
---@param k integer
---@param is_session table<integer, boolean> where a session may be lost that nobody can end
function M.open(rig, fault, k, is_session)
  local visits <const>, sessions <const> = rig.visits, rig:sessions()
  rig.mark = #rig.requests
  strike(rig, fault, k)
  local ok <const>, opened <const> = pcall(trials.open, rig)
  if ok then opened:close() end
  rig:strike()
  check_elsewhere(rig, visits)
  if not ok then
    judge.check_secrets(rig.secrets, opened)
    check_failure(fault, false, fail.of(opened))
  end
  if not fault.disowns and not is_session[k] then check_logged_out(rig, sessions) end
  trials.open(rig):close()
end

return M
