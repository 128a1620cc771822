--- Is a vendor script fit for the core? Every function of the contract under every class of fault, at each of its requests; and how it
--- behaves where nothing is wrong. After each case the array's objects are compared with those before.
local contract <const> = require "lib.vendor_contract"
local fail <const> = require "lib.fail"
local faults <const> = require "lib.conformance.faults"
local judge <const> = require "lib.conformance.judge"
local manners <const> = require "lib.conformance.manners"
local scenes <const> = require "lib.conformance.scenes"
local task <const> = require "lunalift.task"
local trials <const> = require "lib.conformance.trial"
local words <const> = require "lib.words"

local M <const> = {}

---@class lib.Case
---@field group string the function, or what else it is about
---@field name string
---@field skipped? string why it was not run
---@field happened? string it has failed
---@field expected? string
---@field requests? lib.RigRequest[] of the call

---@class lib.Suite
---@field rig lib.Rig
---@field trial lib.Trial
---@field choice { only: string?, fault: string? }
---@field tell fun(case: lib.Case)
---@field before table the array's objects
---@field running Task
local Suite <const> = {}
Suite.__index = Suite

local OPEN <const>, ACCOUNT <const> = "open and close", "account"
local TWICE <const>, TWO_JOBS <const>, OTHERS <const>, HOSTILE <const> =
  "twice", "two jobs", "of others", "hostile names"
local OVERWRITING <const> = { copy_start = true, copy_poll = true, copy_stop = true }

-- ---- one case ----

local function begin(self)
  self.trial = trials.open(self.rig)
  self.trial:choose_ports()
  self.before = self.rig:state(self.trial)
end

-- What is left of it, or was taken away from others. It is not to trouble the next case.
local function left_over(self)
  local now <const> = self.rig:state(self.trial)
  local difference <const> = judge.difference(self.before, now)
  self.before = now
  if difference and self.rig.renew then
    self.rig:renew()
    begin(self)
  end
  return difference
end

local function judged(case, why)
  if case.happened or not why then return end
  local verdict <const> = fail.of(why)
  case.expected = verdict.expected or "a case that runs to its end"
  case.happened = verdict.expected and verdict.message or judge.text(why)
end

-- What is raised; but whoever cancels the suite ends it.
local function attempt(run, ...)
  local ok <const>, why <const> = pcall(run, ...)
  if not ok and fail.is(why, "cancelled") then error(why) end
  return not ok and why or nil
end

