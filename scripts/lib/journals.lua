--- Where promises outlive the process: homes of the journal.
local env <const> = require "lunalift.env"
local fail <const> = require "lib.fail"
local files <const> = require "lunalift.journal"
local json <const> = require "lunalift.json"

local M <const> = {}

---@class lib.Journal
---@field where string for people
local File <const> = {}
File.__index = File

--- A file; held by one process at a time.
---@param path string
---@return lib.Journal
function M.file(path)
  local lock <const>, why <const> = files.lock(path)
  if not lock then
    error(
      fail.hint(fail.wrap(why, "another run works on this volume (journal %s)", path), "wait for it to end, or stop it")
    )
  end
  return setmetatable({ path = path, where = "file " .. path, lock = lock }, File)
end

--- The home that was asked for (--journal file:PATH), else a file of this user's state, named by the claim.
---@param job lib.Job
---@param volume lib.Volume
---@return lib.Journal
function M.of(job, volume)
  local home <const> = job.request.journal or ""
  if home ~= "" then
    local path <const> = home:match "^file:(.+)$"
    if path then return M.file(path) end
    error(fail.hint(fail.new("config", "--journal: '%s' is no home for a journal", home), "use file:PATH"))
  end
  local state = env.get "XDG_STATE_HOME" or ""
  if state == "" then state = (env.get "HOME" or "/var/lib") .. "/.local/state" end
  local path <const> = ("%s/lunalift/%s.json"):format(state, volume.claim.uid)
  files.make_folder(path)
  return M.file(path)
end

---@param entries table
function File:write(entries) assert(files.write(self.path, json.encode(entries))) end

---@return table? journal nil when there is none
function File:read()
  local text <const>, why <const> = files.read(self.path)
  if not text then
    if why.kind == "not_found" then return nil end
    error(why)
  end
  local journal <const>, bad <const> = json.decode(text)
  if not journal then error(fail.wrap(bad, "the journal %s cannot be read", self.path)) end
  if journal.v ~= 1 then
    fail.raise("unsupported", "the journal %s has version %s, this program knows 1", self.path, journal.v)
  end
  return journal
end

function File:clear() assert(files.remove(self.path)) end

return M
