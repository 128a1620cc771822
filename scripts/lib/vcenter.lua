--- The vCenter as flows see it: virtual machines with their disks, and hosts.
local address <const> = require "lib.address"
local disk_layout <const> = require "lib.disk_layout"
local fail <const> = require "lib.fail"
local hints <const> = require "lib.hints"
local hosts <const> = require "lib.hosts"
local poll <const> = require "lib.poll"
local retry <const> = require "lib.retry"
local task <const> = require "lunalift.task"
local vsphere <const> = require "lunalift.vsphere"

local M <const> = {}

local list <const> = vsphere.list

---@class lib.Vcenter
---@field session Vsphere
---@field about table name, version, build of the server
---@field mark string short and its own, since ids such as host-21 are in every vCenter
local Vcenter <const> = {}
Vcenter.__index = Vcenter

local TASK_EVERY_S <const> = 0.5
local LOGOUT_WITHIN_S <const> = 20

local VM_PATHS <const> =
  { "name", "runtime.host", "runtime.connectionState", "runtime.powerState", "config.hardware.device", "snapshot" }
table.move(disk_layout.PATHS, 1, #disk_layout.PATHS, #VM_PATHS + 1, VM_PATHS)
local DATASTORE_PATHS <const> = { "name", "info", "summary.type", "summary.accessible", "summary.freeSpace" }

---@class lib.VcenterLogin a login that jobs can share
---@field session Vsphere
---@field content table
---@field where string
local Login <const> = {}
Login.__index = Login

---@param job lib.Job that waits for it
---@param conf { host: string, username: string, password: Secret, tls: Trust }
---@return lib.VcenterLogin
function M.login(job, conf)
  local session <const> = vsphere.open {
    host = address.bracketed(conf.host),
    username = conf.username,
    password = conf.password,
    tls = conf.tls,
  }
  -- A login that was under way when we were cancelled is made all the same.
  local _undo <close> = setmetatable({}, {
    __close = function(_, why)
      if why then task.shield(LOGOUT_WITHIN_S, session.logout, session):join() end
    end,
  })
  local ok <const>, content <const> = pcall(
    job.read,
    job,
    "log in to " .. conf.host,
    function() return session:login() end
  )
  if not ok then
    if not fail.is(content, "denied") then error(content) end
    error(fail.wrap(content, "%s does not let %s in", conf.host, conf.username))
  end
  return setmetatable({ session = session, content = content, where = conf.host }, Login)
end

function Login:close()
  local function logout() return self.session:logout() end
  local done <const>, why <const> = retry.read("log out", LOGOUT_WITHIN_S, logout, { stubborn = true })
  if not done and why then error(why) end
end

--- The vCenter for one job.
---@param job lib.Job
---@param login lib.VcenterLogin
---@return lib.Vcenter
function M.of(job, login)
  local about <const> = login.content.about
  return setmetatable({
    job = job,
    session = login.session,
    about = about,
    mark = (about.instanceUuid or login.where):gsub("%W", ""):sub(1, 8),
    content = login.content,
    where = login.where,
    hosts = {},
  }, Vcenter)
end

function Vcenter:retrieve(what, spec)
  return self.job:read(what, function() return self.session:retrieve(spec) end)
end

--- Call on the vCenter that only reads.
function Vcenter:ask(method, ref, args)
  return self.job:read(method, function()
    local value <const>, why <const> = self.session:call(method, ref, args)
    if why then return nil, why end
    return value == nil and false or value
  end)
end

local TASK_PATHS <const> = { "info.state", "info.error", "info.result" }

--- Wait for a task of vCenter's own to end.
---@param what string for the message
---@param ref Moref what an X_Task method returned
---@param within_s number
---@return any result what it made; nil for void
function Vcenter:finish(what, ref, within_s)
  local ended <const> = poll.wait(what, { within_s = within_s, every_s = TASK_EVERY_S }, function()
    local found <const> = self:retrieve(what, { objects = { ref }, props = { Task = TASK_PATHS } })[1]
    if not found then
      local why <const> =
        fail.new("failed", "%s: %s has forgotten task %s, so how it ended is unknown", what, self.where, ref.id)
      why.unanswered = true
      error(why)
    end
    local state <const> = found.props["info.state"]
    return (state == "success" or state == "error") and found.props
  end)
  if ended["info.state"] == "success" then return ended["info.result"] end
  local told <const> = ended["info.error"] or {}
  local fault <const> = told.fault and told.fault._type
  local why <const> = fail.new("failed", "%s: %s", what, told.localizedMessage or fault or "vCenter says no more")
  why.fault = fault
  error(why)
end

-- ---- finding ----

local VIEW <const> = { type = "ContainerView", path = "view", again = { "up" } }
local PARENTS <const> = { type = "ManagedEntity", path = "parent", name = "up", again = { "up" } }

--- All objects of these kinds, and what is above them if asked for.
---@param kinds string[]
---@param props table<string, string[]>
---@param options? { parents: boolean? }
---@return Retrieved[]
function Vcenter:all(kinds, props, options)
  local view <const> = self:ask("CreateContainerView", "viewManager", {
    { "container", self.content.rootFolder },
    { "type", kinds },
    { "recursive", true },
  })
  local select <const> = options and options.parents and { VIEW, PARENTS } or { { type = VIEW.type, path = VIEW.path } }
  local found <const> =
    self:retrieve("all of " .. table.concat(kinds, ", "), { objects = { view }, select = select, props = props })
  self.session:call("DestroyView", view, {})
  return found
end

local function all_named(self, kind) return self:all({ kind }, { [kind] = { "name" } }) end

-- Morefs of that name: for users who give a name instead of vm-123.
local function find_by_name(self, kind, name)
  local refs <const> = {}
  for _, object in ipairs(all_named(self, kind)) do
    if object.props.name == name then refs[#refs + 1] = object.ref end
  end
  return refs
end

--- A moref from "vm-123" or from a name that one object bears.
local function resolve(self, kind, pattern, text, what, flag)
  if text:find(pattern) then return { type = kind, id = text } end
  local refs <const> = find_by_name(self, kind, text)
  if #refs == 1 then return refs[1] end
  if #refs == 0 then
    local why <const> = fail.new("not_found", "no %s '%s' in %s", what, text, self.where)
    error(fail.hint(why, "check %s; it is an id, or a name as vCenter shows it", flag))
  end
  local why <const> = fail.new("config", "%d %ss are called '%s'", #refs, what, text)
  error(fail.hint(why, "give the id, such as %s", refs[1].id))
end

-- ---- virtual machines ----

---@class lib.Disk
---@field path string "[ds] web/web.vmdk": the file of the chain that was asked for
---@field top string the file that the VM writes to now
---@field is_top boolean the VM writes to this very file while it is on
---@field is_delta boolean it holds what was written since a snapshot
---@field kind "vmdk"|"rdm"|"vvol"
---@field device? string of an RDM: vml.… or naa.…
---@field vvol? string id of the vVol: rfc4122.…
---@field capacity_bytes integer
---@field allocated_bytes? integer that its datastores hold; nil where vCenter does not tell
---@field key integer
---@field datastore lib.Datastore

---@class lib.Datastore
---@field ref Moref
---@field name string
---@field type string VMFS, NFS, NFS41, vsan, VVOL, …
---@field extents string[] devices that it lies on
---@field accessible? boolean
---@field free_bytes? integer

---@class lib.Vm
---@field ref Moref
---@field name string
---@field host Moref
---@field power string
---@field has_snapshots boolean
---@field devices table[]
---@field layout? table what lib.disk_layout reads
---@field datastores table<string, lib.Datastore> by name

local function read_datastore(object)
  local extents <const> = {}
  local vmfs <const> = object.props.info and object.props.info.vmfs
  for _, extent in ipairs(vmfs and list(vmfs.extent) or {}) do
    extents[#extents + 1] = extent.diskName
  end
  return {
    ref = object.ref,
    name = object.props.name,
    type = object.props["summary.type"] or "unknown",
    extents = extents,
    accessible = object.props["summary.accessible"],
    free_bytes = math.tointeger(tonumber(object.props["summary.freeSpace"])),
  }
end

local function read_vm(object, datastores)
  return {
    ref = object.ref,
    name = object.props.name,
    host = object.props["runtime.host"],
    power = object.props["runtime.powerState"],
    has_snapshots = object.props.snapshot ~= nil,
    devices = list(object.props["config.hardware.device"]),
    datastores = datastores,
    layout = object.props,
  }
end

--- A VM with its disks and datastores, in one call.
---@param text string id or name
---@return lib.Vm
function Vcenter:vm(text)
  local ref <const> = resolve(self, "VirtualMachine", "^vm%-%d+$", text, "virtual machine", "--source-vm-id")
  local found <const> = self:retrieve("VM " .. text, {
    objects = { ref },
    select = { { type = "VirtualMachine", path = "datastore" } },
    props = { VirtualMachine = VM_PATHS, Datastore = DATASTORE_PATHS },
  })
  local vm
  local datastores <const> = {}
  for _, object in ipairs(found) do
    if object.ref.type == "Datastore" then
      local datastore <const> = read_datastore(object)
      datastores[datastore.name] = datastore
    else
      vm = object
    end
  end
  if not vm then hints.raise("vm missing", { vm = text, vcenter = self.where }) end
  return read_vm(vm, datastores)
end

local function same_path(a, b) return a:gsub("/+", "/") == b:gsub("/+", "/") end

--- What vCenter knows of datastores.
---@param refs Moref[]
---@return lib.Datastore[]
function Vcenter:datastores(refs)
  local found <const> = {}
  if #refs == 0 then return found end
  for i, object in ipairs(self:retrieve("datastores", { objects = refs, props = { Datastore = DATASTORE_PATHS } })) do
    found[i] = read_datastore(object)
  end
  return found
end

-- The backing, or one of its parents, whose file is `path`.
local function backing_of(backing, path)
  while backing do
    if backing.fileName and same_path(backing.fileName, path) then return backing end
    backing = backing.parent
  end
end

local function capacity_of(device)
  local bytes <const> = math.tointeger(tonumber(device.capacityInBytes))
  return bytes or math.tointeger(tonumber(device.capacityInKB)) * 1024
end

local IS_VSAN <const> = { vsan = true, vsanD = true }

-- The top tells what kind of backing a chain has; each of its nodes is a vVol of its own. Objects of vSAN have ids, too.
local function kind_of(top, backing, datastore)
  if top._type == "VirtualDiskRawDiskMappingVer1BackingInfo" then
    local id <const> = top.lunUuid or ""
    return "rdm", id ~= "" and "vml." .. id or top.deviceName
  end
  local id <const> = backing.backingObjectId or ""
  if id ~= "" and not IS_VSAN[datastore.type] then return "vvol", nil, id end
  return "vmdk"
end

local function read_disk(vm, device, backing, datastore, path)
  local capacity_bytes <const> = capacity_of(device)
  local kind <const>, raw <const>, vvol <const> = kind_of(device.backing, backing, datastore)
  return {
    path = path,
    top = device.backing.fileName,
    is_top = backing == device.backing,
    is_delta = backing.parent ~= nil,
    kind = kind,
    device = raw,
    vvol = vvol,
    capacity_bytes = capacity_bytes,
    allocated_bytes = disk_layout.allocated(vm.layout or {}, device.key, capacity_bytes),
    key = device.key,
    datastore = datastore,
  }
end

--- The disk with exactly that file, anywhere in its snapshot chain.
---@param vm lib.Vm
---@param vmdk lib.VmdkPath
---@return lib.Disk
function Vcenter:disk(vm, vmdk)
  local seen <const> = {}
  for _, device in ipairs(vm.devices) do
    if device._type == "VirtualDisk" and device.backing then
      local backing <const> = backing_of(device.backing, vmdk.text)
      seen[#seen + 1] = device.backing.fileName or device.backing._type
      if backing then
        local unknown <const> = { ref = backing.datastore, name = vmdk.datastore, type = "unknown", extents = {} }
        return read_disk(vm, device, backing, vm.datastores[vmdk.datastore] or unknown, vmdk.text)
      end
    end
  end
  local disks <const> = #seen > 0 and table.concat(seen, ", ") or "none"
  hints.raise("disk missing", { vm = vm.name, path = vmdk.text, disks = disks })
end

--- The VMs that have the disk's file in a chain of theirs, wherever they run.
---@param disk lib.Disk
---@return { ref: Moref, name: string, power: string }[]
function Vcenter:vms_with(disk)
  local found <const> = {}
  local seen <const> = self:retrieve("VMs on " .. disk.datastore.name, {
    objects = { disk.datastore.ref },
    select = { { type = "Datastore", path = "vm" } },
    props = { VirtualMachine = { "name", "runtime.powerState", "config.hardware.device" } },
  })
  for _, object in ipairs(seen) do
    for _, device in ipairs(list(object.props["config.hardware.device"])) do
      if device._type == "VirtualDisk" and device.backing and backing_of(device.backing, disk.path) then
        found[#found + 1] = { ref = object.ref, name = object.props.name, power = object.props["runtime.powerState"] }
      end
    end
  end
  return found
end

--- The one VM that has a disk's file in a chain of its own.
---@param vmdk lib.VmdkPath
---@return lib.Vm
function Vcenter:vm_of(vmdk)
  local owners <const>, names <const> = {}, {}
  for _, ref in ipairs(find_by_name(self, "Datastore", vmdk.datastore)) do
    for _, vm in ipairs(self:vms_with { path = vmdk.text, datastore = { ref = ref, name = vmdk.datastore } }) do
      owners[#owners + 1], names[#names + 1] = vm, ("%s (%s)"):format(vm.name, vm.ref.id)
    end
  end
  if #owners == 1 then return self:vm(owners[1].ref.id) end
  local hint <const> = "name the VM: --source-vm-id, or spec.vmId of the resource"
  if #owners == 0 then fail.advise("not_found", hint, "no virtual machine has the disk %s", vmdk.text) end
  fail.advise("config", hint, "%s is a disk of %s", vmdk.text, table.concat(names, " and of "))
end

-- ---- hosts ----

--- The host that runs the clone: by id or name if given, else where the VM is.
---@param vm? lib.Vm
---@param text? string id or name, which is needed without a VM
---@param flag? string that it came by
---@return lib.Host
function Vcenter:host(vm, text, flag)
  local ref = vm and vm.host
  if text and text ~= "" then
    ref = resolve(self, "HostSystem", "^host%-%d+$", text, "host", flag or "--migration-host")
  end
  if not ref then hints.raise("vm without host", { vm = vm.name }) end
  return self:host_again(ref)
end

--- Every host there is.
---@return { ref: Moref, name: string }[]
function Vcenter:all_hosts()
  local all <const> = {}
  for i, object in ipairs(all_named(self, "HostSystem")) do
    all[i] = { ref = object.ref, name = object.props.name }
  end
  return all
end

--- The host of a moref, such as a promise keeps; read once a job.
---@param ref Moref
---@return lib.Host
function Vcenter:host_again(ref)
  self.hosts[ref.id] = self.hosts[ref.id] or hosts.open(self, ref)
  return self.hosts[ref.id]
end

return M
