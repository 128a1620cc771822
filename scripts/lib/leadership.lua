--- One process of several leads, by a Lease: the others wait until it lets go, or was seen to be silent for too long. Who leads stops by
--- itself before that, when it cannot renew: so that never two of them act.
local backoff <const> = require "lib.backoff"
local fail <const> = require "lib.fail"
local leases <const> = require "lib.lease"
local log <const> = require "lunalift.log"
local task <const> = require "lunalift.task"
local timer <const> = require "lunalift.timer"

local M <const> = {}

local HELD_S <const> = 15 -- others take it after so long a silence ...
local CERTAIN_S <const> = 10 -- ... and we have stopped by then
local RETRY_S <const> = 2
local ASK_WITHIN_S <const> = 5
local RELEASE_WITHIN_S <const> = 5
local OLD_AFTER_S <const> = 600
local LOOK_EVERY_S <const> = 0.5

---@class lib.LeadershipOptions
---@field namespace string
---@field name string of the Lease
---@field me string of this process alone
---@field lead fun(term: lib.Term) what the leader does; cancelled when it leads no more
---@field held_s? integer
---@field certain_s? number shorter than held_s
---@field retry_s? number between two looks at another's Lease
---@field on_holder? fun(holder: string?) who leads now

---@class lib.Term one time of leading
---@field number integer grows from leader to leader
---@field lease lib.Lease
---@field certain_s number
---@field is_over boolean it was not certain once: a renewal that comes late does not bring it back
local Term <const> = {}
Term.__index = Term

--- Nobody else leads yet, for certain.
---@return boolean
function Term:is_certain()
  return not self.is_over
    and not self.lease.lost
    and not self.lease.gone
    and timer.now() - self.lease.renewed_s < self.certain_s
end

--- Raises conflict if another one may lead: before what two must not do.
function Term:check()
  if self:is_certain() then return end
  fail.raise(
    "conflict",
    "this process leads no more: %s %s",
    self.lease.where,
    self.lease.lost or "could not be renewed"
  )
end

local function say(options, told, holder)
  if holder == told.holder then return end
  told.holder = holder
  log.info("leader", { lease = options.name, holder = holder or "nobody" })
  if options.on_holder then options.on_holder(holder) end
end

-- Wait until the Lease is ours.
local function campaign(lease, options, told)
  local watched <const>, failures = {}, 0
  while true do
    local ok <const>, ours <const>, holder <const> = pcall(lease.try, lease, ASK_WITHIN_S, watched)
    task.check()
    if ok and ours then break end
    if ok then
      failures = 0
      if holder then say(options, told, holder) end
      timer.sleep(backoff.spread(options.retry_s or RETRY_S))
    else
      failures = failures + 1
      log.warn("the Lease cannot be had", { lease = lease.where, why = fail.text(ours) })
      timer.sleep(backoff.after(failures))
    end
  end
  say(options, told, options.me)
end

local function guard(term, leading)
  while term:is_certain() do
    timer.sleep(LOOK_EVERY_S)
  end
  term.is_over = true
  leading:cancel "this process leads no more"
end

local function release(term)
  if not term:is_certain() then return term.lease:abandon() end
  local _, why <const> = task.shield(RELEASE_WITHIN_S, term.lease.release, term.lease):join()
  if why then log.warn("the Lease runs out by itself", { lease = term.lease.where, why = fail.text(why) }) end
end

--- Wait to lead, and lead until `lead` returns, or it is lost. Whatever ends it, others may lead then.
---@param kube Kube
---@param options lib.LeadershipOptions
---@return any ... what `lead` returns; conflict is raised when it was lost
function M.run(kube, options)
  local lease <const> = leases.new(kube, {
    namespace = options.namespace,
    name = options.name,
    me = options.me,
    held_s = options.held_s or HELD_S,
    old_after_s = OLD_AFTER_S,
  })
  campaign(lease, options, {})
  local term <const> = setmetatable({
    number = lease.seen.spec.leaseTransitions or 0,
    lease = lease,
    is_over = false,
    certain_s = options.certain_s or CERTAIN_S,
  }, Term)
  local _release <close> = setmetatable({}, { __close = function() release(term) end })
  lease:keep()
  local leading <const> = task.spawn(options.lead, term)
  local guarding <const> = task.spawn(guard, term, leading)
  local ended <const> = table.pack(leading:wait())
  guarding:cancel()
  term:check()
  if ended[1] == nil and ended[2] ~= nil then error(ended[2]) end
  return table.unpack(ended, 1, ended.n)
end

return M
