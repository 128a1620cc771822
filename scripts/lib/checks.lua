--- What must, or should, hold before a copy: one list. `lunalift preflight` runs all of it; a copy runs the fatal part, by what it has
--- found already, before its first effect. The checks lie by subject in lib/checks.
local fail <const> = require "lib.fail"
local hints <const> = require "lib.hints"
local task <const> = require "lunalift.task"

local M <const> = {}

---@class lib.Check
---@field name string
---@field of string what it is about: a key of SUBJECTS
---@field needs? string[] names of checks whose finds it builds on, where they are made
---@field fatal? boolean a copy runs it, too: it asks nobody anything that the copy would not ask, or ask again
---@field by? "array"|"host" only where that moves the data
---@field alone? boolean made of a host alone, too
---@field run fun(found: lib.Found): string?, string? text of what was found; with a fix it is a warning; nil and a reason: it could not
--- be looked at; a failure is raised

---@class lib.Found what the checks found so far
---@field job lib.Job
---@field vcenter? lib.Vcenter
---@field array? lib.Array
---@field kube? Kube
---@field vm? lib.Vm
---@field disk? lib.Disk
---@field host? lib.Host
---@field volume? lib.Volume
---@field lun? lib.Lun
---@field way? lib.Way
---@field devices? string[] below the datastore
---@field wrapper? lib.Clones
---@field targets? table[] the array's ports
---@field initiators? lib.Initiator[]
---@field left? lib.JournalText of a dead run on this volume

---@class lib.CheckResult
---@field name string
---@field subject string
---@field status "pass"|"warn"|"fail"|"skipped"
---@field text string what was found, or why it could not be looked at
---@field fix? string
---@field kind? string of the failure

local function all_of(subjects)
  local all <const> = {}
  for _, subject in ipairs(subjects) do
    local checks <const> = require("lib.checks." .. subject)
    table.move(checks, 1, #checks, #all + 1, all)
  end
  return all
end

---@type lib.Check[]
M.LIST = all_of { "peers", "source", "claim", "host", "readiness" }

--- Those of a host alone, before any copy is thought of.
---@type lib.Check[]
M.OF_HOST = {}
for _, check in ipairs(all_of { "peers", "host", "source", "readiness", "claim" }) do
  local own <const> = require("lib.checks.one_host")[check.name]
  if own or check.alone then M.OF_HOST[#M.OF_HOST + 1] = own or check end
end

local SUBJECTS <const> = {
  vcenter = function(found) return found.job.site.conf.vcenter.host end,
  array = function(found) return found.job.site.conf.array.hostname end,
  cluster = function(found) return found.kube and found.kube.server or "Kubernetes" end,
  vm = function(found) return found.vm and found.vm.name or found.job.request.vm end,
  disk = function(found) return found.job.request.vmdk.text end,
  datastore = function(found) return found.job.request.vmdk.datastore end,
  claim = function(found) return ("%s/%s"):format(found.job.request.namespace, found.job.request.claim) end,
  volume = function(found) return found.lun and found.lun.name or found.volume and found.volume.name or "?" end,
  host = function(found)
    if found.host then return found.host.name end
    local wanted <const> = found.job.request.migration_host or ""
    return wanted ~= "" and wanted or "the VM's host"
  end,
}

local function skipped_for(check, results)
  for _, name in ipairs(check.needs or {}) do
    local before <const> = results[name] or {}
    if before.status == "fail" then return ("'%s' failed"):format(name) end
    if before.status == "skipped" then return before.text end
  end
end

local function outcome_of(check, found)
  if check.by and found.way and check.by ~= found.way.by then
    return { status = "skipped", text = ("the %s copies"):format(found.way.by) }
  end
  local done <const>, text <const>, fix <const> = pcall(check.run, found)
  if done and not text then return { status = "skipped", text = fix } end
  if done then return { status = fix and "warn" or "pass", text = text, fix = fix } end
  local why <const> = hints.explain(fail.of(text))
  return { status = "fail", text = fail.text(why), fix = why.hint, kind = why.kind }
end

local function examine(check, found, results)
  local reason <const> = skipped_for(check, results)
  local result <const> = reason and { status = "skipped", text = reason } or outcome_of(check, found)
  result.name, result.subject = check.name, SUBJECTS[check.of](found)
  results[check.name] = result
end

--- All checks, each as soon as those that it needs are done.
---@param job lib.Job
---@param checks? lib.Check[] M.OF_HOST; default: those of a copy
---@return lib.CheckResult[] results in the list's order
function M.all(job, checks)
  checks = checks or M.LIST
  local found <const>, results <const>, tasks <const> = { job = job }, {}, {}
  for _, check in ipairs(checks) do
    tasks[check.name] = task.spawn(function()
      for _, name in ipairs(check.needs or {}) do
        if tasks[name] then tasks[name]:wait() end
      end
      examine(check, found, results)
    end)
  end
  local list <const> = {}
  for i, check in ipairs(checks) do
    local _, why <const> = tasks[check.name]:wait()
    if why then error(why) end
    list[i] = results[check.name]
  end
  return list
end

--- What a copy must know before its first effect: raises the first failure, warns of the rest.
---@param job lib.Job
---@param found lib.Found what the flow found; learns what the checks find
function M.fatal(job, found)
  found.job = job
  for _, check in ipairs(M.LIST) do
    if check.fatal and (not check.by or check.by == found.way.by) then
      local text <const>, fix <const> = check.run(found)
      if text and fix then job:warn("%s; %s", text, fix) end
    end
  end
end

return M
