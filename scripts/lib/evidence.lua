--- Evidence of a copy: what must hold before a writer starts, and what proves afterwards that the bytes are there.
local codec <const> = require "lunalift.codec"
local fail <const> = require "lib.fail"
local hints <const> = require "lib.hints"
local words <const> = require "lib.words"

local M <const> = {}

local MIB <const> = 1 << 20
local SAMPLE_BYTES <const> = MIB
local SAMPLES <const> = 64
local FULL_BYTES <const> = 16 * MIB
-- What the wrapper takes in one call.
local CALL_EXTENTS <const> = 64
local CALL_BYTES <const> = 256 * MIB
local SAY_EVERY_PERCENT <const> = 5

local USABLE <const> = { on = true, degraded = true }

---@class lib.Ends
---@field source string /vmfs/volumes/…
---@field target string /vmfs/devices/disks/…
---@field naa string of the target
---@field bytes integer of the disk

---@class lib.Extent
---@field offset integer in bytes of the disk
---@field length integer

---@class lib.Proof
---@field mode "none"|"sampled"|"full" what was asked for
---@field verified boolean
---@field reason? string why nothing was compared
---@field algorithm? string
---@field seed? string of the sampled choice
---@field extents integer how many were compared
---@field bytes integer how many were compared, on each side
---@field equal? boolean
---@field first_difference? integer offset of the first extent that differs

-- ---- before the writer ----

local function bare(name) return (name:lower():gsub("^naa%.", "")) end

--- The target must not hold a datastore of the VM: the copy would overwrite its own source.
---@param vm lib.Vm
---@param naa? string nil while the array cannot tell it
function M.check_apart(vm, naa)
  if not naa then return end
  for _, datastore in pairs(vm.datastores) do
    for _, extent in ipairs(datastore.extents) do
      if bare(extent) == bare(naa) then
        hints.raise("volume holds datastore", { naa = naa, datastore = datastore.name, vm = vm.name })
      end
    end
  end
end

--- The volume must hold the disk.
---@param lun lib.Lun
---@param disk lib.Disk
function M.check_room(lun, disk)
  if lun.size_bytes >= disk.capacity_bytes then return end
  hints.raise("volume too small", { lun = lun.name, has = lun.size_bytes, needs = disk.capacity_bytes })
end

--- The host sees the disk, as large as vCenter tells.
---@param facts table of the wrapper's preflight
---@param source string /vmfs/volumes/…
---@param bytes integer of the disk
function M.check_source(facts, source, bytes)
  if facts.sourceExists == false then hints.raise("disk not on host", { path = source }) end
  if facts.sourceBytes and facts.sourceBytes ~= bytes then
    hints.raise("disk changed", { path = source, has = facts.sourceBytes, told = bytes })
  end
end

local function check_target(facts, ends)
  if facts.deviceExists == false then
    local why <const> = fail.new("not_found", "the host cannot open %s", ends.target)
    error(
      fail.hint(why, "if the host has another device of the same identity, give the volume a serial number of its own")
    )
  end
  if facts.deviceStatus and not USABLE[facts.deviceStatus] then
    local why <const> = fail.new("failed", "%s is %s, not on", ends.naa, facts.deviceStatus)
    error(fail.hint(why, "check the paths from the host to the array"))
  end
  if facts.deviceBytes and facts.deviceBytes < ends.bytes then
    local why <const> = fail.new("no_space", "%s has %d bytes, the disk %d", ends.naa, facts.deviceBytes, ends.bytes)
    error(fail.hint(why, "make the claim at least %d bytes large", ends.bytes))
  end
end

-- Ours is known by its id: it is adopted, not fought.
local function check_writers(job, clones, ends)
  for _, task in ipairs(clones:tasks()) do
    local is_there <const> = task.state == "running" and task.target:match "[^/]*$" == ends.naa
    if is_there and task.taskId ~= job.ledger.task_id then
      hints.raise("device has a writer", { task = task.taskId, naa = ends.naa })
    end
  end
end

--- What the host itself says of both ends, checked. A dry run looks at the source alone, since the target is not shown to the host.
---@param job lib.Job
---@param clones lib.Clones
---@param ends lib.Ends
---@return table facts of the wrapper's preflight; {} where it has none
function M.before(job, clones, ends)
  local facts <const> = clones:preflight(ends.source, not job.dry_run and ends.target or nil) or {}
  M.check_source(facts, ends.source, ends.bytes)
  if job.dry_run then return facts end
  check_target(facts, ends)
  if clones:offers "taskList" then check_writers(job, clones, ends) end
  return facts
end

-- ---- extents ----

-- A whole number from 0 to n - 1 that follows from the seed: the first 12 hex digits of SHA-256 of "seed:i", modulo n.
local function pick(seed, i, n)
  return math.tointeger(tonumber(codec.sha256(("%s:%d"):format(seed, i)):sub(1, 12), 16)) % n
end

