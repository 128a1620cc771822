--- All that passes between a vendor script and its array, call by call, written down; or, with no array at all, answered from what was
--- written down before, until something differs. Lives in an array's own state, where it puts itself before the HTTP client.
local codec <const> = require "lunalift.codec"
local fail <const> = require "lib.fail"
local http <const> = require "lunalift.http"
local json <const> = require "lunalift.json"
local redact <const> = require "lib.redact"
local rest <const> = require "lib.rest"
local secret <const> = require "lunalift.secret"
local task <const> = require "lunalift.task"
local timer <const> = require "lunalift.timer"
local unlike <const> = require "lib.unlike"

local M <const> = {}

--- A secret, wherever one was.
M.MASK = "***"

---@class lib.TapeRequest
---@field ask string "GET /api/x?a=1"
---@field headers table<string, string>
---@field body? any
---@field reply? table what the client returned
---@field refusal? table or the failure

---@class lib.TapeCall one function of the contract, or open and close
---@field call string
---@field given any[]
---@field requests lib.TapeRequest[]
---@field returned? any[]
---@field raised? { kind: string, message: string, hint: string? }

local calls, now -- recorded; and the one under way
local plays -- in a replay: the calls to come
local difference
local masks <const>, mask_count, logins = {}, 0, 0 -- texts that are secrets, each with what stands for it
local mutex <const> = task.mutex()

-- ---- secrets ----

local SHORTEST <const> = 8 -- what is shorter may be part of any word
local SECRET_NAMES <const> =
  { "passw", "secret", "token", "api.?key", "session.?key", "cookie", "authorization", "credential", "private.?key" }

local function is_secret_name(name)
  if type(name) ~= "string" then return false end
  for _, pattern in ipairs(SECRET_NAMES) do
    if name:lower():find(pattern) then return true end
  end
  return false
end

-- The same text is always masked alike, so that a script that hands a token on hands on its mask in a replay.
local function hide(text)
  if #text < SHORTEST or masks[text] then return end
  mask_count = mask_count + 1
  masks[text] = ("masked-%d"):format(mask_count)
  masks[codec.percent(text)] = masks[text]
end

-- An answer to a login may call its token anything, or have it at the end of an address.
local function hide_token(text)
  local is_address <const> = text:find "^/" or text:find "^%a+://"
  local token <const> = is_address and text:match "[^/]*$" or text
  if #token >= 12 and not token:find "%s" then hide(token) end
end

local function hide_in(value, name)
  if type(value) == "table" then
    for key, inner in pairs(value) do
      hide_in(inner, type(key) == "string" and key or name)
    end
  elseif type(value) == "string" and is_secret_name(name) then
    hide(value)
  elseif type(value) == "string" and logins > 0 then
    hide_token(value)
  end
end

local function hide_in_headers(headers)
  for name, value in pairs(headers) do
    for cookie in (name == "set-cookie" and value or ""):gmatch "[^=\n]+=([^;\n]*)[^\n]*" do
      hide(cookie)
    end
    if name ~= "set-cookie" and is_secret_name(name) then hide(value) end
    if logins > 0 and name == "location" then hide_token(value) end
  end
end

local function hide_in_answer(answer)
  hide_in_headers(answer.headers or {})
  if answer.json ~= nil then
    hide_in(answer.json)
  else
    hide_in(answer.body)
  end
end

local function by_length(a, b) return #a > #b end

-- ---- plain copies ----

-- As JSON can say it, without secrets.
local function plain(value, name)
  if secret.is(value) then return M.MASK end
  if type(value) == "function" then return nil end
  if type(value) == "string" then
    return #value < SHORTEST and is_secret_name(name) and M.MASK or redact.value(value)
  end
  if type(value) ~= "table" then return value end
  local copy <const> = {}
  for key, inner in pairs(value) do
    copy[key] = plain(inner, type(key) == "string" and key or name)
  end
  local is_empty_array <const> = getmetatable(value) == false and next(value) == nil
  return is_empty_array and json.array(copy) or copy
end

local function listed(values)
  local list <const> = {}
  for i = 1, values.n or #values do
    list[i] = values[i] == nil and json.null or plain(values[i])
  end
  return json.array(list)
