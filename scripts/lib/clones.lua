--- Clone tasks on a host: started once, followed to their end, stopped for certain.
local clone <const> = require "lunalift.clone"
local fail <const> = require "lib.fail"
local hints <const> = require "lib.hints"
local poll <const> = require "lib.poll"
local ssh_wrapper <const> = require "lib.ssh_wrapper"
local timer <const> = require "lunalift.timer"

local M <const> = {}

local POLL_PATIENCE_S <const> = 600 -- a vCenter may be away for minutes while the clone goes on
local LATE_START_S <const> = 3
local DIGEST_PATIENCE_S <const> = 1800 -- a call alone may take ten minutes

---@class lib.CloneProgress
---@field running boolean
---@field percent integer 0 … 100
---@field exit_code? integer once it has ended
---@field stderr string
---@field state? string as our wrapper tells it
---@field offloaded? boolean nil while unknown
---@field clone_write_ops? integer XCOPY commands since the start
---@field failed_clone_ops? integer

---@class lib.Clones
---@field version string
---@field is_to_come? boolean a real run will put it there
---@field is_ours boolean it takes our task ids, and can stop what it started
local Clones <const> = {}
Clones.__index = Clones

-- By vCenter, through the extension that a VIB brings.
local function over_esxcli(host)
  local wrapper <const> = clone.over_esxcli(host.vcenter.session, host.ref)
  local ok <const>, found <const> = pcall(
    host.job.read,
    host.job,
    "wrapper version",
    function() return wrapper:version() end
  )
  if ok then return wrapper, found end
  if not fail.is(found, "unsupported") then error(found) end
  local why <const> = hints.new("vib missing", { host = host.name })
  why.cause = fail.of(found)
  error(why)
end

---@param host lib.Host
---@return lib.Clones
function M.open(host)
  local open <const> = host.job.request.method == "ssh" and ssh_wrapper.open or over_esxcli
  local wrapper <const>, found <const> = open(host)
  return setmetatable({
    host = host,
    job = host.job,
    wrapper = wrapper,
    version = found.version,
    is_to_come = found.is_to_come,
    is_ours = found.is_to_come or wrapper:offers "taskId" and wrapper:offers "taskKill",
  }, Clones)
end

--- Facts about what is named, read on the host; nil where the wrapper cannot tell.
---@param source? string none: facts about the host
---@param target? string
---@return table?
function Clones:preflight(source, target)
  if not self.wrapper:offers "preflight" then return nil end
  return self.job:read(
    "wrapper preflight",
    function() return self.wrapper:preflight { source = source, target = target } end
  )
end

--- "digest", "taskList", …
---@return boolean
function Clones:offers(feature) return self.wrapper:offers(feature) end

--- Digests of the same extents of both ends, read on the host.
---@param extents { offset: integer, length: integer }[]
---@return { algorithm: string, source: string[], target: string[] }
function Clones:digests(source, target, extents)
  local args <const> = { source = source, target = target, extents = extents }
  return self.job:read("digests", function() return self.wrapper:digest(args) end, DIGEST_PATIENCE_S)
end

--- All clone tasks that the host knows.
---@return table[]
function Clones:tasks()
  return self.job:read("clone tasks", function() return self.wrapper:tasks() end, POLL_PATIENCE_S)
end

--- The task as the host knows it, or false.
---@param task_id string
---@return table|false
function Clones:find(task_id)
  for _, task in ipairs(self:tasks()) do
    if task.taskId == task_id then return task end
  end
  return false
end

-- Other lines may hold percent signs too, such as those that name a path.
local function percent_of(line)
  local percent = 0
  for number in line:gmatch "Clone:%s*(%d+)%% done" do
    percent = math.tointeger(tonumber(number)) or percent
  end
  return percent
end

local function read_state(state)
  local percent <const> = state.percent or percent_of(state.lastLine or "")
  local ended <const> = state.exitCode ~= nil and state.exitCode ~= ""
  return {
    running = not ended,
    percent = math.max(0, math.min(100, percent)),
    exit_code = ended and (math.tointeger(tonumber(state.exitCode)) or 1) or nil,
    stderr = state.stdErr or "",
    state = state.state,
    offloaded = state.xcopyUsed,
    clone_write_ops = state.cloneWriteOps,
    failed_clone_ops = state.failedCloneOps,
    updated_at = state.updatedAt,
  }
end

