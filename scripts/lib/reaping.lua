--- What dead runs left: found in journals, and on hosts and arrays by our marks. Settled where it can be proved to be ours.
local fail <const> = require "lib.fail"
local files <const> = require "lunalift.journal"
local form <const> = require "lib.journal_form"
local journal_file <const> = require "lib.journal_file"
local journal_lease <const> = require "lib.journal_lease"
local journals <const> = require "lib.journals"
local recovery <const> = require "lib.recovery"
local timer <const> = require "lunalift.timer"

local M <const> = {}

local ENDED_S <const> = 600 -- so long after its end nobody comes for a task's result

---@class lib.Leftover
---@field kind "journal"|"host"|"task"|"map"|"host object"|"device off"
---@field where string
---@field about string for people
---@field state "live"|"dead"|"unreadable"|"left" live: its run goes on
---@field outcome "left"|"settled"|"kept"
---@field why? string it is kept
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
  local left <const> = recovery.settle(job, journal)
  if #left > 0 then error(fail.wrap(left[1].why, "%s", left[1].promise.about)) end
end

-- ---- hosts and array ----

-- What live runs are about. A scan must know of all: who may not list every Lease can prove nothing.
---@return table<string, boolean>? hosts ids of hosts on which a live run works; nil: some may be unknown
local function busy_hosts(job, items)
  local hosts <const> = {}
  local function add(text)
    if text and text.subject then hosts[text.subject.host] = true end
  end
  for _, item in ipairs(items) do
    if item.kind == "journal" and item.state ~= "dead" then
      if not item.text then return nil end
      add(item.text)
    end
  end
  local listed <const>, found <const> = pcall(journal_lease.list, job, nil)
  if not listed then return nil end
  for _, each in ipairs(found) do
    if not each.is_dead then
      local ok <const>, text <const> =
        pcall(form.decode, each.lease.metadata.annotations[journal_lease.MARK], each.name)
      if not ok then return nil end
      add(text)
    end
  end
  return hosts
end

local function add(scan, kind, about, remove, why)
  if not why and not scan.hosts_known then
    why = "live runs elsewhere are unknown: this account may not list all Leases"
  end
  if not why and scan.is_busy then why = "a live run works on this host" end
  scan.items[#scan.items + 1] = {
    kind = kind,
    where = scan.host.name,
    about = about,
    state = "left",
    outcome = "left",
    remove = not why and remove or nil,
    why = why or not remove and "nothing proves that it is ours" or nil,
  }
end

local function scan_tasks(scan, clones)
  for _, task in ipairs(clones:tasks()) do
    local about <const> = ("clone task %s, %s, %s to %s"):format(task.taskId, task.state, task.source, task.target)
    local why
    if task.state == "running" then
      scan.running[task.target] = true
      why = "it runs"
    else
      local state <const> = clones:poll(task.taskId)
      local age_s <const> = state.updated_at and timer.epoch() - state.updated_at
      if not age_s or age_s < ENDED_S then why = "it ended lately: somebody may still ask for its result" end
    end
    if not scan.named[task.taskId] then add(scan, "task", about, function() clones:clean(task.taskId) end, why) end
  end
end

local function adapters_of(initiators)
  local adapters <const> = {}
  for i, port in ipairs(initiators) do
    adapters[i] = port.adapter
  end
  return adapters
end

local function scan_maps(scan, array, peer, initiators)
  for _, lun in ipairs(array:luns_of(peer)) do
    local why
    if not scan.tasks_known then why = "this host's wrapper cannot tell whether a clone writes to it" end
    if lun.naa and scan.running["/vmfs/devices/disks/" .. lun.naa] then why = "a clone writes to it" end
    local about <const> = ("LUN %s (%s) is mapped to %s"):format(lun.name, tostring(lun.naa), peer.name)
    if not scan.named[lun.id] then
      add(scan, "map", about, function()
        if lun.naa then scan.host:detach(lun.naa) end
        array:unmap(lun, peer)
        scan.host:drop_paths(adapters_of(initiators))
      end, why)
    end
  end
  if not scan.named[peer.name] then
    add(scan, "host object", ("%s on %s"):format(peer.name, array.where), function()
      if array:remove_host(peer) == "in use" then fail.raise("busy", "it is in use") end
    end)
  end
end

local function scan_host(job, scan)
  local host <const>, array <const> = scan.host, job.site:array()
  local installed <const>, clones <const> = pcall(host.wrapper, host)
  scan.tasks_known = installed and clones:offers "taskList"
  if scan.tasks_known then scan_tasks(scan, clones) end
  local reached <const>, initiators <const> = pcall(host.initiators_reaching, host, array:targets())
  local peer <const> = reached and array:find_host(initiators, "xcopy-" .. host.id)
  if peer and peer.ours and array:offers "luns_of" then scan_maps(scan, array, peer, initiators) end
  for _, naa in ipairs(host:detached()) do
    if not scan.named[naa] then add(scan, "device off", naa) end
  end
end

-- What journals name is theirs to settle: by name, id or device.
local function named_by(items)
  local named <const> = {}
  for _, item in ipairs(items) do
    for _, entry in ipairs(item.text and item.text.entries or {}) do
      local args <const> = entry.args
      for _, name in ipairs { args.task_id or false, args.naa or false, args.name or false } do
        if name then named[name] = true end
      end
      if type(args.lun) == "table" and args.lun.id then named[args.lun.id] = true end
    end
  end
  return named
end

--- What bears our marks and is named by no journal: tasks on the hosts, maps to our host objects, those themselves, devices that are off.
---@param job lib.Job
---@param items lib.Leftover[] the journals
---@return lib.Leftover[]
function M.scan(job, items)
  local vcenter <const>, found <const>, named <const> = job.site:vcenter(), {}, named_by(items)
  local busy <const> = busy_hosts(job, items)
  for _, each in ipairs(vcenter:all_hosts()) do
    local scan <const> = {
      items = found,
      named = named,
      running = {},
      hosts_known = busy ~= nil,
      is_busy = busy and busy[each.ref.id] or false,
    }
    local ok <const>, why <const> = pcall(function()
      scan.host = vcenter:host_again(each.ref)
      scan.host:check_usable()
      scan_host(job, scan)
    end)
    if not ok then
      local item <const> = { kind = "host", where = each.name, about = "not looked at", state = "unreadable" }
      item.outcome, item.why = "left", fail.text(why)
      found[#found + 1] = item
    end
  end
  return found
end

-- ---- settling ----

local function settle(job, item)
  if item.state == "live" then return "kept", "its run goes on" end
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
