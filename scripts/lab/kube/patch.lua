--- The three kinds of patches, and the comparing and copying that they need.
local json <const> = require "lunalift.json"

---@class kube.patch
local M <const> = {}

-- json.decode forgets a null in an object, and in a merge patch that is what takes a field away.
local NULL <const> = "\0null"
local NULL_JSON <const> = '"\\u0000null"'

---@generic T
---@param value T
---@return T
function M.copy(value)
  if type(value) ~= "table" then return value end
  local twin <const> = getmetatable(value) == nil and {} or json.array {}
  for key, item in pairs(value) do
    twin[key] = M.copy(item)
  end
  return twin
end

---@return boolean
function M.same(a, b)
  if type(a) ~= "table" or type(b) ~= "table" then return a == b end
  for key, item in pairs(a) do
    if not M.same(item, b[key]) then return false end
  end
  for key in pairs(b) do
    if a[key] == nil then return false end
  end
  return true
end

--- Where the string ends that begins at `quote`; nil if it does not.
local function string_end(text, quote)
  local at = quote
  repeat
    at = text:find('["\\]', at + 1)
    local escape <const> = at and text:byte(at) == 92
    if escape then at = at + 1 end
  until not escape
  return at
end

--- Decode a patch, with its nulls kept for `apply`.
---@param text string
---@return any? patch
function M.decode(text)
  local parts <const>, at = {}, 1
  while at do
    local quote <const> = text:find('"', at, true)
    parts[#parts + 1] = text:sub(at, (quote or 0) - 1):gsub("null", NULL_JSON)
    local last <const> = quote and string_end(text, quote)
    if quote then parts[#parts + 1] = text:sub(quote, last) end
    at = last and last + 1
  end
  return (json.decode(table.concat(parts)))
end

--- The value as it is to be stored: no nulls in objects, json.null in lists.
local function settled(value)
  if type(value) ~= "table" then return value end
  local is_list <const>, clean <const> = value[1] ~= nil, {}
  for key, item in pairs(value) do
    if item ~= NULL then
      clean[key] = settled(item)
    elseif is_list then
      clean[key] = json.null
    end
  end
  return clean
end

local function is_object(value) return type(value) == "table" and value[1] == nil end

--- What is new, then what there was, in its order, but as `new` has it.
local function united(old, new, key_of)
  local changed <const>, kept <const>, all <const> = {}, {}, {}
  for _, item in ipairs(new) do
    changed[key_of(item)] = item
  end
  for i, item in ipairs(old or {}) do
    kept[i] = changed[key_of(item)] or item
    changed[key_of(item)] = nil
  end
  for _, item in ipairs(new) do
    if changed[key_of(item)] then all[#all + 1] = item end
  end
  return table.move(kept, 1, #kept, #all + 1, all)
end

local function itself(item) return item end
local function uid(item) return item.uid end

-- The lists that a strategic patch adds to; it replaces the others, as a merge patch does.
local ADDED_TO <const> = { finalizers = itself, ownerReferences = uid }
local DELETE_LIST <const> = "$deleteFromPrimitiveList/"

local function without(old, gone)
  local left <const>, names <const> = {}, {}
  for _, item in ipairs(gone) do
    names[item] = true
  end
  for _, item in ipairs(old or {}) do
    if not names[item] then left[#left + 1] = item end
  end
  return left
end

local function merge(target, patch, strategic)
  if not is_object(patch) then return settled(patch) end
  local merged <const> = is_object(target) and target or {}
  for key, item in pairs(patch) do
    if item == NULL then
      merged[key] = nil
    elseif strategic and key:sub(1, #DELETE_LIST) == DELETE_LIST then
      local field <const> = key:sub(#DELETE_LIST + 1)
      merged[field] = without(merged[field], item)
    elseif strategic and key:sub(1, 1) == "$" then
      assert(key:find "^%$setElementOrder/") -- order means nothing in the lists we add to; other directives we do not know
    elseif strategic and ADDED_TO[key] and type(item) == "table" then
      merged[key] = united(merged[key], item, ADDED_TO[key])
    else
      merged[key] = merge(merged[key], item, strategic)
    end
  end
  return merged
end

-- JSON patch (RFC 6902). Its errors are raised and say nothing: the server tells no more either.

local function tokens(pointer)
  local list <const> = {}
  assert(type(pointer) == "string" and (pointer == "" or pointer:sub(1, 1) == "/"))
  for token in pointer:gmatch "/([^/]*)" do
    list[#list + 1] = token:gsub("~1", "/"):gsub("~0", "~")
  end
  return list
end

local function key_in(parent, token)
  assert(type(parent) == "table")
  local is_list <const> = parent[1] ~= nil or (next(parent) == nil and (token == "-" or token == "0"))
  if not is_list then return token, false end
  if token == "-" then return #parent + 1, true end
  return assert(math.tointeger(tonumber(token))) + 1, true
end

local function parent_of(document, pointer)
  local list <const> = tokens(pointer)
  local parent = document
  for i = 1, #list - 1 do
    parent = parent[(key_in(parent, list[i]))]
    assert(type(parent) == "table")
  end
  return parent, key_in(parent, list[#list])
end

local OPS <const> = {}

local function get(document, pointer)
  if pointer == "" then return document end
  local parent <const>, key <const> = parent_of(document, pointer)
  return parent[key]
end

function OPS.add(document, op)
  local parent <const>, key <const>, is_list <const> = parent_of(document, op.path)
  if is_list then
    assert(key >= 1 and key <= #parent + 1)
    table.insert(parent, key, settled(op.value))
  else
    parent[key] = settled(op.value)
  end
end

function OPS.remove(document, op)
  local parent <const>, key <const>, is_list <const> = parent_of(document, op.path)
  assert(parent[key] ~= nil)
  if is_list then
    table.remove(parent, key)
  else
    parent[key] = nil
  end
end

function OPS.replace(document, op)
  local parent <const>, key <const> = parent_of(document, op.path)
  assert(parent[key] ~= nil)
  parent[key] = settled(op.value)
end

function OPS.test(document, op)
  local wanted = settled(op.value)
  if wanted == NULL then wanted = nil end
  assert(M.same(get(document, op.path), wanted))
end

function OPS.copy(document, op)
  local value <const> = M.copy(get(document, op.from))
  assert(value ~= nil)
  OPS.add(document, { path = op.path, value = value })
end

function OPS.move(document, op)
  OPS.copy(document, op)
  OPS.remove(document, { path = op.from })
end

local function json_patch(document, ops)
  for _, op in ipairs(ops) do
    assert(OPS[op.op])(document, op)
  end
  return document
end

local APPLY <const> = {
  ["application/json-patch+json"] = json_patch,
  ["application/merge-patch+json"] = function(document, patch) return merge(document, patch, false) end,
  ["application/strategic-merge-patch+json"] = function(document, patch) return merge(document, patch, true) end,
}

--- Is it a content type of patches that we know?
---@param content_type string
---@return boolean
function M.knows(content_type) return APPLY[content_type] ~= nil end

--- The patched copy of an object; nil if the patch does not fit.
---@param content_type string
---@param object table
---@param patch any from `decode`
---@return table?
function M.apply(content_type, object, patch)
  local ok <const>, patched <const> = pcall(APPLY[content_type], M.copy(object), patch)
  return ok and type(patched) == "table" and patched or nil
end

return M
