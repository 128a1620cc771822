--- What a journal looks like as text, wherever it lies: docs/journal.md.
local fail <const> = require "lib.fail"
local json <const> = require "lunalift.json"

local M <const> = {}

local VERSION <const> = 1
local MOST_BYTES <const> = 64 << 10

---@class lib.JournalText
---@field v integer
---@field job string
---@field flow string
---@field task string of the clone
---@field subject? lib.Subject what the run is about
---@field done? table facts of what was done and proved: only settling is left
---@field entries lib.Promise[]

--- Raises before anything is kept when it is too large, or holds what JSON cannot say, secrets among it.
---@param journal lib.JournalText
---@param where string
---@return string
function M.encode(journal, where)
  journal.v = VERSION
  json.array(journal.entries)
  local text <const> = json.encode(journal)
  if #text <= MOST_BYTES then return text end
  local why <const> = fail.new("no_space", "the journal (%s) would be %d bytes, more than %d", where, #text, MOST_BYTES)
  error(fail.hint(why, "nothing was done for the promise that did not fit; this is a mistake in the flow"))
end

local function check_entries(entries, where)
  if type(entries) ~= "table" then fail.raise("protocol", "the journal %s has no entries", where) end
  for i, entry in ipairs(entries) do
    local is_sound <const> = type(entry) == "table"
      and math.type(entry.n) == "integer"
      and type(entry.undo) == "string"
      and type(entry.args) == "table"
      and type(entry.about) == "string"
    if not is_sound then fail.raise("protocol", "entry %d of the journal %s is no promise", i, where) end
  end
end

---@param text string
---@param where string
---@return lib.JournalText
function M.decode(text, where)
  local journal <const>, bad <const> = json.decode(text)
  if bad then error(fail.wrap(bad, "the journal %s cannot be read", where)) end
  if type(journal) ~= "table" then
    fail.raise("protocol", "the journal %s is none: it holds a %s", where, type(journal))
  end
  if journal.v ~= VERSION then
    fail.raise(
      "unsupported",
      "the journal %s has version %s, this program knows %d",
      where,
      tostring(journal.v),
      VERSION
    )
  end
  check_entries(journal.entries, where)
  if journal.done ~= nil and type(journal.done) ~= "table" then
    fail.raise("protocol", "the journal %s does not tell what is done", where)
  end
  return journal
end

--- The last promise of a kind.
---@param entries lib.Promise[]
---@param undo string a name of lib.undo
---@return lib.Promise?
function M.promise_of(entries, undo)
  for i = #entries, 1, -1 do
    if entries[i].undo == undo then return entries[i] end
  end
end

return M
