--- One site and populate jobs in this very process, where waiting costs nothing: what the matrices of faults and of cancels run on.
--- A point is a request of the flow, known by what is asked and how often it was asked before, so that it is the same in each run.
local fail <const> = require "lib.fail"
local fs <const> = require "lunalift.fs"
local jobs <const> = require "lib.job"
local json <const> = require "lunalift.json"
local labs <const> = require "lab.site"
local probe <const> = require "lunalift.probe"
local process <const> = require "lunalift.process"
local scenario <const> = require "lab.scenario"
local secret <const> = require "lunalift.secret"
local site <const> = require "lib.site"
local task <const> = require "lunalift.task"
local vmdk <const> = require "lib.vmdk"

local M <const> = { TRANSPORTS = { "vib", "ssh" } }

local MIB <const> = 1 << 20
local PATIENCE_S <const> = 60
-- While one's host runs a script, another computes; but no time is skipped while a command is under way over SSH.
local WORKERS <const> = { vib = 3, ssh = 1 }
local SSH_CASES <const> = 16
local STARTED_S <const> = tonumber(fs.read("/proc/uptime"):match "%S+")

---@class matrix.Outcome
---@field why? Fail of the flow
---@field left table[]
---@field job lib.Job
---@field waits integer of the flow's task
---@field requests lab.Request[] each with `key`
---@field writers integer vmkfstools that were started
---@field is_equal boolean the target holds the source's bytes
---@field outside integer writing requests of no numbered effect
---@field problems string[] what no run may leave or do, in words

---@class matrix.Bench
---@field lab lab.Site
local Bench <const> = {}
Bench.__index = Bench

-- Every run puts the script there.
local OVER_SSH <const> = { ssh = true }
local SCRIPT <const> = "/lunalift%-wrapper%-%x+$"

local function small_site(transport)
  local hba <const> = {
    device = "vmhba64",
    kind = "iscsi",
    driver = "iscsi_vmk",
    model = "iSCSI Software Adapter",
    iqn = "iqn.1998-01.com.vmware:esx-01:64",
  }
  local function vm(moref, name)
    return {
      moref = moref,
      name = name,
      host = "host-21",
      disks = { { datastore = "ds 1", file = name .. "/" .. name .. ".vmdk", size_mib = 1 } },
    }
  end
  return scenario.merge(assert(scenario.read()), {
    esxi = { rescan_s = 0, ssh = OVER_SSH[transport] and "lunalift", wrapper = OVER_SSH[transport] and "none" },
    datacenters = {
      {
        moref = "datacenter-3",
        name = "DC",
        hosts = { { moref = "host-21", name = "esx-01.lab.example", hbas = { hba } } },
        datastores = {
          { moref = "datastore-15", name = "ds 1", uuid = "66aa0f10-5d2c3b1e-8a17-005056a10015", size_mib = 64 },
        },
        vms = { vm("vm-57", "web & söhne"), vm("vm-58", "other") },
      },
    },
  })
end

---@param transport? "vib"|"ssh"
---@return matrix.Bench
function M.open(transport)
  local dir <const> = process.run({ argv = { "mktemp", "-d" } }).out:match "%S+"
  local self <const> = setmetatable({ dir = dir, count = 0, transport = transport or "vib" }, Bench)
  self:renew()
  return self
end

function Bench:close()
  self.lab:stop()
  process.run { argv = { "rm", "-rf", self.dir } }
end

--- A site of its own, since the last one was left dirty.
function Bench:renew()
  if self.lab then self.lab:stop() end
  self.count = self.count + 1
  self.lab = labs.start { dir = ("%s/%d"):format(self.dir, self.count), scenario = small_site(self.transport) }
  local described <const> = assert(json.decode(assert(fs.read(self.lab.dir .. "/site.json"))))
  self.about, self.claim = described, described.pvcs[1]
  self.source = described.vms[1].disks[1].flat_path
  self.source_bytes = assert(fs.read(self.source))
  self:blank()
  self.clean = self:world()
end

--- The target's bytes as no source has them.
function Bench:blank() assert(fs.write(self.claim.lun_path, ("\xee"):rep(MIB))) end

-- ---- what there is ----