local function requests_of(rig)
  if not rig.requests then return {} end
  return table.move(rig.requests, rig.mark + 1, #rig.requests, 1, {})
end

--- Run one case, put everything back, and see that nothing is left.
function Suite:try(group, name, run)
  local case <const>, rig <const> = { group = group, name = name }, self.rig
  rig.mark = rig.requests and #rig.requests
  judged(case, attempt(run, self.trial))
  if rig.strike then
    rig:strike()
    rig:interpose()
    rig:end_sessions()
  end
  if case.happened then case.requests = requests_of(rig) end
  judged(case, attempt(self.trial.clean, self.trial))
  local left
  judged(case, attempt(function() left = left_over(self) end))
  if left and not case.happened then
    case.expected, case.happened, case.requests = "all on the array is as it was before", left, requests_of(rig)
  end
  self.tell(case)
end

function Suite:skip(group, reason) self.tell { group = group, name = "", skipped = reason } end

-- ---- what is chosen ----

local function is_chosen(self, group) return not self.choice.only or self.choice.only == group end

local function faults_chosen(self)
  local chosen <const> = {}
  for _, fault in ipairs(self.rig.strike and faults.CLASSES or {}) do
    if not self.choice.fault or self.choice.fault == fault.key then chosen[#chosen + 1] = fault end
  end
  return chosen
end

---@return string[] what `only` may name
function M.groups()
  local names <const> = { ACCOUNT, OPEN }
  for _, scene in ipairs(scenes.SCENES) do
    names[#names + 1] = scene.name
  end
  return table.move({ TWICE, TWO_JOBS, OTHERS, HOSTILE }, 1, 4, #names + 1, names)
end

---@return string[] what `fault` may name
function M.fault_keys()
  local keys <const> = {}
  for i, fault in ipairs(faults.CLASSES) do
    keys[i] = fault.key
  end
  return keys
end

-- ---- the groups ----

local function try_open(self)
  local count, is_session = 0, {}
  self:try(OPEN, "undisturbed", function()
    count, is_session = faults.login(self.rig)
  end)
  for _, fault in ipairs(faults_chosen(self)) do
    for k = 1, (fault.renewed or fault.of_jobs) and 0 or count do
      local name <const> = ("%s, at request %d of %d"):format(fault.title, k, count)
      self:try(OPEN, name, function() faults.open(self.rig, fault, k, is_session) end)
    end
  end
end

-- How many requests the call makes with nothing in the way, its result being right.
local function undisturbed(self, scene)
  local count = 0
  self:try(scene.name, "undisturbed", function(t) count = faults.undisturbed(t, scene) end)
  return count
end

local function why_not(self, name)
  if not self.trial.has[name] then return "the vendor has no " .. name end
  return OVERWRITING[name] and not self.rig.overwrites and "it would overwrite the second volume" or nil
end

-- How often a fault can strike a function that makes so many requests.
local function strikes(rig, scene, fault, count)
  if fault.renewed and rig:sessions() == nil then return 0 end
  if not fault.of_jobs then return count end
  return scene.holds and rig:has_jobs() and 1 or 0
end

local function try_function(self, scene)
  local reason <const> = why_not(self, scene.name)
  if reason then return self:skip(scene.name, reason) end
  local count <const> = undisturbed(self, scene)
  for _, fault in ipairs(faults_chosen(self)) do
    for k = 1, strikes(self.rig, scene, fault, count) do
      local name <const> = fault.of_jobs and fault.title or ("%s, at request %d of %d"):format(fault.title, k, count)
      self:try(scene.name, name, function(t) faults.call(t, scene, fault, k) end)
    end
  end
end

-- On an array that is renewed afterwards.
local function try_in_a_crowd(self, group, manner)
  self.rig:crowd(manner.crowd)
  self.before = self.rig:state(self.trial)
  self:try(group, manner.name, manner.run)
  self.rig:renew()
  begin(self)
end

---@param list lib.Manner[]
local function try_all(self, group, list)
  for _, manner in ipairs(list) do
    local is_of_lab <const> = manner.crowd or manner.is_of_lab
    local reason <const> = manner.needs and why_not(self, manner.needs)
      or is_of_lab and not self.rig.strike and "the lab's array alone lets others act"
    if reason then
      self:skip(group, reason)
    elseif manner.crowd then
      try_in_a_crowd(self, group, manner)
    else
      self:try(group, manner.name, manner.run)
    end
  end
end

local function try_manners(self)
  local groups <const> = {
    { TWICE, manners.TWICE },
    { TWO_JOBS, manners.TWO_JOBS },
    { OTHERS, manners.OTHERS },
    { HOSTILE, manners.hostile() },
  }
  for _, each in ipairs(groups) do
    if is_chosen(self, each[1]) then try_all(self, each[1], each[2]) end
  end
end

-- ---- the whole ----

local function check_choice(choice)
  for name, known in pairs { only = M.groups(), fault = M.fault_keys() } do
    local value <const> = choice[name]
    if value and not contract.has(known, value) then
      local why <const> = fail.new("config", "--%s: there is no '%s'", name, value)
      error(fail.hint(why, words.suggestion(value, known, "there are " .. words.list(known))))
    end
  end
end

-- What only the lab's array offers.
local function try_login(self)
  if not self.rig.strike then
    self:skip(ACCOUNT, "a wrong password may lock the account of a real array")
    return self:skip("faults", "a real array has no door for them")
  end
  if is_chosen(self, ACCOUNT) and not self.choice.fault then try_all(self, ACCOUNT, manners.account(self.rig)) end
  if is_chosen(self, OPEN) then try_open(self) end
end

local function run(self)
  try_login(self)
  for _, scene in ipairs(scenes.SCENES) do
    if is_chosen(self, scene.name) then try_function(self, scene) end
  end
  if self.rig.strike and not self.rig:sessions() then self:skip("lost session", "the array has no sessions") end
  if not self.choice.fault then try_manners(self) end
end

--- Begin with all cases that the rig allows; those about faults need one that can strike.
---@param rig lib.Rig
---@param choice { only: string?, fault: string? }
---@param tell fun(case: lib.Case) called after each
---@return lib.Suite
function M.start(rig, choice, tell)
  check_choice(choice)
  local self <const> = setmetatable({ rig = rig, choice = choice, tell = tell }, Suite)
  begin(self)
  self.running = task.spawn(run, self)
  return self
end

---@param reason string
function Suite:cancel(reason) self.running:cancel(reason) end

--- Wait for its end. The array is as it was then, also when it was cancelled. Raises what ended it early.
function Suite:finish()
  local _, why <const> = self.running:wait()
  if self.rig.strike then self.rig:strike() end
  pcall(self.trial.clean, self.trial)
  self.trial:close()
  if why then error(why) end
end

return M
