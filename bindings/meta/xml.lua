---@meta lunalift.xml
---@class lunalift.xml
local xml = {}

---@class XmlNode
---@field name string local name
---@field ns string namespace URI, "" if none
---@field text string character data directly inside
---@field attr table<string, string> by local name; those of a namespace as "{uri}name"
---@field [integer] XmlNode child elements

--- The root element as plain tables; nil and a protocol failure with the line for anything that is not one complete document.
---@param text string
---@return XmlNode? root
---@return Fail? why
function xml.parse(text) end

return xml
