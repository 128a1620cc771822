--- One kill and what comes after it: a run of populate dies at a point, then populate runs again, or `lunalift reap --apply`. What the site
--- is then is compared with what it was.
local codec <const> = require "lunalift.codec"
local fs <const> = require "lunalift.fs"
local http <const> = require "lunalift.http"
local json <const> = require "lunalift.json"
local labs <const> = require "support.lab"
local secret <const> = require "lunalift.secret"
local task <const> = require "lunalift.task"

local M <const> = { AGAIN = { "populate", "reap" } }

local CLAIM <const>, FOREIGN_CLAIM <const> = "vm-58-disk-1", "vm-57-disk-1"
local WITHIN_S <const> = 30
local OTHER_BYTES <const> = 9 -- seed of what the target holds before
-- What others made: for the workers, who see the claim's LUN as well, and by another host's populator.
local FOREIGN <const> = {
  {
    name = "k8s-workers",
    os_type = "linux",
    initiator = "iqn.2004-10.com.ubuntu:worker-1",
    sees = { CLAIM, FOREIGN_CLAIM },
  },
  {
    name = "xcopy-hostsystem-host-99-iscsi",
    os_type = "vmware",
    initiator = "iqn.1998-01.com.vmware:esx-99:1:64",
    sees = {},
  },
}
-- What a clone leaves whose id nobody knows: the wrapper removes it by that id alone.
local UNNAMED <const> = { "tasks %d+", "/lunalift%-rdmdisk%-" }
local SHARED <const> = {
  name = "xcopy-host-21-%s-iscsi",
  os_type = "vmware",
  initiator = "iqn.1998-01.com.vmware:esx-01.lab.example:1234:64",
  sees = { FOREIGN_CLAIM },
}
local LEASES <const> = "/apis/coordination.k8s.io/v1/namespaces"
local MARK <const> = "lunalift.io/journal"

---@class kills.Point
---@field when "before"|"during"|"after"|"between"|"starved" between: after it, while nothing is changed; starved: by itself, see `starve`
---@field n integer number of the effect
---@field name string of the effect
---@field nth? integer during: which of the effect's requests
---@field request? { service: string, earlier: integer } during: known by how many writing requests its service had before
---@field is_running? boolean the clone stands still meanwhile
---@field is_unlearnt? boolean upstream's wrapper named the clone, and nobody heard
---@field again? "populate"|"reap" only this comes after it
---@field starve? string starved: what LUNALIFT_STARVE of lunalift-starved says
---@field judge? fun(ended: ProcessEnd, left: string[]): string? starved: what is wrong with it

---@class kills.Case
---@field point kills.Point
---@field again "populate"|"reap"
---@field crash? string "before:3": what comes after is killed, too, and then comes once more

---@class kills.Result
---@field case kills.Case
---@field outcome string
---@field problems string[]
---@field survived? boolean there is no such effect to crash at

---@class kills.Home where the journal is, and how the programs are told
---@field flags table<string, string> of populate
---@field env table<string, string>
---@field reap string[] further words

---@class kills.Bench one lab; cases run on it one after the other
---@field lab lab.Lab
---@field home kills.Home
---@field cannot_stop? boolean its host has upstream's wrapper
local Bench <const> = {}
Bench.__index = Bench

-- ---- a site with what is not ours ----

local function lun_path_of(lab, naa)
  for _, lun in ipairs(lab:state().ontap.luns) do
    if lun.naa == naa then return lun.path end
  end
end

local function make_group(lab, array, group)
  local svm <const> = { name = lab.site.arrays[1].svm }
  local body <const> = {
    name = group.name:format(lab.site.vcenter.uuid:sub(1, 8)),
    protocol = "iscsi",
    os_type = group.os_type,
    svm = svm,
    initiators = json.array { { name = group.initiator } },
  }
  assert(array:post("/api/protocols/san/igroups", { json = body }))
  for _, name in ipairs(group.sees) do
    local lun <const> = { name = lun_path_of(lab, lab:claim(name).naa) }
    local map <const> = { svm = svm, igroup = { name = body.name }, lun = lun }
    assert(array:post("/api/protocols/san/lun-maps", { json = map }))
  end
end

local function add_foreign(lab, groups)
  local about <const> = lab.site.arrays[1]
  local array <const> = http.client {
    base = "https://" .. about.host,
    username = about.username,
    password = secret.new(about.password),
    tls = { ca_file = lab.site.ca_file },
  }
  for _, group in ipairs(groups) do
    make_group(lab, array, group)
  end
