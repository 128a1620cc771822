--- Every request to the lab's services is written down here, and faults are put in on demand.
local log <const> = require "lunalift.log"
local timer <const> = require "lunalift.timer"

---@class lab.faults
local M <const> = {}

---@class lab.Rule
---@field service string "vcenter", "ontap", "kube", "esxi"
---@field match? table<string, string> fields of the request (method, path, target, host, body); `*` stands for anything
---@field after? integer let so many matching requests pass first
---@field times? integer then fail so many (default 1; 0: all)
---@field action string
--- Before anything is done: "status:503", "drop", "reset", "hang:SECONDS" (then drop), "html" (a page with status 200), "redirect:URL",
--- "fault:NotAuthenticated" (services that know faults). After it was done: the same with "_after", but for faults; "truncate", "garbage",
--- "type:text/plain" instead of the true Content-Type, "drip:SECONDS" a byte. "delay:SECONDS" and
--- "delay_after:SECONDS" are only late.

---@class lab.Request what the log keeps
---@field n integer
---@field service string
---@field method string HTTP method, SOAP operation or esxcli command
---@field path string
---@field target? string what it acted on
---@field host? string ESXi host
---@field effect boolean changes the outside world
---@field at number seconds on the monotonic clock
---@field ended? number when it was answered
---@field connection? integer the peer's port
---@field resumed? boolean the connection took a TLS session up again
---@field status? integer
---@field fault? string action that struck
---@field acted? boolean the service has done what was asked; the answer may still be on its way

---@class lab.Faults
---@field requests lab.Request[]
---@field rules lab.Rule[]
---@field watch? fun(entry: lab.Request) called with each request before anything else is done about it; it may wait
---@field watch_after? fun(entry: lab.Request) called when it was done, before it is answered
local Faults <const> = {}
Faults.__index = Faults

---@return lab.Faults
function M.new() return setmetatable({ requests = {}, rules = {} }, Faults) end

--- Replace all rules; their counters start anew.
---@param rules lab.Rule[]
function Faults:set(rules)
  for _, rule in ipairs(rules) do
    assert(rule.service and rule.action, "a rule needs service and action")
    rule.seen, rule.struck = 0, 0
  end
  self.rules = rules
end

local function like(text, glob)
  if text == nil then return false end
  local pattern <const> = glob:gsub("[%^%$%(%)%%%.%[%]%+%-%?]", "%%%0"):gsub("%*", ".*")
  return tostring(text):find("^" .. pattern .. "$") ~= nil
end

local function matches(rule, entry, body)
  if rule.service ~= entry.service then return false end
  for field, glob in pairs(rule.match or {}) do
    local value = entry[field]
    if field == "body" then value = body end
    if not like(value, glob) then return false end
  end
  return true
end

local function strikes(rule)
  rule.seen = rule.seen + 1
  local times <const> = rule.times or 1
  if rule.seen <= (rule.after or 0) or (times > 0 and rule.struck >= times) then return false end
  rule.struck = rule.struck + 1
  return true
end

--- Write a request down; the action of the first rule that strikes it.
---@param service string
---@param what { method: string, path: string?, target: string?, host: string?, effect: boolean? }
---@param body? string
---@return string? verb
---@return string? argument
---@return lab.Request entry
function Faults:note(service, what, body)
  local entry <const> = {
    n = #self.requests + 1,
    service = service,
    method = what.method,
    path = what.path or "",
    target = what.target,
    host = what.host,
    effect = what.effect or false,
    at = timer.now(),
  }
  self.requests[entry.n] = entry
  for _, rule in ipairs(self.rules) do
    if matches(rule, entry, body) and strikes(rule) then
      entry.fault = rule.action
      log.debug("a fault strikes", { service = service, method = entry.method, action = rule.action })
      local verb <const>, argument <const> = rule.action:match "^([%w_]+):?(.*)$"
      return verb, argument, entry
    end
  end
  return nil, nil, entry
end