end

-- ---- requests ----

local function query_of(query)
  local words <const> = {}
  for name, value in pairs(query or {}) do
    for _, each in ipairs(type(value) == "table" and not secret.is(value) and value or { value }) do
      words[#words + 1] = ("%s=%s"):format(name, plain(secret.is(each) and each or tostring(each), name))
    end
  end
  table.sort(words)
  return table.concat(words, "&")
end

local function lower(headers, into)
  for name, value in pairs(headers or {}) do
    into[name:lower()] = value and plain(value, name) or nil
  end
  return into
end

---@return lib.TapeRequest
local function asked(client, method, path, options)
  local query <const> = query_of(options.query)
  local headers <const> = lower(options.headers, lower(client.headers, {}))
  if client.is_basic then headers.authorization = headers.authorization or M.MASK end
  local target <const> = client.path
    .. path
    .. (query ~= "" and (path:find("?", 1, true) and "&" or "?") .. query or "")
  local body <const> = options.json == nil and (options.form or options.body) or options.json
  return { ask = method .. " " .. redact.value(target), headers = headers, body = plain(body) }
end

local PASSING <const> = -- of the connection, and of the hour
  {
    "date",
    "server",
    "connection",
    "keep%-alive",
    "content%-length",
    "transfer%-encoding",
    "cache%-control",
    "expires",
    "vary",
  }

local function is_passing(name)
  for _, pattern in ipairs(PASSING) do
    if name:find("^" .. pattern .. "$") then return true end
  end
  return false
end

-- What came back, without what differs each time, and without its text where that is JSON.
local function kept(answer)
  local copy <const> = plain(answer)
  for name in pairs(answer.headers or {}) do
    if is_passing(name) then copy.headers[name] = nil end
  end
  if copy.json ~= nil then copy.body = nil end
  copy.duration_s = nil
  return copy
end

local function record(client, method, path, options)
  local entry <const> = asked(client, method, path, options)
  table.insert(now.requests, entry)
  local reply <const>, why <const> = client.inner:request(method, path, options)
  hide_in_answer(reply or why)
  entry.reply, entry.refusal = reply and kept(reply), why and kept(why)
  return reply, why
end

-- ---- playing ----

local function differ(fmt, ...)
  difference = difference or fmt:format(...)
  fail.raise("failed", "%s", difference)
end

-- The way between two values, as lines for people.
local function told(what, recorded, found)
  local where <const>, before <const>, after <const> = unlike.first(recorded, found)
  local lines <const> = "%s%s\n  recorded  %s\n  now       %s"
  return lines:format(what, where == "" and "" or ", " .. where, unlike.shown(before), unlike.shown(after))
end

local function request_of(entry) return { ask = entry.ask, headers = entry.headers, body = entry.body } end

local function next_unused()
  for i, entry in ipairs(now.plays.requests) do
    if not now.used[i] then return entry, i end
  end
end

-- Order counts among requests that are alike, for tasks of a script may ask at once.
local function play(client, method, path, options)
  local found <const> = asked(client, method, path, options)
  for i, entry in ipairs(now.plays.requests) do
    if not now.used[i] and not unlike.first(request_of(entry), found) then
      now.used[i] = true
      local answer <const> = assert(json.decode(json.encode(entry.reply or entry.refusal)))
      answer.headers = answer.headers or {}
      answer.body = answer.body or answer.json ~= nil and json.encode(answer.json) or nil
      if entry.refusal then return nil, answer end
      answer.duration_s = 0
      return answer
    end
  end
  local entry <const>, i <const> = next_unused()
  if not entry then differ("%s asks more than was recorded\n  now       %s", now.about, found.ask) end
  differ("%s", told(("%s, request %d"):format(now.about, i), request_of(entry), found))
end

-- ---- in front of the HTTP client ----

local Client <const> = {}
Client.__index = Client

function Client:request(method, path, options) return (plays and play or record)(self, method, path, options or {}) end

for _, method in ipairs { "get", "post", "put", "patch", "delete" } do
  Client[method] = function(self, path, options) return self:request(method:upper(), path, options) end
end

function Client:set_headers(headers)
  self.inner:set_headers(headers)
  for name, value in pairs(headers) do
    self.headers[name:lower()] = value or nil
  end
end

local function put_before(client)
  return function(options)
    local headers <const> = {}
    for name, value in pairs(options.headers or {}) do
      headers[name:lower()] = value
    end
    local path <const> = options.base:gsub("^%a+://", ""):match "^[^/]*(.-)/*$"
    return setmetatable(
      { inner = client(options), headers = headers, path = path, is_basic = options.password ~= nil },
      Client
    )
  end
end

-- What the array says while somebody logs in is likely to be secret.
local function watch_logins(open)
  return function(conf, spec)
    if not spec.session then return open(conf, spec) end
    local session <const>, watched <const> = {}, {}
    for name, value in pairs(spec) do
      watched[name] = value
    end
    for name, value in pairs(spec.session) do
      session[name] = value
    end
    function session.login(...)
      logins = logins + 1
      local results <const> = table.pack(pcall(spec.session.login, ...))
      logins = logins - 1
      if not results[1] then error(results[2]) end
      return table.unpack(results, 2, results.n)
    end
    watched.session = session
    return open(conf, watched)
  end
end

--- Write down all that comes.
function M.record()
  calls = {}
  http.client, rest.open = put_before(http.client), watch_logins(rest.open)
end

--- Answer from these calls, the next of which each call must be.
---@param text string as `text` returned it
function M.replay(text)
  M.record()
  plays = assert(json.decode(text))
  timer.sleep = function() end -- nothing there needs time
end

-- ---- calls ----

local function ended(call)
  return { call = call.call, given = call.given, returned = call.returned, raised = call.raised }
end

local function compare()
  local entry <const> = next_unused()
  local recorded <const>, found <const> = ended(now.plays), ended(now)
  if not difference and entry then
    difference = ("%s does not ask any more\n  recorded  %s"):format(now.about, entry.ask)
  elseif not difference and unlike.first(recorded, found) then
    difference = told(now.about, recorded, found)
  end
end

local function start(name, given)
  now = { call = name, given = listed(given), requests = {} }
  if name == "open" then now.given[2].tls = nil end -- whom to trust is not the session's business
  table.insert(calls, now)
  now.plays, now.used = plays and plays[#calls] or { requests = {} }, {}
  now.about = ("call %d, %s"):format(#calls, name)
end

local function finish(results)
  if results[1] then
    now.returned = listed(table.pack(table.unpack(results, 2, results.n)))
  else
    local why <const> = fail.of(results[2])
    now.raised = plain { kind = why.kind, message = fail.text(why), hint = why.hint }
  end
  if plays then compare() end
end

--- Run one call of the contract, one after the other, so that each request is that call's.
---@param name string
---@param given any[] with n
---@param run fun(): any ...
function M.call(name, given, run)
  if not calls then return run() end
  local _lock <close> = mutex:lock()
  start(name, given)
  local results <const> = table.pack(pcall(run))
  finish(results)
  if not results[1] then error(results[2]) end
  return table.unpack(results, 2, results.n)
end

-- Longest first: one secret may lie in another.
local function masked(text)
  local known <const> = {}
  for secret_text in pairs(masks) do
    known[#known + 1] = secret_text
  end
  table.sort(known, by_length)
  for _, each in ipairs(known) do
    text = text:gsub(each:gsub("%p", "%%%0"), masks[each])
  end
  return text
end

local function masked_all(value)
  if type(value) == "string" then return masked(value) end
  if type(value) ~= "table" then return value end
  for key, inner in pairs(value) do
    value[key] = masked_all(inner)
  end
  return value
end

--- The calls so far, as JSON.
---@return string
function M.text()
  for i, call in ipairs(calls) do
    local entry <const> = ended(call)
    entry.requests = json.array(call.requests)
    calls[i] = masked_all(entry)
  end
  return json.encode(json.array(calls))
end

--- What differs first between this session and the one that is replayed; nil: nothing.
---@return string?
function M.difference() return difference end

return M
