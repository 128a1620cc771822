--- The end of a copy: what came of it, and what is said of that.
local fail <const> = require "lib.fail"
local log <const> = require "lunalift.log"
local timer <const> = require "lunalift.timer"

local M <const> = {}

---@class lib.Ending
---@field ok boolean done, and nothing left behind
---@field seconds number
---@field text? string of one that is done
---@field why? Fail
---@field left string[] for people
---@field receipt? string where it is

--- What could not be put back, and why, for people.
---@param item { promise: lib.Promise, why: Fail }
---@return string
function M.text_left(item) return ("%s: %s"):format(item.promise.about, fail.text(item.why)) end

local function describe_left(left)
  local lines <const> = {}
  for _, item in ipairs(left) do
    lines[#lines + 1] = M.text_left(item)
    if item.why.hint and #lines == 1 then lines[1] = lines[1] .. " (" .. item.why.hint .. ")" end
  end
  return lines
end

-- Only a flow that was changed can end so.
local function undone_flow()
  local why <const> = fail.new("failed", "the flow ended without job:done: nothing says that the volume holds the disk")
  return fail.hint(
    why,
    "let the flow of --scripts call job:done when the copy is proved, or return earlier with a failure"
  )
end

--- What is said of it at its end.
---@param job lib.Job
---@param why? Fail
---@param left { promise: lib.Promise, why: Fail }[]
---@return lib.Ending
function M.of(job, why, left)
  local seconds <const> = timer.now() - job.started_s
  local ending <const> = { ok = not why and #left == 0, seconds = seconds, left = describe_left(left) }
  if #left > 0 and not why then
    ending.why = fail.new("incomplete", "the copy is done, but not everything could be put back")
  else
    ending.why = why
  end
  if why and #left == 0 and job.effects > 0 and not job.dry_run then
    ending.left = { "nothing: all that was changed is put back" }
  end
  if job.dry_run and ending.ok then
    ending.text = ("dry run: %d effects, then their undo; nothing was changed"):format(job.effects)
  elseif ending.ok then
    local work_s <const> = (job.facts.copy_seconds or 0) + (job.facts.proof_seconds or 0)
    ending.text = ("done in %.1f s"):format(seconds)
    if work_s <= seconds then -- else an earlier run did some of it
      ending.text = ending.text .. (", %.1f s of it overhead"):format(seconds - work_s)
    end
  end
  return ending
end

--- Run the flow of a copy to its end: it is done only when the flow says so.
---@param job lib.Job
---@param flow fun(job: lib.Job)
---@return Fail? why
---@return { promise: lib.Promise, why: Fail }[] left
function M.run(job, flow)
  local why, left <const> = job:run(flow)
  why = why or not job.is_done and not job.dry_run and undone_flow() or nil
  if why and why.traceback and why.kind == "bug" then log.error(why.traceback) end
  return why, left
end

return M
