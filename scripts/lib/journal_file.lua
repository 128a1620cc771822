--- The journal's home by hand: a file, held by one process at a time.
local fail <const> = require "lib.fail"
local files <const> = require "lunalift.journal"
local form <const> = require "lib.journal_form"

local M <const> = {}

---@class lib.JournalFile : lib.Journal
local File <const> = {}
File.__index = File

--- Raises busy, naming the holder, while another process has it.
---@param path string
---@return lib.Journal
function M.open(path)
  local lock <const>, why <const> = files.lock(path)
  if not lock then
    if why.kind ~= "busy" then error(fail.wrap(why, "no journal can be kept in %s", path)) end
    local failure <const> = fail.wrap(why, "another run works on this volume (journal %s)", path)
    error(fail.hint(failure, "wait for it to end, or stop it"))
  end
  return setmetatable({ path = path, where = "file " .. path, lock = lock }, File)
end

--- What an earlier run left there, without taking it.
---@param path string
---@return string? text nil: nothing
---@return boolean? is_held by a process that lives
function M.look(path)
  local text <const> = files.read(path)
  if not text then return nil end
  local lock <const> = files.lock(path)
  if lock then lock:close() end
  return text, not lock
end

function File:write(journal)
  local written <const>, why <const> = files.write(self.path, form.encode(journal, self.where))
  fail.assert(written, why, "the journal %s cannot be written", self.path)
end

function File:read()
  local text <const>, why <const> = files.read(self.path)
  if text then return form.decode(text, self.path) end
  if why.kind ~= "not_found" then error(why) end
end

function File:clear() assert(files.remove(self.path)) end

function File:close() self.lock:close() end

--- The lock lasts as long as the process does.
function File:fence() end

return M
