--- A disk copied by a host, which is shown the volume for that: vmkfstools asks the array, and copies by itself what the array refuses.
local array_maps <const> = require "lib.array_maps"
local evidence <const> = require "lib.evidence"
local list <const> = require "lib.list"
local offload <const> = require "lib.offload"
local timer <const> = require "lunalift.timer"
local turns <const> = require "lib.turns"
local words <const> = require "lib.words"

local M <const> = {}

local DISKS <const> = "/vmfs/devices/disks/"

---@class lib.CopyByHost : lib.Copy
---@field naa? string the device on the host, once it is known
---@field task_id? string of the clone, once it is started
---@field ends lib.Ends
---@field facts table of the wrapper's preflight
local Copy <const> = {}
Copy.__index = Copy

---@param job lib.Job
---@param found lib.Found
---@return lib.CopyByHost
function M.new(job, found) return setmetatable({ job = job, found = found }, Copy) end

local function adapters_of(ports)
  return list.map(ports, function(port) return port.adapter end)
end

function Copy:ready()
  local wrapper <const>, initiators <const> = self.found.wrapper, self.found.initiators
  self.job:note { wrapper = wrapper.version, protocol = initiators[1].kind }
  return ("wrapper %s, through %s"):format(wrapper.version, words.list(adapters_of(initiators)))
end

function Copy:go_on(earlier)
  self.task_id, self.naa = earlier.task_id, earlier.naa
end

-- ---- showing ----

local function map(self)
  local job <const>, host <const>, array <const> = self.job, self.found.host, self.found.array
  job:step(("show the volume to %s"):format(host.name))
  local shown <const> = array_maps.show(array, self.found.lun, {
    name = host.peer_name,
    initiators = self.found.initiators,
    ports = host:ports(array.vendor.fabrics),
    before_map = function(through)
      local args <const> = { host = host.ref, adapters = adapters_of(through), naa = self.found.lun.naa }
      job:promise("host.drop_paths", args, "dead paths on " .. host.name)
    end,
  })
  self.naa = shown.lun.naa
  evidence.check_apart(self.found.vm, self.naa)
  job:found(shown.text)
  return shown
end

local function discover(self, shown)
  local job <const>, host <const>, naa <const> = self.job, self.found.host, self.naa
  job:step "let the host discover it"
  if shown.made then
    job:promise("host.detach", { host = host.ref, naa = naa }, ("device %s is on at %s"):format(naa, host.name))
  end
  local within_s <const> = job.request.discover_within_s
  local device <const> = host:discover(shown.lun, { within_s = within_s, adapters = adapters_of(shown.through) })
  host:check_device(device, shown.lun, self.found.disk.capacity_bytes)
  job:found("%s is %s", naa, device.Status)
end

function Copy:show()
  if not self.task_id then discover(self, map(self)) end
end

-- ---- copying ----

function Copy:start()
  local job <const> = self.job
  turns.take_slot(job, self.found.host, self.task_id ~= nil)
  self.ends = {
    source = job.request.vmdk.on_host,
    target = DISKS .. self.naa,
    naa = self.naa,
    bytes = self.found.disk.capacity_bytes,
  }
  self.facts = evidence.before(job, self.found.wrapper, self.ends)
  offload.insist(job, offload.lacking(self.facts))
  if self.task_id then return end
  self.began_s = timer.now()
  self.task_id = self.found.wrapper:start(self.ends.source, self.ends.target)
end

function Copy:states() return self.found.wrapper:follow(self.task_id) end

function Copy:judge()
  self.job:note { naa = self.naa }
  return offload.judge(self.last, self.facts, self.found.host, self.found.way)
end

function Copy:prove()
  local began_s <const> = timer.now()
  local proof <const> = evidence.prove(self.job, self.found.wrapper, self.ends, self.last)
  self.job:note { proof_seconds = timer.now() - began_s }
  return evidence.text(proof)
end

return M
