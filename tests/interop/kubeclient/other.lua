--- The part of the spec that runs in processes of their own: its role is in LUNALIFT_ROLE, what it finds goes to standard output.
local fs <const> = require "lunalift.fs"
local informers <const> = require "lib.informer"
local kube <const> = require "lunalift.kube"
local leadership <const> = require "lib.leadership"
local process <const> = require "lunalift.process"
local resources <const> = require "lib.resource"
local task <const> = require "lunalift.task"
local timer <const> = require "lunalift.timer"

local ROLE <const> = {}

local function memory(what) return tonumber(fs.read("/proc/self/status"):match(what .. ":%s+(%d+) kB")) / 1024 end

-- From here on the peak is counted anew.
local function forget_peak()
  local pid <const> = fs.read("/proc/self/stat"):match "^%d+"
  process.run { argv = { "sh", "-c", "echo 5 >/proc/" .. pid .. "/clear_refs" } }
end

local function say(what, values) print(("%s %s"):format(what, table.concat(values, " "))) end

-- What a controller needs of a claim.
local function project(claim)
  local from <const> = claim.spec.dataSourceRef
  return {
    uid = claim.metadata.uid,
    version = claim.metadata.resourceVersion,
    phase = claim.status and claim.status.phase,
    class = claim.spec.storageClassName,
    source = from and from.name,
  }
end

--- Keep all claims in view, and say what that costs; then how long it takes to hear of so many changes.
function ROLE.view(cluster)
  local changed, heard_s = 0, nil
  local informer <const> = informers.new(resources.new(cluster, "/api/v1", "persistentvolumeclaims"), {
    project = project,
    on_change = function(_, _, old)
      if old then
        changed, heard_s = changed + 1, timer.now()
      end
    end,
  })
  collectgarbage()
  local before <const>, begun_s <const> = memory "VmRSS", timer.now()
  forget_peak()
  local running <const> = task.spawn(informer.run, informer)
  assert.is_true(informer:wait_synced(60))
  local took_s <const>, kept <const> = timer.now() - begun_s, collectgarbage "count" / 1024
  say("LISTED", { informer.count, took_s, before, memory "VmHWM", kept })
  local wanted <const> = tonumber(os.getenv "LUNALIFT_CHANGES")
  while changed < wanted do
    timer.sleep(0.02)
  end
  say("HEARD", { changed, heard_s, memory "VmHWM", informer.lists })
  running:cancel()
end

--- Lead when nobody else does, and say so as long as that is certain.
function ROLE.lead(cluster)
  local me <const> = os.getenv "LUNALIFT_ME"
  while true do
    pcall(leadership.run, cluster, {
      namespace = "move",
      name = "candidates",
      me = me,
      held_s = 3,
      certain_s = 2,
      retry_s = 0.2,
      lead = function(term)
        while true do
          term:check()
          say("BEAT", { me, term.number, timer.now() })
          timer.sleep(0.02)
        end
      end,
    })
    task.check()
  end
end

it("does its part", function() ROLE[os.getenv "LUNALIFT_ROLE"](assert(kube.open {})) end)
