--- Bring the VIB to hosts, several at a time; in a job that only reads, tell what they have. A host that fails stops no other.
local fail <const> = require "lib.fail"
local hints <const> = require "lib.hints"
local task <const> = require "lunalift.task"
local vib <const> = require "lib.vib"
local vib_host <const> = require "lib.vib_host"
local vib_targets <const> = require "lib.vib_targets"

-- What the VIB that a host has is, compared with ours.
local function verdict_of(found, package)
  if not found.version then return "missing" end
  local is_same <const> = found.vendor == package.vendor
  local order <const> = vib.compare(found.version, package.version)
  if order > 0 then return "newer" end
  if order < 0 or not is_same then return "older" end
  return found.answers == package.version and "current" or "asleep" -- hostd does not know what is installed
end

---@class flows.VibResult
---@field host string
---@field verdict? string before: missing, older, asleep, current, newer
---@field was? lib.VibFound
---@field now? lib.VibFound
---@field done string[] what was done
---@field why? Fail

-- Does hostd have to read the extension? Looks at the host where its file tells nothing.
local function is_asleep(host, result, package)
  if result.verdict == "asleep" or host:extension() ~= result.was.extension then return true end
  result.now = host:look()
  return result.now.answers ~= package.version
end

local function wake(host, result, within_s)
  host:restart_hostd()
  result.done[#result.done + 1] = "hostd restarted"
  host:wait_for_hostd(within_s)
end

local function bring_to(job, host, result)
  local package <const>, request <const> = job.request.package, job.request
  local was <const> = result.was
  local clones <const> = was.version and was.clones or 0
  if was.version and not was.clones then hints.raise("clones unknown", { host = host.name }) end
  if clones > 0 then hints.raise("clones run", { count = clones, host = host.name }) end
  if result.verdict ~= "asleep" then
    result.now = nil -- until somebody has looked
    host:install(result.was, package)
    result.done[1] = result.verdict == "missing" and "installed" or "updated"
  end
  local must_wake <const> = is_asleep(host, result, package)
  if must_wake and request.restart_hostd then wake(host, result, request.hostd_within_s) end
  if must_wake then result.now = host:look() end
  local now <const> = result.now
  if must_wake and not request.restart_hostd then
    result.done[#result.done + 1] = "hostd not restarted"
  elseif now.version ~= package.version or now.answers ~= package.version then
    hints.raise("vib not effective", { host = host.name, said = now.answers or now.said })
  end
end

-- One host, all of it.
local function visit(job, target, result)
  if target.why then error(target.why) end
  local host <close> = vib_host.open(job, target, job.request.ssh)
  result.was = host:look()
  result.now, result.verdict = result.was, verdict_of(result.was, job.request.package)
  local is_kept <const> = result.verdict == "current" or result.verdict == "newer" and not job.request.force
  if not is_kept and not job.read_only then bring_to(job, host, result) end
end

local function visit_all(job, targets, results)
  local at = 0
  local function work()
    while at < #targets do
      at = at + 1
      local target <const>, result <const> = targets[at], results[at]
      local ok <const>, why <const> = pcall(visit, job, target, result)
      result.is_over, result.why = true, not ok and fail.of(why) or nil
    end
  end
  local workers <const> = {}
  for i = 1, math.min(job.request.parallel, #targets) do
    workers[i] = work
  end
  task.all(workers)
end

---@param job lib.Job
return function(job)
  job:step "find the hosts"
  local targets <const>, results <const> = vib_targets.find(job), {}
  for i, target in ipairs(targets) do
    results[i] = { host = target.name, done = {} }
  end
  job:note { hosts = results }
  job:found("%d hosts", #targets)

  job:step(job.read_only and "look at the VIB of each" or "bring the VIB to each")
  visit_all(job, targets, results)
end
