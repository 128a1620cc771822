--- What is done about a claim whose source is ours: a prime claim is made and filled, its volume handed over. Each look begins anew from
--- the objects, does one step, and returns when to look again, unless something tells.
local fail <const> = require "lib.fail"
local journal_lease <const> = require "lib.journal_lease"
local json <const> = require "lunalift.json"
local leases <const> = require "lib.lease"
local primes <const> = require "lib.populator.prime"
local resources <const> = require "lib.resource"
local retry <const> = require "lib.retry"
local task <const> = require "lunalift.task"
local telling <const> = require "lib.populator.telling"
local timer <const> = require "lunalift.timer"

local M <const> = {}

local NODE <const> = "volume.kubernetes.io/selected-node"
local MIGRATED <const> = "pv.kubernetes.io/migrated-to"
local ATTEMPTS <const> = 5
local ROOM_AGAIN_S <const> = 60 -- should nobody call
local LONGEST_RETRY_S <const> = 600
local PROVISION_WITHIN_S <const> = 600

local get <const>, must <const> = telling.get, telling.must
local say <const>, tell <const>, stuck <const> = telling.say, telling.tell, telling.stuck

-- ---- before the copy ----

local function class_of(self, target)
  local name <const> = target.spec.storageClassName
  return name and name ~= "" and get(self.classes, nil, name) or nil, name
end

local function is_in_tree(target, class)
  local is_migrated <const> = (target.metadata.annotations or {})[MIGRATED] ~= nil
  return (class.provisioner or ""):find "^kubernetes%.io/" ~= nil and not is_migrated
end

-- Where no volume can be made yet: says so, and returns when to look again.
local function wait_for_class(self, p)
  local target <const> = p.target
  local class <const>, name <const> = class_of(self, target)
  if not class then return stuck(self, p, "Waiting", "ClassMissing", "there is no storage class '%s'", name or "") end
  if is_in_tree(target, class) then
    return stuck(
      self,
      p,
      "Waiting",
      "ClassUnsupported",
      "class %s is none of a CSI driver: %s",
      name,
      class.provisioner
    )
  end
  local has_node <const> = (target.metadata.annotations or {})[NODE] ~= nil
  if class.volumeBindingMode ~= "WaitForFirstConsumer" or has_node then return nil end
  local message <const> = ("class %s waits for the first pod that uses the claim"):format(name)
  say(self, target, "Normal", "WaitingForConsumer", "%s", message)
  tell(self, p, "Waiting", message, { reason = "WaitingForConsumer" })
  return self.look_again_s
end

-- What the copy is to be made with. Where it has not all it takes, such as its Secret: says so, and returns when to look again.
local function open_copy(self, p)
  local opened <const>, why <const> = self.options.executor:open(telling.order_of(p, "populate"))
  if opened then return opened end
  return nil, telling.refused(self, p, "Waiting", "PopulatorSettings", why)
end

local function wait_for_settings(self, p)
  local _, wait_s <const> = open_copy(self, p)
  return wait_s
end

-- Another controller's pod would write to the same volume.
local function foreign_pod(self, target)
  local name <const> = "populate-" .. target.metadata.uid
  return get(self.pods, target.metadata.namespace, name) and name
end

local function last_trouble_of(self, object)
  local found <const> = self.kube:get(
    self.events.resource:path(
      object.metadata.namespace,
      nil,
      { fieldSelector = "involvedObject.uid=" .. object.metadata.uid .. ",type=Warning" }
    )
  )
  local latest
  for _, event in ipairs(found and found.items or {}) do
    if not latest or (event.lastTimestamp or "") >= (latest.lastTimestamp or "") then latest = event end
  end
  return latest and latest.message
end

local function make_prime(self, p)
  local made <const>, why <const> = self.claim_objects:create(primes.object(p.target, p.spec))
  if made or why.reason == "AlreadyExists" then return nil end
  if retry.is_passing(why) then error(why) end
  return stuck(
    self,
    p,
    "Provisioning",
    "PopulatorPVCCreationError",
    "the claim to fill cannot be made: %s",
    why.message
  )
end

local function wait_for_prime(self, p)
  local trouble <const> = last_trouble_of(self, p.prime)
  local age_s <const> = timer.epoch() - (timer.parse(p.prime.metadata.creationTimestamp) or timer.epoch())
  local message <const> = ("%s is being provisioned%s"):format(p.prime.metadata.name, trouble and ": " .. trouble or "")
  if age_s > PROVISION_WITHIN_S then return stuck(self, p, "Provisioning", "NotProvisioned", "%s", message) end
  if trouble then say(self, p.target, "Warning", "Provisioning", "%s", trouble) end
  tell(self, p, "Provisioning", message, { fields = { primeClaim = p.prime.metadata.name } })
  return self.look_again_s
