--- Physical copies and the tasks that do them, by real bytes.
local array_copy <const> = require "lab.array_copy"
local list <const> = require "lab.list"
local refuse <const> = require("lab.primera3par.refusal").raise
local timer <const> = require "lunalift.timer"

---@class primera3par.copies
local M <const> = {}

local VV_COPY <const> = 1
local STATUS <const> = { done = 1, running = 2, stopped = 3, failed = 4 }
local STEPS <const> = 400

-- As far as it is now.
local function look(self, task)
  array_copy.advance(task.copy, self.copier.settings)
  return task.copy
end

--- Tasks that have not ended.
---@return table[]
function M.running(self)
  return list.keep(self.tasks, function(task) return look(self, task).state == "running" end)
end

--- The running copy onto a volume.
function M.onto(self, volume) return list.by(M.running(self), "target", volume) end

local function check(self, source, target, given)
  if given.online then refuse(400, 12, "invalid input: online copies make their destination: not here") end
  if given.destCPG or given.tpvv ~= nil or given.snapCPG then
    refuse(400, 12, "invalid input: parameter is for online copies only")
  end
  local priority <const> = given.priority or 2
  if priority < 1 or priority > 3 then refuse(400, 12, "invalid input: enum value") end
  if source == target then refuse(403, 154, "the destination volume is the same as the parent") end
  if list.by(self.vluns, "volume", target) then refuse(403, 153, "the volume is exported") end
  if self.build < M.POOLS_HAVE_SNAPSHOTS and not source.snap_cpg then
    refuse(403, 158, "the parent volume must allow snapshots")
  end
  if source.size_bytes > target.size_bytes then refuse(409, 160, "the parent is larger than the destination") end
  if M.onto(self, target) then refuse(409, 155, "the destination volume has a physical copy in progress") end
end

--- Arrays from this build on keep the snapshots' space in pools.
M.POOLS_HAVE_SNAPSHOTS = 100000000

---@return integer task
function M.start(self, source, target, given)
  check(self, source, target, given)
  local task <const> = {
    id = self:next_id(),
    name = ("%s->%s"):format(source.name, target.name),
    target = target,
    copy = array_copy.start(source, target),
    began = timer.iso(),
  }
  self.tasks[#self.tasks + 1] = task
  return task.id
end

--- Take a volume out of its copy.
function M.stop(self, target)
  local task <const> = M.onto(self, target)
  if not task then refuse(404, 148, "physical copy not found") end
  task.copy.state = "stopped"
end

--- A task as the array tells it; steps of active ones only.
function M.shown(self, task)
  local copy <const> = look(self, task)
  local is_active <const> = copy.state == "running"
  local steps <const> = is_active and self.tells_progress
  return {
    id = task.id,
    type = VV_COPY,
    name = task.name,
    status = STATUS[copy.state],
    totalPhases = steps and 1 or nil,
    completedPhases = steps and 0 or nil,
    totalSteps = steps and STEPS or nil,
    completedSteps = steps and STEPS * array_copy.percent(copy) // 100 or nil,
    startTime = task.began,
    finishTime = is_active and "-" or task.began,
    user = "3paradm",
  }
end

return M
