--- A job: steps that people read, effects that are numbered, promises that undo them whatever happens.
local codec <const> = require "lunalift.codec"
local crash <const> = require "lunalift.crash"
local fail <const> = require "lib.fail"
local log <const> = require "lunalift.log"
local retry <const> = require "lib.retry"
local task <const> = require "lunalift.task"
local timer <const> = require "lunalift.timer"

local M <const> = {}

local REFUSED_PAUSE_S <const> = 1
local CLOSE_WITHIN_S <const> = 45
local CLOSE_IN_HASTE_S <const> = 3
local NOTE_WITHIN_S <const> = 60

---@class lib.Promise
---@field n integer order
---@field undo string name in lib.undo
---@field args table plain data: what another process needs to undo it
---@field about string for people: "LUN x mapped to y"

---@class lib.Job
---@field name string of the flow
---@field id string
---@field task_id string of the clone, chosen before anything is started; that of an earlier run when it is adopted
---@field new_task_id string
---@field request table what the user asked for: flags and what was made of them
---@field site lib.Site opens array, vCenter and Kubernetes once, on demand
---@field report lib.Report
---@field journal lib.Journal? where promises are kept; set by the flow once it knows the volume
---@field subject lib.Subject? what the run is about, for the journal
---@field dry_run boolean
---@field promises lib.Promise[] open ones, oldest first
---@field facts table what the flow found, for the result and the receipt
---@field achieved? table facts of what is done and proved
---@field percent integer 0 … 100, the most that was copied so far
---@field latest? lib.Progress
---@field settle_by_s? number when settling ends, done or not
---@field undone string[] what settling put back, for people
local Job <const> = {}
Job.__index = Job

---@param options { name: string, request: table, site: lib.Site, report: lib.Report, dry_run: boolean? }
---@return lib.Job
function M.new(options)
  local task_id <const> = codec.uuid()
  local job <const> = setmetatable({
    name = options.name,
    id = codec.uuid(),
    task_id = task_id,
    new_task_id = task_id,
    request = options.request,
    site = options.site,
    report = options.report,
    dry_run = options.dry_run or false,
    promises = {},
    facts = {},
    undone = {},
    effects = 0,
    percent = 0,
    steps = {},
    started_s = timer.now(),
    started = timer.iso(),
  }, Job)
  job.site.job = job
  return job
end

-- ---- steps ----

-- A flow need not begin with a step.
local function step_of(self) return self.current or { title = self.name } end

---@param title string as the runbook says it
function Job:step(title)
  task.check()
  self:end_step "done"
  self.current = { title = title, began_s = timer.now(), found = "" }
  self.report:step_begin(self.current)
end

--- What the step found, in the user's names; it ends the step's line.
---@param fmt string
function Job:found(fmt, ...)
  local is_stand_in <const> = self.dry_run and self.effects > 0 -- nothing was made that anything could be found of
  self.current.found = is_stand_in and "dry run" or select("#", ...) == 0 and fmt or fmt:format(...)
end

--- Facts for the result and the receipt, by name.
---@param facts table<string, any>
function Job:note(facts)
  for name, value in pairs(facts) do
    self.facts[name] = value
  end
end