local function blocks_of(bytes, size)
  local blocks <const> = {}
  for offset = 0, bytes - 1, size do
    blocks[#blocks + 1] = { offset = offset, length = math.min(size, bytes - offset) }
  end
  return blocks
end

--- First and last MiB, and one of each of 62 equal stretches between; all of a disk of 64 MiB or less.
---@param bytes integer
---@param seed string
---@return lib.Extent[]
function M.sampled(bytes, seed)
  local count <const> = (bytes + SAMPLE_BYTES - 1) // SAMPLE_BYTES
  if count <= SAMPLES then return blocks_of(bytes, SAMPLE_BYTES) end
  local extents <const> = { { offset = 0, length = SAMPLE_BYTES } }
  local between <const>, stretches <const> = count - 2, SAMPLES - 2
  for i = 1, stretches do
    local first <const> = 1 + (i - 1) * between // stretches
    local past <const> = 1 + i * between // stretches
    extents[#extents + 1] = { offset = (first + pick(seed, i, past - first)) * SAMPLE_BYTES, length = SAMPLE_BYTES }
  end
  local last <const> = (count - 1) * SAMPLE_BYTES
  extents[#extents + 1] = { offset = last, length = bytes - last }
  return extents
end

---@param bytes integer
---@return lib.Extent[]
function M.full(bytes) return blocks_of(bytes, FULL_BYTES) end

-- As many as one call takes, from the extent at `from`.
local function batch(extents, from)
  local list <const>, bytes = {}, 0
  for i = from, #extents do
    local length <const> = extents[i].length
    if #list == CALL_EXTENTS or bytes + length > CALL_BYTES then break end
    list[#list + 1], bytes = extents[i], bytes + length
  end
  return list, bytes
end

-- ---- after the writer ----

local function check_digests(found, count)
  local function is_whole(list)
    if type(list) ~= "table" or #list ~= count then return false end
    for _, digest in ipairs(list) do
      if type(digest) ~= "string" or #digest ~= 64 or digest:find "%X" then return false end
    end
    return true
  end
  if found.algorithm == "sha256" and is_whole(found.source) and is_whole(found.target) then return end
  fail.raise("protocol", "the host's wrapper did not answer with two SHA-256 digests for each of %d extents", count)
end

local function differs(proof, naa, extent)
  proof.equal, proof.first_difference = false, extent.offset
  hints.raise("copy differs", { naa = naa, length = words.size(extent.length), offset = extent.offset })
end

-- A delta of a snapshot, or a vSAN or vVol object: there is no file of plain bytes that the host could read.
local function is_unreadable(why) return fail.is(why, "failed") and why.message:find "^not one plain extent" ~= nil end

local function compare(job, clones, ends, proof, extents)
  local next, said = 1, 0
  while next <= #extents do
    local list <const>, bytes <const> = batch(extents, next)
    local read <const>, found <const> = pcall(clones.digests, clones, ends.source, ends.target, list)
    if not read and is_unreadable(found) then
      proof.seed = nil
      proof.reason = "the host cannot read this disk as one file (a snapshot, vSAN or vVol)"
      return
    end
    if not read then error(found) end
    check_digests(found, #list)
    proof.algorithm = found.algorithm
    for i, extent in ipairs(list) do
      if found.source[i]:lower() ~= found.target[i]:lower() then differs(proof, ends.naa, extent) end
      proof.extents, proof.bytes = proof.extents + 1, proof.bytes + extent.length
    end
    next = next + #list
    local percent <const> = (next - 1) * 100 // #extents
    if bytes < CALL_BYTES or percent - said >= SAY_EVERY_PERCENT then
      said = percent
      job:waiting("%d %% compared, all equal", percent)
    end
  end
  proof.verified, proof.equal = true, true
end

local function obstacle(clones, mode)
  if mode == "none" then return "as asked" end
  if not clones:offers "digest" then return "this host's wrapper cannot read back" end
end

-- An exit code of 0 alone is no evidence: vmkfstools has been seen to end so without having copied.
local function check_end(last, proof)
  if last.state and last.state ~= "done" then
    fail.raise("failed", "the clone's exit code is 0, yet its host calls it %s", last.state)
  end
  if proof.verified or last.percent == 100 then return end
  hints.raise("no evidence", { percent = last.percent })
end

--- Compare both ends as far as was asked for and can be done. Raises when they differ, or when nothing shows that the copy is whole.
---@param job lib.Job
---@param clones lib.Clones
---@param ends lib.Ends
---@param last lib.CloneProgress how the clone ended
---@return lib.Proof
function M.prove(job, clones, ends, last)
  local mode <const> = job.request.verify or "sampled"
  local proof <const> = { mode = mode, verified = false, extents = 0, bytes = 0 }
  job:note { proof = proof }
  proof.reason = job.dry_run and "dry run" or obstacle(clones, mode)
  if not proof.reason then
    if mode == "sampled" then proof.seed = job.id end
    compare(job, clones, ends, proof, mode == "full" and M.full(ends.bytes) or M.sampled(ends.bytes, proof.seed))
  end
  if not job.dry_run then check_end(last, proof) end
  return proof
end

--- Of a copy that the array made by itself there is its word; no host sees both ends.
---@param job lib.Job
---@param last lib.CloneProgress
---@return lib.Proof
function M.of_array(job, last)
  local proof <const> = { mode = job.request.verify or "sampled", verified = false, extents = 0, bytes = 0 }
  proof.reason = job.dry_run and "dry run" or "the array copied by itself, and says done"
  job:note { proof = proof }
  if not job.dry_run then check_end(last, proof) end
  return proof
end

--- For the step's line.
---@param proof lib.Proof
---@return string
function M.text(proof)
  if not proof.verified then return "not verified: " .. proof.reason end
  return ("%d extents, %s, equal on both ends (%s)"):format(proof.extents, words.size(proof.bytes), proof.mode)
end

return M
