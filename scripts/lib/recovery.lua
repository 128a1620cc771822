--- What a run does about one on the same claim that died before it: adopt its clone, or put back what it left. See docs/journal.md.
local array_copies <const> = require "lib.array_copies"
local copies <const> = require "lib.copies"
local dead_runs <const> = require "lib.dead_runs"
local fail <const> = require "lib.fail"
local form <const> = require "lib.journal_form"
local journals <const> = require "lib.journals"
local log <const> = require "lunalift.log"

local M <const> = {}

local DISKS <const> = "/vmfs/devices/disks/"
local USABLE <const> = { on = true, degraded = true }

--- What a run is about; all plain text, for the journal.
---@class lib.Subject
---@field claim string uid
---@field claim_name string
---@field vm string
---@field vmdk string
---@field lun string
---@field by "array"|"host" who copies
---@field naa? string once it is known
---@field host string
---@field array string
---@field vcenter string

local MUST_AGREE <const> = { "claim", "vm", "vmdk", "lun", "by", "host", "array", "vcenter" }

--- A clone, or an array's copy, to go on with.
---@class lib.Earlier
---@field task_id string
---@field naa? string
---@field copy? lib.ArrayCopy in place of a clone

-- ---- is the earlier run's clone the one that we would start? ----

local function is_same(a, b)
  if not a then return false, "it does not say what it was about" end
  for _, key in ipairs(MUST_AGREE) do
    if a[key] ~= b[key] then return false, ("another %s: %s"):format(key, tostring(a[key])) end
  end
  if a.naa and b.naa and a.naa ~= b.naa then return false, "another device: " .. a.naa end
  return true
end

-- Is it ours to go on with?
local function is_fit(clones, source, device, task_id)
  if clones:offers "taskList" then
    local task <const> = clones:find(task_id)
    if not task then return false, "its clone was never started, or is forgotten" end
    if task.target ~= device or task.source ~= source then return false, "its clone is of other ends" end
    if task.state ~= "running" and task.state ~= "done" then return false, "its clone has " .. task.state end
    return true
  end
  local state <const> = clones:poll(task_id) -- upstream's wrapper: what it was started with is in the journal only
  if not state.running and state.exit_code ~= 0 then return false, "its clone has failed" end
  return true
end

local function adoptable_clone(job, entries, subject)
  local stop <const> = form.promise_of(entries, "clone.stop")
  if not stop then return nil, "no clone was begun" end
  if not stop.args.task_id then return nil, "its clone's id was never learnt" end
  local naa <const> = stop.args.device:match("^" .. DISKS .. "(.+)$")
  local fits <const> = naa and naa == (subject.naa or naa) and stop.args.host.id == subject.host
  if not fits then return nil, "its promises do not fit together" end
  local host <const> = job.site:vcenter():host_again(stop.args.host)
  local is_ours <const>, why_not <const> =
    is_fit(host:wrapper(), job.request.vmdk.on_host, stop.args.device, stop.args.task_id)
  if not is_ours then return nil, why_not end
  local device <const> = host:device(naa)
  if not device or not USABLE[device.Status] then return nil, ("%s is not on any more"):format(naa) end
  return { task_id = stop.args.task_id, naa = naa }
end

local function adoptable_copy(job, copy, subject)
  if copy.target.id ~= subject.lun then return nil, "its promises do not fit together" end
  local is_alive <const>, why_not <const> = array_copies.is_alive(job, job.site:array(), copy)
  if not is_alive then return nil, why_not end
  return { task_id = copy.id, copy = copy }
end

---@return lib.Earlier?
---@return string? why_not
local function adoptable(job, ledger, subject)
  local same <const>, difference <const> = is_same(ledger.subject, subject)
  if not same then return nil, difference end
  local copy <const> = form.promise_of(ledger.promises, "array.copy_stop")
  if copy then return adoptable_copy(job, copy.args, subject) end
  return adoptable_clone(job, ledger.promises, subject)
end

-- ---- putting back ----

local function put_back(job, subject)
  local left <const> = job.ledger:settle(job)
  if #left > 0 then
    local why <const> = fail.new("incomplete", "what an earlier run left cannot be put back: %s", left[1].promise.about)
    why.cause = left[1].why
    error(fail.hint(why, left[1].why.hint or "start again when that can be done; lunalift reap shows what is left"))
  end
  local undone <const> = job.ledger:renew(subject)
  return #undone > 0 and table.concat(undone, ", ") or "nothing was there"
end

-- All was done and proved, but not all put back yet.
local function finish(job, subject)
  local ledger <const> = job.ledger
  local task_id <const>, done <const> = ledger.task_id, ledger.achieved
  job:found("its copy is done and proved; put back: %s", put_back(job, subject))
  ledger.task_id = task_id
  return done
end

--- Hold the claim's journal: from now on nobody else works on it, and a dead run's promises are this one's to keep, however it ends.
---@param job lib.Job
---@param volume lib.Volume
---@return string what was left, for people
function M.hold(job, volume)
  if job.dry_run then return "not looked for, a dry run holds no journal" end
  local ledger <const> = job.ledger
  ledger.journal = journals.of(job, volume)
  local left <const> = ledger.journal:read()
  if not left or (#left.entries == 0 and not left.done) then return "nothing" end
  ledger:take_over(left)
  return ("%d to put back"):format(#left.entries) .. (left.done and ", the copy is done" or "")
end

--- Go on from what was held: a copy that is proved is not made again (its facts are returned), a clone that can be gone on with becomes
--- this copy's, with its promises. Whatever else was left is put back first. Raises incomplete when that cannot be done.
---@param job lib.Job
---@param copy lib.Copy
---@return table? done
function M.go_on(job, copy)
  if job.dry_run then return job:found "nothing" end
  local subject <const>, ledger <const> = copies.subject(copy), job.ledger
  dead_runs.settle_others(job, copy.found.volume.claim, subject)
  if not ledger.is_inherited then
    ledger.subject = subject
    return job:found "nothing"
  end
  if ledger.achieved and is_same(ledger.subject, subject) then return finish(job, subject) end
  ledger.achieved = nil
  local earlier <const>, why_not <const> = adoptable(job, ledger, subject)
  if not earlier then
    log.info("not adopted", { journal = ledger.journal.where, why = why_not })
    return job:found("put back, since %s: %s", why_not, put_back(job, subject))
  end
  ledger:adopt(subject)
  copy:go_on(earlier)
  job:found("clone %s goes on", earlier.task_id)
end

return M
