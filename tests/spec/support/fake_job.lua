--- A real job without peers: its journal is a list of what was written, its report a list of what was said, all in one order.
---
---   local job <const> = fake_job.new { dry_run = true }    -- lib.job as loaded now: install stand-ins first
---   job.trace                                              -- { "journal host.detach array.unmap", "act", "effect 1 array.map x" }
local M <const> = {}

local function names(entries)
  local list <const> = {}
  for _, entry in ipairs(entries) do
    list[#list + 1] = " " .. entry.undo
  end
  return table.concat(list)
end

---@param trace string[]
local function recording_journal(trace)
  local journal <const> = { where = "memory", written = {} }
  function journal:write(content)
    if self.broken then error { kind = "no_space", message = "the disk is full" } end
    self.written[#self.written + 1] = content
    trace[#trace + 1] = "journal" .. names(content.entries)
  end
  function journal.fence() end
  function journal.close() end
  function journal:clear()
    if self.broken then error { kind = "no_space", message = "the disk is full" } end
    trace[#trace + 1] = "journal cleared"
  end
  return journal
end

local function recording_report(trace)
  local function say(fmt, ...) trace[#trace + 1] = fmt:format(...) end
  return {
    title = function() end,
    step_begin = function(_, step) say("step %s", step.title) end,
    step_end = function(_, step) say("%s %s: %s", step.status, step.title, step.found) end,
    progress = function() end,
    waiting = function(_, step, text) say("waiting %s: %s", step.title, text) end,
    warning = function(_, text) say("warning %s", text) end,
    effect = function(_, e) say("%s %d %s %s", e.dry and "would" or "effect", e.number, e.name, e.target) end,
    finished = function() end,
  }
end

---@param options? { dry_run: boolean?, site: table?, request: table?, journal: boolean? }
---@return lib.Job job with `trace`
function M.new(options)
  options = options or {}
  local trace <const> = {}
  local site <const> = options.site or {}
  site.close = site.close or function() trace[#trace + 1] = "closed" end
  local request <const> = options.request or {}
  request.patience_s = request.patience_s or 5
  local job <const> = require("lib.job").new {
    name = "test",
    request = request,
    site = site,
    report = recording_report(trace),
    dry_run = options.dry_run,
  }
  job.trace = trace
  if options.journal ~= false then job.ledger.journal = recording_journal(trace) end
  return job
end

--- What an act of the world returns when it fails.
function M.refusal(kind, fields)
  local why <const> = { kind = kind, message = "it said " .. kind }
  for key, value in pairs(fields or {}) do
    why[key] = value
  end
  return why
end

--- Lines of the trace that start with a word.
---@return string[]
function M.only(trace, word)
  local found <const> = {}
  for _, line in ipairs(trace) do
    if line:sub(1, #word) == word then found[#found + 1] = line end
  end
  return found
end

return M