--- Start a clone. Promised first; the promise learns the task's id where the host chooses it.
---@param source string /vmfs/volumes/…
---@param device string /vmfs/devices/disks/…
---@return string task_id
function Clones:start(source, device)
  local task_id <const> = self.job.ledger.task_id
  local args <const> = { host = self.host.ref, task_id = self.is_ours and task_id or nil, device = device }
  local promise <const> =
    self.job:promise("clone.stop", args, ("the clone to %s on %s runs"):format(device, self.host.name))
  local ok <const>, started <const> = pcall(
    self.job.effect,
    self.job,
    "clone.start",
    ("%s to %s"):format(source, device),
    function() return self.wrapper:start { task_id = self.is_ours and task_id or nil, source = source, target = device } end,
    {
      standin = { taskId = task_id },
      look = self.is_ours and function() return self:find(task_id) or nil end or nil,
    }
  )
  if not ok then
    -- ours is asked what it has; of upstream's only a lost answer may have left a writer
    local is_answered <const> = fail.is(started) and not started.unanswered
    if is_answered and self.is_ours then self.job:amend(promise, { answered = true }) end
    if is_answered and not self.is_ours then self.job:withdraw(promise) end
    error(started)
  end
  if started.existing and started.taskId ~= task_id then
    self.job:withdraw(promise)
    fail.raise("busy", "another clone, %s, writes to %s already", started.taskId, device)
  end
  self.job:amend(promise, { task_id = started.taskId, answered = true })
  return started.taskId
end

---@return lib.CloneProgress
function Clones:poll(task_id)
  local state <const> = self.job:read("clone state", function() return self.wrapper:poll(task_id) end, POLL_PATIENCE_S)
  return read_state(state)
end

local function failed(self, ended)
  local why <const> = hints.new("clone failed", { code = ended.exit_code, host = self.host.name })
  if ended.stderr == "" then return why end
  why.cause = hints.explain(fail.new("failed", "%s", ended.stderr))
  why.hint = why.cause.hint or why.hint
  return why
end

--- Follow a clone to its end: `for progress in clones:follow(id) do … end`. Raises when it failed, and when it stands still for too long.
---@return fun(): lib.CloneProgress?
function Clones:follow(task_id)
  if self.job.dry_run then
    return function() end
  end
  local options <const> = { stall_s = self.job.request.stall_s }
  return poll.follow("the clone on " .. self.host.name, options, function()
    local state <const> = self:poll(task_id)
    if not state.running and state.exit_code ~= 0 then error(failed(self, state)) end
    return state
  end)
end

local function kill(self, task_id)
  local killed <const> = self.job:effect("clone.kill", ("%s on %s"):format(task_id, self.host.name), function()
    local state <const>, why <const> = self.wrapper:kill(task_id)
    if why and why.reply and why.reply.writerAlive then return why.reply end
    return state, why
  end, { look = function() end })
  if killed.writerAlive then
    fail.raise("incomplete", "the writer of task %s on %s does not end", task_id, self.host.name)
  end
end

-- Upstream's wrapper says so of what is cleaned already, and of all that a reboot of the host took.
local function is_forgotten(why)
  return fail.is(why, "failed") and why.message:find "[Tt]ask directory.*not found" ~= nil
end

--- Remove what an ended task left on the host.
---@param task_id string
function Clones:clean(task_id)
  self.job:effect("clone.clean", ("%s on %s"):format(task_id, self.host.name), function()
    local done <const>, why <const> = self.wrapper:clean(task_id)
    if not done and is_forgotten(why) then return true end
    return done, why
  end, { look = function() end })
end

local function stop_ours(self, task_id, is_answered)
  local task = self:find(task_id)
  if not task and not is_answered then -- the start may still be on its way
    timer.sleep(LATE_START_S)
    task = self:find(task_id)
  end
  if task and task.state == "running" then kill(self, task_id) end
  return task ~= false
end

-- Upstream's wrapper cannot stop what it started, nor list it. When its start was never answered, the host knows: it lets go of no device
-- that a writer has open, and none can open one that is off.
local function stop_theirs(self, task_id, device)
  local function refuse(what) hints.raise("writer may live", { host = self.host.name, what = what }) end
  if not task_id then
    local is_off <const>, why <const> = pcall(self.host.detach, self.host, device:match "[^/]+$")
    if not is_off then refuse(("the answer to its start was lost, and %s"):format(fail.text(why))) end
    timer.sleep(LATE_START_S) -- it may still be on its way
    self.job:warn("left behind: files on %s of a clone task whose id was never learnt", self.host.name)
    return false
  end
  local ok <const>, state <const> = pcall(self.poll, self, task_id)
  if not ok and is_forgotten(state) then return false end
  if not ok then error(state) end
  if state.running then refuse(("task %s still runs"):format(task_id)) end
  return true
end

--- Make certain that the task's writer is gone. Raises incomplete while it may live.
---@param task_id? string nil when the host chose an id that we never learnt
---@param is_answered? boolean of its start: else it may begin only now
---@param device string /vmfs/devices/disks/… that it writes to
---@return boolean known the host has files of it, to be cleaned
function Clones:stop(task_id, is_answered, device)
  if self.is_ours then return stop_ours(self, task_id, is_answered) end
  return stop_theirs(self, task_id, device)
end

return M
