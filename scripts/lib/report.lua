--- What the user sees of a job: a line a step and a bar on a terminal, plain lines off it, one JSON object a line for machines.
local console <const> = require "lunalift.console"
local fail <const> = require "lib.fail"
local json <const> = require "lunalift.json"
local log <const> = require "lunalift.log"
local redact <const> = require "lib.redact"
local timer <const> = require "lunalift.timer"
local words <const> = require "lib.words"

local M <const> = {}

-- Of the process, whose standard output it is: said once.
local is_lost = false

-- A copy that nobody watches any more goes on.
local function put(text)
  local _, why <const> = console.out(text)
  if not why or is_lost then return end
  is_lost = true
  log.warn("what the run says is lost", { why = fail.text(why) })
end

-- Standard output is data and goes out as it is; what people read here may quote a peer.
local function out(text) put(log.redact(text)) end

local REDRAW_EVERY_S <const> = 0.2
local LINE_EVERY_S <const> = 10
local LINE_EVERY_PERCENT <const> = 5
local TITLE_WIDTH <const> = 38
local BAR_WIDTH <const> = 24
local BAR_WIDTH_MIN <const> = 8

---@class lib.Progress
---@field percent integer 0 … 100
---@field bytes integer
---@field total_bytes integer
---@field rate number bytes a second
---@field eta_s? number
---@field offloaded? boolean nil while unknown

