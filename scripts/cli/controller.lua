--- lunalift controller: fills the claims of a cluster whose data source is a VSphereXcopyVolumePopulator.
local codec <const> = require "lunalift.codec"
local console <const> = require "lunalift.console"
local controllers <const> = require "lib.populator.controller"
local doors <const> = require "lib.populator.door"
local env <const> = require "lunalift.env"
local fail <const> = require "lib.fail"
local flags <const> = require "lib.flags"
local in_process <const> = require "lib.populator.in_process"
local kube <const> = require "lunalift.kube"
local leadership <const> = require "lib.leadership"
local log <const> = require "lunalift.log"
local settings <const> = require "lib.populator.settings"
local task <const> = require "lunalift.task"

local M <const> = {}

local USAGE <const> = [[
usage: lunalift controller [flags]

Fills claims whose dataSourceRef names a VSphereXcopyVolumePopulator, as jobs of this process. It acts in namespaces that are labelled
lunalift.io/populate=true, and for resources that are annotated so. Of several such processes one leads.

]]

local LEASE <const> = "lunalift-controller"

M.FLAGS = {
  { name = "kubeconfig", env = "KUBECONFIG", help = "default: the service account of the pod" },
  { name = "master", help = "address of the Kubernetes API, in place of the kubeconfig's" },
  { name = "namespace", help = "where journals are, and the Lease of who leads; default: this pod's own" },
  {
    name = "secret",
    help = "Secret of that namespace for resources that name none, where its annotation lunalift.io/offered-to names theirs",
  },
  {
    name = "tenant-secrets",
    type = "bool",
    default = true,
    help = "false: take no Secrets of the resources' namespaces, only those that are offered to them",
  },
  {
    name = "executor",
    default = "in-process",
    choices = { "in-process", "pod" },
    help = "where the work is done: in-process; pods are not made yet",
  },
  { name = "jobs", type = "integer", default = 100, help = "copies under way at a time; the others wait in order" },
  { name = "image", help = "of the pods that are made" },
  {
    name = "retry-delay",
    type = "seconds",
    default = 30,
    help = "seconds until the second attempt; twice as long each time",
  },
  {
    name = "look-again",
    type = "seconds",
    default = 15,
    help = "seconds between two looks at what tells nobody when it changes: classes, Secrets, pods",
  },
  {
    name = "http-endpoint",
    default = "off",
    help = "address for /metrics, /healthz and /readyz over TLS, such as :8443",
  },
  { name = "scripts", help = "folder laid over the built-in scripts, file by file" },
  { name = "v", help = "log for debugging, to standard error; a level is taken for klog's sake", type = "level" },
  { name = "help", help = "this text", type = "bool" },
}

table.move(settings.FLAGS, 1, #settings.FLAGS, #M.FLAGS + 1, M.FLAGS)

-- ---- running ----

local function lead(cluster, values, me, door)
  local controller
  local executor <const> = in_process.new {
    open = settings.opener(cluster, values),
    on_change = function(order) controller:on_copy(order) end,
    version = door.version,
    limit = math.max(1, values.jobs),
  }
  controller = controllers.new {
    kube = cluster,
    namespace = values.namespace,
    instance = me,
    executor = executor,
    first_retry_s = values["retry-delay"],
    look_again_s = math.max(0.1, values["look-again"]),
    flows = { populate = require "flows.populate", settle = require "flows.settle" },
  }
  door.by = controller
  local _over <close> = setmetatable({}, { __close = function() door.by = nil end })
  controller:run()
end

local function run(cluster, values, door)
  local host <const> = env.get "HOSTNAME" or "lunalift"
  local me <const> = ("%s_%s"):format(host, codec.uuid())
  while true do
    local _, why <const> = task
      .spawn(leadership.run, cluster, {
        namespace = values.namespace,
        name = LEASE,
        me = me,
        lead = function() lead(cluster, values, me, door) end,
      })
      :wait()
    task.check()
    if not fail.is(why, "conflict") then error(why) end
    log.warn("leads no more", { why = fail.text(why) })
  end
end

local function await_end()
  repeat
  until task.signal() ~= "USR1"
end

-- Copies are let go before another leads, for it to go on with; who sends another signal does not want to wait for that.
local function stop_on_signal(running, door)
  await_end()
  task.spawn(function()
    if door.by then door.by:hand_over() end
    running:cancel "stopped by a signal"
  end)
  await_end()
  running:cancel "stopped by another signal"
end

---@param args string[]
---@return integer exit_code
function M.run(args)
  local values <const>, rest <const> = flags.parse(args, M.FLAGS)
  if values.help then
    console.out(USAGE .. flags.help(M.FLAGS) .. "\n")
    return 0
  end
  if #rest > 0 then fail.advise("config", "give --name=value", "'%s' is no flag", rest[1]) end
  if values.executor == "pod" then
    fail.advise("unsupported", "leave --executor out: copies run in this process", "--executor pod is not built yet")
  end
  local cluster <const>, why <const> = kube.open { kubeconfig = values.kubeconfig, master = values.master }
  if not cluster then error(why) end
  if (values.namespace or "") == "" then values.namespace = cluster.namespace end
  local door <const> = doors.new(require("cli.main").VERSION)
  door:open(values["http-endpoint"])
  local running <const> = task.spawn(run, cluster, values, door)
  task.spawn(stop_on_signal, running, door)
  local _, ended <const> = running:wait()
  if ended and ended.kind ~= "cancelled" then error(ended) end
  return 0
end

return M
