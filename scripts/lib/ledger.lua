--- The promises of one run: how to undo what it does, as data, in a journal that outlives the process. See docs/journal.md.
local codec <const> = require "lunalift.codec"
local fail <const> = require "lib.fail"
local log <const> = require "lunalift.log"
local retry <const> = require "lib.retry"
local task <const> = require "lunalift.task"

local M <const> = {}

local NOTE_WITHIN_S <const> = 60
local CLOSE_IN_HASTE_S <const> = 2 -- the next run waits for it

---@class lib.Promise
---@field n integer order
---@field undo string name in lib.undo
---@field args table plain data: what another process needs to undo it
---@field about string for people: "LUN x mapped to y"

---@class lib.Ledger
---@field job string id of the job that holds it
---@field flow string
---@field task_id string of the clone, chosen before anything is started; that of an earlier run when it is adopted
---@field promises lib.Promise[] open ones, oldest first
---@field undoing? Task what is being put back now
---@field journal? lib.Journal where they are kept; set once the volume is known
---@field subject? lib.Subject what the run is about
---@field achieved? table facts of what is done and proved
---@field undone string[] what settling put back, for people
---@field has_journalled boolean the journal holds what is ours
---@field is_inherited boolean the promises are a dead run's, and nobody has decided yet what becomes of them
local Ledger <const> = {}
Ledger.__index = Ledger

---@param options { job: string, flow: string, dry_run: boolean? }
---@return lib.Ledger
function M.new(options)
  return setmetatable({
    job = options.job,
    flow = options.flow,
    dry_run = options.dry_run,
    task_id = codec.uuid(),
    promises = {},
    undone = {},
    has_journalled = false,
    is_inherited = false,
  }, Ledger)
end

--- The promises of a dead run are ours from now on.
---@param text lib.JournalText
function Ledger:take_over(text)
  self.promises, self.has_journalled, self.is_inherited = text.entries, true, true
  self.subject, self.task_id, self.achieved = text.subject, text.task, text.done
end

--- What a dead run did goes on as ours.
---@param subject lib.Subject
function Ledger:adopt(subject)
  self.subject, self.is_inherited = subject, false
end

--- What a dead run left is put back, but for files: begin anew. Returns what was put back.
---@param subject lib.Subject
---@return string[]
function Ledger:renew(subject)
  local undone <const> = self.undone
  self.task_id, self.achieved, self.undone = codec.uuid(), nil, {}
  self:adopt(subject)
  return undone
end

--- Raises conflict when another holds the journal by now: this process may not act any more.
function Ledger:fence()
  if self.journal then self.journal:fence() end
end

-- ---- keeping ----

-- lib.undo knows hosts and arrays, which know jobs.
local function undo_of(name) return require("lib.undo")[name] or fail.raise("bug", "nobody knows how to undo %s", name) end

local function save(self)
  if self.dry_run or not self.journal then return end
  self.has_journalled = true
  self.journal:write {
    job = self.job,
    flow = self.flow,
    task = self.task_id,
    subject = self.subject,
    done = self.achieved,
    entries = self.promises,
  }
end

-- A journal that lists too much is harmless, since undos are idempotent; settling must go on.
local function note_within(within_s, what, keep, ...)
  local _, why <const> = task.shield(within_s, keep, ...):join()
  if why then log.warn("journal not written", { what = what, why = fail.text(why) }) end
end

local function note(job, what, keep, ...) note_within(job:time_for(NOTE_WITHIN_S), what, keep, ...) end

