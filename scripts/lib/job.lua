--- A job: steps that people read, effects that are numbered, promises that undo them whatever happens.
local codec <const> = require "lunalift.codec"
local crash <const> = require "lunalift.crash"
local fail <const> = require "lib.fail"
local hints <const> = require "lib.hints"
local ledgers <const> = require "lib.ledger"
local log <const> = require "lunalift.log"
local retry <const> = require "lib.retry"
local task <const> = require "lunalift.task"
local timer <const> = require "lunalift.timer"

local M <const> = {}

M.SETTLING = "leave nothing behind" -- the step's title

local REFUSED_PAUSE_S <const> = 1
local CLOSE_WITHIN_S <const> = 45
local CLOSE_IN_HASTE_S <const> = 3

---@class lib.Job
---@field name string of the flow
---@field id string
---@field request table what the user asked for: flags and what was made of them
---@field site lib.Site opens array, vCenter and Kubernetes once, on demand
---@field report lib.Report
---@field ledger lib.Ledger what it promised to undo
---@field dry_run boolean
---@field read_only boolean an effect, or the promise of one, is a bug
---@field is_done? boolean what the flow is for is done and proved
---@field facts table what the flow found, for the result and the receipt
---@field percent integer 0 … 100, the most that was copied so far
---@field latest? lib.Progress
---@field settle_by_s? number when settling ends, done or not
local Job <const> = {}
Job.__index = Job

---@param options { name: string, request: table, site: lib.Site, report: lib.Report, dry_run: boolean?, read_only: boolean? }
---@return lib.Job
function M.new(options)
  local id <const> = codec.uuid()
  local job <const> = setmetatable({
    name = options.name,
    id = id,
    ledger = ledgers.new { job = id, flow = options.name, dry_run = options.dry_run },
    request = options.request,
    site = options.site,
    report = options.report,
    dry_run = options.dry_run or false,
    read_only = options.read_only or false,
    facts = {},
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

---@param fmt string what nothing moves for
function Job:waiting(fmt, ...) self.report:waiting(step_of(self), fmt:format(...)) end

--- What may go wrong for a reason that is known already.
function Job:warn(fmt, ...) self.report:warning(fmt:format(...)) end

-- ---- effects ----

local function check_may_change(self, what)
  if self.read_only then fail.raise("bug", "%s, though %s only reads", what, self.name) end
end

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
  check_may_change(self, "effect " .. name)
  options = options or {}
  local patience <const> = retry.patience(self.request.patience_s, { pause_s = REFUSED_PAUSE_S, effect = true })
  while true do
    self.effects = self.effects + 1
    self.report:effect { number = self.effects, name = name, target = target, dry = self.dry_run }
    log.debug("effect", { number = self.effects, name = name, target = target, dry_run = self.dry_run })
    if self.dry_run then return options.standin end
    self.ledger:fence()
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

-- ---- promises: see lib.ledger ----

function Job:promise(undo, args, about)
  check_may_change(self, "a promise of " .. undo)
  return self.ledger:promise(undo, args, about)
end
function Job:withdraw(promise) self.ledger:withdraw(promise) end
function Job:amend(promise, args) self.ledger:amend(promise, args) end

--- What the flow is for is done and proved: should the process die from here on, the next run settles and does it no second time.
---@param names string[] of the facts that tell of it; plain data
function Job:done(names)
  local achieved <const> = {}
  for _, name in ipairs(names) do
    achieved[name] = self.facts[name]
  end
  self.is_done = true
  self.ledger:done(self, achieved)
end

--- An earlier run has done it, and has proved it.
---@param achieved table facts
function Job:was_done(achieved)
  self.is_done = true
  self:note(achieved)
end

-- ---- running ----

--- May nothing more be begun?
---@return boolean
function Job:is_late() return self.settle_by_s ~= nil and timer.now() >= self.settle_by_s end

--- What may take that long when nobody presses.
---@param within_s number
---@return number
function Job:time_for(within_s)
  if not self.settle_by_s then return within_s end
  return math.max(0.001, math.min(within_s, self.settle_by_s - timer.now()))
end

-- Nothing was decided about it: this run failed before, for a reason of its own.
local function leave_to_the_next(ledger)
  local why <const> = fail.new("incomplete", "an earlier run's, left as it was found")
  local fix <const> = "start again once what failed is put right, which goes on with it; or lunalift reap --apply"
  return ledger:leave(fail.hint(why, fix))
end

local function settle(self, why)
  if self.dry_run then return {} end
  local ledger <const> = self.ledger
  if ledger.is_inherited and why and why.kind ~= "cancelled" then return leave_to_the_next(ledger) end
  if #ledger.promises > 0 then self:step(M.SETTLING) end
  local left <const> = ledger:settle(self)
  if self.current then self:found(table.concat(ledger.undone, ", ")) end
  self:end_step(#left == 0 and "done" or "failed")
  return left
end

-- Whatever goes wrong with settling itself is in nobody's way: the rest is the next run's.
local function settle_or_leave(self, why)
  local settled <const>, left <const> = pcall(settle, self, why)
  if settled then return left end
  log.error("settling has failed", { why = fail.text(left) })
  return self.ledger:leave(fail.of(left))
end

local function close(self)
  self.ledger:close(self)
  self.site:close()
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
  local left <const> = settle_or_leave(self, why)
  local _, trouble <const> = task.shield(math.max(CLOSE_IN_HASTE_S, self:time_for(CLOSE_WITHIN_S)), close, self):join()
  if trouble then log.warn("not logged out everywhere", { why = fail.text(trouble) }) end
  return why and hints.explain(fail.of(why)) or nil, left
end

--- End the flow and put everything back; what is not put back by then stays promised.
---@param reason string
---@param within_s? number
function Job:cancel(reason, within_s)
  self.cancelled_by = reason
  self.settle_by_s = self.settle_by_s or within_s and timer.now() + within_s
  if self.flow_task then self.flow_task:cancel(reason) end
end

--- Put back no more: what is not put back by now stays promised.
---@param reason string
function Job:cut_short(reason)
  self.settle_by_s = timer.now()
  self.ledger:give_up(reason)
end

M.METHODS = Job

return M
