--- The manners of ONTAP's REST interface, whatever the object: accounts, field selection, query patterns, paging, links, errors.
local codec <const> = require "lunalift.codec"
local json <const> = require "lunalift.json"

---@class ontap.hal
local M <const> = {}

---@class hal.Kind one collection
---@field path string such as "/api/storage/luns"
---@field keys string[] dotted fields that name a record, in the order of its address
---@field always string[] fields that every answer shows
---@field fields string[] the other ones
---@field expensive? table<string, true> shown only when named

---@class hal.Request
---@field method string
---@field path string without "/api", without doubled or trailing slashes
---@field args { name: string, value: string }[]
---@field query table<string, string> the same by name
---@field headers table<string, string>
---@field body table
---@field links boolean the client wants _links

local RESERVED <const> =
  { fields = true, max_records = true, return_timeout = true, return_records = true, allow_delete_while_mapped = true }

--- Refuse a request: raised, and made an answer by `guard`.
---@param status integer
---@param code string
---@param message string
---@param target? string
function M.refuse(status, code, message, target)
  error({ refusal = { status = status, body = { error = { code = code, message = message, target = target } } } }, 0)
end

---@param status integer
---@param value? table
---@param headers? table<string, string>
---@return ServerAnswer
function M.answer(status, value, headers)
  local all <const> = { ["content-type"] = "application/hal+json" }
  for name, text in pairs(headers or {}) do
    all[name] = text
  end
  return { status = status, headers = all, body = json.encode(value or {}) .. "\n" }
end

--- Call `fn`; what it refused becomes the answer.
---@param fn fun(): ServerAnswer
---@return ServerAnswer
function M.guard(fn, ...)
  local ok <const>, answer <const> = pcall(fn, ...)
  if ok then return answer end
  if type(answer) ~= "table" or not answer.refusal then error(answer, 0) end
  local refusal <const> = answer.refusal
  local headers <const> = refusal.status == 401 and { ["www-authenticate"] = 'Basic realm="ontap"' } or nil
  return M.answer(refusal.status, refusal.body, headers)
end

local function unquery(text) return codec.unpercent((text:gsub("%+", " "))) end

local function body_of(request)
  if request.body == nil or request.body == "" then return {} end
  local body <const> = json.decode(request.body)
  if type(body) ~= "table" then M.refuse(400, "2", "The request body is not a JSON object.") end
  return body
end

