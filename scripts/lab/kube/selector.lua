--- Label and field selectors of lists.
---@class kube.selector
local M <const> = {}

local function words(text)
  local set <const> = {}
  for word in text:gmatch "[^%s,]+" do
    set[word] = true
  end
  return set
end

--- The requirements of a label selector, split at commas outside parentheses.
local function requirements(selector)
  local list <const> = {}
  local marked <const> = selector:gsub("%b()", function(inside) return (inside:gsub(",", "\0")) end)
  for part in marked:gmatch "[^,]+" do
    list[#list + 1] = (part:gsub("\0", ","):match "^%s*(.-)%s*$")
  end
  return list
end

local function meets(labels, requirement)
  local key, how, values = requirement:match "^(%S+)%s+(n?o?t?in)%s*%((.*)%)$"
  if key then
    local is_in <const> = labels[key] ~= nil and words(values)[labels[key]] == true
    return is_in == (how == "in")
  end
  key, values = requirement:match "^([^!=%s]+)%s*!=%s*(.*)$"
  if key then return labels[key] ~= values end
  key, values = requirement:match "^([^!=%s]+)%s*==?%s*(.*)$"
  if key then return labels[key] == values end
  key = requirement:match "^!%s*(.+)$"
  if key then return labels[key] == nil end
  return labels[requirement] ~= nil
end

---@param object table
---@param selector? string
---@return boolean
function M.labels(object, selector)
  for _, requirement in ipairs(requirements(selector or "")) do
    if not meets(object.metadata.labels or {}, requirement) then return false end
  end
  return true
end

local FIELDS <const> = {
  ["metadata.name"] = "",
  ["metadata.namespace"] = "",
  ["status.phase"] = "pods",
  ["spec.nodeName"] = "pods",
  ["involvedObject.kind"] = "events",
  ["involvedObject.name"] = "events",
  ["involvedObject.namespace"] = "events",
  ["involvedObject.uid"] = "events",
  ["reason"] = "events",
  ["type"] = "events",
}

local function value_at(object, path)
  local value = object
  for name in path:gmatch "[^.]+" do
    value = type(value) == "table" and value[name] or nil
  end
  return value == nil and "" or tostring(value)
end

---@param object table
---@param selector? string
---@param resource string plural
---@return boolean? suits nil: a field that this resource cannot be selected by
---@return string? unknown that field
function M.fields(object, selector, resource)
  for part in (selector or ""):gmatch "[^,]+" do
    local path <const>, sign <const>, wanted <const> = part:match "^([^!=]+)(!?==?)(.*)$"
    if not path or (FIELDS[path] ~= "" and FIELDS[path] ~= resource) then return nil, path or part end
    if (value_at(object, path) == wanted) ~= (sign:sub(1, 1) == "=") then return false end
  end
  return true
end

--- What the server says of such a field.
---@param resource kube.Resource
---@param field string
---@return string
function M.refusal(resource, field)
  if resource.group == "" then return "field label not supported: " .. field end
  return ('"%s" is not a known field selector: only "metadata.name", "metadata.namespace"'):format(field)
end

return M
