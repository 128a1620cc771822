--- The control door: plain HTTP on a loopback port, for tests. Nothing that is being tested may know it.
local cluster <const> = require "lab.cluster"
local files <const> = require "lab.files"
local fs <const> = require "lunalift.fs"
local json <const> = require "lunalift.json"
local outside <const> = require "lab.outside"
local process <const> = require "lunalift.process"
local server <const> = require "lunalift.server"

---@class lab.control
local M <const> = {}

local function writers_of(host)
  local list <const> = {}
  for _, name in ipairs(fs.list(host.root .. "/var/lab/writers") or {}) do
    local naa <const>, pid <const> = name:match "^(.*)@(%d+)$"
    if naa and fs.stat("/proc/" .. pid) then list[#list + 1] = { naa = naa, pid = math.tointeger(tonumber(pid)) } end
  end
  return json.array(list)
end

local function tasks_of(host)
  local list <const> = {}
  for _, name in ipairs(fs.list(host.root .. "/tmp") or {}) do
    list[#list + 1] = name:match "^vmkfstools%-wrapper%-(.+)$"
  end
  return json.array(list)
end

local function devices_of(host)
  local devices <const> = {}
  for naa, device in pairs(host.devices) do
    devices[naa] = { status = device.status, number = device.number, adapters = json.array(host:live_adapters(naa)) }
  end
  return devices
end

local function host_state(host)
  local detached <const> = {}
  for naa in pairs(host.detached) do
    detached[#detached + 1] = naa
  end
  table.sort(detached)
  return {
    name = host.name,
    moref = host.moref,
    connected = host.connected,
    devices = devices_of(host),
    detached = json.array(detached),
    rescans = host.rescans,
    writers = writers_of(host),
    tasks = tasks_of(host),
  }
end

local function lun_state(site, lun)
  local maps <const> = {}
  for i, map in ipairs(site.fabric:maps_of(lun.naa)) do
    maps[i] = { via = map.via, number = map.number, initiators = json.array(map.initiators) }
  end
  return { naa = lun.naa, path = lun.path, size_bytes = lun.size_bytes, array = lun.array, maps = json.array(maps) }
end

local ROUTES <const> = {}

ROUTES["GET /state"] = function(site)
  local hosts <const>, luns <const> = {}, {}
  for i, host in ipairs(site.hosts) do
    hosts[i] = host_state(host)
  end
  for i, lun in ipairs(site.fabric:list()) do
    luns[i] = lun_state(site, lun)
  end
  return {
    hosts = json.array(hosts),
    luns = json.array(luns),
    sessions = json.array(site.vcenter.sessions:list()),
    [site.scenario.array] = site.array:state(),
    copier = site.copier and site.copier:state() or nil,
  }
end

--- For people: a line for every LUN that somebody may see, but for those that hold datastores.
ROUTES["GET /mapped"] = function(site)
  local has_datastore <const>, lines <const> = {}, {}
  for _, host in ipairs(site.hosts) do
    for _, datastore in ipairs(host.datastores) do
      if datastore.naa then has_datastore[datastore.naa] = true end
    end
  end
  for _, lun in ipairs(site.fabric:list()) do
    for _, map in ipairs(has_datastore[lun.naa] and {} or site.fabric:maps_of(lun.naa)) do
      lines[#lines + 1] = ("%s → %s: %s\n"):format(lun.naa, map.via, table.concat(map.initiators, ", "))
    end
  end
  return #lines > 0 and table.concat(lines) or "nothing\n"
end

ROUTES["GET /requests"] = function(site, request)
  local since <const>, found <const> = tonumber(request.args.since) or 0, {}
  for _, entry in ipairs(site.faults.requests) do
    if entry.n > since and (not request.args.service or request.args.service == entry.service) then
      found[#found + 1] = entry
    end
  end
  return json.array(found)
end

ROUTES["GET /faults"] = function(site) return json.array(site.faults.rules) end

ROUTES["POST /faults"] = function(site, _, body)
  site.faults:set(body or {})
  return { rules = #(body or {}) }
end

--- Be the CSI driver of another cluster: { "kubeconfig": PATH }.
ROUTES["POST /kube/provision"] = function(site, _, body)
  cluster.provision(site, body.kubeconfig)
  return {}
end

ROUTES["POST /sessions/expire"] = function(site) return { ended = site.vcenter.sessions:expire() } end

--- Privileges that the user of vCenter lacks: { "Host.Config.Storage" }.
ROUTES["POST /privileges"] = function(site, _, body)
  site.vcenter.denied = {}
  for _, id in ipairs(body or {}) do
    site.vcenter.denied[id] = true
  end
  return body
end

ROUTES["POST /array/expire"] = function(site)
  if site.array.expire then site.array:expire() end
  return {}
end

--- How the array's own copies go: { rate, hang_at, fail_at }.
ROUTES["POST /copier"] = function(site, _, body)
  site.copier.settings = body or {}
  return site.copier.settings
end

local HOST <const> = {}

--- Settings of the host's vmkfstools, read before every step of a running copy.
function HOST.vmkfstools(site, host, body) return site:set_vmkfstools(host, body) end

--- Cut a host off from its vCenter, or let it return.
function HOST.connected(_, host, body)
  host.connected = body.connected ~= false
  return { connected = host.connected }
end

-- What programs on the host itself tell: VAAI of all devices, its counters of failures, the memory limit of hostd-tmp.
local TOLD <const> = { "clone_status", "failed_clone_ops", "memory_kib" }

--- Maintenance mode, how long discovery takes, dead paths of each device, vendors with claim rules, MTU, the largest frame that
--- arrives, advanced settings, and TOLD:
--- { in_maintenance, discovery_lag_s, dead_paths, claim_rules, settings = { ["Disk.MaxLUN"] = 2 }, clone_status = "unsupported" }.
function HOST.condition(_, host, body)
  if body.in_maintenance ~= nil then host.in_maintenance = body.in_maintenance end
  for _, name in ipairs(TOLD) do
    if body[name] then files.replace(host.root .. "/var/lab/" .. name, body[name] .. "\n") end
  end
  for _, name in ipairs { "clone_status", "discovery_lag_s", "dead_paths", "claim_rules", "mtu", "frame_bytes" } do
    host[name] = body[name] or host[name]
  end
  for name, value in pairs(body.settings or {}) do
    host.options[name] = value
  end
  return { options = host.options }
end

-- What was killed may hold its device for a moment yet.
local REBOOT <const> = [[for pid in $(cat "$0"/tmp/vmkfstools-wrapper-*/pid); do kill -KILL "-$pid"; done
for writer in "$0"/var/lab/writers/*@*; do while [ -e "/proc/${writer##*@}" ]; do sleep 0.05; done; done
rm -rf "$0"/tmp/* "$0"/var/run/*]]

--- Power it off and on: what ran is gone, and with it all that lay in memory.
function HOST.reboot(site, host)
  return { code = process.run({ argv = { site.busybox, "sh", "-c", REBOOT, host.root } }).code }
end

--- The host's devices and programs are those of another machine from now on: { door = URL }.
function HOST.outside(_, host, body)
  host:move_out(outside.new(body.door))
  return body
end

--- SSH: { line = "upstream" }: another line for the key; { renew = true }: another host key; { lockdown = "lockdownNormal" }: as vCenter
--- shows it; { off = true }: nobody listens.
function HOST.ssh(site, host, body)
  if body.line then site.ssh:authorize(host, body.line) end
  host.lockdown = body.lockdown
  if body.renew then
    host.sshd:stop()
    host.sshd:make_host_key()
    host.sshd:start()
  end
  if body.off then host.sshd:stop() end
  return { fingerprint = host.sshd.fingerprint }
end

--- Install another variant of the wrapper.
function HOST.wrapper(site, host, body)
  site:install_wrapper(host, body.variant)
  return { variant = body.variant }
end

local VM <const>, DATASTORE <const> = {}, {}

--- Power as vCenter shows it, without the locks: { power = "poweredOn" }.
function VM.condition(_, vm, body)
  vm.power = body.power or vm.power
  return { power = vm.power }
end

--- What vCenter says of it: { free_bytes = 0, accessible = false }; what is not said goes back to the default.
function DATASTORE.condition(_, datastore, body)
  datastore.free_bytes, datastore.accessible = body.free_bytes, body.accessible
  return body
end

-- "/host/host-21/reboot", by name or moref.
local function object_route(site, request, body)
  local kind <const>, name <const>, action <const> = request.path:match "^/(%w+)/([^/]+)/(%w+)$"
  local doors <const> = { host = HOST, vm = VM, datastore = DATASTORE }
  local act <const> = doors[kind] and doors[kind][action]
  if not act or request.method ~= "POST" then return nil end
  for _, object in ipairs(site[kind .. "s"]) do
    if object.name == name or object.moref == name then return act(site, object, body or {}) end
  end
end

local function answer(status, value)
  if type(value) == "string" then
    return { status = status, headers = { ["Content-Type"] = "text/plain; charset=utf-8" }, body = value }
  end
  return {
    status = status,
    headers = { ["Content-Type"] = "application/json" },
    body = json.encode(value, { indent = true }) .. "\n",
  }
end

local function handle(site, request)
  local body, why
  if request.body ~= "" then
    body, why = json.decode(request.body)
    if body == nil then return answer(400, { error = why and why.message }) end
  end
  local route <const> = ROUTES[request.method .. " " .. request.path]
  local value
  if route then
    value = route(site, request, body)
  else
    value = object_route(site, request, body)
  end
  if value == nil then return answer(404, { error = "no such door" }) end
  return answer(200, value)
end

---@param site lab.Site
---@return Server
function M.listen(site)
  return assert(server.listen { on_request = function(request) return handle(site, request) end })
end

return M
