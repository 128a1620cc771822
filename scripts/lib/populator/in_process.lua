--- Copies as jobs of this very process: no pod, no volume attached to a node. A job goes on when nobody looks; what became of it is kept
--- until it is asked for.
local fail <const> = require "lib.fail"
local jobs <const> = require "lib.job"
local list <const> = require "lib.list"
local log <const> = require "lunalift.log"
local outcome <const> = require "lib.outcome"
local receipts <const> = require "lib.receipt"
local task <const> = require "lunalift.task"
local timer <const> = require "lunalift.timer"

local M <const> = {}

local SETTLE_WITHIN_S <const> = 300
local LOOK_EVERY_S <const> = 0.05
local HANDED_OVER <const> = "another process goes on with it"

---@class lib.Copying a copy that is under way, or what became of it
---@field is_running boolean
---@field phase string Mapping, Copying or Unmapping
---@field message string what it does, for people
---@field progress? lib.Progress
---@field why? Fail
---@field left string[] what could not be put back
---@field receipt? table
---@field facts table
---@field job lib.Job

---@class lib.InProcess
---@field is_over boolean nothing more is begun here
local Executor <const> = {}
Executor.__index = Executor

---@param options { open: fun(order: table): table, lib.Site, on_change: fun(order: table), version: string, limit: integer } open
--- gives the request and the site of a job
---@return lib.InProcess
function M.new(options)
  return setmetatable({ options = options, copies = {}, under_way = 0, is_over = false }, Executor)
end

-- What the job tells as it goes, in place of lines on a terminal.
local function reporter(copying, told)
  local function nothing() end
  return {
    title = nothing,
    effect = nothing,
    finished = nothing,
    step_end = nothing,
    step_begin = function(_, step)
      if step.title == jobs.SETTLING then copying.phase = "Unmapping" end
      copying.message = step.title
      told()
    end,
    progress = function(_, _, progress)
      copying.phase, copying.progress = "Copying", progress
      told()
    end,
    waiting = function(_, _, text)
      copying.message = text
      told()
    end,
    warning = function(_, text)
      copying.warning = text
      told()
    end,
  }
end

-- Whoever was told to let go knows nothing of how it ends.
local function finish(self, copying, order)
  self.under_way = self.under_way - 1
  if self.is_over then return end
  copying.is_running = false
  self.options.on_change(order)
end

---@class lib.CopyOpened
---@field request table
---@field site lib.Site nobody has logged in yet

local function open(self, order)
  local request <const>, site <const> = self.options.open(order)
  return { request = request, site = site }
end

local function job_of(self, copying, order, opened)
  local request <const>, site <const> = opened.request, opened.site
  local function told() self.options.on_change(order) end
  local job <const> =
    jobs.new { name = order.flow, request = request, site = site, report = reporter(copying, told), dry_run = false }
  job.version, job.vendor = self.options.version, order.vendor
  copying.job = job
  if self.is_over then job:cancel(HANDED_OVER, 0) end
  if copying.cancelled_by then job:cancel(copying.cancelled_by, SETTLE_WITHIN_S) end
  return job
end

local function copy(self, copying, order, flow, opened)
  local job <const> = job_of(self, copying, order, opened or open(self, order))
  local is_copy <const> = order.flow == "populate"
  local why <const>, left <const> = (is_copy and outcome.run or job.run)(job, flow)
  copying.left, copying.facts = list.map(left, outcome.text_left), job.facts
  copying.receipt = receipts.build(job, why, left)
  return why
end

-- Without a failure it counts as filled: whatever is raised on the way is one.
local function run(self, copying, order, flow, opened)
  local ended <const>, why <const> = pcall(copy, self, copying, order, flow, opened)
  copying.why = (not ended or why) and fail.of(why) or nil
  if not ended then log.warn("the copy was not ended", { claim = order.key, why = fail.text(why) }) end
  finish(self, copying, order)
end

--- Begin. One at a time for a claim.
---@param order { key: string, uid: string, flow: string } of the claim
---@param flow fun(job: lib.Job)
---@param opened? lib.CopyOpened
function Executor:start(order, flow, opened)
  if self.is_over then return end
  local copying <const> = {
    is_running = true,
    flow = order.flow,
    phase = "Mapping",
    message = "the copy begins",
    left = {},
    facts = {},
  }
  self.copies[order.uid] = copying
  self.under_way = self.under_way + 1
  task.background(run, self, copying, order, flow, opened)
end

---@param uid string
---@return lib.Copying?
function Executor:of(uid) return self.copies[uid] end

--- End it, and put everything back; it is over when it is no longer running.
---@param uid string
---@param reason string
function Executor:cancel(uid, reason)
  local copying <const> = self.copies[uid]
  if not copying or not copying.is_running or copying.cancelled_by then return end
  copying.cancelled_by = reason
  if copying.job then copying.job:cancel(reason, SETTLE_WITHIN_S) end
end

--- What a copy is to be made with, for `start`; or why it is not there, or makes no sense.
---@param order lib.CopyOrder
---@return lib.CopyOpened? opened
---@return Fail? why
function Executor:open(order)
  local done <const>, opened <const> = pcall(open, self, order)
  task.check()
  if done then return opened end
  return nil, fail.of(opened)
end

--- Are as many under way as may be?
---@return boolean
function Executor:is_full() return self.under_way >= self.options.limit end

--- Let go of all copies, and put nothing back: clones run on, and whoever leads next goes on with them.
---@param within_s number
---@return boolean all_gone
function Executor:hand_over(within_s)
  self.is_over = true
  for _, copying in pairs(self.copies) do
    if copying.is_running and copying.job then copying.job:cancel(HANDED_OVER, 0) end
  end
  local until_s <const> = timer.now() + within_s
  while self.under_way > 0 and timer.now() < until_s do
    timer.sleep(LOOK_EVERY_S)
  end
  return self.under_way == 0
end

--- What became of it was taken in.
---@param uid string
function Executor:forget(uid) self.copies[uid] = nil end

--- Copies under way.
---@return integer
function Executor:count() return self.under_way end

return M
