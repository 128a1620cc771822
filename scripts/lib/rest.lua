--- The REST service of one array: its address, the pace it bears, what its words mean, its session, which is renewed when lost, and the
--- jobs that it goes on with.
local fail <const> = require "lib.fail"
local http <const> = require "lunalift.http"
local log <const> = require "lunalift.log"
local poll <const> = require "lib.poll"
local rest_errors <const> = require "lib.rest_errors"
local secret <const> = require "lunalift.secret"
local task <const> = require "lunalift.task"
local timer <const> = require "lunalift.timer"

local M <const> = {}

---@class lib.RestSession
---@field login fun(client: HttpClient, conf: table): table<string, string|Secret>, any? ask for a session: headers that later requests
--- bear, and what `logout` needs. Raises, also plain failures of the client: they are explained like all others
---@field lost fun(why: Fail): boolean? the array has forgotten the session, and did nothing. A refused right is none of these
---@field logout? fun(client: HttpClient, key: any?): any, Fail? a failure is logged, and no more

---@class lib.RestJobs what goes on after it was accepted
---@field within_s number
---@field at fun(answer: table): string?, table?, table? where to ask after the job that an answer tells of: path, query and body as `get`
--- takes them; nil: there is none
---@field state fun(job: table): "running"|"done"|"failed"|"unknown", string, table? with a text for people and, when failed, the body of
--- the error; unknown: the array cannot tell. The answer itself is the first that it gets

---@class lib.RestSpec
---@field port? integer where the user's address names none
---@field path? string before the path of every request
---@field headers? table<string, string|Secret>
---@field basic? boolean user name and password go with every request; with a session that bears `Authorization`, with its login alone
---@field errors? lib.RestErrors what its refusals mean
---@field explain? fun(why: Fail) the last word on a failure
---@field session? lib.RestSession
---@field jobs? lib.RestJobs

---@class lib.Rest
---@field client HttpClient
---@field site string host and user, for messages
local Rest <const> = {}
Rest.__index = Rest

local CHECK_LOGIN <const> = "check STORAGE_USERNAME and STORAGE_PASSWORD"

local open_sessions <const> = {} -- this state's, which is one array's; for `abandon`

-- ---- opening ----

-- A client for which what the array refuses with status 200 is a failure, too; logins use it as well.
local function hearing(client, errors)
  if not errors or not errors.refuses then return client end
  local heard <const> = { set_headers = function(_, headers) client:set_headers(headers) end }
  function heard.request(_, method, path, options)
    local reply <const>, why <const> = client:request(method, path, options)
    local refusal <const> = reply and rest_errors.refusal(errors, reply)
    if refusal then return nil, refusal end
    return reply, why
  end
  for _, method in ipairs { "GET", "POST", "PUT", "PATCH", "DELETE" } do
    heard[method:lower()] = function(self, path, options) return self:request(method, path, options) end
  end
  return heard
end

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
  error(fail.hint(why, "set STORAGE_USERNAME and STORAGE_PASSWORD; STORAGE_TOKEN is of no use here"))
end

--- Nothing is asked yet: the first request logs in.
---@param conf { hostname: string, username: string?, password: Secret?, tls: Trust?, timeout_s: number?, limits: table? } as `open` gets it
---@param spec lib.RestSpec
---@return lib.Rest
function M.open(conf, spec)
  check_login(conf)
  return setmetatable({
    site = ("%s as %s"):format(conf.hostname, conf.username),
    conf = conf,
    spec = spec,
    session = spec.session,
    generation = 0,
    mutex = task.mutex(),
    pause_s = conf.limits and conf.limits.requests_per_s and 1 / conf.limits.requests_per_s or 0,
    free_s = 0,
    client = hearing(
      http.client {
        base = base_of(conf.hostname, spec),
        username = spec.basic and conf.username or nil,
        password = spec.basic and conf.password or nil,
        headers = spec.headers,
        tls = conf.tls,
        timeout_s = conf.timeout_s,
      },
      spec.errors
    ),
  }, Rest)
end

-- ---- failures ----

-- No session, so that it is user name and password that were refused.
local function is_login_refused(self, why) return self.spec.basic and not self.session and why.status == 401 end

local function explained(self, value)
  local why <const>, spec <const> = fail.of(value), self.spec
  local errors <const> = spec.errors
  if is_login_refused(self, why) then
    why.refused = nil -- sending it again is a step towards a locked account
    why.message = self.site .. ": user name or password refused"
    why.hint = errors and errors.hints and errors.hints[401] or CHECK_LOGIN
  elseif errors then
    rest_errors.explain(errors, why)
  end
  if spec.explain then spec.explain(why) end
  return why
end

-- ---- the session ----

local function refused(self, why)
  local failure <const> = explained(self, why)
  if failure.status ~= 401 and failure.kind ~= "denied" then error(failure) end
  failure.refused = nil -- as above
  failure.message = ("%s: user name or password refused: %s"):format(self.site, failure.message)
  error(failure.hint and failure or fail.hint(failure, CHECK_LOGIN))
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
  local ok <const>, headers <const>, key <const> = pcall(self.session.login, self.client, self.conf)
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