local function plain(value)
  if type(value) ~= "table" then return tostring(value) end
  local keys <const>, parts <const> = {}, {}
  for key in pairs(value) do
    keys[#keys + 1] = key
  end
  table.sort(keys, function(a, b) return tostring(a) < tostring(b) end)
  for i, key in ipairs(keys) do
    parts[i] = ("%s=%s"):format(key, plain(value[key]))
  end
  return "{" .. table.concat(parts, ",") .. "}"
end

local function add_files(world, root, path)
  for _, name in ipairs(fs.list(root .. path) or {}) do
    local full <const> = path .. "/" .. name
    local found <const> = fs.stat(root .. full)
    if found and found.kind == "directory" then
      add_files(world, root, full)
    elseif not full:find(SCRIPT) then
      world["file " .. full] = tostring(found and found.size)
    end
  end
end

local function add_host(world, host)
  for naa, device in pairs(host.devices) do
    world[("device %s of %s"):format(naa, host.name)] = plain { device.status, device.number, host:live_adapters(naa) }
  end
  for naa in pairs(host.detached) do
    world[("%s detached on %s"):format(naa, host.name)] = "true"
  end
  for _, name in ipairs(fs.list(host.root .. "/tmp") or {}) do
    if name:find "^vmkfstools%-wrapper" then world[("task %s on %s"):format(name, host.name)] = "true" end
  end
  for _, name in ipairs(fs.list(host.root .. "/var/lab/writers") or {}) do
    local pid <const> = name:match "@(%d+)$"
    if fs.stat("/proc/" .. pid) then world[("writer %s on %s"):format(name, host.name)] = "true" end
  end
end

--- Everything that a run must leave as it was, by name; the target's bytes are not in it.
---@return table<string, string>
function Bench:world()
  local lab <const>, world <const> = self.lab, {}
  local array <const> = lab.array:state()
  for _, group in ipairs(array.igroups) do
    world["igroup " .. group.name] = plain(group)
  end
  for _, lun in ipairs(array.luns) do
    world["LUN " .. lun.path] = plain(lun)
  end
  for _, host in ipairs(lab.hosts) do
    add_host(world, host)
  end
  for _, session in ipairs(lab.vcenter.sessions:list()) do
    world["session " .. session.key] = session.user
  end
  for address, entry in pairs(lab.kube.store.objects) do
    world["object " .. address] = plain(entry.object)
  end
  add_files(world, lab.dir, "/datastores")
  world["bytes of the source"] = assert(fs.read(self.source)) == self.source_bytes and "as they were" or "changed"
  world["bytes of the other LUN"] = assert(fs.read(self.about.pvcs[2].lun_path)):sub(1, 65536)
  return world
end

--- What differs, in words.
---@return string[]
function Bench:differences(except)
  local now <const>, found <const> = self:world(), {}
  for name, value in pairs(now) do
    if self.clean[name] == nil then
      found[#found + 1] = "left behind: " .. name
    elseif self.clean[name] ~= value then
      found[#found + 1] = "changed: " .. name
    end
  end
  for name in pairs(self.clean) do
    if now[name] == nil then found[#found + 1] = "lost: " .. name end
  end
  table.sort(found)
  for i = #found, 1, -1 do
    if except and found[i]:find(except) then table.remove(found, i) end
  end
  return found
end

local function count_starts(host)
  local text <const> = fs.read(host.root .. "/var/lab/starts") or ""
  return select(2, text:gsub("\n", ""))
end

-- ---- running ----

local SILENT <const> = setmetatable({}, {
  __index = function()
    return function() end
  end,
})

local function ssh_of(self)
  local service <const> = self.lab.ssh
  if not service then return nil end
  return {
    key = secret.new(assert(fs.read(service.folder .. "/key"))),
    user = service.user,
    port = service.port,
    fingerprints = { self.lab.hosts[1].sshd.fingerprint },
  }
end

local function forget_script(self)
  local folder <const> = self.lab.datastores[1].folder
  for _, name in ipairs(fs.list(folder)) do
    if ("/" .. name):find(SCRIPT) then fs.remove(folder .. "/" .. name) end
  end
end

---@param options? { name: string?, request: table? } in place of populate and of what it is asked for
---@return lib.Job
function Bench:job(options)
  options = options or {}
  local about <const> = self.about
  local tls <const> = { ca_file = about.ca_file }
  local array <const> = about.arrays[1]
  return jobs.new {
    name = options.name or "populate",
    request = scenario.merge({
      vm = about.vms[1].moref,
      vmdk = vmdk.parse(about.vms[1].disks[1].vmdk),
      claim = self.claim.name,
      namespace = self.claim.namespace,
      method = self.transport,
      ssh = ssh_of(self),
      journal = "file:" .. self.lab.dir .. "/journal.json",
      patience_s = PATIENCE_S,
      bind_within_s = 60,
      discover_within_s = 60,
    }, options.request or {}),
    site = site.new {
      vcenter = {
        host = about.vcenter.host,
        username = about.vcenter.username,
        password = secret.new(about.vcenter.password),
        tls = tls,
      },
      array = {
        vendor = "ontap",
        hostname = array.host,
        username = array.username,
        password = secret.new(array.password),
        svm = array.svm,
        tls = tls,
      },
      kube = { kubeconfig = about.kube.kubeconfig },
    },
    report = SILENT,
  }
end

-- The numbered effect that the job is in: what changes something outside of one is a breach.
local function watch_effects(job)
  job.acting, job.trace = 0, {}
  local effect <const> = job.effect
  function job.effect(self, name, target, act, options)
    return effect(self, name, target, function()
      local _done <close> = setmetatable({}, { __close = function() self.acting = self.acting - 1 end })
      self.acting, self.trace[self.effects] = self.acting + 1, name
      return act()
    end, options)
  end
end

local UUID <const> = ("%x"):rep(8) .. ("%-" .. ("%x"):rep(4)):rep(3) .. "%-" .. ("%x"):rep(12)

-- Ids differ from run to run.
local function what(entry)
  return (("%s %s %s"):format(entry.service, entry.method, entry.target or entry.path):gsub(UUID, "*"))
end

-- What tells of effects is none.
local function is_journal(entry) return entry.service == "kube" and entry.path:find "/leases" ~= nil end

local function has_ended(host)
  for _, name in ipairs(fs.list(host.root .. "/tmp") or {}) do
    local folder <const> = ("%s/tmp/%s"):format(host.root, name)
    if fs.stat(folder .. "/pid") and not fs.stat(folder .. "/exitcode") then return false end
  end
  return true
end

--- A copy takes as long as it is looked at twice: it stops halfway, and goes on to its end when its state is asked for again.
local function pace_copy(self, entry, seen)
  if entry.target ~= "vmkfstools.taskGet" then return end
  seen.polls = (seen.polls or 0) + 1
  if seen.polls ~= 2 then return end
  local host <const> = self.lab.hosts[1]
  self.lab:set_vmkfstools(host, { xcopy = 1 })
  for _ = 1, 1000 do
    if has_ended(host) then return end
    process.run { argv = { "/bin/sleep", "0.01" } } -- a real moment: the clock stands while it runs
  end
  error "the copy does not end"
end

---@class matrix.Case
---@field job? lib.Job
---@field flow? fun(job: lib.Job) populate
---@field dies? boolean as if killed: it puts nothing back, and is not judged
---@field rule? lab.Rule
---@field may_leave? string pattern of a problem that is none here
---@field cancel_at? integer wait of the flow's task
---@field before? fun(entry: lab.Request, job: lib.Job) at each request
---@field after? fun(entry: lab.Request, job: lib.Job) when it was done, and is not answered yet

--- One run of populate on a clean site.
---@param case matrix.Case
---@return matrix.Outcome
function Bench:run(case)
  local lab <const>, faults <const> = self.lab, self.lab.faults
  local host <const> = lab.hosts[1]
  local job <const>, seen <const>, breaches <const> = case.job or self:job(), {}, {}
  lab:set_vmkfstools(host, { xcopy = 1, hang_at = 50 })
  forget_script(self)
  local starts <const> = count_starts(host)
  local outcome <const> = { job = job, waits = 0 }
  watch_effects(job)
  if case.dies then job.ledger.settle = function() return {} end end
  faults.requests = {}
  faults:set { case.rule }
  function faults.watch(entry)
    local key <const> = what(entry)
    seen[key] = (seen[key] or 0) + 1
    entry.key, entry.nth, entry.pattern = key, seen[key], entry.path:gsub(UUID, "*")
    entry.inside = job.acting > 0 and job.effects or nil
    local is_breach <const> = entry.effect and not entry.inside and not is_journal(entry)
    if is_breach and not job.cancelled_by then breaches[#breaches + 1] = key end
    if case.before then case.before(entry, job) end
    pace_copy(self, entry, seen)
  end
  function faults.watch_after(entry)
    if case.after then case.after(entry, job) end
  end

  outcome.why, outcome.left = job:run(function(running)
    if case.cancel_at then probe.cancel_at(case.cancel_at) end
    local flow <const> = case.flow or require "flows.populate"
    flow(running)
    outcome.waits = probe.waits()
  end)

  faults.watch, faults.watch_after = nil, nil
  faults:set {}
  outcome.requests = {}
  for _, entry in ipairs(faults.requests) do
    if entry.key then outcome.requests[#outcome.requests + 1] = entry end -- what a vCenter asks of a host is no request of ours
  end
  outcome.writers = count_starts(host) - starts
  outcome.may_leave = case.may_leave
  outcome.struck = case.rule and case.rule.struck > 0
  if case.dies then return outcome end
  outcome.problems = self:judge(outcome, breaches)
  if #outcome.problems > 0 then self:renew() end
  lab.vcenter.sessions:expire() -- what a run may leave is not the next one's
  self:blank()
  collectgarbage()
  return outcome
end

--- What holds after every run, however it ended.
function Bench:judge(outcome, breaches)
  local problems <const> = self:differences(outcome.may_leave)
  local function problem(fmt, ...) problems[#problems + 1] = fmt:format(...) end
  for _, item in ipairs(outcome.left) do
    problem("not undone: %s: %s", item.promise.about, fail.text(item.why))
  end
  for _, key in ipairs(breaches) do
    problem("outside of any effect: %s", key)
  end
  if outcome.writers > 1 then problem("%d writers were started", outcome.writers) end
  if fs.stat(outcome.job.request.journal:sub(6)) then problem "the journal is not empty" end
  outcome.outside = #breaches
  outcome.is_equal = fs.read(self.claim.lun_path) == self.source_bytes
  if outcome.job.name == "populate" and not outcome.why and not outcome.is_equal then
    problem "success without the bytes"
  end
  local why <const> = outcome.why
  if why and (why.kind == "bug" or why.message == "") then
    problem("no clean failure: %s %s", fail.text(why), why.traceback)
  end
  return problems
end

--- A run that nothing happens to, by the same clock as the cases.
---@param transport? "vib"|"ssh"
---@return matrix.Outcome
function M.trace(transport)
  local bench <const> = M.open(transport)
  probe.skip_waits(true)
  local outcome <const> = bench:run {}
  probe.skip_waits(false)
  bench:close()
  return outcome
end

local function every(cases, n)
  local some <const> = {}
  for i = 1, #cases, n do
    some[#some + 1] = cases[i]
  end
  return some
end

-- Of a day, unless told; the order of the cases stays.
local function sample(cases, count)
  local seed <const> = math.tointeger(tonumber(os.getenv "LUNALIFT_MATRIX_SEED")) or os.time() // 86400
  local left, some = #cases, {}
  math.randomseed(seed)
  for _, case in ipairs(cases) do
    if math.random(left) <= count - #some then some[#some + 1] = case end
    left = left - 1
  end
  print(("# %d of %d cases, LUNALIFT_MATRIX_SEED=%d; LUNALIFT_MATRIX=all takes all"):format(#some, #cases, seed))
  return some
end

--- All cases; or every nth, where LUNALIFT_MATRIX_EVERY says so, as under the sanitizers, which take their time. Over SSH, where every
--- command takes real time, a sample.
---@param cases matrix.Case[]
---@param transport? "vib"|"ssh"
---@return matrix.Case[]
function M.some(cases, transport)
  local n <const> = math.tointeger(tonumber(os.getenv "LUNALIFT_MATRIX_EVERY")) or 1
  if transport ~= "ssh" or os.getenv "LUNALIFT_MATRIX" == "all" then return every(cases, n) end
  return sample(cases, math.max(4, SSH_CASES // n))
end

--- Run the cases, some at a time, each worker on a site of its own, and hand each outcome to `judge`.
---@param cases matrix.Case[]
---@param judge fun(case: matrix.Case, outcome: matrix.Outcome)
---@param transport? "vib"|"ssh"
function M.each(cases, judge, transport)
  local next_case = 0
  local function work()
    local bench <const> = M.open(transport)
    while next_case < #cases do
      next_case = next_case + 1
      local case <const> = cases[next_case]
      judge(case, bench:run(case))
    end
    bench:close()
  end
  local workers <const> = {}
  for i = 1, math.min(WORKERS[transport or "vib"], #cases) do
    workers[i] = work
  end
  probe.skip_waits(true)
  task.all(workers)
  probe.skip_waits(false)
end

---@return string
function M.seconds() return ("%.0f s"):format(tonumber(fs.read("/proc/uptime"):match "%S+") - STARTED_S) end

--- Outcomes by kind, as lines of TAP.
---@param counts table<string, integer>
function M.tell(title, counts)
  local lines <const> = {}
  for kind, count in pairs(counts) do
    lines[#lines + 1] = ("#   %4d %s"):format(count, kind)
  end
  table.sort(lines, function(a, b) return a > b end)
  print(("# %s"):format(title))
  print(table.concat(lines, "\n"))
end

return M
