--- Logins to a vCenter: bound to a cookie, not to a connection, and gone after a while of silence.
local codec <const> = require "lunalift.codec"
local timer <const> = require "lunalift.timer"
local vim <const> = require "lab.vim"

---@class lab.sessions
local M <const> = {}

local COOKIE <const> = "vmware_soap_session"

---@class lab.Session
---@field key string
---@field cookie string
---@field user string
---@field login_time string
---@field last_active number
---@field last_active_time string
---@field calls integer
---@field agent string
---@field pages table<string, lab.Value[]> unfinished results by token
---@field views lab.Object[] and collectors, and filters: what ends with the login
---@field versions table<lab.Object, integer> of updates, by collector

---@class lab.Sessions
local Sessions <const> = {}
Sessions.__index = Sessions

---@param options { username: string, password: string, idle_s: number? }
---@return lab.Sessions
function M.new(options)
  return setmetatable({
    username = options.username,
    password = options.password,
    idle_s = options.idle_s or 1800,
    live = {},
  }, Sessions)
end

local function cookie_of(request)
  for pair in (request.headers.cookie or ""):gmatch "[^;]+" do
    local name <const>, value <const> = pair:match "^%s*([^=]+)=(.*)$"
    if name == COOKIE then return (value:gsub('^"(.*)"%s*$', "%1")) end
  end
end

--- The live session of a request.
---@param request ServerRequest
---@return lab.Session?
function Sessions:of(request)
  local session <const> = self.live[cookie_of(request) or ""]
  if not session then return nil end
  if timer.now() - session.last_active > self.idle_s then
    self.live[session.cookie] = nil
    return nil
  end
  session.last_active, session.last_active_time = timer.now(), timer.iso()
  session.calls = session.calls + 1
  return session
end

---@param session lab.Session
---@return lab.Value UserSession
function M.value(session)
  return vim.object("UserSession", {
    { "key", session.key },
    { "userName", session.user },
    { "fullName", "Lab User" },
    { "loginTime", vim.date(session.login_time) },
    { "lastActiveTime", vim.date(session.last_active_time) },
    { "locale", "en" },
    { "messageLocale", "en" },
    { "extensionSession", false },
    { "ipAddress", "127.0.0.1" },
    { "userAgent", session.agent },
    { "callCount", vim.long(session.calls) },
  })
end

--- Log in; a cookie that is logged in already cannot do so again.
---@param request ServerRequest
---@return lab.Session session
function Sessions:login(request, username, password)
  local is_user <const> = username:lower() == self.username:lower() and password == self.password
  if not is_user or self:of(request) then
    error(vim.fault("InvalidLogin", "Cannot complete login due to an incorrect user name or password."))
  end
  local key <const> = codec.uuid():gsub("^(%x%x)(%x%x)", "52%2")
  local session <const> = {
    key = key,
    cookie = codec.random_hex(20),
    user = username,
    login_time = timer.iso(),
    last_active = timer.now(),
    last_active_time = timer.iso(),
    calls = 0,
    agent = request.headers["user-agent"] or "",
    pages = {},
    views = {},
    versions = {},
  }
  self.live[session.cookie] = session
  return session
end

---@param session lab.Session
---@return string header
function M.set_cookie(session) return ('%s="%s"; Path=/; HttpOnly; Secure; '):format(COOKIE, session.cookie) end

---@param session lab.Session
---@return boolean
function Sessions:is_live(session) return self.live[session.cookie] == session end

---@param session lab.Session
function Sessions:logout(session) self.live[session.cookie] = nil end

--- End all logins at once, as a restart of vCenter does.
---@return integer ended
function Sessions:expire()
  local count = 0
  for cookie in pairs(self.live) do
    self.live[cookie] = nil
    count = count + 1
  end
  return count
end

---@return lab.Value[] UserSession of all logins, the oldest first
function Sessions:values()
  local list <const> = {}
  for _, session in pairs(self.live) do
    list[#list + 1] = session
  end
  table.sort(list, function(a, b) return a.login_time .. a.key < b.login_time .. b.key end)
  for i, session in ipairs(list) do
    list[i] = M.value(session)
  end
  return list
end

---@return { key: string, user: string, calls: integer, agent: string }[]
function Sessions:list()
  local list <const> = {}
  for _, session in pairs(self.live) do
    list[#list + 1] = { key = session.key, user = session.user, calls = session.calls, agent = session.agent }
  end
  table.sort(list, function(a, b) return a.key < b.key end)
  return list
end

return M
