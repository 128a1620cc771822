---@meta lunalift.console
--- What users read and type. Flow states only.
---@class lunalift.console
local console = {}

---@param text string
---@return boolean? written
---@return Fail? why nobody reads it any more, or the disk is full
function console.out(text) end
---@param text string
function console.err(text) end
---@return boolean
function console.is_terminal() end
---@return integer columns of standard output; 80 if unknown
function console.width() end
---@return boolean
function console.is_utf8() end

return console
