---@meta lunalift.json
--- JSON with exact integers. Decoding: integral numbers are integers, null is nil (json.null inside arrays), beyond 2^53 is refused.
---@class lunalift.json
---@field null userdata prints as null; false in no comparison: compare with ==
local json = {}

---@param text string
---@return any? value
---@return Fail? why protocol
function json.decode(text) end

--- Object keys are sorted, so that the same value is the same text. Raises on what JSON cannot say (functions, NaN, cycles, mixed keys, secrets).
---@param value any an empty table is {}, unless made by json.array
---@param options? { indent: boolean? }
---@return string
function json.encode(value, options) end

--- Mark a table as an array, so that an empty one is [].
---@generic T: table
---@param list T
---@return T list
function json.array(list) end

return json
