--- What is wrong with what a vendor script did: said so that its author knows what was expected, and what happened instead.
local fail <const> = require "lib.fail"
local json <const> = require "lunalift.json"
local log <const> = require "lunalift.log"

local M <const> = {}

---@class lib.Verdict : Fail
---@field expected string

--- Ends a case.
---@param expected string
---@param fmt string what happened
function M.wrong(expected, fmt, ...)
  local verdict <const> = fail.new("failed", fmt, ...)
  verdict.expected = expected
  error(verdict)
end

---@param why any a failure, or whatever was raised
---@return string
function M.text(why)
  local failure <const> = fail.of(why)
  local mark <const> = failure.unanswered and ", unanswered" or failure.refused and ", refused" or ""
  return ("%s (%s%s)"):format(fail.text(failure), failure.kind, mark)
end

--- Is all of `a` in `b`?
---@return boolean
function M.within(a, b)
  if type(a) ~= "table" or type(b) ~= "table" then return a == b end
  for key, value in pairs(a) do
    if not M.within(value, b[key]) then return false end
  end
  return true
end

---@return boolean
function M.same(a, b) return M.within(a, b) and M.within(b, a) end

-- What stands in a list at any place, for places shift.
local function is_among(list, value)
  for _, each in pairs(list) do
    if M.same(each, value) then return true end
  end
  return false
end

local function lacking(from, to, said, where, texts)
  for key, value in pairs(from) do
    local at <const> = where == "" and tostring(key) or math.type(key) and where or ("%s.%s"):format(where, key)
    local other <const> = to[key]
    local is_shifted <const> = math.type(key) and type(value) == "table"
    if is_shifted and not is_among(to, value) or not is_shifted and type(value) ~= "table" and other ~= value then
      texts[#texts + 1] = ("%s %s: %s"):format(at, said, json.encode(value))
    elseif not is_shifted and type(value) == "table" then
      lacking(value, type(other) == "table" and other or {}, said, at, texts)
    end
  end
end

--- What of an array's objects is not as it was; nil when all is.
---@param before table
---@param now table
---@return string?
function M.difference(before, now)
  if M.same(before, now) then return nil end
  local texts <const> = {}
  lacking(before, now, "gone", "", texts)
  lacking(now, before, "new", "", texts)
  table.sort(texts)
  return texts[1] and table.concat(texts, "; ") or "the order has changed"
end

local function shown(value) return type(value) == "string" and ('"%s"'):format(value) or tostring(value) end

---@param what string "the first map returns"
function M.expect(value, wanted, what)
  if value ~= wanted then M.wrong(("%s %s"):format(what, shown(wanted)), "%s %s", what, shown(value)) end
end

--- A failure may be of any kind but a script's own mistake.
---@param why any
function M.check_clean(why)
  if not fail.is(why) or why.kind == "bug" then
    M.wrong("a failure of one of the known kinds: lib.fail makes them", "the script breaks: %s", M.text(why))
  elseif not why.message:find "%S" then
    M.wrong("a failure that says what was found", "one of kind %s without a message", why.kind)
  end
end

local function collect(value, texts)
  if type(value) == "string" then texts[#texts + 1] = value end
  for _, inner in pairs(type(value) == "table" and value or {}) do
    collect(inner, texts)
  end
  return texts
end

--- Nothing that the user may see holds a password or a token, once what the program knows to be secret is hidden.
---@param secrets table<string, true>
---@param value any
function M.check_secrets(secrets, value)
  local text <const> = log.redact(table.concat(collect(value, {}), "\n"))
  for secret in pairs(secrets) do
    local at <const> = text:find(secret, 1, true)
    if at then
      local before <const> = text:sub(1, at - 1):match "[^\n]*$"
      M.wrong("passwords and tokens are secrets: see lunalift.secret", "one is in what it says: %s…", before)
    end
  end
end

return M
