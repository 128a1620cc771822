--- What a copy tells whoever scrapes it: upstream's metrics, as forklift's controller reads them, and our own beside. See docs/metrics.md.
local redact <const> = require "lib.redact"
local timer <const> = require "lunalift.timer"

local M <const> = {}

M.CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

local UPSTREAM <const> = "vsphere_xcopy_volume_populator_"
local UNKNOWN <const> = "n/a"

---@class lib.Metric
---@field name string
---@field kind "gauge"|"counter"
---@field help string
---@field labels table<string, string>
---@field value number

-- ---- the text form ----

local ESCAPES <const> = { ["\\"] = "\\\\", ['"'] = '\\"', ["\n"] = "\\n" }

-- In alphabetical order, which forklift's patterns rely on.
local function labels_text(labels)
  local parts <const> = {}
  for name, value in pairs(labels) do
    parts[#parts + 1] = ('%s="%s"'):format(name, redact.value(value):gsub('[\\"\n]', ESCAPES))
  end
  table.sort(parts)
  return #parts > 0 and ("{%s}"):format(table.concat(parts, ",")) or ""
end

-- Never with an exponent, which forklift's patterns do not know.
local function number_text(value)
  local whole <const> = math.tointeger(value)
  return whole and ("%d"):format(whole) or ("%.3f"):format(value)
end

--- Prometheus' text form. Metrics of one name stand together.
---@param metrics lib.Metric[]
---@return string
function M.text(metrics)
  local lines <const> = {}
  local last
  for _, metric in ipairs(metrics) do
    if metric.name ~= last then
      lines[#lines + 1] = ("# HELP %s %s"):format(metric.name, metric.help)
      lines[#lines + 1] = ("# TYPE %s %s"):format(metric.name, metric.kind)
      last = metric.name
    end
    lines[#lines + 1] = metric.name .. labels_text(metric.labels) .. " " .. number_text(metric.value)
  end
  return table.concat(lines, "\n") .. "\n"
end

-- ---- of a job ----

local PROTOCOLS <const> = { iscsi = "iscsi", fc = "fc" }

local function flag(value) return value and 1 or 0 end

local function text(value) return value and value ~= "" and value or UNKNOWN end

-- Labels that several metrics share; what is not known yet says so.
local function identity(job)
  local facts <const> = job.facts
  return {
    owner_uid = job.request.claim_uid or facts.volume and facts.volume.claim.uid or "",
    storage_vendor = job.vendor,
    clone_method = facts.method or job.request.method,
    storage_protocol = PROTOCOLS[facts.protocol] or UNKNOWN,
  }
end

-- nil while nobody can tell.
local function offloaded(job)
  if job.facts.offloaded ~= nil then return job.facts.offloaded end
  return job.latest and job.latest.offloaded
end

---@param add fun(name: string, kind: string, help: string, value: number, labels: table)
local function add_upstream(add, job, outcome)
  local facts <const>, id <const> = job.facts, identity(job)
  local owner <const> = { owner_uid = id.owner_uid }
  local percent <const> = outcome and outcome.ok and 100 or job.percent
  local used <const> = offloaded(job)

  add("progress", "counter", "Share of the disk that is copied, in percent.", percent, owner)
  if used ~= nil then
    local labels <const> =
      { owner_uid = id.owner_uid, storage_vendor = id.storage_vendor, clone_method = id.clone_method }
    add("xcopy_used", "gauge", "Did the array move data (1) or the host (0)? Absent while unknown.", flag(used), labels)
  end
  if id.clone_method == "vib" and facts.wrapper then
    local labels <const> = { owner_uid = id.owner_uid, version = facts.wrapper }
    add("vib_version", "gauge", "Version of the wrapper on the host.", 1, labels)
  end
  if facts.array then
    add("storage_array_info", "gauge", "The storage array.", 1, {
      storage_vendor = id.storage_vendor,
      storage_array_vendor = text(facts.array.vendor),
      storage_array_product = text(facts.array.product),
      storage_array_model = text(facts.array.model),
      storage_array_version = text(facts.array.version),
    })
  end
  if not outcome then return end

  local function add_bytes(type, bytes)
    if (bytes or 0) == 0 then return end
    local labels <const> = { type = type }
    for name, value in pairs(id) do
      labels[name] = value
    end
    add("source_disk_bytes", "gauge", "Size of the source disk.", bytes, labels)
  end
  if outcome.ok and facts.disk then
    add_bytes("datastore_allocated", facts.disk.allocated_bytes)
    add_bytes("provisioned", facts.disk.capacity_bytes)
  end
  id.result = outcome.ok and "success" or "failure"
  id.xcopy_used = used and "1" or "0" -- no third value is known there
  add("copy_duration_seconds", "gauge", "Time from start to end; there once it has ended.", outcome.seconds, id)
end

local function add_own(add, job, outcome)
  local used <const> = offloaded(job)
  add("build_info", "gauge", "What serves this.", 1, { version = job.version })
  add("running_seconds", "gauge", "Time since the start.", timer.now() - job.started_s)
  add("effects_total", "counter", "Changes made so far, repeated ones too.", job.effects)
  add("open_promises", "gauge", "Changes that are to be undone yet.", #job.ledger.promises)
  local known <const> = used == nil and "unknown" or used and "yes" or "no"
  add("offload", "gauge", "Who moves the data: the array (yes) or the host (no)?", 1, { offloaded = known })
  if job.current then add("step", "gauge", "What is being done now.", 1, { step = job.current.title }) end
  if not outcome then return end
  local proof <const> = job.facts.proof
  add(
    "verified_bytes",
    "gauge",
    "Bytes of both ends that were compared and are equal.",
    proof and proof.equal and proof.bytes or 0
  )
  add("left_behind", "gauge", "Changes that could not be undone.", outcome.left)
  add("exit_code", "gauge", "What this process ends with.", outcome.code)
end

---@class lib.Outcome
---@field ok boolean
---@field seconds number from start to end
---@field left integer how many changes could not be undone
---@field code integer exit code

--- What the job tells now; upstream's first.
---@param job lib.Job
---@param outcome? lib.Outcome once it has ended
---@return lib.Metric[]
function M.of(job, outcome)
  local metrics <const> = {}
  local function adder(prefix)
    return function(name, kind, help, value, labels)
      metrics[#metrics + 1] = { name = prefix .. name, kind = kind, help = help, value = value, labels = labels or {} }
    end
  end
  add_upstream(adder(UPSTREAM), job, outcome)
  add_own(adder "lunalift_", job, outcome)
  return metrics
end

return M