local function progress_text(p)
  local parts <const> =
    { ("%3d %%"):format(p.percent), ("%s of %s"):format(words.size(p.bytes), words.size(p.total_bytes)) }
  if p.rate > 0 then parts[#parts + 1] = words.size(p.rate) .. "/s" end
  if p.eta_s then parts[#parts + 1] = words.span(p.eta_s) .. " left" end
  if p.offloaded ~= nil then parts[#parts + 1] = words.offload(p.offloaded) end
  return table.concat(parts, "   ")
end

--- The lines that tell a failure: error, why, fix, left, more.
---@param why Fail
---@param left? string[]
---@param receipt? string where it is
---@return string
function M.failure_text(why, left, receipt)
  local lines <const> = { "error: " .. why.message }
  local cause = why.cause
  while cause do
    lines[#lines + 1] = "  why   " .. cause.message
    cause = cause.cause
  end
  if why.hint then lines[#lines + 1] = "  fix   " .. why.hint end
  for _, item in ipairs(left or {}) do
    lines[#lines + 1] = "  left  " .. item
  end
  if receipt then lines[#lines + 1] = "  more  receipt: " .. receipt end
  return table.concat(lines, "\n") .. "\n"
end

-- "done in 3.1 s" and where to read more.
local function done_text(result)
  return result.receipt and ("%s, receipt: %s"):format(result.text, result.receipt) or result.text
end

-- ---- a terminal: the line in progress is redrawn ----

local Terminal <const> = {}
Terminal.__index = Terminal

local function terminal()
  local utf8_ok <const> = console.is_utf8()
  local marks <const> = utf8_ok
      and { done = "✓", failed = "✗", now = "▸", warning = "⚠", full = "█", half = "▌" }
    or { done = "+", failed = "x", now = ">", warning = "!", full = "#", half = "#" }
  return setmetatable({ marks = marks, drawn_s = 0, width = console.width() }, Terminal)
end

local function clip(text, width)
  local cut <const> = utf8.offset(text, width + 1)
  return cut and text:sub(1, cut - 1) or text
end

function Terminal:draw(text) put("\r\27[K" .. clip("  " .. log.redact(text), self.width - 1)) end

function Terminal:title(text) out(text .. "\n") end

function Terminal:step_begin(step) self:draw(("%s %s"):format(self.marks.now, step.title)) end

function Terminal:step_end(step)
  local mark <const> = self.marks[step.status]
  local pad <const> = (" "):rep(math.max(1, TITLE_WIDTH - (utf8.len(step.title) or #step.title)))
  out(("\r\27[K  %s %s%s%6.1f s   %s\n"):format(mark, step.title, pad, step.seconds, step.found))
end

local function bar_text(marks, percent, width)
  local cells <const> = percent * width / 100
  local bar <const> = marks.full:rep(math.floor(cells)) .. (cells % 1 >= 0.5 and marks.half or "")
  return bar .. (" "):rep(width - utf8.len(bar))
end

-- On a narrow terminal the bar gives way, so that the time left can be read.
function Terminal:progress(step, p)
  local now <const> = timer.now()
  if now - self.drawn_s < REDRAW_EVERY_S and p.percent < 100 then return end
  self.drawn_s = now
  local head <const>, tail <const> = ("%s %-8s "):format(self.marks.now, step.title), " " .. progress_text(p)
  local room <const> = self.width - 3 - utf8.len(head) - utf8.len(tail)
  local width <const> = math.max(BAR_WIDTH_MIN, math.min(BAR_WIDTH, room))
  self:draw(head .. bar_text(self.marks, p.percent, width) .. tail)
end

function Terminal:waiting(step, text) self:draw(("%s %s: %s"):format(self.marks.now, step.title, text)) end

function Terminal:warning(text) out(("\r\27[K  %s %s\n"):format(self.marks.warning, text)) end

function Terminal:effect(e)
  if e.dry then out(("\r\27[K  %3d  %-20s %s\n"):format(e.number, e.name, e.target)) end
end

function Terminal:finished(result)
  if result.ok then
    out(done_text(result) .. "\n")
  else
    out "\r\27[K"
    console.err(M.failure_text(result.why, result.left, result.receipt))
  end
end

-- ---- off a terminal: lines with time stamps, key=value at the end ----

local Lines <const> = {}
Lines.__index = Lines

local function lines() return setmetatable({ said_s = -LINE_EVERY_S, said_percent = -LINE_EVERY_PERCENT }, Lines) end

local function say(fmt, ...) out(("%s %s\n"):format(timer.iso():gsub("%.%d+", ""), fmt:format(...))) end

function Lines:title(text) say("%s", text) end

function Lines:step_begin() end

function Lines:step_end(step)
  say(
    "%s: %s status=%s seconds=%.1f",
    step.title,
    step.found ~= "" and step.found or step.status,
    step.status,
    step.seconds
  )
end

function Lines:progress(step, p)
  local now <const> = timer.now()
  local is_much <const> = p.percent - self.said_percent >= LINE_EVERY_PERCENT or p.percent == 100
  if now - self.said_s < LINE_EVERY_S and not is_much then return end
  self.said_s, self.said_percent = now, p.percent
  local eta <const> = p.eta_s and (" eta_s=%.0f"):format(p.eta_s) or ""
  say("%s: %s percent=%d bytes=%.0f rate=%.0f%s", step.title, progress_text(p), p.percent, p.bytes, p.rate, eta)
end

function Lines:waiting(step, text)
  local now <const> = timer.now()
  if text == self.waits_for and now - self.waits_said_s < LINE_EVERY_S then return end
  self.waits_for, self.waits_said_s = text, now
  say("%s: %s status=waiting", step.title, text)
end

function Lines:warning(text) say("warning: %s", text) end

function Lines:effect(e)
  if e.dry then say("would do %s %s effect=%d", e.name, e.target, e.number) end
end

function Lines:finished(result)
  if result.ok then say("%s status=done seconds=%.1f", done_text(result), result.seconds) end
  if not result.ok then console.err(M.failure_text(result.why, result.left, result.receipt)) end
end

-- ---- for machines ----

local Json <const> = {}
Json.__index = Json

local function emit(event, fields)
  local object <const> = { event = event, time = timer.iso() }
  for key, value in pairs(fields) do
    object[key] = value
  end
  put(json.encode(redact.value(object)) .. "\n")
end

function Json:title(text) emit("start", { text = text }) end
function Json:step_begin(step) emit("step", { name = step.title, status = "running" }) end

function Json:step_end(step)
  emit("step", { name = step.title, status = step.status, seconds = step.seconds, found = step.found })
end

function Json:progress(step, p)
  emit("progress", {
    step = step.title,
    percent = p.percent,
    bytes = p.bytes,
    total_bytes = p.total_bytes,
    rate = math.floor(p.rate),
    eta_s = p.eta_s,
    offloaded = p.offloaded,
  })
end

function Json:waiting(step, text) emit("waiting", { step = step.title, text = text }) end

function Json:warning(text) emit("warning", { text = text }) end

function Json:effect(e) emit("effect", { number = e.number, name = e.name, target = e.target, dry_run = e.dry }) end

local function failure_fields(why)
  if not why then return nil end
  return { kind = why.kind, message = why.message, hint = why.hint, step = why.step, cause = failure_fields(why.cause) }
end

function Json:finished(result)
  emit("result", {
    status = result.ok and "done" or "failed",
    text = result.text,
    seconds = result.seconds,
    failure = failure_fields(result.why),
    left = json.array(result.left or {}),
    receipt = result.receipt,
  })
end

-- ---- quiet: nothing but errors ----

local Quiet <const> = {}
Quiet.__index = function(_, name)
  return rawget(Quiet, name) or function() end
end

function Quiet.finished(_, result)
  if not result.ok then console.err(M.failure_text(result.why, result.left, result.receipt)) end
end

local STYLES <const> = { text = nil, json = Json, quiet = Quiet }

--- style "text" chooses between terminal and lines by what standard output is.
---@param style "text"|"json"|"quiet"
---@return lib.Report
function M.new(style)
  local chosen <const> = STYLES[style]
  if chosen then return setmetatable({}, chosen) end
  if style ~= "text" then fail.raise("bug", "no report style %s", style) end
  return console.is_terminal() and terminal() or lines()
end

return M
