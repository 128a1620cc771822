---@meta lunalift.secret
--- A value that prints as *** by every route (tostring, .., %s, json) and is wiped when collected. C modules take it where a password goes.
---@class lunalift.secret
local secret = {}

---@class Secret
local Secret = {}

---@param text string the caller's copy stays in Lua's memory: use it at the edge only
---@return Secret
function secret.new(text) end

---@param value any
---@return boolean
function secret.is(value) end

---@return boolean
function Secret:is_empty() end

--- A new secret: prefix .. self .. suffix (for tokens that need a scheme).
---@return Secret
function Secret:wrap(prefix, suffix) end

--- Decode base64 (nil and a config failure if it is none).
---@return Secret? decoded
---@return Fail? why
function Secret:unbase64() end

return secret
