--- What bears our marks on hosts, array and datastores and no journal names. Names tell little: upstream's populator gives the same ones,
--- and a run elsewhere may keep its journal there. So little is put back unless the user says, object by object, that its run is dead.
local datastores <const> = require "lib.datastores"
local descriptors <const> = require "lib.descriptors"
local fail <const> = require "lib.fail"
local form <const> = require "lib.journal_form"
local initiator <const> = require "lib.initiator"
local journal_lease <const> = require "lib.journal_lease"
local timer <const> = require "lunalift.timer"

local M <const> = {}

local ENDED_S <const> = 600 -- so long after its end nobody comes for a task's result
local DISKS <const> = "/vmfs/devices/disks/"

-- ---- what journals tell ----

-- By name, id or device.
local function name_all(names, text)
  local subject <const> = text.subject or {}
  for _, name in ipairs { text.task or false, subject.lun or false, subject.naa or false } do
    names[name] = true
  end
  for _, entry in ipairs(text.entries) do
    local args <const> = entry.args
    local lun <const> = type(args.lun) == "table" and args.lun.id
    for _, name in ipairs { args.task_id or false, args.naa or false, args.name or false, lun or false } do
      names[name] = true
    end
  end
end

local function add_live(live, text)
  if text.subject then live.hosts[text.subject.host] = true end
  name_all(live.names, text)
end

-- What live runs work with; `is_whole` is false where there may be others with a Lease.
local function live_runs(job, items)
  local live <const> = { hosts = {}, names = {}, is_whole = true }
  for _, item in ipairs(items) do
    if item.kind == "journal" and item.state ~= "dead" then
      live.is_whole = live.is_whole and item.text ~= nil
      if item.text then add_live(live, item.text) end
    end
  end
  local listed <const>, leases <const> = pcall(journal_lease.list, job, nil)
  live.is_whole = live.is_whole and listed
  for _, each in ipairs(listed and leases or {}) do
    if not each.is_dead then
      local ok <const>, text <const> =
        pcall(form.decode, each.lease.metadata.annotations[journal_lease.MARK], each.name)
      live.is_whole = live.is_whole and ok
      if ok then add_live(live, text) end
    end
  end
  return live
end

-- What dead runs' journals name is theirs to settle.
local function named_by(items)
  local names <const> = {}
  for _, item in ipairs(items) do
    if item.text and item.state == "dead" then name_all(names, item.text) end
  end
  return names
end

-- ---- findings ----

---@class lib.Finding
---@field kind string
---@field where string
---@field about string
---@field name? string by which the user may say that its run is dead
---@field is_live? boolean a live run works with it
---@field stays? string why it is kept whatever the user says
---@field unproved? string why it is kept unless the user says that its run is dead
---@field command? string for the user where `name` does not help
---@field remove? fun()

local function add(scan, finding)
  local assumed <const> = scan.assumed[finding.name] ~= nil
  if assumed then scan.assumed[finding.name] = true end
  local stays <const> = finding.is_live and "a live run works with it" or finding.stays
  local why <const> = stays or not assumed and finding.unproved or nil
  local command <const> = finding.name and "lunalift reap --scan --apply --assume-dead " .. finding.name
  scan.items[#scan.items + 1] = {
    kind = finding.kind,
    where = finding.where,
    about = finding.about,
    state = finding.is_live and "live" or "left",
    outcome = "left",
    why = why,
    command = why and not stays and (command or finding.command) or nil,
    remove = not why and finding.remove or nil,
  }
end

