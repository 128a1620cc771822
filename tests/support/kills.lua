--- One kill and what comes after it: a run of populate dies at a point, then populate runs again, or `lunalift reap --apply`. What the site
--- is then is compared with what it was.
local codec <const> = require "lunalift.codec"
local fs <const> = require "lunalift.fs"
local http <const> = require "lunalift.http"
local json <const> = require "lunalift.json"
local labs <const> = require "support.lab"
local secret <const> = require "lunalift.secret"

local M <const> = {}

local CLAIM <const>, FOREIGN_CLAIM <const> = "vm-58-disk-1", "vm-57-disk-1"
local WITHIN_S <const> = 30
local OTHER_BYTES <const> = 9 -- seed of what the target holds before
local FOREIGN <const> = {
  { name = "k8s-workers", os_type = "linux", initiator = "iqn.2004-10.com.ubuntu:worker-1" },
  { name = "xcopy-hostsystem-host-99-iscsi", os_type = "vmware", initiator = "iqn.1998-01.com.vmware:esx-99:1:64" },
}

---@class kills.Point
---@field when "before"|"during"|"after"|"between" the last: after it, while nothing is changed
---@field n integer number of the effect
---@field name string of the effect
---@field nth? integer during: which of the effect's requests
---@field request? { service: string, earlier: integer } during: known by how many writing requests its service had before
---@field is_running? boolean the clone stands still meanwhile

---@class kills.Case
---@field point kills.Point
---@field again "populate"|"reap"

---@class kills.Result
---@field case kills.Case
---@field outcome string
---@field problems string[]

---@class kills.Bench one lab; cases run on it one after the other
---@field lab lab.Lab
local Bench <const> = {}
Bench.__index = Bench

-- ---- a site with what is not ours ----

local function lun_path_of(lab, naa)
  for _, lun in ipairs(lab:state().ontap.luns) do
    if lun.naa == naa then return lun.path end
  end
end

-- Groups and maps that others made: of the workers, who see the claim's LUN as well, and of another host's populator.
local function add_foreign(lab)
  local about <const> = lab.site.arrays[1]
  local array <const> = http.client {
    base = "https://" .. about.host,
    username = about.username,
    password = secret.new(about.password),
    tls = { ca_file = lab.site.ca_file },
  }
  local svm <const> = { name = about.svm }
  for _, group in ipairs(FOREIGN) do
    local body <const> = {
      name = group.name,
      protocol = "iscsi",
      os_type = group.os_type,
      svm = svm,
      initiators = json.array { { name = group.initiator } },
    }
    assert(array:post("/api/protocols/san/igroups", { json = body }))
  end
  for _, name in ipairs { CLAIM, FOREIGN_CLAIM } do
    local lun <const> = { name = lun_path_of(lab, lab:claim(name).naa) }
    local body <const> = { svm = svm, igroup = { name = FOREIGN[1].name }, lun = lun }
    assert(array:post("/api/protocols/san/lun-maps", { json = body }))
  end
end

---@return kills.Bench
function M.open()
  local lab <const> = labs.start({ esxi = { rescan_s = 0 } }, labs.QUICK_BIN)
  add_foreign(lab)
  local self <const> = setmetatable({ lab = lab, claim = lab:claim(CLAIM), foreign = lab:claim(FOREIGN_CLAIM) }, Bench)
  self.source = assert(fs.read(lab:source_of(self.claim)))
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
    add_all(world, path, list)
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

