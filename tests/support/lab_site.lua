--- A lab in a process of its own, and commands run against it, for tests of whole runs.
local fs <const> = require "lunalift.fs"
local http <const> = require "lunalift.http"
local json <const> = require "lunalift.json"
local process <const> = require "lunalift.process"
local timer <const> = require "lunalift.timer"

local M <const> = {}

---@class LabSite
---@field dir string
---@field site table site.json
---@field control table HTTP client of the control door
local LabSite <const> = {}
LabSite.__index = LabSite

function M.wait_until(within_s, holds)
  local deadline <const> = timer.now() + within_s
  while timer.now() < deadline do
    local value <const> = holds()
    if value then return value end
    timer.sleep(0.05)
  end
  error("not within " .. within_s .. " s")
end

---@param scenario? table laid on the built-in one
---@return LabSite
function M.start(scenario)
  local dir <const> = process.run({ argv = { "mktemp", "-d" } }).out:match "%S+"
  local self <const> = setmetatable({ dir = dir }, LabSite)
  local argv <const> = { os.getenv "LUNALIFT_BIN", "lab", "--dir", dir .. "/site" }
  if scenario then
    assert(fs.write(dir .. "/scenario.json", json.encode(scenario)))
    argv[5], argv[6] = "--scenario", dir .. "/scenario.json"
  end
  self.lab = assert(process.start { argv = argv })
  local text <const> = M.wait_until(60, function() return fs.read(dir .. "/site/site.json") end)
  self.site = assert(json.decode(text))
  self.control = http.client { base = self.site.control.url }
  return self
end

function LabSite:stop()
  self.lab:kill "TERM"
  self.lab:wait()
  process.run { argv = { "rm", "-rf", self.dir } }
end

--- The environment that every command needs; LUNALIFT_… twins and others may be laid over it.
function LabSite:env(more)
  local site <const> = self.site
  local array <const> = site.arrays[1]
  local env <const> = {
    PATH = os.getenv "PATH",
    LUNALIFT_CA_FILE = site.ca_file,
    XDG_STATE_HOME = self.dir .. "/state",
    GOVMOMI_HOSTNAME = site.vcenter.host,
    GOVMOMI_USERNAME = site.vcenter.username,
    GOVMOMI_PASSWORD = site.vcenter.password,
    STORAGE_VENDOR = array.product,
    STORAGE_HOSTNAME = array.host,
    STORAGE_USERNAME = array.username,
    STORAGE_PASSWORD = array.password,
    ONTAP_SVM = array.svm,
    KUBECONFIG = site.kube.kubeconfig,
  }
  for name, value in pairs(more or {}) do
    env[name] = value
  end
  return env
end

local function vm_of(site, pvc)
  for _, vm in ipairs(site.vms) do
    for _, disk in ipairs(vm.disks) do
      if disk.vmdk == pvc.vmdk then return vm, disk end
    end
  end
end

--- Start populate for a claim.
---@param pvc table of site.json
---@param flags? string[]
---@param env? table
---@return Process
function LabSite:populate(pvc, flags, env)
  local argv <const> = {
    os.getenv "LUNALIFT_BIN",
    "populate",
    "--source-vm-id=" .. vm_of(self.site, pvc).moref,
    "--source-vmdk=" .. pvc.vmdk,
    "--owner-name=" .. pvc.name,
    "--target-namespace=" .. pvc.namespace,
  }
  table.move(flags or {}, 1, #(flags or {}), #argv + 1, argv)
  return assert(process.start { argv = argv, env = self:env(env) })
end

--- Run another command to its end.
---@return ProcessEnd
function LabSite:run(args, env)
  local argv <const> = table.move(args, 1, #args, 2, { os.getenv "LUNALIFT_BIN" })
  return assert(process.run { argv = argv, env = self:env(env) })
end

function LabSite:state() return assert(self.control:get "/state").json end

function LabSite:host_state(moref)
  for _, host in ipairs(self:state().hosts) do
    if host.moref == moref then return host end
  end
end

--- Settings of a host's vmkfstools: bytes a second, …
function LabSite:vmkfstools(moref, settings)
  assert(self.control:post("/host/" .. moref .. "/vmkfstools", { json = settings }))
end

function LabSite:wait_for_writer(moref)
  M.wait_until(30, function() return #self:host_state(moref).writers > 0 end)
end

function LabSite:wait_for_no_writer(moref)
  M.wait_until(60, function() return #self:host_state(moref).writers == 0 end)
end

--- Do claim and disk hold the same bytes?
function LabSite:is_copied(pvc)
  local _vm <const>, disk <const> = vm_of(self.site, pvc)
  return assert(process.run { argv = { "cmp", disk.flat_path, pvc.lun_path } }).code == 0
end

--- Give a claim's LUN other bytes again.
function LabSite:spoil(pvc) assert(fs.fill(pvc.lun_path, { size = pvc.size_bytes, seed = 9 })) end

--- What the run left on array, hosts and their datastores; "" for nothing.
function LabSite:leftovers(pvc)
  local state <const>, found <const> = self:state(), {}
  local function add(fmt, ...) found[#found + 1] = fmt:format(...) end
  for _, lun in ipairs(state.luns) do
    if lun.naa == pvc.naa and #lun.maps > 0 then add "LUN mapped" end
  end
  for _, igroup in ipairs(state.ontap.igroups) do
    if igroup.name:find "^xcopy" then add("igroup %s", igroup.name) end
  end
  for _, host in ipairs(state.hosts) do
    if host.devices[pvc.naa] then add("device %s on %s", host.devices[pvc.naa].status, host.name) end
    if #host.detached > 0 then add("detached on %s", host.name) end
    if #host.tasks > 0 then add("task on %s", host.name) end
    if #host.writers > 0 then add("writer on %s", host.name) end
  end
  local files <const> = process.run({ argv = { "find", self.dir .. "/site/datastores", "-name", "*rdmdisk*" } }).out
  if files ~= "" then add("files %s", files) end
  return table.concat(found, "; ")
end

--- Remove by hand what clone tasks left on hosts and datastores.
function LabSite:forget_tasks()
  local command <const> = "rm -rf hosts/*/tmp/vmkfstools-wrapper-*; find datastores -name '*rdmdisk*' -delete"
  assert(process.run { argv = { "sh", "-c", command }, cwd = self.dir .. "/site" })
end

--- How often a request of the lab's log matches.
function LabSite:count_requests(service, pattern)
  local n = 0
  for _, entry in ipairs(assert(self.control:get("/requests", { query = { service = service } })).json) do
    if json.encode(entry):find(pattern) then n = n + 1 end
  end
  return n
end

return M
