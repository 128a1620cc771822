--- What dead runs left, found in journals, or by lib.scanning. Settled where it can be proved to be ours.
local dead_runs <const> = require "lib.dead_runs"
local fail <const> = require "lib.fail"
local files <const> = require "lunalift.journal"
local form <const> = require "lib.journal_form"
local journal_file <const> = require "lib.journal_file"
local journal_lease <const> = require "lib.journal_lease"
local journals <const> = require "lib.journals"
local words <const> = require "lib.words"

local M <const> = {}

---@class lib.Leftover
---@field kind "journal"|"host"|"datastore"|"task"|"map"|"host object"|"device off"|"descriptor"
---@field where string
---@field about string for people
---@field state "live"|"dead"|"unreadable"|"left" live: its run goes on
---@field outcome "left"|"settled"|"kept"
---@field why? string it is kept
---@field command? string for the user who knows that its run is dead
---@field text? lib.JournalText of a journal
---@field take? fun(): lib.Journal?
---@field remove? fun() nil: it cannot be proved to be ours

-- ---- journals ----

local function about_of(text)
  local parts <const> = {}
  for i = #text.entries, 1, -1 do
    parts[#parts + 1] = text.entries[i].about
  end
  return #parts > 0 and table.concat(parts, "; ") or "nothing"
end

local function journal_item(where, state, decode)
  local item <const> = { kind = "journal", where = where, state = state, outcome = "left", about = "" }
  local ok <const>, text <const> = pcall(decode)
  if not ok then
    item.state, item.why = "unreadable", fail.text(text)
  else
    item.text, item.about = text, about_of(text)
  end
  return item
end

local function is_held(path)
  local lock <const> = files.lock(path)
  if lock then lock:close() end
  return lock == nil
end

-- nil when there is no such journal.
local function file_item(path)
  local raw <const>, why <const> = files.read(path)
  if not raw and why.kind == "not_found" then return nil end
  local item <const> = journal_item("file " .. path, is_held(path) and "live" or "dead", function()
    if not raw then error(why) end
    return form.decode(raw, path)
  end)
  item.take = function() return journal_file.open(path) end
  return item
end

local function file_items(folder)
  local names <const> = assert(files.list(folder))
  table.sort(names)
  local items <const> = {}
  for _, name in ipairs(names) do
    items[#items + 1] = file_item(("%s/%s"):format(folder, name))
  end
  return items
end

local function lease_item(job, namespace, found)
  local item <const> = journal_item(
    ("Lease %s/%s"):format(namespace, found.name),
    found.is_dead and "dead" or "live",
    function() return form.decode(found.lease.metadata.annotations[journal_lease.MARK], found.name) end
  )
  item.take = function() return journal_lease.take(job, namespace, found.lease) end
  if item.state == "live" and found.dead_in_s then
    item.why = ("its run was heard of %s ago; silent for %s more, it counts as dead"):format(
      words.span(math.max(0, found.age_s)),
      words.span(math.ceil(found.dead_in_s))
    )
  end
  return item
end

--- The journals of a file, of this user's folder, and of a namespace.
---@param job lib.Job
---@return lib.Leftover[]
function M.journals(job)
  local home <const>, namespace <const> = job.request.journal or "", job.request.namespace
  local path <const> = home:match "^file:(.+)$"
  if path then return { file_item(path) } end
  if home ~= "" and home ~= "lease" then
    error(fail.hint(fail.new("config", "--journal: '%s' is no home for a journal", home), "use lease, or file:PATH"))
  end
  if home == "lease" and not namespace then
    error(fail.hint(fail.new("config", "--journal lease needs a namespace"), "give --namespace"))
  end
  local items <const> = home == "" and file_items(journals.folder()) or {}
  for _, found in ipairs(namespace and journal_lease.list(job, namespace) or {}) do
    items[#items + 1] = lease_item(job, namespace, found)
  end
  return items
end

-- Undone through another array or vCenter, a promise would be taken for kept.
local function check_site(job, text)
  local about <const> = text.subject or {}
  if about.array ~= job.site:array().where or about.vcenter ~= job.site:vcenter().where then
    fail.raise("config", "it is of array %s and vCenter %s", tostring(about.array), tostring(about.vcenter))
  end
end

local function settle_journal(job, item)
  check_site(job, item.text)
  local journal <const> = item.take() or fail.raise("busy", "another run has it now")
  local left <const> = dead_runs.settle(job, journal)
  if #left > 0 then error(fail.wrap(left[1].why, "%s", left[1].promise.about)) end
end

-- ---- settling ----

local function settle(job, item)
  if item.state == "live" then return "kept", item.why or "its run goes on" end
  if item.kind == "journal" and not item.text then return "kept", item.why end
  if item.kind ~= "journal" and not item.remove then return "kept", item.why end
  local ok <const>, why <const> =
    pcall(item.kind == "journal" and settle_journal or function() item.remove() end, job, item)
  if ok then return "settled" end
  return "kept", fail.text(why)
end

--- Settle what can be proved to be ours.
---@param job lib.Job
---@param items lib.Leftover[]
function M.settle(job, items)
  for _, item in ipairs(items) do
    job:waiting("%s", item.about)
    item.outcome, item.why = settle(job, item)
  end
end

--- Is there one whose run lives, as far as can be told?
---@param items lib.Leftover[]
---@return boolean
function M.has_live(items)
  for _, item in ipairs(items) do
    if item.state == "live" then return true end
  end
  return false
end

--- How many are left that no live run cares for.
---@param items lib.Leftover[]
---@return integer
function M.count_left(items)
  local n = 0
  for _, item in ipairs(items) do
    if item.state ~= "live" and item.outcome ~= "settled" then n = n + 1 end
  end
  return n
end

return M
