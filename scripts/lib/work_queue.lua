--- Keys to be worked on: each once however often it was added, never twice at a time, and again later when it did not go well.
local backoff <const> = require "lib.backoff"
local fail <const> = require "lib.fail"
local log <const> = require "lunalift.log"
local task <const> = require "lunalift.task"
local timer <const> = require "lunalift.timer"

local M <const> = {}

---@class lib.WorkQueueOptions
---@field name string for the log
---@field workers integer keys that are worked on at a time
---@field work fun(key: string): number? seconds until it is to be worked on again; nil: when it is added again. What it raises is
--- tried again, later each time, or when the failure says
---@field first_s? number the first pause after a failure
---@field longest_s? number

---@class lib.WorkQueue
---@field busy integer keys that are being worked on
local Queue <const> = {}
Queue.__index = Queue

---@param options lib.WorkQueueOptions
---@return lib.WorkQueue
function M.new(options)
  return setmetatable({
    options = options,
    bell = task.bell(),
    ready = {}, -- keys, from `first` to `last`
    first = 1,
    last = 0,
    is_ready = {},
    later = {}, -- a heap of { due_s, key }; counts if `due` says the same
    due = {},
    running = {},
    again = {}, -- when a key that is being worked on is to be worked on again
    failed = {}, -- how often in a row
    busy = 0,
  }, Queue)
end

-- ---- what is due later ----

local function push(heap, item)
  local at = #heap + 1
  while at > 1 and heap[at // 2][1] > item[1] do
    heap[at], at = heap[at // 2], at // 2
  end
  heap[at] = item
end

local function pop(heap)
  local top <const>, item <const> = heap[1], table.remove(heap)
  local at, child = 1, 2
  while child <= #heap do
    if child < #heap and heap[child + 1][1] < heap[child][1] then child = child + 1 end
    if item[1] <= heap[child][1] then break end
    heap[at], at, child = heap[child], child, 2 * child
  end
  if #heap > 0 then heap[at] = item end
  return top
end

-- ---- adding ----

local function make_ready(self, key)
  self.due[key] = nil
  if self.is_ready[key] then return end
  self.is_ready[key] = true
  self.last = self.last + 1
  self.ready[self.last] = key
end

local function schedule(self, key, due_s)
  if self.is_ready[key] or (self.due[key] and self.due[key] <= due_s) then return end
  if due_s <= timer.now() then
    make_ready(self, key)
  else
    self.due[key] = due_s
    push(self.later, { due_s, key })
  end
  self.bell:ring()
end

--- Work on it, at once or in so many seconds; the soonest counts. While it is worked on: once more after that.
---@param key string
---@param after_s? number
function Queue:add(key, after_s)
  local due_s <const> = timer.now() + (after_s or 0)
  if self.running[key] then
    self.again[key] = math.min(self.again[key] or due_s, due_s)
  else
    schedule(self, key, due_s)
  end
end

--- Keys that are ready, or will be.
---@return integer
function Queue:len()
  local count = self.last - self.first + 1
  for _ in pairs(self.due) do
    count = count + 1
  end
  return count
end

---@param key string
---@return integer failures in a row
function Queue:failures(key) return self.failed[key] or 0 end

-- ---- working ----

local function ripen(self)
  while self.later[1] and self.later[1][1] <= timer.now() do
    local item <const> = pop(self.later)
    if self.due[item[2]] == item[1] then make_ready(self, item[2]) end
  end
end

-- A key, or nil and the seconds until one is due; nil, nil: nothing is.
local function take(self)
  ripen(self)
  if self.first > self.last then
    local next <const> = self.later[1]
    return nil, next and math.max(next[1] - timer.now(), 0)
  end
  local key <const> = self.ready[self.first]
  self.ready[self.first], self.is_ready[key] = nil, nil
  self.first = self.first + 1
  return key
end

local function note(self, key, ok, result)
  if ok then
    self.failed[key] = nil
    if result then self:add(key, result) end
    return
  end
  local why <const>, failures <const> = fail.of(result), self:failures(key) + 1
  local wait_s <const> = backoff.after(failures, {
    first_s = self.options.first_s,
    longest_s = self.options.longest_s,
    wish_s = why.retry_after_s,
  })
  self.failed[key] = failures
  log[why.kind == "bug" and "error" or "info"](
    "trying again",
    { what = self.options.name, key = key, why = fail.text(why), in_s = wait_s, traceback = why.traceback }
  )
  self:add(key, wait_s)
end

local function work_on(self, key)
  self.running[key], self.busy = true, self.busy + 1
  local ok <const>, result <const> = pcall(self.options.work, key)
  task.check()
  note(self, key, ok, result)
  self.running[key], self.busy = nil, self.busy - 1
  local due_s <const> = self.again[key]
  self.again[key] = nil
  if due_s then schedule(self, key, due_s) end
end

local function worker(self)
  while true do
    local key <const>, wait_s <const> = take(self)
    if key then
      work_on(self, key)
    else
      self.bell:wait(wait_s)
    end
  end
end

--- Work until the task is cancelled.
function Queue:run()
  local workers <const> = {}
  for i = 1, self.options.workers do
    workers[i] = function() worker(self) end
  end
  task.all(workers)
end

return M