---@param request ServerRequest
---@return hal.Request
function M.parse(request)
  local args <const>, query <const> = {}, {}
  for pair in (request.query or ""):gmatch "[^&]+" do
    local name <const>, value <const> = pair:match "^([^=]*)=?(.*)$"
    local arg <const> = { name = unquery(name), value = unquery(value), text = pair }
    args[#args + 1], query[arg.name] = arg, arg.value
  end
  local path <const> = request.path:gsub("/+", "/"):gsub("/$", "")
  return {
    method = request.method,
    path = path:match "^/api(/.*)$" or M.refuse(404, "3", "API not found", path),
    args = args,
    query = query,
    headers = request.headers or {},
    body = body_of(request),
    links = (request.headers or {}).accept ~= "application/json",
  }
end

--- The account that a Basic header names; refuses with 401.
---@param request hal.Request
---@param accounts table<string, { password: string, svm: string? }>
---@return { password: string, svm: string? } account
function M.account(request, accounts)
  local encoded <const> = (request.headers.authorization or ""):match "^[Bb]asic%s+(%S+)$"
  local user <const>, password <const> = (encoded and codec.unbase64(encoded) or ""):match "^([^:]*):(.*)$"
  local account <const> = accounts[user or ""]
  if not account or account.password ~= password then M.refuse(401, "6691623", "User is not authorized.") end
  return account
end

--- All values under a dotted path, through lists.
local function collect(value, path, found)
  if type(value) == "table" and value[1] ~= nil then
    for _, item in ipairs(value) do
      collect(item, path, found)
    end
  elseif not path then
    found[#found + 1] = value
  elseif type(value) == "table" then
    local head <const>, rest <const> = path:match "^([^.]+)%.?(.*)$"
    collect(value[head], rest ~= "" and rest or nil, found)
  end
  return found
end

local function first(record, path) return tostring(collect(record, path, {})[1]) end

local function like(text, pattern)
  return text:find("^" .. pattern:gsub("[%^%$%(%)%%%.%[%]%+%-%?]", "%%%0"):gsub("%*", ".*") .. "$") ~= nil
end

local COMPARE <const> = {
  ["<"] = function(a, b) return a < b end,
  [">"] = function(a, b) return a > b end,
  ["<="] = function(a, b) return a <= b end,
  [">="] = function(a, b) return a >= b end,
}

local function is(value, wanted)
  if wanted:sub(1, 1) == "!" then return not is(value, wanted:sub(2)) end
  local number <const> = tonumber(value)
  local sign <const>, limit <const> = wanted:match "^([<>]=?)(%d+)$"
  if sign and number then return COMPARE[sign](number, tonumber(limit)) end
  local low <const>, high <const> = wanted:match "^(%d+)%.%.(%d+)$"
  if low and number then return number >= tonumber(low) and number <= tonumber(high) end
  return like(tostring(value), wanted)
end

local function suits(record, arg)
  local found <const> = collect(record, arg.name, {})
  for wanted in arg.value:gmatch "[^|,]+" do
    for _, value in ipairs(found) do
      if is(value, wanted) then return true end
    end
  end
  return false
end

local function known(kind, path)
  local name <const> = path:match "^[^.]+"
  for _, list in ipairs { kind.always, kind.fields } do
    for _, field in ipairs(list) do
      if field == name then return true end
    end
  end
  return false
end

local function filtered(request, kind, records)
  local filters <const>, kept <const> = {}, {}
  for _, arg in ipairs(request.args) do
    if not RESERVED[arg.name] and not arg.name:find "^start%." then
      if not known(kind, arg.name) then
        M.refuse(400, "262179", ('Unexpected argument "%s".'):format(arg.name), arg.name)
      end
      filters[#filters + 1] = arg
    end
  end
  for _, record in ipairs(records) do
    local suited = true
    for _, filter in ipairs(filters) do
      suited = suited and suits(record, filter)
    end
    if suited then kept[#kept + 1] = record end
  end
  return kept
end

local function plant(tree, path)
  local head <const>, rest <const> = path:match "^([^.]+)%.?(.*)$"
  if rest == "" or rest == "*" then
    tree[head] = true
  elseif tree[head] ~= true then
    tree[head] = tree[head] or {}
    plant(tree[head], rest)
  end
end

local function plant_all(tree, kind, also_expensive)
  for _, field in ipairs(kind.fields) do
    if also_expensive or not (kind.expensive or {})[field] then tree[field] = true end
  end
end

--- Which fields to show, as a tree. One instance shows all that is cheap, a list only its keys.
local function wanted_fields(request, kind, is_instance)
  local tree <const> = {}
  for _, field in ipairs(kind.always) do
    tree[field] = true
  end
  local fields <const> = request.query.fields or (is_instance and "*" or "")
  for path in fields:gmatch "[^,]+" do
    if path == "*" or path == "**" then
      plant_all(tree, kind, path == "**")
    elseif known(kind, path) then
      plant(tree, path)
    elseif not known(kind, (path:gsub("-", "_"))) then -- the hyphens of ONTAP's older interface are passed over in silence
      M.refuse(400, "262197", ('The value "%s" is invalid for field "fields" (<field,...>)'):format(path), "fields")
    end
  end
  return tree
end

local function project(value, tree)
  if tree == true or type(value) ~= "table" then return value end
  local shown <const> = {}
  if value[1] ~= nil then
    for _, item in ipairs(value) do
      shown[#shown + 1] = project(item, tree)
    end
  else
    for name, branch in pairs(tree) do
      shown[name] = project(value[name], branch)
    end
  end
  return next(shown) ~= nil and shown or nil
end

local function segment(text) return codec.percent(text, ":") end

--- Where a record lives.
---@param kind hal.Kind
---@param record table
---@return string
function M.address(kind, record)
  local parts <const> = { kind.path }
  for _, key in ipairs(kind.keys) do
    parts[#parts + 1] = segment(first(record, key))
  end
  return table.concat(parts, "/")
end

--- Is it the record that these keys name?
---@param kind hal.Kind
---@param record table
---@param keys string[]
---@return boolean
function M.names(kind, record, keys)
  for i, key in ipairs(kind.keys) do
    if first(record, key) ~= keys[i] then return false end
  end
  return true
end

local OTHERS <const> = {
  svm = "/api/svm/svms/",
  lun = "/api/storage/luns/",
  igroup = "/api/protocols/san/igroups/",
  node = "/api/cluster/nodes/",
}

local function linked(shown, kind, record)
  for name, base in pairs(OTHERS) do
    local other <const> = shown[name]
    if type(other) == "table" and other.uuid then other._links = { self = { href = base .. other.uuid } } end
  end
  shown._links = { self = { href = M.address(kind, record) } }
  return shown
end

local function show(request, kind, record, tree)
  local shown <const> = project(record, tree)
  return request.links and linked(shown, kind, record) or shown
end

local function before(kind, a, b)
  for _, key in ipairs(kind.keys) do
    local left <const>, right <const> = first(a, key), first(b, key)
    if left ~= right then return left < right end
  end
  return false
end

--- Index of the first record of the page asked for.
local function start_of(request, kind, records)
  local wanted <const> = {}
  for _, key in ipairs(kind.keys) do
    wanted[#wanted + 1] = request.query["start." .. key]
  end
  if #wanted < #kind.keys then return 1 end
  for i, record in ipairs(records) do
    for k, key in ipairs(kind.keys) do
      local value <const> = first(record, key)
      if value > wanted[k] or (value == wanted[k] and k == #kind.keys) then return i end
      if value < wanted[k] then break end
    end
  end
  return #records + 1
end

local function next_page(request, kind, record)
  local parts <const> = {}
  for _, key in ipairs(kind.keys) do
    parts[#parts + 1] = "start." .. key .. "=" .. codec.percent(first(record, key))
  end
  for _, arg in ipairs(request.args) do
    if not arg.name:find "^start%." then parts[#parts + 1] = arg.text end
  end
  return "/api" .. request.path .. "?" .. table.concat(parts, "&")
end

local function page_size(request, page_limit)
  local asked <const> = math.tointeger(tonumber(request.query.max_records))
  if request.query.max_records and not asked then
    local text <const> = ('The value "%s" is invalid for field "max_records" (<integer>)'):format(
      request.query.max_records
    )
    M.refuse(400, "262197", text, "max_records")
  end
  return math.min(asked and asked > 0 and asked or 10000, page_limit or 10000)
end

--- A list of records: filtered, cut to a page, shown as asked for.
---@param request hal.Request
---@param kind hal.Kind
---@param records table[]
---@param page_limit? integer end every page after so many
---@return ServerAnswer
function M.list(request, kind, records, page_limit)
  local kept <const> = filtered(request, kind, records)
  table.sort(kept, function(a, b) return before(kind, a, b) end)
  local tree <const> = wanted_fields(request, kind, false)
  local from <const> = start_of(request, kind, kept)
  local past <const> = from + page_size(request, page_limit)
  local shown <const>, links <const> = {}, {}
  for i = from, math.min(#kept, past - 1) do
    shown[#shown + 1] = show(request, kind, kept[i], tree)
  end
  if kept[past] then links.next = { href = next_page(request, kind, kept[past]) } end
  if request.links then links.self = { href = "/api" .. request.path } end
  return M.answer(200, { records = json.array(shown), num_records = #shown, _links = next(links) and links or nil })
end

--- One record.
---@param request hal.Request
---@param kind hal.Kind
---@param record table
---@return ServerAnswer
function M.one(request, kind, record)
  return M.answer(200, show(request, kind, record, wanted_fields(request, kind, true)))
end

--- 201 for what was made: its address, and itself when `return_records` asks for it.
---@param request hal.Request
---@param kind hal.Kind
---@param made table[] records
---@return ServerAnswer
function M.created(request, kind, made)
  local headers <const> = { location = M.address(kind, made[1]) }
  if request.query.return_records ~= "true" then return M.answer(201, { num_records = #made }, headers) end
  local shown <const>, tree <const> = {}, wanted_fields({ query = {} }, kind, true)
  for i, record in ipairs(made) do
    shown[i] = show(request, kind, record, tree)
  end
  return M.answer(201, { num_records = #made, records = shown }, headers)
end

--- Refuse what a body may not hold.
---@param body table
---@param allowed table<string, true>
function M.only(body, allowed)
  for name in pairs(body) do
    if not allowed[name] and name ~= "_links" then
      M.refuse(400, "262179", ('Unexpected argument "%s".'):format(name), name)
    end
  end
end

return M
