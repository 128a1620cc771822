---@meta lunalift.task
--- Tasks: coroutines that the loop resumes. A call that looks blocking parks its task; cancel, deadline and budget are raised at every wait.

---@class lunalift.task
local task = {}

---@class Task a task as its parent sees it
local Task = {}

--- Start `fn(...)` as a child. It first runs in a later turn. A child still running when its parent ends is cancelled.
---@param fn function
---@return Task child
function task.spawn(fn, ...) end

--- Like spawn, but no cancel or deadline of the parent reaches it, only its own: for settling promises.
---@param within_s number longest time it may take; then a `timeout` failure is raised in it at every wait
---@param fn function
---@return Task child
function task.shield(within_s, fn, ...) end

--- Start `fn(...)` as nobody's child: it runs until it ends or is cancelled, at the longest as long as the main task. Not for vendors.
---@param fn function
---@return Task
function task.background(fn, ...) end

--- Run all functions as children, in order of start. Raises the first failure after cancelling the others and waiting for them.
---@param fns function[]
---@return any[] first results, in order (false for none)
function task.all(fns) end

--- Run `fn(...)` in a child with a deadline; its results, or nil and the failure.
---@param within_s number
---@param fn function
---@return any ...
function task.within(within_s, fn, ...) end

--- Wait until it has ended. Returns what it returned; nil and the failure if it raised.
---@return any ...
function Task:wait() end

--- Wait like `wait`, but not interrupted by a cancel of the waiting task: only for shielded children, which end by themselves.
---@return any ...
function Task:join() end

--- Ask it to end: a `cancelled` failure is raised at its current wait and at every later one.
---@param reason? string
function Task:cancel(reason) end

---@return boolean running
function Task:running() end

--- Raise if the current task was cancelled or is past its deadline.
function task.check() end

--- A mutex for tasks: `local _lock <close> = mutex:lock()`.
---@class Mutex
local Mutex = {}
---@return Mutex
function task.mutex() end
---@return Lock lock to be closed
function Mutex:lock() end

--- What tasks wait for until another one rings: `while not ready() do bell:wait() end`. It remembers nothing: who does not wait, misses it.
---@class Bell
local Bell = {}
---@return Bell
function task.bell() end
---@param within_s? number nil: however long
---@return boolean rung false: time is up
function Bell:wait(within_s) end
--- Wake all who wait now. They run in a later turn.
function Bell:ring() end

--- Wait for one of the named signals ("TERM", "INT", "USR1") to arrive; signals that came before the call count. Main task only.
---@return string name
function task.signal() end

return task
