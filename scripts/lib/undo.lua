--- How each promise is kept. Every undo is idempotent and needs nothing but its plain arguments, so that any process can run it.
local array_copies <const> = require "lib.array_copies"
local datastores <const> = require "lib.datastores"
local fail <const> = require "lib.fail"
local turns <const> = require "lib.turns"

local M <const> = {}

---@class lib.Undo
---@field within_s number its own deadline, which leaves room for a call or two that are never answered
---@field barrier? boolean while it is not kept, nothing promised before it may be touched
---@field after? string an undo that must have been kept before: it has no use while that one is left
---@field cosmetic? boolean what stays when it is not kept harms nobody
---@field run fun(job: lib.Job, args: table)

local function said(job, text)
  local undone <const> = job.ledger.undone
  undone[#undone + 1] = text
end

local function wrapper_on(job, host) return job.site:vcenter():host_again(host):wrapper() end

-- The task's files, once its writer is gone: the promise to stop it is kept then, whatever becomes of them.
local function clean_up(job, args, wrapper)
  local ok <const>, why <const> = pcall(wrapper.clean, wrapper, args.task_id)
  if ok then return end
  local about <const> = ("files of clone task %s on %s"):format(args.task_id, wrapper.host.name)
  job:promise("clone.clean", { host = args.host, task_id = args.task_id }, about)
  job:warn("left behind: %s: %s", about, fail.text(why))
end

--- Until the writer is certainly gone, the device must stay.
M["clone.stop"] = {
  within_s = 240,
  barrier = true,
  run = function(job, args)
    local wrapper <const> = wrapper_on(job, args.host)
    if wrapper:stop(args.task_id, args.answered, args.device) then clean_up(job, args, wrapper) end
  end,
}

--- The same for a copy that the array makes by itself.
M["array.copy_stop"] = {
  within_s = 240,
  barrier = true,
  run = function(job, args) array_copies.stop(job, job.site:array(), args) end,
}

M["clone.clean"] = {
  within_s = 180,
  cosmetic = true,
  run = function(job, args) wrapper_on(job, args.host):clean(args.task_id) end,
}

M["host.detach"] = {
  within_s = 300,
  run = function(job, args)
    job.site:vcenter():host_again(args.host):detach(args.naa)
    said(job, "device detached")
  end,
}

M["array.unmap"] = {
  within_s = 300,
  run = function(job, args)
    job.site:array():unmap(args.lun, args.host)
    said(job, "LUN unmapped")
  end,
}

--- Paths to a LUN that is still mapped are not dead.
M["host.drop_paths"] = {
  within_s = 400,
  after = "array.unmap",
  run = function(job, args) job.site:vcenter():host_again(args.host):drop_paths(args.adapters, args.naa) end,
}

--- One through which a LUN is still mapped is in use, as if others used it.
M["array.remove_host"] = {
  within_s = 240,
  after = "array.unmap",
  run = function(job, args)
    local array <const> = job.site:array()
    for _, host in ipairs(array:hosts_of(args.initiators, args.name)) do
      local outcome <const> = host.ours and array:remove_host(host) -- another that owns the initiators is left alone
      if outcome == "removed" then said(job, "host object removed") end
    end
  end,
}

M["datastore.delete"] = {
  within_s = 180,
  cosmetic = true,
  run = function(job, args) datastores.of(job.site:vcenter(), args.datastore):delete(args.path) end,
}

-- It runs out by itself.
M["lease.release"] = {
  within_s = 60,
  cosmetic = true,
  run = function(job, args) turns.release(job, args) end,
}

return M
