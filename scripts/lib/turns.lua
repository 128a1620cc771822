--- Whose turn it is on a host: rescans one at a time, clones a few at a time; among the jobs of this process, and by Leases among pods.
--- This keeps hosts from being overrun, no data from harm: where Leases cannot be had, that is said, and the work goes on.
local codec <const> = require "lunalift.codec"
local fail <const> = require "lib.fail"
local leases <const> = require "lib.lease"
local log <const> = require "lunalift.log"
local task <const> = require "lunalift.task"
local timer <const> = require "lunalift.timer"
local words <const> = require "lib.words"

local M <const> = {}

local ASK_WITHIN_S <const> = 10
local RELEASE_WITHIN_S <const> = 20
local RESCAN_WITHIN_S <const> = 240 -- half of it to wait for our turn, half for the rescan
local SLOT_HELD_S <const> = 30
local OLD_AFTER_S <const> = 600
local LOOK_EVERY_S <const> = 1

-- By host, for all jobs of this process: they know nothing of one another, and this is what they share.
local queues <const> = {}

---@class turns.Queue
---@field rescans Mutex
---@field rescanning integer jobs that rescan, or wait for it
---@field clones Mutex held by the one job that looks for a slot
---@field slots table<integer, lib.Job> taken by jobs of this process

local function queue_of(host)
  local key <const> = ("%s/%s"):format(host.vcenter.where, host.ref.id)
  queues[key] = queues[key] or { rescans = task.mutex(), rescanning = 0, clones = task.mutex(), slots = {} }
  return queues[key]
end

local function closing(act) return setmetatable({}, { __close = act }) end

-- ---- Leases ----

-- The same for the next run of a claim: it holds the claim's journal, so what its name holds is its own.
local function identity(job)
  local subject <const> = job.ledger.subject
  return "lunalift-" .. (subject and subject.claim or job.id)
end

local function lease_of(job, name, held_s)
  return leases.new(job.site:kube(), {
    namespace = job.request.lease_namespace,
    name = name,
    me = identity(job),
    held_s = held_s,
    old_after_s = OLD_AFTER_S,
  })
end

local function has_leases(job) return (job.request.lease_namespace or "") ~= "" and not job.without_leases end

local function go_without(job, why)
  if fail.is(why, "bug") then error(why) end
  job.without_leases = true
  job:warn("work on hosts is not coordinated with other pods: %s", fail.text(why))
end

-- As Lease:try does, but nil where Leases cannot be had; then they are not asked for again.
local function try(job, lease, watched)
  local ours <const>, holder <const> = task.within(2 * ASK_WITHIN_S, lease.try, lease, ASK_WITHIN_S, watched)
  if ours ~= nil then return ours, holder end
  task.check()
  go_without(job, holder)
end

-- Whatever has ended us, it is let go; if that cannot be done, it runs out.
local function release(job, lease)
  local _, why <const> = task.shield(job:time_for(RELEASE_WITHIN_S), lease.release, lease):join()
  if why then log.info("Lease not released", { where = lease.where, why = fail.text(why) }) end
end

-- ---- rescans ----

local function hold_rescan(job, host)
  if not has_leases(job) then return nil end
  local name <const> = ("esxi-lock-%s-%s-slot-0"):format(host.ref.type:lower(), host.ref.id) -- as upstream calls it
  local lease <const> = lease_of(job, name, math.ceil(job.request.lease_s))
  local watched <const>, until_s <const> = {}, timer.now() + job:time_for(RESCAN_WITHIN_S) / 2
  local has_waited = false
  while true do
    local ours <const>, holder <const> = try(job, lease, watched)
    if ours then return lease:keep(), has_waited end
    if ours == nil then return nil, has_waited end
    if timer.now() >= until_s then
      log.warn("rescanning although another does", { lease = lease.where, holder = holder })
      return nil, has_waited
    end
    has_waited = true
    job:waiting("%s rescans %s", holder or "another", host.name)
    timer.sleep(LOOK_EVERY_S)
  end
end

