--- The receipt of a job: what was copied, from where to where, by which scripts, and how it was proved. See docs/receipt.md.
local fail <const> = require "lib.fail"
local files <const> = require "lunalift.journal"
local json <const> = require "lunalift.json"
local log <const> = require "lunalift.log"
local redact <const> = require "lib.redact"
local script <const> = require "lunalift.script"
local timer <const> = require "lunalift.timer"

local M <const> = {}

local MAX_BYTES <const> = 32 << 10

local function ms(seconds) return math.floor(seconds * 1000 + 0.5) end

local function script_entry(file) return { name = file.name, layer = file.layer, sha256 = file.sha256 } end

-- The flow and the vendor; of the rest, what is not built in.
local function scripts_of(job)
  local entries <const> = json.array {}
  local named <const> = { "flows." .. job.name, job.vendor and "vendors." .. job.vendor }
  for _, name in ipairs(named) do
    local file <const> = script.find(name)
    if file then entries[#entries + 1] = script_entry(file) end
  end
  for _, file in ipairs(script.list "lib") do
    if file.layer ~= "built in" then entries[#entries + 1] = script_entry(file) end
  end
  return entries
end

local function steps_of(job)
  local steps <const> = json.array {}
  for i, step in ipairs(job.steps) do
    steps[i] = {
      title = step.title,
      status = step.status,
      after_ms = ms(step.began_s - job.started_s),
      ms = ms(step.seconds),
      found = step.found,
    }
  end
  return steps
end

local function fields(from, names)
  if not from then return nil end
  local chosen <const> = {}
  for _, name in ipairs(names) do
    chosen[name] = from[name]
  end
  return chosen
end

local function result_of(why, left)
  local items <const> = json.array {}
  for i, item in ipairs(left) do
    items[i] = { about = item.promise.about, why = fail.text(item.why) }
  end
  local status = why and "failed" or "done"
  if why and why.kind == "cancelled" then status = "cancelled" end
  local failure <const> = why and { kind = why.kind, message = fail.text(why), hint = why.hint, step = why.step }
  return { status = status, failure = failure, left = items }
end

local function copy_of(facts)
  if not facts.copy_seconds then return nil end
  local task <const> = facts.task or {}
  return {
    by = facts.copied_by,
    bytes = facts.bytes,
    seen_bytes = facts.seen_bytes ~= facts.bytes and facts.seen_bytes or nil,
    ms = ms(facts.copy_seconds),
    bytes_per_s = math.floor((facts.seen_bytes or facts.bytes) / facts.copy_seconds),
    exit_code = task.exit_code,
    percent = task.percent,
    offloaded = facts.offloaded,
    offload_remark = facts.offload_remark,
    clone_write_ops = task.clone_write_ops,
    failed_clone_ops = task.failed_clone_ops,
  }
end

--- The receipt as data, form v = 1.
---@param job lib.Job
---@param why? Fail how the flow ended; nil: done
---@param left? { promise: lib.Promise, why: Fail }[]
---@return table
function M.build(job, why, left)
  local facts <const> = job.facts
  local vcenter <const>, lun <const> = facts.vcenter, facts.lun
  return redact.value {
    v = 1,
    job = job.id,
    task = job.ledger.task_id,
    started = job.started,
    finished = timer.iso(),
    ms = ms(timer.now() - job.started_s),
    result = result_of(why, left or {}),
    disk = facts.disk and {
      path = facts.disk.path,
      kind = facts.disk.kind,
      bytes = facts.disk.capacity_bytes,
      key = math.tointeger(tonumber(facts.disk.key)),
    },
    vm = facts.vm and { id = facts.vm.ref.id, name = facts.vm.name },
    claim = facts.volume and fields(facts.volume.claim, { "namespace", "name", "uid" }),
    volume = fields(facts.volume, { "name", "handle", "driver" }),
    lun = lun and { id = lun.id, name = lun.name, naa = facts.naa or lun.naa, bytes = lun.size_bytes },
    host = facts.host and { id = facts.host.ref.id, name = facts.host.name },
    copy = copy_of(facts),
    verification = facts.proof,
    effects = job.effects,
    steps = steps_of(job),
    versions = {
      lunalift = job.version,
      wrapper = facts.wrapper,
      vcenter = fields(vcenter, { "name", "version", "build" }),
      array = fields(facts.array, { "vendor", "product", "model", "version" }),
    },
    scripts = scripts_of(job),
  }
end

--- The text, at most 32 KiB: what steps found goes first where it is too much.
---@param receipt table
---@return string
function M.text(receipt)
  local text <const> = json.encode(receipt, { indent = true }) .. "\n"
  if #text <= MAX_BYTES then return text end
  for _, step in ipairs(receipt.steps) do
    step.found = nil
  end
  return json.encode(receipt) .. "\n"
end

--- Raises config or denied where the file that was asked for cannot be: before a copy, not after it.
---@param path string "" or nil: none was asked for
function M.check(path)
  if (path or "") == "" then return end
  local writable <const>, why <const> = files.writable(path)
  if not writable then error(fail.wrap(why, "no receipt can be kept in %s (--receipt)", path)) end
end

-- The file that was asked for, else one beside a journal that is a file.
local function path_of(job)
  local asked <const> = job.request.receipt or ""
  if asked ~= "" then return asked end
  local beside <const> = job.ledger.journal and job.ledger.journal.path
  return beside and beside:gsub("%.json$", "") .. ".receipt.json"
end

local function is_there(path)
  local text <const>, why <const> = files.read(path)
  return text ~= nil or why.kind ~= "not_found"
end

-- A run that came to nothing has nothing to tell that is worth an earlier copy's receipt.
local function is_worth(job, why, has_earlier) return why == nil or job.effects > 0 or not has_earlier end

--- Write the receipt where it is kept: --receipt, beside a journal's file, or with a journal that keeps receipts itself. Never raises:
--- a copy that is done stays done.
---@param job lib.Job
---@param why? Fail
---@param left? table[]
---@return string? where for people
function M.keep(job, why, left)
  if job.dry_run then return nil end
  local path <const>, keeper <const> = path_of(job), job.ledger.journal and job.ledger.journal.keep_receipt
  if not path and not keeper then return nil end
  local where
  local kept <const>, trouble <const> = pcall(function()
    local text <const> = M.text(M.build(job, why, left))
    if path and is_worth(job, why, is_there(path)) then
      assert(files.write(path, text))
      where = path
    end
    if keeper and is_worth(job, why, job.ledger.journal:has_receipt()) and keeper(job.ledger.journal, text) then
      where = where or job.ledger.journal.where
    end
  end)
  if not kept then log.warn("receipt not written", { why = fail.text(trouble) }) end
  return where
end

return M
