--- How each promise is kept. Every undo is idempotent and needs nothing but its plain arguments, so that any process can run it.
local M <const> = {}

---@class lib.Undo
---@field within_s number its own deadline
---@field barrier? boolean while it is not kept, nothing promised before it may be touched
---@field run fun(job: lib.Job, args: table)

local function said(job, text) job.undone[#job.undone + 1] = text end

--- Until the writer is certainly gone, the device must stay.
M["clone.stop"] = {
  within_s = 60,
  barrier = true,
  run = function(job, args) job.site:vcenter():host_again(args.host):wrapper():stop(args.task_id) end,
}

M["host.detach"] = {
  within_s = 90,
  run = function(job, args)
    job.site:vcenter():host_again(args.host):detach(args.naa)
    said(job, "device detached")
  end,
}

M["array.unmap"] = {
  within_s = 120,
  run = function(job, args)
    job.site:array():unmap(args.lun, args.host)
    said(job, "LUN unmapped")
  end,
}

M["host.drop_paths"] = {
  within_s = 120,
  run = function(job, args) job.site:vcenter():host_again(args.host):drop_paths(args.adapters) end,
}

M["array.remove_host"] = {
  within_s = 60,
  run = function(job, args)
    local array <const> = job.site:array()
    local host <const> = array:find_host(args.initiators, args.name)
    local is_ours <const> = host and (host.ours or host.name == args.name)
    if not is_ours then return end -- another that owns the initiators is left alone
    if array:remove_host(host) ~= "in use" then said(job, "host object removed") end
  end,
}

return M
