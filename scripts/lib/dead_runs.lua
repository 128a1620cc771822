--- Journals of runs that died, settled by another: for reap, or in passing by a run on another claim of the namespace. See docs/journal.md.
local array_copies <const> = require "lib.array_copies"
local fail <const> = require "lib.fail"
local form <const> = require "lib.journal_form"
local journal_lease <const> = require "lib.journal_lease"
local journals <const> = require "lib.journals"
local ledgers <const> = require "lib.ledger"
local log <const> = require "lunalift.log"

local M <const> = {}

local SILENT_S <const> = 60 -- for so long another's journal is left to its own next run

--- Settle a dead run's journal through this job's peers, and let it go. The job acts by that ledger meanwhile.
---@param job lib.Job
---@param journal lib.Journal
---@return { promise: lib.Promise, why: Fail }[] left
---@return string[] undone
function M.settle(job, journal)
  local own <const>, theirs <const> = job.ledger, ledgers.new { job = job.id, flow = job.name }
  theirs.journal = journal
  local _back <close> = setmetatable({}, {
    __close = function()
      job.ledger = own
      theirs:close(job)
    end,
  })
  local text <const> = journal:read()
  if not text then return {}, {} end
  theirs:take_over(text)
  job.ledger = theirs
  return theirs:settle(job), theirs.undone
end

-- Another's clone may still be wanted by that claim's next run, unless there is no such claim any more.
local function may_settle(job, item, claim, subject)
  if item.name == journal_lease.name(claim.uid) or not item.is_dead then return false end
  if item.holder ~= "" and (item.age_s or 0) < SILENT_S then return false end
  local text <const> = form.decode(item.lease.metadata.annotations[journal_lease.MARK], item.name)
  local about <const> = text.subject or {}
  if about.array ~= subject.array or about.vcenter ~= subject.vcenter then return false end
  if not item.has_claim then return true end
  local copy <const> = form.promise_of(text.entries, "array.copy_stop")
  if copy then return not array_copies.is_running(job, job.site:array(), copy.args) end
  local stop <const> = form.promise_of(text.entries, "clone.stop")
  if not stop then return true end
  local clones <const> = job.site:vcenter():host_again(stop.args.host):wrapper()
  if not clones:offers "taskList" then return false end
  local task <const> = stop.args.task_id and clones:find(stop.args.task_id)
  return not task or task.state ~= "running"
end

local function settle_other(job, item, claim, subject)
  if not may_settle(job, item, claim, subject) then return end
  local journal <const> = journal_lease.take(job, claim.namespace, item.lease)
  if not journal then return end
  local left <const> = M.settle(job, journal)
  log.info("settled for another", { journal = item.name, left = #left })
end

--- Settle the journals that dead runs left in the claim's namespace. None of it may stop this run.
---@param job lib.Job
---@param claim { namespace: string, uid: string }
---@param subject lib.Subject
function M.settle_others(job, claim, subject)
  if journals.home(job) ~= "lease" or job.request.journal_namespace then return end
  local listed <const>, items <const> = pcall(journal_lease.list, job, claim.namespace)
  if not listed then
    log.warn("journals of others not looked at", { why = fail.text(items) })
    return
  end
  for _, item in ipairs(items) do
    local ok <const>, why <const> = pcall(settle_other, job, item, claim, subject)
    if not ok then log.warn("not settled for another", { journal = item.name, why = fail.text(why) }) end
  end
end

return M