end

local HOMES <const> = {}

function HOMES.file() return { flags = {}, env = {}, reap = {} } end

-- With the rights that forklift gives a populator.
function HOMES.lease(lab)
  return {
    flags = { journal = "lease" },
    env = { KUBECONFIG = lab.site.kube.populator_kubeconfig, HOSTNAME = "populate-1" },
    reap = { "--journal=lease", "--namespace=" .. lab:claim(CLAIM).namespace },
  }
end

---@param home "file"|"lease" the latter on a site whose host serves another populator, too, in a group of our name
---@param way? "upstream"|"ssh" its wrapper, or how ours is asked
---@return kills.Bench
function M.open(home, way)
  local lab <const> = labs.start({ esxi = { rescan_s = 0, ssh = way == "ssh" and "lunalift" or nil } }, labs.QUICK_BIN)
  add_foreign(lab, FOREIGN)
  local self <const> = setmetatable({
    lab = lab,
    home = HOMES[home](lab),
    claim = lab:claim(CLAIM),
    foreign = lab:claim(FOREIGN_CLAIM),
    source = assert(fs.read(lab:source_of(lab:claim(CLAIM)))),
    cannot_stop = way == "upstream",
  }, Bench)
  if self.cannot_stop then lab:host("wrapper", { variant = way }) end
  if home == "lease" then
    add_foreign(lab, { SHARED })
    self:trace { "leases/lunalift%-", self.foreign.naa } -- the Lease is there from now on, and the other's device
  end
  return self
end

function Bench:close() self.lab:stop() end

-- ---- what there is ----