---@class lab.Wire how a service's requests are told apart, where methods and statuses do not say it
---@field describe? fun(request: ServerRequest): table method (of RPC: the call), path, and whether it is an `effect`
---@field refuses? fun(answer: ServerAnswer): boolean? does it say that nothing was done? For vendor test
---@field fault? fun(name: string, request: ServerRequest): ServerAnswer

local READS <const> = { GET = true, HEAD = true, OPTIONS = true }

local function plain(request)
  return { method = request.method, path = request.path, effect = not READS[request.method] }
end

local LATER <const> = { [429] = true, [503] = true }
local RETRY_AFTER_S <const> = "3"

-- What is said in place of the true answer.
local INSTEAD <const> = {
  status = function(argument)
    local status <const> = math.tointeger(tonumber(argument)) or 503
    local headers <const> = LATER[status] and { ["Retry-After"] = RETRY_AFTER_S } or nil
    return { status = status, headers = headers, body = "injected by the lab\n" }
  end,
  drop = function() return { drop = true } end,
  reset = function() return { reset = true } end,
  html = function()
    local page <const> = "<!DOCTYPE html><html><head><title>Please log in</title></head><body>portal</body></html>\n"
    return { headers = { ["Content-Type"] = "text/html; charset=utf-8" }, body = page }
  end,
  redirect = function(url) return { status = 302, headers = { Location = url }, body = "" } end,
  hang = function(argument)
    timer.sleep(tonumber(argument) or 3600)
    return { drop = true }
  end,
}

local function headers_of(answer, more)
  local headers <const> = {}
  for name, value in pairs(answer.headers or {}) do
    headers[name] = value
  end
  for name, value in pairs(more or {}) do
    headers[name] = value
  end
  return headers
end

local GARBAGE <const> = "\0\1\xff\xfe{]<!garbage" -- neither JSON nor XML nor UTF-8

-- What becomes of the true answer.
local SPOILT <const> = {
  truncate = function(answer)
    local body <const> = answer.body or ""
    local whole <const> = { ["Content-Length"] = tostring(#body + 1), Connection = "close" }
    return { status = answer.status, headers = headers_of(answer, whole), body = body:sub(1, #body // 2) }
  end,
  garbage = function(answer) return { status = 200, headers = headers_of(answer), body = GARBAGE } end,
  type = function(answer, argument)
    local headers <const> = { ["Content-Type"] = argument }
    for name, value in pairs(answer.headers or {}) do
      if name:lower() ~= "content-type" then headers[name] = value end
    end
    return { status = answer.status, headers = headers, body = answer.body }
  end,
  drip = function(answer, argument)
    local body <const> = answer.body and answer.body ~= "" and answer.body or " "
    local headers <const> = headers_of(answer)
    return { status = answer.status, headers = headers, body = body, drip_s = tonumber(argument) or 1 }
  end,
}

for verb, make in pairs(INSTEAD) do
  SPOILT[verb .. "_after"] = function(_, argument) return make(argument) end
end

--- A handler that logs each request and lets the rules strike.
---@param service string
---@param handler fun(request: ServerRequest): ServerAnswer?
---@param options? lab.Wire
---@return fun(request: ServerRequest): ServerAnswer?
function Faults:wrap(service, handler, options)
  local describe <const> = options and options.describe or plain
  local fault <const> = options and options.fault
  return function(request)
    local verb <const>, argument <const>, entry <const> = self:note(service, describe(request), request.body)
    local answer
    entry.connection, entry.resumed = request.peer_port, request.resumed
    if self.watch then self.watch(entry) end
    if verb == "delay" then timer.sleep(tonumber(argument) or 1) end
    if INSTEAD[verb] then
      answer = INSTEAD[verb](argument)
    elseif verb == "fault" and fault then
      answer = fault(argument, request)
    else
      answer = handler(request) or {}
      entry.acted = true
      if self.watch_after then self.watch_after(entry) end
      if verb == "delay_after" then timer.sleep(tonumber(argument) or 1) end
      if SPOILT[verb] then answer = SPOILT[verb](answer, argument) end
    end
    if not (answer.drop or answer.reset) then entry.status = answer.status or 200 end
    entry.ended = timer.now()
    return answer
  end
end

return M
