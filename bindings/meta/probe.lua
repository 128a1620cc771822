---@meta lunalift.probe
--- What only tests may do to the runtime they run in.
---@class lunalift.probe
local probe = {}

--- Let waits cost nothing: while nothing is ready and no child process runs, the clock jumps to the next timer. All that the test talks to
--- must live in this process.
---@param on boolean
function probe.skip_waits(on) end

--- How often the current task has waited so far.
---@return integer
function probe.waits() end

--- Cancel the current task as soon as it waits for the nth time, counted from its start.
---@param wait integer
function probe.cancel_at(wait) end

return probe