-- A line for every thing that has a name, with all there is about it.
local function describe(value)
  if type(value) ~= "table" then return tostring(value) end
  local parts <const> = {}
  for key, item in pairs(value) do
    parts[#parts + 1] = ("%s=%s"):format(key, describe(item))
  end
  table.sort(parts)
  return "{" .. table.concat(parts, " ") .. "}"
end

local function add_all(world, what, list)
  for key, item in pairs(list or {}) do
    local name <const> = type(item) == "table" and (item.name or item.path or item.naa) or key
    world[("%s %s"):format(what, name)] = describe(item)
  end
end

-- A Lease is its claim's to delete: what matters is whether it holds anything.
local function held_by(lease)
  return { journal = (lease.metadata.annotations or {})[MARK], finalizers = lease.metadata.finalizers }
end

function Bench:world()
  local found <const>, world <const> = self.lab:snapshot(), {}
  add_all(world, "igroup", found.ontap.igroups)
  add_all(world, "LUN", found.ontap.luns)
  for host, about in pairs(found.hosts) do
    for what, list in pairs(about) do
      add_all(world, ("%s, %s"):format(host, what), list)
    end
  end
  add_all(world, "session", found.sessions)
  for path, list in pairs(found.cluster) do
    for _, object in ipairs(list) do
      world[("%s/%s"):format(path, object.metadata.name)] = describe(path:find "leases$" and held_by(object) or object)
    end
  end
  for file in found.files:gmatch "[^\n]+" do
    world["file " .. file] = "there"
  end
  world["bytes of the source"] = fs.read(self.lab:source_of(self.claim)) == self.source and "as they were" or "changed"
  world["bytes of another LUN"] = codec.sha256(assert(fs.read(self.foreign.lun_path)))
  return world
end

local function differences(before, after)
  local found <const> = {}
  for path, value in pairs(after) do
    if before[path] == nil then
      found[#found + 1] = ("left %s = %s"):format(path, value)
    elseif before[path] ~= value then
      found[#found + 1] = ("changed %s: %s, was %s"):format(path, value, before[path])
    end
  end
  for path, value in pairs(before) do
    if after[path] == nil then found[#found + 1] = ("lost %s = %s"):format(path, value) end
  end
  table.sort(found)
  return found
end

-- The writing requests of a run, in order; what a vCenter asks of a host is not one of the run's.
local function writes_since(lab, mark)
  local found <const> = {}
  for _, entry in ipairs(lab:requests_since(mark)) do
    if entry.effect and entry.service ~= "esxi" then found[#found + 1] = entry end
  end
  return found
end

local function count_starts(writes)
  local n = 0
  for _, entry in ipairs(writes) do
    if entry.target == "vmkfstools.clone" then n = n + 1 end
  end
  return n
end

-- ---- the trace ----

local function env_of(bench, crash)
  local env <const> = { LUNALIFT_TEST_CRASH = crash }
  for name, value in pairs(bench.home.env) do
    env[name] = value
  end
  return env
end

---@param options? { words: string[]?, crash: string? }
---@return Process
function Bench:start(options)
  options = options or {}
  local env <const> = env_of(self, options.crash)
  return self.lab:start_populate { claim = CLAIM, flags = self.home.flags, env = env, words = options.words }
end

local function is_expected(difference, patterns)
  for _, pattern in ipairs(patterns or {}) do
    if difference:find(pattern) then return true end
  end
  return false
end

--- A run to its end: its effects, those of settling included, as it tells them, and its writing requests. It leaves nothing, either, but
--- for what the patterns tell.
---@param leaves? string[]
---@return { number: integer, name: string }[] effects
---@return lab.Request[] writes
function Bench:trace(leaves)
  local before <const>, mark <const> = self:world(), self.lab:mark()
  local ended <const> = self:start({ words = { "--output=json" } }):wait()
  assert(ended.code == 0, ended.out .. ended.err)
  local effects <const> = {}
  for line in ended.out:gmatch "[^\n]+" do
    local event <const> = assert(json.decode(line))
    if event.event == "effect" then effects[#effects + 1] = event end
  end
  local writes <const> = writes_since(self.lab, mark)
  for _, difference in ipairs(differences(before, self:world())) do
    assert(is_expected(difference, leaves), difference)
  end
  return effects, writes
end

-- ---- a kill ----

local function wait_for_request(lab, mark, holds)
  labs.wait_until(WITHIN_S, "the request to kill at", function()
    for _, entry in ipairs(lab:requests_since(mark)) do
      if holds(entry) then return true end
    end
  end)
end

local HOW <const> = {}

local function by_itself(bench, point) return bench:start({ crash = ("%s:%d"):format(point.when, point.n) }):wait() end
HOW.before, HOW.after = by_itself, by_itself

local function kill_at_request(bench, mark, holds)
  local run <const> = bench:start()
  wait_for_request(bench.lab, mark, holds)
  run:kill "KILL"
  return run:wait()
end

-- The peer has acted, and its answer is held back.
function HOW.during(bench, point, mark)
  local request <const> = point.request
  local held <const> = "delay_after:" .. 2 * WITHIN_S
  bench.lab:faults {
    { service = request.service, match = { effect = "true" }, after = request.earlier, action = held },
  }
  return kill_at_request(bench, mark, function(entry) return entry.fault == held and entry.acted end)
end

local function asks_for_state(entry) return entry.target == "vmkfstools.taskGet" and entry.acted end

-- The clone is followed.
function HOW.between(bench, _, mark) return kill_at_request(bench, mark, asks_for_state) end

-- ---- what comes after ----

function HOW.starved(bench, point)
  -- What is refused while OpenSSL sets itself up fails every handshake of the process: more patience is worth nothing.
  local flags <const> = { patience = "5" }
  for name, value in pairs(bench.home.flags) do
    flags[name] = value
  end
  local bin <const> = bench.lab.bin:gsub("[^/]+$", "tests/lunalift-starved")
  local run <const> = bench.lab:start_populate {
    bin = bin,
    claim = CLAIM,
    flags = flags,
    env = { LUNALIFT_STARVE = point.starve },
  }
  local ended <const> = task.within(WITHIN_S, run.wait, run)
  return ended or { code = "no end", err = select(2, run:output()), out = run:output() }
end

local AGAIN <const> = {}

-- A clone that stands still goes on once it is looked at.
function AGAIN.populate(bench, point, mark, crash)
  local lab <const>, run <const> = bench.lab, bench:start { crash = crash }
  if not point.is_running then return run:wait() end
  local ended
  local waiting <const> = task.spawn(function() ended = run:wait() end)
  local seen <const>, why <const> = pcall(
    wait_for_request,
    lab,
    mark,
    function(entry) return ended or asks_for_state(entry) end
  )
  if ended then return ended end
  lab:host("vmkfstools", {})
  if not seen then run:kill "TERM" end
  waiting:join()
  if not seen then ended.err = tostring(why) .. "\n" .. ended.err end
  return ended
end

function AGAIN.reap(bench, _, _, crash)
  local words <const> = table.move(bench.home.reap, 1, #bench.home.reap, 3, { "reap", "--apply" })
  return bench.lab:populate { argv = words, env = env_of(bench, crash) }
end

-- Upstream's wrapper stops nothing: while the writer lives, everything stays as it is, and is said. Once it has ended, the same finishes.
local function after_its_writer(bench, point, again, refused, add)
  local state <const>, naa <const> = bench.lab:state(), bench.claim.naa
  local host <const> = state.hosts[1]
  if #host.writers ~= 1 then add("refused, with %d writers", #host.writers) end
  if host.devices[naa].status ~= "on" then add "the writer's device was taken off" end
  for _, lun in ipairs(state.luns) do
    if lun.naa == naa and #lun.maps ~= 2 then
      add("the writer's LUN has %d maps, not the workers' and ours", #lun.maps)
    end
  end
  local said <const> = refused.out .. refused.err
  if not said:find "a writer may live" then add("it is not said why: %s", said) end
  bench.lab:host("vmkfstools", {})
  labs.wait_until(WITHIN_S, "the end of the writer", function() return #bench.lab:state().hosts[1].writers == 0 end)
  bench:bury()
  return AGAIN[again](bench, { name = point.name }, bench.lab:mark())
end

-- Its clone cannot be adopted, only waited for.
local function is_refusal_due(bench, case)
  local point <const> = case.point
  return bench.cannot_stop and point.is_running and (case.again == "reap" or point.is_unlearnt) or false
end

local function is_filled(bench) return fs.read(bench.claim.lun_path) == bench.source end

-- As if the dead run had been silent for long: its login, and its Lease if it has one. Is there a journal?
function Bench:bury()
  local claim <const>, lab <const> = self.claim, self.lab
  assert(lab.control:post "/sessions/expire")
  if not self.home.flags.journal then
    return fs.stat(("%s/state/lunalift/%s.json"):format(lab.dir, claim.uid)) ~= nil
  end
  local path <const> = ("%s/%s/leases/lunalift-%s"):format(LEASES, claim.namespace, claim.uid)
  local lease <const> = assert(lab.kube:get(path))
  lease.spec.renewTime = "2020-01-01T00:00:00.000000Z"
  assert(lab.kube:update(path, lease))
  return (lease.metadata.annotations or {})[MARK] ~= nil
end

local OUTCOME <const> = {}

-- Copied once by both, unless the first was through with everything and nobody learnt of it.
function OUTCOME.populate(bench, run, add)
  if not is_filled(bench) then add "the LUN does not hold the source's bytes" end
  local starts <const> = run.killed_starts + run.starts
  if run.is_unlearnt then
    if starts ~= 2 then add("%d clones were started", starts) end
    return "copied again, since the clone's id was never learnt"
  end
  if run.killed_code == 0 then -- it copied and said so: the next one is a wish of its own
    if starts ~= 2 then add("%d clones were started", starts) end
    return "copied anew, since the first one had ended well"
  end
  if run.killed_starts == 1 and not run.knows then
    if starts ~= 2 then add("%d clones were started", starts) end
    return "nothing was left but the word of it; copied again"
  end
  if starts ~= 1 then add("%d clones were started", starts) end
  if run.starts == 1 then return "copied" end
  return run.out:match "its copy is done and proved" and "the proved copy was kept" or "the clone was adopted"
end

function OUTCOME.reap(bench, run, add)
  if run.starts > 0 then add "reap started a clone" end
  if not run.knows then return "nothing was left" end
  return is_filled(bench) and "put back after the copy" or "put back"
end

---@param case kills.Case
---@return kills.Result
function Bench:run(case)
  local lab <const>, point <const>, problems <const> = self.lab, case.point, {}
  local function add(fmt, ...) problems[#problems + 1] = select("#", ...) == 0 and fmt or fmt:format(...) end
  assert(fs.fill(self.claim.lun_path, { size = #self.source, seed = OTHER_BYTES }))
  lab:host("vmkfstools", point.is_running and { hang_at = 50 } or {})
  local before <const>, mark <const> = self:world(), lab:mark()

  local killed <const> = HOW[point.when](self, point, mark)
  if point.judge then
    local problem <const> = point.judge(killed, differences(before, self:world()))
    if problem then add("%s", problem) end
  elseif killed.signal ~= 9 then
    add("it was not killed, but ended with %s: %s", killed.code or killed.signal, killed.err)
  end
  lab:faults {}
  local writes <const>, again <const> = writes_since(lab, mark), lab:mark()
  local knows <const> = self:bury()

  local ended = AGAIN[case.again](self, point, again, case.crash)
  local survived <const> = ended.signal ~= 9
  if case.crash and not survived then
    self:bury()
    ended = AGAIN[case.again](self, point, again)
  end
  local refused <const> = self.cannot_stop and ended.code == 5
  if is_refusal_due(self, case) ~= refused then add(refused and "refused" or "not refused") end
  if refused then ended = after_its_writer(self, point, case.again, ended, add) end
  if ended.code ~= 0 then add("%s ended with %s: %s", case.again, ended.code or ended.signal, ended.err) end
  local starts <const> = count_starts(writes_since(lab, again))
  local run <const> = {
    killed_starts = count_starts(writes),
    killed_code = killed.code,
    is_unlearnt = point.is_unlearnt,
    starts = starts,
    out = ended.out,
    knows = knows,
  }
  local outcome = OUTCOME[case.again](self, run, add)
  if refused then outcome = "refused while its writer lived, then " .. outcome end
  for _, difference in ipairs(differences(before, self:world())) do
    if not is_expected(difference, point.is_unlearnt and UNNAMED) then add("%s", difference) end
  end
  return { case = case, writes = writes, outcome = outcome, problems = problems, survived = survived }
end

-- ---- many kills ----

--- Kill what comes after a kill, too, at each of its effects until it has no more.
---@param bench kills.Bench
---@param point kills.Point
---@param again "populate"|"reap"
---@param when "before"|"after"
---@return kills.Result[]
function M.run_twice(bench, point, again, when)
  local results <const> = {}
  repeat
    local case <const> = { point = point, again = again, crash = ("%s:%d"):format(when, #results + 1) }
    results[#results + 1] = bench:run(case)
    if #results[#results].problems > 0 then break end
  until results[#results].survived
  return results
end

-- What is wrong with the site itself is told with the case's name, too.
local function run_once(bench, case)
  local ran <const>, result <const> = pcall(bench.run, bench, case)
  return ran and result or { case = case, writes = {}, problems = { tostring(result) } }
end

--- Every case once, on whichever site is free. A site that was left dirty is replaced.
---@param home "file"|"lease"
---@param benches kills.Bench[]
---@param points kills.Point[]
---@param way? "upstream"|"ssh"
---@return kills.Result[]
function M.run_all(home, benches, points, way)
  local cases <const>, results <const>, workers <const>, taken = {}, {}, {}, 0
  for _, point in ipairs(points) do
    for _, again in ipairs(M.AGAIN) do
      if again == (point.again or again) then cases[#cases + 1] = { point = point, again = again } end
    end
  end
  local function work(i)
    while taken < #cases do
      taken = taken + 1
      local result <const> = run_once(benches[i], cases[taken])
      results[#results + 1] = result
      if #result.problems > 0 then
        benches[i]:close()
        benches[i] = M.open(home, way)
      end
    end
  end
  for i = 1, #benches do
    workers[i] = function() work(i) end
  end
  task.all(workers)
  return results
end

local function name_of(case)
  local point <const> = case.point
  local state <const> = point.is_running and ", its clone running" or ""
  local crash <const> = case.crash and (" killed %s of its effects; then that"):format(case.crash) or ""
  return ("killed %s %d, %s%s; then %s%s"):format(point.when, point.n, point.name, state, case.again, crash)
end

--- Fails with every case by its name, and what it left.
---@param results kills.Result[]
---@param when string
---@param again string
function M.assert_good(results, when, again)
  local count, failed = 0, {}
  for _, result in ipairs(results) do
    if result.case.point.when == when and result.case.again == again then
      count = count + 1
      if #result.problems > 0 then
        failed[#failed + 1] = name_of(result.case) .. ":\n    " .. table.concat(result.problems, "\n    ")
      end
    end
  end
  assert(count > 0, "no case")
  assert(#failed == 0, table.concat(failed, "\n"))
end

--- The outcomes by kind, as TAP's diagnostics.
---@param title string
---@param results kills.Result[]
function M.tell(title, results)
  local counts <const>, lines <const> = {}, {}
  for _, result in ipairs(results) do
    local outcome <const> = #result.problems > 0 and "FAILED" or result.outcome
    local key <const> = ("killed %s, then %s: %s"):format(result.case.point.when, result.case.again, outcome)
    counts[key] = (counts[key] or 0) + 1
  end
  for key, count in pairs(counts) do
    lines[#lines + 1] = ("#   %s: %d\n"):format(key, count)
  end
  table.sort(lines)
  io.write(("# %s, %d cases\n"):format(title, #results), table.concat(lines))
end

return M
