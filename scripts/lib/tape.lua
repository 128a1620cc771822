--- All that passes between a vendor script and its array, call by call, written down; or, with no array at all, answered from what was
--- written down before, until something differs. Lives in an array's own state, where it puts itself before the HTTP client.
local fail <const> = require "lib.fail"
local http <const> = require "lunalift.http"
local json <const> = require "lunalift.json"
local masks <const> = require "lib.masks"
local rest <const> = require "lib.rest"
local secret <const> = require "lunalift.secret"
local task <const> = require "lunalift.task"
local timer <const> = require "lunalift.timer"
local unlike <const> = require "lib.unlike"

local plain <const> = masks.plain

local M <const> = {}

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
local known <const> = masks.new()
local mutex <const> = task.mutex()

-- ---- requests ----

local function listed(values)
  local list <const> = {}
  for i = 1, values.n or #values do
    list[i] = values[i] == nil and json.null or plain(values[i])
  end
  return json.array(list)
end

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
  if client.is_basic then headers.authorization = headers.authorization or masks.MASK end
  local target <const> = client.path
    .. path
    .. (query ~= "" and (path:find("?", 1, true) and "&" or "?") .. query or "")
  local body <const> = options.json == nil and (options.form or options.body) or options.json
  return { ask = method .. " " .. plain(target), headers = headers, body = plain(body) }
end

-- Of the connection, and of the hour.
local PASSING <const> =
  { "date", "server", "connection", "keep-alive", "content-length", "transfer-encoding", "cache-control", "expires" }

-- What came back, without what differs each time, and without its text where that is JSON.
local function kept(answer)
  local copy <const> = plain(answer)
  for _, name in ipairs(copy.headers and PASSING or {}) do
    copy.headers[name] = nil
  end
  if copy.json ~= nil then copy.body = nil end
  copy.duration_s = nil
  return copy
end

local function record(client, method, path, options)
  local entry <const> = asked(client, method, path, options)
  table.insert(now.requests, entry)
  local reply <const>, why <const> = client.inner:request(method, path, options)
  known:learn(reply or why)
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
    local opened <const>, session <const> = open(conf, spec), spec.session
    local function login(...)
      local _over <close> = setmetatable({}, { __close = function() known.is_login = false end })
      known.is_login = true
      return session.login(...)
    end
    opened.session = session and setmetatable({ login = login }, { __index = session })
    return opened
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
  local _lock <close> = mutex:lock()
  start(name, given)
  local results <const> = table.pack(pcall(run))
  finish(results)
  if not results[1] then error(results[2]) end
  return table.unpack(results, 2, results.n)
end

--- The calls so far, as JSON.
---@return string
function M.text()
  for i, call in ipairs(calls) do
    local entry <const> = ended(call)
    entry.requests = json.array(call.requests)
    calls[i] = known:cover(entry)
  end
  return json.encode(json.array(calls))
end

--- What differs first between this session and the one that is replayed; nil: nothing.
---@return string?
function M.difference() return difference end

return M