end

-- ---- the copy ----

local function tell_progress(self, p, copying)
  local progress <const> = copying.progress
  local fields <const> = { taskId = copying.job and copying.job.ledger.task_id, executor = "in-process" }
  if progress then
    fields.progress = tostring(progress.percent)
    fields.copiedBytes, fields.totalBytes = progress.bytes, progress.total_bytes
    if progress.offloaded ~= nil then fields.xcopyUsed = progress.offloaded and "1" or "0" end
  end
  local host <const> = copying.job and copying.job.facts.host
  fields.host = host and host.name
  tell(self, p, copying.phase, copying.message, { fields = fields })
end

-- So far, for the resource as it is now.
local function attempts_of(self, p)
  local status <const> = p.populator.status or {}
  local is_of_now <const> = status.observedGeneration == p.populator.metadata.generation
  return self.attempts[p.target.metadata.uid] or is_of_now and status.attempts or 0
end

local function begin(self, p, where, opened)
  local attempts <const> = attempts_of(self, p) + 1
  self.attempts[p.target.metadata.uid] = attempts
  self.options.executor:start(telling.order_of(p, "populate"), self.options.flows.populate, opened)
  say(self, p.target, "Normal", "PopulatorCreated", "Populator started: attempt %d", attempts)
  tell(self, p, "Mapping", "the copy begins", {
    fields = {
      attempts = attempts,
      startTime = timer.iso(),
      nextAttemptTime = json.null,
      primeClaim = p.prime and p.prime.metadata.name,
      volumeName = where.spec.volumeName,
      claim = { name = p.target.metadata.name, uid = p.target.metadata.uid },
      executor = "in-process",
    },
  })
end

local function text_of(number) return number and ("%d"):format(number) end

-- As upstream has them, numbers as texts, and our own.
local function fields_of_success(copying)
  local facts <const>, job <const> = copying.facts, copying.job
  local disk <const> = facts.disk or {}
  local fields <const> = {
    progress = "100",
    result = "success",
    receipt = copying.receipt,
    copiedBytes = disk.capacity_bytes,
    totalBytes = disk.capacity_bytes,
    provisionedBytes = text_of(disk.capacity_bytes),
    allocatedBytes = text_of(disk.allocated_bytes),
    copyDurationSeconds = facts.copy_seconds and ("%.1f"):format(facts.copy_seconds),
    storageVendor = job and job.vendor,
    cloneMethod = facts.method or job and job.request.method,
    storageProtocol = facts.protocol,
    vibVersion = facts.wrapper,
  }
  if facts.offloaded ~= nil then
    fields.xcopyUsed, fields.offloadedPercent = facts.offloaded and "1" or "0", facts.offloaded and 100 or 0
  end
  return fields
end

-- The copy is done and proved: that is kept with the claim whose volume it is in, before it is forgotten here.
local function note_filled(self, p, claim, copying)
  local meta <const> = claim.metadata
  must(
    self.claim_objects:patch(
      meta.namespace,
      meta.name,
      { metadata = { annotations = { [primes.FILLED] = timer.iso() } } }
    )
  )
  tell(self, p, "Rebinding", "the copy is done and proved", { fields = fields_of_success(copying) })
  self.options.executor:forget(p.target.metadata.uid)
  self.ended.success = self.ended.success + 1
end

local function is_worth_another_try(why)
  return retry.is_passing(why) or why.kind == "incomplete" or why.kind == "cancelled"
end

local function retry_s(self, attempts) return math.min(self.options.first_retry_s * 2 ^ (attempts - 1), LONGEST_RETRY_S) end

