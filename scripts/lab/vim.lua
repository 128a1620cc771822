--- Values of the vim25 protocol, and how they look on the wire. A field that is nil is unset; a function stands for its
--- result at that moment.
local codec <const> = require "lunalift.codec"

---@class lab.vim
local M <const> = {}

---@class lab.Value kind "ref", "object", "array" or "scalar"
---@field kind string
---@field type string
---@field id? string of a ref
---@field fields? table[] of an object: { name, value } in the order of the schema, base class first
---@field derived? boolean of an object: its class is not the declared one, so the wire must name it
---@field items? any[] of an array
---@field text? string of a scalar

---@return lab.Value
function M.ref(type, id) return { kind = "ref", type = type, id = id } end

---@param fields table[]
---@return lab.Value
function M.object(type, fields) return { kind = "object", type = type, fields = fields } end

---@param fields table[]
---@return lab.Value
function M.derived(type, fields) return { kind = "object", type = type, fields = fields, derived = true } end

--- `type` is the declared class of the items: "string", "ManagedObjectReference", "HostHostBusAdapter", …
---@param items any[]
---@return lab.Value
function M.array(type, items) return { kind = "array", type = type, items = items } end

---@return lab.Value
function M.scalar(type, text) return { kind = "scalar", type = type, text = tostring(text) } end

function M.long(n) return M.scalar("xsd:long", n) end
function M.short(n) return M.scalar("xsd:short", n) end
function M.date(text) return M.scalar("xsd:dateTime", text) end

function M.refs(list) return M.array("ManagedObjectReference", list) end
function M.strings(list) return M.array("string", list) end

---@return any value a lazy one is asked now
function M.now(value)
  if type(value) == "function" then return value() end
  return value
end

--- A field of an object by name.
---@return any value nil when unset
function M.field(object, name)
  for _, pair in ipairs(object.fields) do
    if pair[1] == name then return M.now(pair[2]) end
  end
end

local XSD <const> =
  { string = "xsd:string", int = "xsd:int", boolean = "xsd:boolean", long = "xsd:long", byte = "xsd:byte" }

local function xsd_of(value)
  if type(value) == "string" then return "xsd:string" end
  if math.type(value) == "integer" then return "xsd:int" end
  if type(value) == "boolean" then return "xsd:boolean" end
  error("no vim type for a " .. type(value))
end

local function array_name(item) return "ArrayOf" .. item:sub(1, 1):upper() .. item:sub(2) end

local function leaf(name, text, attributes)
  return "<" .. name .. attributes .. ">" .. codec.xml_escape(text) .. "</" .. name .. ">"
end

local function named(type) return ' xsi:type="' .. type .. '"' end

local ENCODE <const> = {}

--- Append `value` as element `name`; `any` where the declared type is anyType, so that every value must name its own.
---@param out string[]
---@param any? boolean
function M.encode(out, name, value, any)
  value = M.now(value)
  if value == nil then return end
  if type(value) == "table" then return ENCODE[value.kind](out, name, value, any) end
  out[#out + 1] = leaf(name, tostring(value), any and named(xsd_of(value)) or "")
end

function ENCODE.ref(out, name, value, any)
  local attributes <const> = ' type="' .. value.type .. '"'
  out[#out + 1] = leaf(name, value.id, attributes .. (any and named "ManagedObjectReference" or ""))
end

function ENCODE.scalar(out, name, value, any) out[#out + 1] = leaf(name, value.text, any and named(value.type) or "") end

local function encode_fields(out, fields)
  for _, pair in ipairs(fields) do
    M.encode(out, pair[1], pair[2], pair.any)
  end
end

function ENCODE.object(out, name, value, any)
  out[#out + 1] = "<" .. name .. ((any or value.derived) and named(value.type) or "") .. ">"
  encode_fields(out, value.fields)
  out[#out + 1] = "</" .. name .. ">"
end

function ENCODE.array(out, name, value, any)
  if any then out[#out + 1] = "<" .. name .. named(array_name(value.type)) .. ">" end
  for _, item in ipairs(value.items) do
    local is_simple <const> = XSD[value.type] or value.type == "ManagedObjectReference"
    M.encode(out, any and value.type or name, item, any and is_simple)
  end
  if any then out[#out + 1] = "</" .. name .. ">" end
end

local ENVELOPE <const> = [[<?xml version="1.0" encoding="UTF-8"?>
<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" ]] .. [[
xmlns:xsd="http://www.w3.org/2001/XMLSchema" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
<soapenv:Body>
%s
</soapenv:Body>
</soapenv:Envelope>
]]

local function enveloped(text)
  return (ENVELOPE:gsub("%%s", function() return text end))
end

--- The answer to a method: nothing, one value, or several.
---@param results any[]
---@param any? boolean the method declares its result as anyType
---@return string
function M.response(method, results, any)
  local out <const> = {}
  for _, each in ipairs(results) do
    M.encode(out, "returnval", each, any)
  end
  local tag <const> = method .. "Response"
  if #out == 0 then return enveloped("<" .. tag .. ' xmlns="urn:vim25"/>') end
  return enveloped("<" .. tag .. ' xmlns="urn:vim25">' .. table.concat(out) .. "</" .. tag .. ">")
end

---@class lab.Fault
---@field fault string type on the wire
---@field text string
---@field fields table[]

--- A fault to be raised with error(): the call ends with it.
---@return lab.Fault
function M.fault(name, text, fields) return { fault = name, text = text or name, fields = fields or {} } end

---@param fault lab.Fault
---@return string
function M.fault_response(fault)
  local tag <const> = fault.fault .. "Fault"
  local out <const> = { "<soapenv:Fault><faultcode>ServerFaultCode</faultcode>", leaf("faultstring", fault.text, "") }
  out[#out + 1] = "<detail><" .. tag .. ' xmlns="urn:vim25"' .. named(fault.fault) .. ">"
  encode_fields(out, fault.fields)
  out[#out + 1] = "</" .. tag .. "></detail></soapenv:Fault>"
  return enveloped(table.concat(out))
end

--- The same fault where data carries it (missingSet, TaskInfo.error).
---@param fault lab.Fault
---@return lab.Value
function M.localized(fault)
  return M.object("LocalizedMethodFault", {
    { "fault", M.derived(fault.fault, fault.fields) },
    { "localizedMessage", fault.text },
  })
end

return M