local function unreadable(scan, kind, where, why)
  local text <const> = fail.text(why)
  scan.items[#scan.items + 1] =
    { kind = kind, where = where, about = "not looked at", state = "unreadable", outcome = "left", why = text }
end

-- ---- a host and its host object ----

local function scan_task(scan, host, clones, task)
  local finding <const> = {
    kind = "task",
    where = host.name,
    about = ("clone task %s, %s, %s to %s"):format(task.taskId, task.state, task.source, task.target),
    name = task.taskId,
    is_live = scan.live.names[task.taskId],
    remove = function() clones:clean(task.taskId) end,
  }
  if not scan.live.is_whole then
    finding.unproved = "live runs elsewhere are unknown: this account may not list all Leases"
  end
  if task.state == "running" then
    finding.stays = "it runs"
  else
    local ended_at <const> = clones:poll(task.taskId).updated_at
    local is_old <const> = ended_at and timer.epoch() - ended_at >= ENDED_S
    if not is_old then finding.stays = "it ended lately: somebody may still ask for its result" end
  end
  add(scan, finding)
end

-- A host with the object through which it sees LUNs. Without a wrapper that lists tasks it has no `clones`.
---@class lib.scanning.View
---@field host lib.Host
---@field peer lib.ArrayHost
---@field adapters string[]
---@field clones? lib.Clones

local function is_written(view, lun)
  for _, task in ipairs(lun.naa and view.clones and view.clones:tasks() or {}) do
    if task.state == "running" and task.target == DISKS .. lun.naa then return true end
  end
  return false
end

-- The LUN may have got a writer since it was looked at.
local function unmap(array, view, lun)
  if is_written(view, lun) then fail.raise("busy", "a clone writes to it now") end
  if lun.naa then view.host:detach(lun.naa) end
  array:unmap(lun, view.peer)
  view.host:drop_paths(view.adapters)
end

local function scan_map(scan, view, lun)
  local unproved =
    "it may be of a run that is about to copy: one of upstream's populator, or with its journal elsewhere"
  if not view.clones then unproved = unproved .. "; nor can this host tell whether a clone writes to it" end
  add(scan, {
    kind = "map",
    where = view.host.name,
    about = ("LUN %s (%s) is mapped to %s"):format(lun.name, tostring(lun.naa), view.peer.name),
    name = lun.naa or lun.id,
    is_live = scan.live.names[lun.id] or scan.live.names[lun.naa],
    stays = is_written(view, lun) and "a clone writes to it" or nil,
    unproved = unproved,
    remove = function() unmap(scan.array, view, lun) end,
  })
end

local function scan_peer(scan, view)
  local array <const>, peer <const> = scan.array, view.peer
  add(scan, {
    kind = "host object",
    where = view.host.name,
    about = ("%s on %s"):format(peer.name, array.where),
    name = peer.name,
    is_live = scan.live.hosts[view.host.ref.id],
    unproved = "a run of upstream's populator, or one with its journal elsewhere, may be about to map to it",
    remove = function()
      if array:remove_host(peer) == "in use" then fail.raise("busy", "it is in use") end
    end,
  })
end

local function scan_view(scan, view, is_named)
  local array <const> = scan.array
  for _, lun in ipairs(array:offers "luns_of" and array:luns_of(view.peer) or {}) do
    if not scan.named[lun.id] then scan_map(scan, view, lun) end
  end
  if not is_named then scan_peer(scan, view) end
end

-- By the name that we give, and by upstream's. Of that name another vCenter may have a host, too: its ports tell.
local function scan_array(scan, host, clones)
  local array <const> = scan.array
  local fabrics <const> = array.vendor.fabrics
  local reached <const>, initiators <const> = pcall(host.initiators_reaching, host, fabrics, array:targets())
  if not reached then return end
  local adapters <const>, ports <const> = {}, host:ports(fabrics)
  for i, port in ipairs(initiators) do
    adapters[i] = port.adapter
  end
  for _, name in ipairs { host.peer_name, host.upstream_name } do
    for _, peer in ipairs(array:hosts_of(initiators, name)) do
      local is_this_hosts <const> = peer.ours and #initiator.missing(peer.ports, ports) == 0
      local view <const> = { host = host, clones = clones, peer = peer, adapters = adapters }
      if is_this_hosts then scan_view(scan, view, scan.named[name]) end
    end
  end
end

local function scan_off(scan, host, naa)
  add(scan, {
    kind = "device off",
    where = host.name,
    about = naa,
    is_live = scan.live.names[naa],
    unproved = "nothing proves that we switched it off",
    command = "esxcli storage core device detached remove -d " .. naa,
  })
end

local function scan_host(scan, ref)
  local host <const> = scan.vcenter:host_again(ref)
  host:check_usable()
  local installed <const>, wrapper <const> = pcall(host.wrapper, host)
  local clones <const> = installed and wrapper:offers "taskList" and wrapper or nil
  for _, task in ipairs(clones and clones:tasks() or {}) do
    if not scan.named[task.taskId] then scan_task(scan, host, clones, task) end
  end
  scan_array(scan, host, clones)
  for _, naa in ipairs(host:detached()) do
    if not scan.named[naa] then scan_off(scan, host, naa) end
  end
end

-- ---- datastores ----

-- The ids of a host's tasks by host id, each host asked once.
local function asking_tasks(vcenter)
  local known <const> = {}
  return function(host_id)
    if not known[host_id] then
      local host <const> = vcenter:host_again { type = "HostSystem", id = host_id }
      host:check_usable()
      local clones <const> = host:wrapper()
      if not clones:offers "taskList" then fail.raise("unsupported", "the wrapper on %s lists no tasks", host.name) end
      known[host_id] = {}
      for _, task in ipairs(clones:tasks()) do
        known[host_id][task.taskId] = true
      end
    end
    return known[host_id]
  end
end

local function shell_quoted(text) return "'" .. text:gsub("'", [['\'']]) .. "'" end

local function scan_upstream(scan, descriptor)
  local on_host <const> = ("/vmfs/volumes/%s/%s"):format(descriptor.datastore.name, descriptor.path)
  add(scan, {
    kind = "descriptor",
    where = descriptor.datastore.name,
    about = descriptor.datastore:full(descriptor.path),
    unproved = "its name is of the form of upstream's wrapper, which tells no task",
    command = "vmkfstools -U " .. shell_quoted(on_host),
  })
end

local function scan_descriptor(scan, descriptor, tasks_on)
  if not descriptor.task_id then return scan_upstream(scan, descriptor) end
  local can_tell <const>, has_task <const> = pcall(descriptor.has_task, descriptor, tasks_on)
  if can_tell and has_task then return end -- it goes with its task
  local is_rdm <const>, other <const> = pcall(descriptor.check_text, descriptor)
  local assumed <const> = scan.assumed[descriptor.task_id] ~= nil
  add(scan, {
    kind = "descriptor",
    where = descriptor.datastore.name,
    about = descriptor.datastore:full(descriptor.path),
    name = descriptor.task_id,
    is_live = scan.live.names[descriptor.task_id],
    stays = not is_rdm and fail.text(other) or nil,
    unproved = not can_tell and "its task may be on a host that cannot be asked: " .. fail.text(has_task) or nil,
    remove = function()
      if not assumed and descriptor:has_task(asking_tasks(scan.vcenter)) then
        fail.raise("busy", "its task is there")
      end
      descriptor:check_text()
      descriptor:delete()
    end,
  })
end

-- First all files, then the tasks: see lib.descriptors.
local function scan_datastores(scan)
  local found <const> = {}
  for _, datastore in ipairs(datastores.all(scan.vcenter)) do
    local ok <const>, why <const> = pcall(function()
      if not datastore.accessible then fail.raise("unreachable", "no host reaches it") end
      local list <const> = descriptors.find(datastore)
      table.move(list, 1, #list, #found + 1, found)
    end)
    if not ok then unreadable(scan, "datastore", datastore.name, why) end
  end
  local tasks_on <const> = asking_tasks(scan.vcenter)
  for _, descriptor in ipairs(found) do
    scan_descriptor(scan, descriptor, tasks_on)
  end
end

-- ---- all ----

local function check_assumed(assumed)
  for name, is_found in pairs(assumed) do
    if not is_found then
      local why <const> = fail.new("config", "--assume-dead: nothing that could be put back so is called %s", name)
      error(fail.hint(why, "take the names from the commands that lunalift reap --scan prints"))
    end
  end
end

--- What bears our marks and is named by no journal: tasks and devices on the hosts, maps to our host objects, those themselves, and RDM
--- descriptors on datastores.
---@param job lib.Job
---@param items lib.Leftover[] the journals
---@return lib.Leftover[]
function M.scan(job, items)
  local scan <const> = {
    items = {},
    vcenter = job.site:vcenter(),
    array = job.site:array(),
    named = named_by(items),
    live = live_runs(job, items),
    assumed = {},
  }
  for name in (job.request.assume_dead or ""):gmatch "[^,%s]+" do
    scan.assumed[name] = false
  end
  for _, each in ipairs(scan.vcenter:all_hosts()) do
    job:waiting("look at host %s", each.name)
    local ok <const>, why <const> = pcall(scan_host, scan, each.ref)
    if not ok then unreadable(scan, "host", each.name, why) end
  end
  job:waiting "look for RDM descriptors"
  local ok <const>, why <const> = pcall(scan_datastores, scan)
  if not ok then unreadable(scan, "datastore", scan.vcenter.where, why) end
  check_assumed(scan.assumed)
  return scan.items
end

return M
