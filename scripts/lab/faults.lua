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
--- Before anything is done: "status:503", "drop", "delay:SECONDS", "fault:NotAuthenticated" (services that know faults).
--- After it was done: "status_after:502", "drop_after", "delay_after:SECONDS", "truncate".

---@class lab.Request what the log keeps
---@field n integer
---@field service string
---@field method string HTTP method, SOAP operation or esxcli command
---@field path string
---@field target? string what it acted on
---@field host? string ESXi host
---@field effect boolean changes the outside world
---@field at number seconds on the monotonic clock
---@field status? integer
---@field fault? string action that struck
---@field acted? boolean the service has done what was asked; the answer may still be on its way

---@class lab.Faults
---@field requests lab.Request[]
---@field rules lab.Rule[]
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

local READS <const> = { GET = true, HEAD = true, OPTIONS = true }

local function plain(request)
  return { method = request.method, path = request.path, effect = not READS[request.method] }
end

local function bare(argument, otherwise)
  return { status = math.tointeger(tonumber(argument)) or otherwise, body = "injected by the lab\n" }
end

local BEFORE <const> = {
  status = function(argument) return bare(argument, 503) end,
  drop = function() return { drop = true } end,
}

local AFTER <const> = {
  status_after = function(_, argument) return bare(argument, 502) end,
  drop_after = function() return { drop = true } end,
  truncate = function(answer)
    local body <const> = answer.body or ""
    return { status = answer.status, headers = answer.headers, body = body:sub(1, #body // 2) }
  end,
}

--- A handler that logs each request and lets the rules strike.
---@param service string
---@param handler fun(request: ServerRequest): ServerAnswer?
---@param options? { describe?: fun(request: ServerRequest): table, fault?: fun(name: string, request: ServerRequest): ServerAnswer }
---@return fun(request: ServerRequest): ServerAnswer?
function Faults:wrap(service, handler, options)
  local describe <const> = options and options.describe or plain
  local fault <const> = options and options.fault
  return function(request)
    local verb <const>, argument <const>, entry <const> = self:note(service, describe(request), request.body)
    local answer
    if verb == "delay" then timer.sleep(tonumber(argument) or 1) end
    if BEFORE[verb] then
      answer = BEFORE[verb](argument)
    elseif verb == "fault" and fault then
      answer = fault(argument, request)
    else
      answer = handler(request) or {}
      entry.acted = true
      if verb == "delay_after" then timer.sleep(tonumber(argument) or 1) end
      if AFTER[verb] then answer = AFTER[verb](answer, argument) end
    end
    if not answer.drop then entry.status = answer.status or 200 end
    return answer
  end
end

return M
