--- Waiting for what a peer does in the background.
local fail <const> = require "lib.fail"
local hints <const> = require "lib.hints"
local timer <const> = require "lunalift.timer"
local words <const> = require "lib.words"

local M <const> = {}

local FOLLOW_FIRST_S <const> = 0.3
local FOLLOW_LONGEST_S <const> = 5
local FOLLOW_UNSURE_S <const> = 1 -- the longest until its first percents tell how fast it is

-- The work was accepted: whatever ends the waiting, it may still be done.
local function give_up(why)
  local failure <const> = fail.of(why)
  failure.unanswered, failure.refused = true, nil
  error(failure)
end

--- Ask after work that a peer has accepted until `look()` returns something, which is the result. The pause doubles from `every_s` to ten
--- times that. Time-out, and what `look` raises, are raised as `unanswered`.
---@generic T
---@param what string for the message when time is up
---@param options { within_s: number, every_s: number? }
---@param look fun(): T?
---@return T
function M.wait(what, options, look)
  local until_s <const> = timer.now() + options.within_s
  local pause_s = options.every_s or 0.2
  local longest_s <const> = 10 * pause_s
  while true do
    local done <const>, found = pcall(look)
    if not done then give_up(found) end
    if found then return found end
    local left_s <const> = until_s - timer.now()
    if left_s <= 0 then give_up(fail.new("timeout", "%s has not ended within %g s", what, options.within_s)) end
    timer.sleep(math.min(pause_s, left_s))
    pause_s = math.min(2 * pause_s, longest_s)
  end
end

--- What a peer may show only a while after it was accepted: looked for now, and where there is nothing once more after `late_s`.
---@generic T
---@param late_s number
---@param look fun(): T?
---@return T?
function M.look_twice(late_s, look)
  local found <const> = look()
  if found then return found end
  timer.sleep(late_s)
  return look()
end

local function within(low, value, high) return math.min(math.max(value, low), high) end

-- When a copy ends that has come from one percent to another in `took_s`; nil when nothing tells.
local function end_of(from, percent, took_s, now)
  if percent <= from then return nil end
  return now + (100 - percent) * took_s / (percent - from)
end

-- Often enough to see the end soon, seldom enough to cost little: half of what is left, and of what it is late by; a quarter of what was,
-- where nobody knows.
local function next_pause(last, ends_s, elapsed_s, now)
  if last.blind then return within(FOLLOW_FIRST_S, elapsed_s / 4, FOLLOW_LONGEST_S) end
  if not ends_s then return within(FOLLOW_FIRST_S, elapsed_s, FOLLOW_UNSURE_S) end
  return within(FOLLOW_FIRST_S, math.abs(ends_s - now) / 2, FOLLOW_LONGEST_S)
end

local function stalled(what, percent, still_s)
  return hints.new("copy stands still", { what = what, percent = percent, span = words.span(still_s) })
end

---@class lib.Followed
---@field running boolean
---@field percent integer 0 … 100
---@field clone_write_ops? integer what moves between two percents
---@field blind? boolean whoever does it cannot tell a percent, so that standing still means nothing

--- Ask after a copy until it has ended: `for progress in poll.follow("the clone", { stall_s = 3600 }, ask) do … end`. Raises timeout when
--- nothing has moved for `stall_s` (0: never).
---@generic T: lib.Followed
---@param what string for the message
---@param options { stall_s: number? }
---@param ask fun(): T
---@return fun(): T?
function M.follow(what, options, ask)
  local began_s <const>, stall_s <const> = timer.now(), options.stall_s or 0
  local last, first_percent, ends_s, mark, moved_s
  return function()
    if last and not last.running then return nil end
    if last then timer.sleep(next_pause(last, ends_s, timer.now() - began_s, timer.now())) end
    local percent <const> = last and last.percent
    last = ask()
    local now <const>, seen <const> = timer.now(), last.percent + (last.clone_write_ops or 0) * 101
    first_percent = first_percent or last.percent
    if percent ~= last.percent then ends_s = end_of(first_percent, last.percent, now - began_s, now) end
    if seen ~= mark then
      mark, moved_s = seen, now
    end
    if last.running and not last.blind and stall_s > 0 and now - moved_s >= stall_s then
      error(stalled(what, last.percent, now - moved_s))
    end
    return last
  end
end

return M
