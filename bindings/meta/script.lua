---@meta lunalift.script
--- Where scripts come from: the installed folder, and the layers laid over it.
---@class lunalift.script
local script = {}

---@class ScriptFile
---@field name string "flows.populate"
---@field path string
---@field layer string "built in", or the folder of the layer
---@field sha256 string

---@param name string
---@return ScriptFile? file
---@return Fail? why
function script.find(name) end
--- Names of all modules below a folder ("vendors"), overlays included.
---@return ScriptFile[]
function script.list(folder) end
--- Compile without running: nil and a config failure with file and line.
---@param path string
---@return function? chunk
---@return Fail? why
function script.compile(path) end
---@param path string
---@return string? text
---@return Fail? why
function script.source(path) end

return script
