--- What the vCenter does, method by method. Each entry names the class it belongs to and its parameters in the order of the schema.
local browser <const> = require "lab.browser"
local codec <const> = require "lunalift.codec"
local esxcli <const> = require "lab.esxcli"
local fs <const> = require "lunalift.fs"
local properties <const> = require "lab.properties"
local schema <const> = require "lab.schema"
local sessions <const> = require "lab.sessions"
local timer <const> = require "lunalift.timer"
local updates <const> = require "lab.updates"
local vim <const> = require "lab.vim"
local world <const> = require "lab.world"

---@class lab.Operation
---@field of string managed type
---@field takes string parameters, as in lab.soap
---@field run fun(vc: lab.Vcenter, object: lab.Object, args: table, context: lab.CallContext): lab.Value? ...
---@field open? boolean needs no login
---@field any? boolean its result is an anyType
---@field effect? boolean changes something

---@class lab.CallContext
---@field session? lab.Session
---@field request ServerRequest
---@field headers table<string, string> of the answer

---@type table<string, lab.Operation>
local M <const> = {}

local function not_authenticated()
  return vim.fault("NotAuthenticated", "The session is not authenticated.", {
    { "object", vim.ref("Folder", "group-d1") },
    { "privilegeId", "System.View" },
  })
end

local function not_found(ref)
  return vim.fault("ManagedObjectNotFound", "The object has already been deleted or has not been completely created", {
    { "obj", vim.ref(ref.type, ref.id) },
  })
end

local function invalid(name)
  return vim.fault(
    "InvalidArgument",
    "A specified parameter was not correct: " .. name,
    { { "invalidProperty", name } }
  )
end

-- Service and sessions.

M.RetrieveServiceContent = { of = "ServiceInstance", takes = "", open = true, run = function(vc) return vc.content end }

M.CurrentTime = { of = "ServiceInstance", takes = "", run = function() return vim.date(timer.iso()) end }

M.Login = {
  of = "SessionManager",
  takes = "userName password locale?",
  open = true,
  run = function(vc, _, args, context)
    local session <const> = vc.sessions:login(context.request, args.userName, args.password)
    context.headers["Set-Cookie"] = sessions.set_cookie(session)
    return sessions.value(session)
  end,
}

M.Logout = {
  of = "SessionManager",
  takes = "",
  run = function(vc, _, _, context) vc:end_session(context.session) end,
}

M.SessionIsActive = {
  of = "SessionManager",
  takes = "sessionID userName",
  run = function(vc, _, args)
    for _, each in ipairs(vc.sessions:list()) do
      if each.key == args.sessionID and each.user == args.userName then return true end
    end
    return false
  end,
}

-- Properties and views.

local PAGE_MAX <const> = 100

