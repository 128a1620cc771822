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
---@field began_s number set by start; of an earlier run's, when that goes on
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

--- Follow it to its end: `for progress in copies.follow(copy) do … end`.
---@param copy lib.Copy
---@return fun(): lib.Progress?
function M.follow(copy)
  local job <const>, bytes <const>, states <const> = copy.job, copy.found.disk.capacity_bytes, copy:states()
  copy.last = {}
  return function()
    local state <const> = states()
    if state then
      copy.last = state
      return job:pace(state, bytes, copy.began_s)
    end
    job:note { bytes = bytes, copy_seconds = math.max(timer.now() - copy.began_s, 0.001), task = copy.last }
  end
end

--- Was the data moved by the array? Raises when that was required and it was not.
---@param copy lib.Copy
---@return string text
function M.judge(copy)
  local job <const>, offloaded <const>, remark <const> = copy.job, copy:judge()
  job:note { offloaded = offloaded, offload_remark = remark }
  if not job.dry_run then offload.insist(job, not offloaded and (remark or "the host does not tell") or nil) end
  local bytes <const> = job.facts.bytes
  local rate <const> = words.size(bytes / job.facts.copy_seconds)
  return ("%s, %s/s, %s"):format(words.size(bytes), rate, words.offload(offloaded, remark))
end

return M
