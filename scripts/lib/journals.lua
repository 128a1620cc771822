--- Where promises outlive the process: homes of the journal. What lies in them is told in docs/journal.md.
local codec <const> = require "lunalift.codec"
local env <const> = require "lunalift.env"
local fail <const> = require "lib.fail"
local files <const> = require "lunalift.journal"
local journal_file <const> = require "lib.journal_file"
local journal_lease <const> = require "lib.journal_lease"

local M <const> = {}

---@class lib.Journal
---@field where string for people
---@field write fun(self: lib.Journal, journal: lib.JournalText) kept for good when it returns
---@field read fun(self: lib.Journal): lib.JournalText? nil when there is none
---@field clear fun(self: lib.Journal) nothing is left to undo
---@field close fun(self: lib.Journal) let others have it; what was not cleared stays
---@field fence fun(self: lib.Journal) raises conflict when this process may not act any more: another holds it

--- The folder of this user's journals.
---@return string
function M.folder()
  local state = env.get "XDG_STATE_HOME" or ""
  if state == "" then state = (env.get "HOME" or "/var/lib") .. "/.local/state" end
  return state .. "/lunalift"
end

--- A file; held by one process at a time.
---@param path string
---@return lib.Journal
function M.file(path) return journal_file.open(path) end

--- Does this run in a cluster that is the target, too?
---@param job lib.Job
---@return boolean
function M.in_pod(job) return (env.get "KUBERNETES_SERVICE_HOST" or "") ~= "" and (job.request.kubeconfig or "") == "" end

--- The home that was asked for; a Lease in a pod, whose files end with it; "" for a file of this user's state.
---@param job lib.Job
---@return string "lease", "file:PATH" or ""
function M.home(job)
  local home <const> = job.request.journal or ""
  if home ~= "" then return home end
  return M.in_pod(job) and "lease" or ""
end

--- The file that is the journal's home, where that is no Lease.
---@param job lib.Job
---@param volume lib.Volume
---@return string path
---@return boolean is_own of this user's state, in a folder that may be missing
function M.path(job, volume)
  local home <const> = M.home(job)
  local path <const> = home:match "^file:(.+)$"
  if path then return path, false end
  if home ~= "" then
    error(fail.hint(fail.new("config", "--journal: '%s' is no home for a journal", home), "use lease, or file:PATH"))
  end
  return ("%s/%s.json"):format(M.folder(), codec.percent(volume.claim.uid)), true
end

--- The home that was asked for (--journal lease|file:PATH); else a Lease inside a cluster, and a file of this user's state outside.
---@param job lib.Job
---@param volume lib.Volume
---@return lib.Journal
function M.of(job, volume)
  if M.home(job) == "lease" then return journal_lease.open(job, volume.claim) end
  local path <const>, is_own <const> = M.path(job, volume)
  if is_own then files.make_folder(path) end
  return journal_file.open(path)
end

return M
