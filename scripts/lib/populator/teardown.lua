--- What is done about a prime claim that nobody wants any more: its claim or the resource was deleted, or the copy has failed for good.
--- Nobody may write, and nothing may be mapped, when its volume goes.
local fail <const> = require "lib.fail"
local journal_lease <const> = require "lib.journal_lease"
local json <const> = require "lunalift.json"
local primes <const> = require "lib.populator.prime"
local resources <const> = require "lib.resource"
local targets <const> = require "lib.populator.target"
local telling <const> = require "lib.populator.telling"

local M <const> = {}

local RETRY_S <const> = 30

local get <const> = telling.get

-- Is what it was made for still wanted?
local function is_wanted(self, prime, namespace, name, uid)
  local target <const> = get(self.claim_objects, namespace, name)
  if not target or target.metadata.uid ~= uid or target.metadata.deletionTimestamp then return false, target end
  if prime.metadata.deletionTimestamp then return false, target end
  if primes.is_filled(prime) then return true, target end
  local populator <const> = get(self.populators, namespace, target.spec.dataSourceRef.name)
  if not populator or populator.metadata.deletionTimestamp then return false, target end
  return not targets.has_failed(self, { target = target, populator = populator }), target
end

-- Is there anything left to put back?
local function has_journal(self, uid)
  local lease <const> = get(self.leases, self.options.namespace, journal_lease.name(uid))
  return lease ~= nil and (lease.metadata.annotations or {})[journal_lease.MARK] ~= nil
end

local function put_away(self, prime, uid, name)
  local executor <const> = self.options.executor
  local copying <const> = executor:of(uid)
  if copying and copying.is_running then
    if copying.flow == "populate" then executor:cancel(uid, "the claim is being deleted") end
    return self.look_again_s
  end
  if has_journal(self, uid) then
    local spec <const> = json.decode(prime.metadata.annotations[primes.SPEC])
    local target <const> = { metadata = { name = name, namespace = prime.metadata.namespace, uid = uid } }
    if copying and copying.flow == "settle" then
      telling.say(self, prime, "Warning", "CleanupIncomplete", "%s", fail.text(copying.why))
      executor:forget(uid)
      return RETRY_S
    end
    executor:start(telling.order_of({ target = target, spec = spec }, "settle"), self.options.flows.settle)
    return self.look_again_s
  end
  primes.release(self.claim_objects, prime)
  targets.delete_journal(self, uid)
  executor:forget(uid)
end

--- Look at a prime claim.
---@param self lib.Controller
---@return number? again_s
function M.tend(self, namespace, name)
  local prime <const> = get(self.claim_objects, namespace, name)
  if not prime then return nil end
  local uid <const>, target_name <const> = primes.uid_of(name), prime.metadata.annotations[primes.CLAIM]
  if not target_name then return nil end
  local wanted <const>, target <const> = is_wanted(self, prime, namespace, target_name, uid)
  if wanted or (target and (target.spec.volumeName or "") ~= "" and target.metadata.uid == uid) then
    self.queue:add(resources.key_of(namespace, target_name))
    return nil
  end
  return put_away(self, prime, uid, target_name)
end

return M
