---@meta lunalift.codec
---@class lunalift.codec
local codec = {}

---@param bytes string
---@return string hex lower case
function codec.sha256(bytes) end
--- For formats that ask for it, not for security.
---@param bytes string
---@return string hex lower case
function codec.sha1(bytes) end
--- Without name and time: the same bytes give the same.
---@param bytes string
---@return string
function codec.gzip(bytes) end
--- What one gzip member holds, 64 MiB at most.
---@param bytes string
---@return string? bytes
---@return Fail? why
function codec.gunzip(bytes) end
---@param bytes string
---@return string
function codec.base64(bytes) end
---@param text string
---@return string? bytes
---@return Fail? why
function codec.unbase64(text) end
--- Percent-encode all but A-Z a-z 0-9 - . _ ~ and the bytes of `keep`.
---@param text string
---@param keep? string
---@return string
function codec.percent(text, keep) end
---@param text string
---@return string
function codec.unpercent(text) end
--- 16 random bytes in the 8-4-4-4-12 form, lower case.
---@return string
function codec.uuid() end
---@param count integer 1 … 64
---@return string hex 2*count digits
function codec.random_hex(count) end
--- Escape for XML text and attributes; raises on bytes that XML 1.0 cannot carry.
---@param text string
---@return string
function codec.xml_escape(text) end

return codec
