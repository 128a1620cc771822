--- Failures: the one table that says what went wrong, from the wire to the user. The C modules make plain ones of the same fields.
local M <const> = {}

---@class Fail
---@field kind string one of M.KINDS
---@field message string what was found, naming things as the user knows them
---@field hint? string what the user should do
---@field cause? Fail
---@field unanswered? boolean the request may have been acted on: look, do not repeat
---@field refused? boolean nothing was done: it may be sent again
---@field status? integer of HTTP
---@field retry_after_s? number
---@field step? string of the flow
---@field target? string
---@field traceback? string of a bug

M.KINDS = {
  not_found = true,
  conflict = true,
  denied = true,
  busy = true,
  timeout = true,
  unreachable = true,
  protocol = true,
  unsupported = true,
  config = true,
  no_space = true,
  incomplete = true,
  failed = true,
  cancelled = true,
  bug = true,
}

local CARRIED <const> = { "hint", "unanswered", "refused", "status", "retry_after_s" }

local Fail <const> = { __name = "fail" }

--- The message and those of its causes, on one line. Takes C's plain failures, and any other value, too.
---@return string
function M.text(value)
  if not M.is(value) then return tostring(value) end
  if value.cause == nil then return value.message end
  return value.message .. ": " .. M.text(value.cause)
end

Fail.__tostring = M.text

-- A message without arguments is not a format: what peers say may hold a %.
local function format(fmt, ...)
  if select("#", ...) == 0 then return fmt end
  return fmt:format(...)
end

---@param kind string
---@param fmt string
---@return Fail
function M.new(kind, fmt, ...)
  if not M.KINDS[kind] then error(("no such kind of failure: %s"):format(kind), 2) end
  return setmetatable({ kind = kind, message = format(fmt, ...) }, Fail)
end

--- Never returns: `local volume = list[1] or fail.raise("not_found", …)`.
---@param kind string
---@param fmt string
function M.raise(kind, fmt, ...) error(M.new(kind, fmt, ...)) end

--- The same with a hint, which is no format.
---@param kind string
---@param hint string
---@param fmt string
function M.advise(kind, hint, fmt, ...)
  local failure <const> = M.new(kind, fmt, ...)
  failure.hint = hint
  error(failure)
end

--- What was being done when `why` happened. What decides about retrying, and the hint, stay those of `why`.
---@param why any
---@param fmt string
---@return Fail
function M.wrap(why, fmt, ...)
  local cause <const> = M.of(why)
  local failure <const> = M.new(cause.kind, fmt, ...)
  for _, field in ipairs(CARRIED) do
    failure[field] = cause[field]
  end
  failure.cause = cause
  return failure
end

--- `value`, or else `why` raised, wrapped in what was being done.
---@generic T
---@param value T?
---@param why Fail?
---@param fmt string
---@return T
function M.assert(value, why, fmt, ...) return value or error(M.wrap(why, fmt, ...)) end

---@generic T: Fail
---@param failure T
---@param fmt string
---@return T failure the same table
function M.hint(failure, fmt, ...)
  failure.hint = format(fmt, ...)
  return failure
end

---@param value any
---@param kind? string
---@return boolean
function M.is(value, kind)
  if type(value) ~= "table" or not M.KINDS[value.kind] or type(value.message) ~= "string" then return false end
  return kind == nil or value.kind == kind
end

--- Whatever was raised, as a failure. Failure tables stay the same table; anything else is a script's mistake,
--- with its traceback if it brought one.
---@param value any
---@return Fail
function M.of(value)
  if M.is(value) then
    if getmetatable(value) == nil then setmetatable(value, Fail) end -- C's is locked
    return value
  end
  local text <const> = tostring(value)
  local message <const>, traceback <const> = text:match "^(.-)\n(stack traceback:.*)$"
  local failure <const> = M.new("bug", "%s", message or text)
  failure.traceback = traceback
  return failure
end

return M
