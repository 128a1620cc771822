---@meta lunalift.env
--- The environment and files that the user names. Flow states only.
---@class lunalift.env
local env = {}

---@param name string
---@return string?
function env.get(name) end
--- The same as a secret, which never was a Lua string.
---@param name string
---@return Secret?
function env.secret(name) end
---@param path string
---@return string? content at most 1 MiB
---@return Fail? why
function env.read(path) end

return env