--- Rescan when nobody else does. One that began after what we changed serves us, too: who had to wait looks first.
---@param host lib.Host
---@param act fun() the rescan
---@param is_served fun(): boolean is there nothing left for a rescan to find, or to drop?
---@return number waited_s
function M.rescan(host, act, is_served)
  local job <const> = host.job
  if job.dry_run then
    act()
    return 0
  end
  local began_s <const>, queue <const> = timer.now(), queue_of(host)
  queue.rescanning = queue.rescanning + 1
  local _left <close> = closing(function() queue.rescanning = queue.rescanning - 1 end)
  local has_company <const> = queue.rescanning > 1
  local _turn <close> = queue.rescans:lock()
  if has_company and is_served() then return timer.now() - began_s end
  local lease <const>, has_waited <const> = hold_rescan(job, host)
  local _lease <close> = closing(function()
    if lease then release(job, lease) end
  end)
  local waited_s <const> = timer.now() - began_s
  if not (has_waited and is_served()) then act() end
  return waited_s
end

-- ---- slots for clones ----

--- Names of the Leases that stand for them.
---@param host lib.Host
---@param count integer
---@return string[]
function M.slot_names(host, count)
  local about <const> = host.vcenter.about or {}
  local vcenter <const> = codec.sha256(about.instanceUuid or host.vcenter.where):sub(1, 8)
  local names <const> = {}
  for i = 1, count do
    names[i] = ("lunalift-clone-%s-%s-%d"):format(vcenter, host.ref.id, i - 1)
  end
  return names
end

-- One round over the slots: the number of ours, or nil and who has them.
local function look_for_slot(job, queue, slots)
  local holders <const> = {}
  for i, slot in ipairs(slots) do
    if queue.slots[i] then
      holders[#holders + 1] = identity(queue.slots[i])
    elseif not has_leases(job) then
      return i
    else
      local ours <const>, holder <const> = try(job, slot.lease, slot.watched)
      if ours ~= false then return i, ours and slot.lease end
      holders[#holders + 1] = holder or "another"
    end
  end
  return nil, holders
end

local function promised(job, args, host)
  for _, promise in ipairs(job.ledger.promises) do
    if promise.undo == "lease.release" then return promise end -- of the run whose clone we go on with
  end
  return job:promise("lease.release", args, "a slot for clones on " .. host.name)
end

local function leased_slots(job, host)
  local slots <const>, names <const> = {}, M.slot_names(host, job.request.clone_slots)
  for i, name in ipairs(names) do
    slots[i] = { watched = {}, lease = has_leases(job) and lease_of(job, name, SLOT_HELD_S) or nil }
  end
  return slots, { namespace = job.request.lease_namespace, names = names, holder = identity(job) }
end

-- The slot is the job's till its site is closed, or the promise is settled.
local function keep_slot(job, queue, number, lease)
  queue.slots[number] = job
  local turn <const> = { lease = lease and lease:keep() or nil }
  function turn.close()
    if queue.slots[number] == job then queue.slots[number] = nil end
    if lease then lease:abandon() end
  end
  job.site:closing(turn)
  job.slot = turn
end

--- Wait until there is a slot for a clone on the host, and have it until the job ends.
---@param job lib.Job
---@param host lib.Host
---@param is_running boolean the clone runs already: a slot is taken if there is one
function M.take_slot(job, host, is_running)
  if job.dry_run or (job.request.clone_slots or 0) <= 0 then return end
  local queue <const> = queue_of(host)
  local _turn <close> = queue.clones:lock()
  local slots <const>, args <const> = leased_slots(job, host)
  local promise <const> = has_leases(job) and promised(job, args, host)
  while true do
    local number <const>, found <const> = look_for_slot(job, queue, slots)
    if number then
      keep_slot(job, queue, number, found)
      if promise and not found then job:withdraw(promise) end
      return
    end
    if is_running then return end
    job:waiting("all %d slots for clones on %s are taken, by %s", #slots, host.name, words.list(found))
    timer.sleep(LOOK_EVERY_S)
  end
end

--- Let a slot go: that of this job, or what a dead run of the holder's name has left.
---@param job lib.Job
---@param args { namespace: string, names: string[], holder: string }
function M.release(job, args)
  if job.slot then
    job.slot.close()
    if job.slot.lease then release(job, job.slot.lease) end
    job.slot = nil
    return
  end
  for _, name in ipairs(args.names) do
    local lease <const> = leases.new(
      job.site:kube(),
      { namespace = args.namespace, name = name, me = args.holder, held_s = SLOT_HELD_S, old_after_s = OLD_AFTER_S }
    )
    if lease:is_held(ASK_WITHIN_S) then release(job, lease) end
  end
end

return M
