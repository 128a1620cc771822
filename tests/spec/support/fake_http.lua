--- A scripted stand-in for lunalift.http: requests must come in the order of the expectations, and look like them.
---
---   local wire = fake_http.install()                       -- in before_each; wire:restore() in after_each
---   wire:expect("GET", "/api/x", { a = 1 }):reply { records = {} }
---   wire:expect("POST", "/api/x"):refuse(409, { error = … })
---   wire:expect("POST", "/api/x"):vanish("timeout", { unanswered = true })
---   wire:done()                                            -- all expectations were met, and nothing else was asked
local M <const> = {}

local STATUS_KINDS <const> = {
  [401] = "denied",
  [403] = "denied",
  [404] = "not_found",
  [408] = "timeout",
  [409] = "conflict",
  [410] = "not_found",
  [412] = "conflict",
  [413] = "no_space",
  [429] = "busy",
  [503] = "busy",
  [504] = "timeout",
  [507] = "no_space",
}
local REFUSED <const> = { [401] = true, [429] = true, [503] = true }
local UNANSWERED <const> = { [502] = true, [504] = true }

local Expectation <const> = {}
Expectation.__index = Expectation

--- Answer 2xx with a decoded body.
function Expectation:reply(json, status, headers)
  self.result = { status = status or 200, headers = headers or {}, body = "", json = json, duration_s = 0 }
  return self
end

--- Answer with another status: the failure that the client makes of it.
function Expectation:refuse(status, json)
  self.why = {
    kind = STATUS_KINDS[status] or "failed",
    message = ("%s %s: HTTP status %d"):format(self.method, self.path, status),
    status = status,
    json = json,
    body = "",
    headers = {},
    refused = REFUSED[status],
    unanswered = UNANSWERED[status],
  }
  return self
end

--- No answer at all.
function Expectation:vanish(kind, fields)
  self.why = { kind = kind, message = "no answer" }
  for key, value in pairs(fields or {}) do
    self.why[key] = value
  end
  return self
end

---@class FakeWire
---@field calls { method: string, path: string, options: table }[] what was sent
---@field clients table[] the options of each http.client
local Wire <const> = {}
Wire.__index = Wire

--- The next request. `query` and `json`, where given, must be the same as what is sent; nil accepts anything.
function Wire:expect(method, path, query, json)
  local expectation <const> = setmetatable({ method = method, path = path, query = query, json = json }, Expectation)
  table.insert(self.expected, expectation:reply {})
  return expectation
end

--- All that was expected has happened, and nothing else, whoever caught the error.
function Wire:done()
  if self.broken then error(self.broken, 2) end
  local left <const> = self.expected[self.next]
  if left then error(("never asked for: %s %s"):format(left.method, left.path), 2) end
end

function Wire:restore() package.loaded["lunalift.http"] = self.saved end

function Wire:breach(fmt, ...)
  self.broken = self.broken or fmt:format(...)
  error(fmt:format(...), 0)
end

local function show(options)
  local parts <const> = {}
  for _, name in ipairs { "query", "json" } do
    for key, value in pairs(options[name] or {}) do
      parts[#parts + 1] = ("%s.%s=%s"):format(name, key, tostring(value))
    end
  end
  table.sort(parts)
  return table.concat(parts, " ")
end

local function same(expected, sent)
  if type(expected) ~= "table" or type(sent) ~= "table" then return expected == sent end
  for key, value in pairs(expected) do
    if not same(value, sent[key]) then return false end
  end
  for key in pairs(sent) do
    if expected[key] == nil then return false end
  end
  return true
end

local function answer(wire, method, path, options)
  table.insert(wire.calls, { method = method, path = path, options = options })
  local expected <const> = wire.expected[wire.next]
  if not expected then return wire:breach("unexpected request: %s %s %s", method, path, show(options)) end
  wire.next = wire.next + 1
  local fits <const> = expected.method == method
    and expected.path == path
    and (expected.query == nil or same(expected.query, options.query or {}))
    and (expected.json == nil or same(expected.json, options.json))
  if not fits then
    local text <const> = "sent: %s %s %s\nexpected: %s %s %s"
    return wire:breach(text, method, path, show(options), expected.method, expected.path, show(expected))
  end
  if expected.why then return nil, expected.why end
  return expected.result
end

local Client <const> = {}
Client.__index = Client

function Client:request(method, path, options) return answer(self.wire, method, path, options or {}) end

for _, method in ipairs { "get", "post", "put", "patch", "delete" } do
  Client[method] = function(self, path, options) return self:request(method:upper(), path, options) end
end

function Client:set_headers(headers)
  for name, value in pairs(headers) do
    self.headers[name] = value or nil
  end
end

--- Takes the place of lunalift.http until restore(). Modules that required the real one before keep it: forget them first.
---@return FakeWire
function M.install()
  local wire <const> =
    setmetatable({ calls = {}, clients = {}, expected = {}, next = 1, saved = package.loaded["lunalift.http"] }, Wire)
  package.loaded["lunalift.http"] = {
    client = function(options)
      table.insert(wire.clients, options)
      return setmetatable({ wire = wire, headers = options.headers or {} }, Client)
    end,
  }
  return wire
end

return M