--- Promise to undo what is about to be done. Journalled before this returns; settled by the runner, in reverse order, after any end.
---@param undo string a name of lib.undo
---@param args table plain data
---@param about string for people, should it stay behind
---@return lib.Promise
function Ledger:promise(undo, args, about)
  undo_of(undo)
  local last <const> = self.promises[#self.promises]
  local promise <const> = { n = last and last.n + 1 or 1, undo = undo, args = args, about = about }
  self.promises[#self.promises + 1] = promise
  local saved <const>, why <const> = pcall(save, self)
  if not saved then
    table.remove(self.promises) -- what it would undo is not done
    error(why)
  end
  return promise
end

--- Nothing was made after all, or what was made has ended: there is nothing to undo.
---@param promise lib.Promise
function Ledger:withdraw(promise)
  for i, open in ipairs(self.promises) do
    if open == promise then
      table.remove(self.promises, i)
      save(self)
      return
    end
  end
end

--- The promise's arguments became better known.
---@param promise lib.Promise
---@param args table
function Ledger:amend(promise, args)
  for key, value in pairs(args) do
    promise.args[key] = value
  end
  save(self)
end

--- What the run is for is done and proved.
---@param job lib.Job
---@param achieved table plain data
function Ledger:done(job, achieved)
  self.achieved = achieved
  note(job, "done", save, self)
end

-- ---- settling ----

-- Undos are idempotent, so that whatever kept one from its end, it is tried anew.
local function keep_promise(job, promise, undo, within_s)
  local patience <const> = retry.patience(within_s / 2, { stubborn = true }) -- the rest is the last try's
  while true do
    local kept <const>, why <const> = pcall(undo.run, job, promise.args)
    if kept then return end
    if fail.of(why).kind == "bug" or not patience:wait("undo " .. promise.undo, why) then error(why) end
  end
end

local function why_left(left, undo)
  for _, item in ipairs(left) do
    if item.promise.undo == undo then return item.why end
  end
end

-- Who lost the journal settles nothing: the promises are another's now. What a later version promised is kept, with all before it.
local function settle_one(self, job, promise, left)
  if job:is_late() then return fail.new("cancelled", "there was no time left for it"), true end
  local may <const>, lost <const> = pcall(self.fence, self)
  if not may then return fail.of(lost), true end
  local known <const>, undo <const> = pcall(undo_of, promise.undo)
  if not known then return fail.of(undo), true end
  local missing <const> = undo.after and why_left(left, undo.after)
  if missing then return missing end
  local within_s <const> = job:time_for(undo.within_s)
  self.undoing = task.shield(within_s, keep_promise, job, promise, undo, within_s)
  local _, why <const> = self.undoing:join()
  return why, undo.barrier, undo.cosmetic
end

--- Give up what is being put back now: it stays promised.
---@param reason string
function Ledger:give_up(reason)
  if self.undoing then self.undoing:cancel(reason) end
end

-- What the runner does with the journal once all that could be undone is.
local function let_go(self, job, is_clean)
  if #self.promises == 0 and self.has_journalled then -- else what is there is another run's
    note(job, "nothing is left", self.journal.clear, self.journal)
  elseif is_clean and self.achieved then -- only files are left and the run ends well: the next start is a wish of its own
    self.achieved = nil
    note(job, "only files are left", save, self)
  end
end

--- Undo what is promised, last first. What cannot be undone stays in the journal; a barrier (a writer that may live) keeps all before it.
---@param job lib.Job through whose peers; it acts by this ledger
---@return { promise: lib.Promise, why: Fail }[] left
function Ledger:settle(job)
  local left <const> = {}
  for i = #self.promises, 1, -1 do
    local promise <const> = self.promises[i]
    local why <const>, barrier <const>, cosmetic <const> = settle_one(self, job, promise, left)
    if not why then
      note(job, promise.about, self.withdraw, self, promise)
    elseif cosmetic then -- said, kept for the next run or reap, and no reason to call a copy unfinished
      job:warn("left behind: %s: %s", promise.about, fail.text(why))
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
  let_go(self, job, #left == 0)
  return left
end

--- Settle nothing: all stays in the journal.
---@param why Fail
---@return { promise: lib.Promise, why: Fail }[] left
function Ledger:leave(why)
  local left <const> = {}
  for i = #self.promises, 1, -1 do
    left[#left + 1] = { promise = self.promises[i], why = why }
  end
  return left
end

--- Let others have the journal; what was not cleared stays.
---@param job lib.Job
function Ledger:close(job)
  if not self.journal then return end
  local within_s <const> = math.max(CLOSE_IN_HASTE_S, job:time_for(NOTE_WITHIN_S))
  note_within(within_s, "closed", self.journal.close, self.journal)
end

return M
