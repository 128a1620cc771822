--- The REST service of one array: its address, the pace it bears, what its words mean, and its session, which is renewed when lost.
local fail <const> = require "lib.fail"
local http <const> = require "lunalift.http"
local secret <const> = require "lunalift.secret"
local task <const> = require "lunalift.task"
local timer <const> = require "lunalift.timer"

local M <const> = {}

---@class lib.RestSession
---@field login fun(client: HttpClient): table<string, string|Secret>, any? ask for a session: headers that later requests bear, and what
--- `logout` needs. Raises
---@field lost fun(why: Fail): boolean? the array has forgotten the session, and did nothing. A refused right is none of these
---@field logout? fun(client: HttpClient, key: any?)

---@class lib.RestSpec
---@field port? integer where the user's address names none
---@field path? string before the path of every request
---@field headers? table<string, string|Secret>
---@field basic? boolean user name and password go with every request; with a session that bears `Authorization`, with its login alone
---@field explain? fun(why: Fail) puts the array's own words, code and hint into a failure
---@field session? lib.RestSession

---@class lib.Rest
---@field client HttpClient
---@field site string host and user, for messages
local Rest <const> = {}
Rest.__index = Rest

local open_sessions <const> = {} -- this state's, which is one array's; for `abandon`

-- ---- opening ----

local function base_of(hostname, spec)
  local scheme <const>, rest <const> = hostname:match "^(%a+://)(.*)$"
  local authority <const>, path <const> = (rest or hostname):match "^([^/]*)(.-)/*$"
  local has_port <const> = authority:find "%]:%d+$" or authority:find "^[^:]*:%d+$"
  local port <const> = not has_port and spec.port and ":" .. spec.port or ""
  return (scheme or "https://") .. authority .. port .. path .. (spec.path or "")
end

local function check_login(conf)
  if conf.username and conf.password then return end
  local why <const> = fail.new("config", "%s: a user name and a password are needed", conf.hostname)
  error(fail.hint(why, "set STORAGE_USERNAME and STORAGE_PASSWORD"))
end

--- Nothing is asked yet: the first request logs in.
---@param conf { hostname: string, username: string?, password: Secret?, tls: Trust?, timeout_s: number?, limits: table? } as `open` gets it
---@param spec lib.RestSpec
---@return lib.Rest
function M.open(conf, spec)
  check_login(conf)
  return setmetatable({
    site = ("%s as %s"):format(conf.hostname, conf.username),
    spec = spec,
    session = spec.session,
    generation = 0,
    mutex = task.mutex(),
    pause_s = conf.limits and conf.limits.requests_per_s and 1 / conf.limits.requests_per_s or 0,
    free_s = 0,
    client = http.client {
      base = base_of(conf.hostname, spec),
      username = spec.basic and conf.username or nil,
      password = spec.basic and conf.password or nil,
      headers = spec.headers,
      tls = conf.tls,
      timeout_s = conf.timeout_s,
    },
  }, Rest)
end

-- ---- the session ----

local function refused(self, why)
  local failure <const> = fail.of(why)
  if failure.status ~= 401 and failure.kind ~= "denied" then error(failure) end
  failure.refused = nil -- sending it again is a step towards a locked account
  failure.message = ("%s: user name or password refused: %s"):format(self.site, failure.message)
  error(failure.hint and failure or fail.hint(failure, "check STORAGE_USERNAME and STORAGE_PASSWORD"))
end

local function forget(self)
  local none <const> = {}
  for name in pairs(self.bears or {}) do
    none[name] = false
  end
  self.client:set_headers(none)
  self.bears, self.key = nil, nil
  open_sessions[self] = nil
end

-- One login at a time: who waited for another's has what it came for.
local function renew(self, generation)
  local _lock <close> = self.mutex:lock()
  if self.generation ~= generation then return end
  forget(self)
  local ok <const>, headers <const>, key <const> = pcall(self.session.login, self.client)
  if not ok then refused(self, headers) end
  local bears <const> = {}
  for name, value in pairs(headers) do
    bears[name] = secret.is(value) and value or secret.new(value)
  end
  self.client:set_headers(bears)
  self.bears, self.key, self.generation = bears, key, generation + 1
  open_sessions[self] = true
end

-- ---- asking ----

-- Requests leave no closer together than the array bears.
local function keep_pace(self)
  local now <const> = timer.now()
  local at_s <const> = math.max(now, self.free_s)
  self.free_s = at_s + self.pause_s
  if at_s > now then timer.sleep(at_s - now) end
end

local function send(self, method, path, options)
  keep_pace(self)
  return self.client:request(method, path, options)
end

local function explained(self, why)
  if self.spec.basic and not self.session and why.status == 401 then
    why.refused = nil
    why.message = self.site .. ": user name or password refused"
    why.hint = "check STORAGE_USERNAME and STORAGE_PASSWORD"
  end
  if self.spec.explain then self.spec.explain(why) end
  return fail.of(why)
end

--- One request, and the same once more in a new session when the array had forgotten the old one.
---@param method string
---@param path string
---@param options? HttpRequestOptions
---@return HttpReply? reply
---@return Fail? why in the array's words
function Rest:ask(method, path, options)
  if self.session and self.generation == 0 then renew(self, 0) end
  local generation <const> = self.generation
  local reply, why = send(self, method, path, options)
  if why and self.session and self.session.lost(why) then
    renew(self, generation)
    reply, why = send(self, method, path, options)
    if why and self.session.lost(why) then -- a session that is lost at once: no third
      why.refused, why.hint = nil, "see whether the account has the right, and what ends a session that was just made"
    end
  end
  if reply then return reply end
  return nil, explained(self, why)
end

--- Log out.
function Rest:close()
  if not open_sessions[self] then return end
  local key <const> = self.key
  if self.session.logout then self.session.logout(self.client, key) end
  forget(self)
end

--- Log out of whatever is open: `open` has failed half-way.
function M.abandon()
  for rest in pairs(open_sessions) do
    pcall(rest.close, rest)
  end
end

return M