---@param status "done"|"failed"
function Job:end_step(status)
  local step <const> = self.current
  if not step then return end
  step.status, step.seconds = status, timer.now() - step.began_s
  self.steps[#self.steps + 1] = step
  self.report:step_end(step)
  self.current = nil
end

---@param progress lib.Progress
function Job:progress(progress)
  self.latest, self.percent = progress, math.max(self.percent, progress.percent)
  self.report:progress(step_of(self), progress)
end

--- A clone's progress with bytes, rate and time left.
---@param progress lib.CloneProgress
---@param total_bytes integer
---@param began_s number
---@return lib.Progress
function Job:pace(progress, total_bytes, began_s)
  local elapsed_s <const> = timer.now() - began_s
  local bytes <const> = total_bytes * progress.percent // 100
  local rate <const> = elapsed_s > 0 and bytes / elapsed_s or 0
  return {
    percent = progress.percent,
    bytes = bytes,
    total_bytes = total_bytes,
    rate = rate,
    eta_s = rate > 0 and (total_bytes - bytes) / rate or nil,
    offloaded = progress.offloaded,
  }
end

---@param fmt string what nothing moves for
function Job:waiting(fmt, ...) self.report:waiting(step_of(self), fmt:format(...)) end

--- What may go wrong for a reason that is known already.
function Job:warn(fmt, ...) self.report:warning(fmt:format(...)) end

-- ---- effects ----

--- One change of the outside world. `act` returns a value, or nil and the failure. One that was refused before anything was done is sent
--- again, as an effect of a new number. After any other failure that may pass (no answer, or one that tells nothing) it is looked up with
--- `look`, which returns the value if it did happen, and nil if it did not or if a repetition does no harm: then it is sent again, too.
---@generic T
---@param name string "array.map"
---@param target string for people
---@param act fun(): T?, Fail?
---@param options? { standin: T?, look: (fun(): T?)? } standin is the result of a dry run
---@return T
function Job:effect(name, target, act, options)
  options = options or {}
  local patience <const> = retry.patience(self.request.patience_s, { pause_s = REFUSED_PAUSE_S, effect = true })
  while true do
    self.effects = self.effects + 1
    self.report:effect { number = self.effects, name = name, target = target, dry = self.dry_run }
    log.debug("effect", { number = self.effects, name = name, target = target, dry_run = self.dry_run })
    if self.dry_run then return options.standin end
    if self.journal then self.journal:fence() end
    crash.point("before", self.effects)
    local value, why = act()
    crash.point("after", self.effects)
    if value ~= nil then return value end
    if not why then fail.raise("bug", "%s returned nothing", name) end
    if not why.refused then
      if not options.look or not (why.unanswered or retry.is_passing(why)) then error(why) end
      value = options.look()
      if value ~= nil then return value end
    end
    if not patience:wait(name, why) then error(why) end
  end
end

--- A question that may be asked again while the failure may pass.
---@generic T
---@param what string
---@param ask fun(): T?, Fail?
---@param within_s? number
---@return T
function Job:read(what, ask, within_s)
  local value <const>, why <const> = retry.read(what, within_s or self.request.patience_s, ask)
  if value == nil and why then error(why) end
  return value
end

-- ---- promises ----

-- lib.undo knows hosts and arrays, which know jobs.
local function undo_of(name) return require("lib.undo")[name] or fail.raise("bug", "nobody knows how to undo %s", name) end

function Job:save()
  if self.dry_run or not self.journal then return end
  self.has_journalled = true
  self.journal:write {
    job = self.id,
    flow = self.name,
    task = self.task_id,
    subject = self.subject,
    done = self.achieved,
    entries = self.promises,
  }
end

--- Promise to undo what is about to be done. Journalled before this returns; settled by the runner, in reverse order, after any end.
---@param undo string a name of lib.undo
---@param args table plain data
---@param about string for people, should it stay behind
---@return lib.Promise
function Job:promise(undo, args, about)
  undo_of(undo)
  local last <const> = self.promises[#self.promises]
  local promise <const> = { n = last and last.n + 1 or 1, undo = undo, args = args, about = about }
  self.promises[#self.promises + 1] = promise
  local saved <const>, why <const> = pcall(self.save, self)
  if not saved then
    table.remove(self.promises) -- what it would undo is not done
    error(why)
  end
  return promise
end

--- Nothing was made after all, or what was made has ended: there is nothing to undo.
---@param promise lib.Promise
function Job:withdraw(promise)
  for i, open in ipairs(self.promises) do
    if open == promise then
      table.remove(self.promises, i)
      self:save()
      return
    end
  end
end

--- The promise's arguments became better known.
---@param promise lib.Promise
---@param args table
function Job:amend(promise, args)
  for key, value in pairs(args) do
    promise.args[key] = value
  end
  self:save()
end

--- The promises of a dead run are ours from now on.
---@param journal lib.JournalText
function Job:take_over(journal)
  self.promises, self.has_journalled = journal.entries, true
  self.subject, self.task_id, self.achieved = journal.subject, journal.task, journal.done
end

-- What may take that long when nobody presses.
local function time_for(self, within_s)
  if not self.settle_by_s then return within_s end
  return math.max(0.001, math.min(within_s, self.settle_by_s - timer.now()))
end

-- Undos are idempotent, so that whatever kept one from its end, it is tried anew.
local function keep_promise(self, promise, undo, within_s)
  local patience <const> = retry.patience(within_s / 2, { stubborn = true }) -- the rest is the last try's
  while true do
    local kept <const>, why <const> = pcall(undo.run, self, promise.args)
    if kept then return end
    if fail.of(why).kind == "bug" or not patience:wait("undo " .. promise.undo, why) then error(why) end
  end
end

-- Who lost the journal settles nothing: the promises are another's now. What a later version promised is kept, with all before it.
local function settle_one(self, promise)
  local may <const>, lost <const> = pcall(function()
    if self.journal then self.journal:fence() end
  end)
  if not may then return fail.of(lost), true end
  local known <const>, undo <const> = pcall(undo_of, promise.undo)
  if not known then return fail.of(undo), true end
  local within_s <const> = time_for(self, undo.within_s)
  local child <const> = task.shield(within_s, keep_promise, self, promise, undo, within_s)
  local _, why <const> = child:join()
  return why, undo.barrier, undo.cosmetic
end

-- A journal that lists too much is harmless, since undos are idempotent; settling must go on.
local function note(self, what, keep, ...)
  local _, why <const> = task.shield(time_for(self, NOTE_WITHIN_S), keep, ...):join()
  if why then log.warn("journal not written", { what = what, why = fail.text(why) }) end
end

--- What the flow is for is done and proved: should the process die from here on, the next run settles and does it no second time.
---@param names string[] of the facts that tell of it; plain data
function Job:done(names)
  self.achieved = {}
  for _, name in ipairs(names) do
    self.achieved[name] = self.facts[name]
  end
  note(self, "done", self.save, self)
end

-- Only files on a host stay behind: said, kept in the journal for the next run or reap, and no reason to call a copy unfinished.
local function tell_cosmetic(self, promise, why) self:warn("left behind: %s: %s", promise.about, fail.text(why)) end

--- Undo what is promised, last first. What cannot be undone stays in the journal; a barrier (a writer that may live) keeps all before it.
---@return { promise: lib.Promise, why: Fail }[] left
function Job:settle()
  local left <const> = {}
  for i = #self.promises, 1, -1 do
    local promise <const> = self.promises[i]
    local why <const>, barrier <const>, cosmetic <const> = settle_one(self, promise)
    if not why then
      note(self, promise.about, self.withdraw, self, promise)
    elseif cosmetic then
      tell_cosmetic(self, promise, why)
    else
      log.warn("not undone", { undo = promise.undo, about = promise.about, why = fail.text(why) })
      left[#left + 1] = { promise = promise, why = why }
      if barrier then
        for j = i - 1, 1, -1 do
          left[#left + 1] = { promise = self.promises[j], why = why }
        end
        break
      end
    end
  end
  if #self.promises == 0 and self.has_journalled then -- else what is there is another run's
    note(self, "nothing is left", self.journal.clear, self.journal)
  elseif #left == 0 and self.achieved then -- only files are left and the run ends well: the next start is a wish of its own
    self.achieved = nil
    note(self, "only files are left", self.save, self)
  end
  return left
end

-- ---- running ----

local function settle_and_close(self)
  if self.dry_run then return {} end
  if #self.promises > 0 then self:step "leave nothing behind" end
  local left <const> = self:settle()
  local undone <const> = self.current and self.undone
  if undone then self:found(table.concat(undone, ", ")) end
  self:end_step(#left == 0 and "done" or "failed")
  return left
end

--- Run the flow in a task of its own, so that a cancel ends it and nothing else; then settle, in this one.
---@param flow fun(job: lib.Job)
---@return Fail? why nil when it is done
---@return { promise: lib.Promise, why: Fail }[] left
function Job:run(flow)
  self.flow_task = task.spawn(flow, self)
  if self.cancelled_by then self.flow_task:cancel(self.cancelled_by) end
  local _, why <const> = self.flow_task:wait()
  if why and self.current then why.step = why.step or self.current.title end
  self:end_step(why and "failed" or "done")
  local left <const> = settle_and_close(self)
  local function close()
    if self.journal then note(self, "closed", self.journal.close, self.journal) end
    self.site:close()
  end
  task.shield(math.max(CLOSE_IN_HASTE_S, time_for(self, CLOSE_WITHIN_S)), close):join()
  return why and fail.of(why) or nil, left
end

--- End the flow and put everything back; what is not put back by then stays promised.
---@param reason string
---@param within_s? number
function Job:cancel(reason, within_s)
  self.cancelled_by = reason
  self.settle_by_s = self.settle_by_s or within_s and timer.now() + within_s
  if self.flow_task then self.flow_task:cancel(reason) end
end

M.METHODS = Job

return M