local function note_failed(self, p, copying)
  local uid <const>, why <const> = p.target.metadata.uid, copying.why
  local attempts <const> = attempts_of(self, p)
  local fields <const> = { receipt = copying.receipt, result = "failure" }
  local left <const> = copying.left[1]
  if not is_worth_another_try(why) and #copying.left == 0 or attempts >= ATTEMPTS then
    say(self, p.target, "Warning", "PopulatorFailed", "%s", fail.text(why))
    fields.completionTime = timer.iso()
    tell(self, p, "Failed", fail.text(why), { reason = "CopyFailed", hint = why.hint, left = left, fields = fields })
    self.failed[uid] = p.populator.metadata.generation
    self.ended.failure = self.ended.failure + 1
    self.queue:add(resources.key_of(p.target.metadata.namespace, primes.name(uid))) -- is wanted no more
    return nil
  end
  local wait_s <const> = retry_s(self, attempts)
  self.ended.retry = self.ended.retry + 1
  fields.nextAttemptTime = timer.iso(timer.epoch() + wait_s)
  say(self, p.target, "Warning", "PopulatorRetrying", "attempt %d: %s", attempts, fail.text(why))
  tell(self, p, "Retrying", fail.text(why), { reason = "CopyFailed", hint = why.hint, left = left, fields = fields })
  self.retry_at_s[uid] = timer.now() + wait_s
  self.options.executor:forget(uid)
  return wait_s
end

-- In the order in which they came: each copy that ends calls the next.
local function wait_for_room(self, p)
  local key <const> = resources.key(p.target)
  if not self.is_waiting[key] then
    self.is_waiting[key] = true
    table.insert(self.waiting, key)
  end
  tell(self, p, "Queued", "waits for one of the copies under way to end")
  return ROOM_AGAIN_S
end

-- `claim` is the one whose volume is filled: the prime, or the target itself.
local function fill(self, p, claim)
  local uid <const> = p.target.metadata.uid
  local copying <const> = self.options.executor:of(uid)
  if copying and copying.is_running then return tell_progress(self, p, copying) end
  if copying and copying.flow == "populate" then
    if not copying.why and #copying.left == 0 then
      note_filled(self, p, claim, copying)
      return 0
    end
    copying.why = copying.why or fail.new("incomplete", "not everything could be put back: %s", copying.left[1])
    return self.failed[uid] == nil and note_failed(self, p, copying) or nil
  end
  local wait_s <const> = (self.retry_at_s[uid] or 0) - timer.now()
  if wait_s > 0 then return wait_s end
  if self.options.executor:is_full() then return wait_for_room(self, p) end
  local opened <const>, lacking_s <const> = open_copy(self, p)
  if not opened then return lacking_s end
  begin(self, p, claim, opened)
end

-- ---- after the copy ----

local function forget(self, uid)
  self.options.executor:forget(uid)
  self.attempts[uid], self.retry_at_s[uid], self.failed[uid], self.begun_anew[uid] = nil, nil, nil, nil
end

--- Nothing is left to be put back of that claim.
function M.delete_journal(self, uid)
  local _, why <const> = self.kube:delete(leases.path(self.options.namespace, journal_lease.name(uid)))
  if why and why.status ~= 404 then error(why) end
end

local function hand_over(self, p)
  local volume <const> = get(self.volumes, nil, p.prime.spec.volumeName)
  if not volume then return self.look_again_s end
  if not primes.is_claimed_by(volume, p.target) then
    local ok <const>, why <const> = pcall(primes.rebind, self.volumes, volume, p.prime, p.target)
    task.check()
    if not ok then
      if not fail.is(why, "conflict") or why.status == 409 then error(why) end
      return stuck(self, p, "Rebinding", "VolumeTaken", "%s", why.message)
    end
  end
  tell(self, p, "Rebinding", ("volume %s is the claim's; it is being bound"):format(volume.metadata.name))
  return self.look_again_s
end

local function succeed(self, p)
  local uid <const> = p.target.metadata.uid
  local is_told <const> = (p.populator.status or {}).phase == "Succeeded"
  forget(self, uid)
  M.delete_journal(self, uid)
  if is_told then return end
  say(self, p.target, "Normal", "PopulatorFinished", "Populator finished")
  tell(self, p, "Succeeded", "the claim holds the disk", {
    fields = {
      completionTime = timer.iso(),
      volumeName = p.target.spec.volumeName,
      result = "success",
      progress = "100",
    },
  })
end

-- The prime is deleted when its volume is certainly the other's: only then does its end cost nothing.
local function clean_up(self, p)
  local volume <const> = get(self.volumes, nil, p.target.spec.volumeName)
  local is_over <const> = volume and primes.is_claimed_by(volume, p.target) and p.prime.status.phase == "Lost"
  if not is_over then return self.look_again_s end
  tell(self, p, "CleaningUp", "the claim is bound")
  primes.release(self.claim_objects, p.prime)
  return 1
end

-- ---- in place ----

local function who_mounts(self, target)
  local pods <const> = must(self.kube:get(self.pods:path(target.metadata.namespace)))
  for _, pod in ipairs(pods.items) do
    local phase <const> = (pod.status or {}).phase
    for _, volume in ipairs(phase ~= "Succeeded" and phase ~= "Failed" and pod.spec.volumes or {}) do
      local by <const> = volume.persistentVolumeClaim
      if by and by.claimName == target.metadata.name then return pod.metadata.name end
    end
  end
