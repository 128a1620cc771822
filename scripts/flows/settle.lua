--- Put back what a run on a claim left that nobody goes on with: the claim is being deleted.
local dead_runs <const> = require "lib.dead_runs"
local fail <const> = require "lib.fail"
local journals <const> = require "lib.journals"

---@param job lib.Job
return function(job)
  local request <const> = job.request

  job:step "hold the claim's journal"
  local claim <const> = { namespace = request.namespace, name = request.claim, uid = request.claim_uid }
  local journal <const> = journals.of(job, { claim = claim })
  job:found(journal.where)

  job:step "put back what was promised"
  local left <const>, undone <const> = dead_runs.settle(job, journal)
  job:found(#undone > 0 and table.concat(undone, ", ") or "nothing was there")
  if #left > 0 then error(fail.wrap(left[1].why, "cannot be put back: %s", left[1].promise.about)) end
end
