--- Attacks of a script on the process that runs it. Each either raises soon, or returns what it got hold of.
local codec <const> = require "lunalift.codec"
local http <const> = require "lunalift.http"
local json <const> = require "lunalift.json"
local log <const> = require "lunalift.log"
local secret <const> = require "lunalift.secret"
local task <const> = require "lunalift.task"
local timer <const> = require "lunalift.timer"
local xml <const> = require "lunalift.xml"

local M <const> = {}

local function forever()
  while true do
  end
end

-- ---- loops ----

function M.loop_in_close()
  local _guard <close> = setmetatable({}, { __close = forever })
  error "leave"
end

function M.loop_in_index() return ("%s"):format(setmetatable({}, { __index = forever }).field) end
function M.loop_in_tostring() return tostring(setmetatable({}, { __tostring = forever })) end
function M.loop_in_gsub() return ("abc"):gsub(".", forever) end
function M.loop_in_handler() return xpcall(error, forever) end
function M.loop_in_error_object() error(setmetatable({}, { __tostring = forever, __index = forever })) end
function M.loop_in_pairs()
  for _ in pairs(setmetatable({}, { __pairs = forever })) do
  end
end
function M.loop_in_task()
  return task.all { function() return pcall(forever) end, function() return pcall(forever) end }
end
function M.loop_in_shield() return assert(task.shield(3600, forever):join()) end

-- ---- counts that C would loop over ----

local endless <const> = setmetatable({}, { __len = function() return 1 << 62 end })

function M.insert() table.insert(endless, 1, 1) end
function M.remove() table.remove(endless, 1) end
function M.sort() table.sort(endless) end
function M.move() table.move({}, 1, math.maxinteger - 1, 2) end
function M.unpack() return table.unpack({}, 1, 1 << 40) end
function M.long_plain_find() return ("a"):rep(1 << 20):find(("a"):rep(1 << 19) .. "b", 1, true) end
function M.long_pattern() return ("a"):rep(64 << 10):find ".-b" end

-- ---- memory ----

function M.rep() return ("x"):rep(1 << 40) end
function M.concat()
  local part <const>, parts <const> = ("x"):rep(1 << 20), {}
  for i = 1, 1 << 16 do
    parts[i] = part
  end
  return table.concat(parts)
end
function M.gsub() return ("x"):rep(1 << 20):gsub(".", ("y"):rep(1 << 16)) end
function M.secrets()
  local all <const> = {}
  while true do
    all[#all + 1] = secret.new(("x"):rep(1 << 19))
  end
end
function M.large_secret() return secret.new(("x"):rep(2 << 20)) end
function M.encode_twice_as_large()
  local t = {}
  for _ = 1, 90 do
    t = { t, t }
  end
  return json.encode(t)
end

-- ---- depth ----

function M.recurse()
  local function again() return 1 + again() end
  return again()
end
function M.recurse_in_pcall()
  local function again() return select(2, pcall(again)) end
  return again()
end
function M.recurse_in_handler()
  local function again(why) error(why) end
  return select(2, xpcall(error, again, "x"))
end
function M.recurse_in_gsub()
  local function again(text) return (text:gsub(".", again)) end
  return again "x"
end
function M.recurse_in_index()
  local t <const> = {}
  setmetatable(t, { __index = function(self, key) return self[key .. "x"] end })
  return t.x
end
function M.recurse_in_sort()
  local function again()
    table.sort({ 3, 2, 1 }, again)
    return true
  end
  return again()
end
function M.deep_json() return assert(json.decode(("["):rep(5000) .. ("]"):rep(5000))) end
function M.deep_table()
  local t = {}
  for _ = 1, 1000 do
    t = { t }
  end
  return json.encode(t)
end
function M.deep_result()
  local t = {}
  for _ = 1, 1000 do
    t = { t }
  end
  return t
end
function M.deep_xml() return xml.parse(("<a>"):rep(5000)) end

-- ---- nonsense ----

function M.odd_comparator()
  local list <const> = {}
  for i = 1, 200 do
    list[i] = i % 7
  end
  table.sort(list, function() return true end)
end
function M.raising_error_object()
  error(setmetatable({}, { __tostring = function() error "again" end, __index = function() error "again" end }))
end
function M.raising_result() return setmetatable({}, { __index = error, __len = error, __pairs = error }) end
function M.nil_error() error(nil) end
function M.sleep_in_comparator()
  table.sort({ 2, 1 }, function() return timer.sleep(1) end)
end

-- ---- what can be got hold of ----

function M.metatables()
  local got <const> = {}
  local client <const> = http.client { base = "http://127.0.0.1:1" }
  local _, failure <const> = json.decode "x"
  local values <const> = { "", secret.new "a secret", client, failure, json.array {}, task.mutex() }
  for i, value in ipairs(values) do
    got[i] = getmetatable(value) == false
    got[#values + 1] = not pcall(setmetatable, value, { __gc = forever })
  end
  return got
end

local function texts_of(into, ...)
  for i = 1, select("#", ...) do
    local value <const> = select(i, ...)
    into[#into + 1] = tostring(value)
    if type(value) == "table" then texts_of(into, value.message, value.hint, value.body) end
  end
end

--- All texts that a script can make of a secret.
---@param hidden Secret
---@return string[]
function M.texts_of_secret(hidden)
  local got <const> = {}
  local routes <const> = {
    codec.base64,
    codec.sha256,
    codec.percent,
    codec.xml_escape,
    codec.unbase64,
    codec.unpercent,
    json.encode,
    json.decode,
    json.array,
    xml.parse,
    log.redact,
    tostring,
    tonumber,
    error,
    assert,
    ipairs,
    next,
    require,
    rawlen,
    string.len,
    string.upper,
    string.reverse,
    string.byte,
    string.rep,
    function(value) return value .. "", "" .. value, value .. value end,
    function(value) return #value end,
    function(value) return value.secret, value[1] end,
    function(value) return table.concat { value } end,
    function(value) return table.concat({ "a", "b" }, value) end,
    function(value) return ("x"):rep(3, value) end,
    function(value) return ("x"):gsub("x", value) end,
    function(value) return ("x"):gsub("x", { x = value }) end,
    function(value)
      return ("x"):gsub("x", function() return value end)
    end,
    function(value) return string.pack("z", value) end,
    function(value) return utf8.len(value) end,
    function(value) return os.date(value) end,
    function(value) return value:wrap("a", "b") end,
    function(value) return value:unbase64() end,
    function(value) return rawget(value, 1) end,
    function(value) return json.encode { [value] = value } end,
    function(value) error { message = value } end,
    function(value) return http.client { base = value } end,
    function(value) return http.client { base = "http://127.0.0.1:1/", [value] = 1 } end,
    function(value) return http.client({ base = "http://127.0.0.1:1" }):get(value) end,
    function(value) return http.client({ base = "http://127.0.0.1:1" }):get("/", { query = { a = value } }) end,
    function(value) return http.client({ base = "http://127.0.0.1:1", password = value }):get "/" end,
    function(value) return http.client({ base = "http://127.0.0.1:1", headers = { ["A\n"] = value } }):get "/" end,
    function(value) return task.spawn(error, value):wait() end,
    function(value) return timer.sleep(value) end,
  }
  for _, conversion in ipairs { "s", "q", "d", "x", "g", "c", "a", "i", "p", "10s", ".3s" } do
    routes[#routes + 1] = function(value) return ("%" .. conversion):format(value) end
  end
  for _, route in ipairs(routes) do
    texts_of(got, pcall(route, hidden))
  end
  return got
end

return M