end

local function fill_in_place(self, p)
  local target <const>, meta <const> = p.target, p.target.metadata
  if primes.is_filled(target) then return succeed(self, p) end
  if (target.status or {}).phase ~= "Bound" then
    tell(self, p, "Waiting", ("the claim is not bound to volume %s yet"):format(target.spec.volumeName))
    return nil
  end
  local copying <const> = self.options.executor:of(meta.uid)
  local pod <const> = not copying and who_mounts(self, target)
  if pod then
    return stuck(self, p, "Waiting", "ClaimInUse", "pod %s uses the claim: it is filled once nothing does", pod)
  end
  return fill(self, p, target)
end

-- ---- all of it ----

--- A copy that has failed for good is begun anew when the resource was changed.
---@param p lib.Population
---@return boolean
function M.has_failed(self, p)
  local status <const>, uid <const> = p.populator.status or {}, p.target.metadata.uid
  local failed <const>, now <const> =
    self.failed[uid] or status.phase == "Failed" and status.observedGeneration, p.populator.metadata.generation
  if not failed or self.begun_anew[uid] == now and self.failed[uid] == nil then return false end
  if failed == now then return true end
  forget(self, uid)
  self.attempts[uid], self.begun_anew[uid] = 0, now -- the status that we read may be the old one for a while
  return false
end

local function is_opted_in(self, p)
  local mark <const> = (p.populator.metadata.annotations or {})[self.OPT_IN]
  if mark then return mark == "true" end
  return self.namespaces:get(p.target.metadata.namespace) == true
end

local function tend_unbound(self, p)
  local pod <const> = foreign_pod(self, p.target)
  if pod then
    return stuck(self, p, "Waiting", "AnotherController", "pod %s of another controller fills this claim", pod)
  end
  if p.prime and primes.is_filled(p.prime) then return hand_over(self, p) end
  if M.has_failed(self, p) then return nil end
  if not p.prime then return wait_for_class(self, p) or wait_for_settings(self, p) or make_prime(self, p) end
  if p.prime.metadata.deletionTimestamp then return nil end -- it is put away first
  if (p.prime.status or {}).phase ~= "Bound" then return wait_for_prime(self, p) end
  return fill(self, p, p.prime)
end

-- A status tells of one claim, and a resource is the source of one.
local function owner_of(self, p)
  local claim <const> = (p.populator.status or {}).claim
  if not claim or claim.uid == p.target.metadata.uid then return nil end
  local other <const> = get(self.claim_objects, p.target.metadata.namespace, claim.name)
  return other and other.metadata.uid == claim.uid and claim.name
end

--- Look at a claim, and do what is next.
---@param self lib.Controller
---@return number? again_s
function M.tend(self, namespace, name)
  local target <const> = get(self.claim_objects, namespace, name)
  if not target or target.metadata.deletionTimestamp or not self.is_ours(target.spec.dataSourceRef) then return nil end
  local from <const> = target.spec.dataSourceRef
  if from.namespace and from.namespace ~= namespace then
    say(self, target, "Warning", "PopulatorCrossNamespace", "a resource of another namespace cannot be its source")
    return nil
  end
  local populator <const> = get(self.populators, namespace, from.name)
  if not populator then
    say(self, target, "Warning", "PopulatorDataSourceNotFound", "there is no %s '%s' yet", self.KIND, from.name)
    return nil
  end
  if populator.metadata.deletionTimestamp then return nil end
  local p <const> = { target = target, populator = populator, spec = populator.spec }
  if not is_opted_in(self, p) then return nil end
  local named <const>, owner <const> = p.spec.targetPVC or "", owner_of(self, p)
  if owner or named ~= "" and named ~= name then
    local text <const> = "%s '%s' is the source of claim %s: give each claim one of its own"
    say(self, target, "Warning", "PopulatorOfAnother", text, self.KIND, from.name, owner or named)
    return nil
  end
  p.prime = get(self.claim_objects, namespace, primes.name(target.metadata.uid))
  if (target.spec.volumeName or "") == "" then return tend_unbound(self, p) end
  if p.prime then return clean_up(self, p) end
  if p.spec.targetPVC == name then return fill_in_place(self, p) end
  local is_told <const> = (populator.status or {}).claim
  if is_told and is_told.uid == target.metadata.uid then return succeed(self, p) end
end

return M
