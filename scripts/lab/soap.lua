--- Requests of the vim25 protocol, read as a strict server reads them: elements in the order of the schema, nothing unknown, nothing twice.
local vim <const> = require "lab.vim"
local xml <const> = require "lunalift.xml"

---@class lab.soap
local M <const> = {}

local ENVELOPE_NS <const> = "http://schemas.xmlsoap.org/soap/envelope/"
local XSI_TYPE <const> = "{http://www.w3.org/2001/XMLSchema-instance}type"

--- Data objects in requests: fields in order; `?` optional, `*` repeated; `:` gives the type (string unless said).
local TYPES <const> = {
  PropertyFilterSpec = "propSet*:PropertySpec objectSet*:ObjectSpec reportMissingObjectsInResults?:bool",
  PropertySpec = "type all?:bool pathSet*",
  ObjectSpec = "obj:ref skip?:bool selectSet*:SelectionSpec",
  SelectionSpec = "name?",
  TraversalSpec = "name? type path skip?:bool selectSet*:SelectionSpec",
  RetrieveOptions = "maxObjects?:int",
  WaitOptions = "maxWaitSeconds?:int maxObjectUpdates?:int",
  SoapArgument = "name val",
  OptionValue = "key value",
  HostDatastoreBrowserSearchSpec = "details?:FileQueryFlags searchCaseInsensitive?:bool matchPattern* sortFoldersFirst?:bool",
  FileQueryFlags = "fileType:bool fileSize:bool modification:bool fileOwner?:bool",
}

local EXTENDS <const> = { TraversalSpec = "SelectionSpec" }

local function malformed(text) return vim.fault("InvalidRequest", text) end

local function fields_of(spec)
  local fields <const> = {}
  for word in spec:gmatch "%S+" do
    local name <const>, mark <const>, type <const> = word:match "^([%w_]+)([?*]?):?(%w*)$"
    fields[#fields + 1] =
      { name = name, optional = mark == "?", list = mark == "*", type = type ~= "" and type or "string" }
  end
  return fields
end

local BOOLEANS <const> = { ["true"] = true, ["1"] = true, ["false"] = false, ["0"] = false }

local decode -- data objects hold data objects

local SCALARS <const> = {
  string = function(node) return node.text end,
  int = function(node)
    return math.tointeger(tonumber(node.text)) or error(malformed("not an integer while parsing " .. node.name))
  end,
  bool = function(node)
    local value <const> = BOOLEANS[node.text]
    if value == nil then error(malformed("not a boolean while parsing " .. node.name)) end
    return value
  end,
  ref = function(node)
    if not node.attr.type then error(malformed("no type of the reference while parsing " .. node.name)) end
    return { type = node.attr.type, id = node.text }
  end,
}

local function value_of(node, type)
  if SCALARS[type] then return SCALARS[type](node) end
  local actual <const> = (node.attr[XSI_TYPE] or type):gsub("^.*:", "")
  if actual ~= type and EXTENDS[actual] ~= type then
    error(malformed(("%s is no %s while parsing %s"):format(actual, type, node.name)))
  end
  local value <const> = decode(node, TYPES[actual])
  value._type = actual
  return value
end

--- Read children of `node` from number `from` on as the spec says.
---@param node XmlNode
---@param spec string
---@param from? integer
---@return table
function decode(node, spec, from)
  local value <const> = {}
  local i = from or 1
  for _, field in ipairs(fields_of(spec)) do
    if field.list then value[field.name] = {} end
    while node[i] and node[i].name == field.name do
      local each <const> = value_of(node[i], field.type)
      i = i + 1
      if not field.list then
        value[field.name] = each
        break
      end
      table.insert(value[field.name], each)
    end
    if value[field.name] == nil and not field.optional then
      error(malformed(("missing %s while parsing %s"):format(field.name, node.name)))
    end
  end
  if node[i] then error(malformed(("unexpected element %s while parsing %s"):format(node[i].name, node.name))) end
  return value
end
M.decode = decode

---@class lab.Call
---@field method string
---@field this? Moref
---@field node XmlNode

--- The one method of a request; nil and a fault for what is no vim25 request.
---@param body string
---@return lab.Call? call
---@return lab.Fault? why
function M.call(body)
  local root <const>, why <const> = xml.parse(body)
  if not root then return nil, malformed((why and why.message or "not XML") .. " while parsing the request") end
  if root.name ~= "Envelope" or root.ns ~= ENVELOPE_NS then return nil, malformed "no SOAP envelope" end
  local inside
  for _, child in ipairs(root) do
    if child.name == "Body" and child.ns == ENVELOPE_NS then inside = child end
  end
  local node <const> = inside and inside[1]
  if not node or not node.ns:find "^urn:%a*vim25$" then return nil, malformed "no method of urn:vim25 in the body" end
  local this <const> = node[1]
  if not this or this.name ~= "_this" then return nil, malformed("missing _this while parsing " .. node.name) end
  return { method = node.name, this = { type = this.attr.type, id = this.text }, node = node }
end

--- The parameters of a call, after _this.
---@param call lab.Call
---@param spec string
function M.arguments(call, spec) return decode(call.node, spec, 2) end

return M
