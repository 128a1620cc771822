--- Copies as jobs of this very process: no pod, no volume attached to a node. A job goes on when nobody looks; what became of it is kept
--- until it is asked for.
local fail <const> = require "lib.fail"
local jobs <const> = require "lib.job"
local receipts <const> = require "lib.receipt"
local task <const> = require "lunalift.task"

local M <const> = {}

local SETTLE_WITHIN_S <const> = 300

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
local Executor <const> = {}
Executor.__index = Executor

---@param options { open: fun(order: table): table, lib.Site, on_change: fun(order: table) } open gives the request and the site of a job
---@return lib.InProcess
function M.new(options) return setmetatable({ options = options, copies = {} }, Executor) end

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

local function lines_of(left)
  local lines <const> = {}
  for i, item in ipairs(left) do
    lines[i] = ("%s: %s"):format(item.promise.about, fail.text(item.why))
  end
  return lines
end

local function run(self, copying, order, flow)
  local opened <const>, request <const>, site <const> = pcall(self.options.open, order)
  task.check()
  if not opened then
    copying.why, copying.left = fail.of(request), {}
  else
    local function told() self.options.on_change(order) end
    local job <const> =
      jobs.new { name = order.flow, request = request, site = site, report = reporter(copying, told), dry_run = false }
    job.version, job.vendor = order.version, order.vendor
    copying.job = job
    if copying.cancelled_by then job:cancel(copying.cancelled_by, SETTLE_WITHIN_S) end
    local why <const>, left <const> = job:run(flow)
    task.check()
    copying.why, copying.left, copying.facts = why, lines_of(left), job.facts
    copying.receipt = receipts.build(job, why, left)
    if not why and not job.is_done and order.flow == "populate" then
      copying.why = fail.new("failed", "the flow ended without job:done: nothing says that the volume holds the disk")
    end
  end
  copying.is_running = false
  self.options.on_change(order)
end

--- Begin. One at a time for a claim.
---@param order { key: string, uid: string, flow: string } of the claim
---@param flow fun(job: lib.Job)
function Executor:start(order, flow)
  local copying <const> = {
    is_running = true,
    flow = order.flow,
    phase = "Mapping",
    message = "the copy begins",
    left = {},
    facts = {},
  }
  self.copies[order.uid] = copying
  task.spawn(run, self, copying, order, flow)
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

--- What became of it was taken in.
---@param uid string
function Executor:forget(uid) self.copies[uid] = nil end

--- Copies under way.
---@return integer
function Executor:count()
  local count = 0
  for _, copying in pairs(self.copies) do
    if copying.is_running then count = count + 1 end
  end
  return count
end

return M
