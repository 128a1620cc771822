--- What to do about the failures that users are known to meet: rows of lib.known_failures, raised by their names, or known by their
--- words where a peer chose them.
local fail <const> = require "lib.fail"

local M <const> = {}

local PARTS <const> =
  { require "lib.known_failures", require "lib.known_ssh_failures", require "lib.known_vib_failures" }

M.ROWS = {}
for _, rows in ipairs(PARTS) do
  table.move(rows, 1, #rows, #M.ROWS + 1, M.ROWS)
end

local BY_NAME <const> = {}
for _, row in ipairs(M.ROWS) do
  BY_NAME[row.name] = row
end

local function filled(text, values, name)
  return (
    text:gsub("{(%w+)}", function(key)
      local value <const> = values[key]
      if value == nil then fail.raise("bug", "the hint '%s' needs a value for %s", name, key) end
      return tostring(value)
    end)
  )
end

local function row_of(name) return BY_NAME[name] or fail.raise("bug", "there is no hint '%s'", name) end

--- What a row says, and what to do about it: for warnings.
---@param name string
---@param values? table<string, any> for the {names} of message and fix
---@return string message
---@return string fix
function M.say(name, values)
  local row <const> = row_of(name)
  return filled(row.message, values or {}, name), filled(row.fix, values or {}, name)
end

---@param name string
---@param values? table<string, any>
---@return Fail
function M.new(name, values)
  local message <const>, fix <const> = M.say(name, values)
  return fail.hint(fail.new(row_of(name).kind, "%s", message), "%s", fix)
end

--- Never returns.
---@param name string
---@param values? table<string, any>
function M.raise(name, values) error(M.new(name, values)) end

--- A failure in words of others, down to its causes, gets the hint of the row that knows them, unless it has one.
---@param why Fail
---@return Fail why the same
function M.explain(why)
  local part = why
  while part and not why.hint do
    for _, row in ipairs(M.ROWS) do
      if row.pattern and part.message:find(row.pattern) then why.hint = row.fix end
    end
    part = part.cause
  end
  return why
end

return M
