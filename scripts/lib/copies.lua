--- Copies of a disk to a volume. Who moves the data differs; what a flow does with a copy does not.
local by_array <const> = require "lib.copy_by_array"
local by_host <const> = require "lib.copy_by_host"
local offload <const> = require "lib.offload"
local timer <const> = require "lunalift.timer"
local words <const> = require "lib.words"

local M <const> = {}

---@class lib.Copy
---@field job lib.Job
---@field found lib.Found as the checks left it
---@field began_s? number set by start; nil: an earlier run's goes on
---@field last lib.CloneProgress how it ended
---@field ready fun(self: lib.Copy): string once nothing speaks against it: who will do it with what, for people
---@field go_on fun(self: lib.Copy, earlier: lib.Earlier) what a dead run started is ours: `show` and `start` change nothing then
---@field show fun(self: lib.Copy) let who copies see the volume
---@field start fun(self: lib.Copy)
---@field states fun(self: lib.Copy): (fun(): lib.CloneProgress?) to its end; raises when it failed
---@field judge fun(self: lib.Copy): boolean?, string? was it offloaded; what is to be said about that
---@field prove fun(self: lib.Copy): string

--- The copy of what was found, checked already.
---@param job lib.Job
---@param found lib.Found
---@return lib.Copy
function M.of(job, found)
  local kind <const> = found.way.by == "array" and by_array or by_host
  return kind.new(job, found)
end

--- What it is about, for the journal: a later run compares it with its own.
---@param copy lib.Copy
---@return lib.Subject
function M.subject(copy)
  local found <const> = copy.found
  local claim <const> = found.volume.claim
  return {
    claim = claim.uid,
    claim_name = ("%s/%s"):format(claim.namespace, claim.name),
    vm = found.vm.ref.id,
    vmdk = found.disk.path,
    lun = found.lun.id,
    naa = found.lun.naa,
    by = found.way.by,
    host = found.host.ref.id,
    array = found.array.where,
    vcenter = found.vcenter.where,
  }
end

-- Where this run began to look on: of what was copied before, it cannot tell how long it took.
local function first_seen(copy, state)
  if copy.began_s then return { at_s = copy.began_s, percent = 0 } end
  return { at_s = timer.now(), percent = state.blind and 100 or state.percent }
end

local function progress_of(state, total_bytes, seen)
  local elapsed_s <const> = timer.now() - seen.at_s
  local bytes <const> = total_bytes * state.percent // 100
  local seen_bytes <const> = math.max(0, bytes - total_bytes * seen.percent // 100)
  local rate <const> = elapsed_s > 0 and seen_bytes / elapsed_s or 0
  return {
    percent = state.percent,
    bytes = bytes,
    total_bytes = total_bytes,
    rate = rate,
    eta_s = rate > 0 and (total_bytes - bytes) / rate or nil,
    offloaded = state.offloaded,
  }
end

--- Follow it to its end: `for progress in copies.follow(copy) do … end`.
---@param copy lib.Copy
---@return fun(): lib.Progress?
function M.follow(copy)
  local job <const>, bytes <const>, states <const> = copy.job, copy.found.disk.capacity_bytes, copy:states()
  local seen
  copy.last = {}
  return function()
    local state <const> = states()
    if state then
      copy.last, seen = state, seen or first_seen(copy, state)
      return progress_of(state, bytes, seen)
    end
    seen = seen or first_seen(copy, { percent = 0 }) -- a dry run
    job:note {
      bytes = bytes,
      seen_bytes = bytes - bytes * seen.percent // 100,
      copy_seconds = math.max(timer.now() - seen.at_s, 0.001),
      task = copy.last,
    }
  end
end

-- How fast, as far as this run saw it.
local function pace_text(facts)
  if facts.seen_bytes == 0 then return "begun before this run" end
  local pace <const> = words.size(facts.seen_bytes / facts.copy_seconds) .. "/s"
  if facts.seen_bytes == facts.bytes then return pace end
  return ("the last %s at %s"):format(words.size(facts.seen_bytes), pace)
end

--- Was the data moved by the array? Raises when that was required and it was not.
---@param copy lib.Copy
---@return string text
function M.judge(copy)
  local job <const>, offloaded <const>, remark <const> = copy.job, copy:judge()
  job:note { offloaded = offloaded, offload_remark = remark }
  if not job.dry_run then offload.insist(job, not offloaded and (remark or "the host does not tell") or nil) end
  return ("%s, %s, %s"):format(words.size(job.facts.bytes), pace_text(job.facts), words.offload(offloaded, remark))
end

return M