--- A run to its end: its effects, those of settling included, as it tells them, and its writing requests.
---@return { number: integer, name: string }[] effects
---@return lab.Request[] writes
function Bench:trace()
  local mark <const> = self.lab:mark()
  local ended <const> = self.lab:populate { claim = CLAIM, words = { "--output=json" } }
  assert(ended.code == 0, ended.out .. ended.err)
  local effects <const> = {}
  for line in ended.out:gmatch "[^\n]+" do
    local event <const> = assert(json.decode(line))
    if event.event == "effect" then effects[#effects + 1] = event end
  end
  return effects, writes_since(self.lab, mark)
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

local function by_itself(lab, point)
  return lab:populate { claim = CLAIM, env = { LUNALIFT_TEST_CRASH = ("%s:%d"):format(point.when, point.n) } }
end
HOW.before, HOW.after = by_itself, by_itself

local function kill_at_request(lab, mark, holds)
  local run <const> = lab:start_populate { claim = CLAIM }
  wait_for_request(lab, mark, holds)
  run:kill "KILL"
  return run:wait()
end

-- The peer has acted, and its answer is held back.
function HOW.during(lab, point, mark)
  local request <const> = point.request
  local held <const> = "delay_after:" .. 2 * WITHIN_S
  lab:faults {
    { service = request.service, match = { effect = "true" }, after = request.earlier, action = held },
  }
  return kill_at_request(lab, mark, function(entry) return entry.fault == held and entry.acted end)
end

local function asks_for_state(entry) return entry.target == "vmkfstools.taskGet" and entry.acted end

-- The clone is followed.
function HOW.between(lab, _, mark) return kill_at_request(lab, mark, asks_for_state) end

-- ---- what comes after ----

local AGAIN <const> = {}

-- A clone that stands still goes on once it is looked at.
function AGAIN.populate(lab, point, mark)
  local run <const> = lab:start_populate { claim = CLAIM }
  if point.is_running then
    local seen <const>, why <const> = pcall(wait_for_request, lab, mark, asks_for_state)
    lab:host("vmkfstools", {})
    if not seen then run:kill "TERM" end
    local ended <const> = run:wait()
    if not seen then ended.err = tostring(why) .. "\n" .. ended.err end
    return ended
  end
  return run:wait()
end

function AGAIN.reap(lab) return lab:populate { argv = { "reap", "--apply" } } end

local function is_filled(bench) return fs.read(bench.claim.lun_path) == bench.source end

local OUTCOME <const> = {}

function OUTCOME.populate(bench, killed_starts, starts, found, add)
  if not is_filled(bench) then add "the LUN does not hold the source's bytes" end
  if killed_starts + starts ~= 1 then add("%d clones were started by both runs", killed_starts + starts) end
  if starts > 0 then return killed_starts == 0 and "copied" or "put back, copied again" end
  return found:match "its copy is done and proved" and "the proved copy was kept" or "the clone was adopted"
end

function OUTCOME.reap(_, _, starts, _, add)
  if starts > 0 then add "reap started a clone" end
  return "put back"
end

---@param case kills.Case
---@return kills.Result
function Bench:run(case)
  local lab <const>, point <const>, problems <const> = self.lab, case.point, {}
  local function add(fmt, ...) problems[#problems + 1] = select("#", ...) == 0 and fmt or fmt:format(...) end
  assert(fs.fill(self.claim.lun_path, { size = #self.source, seed = OTHER_BYTES }))
  lab:host("vmkfstools", point.is_running and { hang_at = 50 } or {})
  local before <const>, mark <const> = self:world(), lab:mark()

  local killed <const> = HOW[point.when](lab, point, mark)
  if killed.signal ~= 9 then
    add("it was not killed, but ended with %s: %s", killed.code or killed.signal, killed.err)
  end
  lab:faults {}
  assert(lab.control:post "/sessions/expire") -- vCenter ends the logins of the dead
  local writes <const>, again <const> = writes_since(lab, mark), lab:mark()

  local ended <const> = AGAIN[case.again](lab, point, again)
  if ended.code ~= 0 then add("%s ended with %s: %s", case.again, ended.code or ended.signal, ended.err) end
  local starts <const> = count_starts(writes_since(lab, again))
  local outcome <const> = OUTCOME[case.again](self, count_starts(writes), starts, ended.out, add)
  for _, difference in ipairs(differences(before, self:world())) do
    add("%s", difference)
  end
  return { case = case, writes = writes, outcome = outcome, problems = problems }
end

---@param case kills.Case
---@return string
function M.name(case)
  local point <const> = case.point
  local state <const> = point.is_running and ", its clone running" or ""
  return ("killed %s effect %d, %s%s; then %s"):format(point.when, point.n, point.name, state, case.again)
end

return M
