---@meta lunalift.log
--- Lines for those who debug, to standard error, redacted.
---@class lunalift.log
local log = {}

---@param message string
---@param fields? table<string, any>
function log.debug(message, fields) end
---@param message string
---@param fields? table<string, any>
function log.info(message, fields) end
---@param message string
---@param fields? table<string, any>
function log.warn(message, fields) end
---@param message string
---@param fields? table<string, any>
function log.error(message, fields) end

--- The text with every living secret in it replaced by ***.
---@param text string
---@return string
function log.redact(text) end

return log