local QUESTIONS <const> = { GET = true, HEAD = true }

local function is_question(method, options)
  if options and options.effect ~= nil then return not options.effect end
  return QUESTIONS[method] == true
end

-- A path as users know it from the array's documents.
local function below(self, path) return (self.spec.path or "") .. path end

-- A page for people is no answer of an array's, whatever its status: what sent it stands before it, and may have passed an effect on.
local function send(self, method, path, options)
  keep_pace(self)
  local reply <const>, why <const> = self.client:request(method, path, options)
  if not reply or not rest_errors.is_page(reply) then return reply, why end
  local page <const> = fail.new("protocol", "%s %s: HTTP status %d", method, below(self, path), reply.status)
  page.status, page.headers, page.unanswered = reply.status, reply.headers, not is_question(method, options) or nil
  return nil, page
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
  local failure <const> = explained(self, why)
  if is_question(method, options) then failure.refused = nil end -- what was changed before it is changed all the same
  return nil, failure
end

--- An answer that is none of the array's. What says nothing is no empty list: it may be a proxy that speaks.
---@param path string
---@param is_effect? boolean it is one to what may have been done
function Rest:raise_senseless(path, is_effect)
  local why <const> = fail.new("protocol", "%s: the answer to %s makes no sense", self.site, below(self, path))
  why.hint = self.spec.errors and self.spec.errors.elsewhere
  why.unanswered = is_effect
  error(why)
end

local function body_of(self, reply, path)
  return type(reply.json) == "table" and reply.json or self:raise_senseless(path)
end

-- With a body it is a POST that changes nothing.
local function question(self, path, query, body)
  if not body then return self:ask("GET", path, { query = query }) end
  return self:ask("POST", path, { query = query, json = body, effect = false })
end

--- What the array tells at `path`. Raises.
---@param path string
---@param query? table
---@param body? any sent by POST, as JSON: a question of an array that takes all by POST
---@return table
function Rest:get(path, query, body) return body_of(self, assert(question(self, path, query, body)), path) end

--- The same, or nil where the array itself says that there is no such thing.
---@return table?
function Rest:find(path, query, body)
  local reply <const>, why <const> = question(self, path, query, body)
  if not reply and why.kind == "not_found" and why.code then return nil end
  return body_of(self, assert(reply, why), path)
end

-- What has not ended, or nobody can say how, is `unanswered`.
local function follow(self, job, path, query, body)
  local jobs <const> = self.spec.jobs
  local state, text, said = jobs.state(job)
  local function look()
    if state == "running" then
      job = self:get(path, query, body)
      state, text, said = jobs.state(job)
    end
    return state ~= "running"
  end
  local ended <const>, why <const> = pcall(poll.wait, "it", { within_s = jobs.within_s, every_s = 0.5 }, look)
  if not ended then return nil, fail.wrap(why, "%s", text) end
  if state == "done" then return job end
  local failure <const> = fail.new("failed", "%s", text)
  failure.json, failure.unanswered = said, state == "unknown" or nil
  return nil, explained(self, failure)
end

-- What an effect that was accepted came to. Whatever breaks here, it may have been done.
local function conclude(self, answer)
  if not self.spec.jobs then return answer end
  local found <const>, path <const>, query <const>, body <const> = pcall(self.spec.jobs.at, answer)
  if not found then
    local why <const> = fail.of(path)
    why.unanswered, why.refused = true, nil
    return nil, why
  end
  if not path then return answer end
  return follow(self, answer, path, query, body)
end

--- One request that changes something, followed to the end of its job if that goes on.
---@param method string
---@param path string
---@param body? any sent as JSON
---@param options? HttpRequestOptions
---@return table? answer {} for none; the ended job where there was one
---@return Fail? why
function Rest:change(method, path, body, options)
  local request <const> = { json = body }
  for name, value in pairs(options or {}) do
    request[name] = value
  end
  local reply <const>, why <const> = self:ask(method, path, request)
  if not reply then return nil, why end
  return conclude(self, type(reply.json) == "table" and reply.json or {})
end

--- DELETE. What the array says is not there counts as removed; a job that is forgotten tells nothing.
---@param path string
---@param options? HttpRequestOptions
---@return true? removed
---@return Fail? why
function Rest:remove(path, options)
  local done <const>, why <const> = self:change("DELETE", path, nil, options)
  if done or why.kind == "not_found" and why.code and not why.unanswered then return true end
  return nil, why
end

--- Log out. What refuses is left to end by itself.
function Rest:close()
  if not open_sessions[self] then return end
  local key <const> = self.key
  if self.session.logout then
    local called <const>, done <const>, why <const> = pcall(self.session.logout, self.client, key)
    local failure <const> = not called and done or why
    if failure then log.info("not logged out of the array", { why = fail.text(failure) }) end
  end
  forget(self)
end

--- Log out of whatever is open: `open` has failed half-way.
function M.abandon()
  for rest in pairs(open_sessions) do
    pcall(rest.close, rest)
  end
end

return M
