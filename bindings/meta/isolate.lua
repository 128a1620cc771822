---@meta lunalift.isolate
--- A Lua state of its own, with its own memory, for one opened array. Arguments and results cross as plain data (and secrets).
---@class lunalift.isolate
local isolate = {}

---@class Isolate
local Isolate = {}

---@param options { module: string, hosts: string[]?, ca_file: string?, memory_bytes: integer?, script: string?, file: string? } module is required inside and must return a table of functions; only `hosts` are reachable, and `ca_file` is the only file that `tls` may name; `file` is taken for the script of that name
---@return Isolate? isolate
---@return Fail? why
function isolate.open(options) end

--- Call a function of the module in a task of the isolate; a cancel reaches it.
---@param name string
---@return any ... results; nil and the failure if it raised
function Isolate:call(name, ...) end
function Isolate:close() end

return isolate