local function page(session, list, limit)
  if #list == 0 then return nil end
  local now <const>, later <const> = table.move(list, 1, math.min(limit, #list), 1, {}), {}
  table.move(list, limit + 1, #list, 1, later)
  local token
  if #later > 0 and session then
    token = codec.uuid()
    session.pages[token] = { list = later, limit = limit }
  end
  return vim.object("RetrieveResult", { { "token", token }, { "objects", vim.array("ObjectContent", now) } })
end

M.RetrievePropertiesEx = {
  of = "PropertyCollector",
  takes = "specSet*:PropertyFilterSpec options:RetrieveOptions",
  open = true,
  run = function(vc, _, args, context)
    local max <const> = args.options.maxObjects
    if max and max <= 0 then error(invalid "options.maxObjects") end
    local denial <const> = not context.session and not_authenticated() or nil
    local found <const> = properties.collect(vc:seen_by(context.session), args.specSet, denial)
    return page(context.session, found, math.min(max or vc.page_max or PAGE_MAX, vc.page_max or PAGE_MAX))
  end,
}

M.RetrieveProperties = {
  of = "PropertyCollector",
  takes = "specSet*:PropertyFilterSpec",
  open = true,
  run = function(vc, _, args, context)
    local denial <const> = not context.session and not_authenticated() or nil
    return table.unpack(properties.collect(vc:seen_by(context.session), args.specSet, denial))
  end,
}

M.ContinueRetrievePropertiesEx = {
  of = "PropertyCollector",
  takes = "token",
  run = function(_, _, args, context)
    local rest <const> = context.session.pages[args.token]
    if not rest then error(invalid "token") end
    context.session.pages[args.token] = nil
    return page(context.session, rest.list, rest.limit)
  end,
}

M.CancelRetrievePropertiesEx = {
  of = "PropertyCollector",
  takes = "token",
  run = function(_, _, args, context)
    if not context.session.pages[args.token] then error(invalid "token") end
    context.session.pages[args.token] = nil
  end,
}

--- One property of any object: what pyVmomi reads each attribute with.
M.Fetch = {
  of = "ManagedObject",
  takes = "prop",
  any = true,
  run = function(vc, object, args, context)
    return properties.value(vc:seen_by(context.session):find(object), args.prop)
  end,
}

for name, operation in pairs(updates) do
  M[name] = operation
end

local function view_object(vc, session, type, props)
  local view <const> = { type = type, id = ("session[%s]%s"):format(session.key, codec.uuid()), props = props }
  vc.tree.objects[view.id] = view
  view.owner = session
  session.views[#session.views + 1] = view
  return vim.ref(type, view.id)
end

M.CreateContainerView = {
  of = "ViewManager",
  takes = "container:ref type* recursive:bool",
  run = function(vc, _, args, context)
    local container <const> = vc.tree:find(args.container) or error(not_found(args.container))
    for _, type in ipairs(args.type) do
      if not schema.has_type(type) then error(invalid "type") end
    end
    local types <const> = args.type[1] and args.type or { "ManagedEntity" }
    return view_object(vc, context.session, "ContainerView", {
      container = vim.ref(container.type, container.id),
      type = vim.strings(args.type),
      recursive = args.recursive,
      view = function()
        local refs <const> = {}
        for _, type in ipairs(types) do
          for _, each in ipairs(vc.tree:below(container, type, args.recursive)) do
            refs[#refs + 1] = world.ref_of(each)
          end
        end
        return vim.refs(refs)
      end,
    })
  end,
}

M.CreateListView = {
  of = "ViewManager",
  takes = "obj*:ref",
  run = function(vc, _, args, context)
    local refs <const> = {}
    for i, each in ipairs(args.obj) do
      refs[i] = vim.ref(each.type, each.id)
    end
    return view_object(vc, context.session, "ListView", { view = vim.refs(refs) })
  end,
}

M.DestroyView = { of = "View", takes = "", run = function(vc, view) vc.tree:remove(view) end }

-- Finding.

local function ref_or_nothing(object) return object and world.ref_of(object) or nil end

M.FindByInventoryPath = {
  of = "SearchIndex",
  takes = "inventoryPath",
  run = function(vc, _, args) return ref_or_nothing(vc.tree:by_path(args.inventoryPath)) end,
}

M.FindChild = {
  of = "SearchIndex",
  takes = "entity:ref name",
  run = function(vc, _, args)
    local entity <const> = vc.tree:find(args.entity) or error(not_found(args.entity))
    return ref_or_nothing(vc.tree:child(entity, args.name))
  end,
}

local function by_uuid(vc, args)
  local found <const> = {}
  local under <const> = args.datacenter and (vc.tree:find(args.datacenter) or error(not_found(args.datacenter)))
    or vc.tree.root
  local field <const> = args.instanceUuid and "instance_uuid" or "uuid"
  for _, each in ipairs(vc.tree:below(under, args.vmSearch and "VirtualMachine" or "HostSystem", true)) do
    local uuid <const> = args.vmSearch and each.vm[field] or not args.vmSearch and each.host.uuid
    if uuid == args.uuid:lower() then found[#found + 1] = world.ref_of(each) end
  end
  return found
end

local BY_UUID <const> = "datacenter?:ref uuid vmSearch:bool instanceUuid?:bool"

M.FindByUuid = { of = "SearchIndex", takes = BY_UUID, run = function(vc, _, args) return by_uuid(vc, args)[1] end }

M.FindAllByUuid = {
  of = "SearchIndex",
  takes = BY_UUID,
  run = function(vc, _, args) return table.unpack(by_uuid(vc, args)) end,
}

-- Hosts.

--- The host behind an object, if vCenter can reach it.
local function host_of(object)
  local host <const> = object.host
  if not host.connected then
    error(vim.fault("HostNotConnected", "Unable to communicate with the remote host, since it is disconnected."))
  end
  return host
end

local function relay(type, prefix)
  return function(vc, object)
    local id <const> = prefix .. object.id:match "%-(.+)$"
    local found <const> = vc.tree.objects[id] or vc.tree:add(type, id, {})
    found.host = host_of(object)
    return vim.ref(type, id)
  end
end

M.RetrieveManagedMethodExecuter = {
  of = "HostSystem",
  takes = "",
  run = relay("ReflectManagedMethodExecuter", "ManagedMethodExecuter-"),
}

M.RetrieveDynamicTypeManager = {
  of = "HostSystem",
  takes = "",
  run = relay("InternalDynamicTypeManager", "DynamicTypeManager-"),
}

M.ExecuteSoap = {
  of = "ReflectManagedMethodExecuter",
  takes = "moid version method argument*:SoapArgument",
  run = function(vc, object, args) return esxcli.serve(host_of(object), args, vc.faults) end,
}

local function rescan_all(_, object) host_of(object):rescan "all" end

M.RescanAllHba = { of = "HostStorageSystem", takes = "", effect = true, run = rescan_all }

M.RescanHba = {
  of = "HostStorageSystem",
  takes = "hbaDevice",
  effect = true,
  run = function(_, object, args)
    if not host_of(object):rescan("all", args.hbaDevice) then
      error(vim.fault("NotFound", "The object or item referred to could not be found."))
    end
  end,
}

M.RescanVmfs = { of = "HostStorageSystem", takes = "", effect = true, run = function(_, object) host_of(object) end }
M.RefreshStorageSystem = { of = "HostStorageSystem", takes = "", run = function(_, object) host_of(object) end }

local STATE_FAULTS <const> = {
  not_found = { "NotFound", "The object or item referred to could not be found." },
  already = { "InvalidState", "The operation is not allowed in the current state." },
  busy = { "ResourceInUse", "The resource is in use." },
}

local function set_state(object, uuid, state)
  local host <const> = host_of(object)
  local device <const>, naa <const> = host:find_by_uuid(uuid)
  local why = "not_found"
  if device then
    local done <const>, reason <const> = host:set_state(naa, state)
    if done then return end
    why = reason
  end
  error(vim.fault(STATE_FAULTS[why][1], STATE_FAULTS[why][2]))
end

M.DetachScsiLun = {
  of = "HostStorageSystem",
  takes = "lunUuid",
  effect = true,
  run = function(_, object, args) set_state(object, args.lunUuid, "off") end,
}

M.AttachScsiLun = {
  of = "HostStorageSystem",
  takes = "lunUuid",
  effect = true,
  run = function(_, object, args) set_state(object, args.lunUuid, "on") end,
}

M.DetachScsiLunEx_Task = {
  of = "HostStorageSystem",
  takes = "lunUuid*",
  effect = true,
  run = function(vc, object, args)
    return vc:start_task("host.StorageSystem.detachScsiLunEx", object, function()
      for _, uuid in ipairs(args.lunUuid) do
        set_state(object, uuid, "off")
      end
    end)
  end,
}

M.DeleteScsiLunState = {
  of = "HostStorageSystem",
  takes = "lunCanonicalName",
  effect = true,
  run = function(_, object, args)
    if not host_of(object):forget_detached(args.lunCanonicalName) then
      error(vim.fault(STATE_FAULTS.not_found[1], STATE_FAULTS.not_found[2]))
    end
  end,
}

local function option(key, value)
  return vim.derived(
    "OptionValue",
    { { "key", key }, { "value", type(value) == "number" and vim.long(value) or value, any = true } }
  )
end

M.QueryOptions = {
  of = "OptionManager",
  takes = "name?",
  run = function(vc, object, args)
    local found <const>, name <const> = {}, args.name
    for key, value in pairs(vc:options_of(object)) do
      local is_below <const> = name and name:sub(-1) == "." and key:sub(1, #name) == name
      if not name or name == "" or key == name or is_below then found[#found + 1] = { key, value } end
    end
    if name and #found == 0 then
      error(vim.fault("InvalidName", "The name '" .. name .. "' is not valid.", { { "name", name } }))
    end
    table.sort(found, function(a, b) return a[1] < b[1] end)
    for i, pair in ipairs(found) do
      found[i] = option(pair[1], pair[2])
    end
    return table.unpack(found)
  end,
}

M.UpdateOptions = {
  of = "OptionManager",
  takes = "changedValue*:OptionValue",
  effect = true,
  run = function(vc, object, args)
    local options <const> = vc:options_of(object)
    for _, change in ipairs(args.changedValue) do
      local old <const> = options[change.key]
      if old == nil then error(vim.fault("InvalidName", "", { { "name", change.key } })) end
      local new <const> = type(old) == "number" and math.tointeger(tonumber(change.value)) or change.value
      if type(new) ~= type(old) then error(invalid(change.key)) end
      options[change.key] = new
    end
  end,
}

local function kernel_module(id, name, options)
  return vim.object("KernelModuleInfo", {
    { "id", id },
    { "name", name },
    { "version", "1.0" },
    { "filename", "/usr/lib/vmware/vmkmod/" .. name },
    { "optionString", options },
    { "loaded", true },
    { "enabled", true },
    { "useCount", 1 },
  })
end

M.QueryModules = {
  of = "HostKernelModuleSystem",
  takes = "",
  run = function(_, object)
    local modules <const> = { kernel_module(1, "iscsi_vmk", "") }
    for _, hba in ipairs(host_of(object).hbas) do
      if hba.kind == "sdc" then
        modules[2] = kernel_module(2, "scini", "IoctlMdmIPStr=192.0.2.40 IoctlIniGuidStr=" .. hba.guid)
      end
    end
    return table.unpack(modules)
  end,
}

M.fetchSoftwarePackages = {
  of = "HostImageConfigManager",
  takes = "",
  run = function(_, object)
    local packages <const> = {}
    for i, vib in ipairs(host_of(object).vibs) do
      packages[i] = vim.object("SoftwarePackage", {
        { "name", vib.name },
        { "version", vib.version },
        { "type", "bootbank" },
        { "vendor", vib.vendor },
        { "acceptanceLevel", vib.acceptance:gsub("^%u", string.lower) },
        { "summary", "" },
        { "description", "" },
      })
    end
    return table.unpack(packages)
  end,
}

-- VMs, files, tasks, privileges.

M.RefreshStorageInfo = { of = "VirtualMachine", takes = "", run = function() end }

local function power(state, others)
  return function(vc, object)
    return vc:start_task("VirtualMachine." .. others.name, object, function()
      local vm <const> = object.vm
      if vm.power == state then
        error(vim.fault("InvalidPowerState", "The attempted operation cannot be performed in the current state.", {
          { "requestedState", state },
          { "existingState", vm.power },
        }))
      end
      vm.power = state
      for _, disk in ipairs(vm.disks) do
        if others.locks then
          fs.write(disk.flat .. ".lck", "")
        else
          fs.remove(disk.flat .. ".lck")
        end
      end
    end)
  end
end

M.PowerOnVM_Task = {
  of = "VirtualMachine",
  takes = "host?:ref",
  effect = true,
  run = power("poweredOn", { name = "powerOn", locks = true }),
}

M.PowerOffVM_Task =
  { of = "VirtualMachine", takes = "", effect = true, run = power("poweredOff", { name = "powerOff" }) }

local function search(name, is_deep)
  return {
    of = "HostDatastoreBrowser",
    takes = "datastorePath searchSpec?:HostDatastoreBrowserSearchSpec",
    run = function(vc, object, args)
      return vc:start_task(
        "DatastoreBrowser." .. name,
        object,
        function() return browser.search(object.datastore, args.datastorePath, args.searchSpec or {}, is_deep) end
      )
    end,
  }
end

M.SearchDatastore_Task = search("search", false)
M.SearchDatastoreSubFolders_Task = search("searchSubFolders", true)

local function datastores_of(vc, ref, name)
  if not ref then error(invalid(name)) end -- two datacenters may have datastores of one name
  local datacenter <const> = vc.tree:find(ref) or error(not_found(ref))
  local datastores <const> = {}
  for i, each in ipairs(vc.tree:below(datacenter, "Datastore", true)) do
    datastores[i] = each.datastore
  end
  return datastores
end

M.DeleteDatastoreFile_Task = {
  of = "FileManager",
  takes = "name datacenter?:ref",
  effect = true,
  run = function(vc, object, args)
    local datastores <const> = datastores_of(vc, args.datacenter, "datacenter")
    return vc:start_task("FileManager.deleteFile", object, function() browser.delete(datastores, args.name) end)
  end,
}

M.MoveDatastoreFile_Task = {
  of = "FileManager",
  takes = "sourceName sourceDatacenter?:ref destinationName destinationDatacenter?:ref force?:bool",
  effect = true,
  run = function(vc, object, args)
    local from <const> = datastores_of(vc, args.sourceDatacenter, "sourceDatacenter")
    local to <const> = datastores_of(vc, args.destinationDatacenter or args.sourceDatacenter, "destinationDatacenter")
    return vc:start_task(
      "FileManager.move",
      object,
      function() browser.move(from, args.sourceName, to, args.destinationName, args.force) end
    )
  end,
}

M.CancelTask = {
  of = "Task",
  takes = "",
  effect = true,
  run = function(_, object)
    if object.state == "success" or object.state == "error" then
      error(vim.fault("InvalidState", "The operation is not allowed in the current state."))
    end
    object.state = "error"
    object.fault = vim.fault("RequestCanceled", "The task was canceled by a user.")
  end,
}

M.HasPrivilegeOnEntities = {
  of = "AuthorizationManager",
  takes = "entity*:ref sessionId privId*",
  run = function(vc, _, args)
    local results <const> = {}
    for i, entity in ipairs(args.entity) do
      local granted <const> = {}
      for n, id in ipairs(args.privId) do
        granted[n] = vim.object("PrivilegeAvailability", { { "privId", id }, { "isGranted", not vc.denied[id] } })
      end
      results[i] = vim.object("EntityPrivilege", {
        { "entity", vim.ref(entity.type, entity.id) },
        { "privAvailability", vim.array("PrivilegeAvailability", granted) },
      })
    end
    return table.unpack(results)
  end,
}

return { table = M, not_authenticated = not_authenticated, not_found = not_found }
