--- A Lua script as words with their lines, without comments: enough to find names, not to understand it.
local M <const> = {}

---@class lib.LuaWord
---@field kind "name"|"keyword"|"string"|"number"|"symbol"
---@field text string of a string what stands between its quotes
---@field line integer

local KEYWORDS <const> = {}
for word in
  ([[and break do else elseif end false for function goto if in local nil not or repeat return then true until while]]):gmatch "%a+"
do
  KEYWORDS[word] = true
end

local SYMBOLS <const> = { "^%.%.%.", "^%.%.", "^[=~<>]=", "^//", "^::", "^<<", "^>>", "^." }

-- Where the long bracket that begins here ends, and what is inside.
local function long_bracket(source, at)
  local level <const> = source:match("^%[(=*)%[", at)
  if not level then return nil end
  local first <const> = at + #level + 2
  local last <const>, after <const> = source:find("]" .. level .. "]", first, true)
  return (after or #source) + 1, source:sub(first, (last or #source + 1) - 1)
end

local function short_string(source, at)
  local quote <const>, i = source:sub(at, at), at + 1
  while i <= #source do
    local char <const> = source:sub(i, i)
    if char == quote then break end
    i = i + (char == "\\" and 2 or 1)
  end
  return i + 1, source:sub(at + 1, i - 1)
end

local function comment_end(source, at)
  if not source:find("^%-%-", at) then return nil end
  return long_bracket(source, at + 2) or (source:find("\n", at, true) or #source + 1)
end

-- The word that begins here: its kind, its text, and where the next may begin.
local function word_at(source, at)
  if source:find("^[\"']", at) then
    local after <const>, text <const> = short_string(source, at)
    return "string", text, after
  end
  local after <const>, text <const> = long_bracket(source, at)
  if after then return "string", text, after end
  local name <const> = source:match("^[%a_][%w_]*", at)
  if name then return KEYWORDS[name] and "keyword" or "name", name, at + #name end
  local number <const> = source:match("^%.?%d[%w.]*", at)
  if number then return "number", number, at + #number end
  for _, pattern in ipairs(SYMBOLS) do
    local symbol <const> = source:match(pattern, at)
    if symbol then return "symbol", symbol, at + #symbol end
  end
end

--- Of a script that compiles.
---@param source string
---@return lib.LuaWord[]
function M.split(source)
  local words <const>, line = {}, 1
  local at = source:match "^#[^\n]*()" or 1
  while true do
    local blank_end <const> = comment_end(source, at) or source:match("^%s+()", at)
    local after = blank_end
    if not after then
      if at > #source then return words end
      local kind, text
      kind, text, after = word_at(source, at)
      words[#words + 1] = { kind = kind, text = text, line = line }
    end
    line = line + select(2, source:sub(at, after - 1):gsub("\n", ""))
    at = after
  end
end

--- Do these words, none of them a string, stand from `i` on?
---@param tokens lib.LuaWord[]
---@param i integer
---@return boolean
function M.is_at(tokens, i, ...)
  for offset, text in ipairs { ... } do
    local token <const> = tokens[i + offset - 1]
    if not token or token.kind == "string" or token.text ~= text then return false end
  end
  return true
end

--- The line where a field is written down: after `inside = {`, where that is given. 1 where it is not.
---@param tokens lib.LuaWord[]
---@param key string
---@param inside? string
---@return integer
function M.line_of(tokens, key, inside)
  local is_inside = inside == nil
  for i, token in ipairs(tokens) do
    if token.kind == "name" and M.is_at(tokens, i + 1, "=") then
      if is_inside and token.text == key then return token.line end
      is_inside = is_inside or token.text == inside
    end
  end
  return inside and M.line_of(tokens, inside) or 1
end

return M
