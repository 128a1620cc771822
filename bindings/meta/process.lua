---@meta lunalift.process
--- Child processes. Lab and test states only.
---@class lunalift.process
local process = {}

---@class ProcessOptions
---@field argv string[]
---@field env? table<string, string> the whole environment; nil inherits
---@field cwd? string
---@field input? string
---@field max_output? integer 4 MiB
---@field on_output? fun(fd: integer, text: string) run in a task of its own, in order
---@field own_group? boolean

---@class ProcessEnd
---@field code? integer exit code
---@field signal? integer that ended it
---@field out string
---@field err string
---@field truncated boolean more came than max_output

---@class Process
---@field pid integer
local Process = {}

---@param options ProcessOptions
---@return Process? process
---@return Fail? why
function process.start(options) end
--- Start and wait. A cancel kills it.
---@param options ProcessOptions
---@return ProcessEnd? ended
---@return Fail? why
function process.run(options) end
---@return ProcessEnd? ended
---@return Fail? why
function Process:wait() end
---@param signal? string "TERM"
function Process:kill(signal) end
--- What came so far.
---@return string out
---@return string err
function Process:output() end

return process
