--- The lab's vCenter: /sdk (vim25 SOAP), /sdk/vimServiceVersions.xml and /folder, as a strict server of version 8.0.3 speaks them.
local codec <const> = require "lunalift.codec"
local esxcli <const> = require "lab.esxcli"
local folder <const> = require "lab.folder"
local log <const> = require "lunalift.log"
local operations <const> = require "lab.operations"
local schema <const> = require "lab.schema"
local server <const> = require "lunalift.server"
local sessions <const> = require "lab.sessions"
local soap <const> = require "lab.soap"
local task <const> = require "lunalift.task"
local timer <const> = require "lunalift.timer"
local vim <const> = require "lab.vim"
local world <const> = require "lab.world"

---@class lab.vcenter
local M <const> = {}

---@class lab.Vcenter
---@field port integer
---@field tree lab.World
---@field sessions lab.Sessions
---@field faults lab.Faults
---@field denied table<string, boolean> privileges that the user lacks
---@field page_max? integer no page of properties has more objects
---@field content lab.Value
local Vcenter <const> = {}
Vcenter.__index = Vcenter

local TASK_WITHIN_S <const> = 3600
local VERSION <const> = "8.0.3.0"

local VERSIONS <const> = [[<?xml version="1.0" encoding="UTF-8" ?>
<namespaces version="1.0">
 <namespace><name>urn:vim25</name><version>8.0.3.0</version>
  <priorVersions><version>8.0.2.0</version><version>8.0.1.0</version><version>8.0.0.1</version><version>7.0.3.2</version>
   <version>7.0</version><version>6.7.3</version><version>6.7</version><version>6.5</version></priorVersions></namespace>
 <namespace><name>urn:vim2</name><version>2.0</version></namespace>
</namespaces>
]]

local MANAGERS <const> = {
  { "ServiceInstance", "ServiceInstance" },
  { "PropertyCollector", "propertyCollector" },
  { "ViewManager", "ViewManager" },
  { "OptionManager", "VpxSettings" },
  { "SessionManager", "SessionManager" },
  { "AuthorizationManager", "AuthorizationManager" },
  { "TaskManager", "TaskManager" },
  { "SearchIndex", "SearchIndex" },
  { "FileManager", "FileManager" },
}

local function about(uuid)
  return vim.object("AboutInfo", {
    { "name", "VMware vCenter Server" },
    { "fullName", "VMware vCenter Server 8.0.3 build-24022515" },
    { "vendor", "VMware, Inc." },
    { "version", "8.0.3" },
    { "patchLevel", "00000" },
    { "build", "24022515" },
    { "localeVersion", "INTL" },
    { "localeBuild", "000" },
    { "osType", "linux-x64" },
    { "productLineId", "vpx" },
    { "apiType", "VirtualCenter" },
    { "apiVersion", VERSION },
    { "instanceUuid", uuid },
    { "licenseProductName", "VMware VirtualCenter Server" },
    { "licenseProductVersion", "8.0" },
  })
end

local function content(root, uuid)
  return vim.object("ServiceContent", {
    { "rootFolder", world.ref_of(root) },
    { "propertyCollector", vim.ref("PropertyCollector", "propertyCollector") },
    { "viewManager", vim.ref("ViewManager", "ViewManager") },
    { "about", about(uuid) },
    { "setting", vim.ref("OptionManager", "VpxSettings") },
    { "userDirectory", vim.ref("UserDirectory", "UserDirectory") },
    { "sessionManager", vim.ref("SessionManager", "SessionManager") },
    { "authorizationManager", vim.ref("AuthorizationManager", "AuthorizationManager") },
    { "taskManager", vim.ref("TaskManager", "TaskManager") },
    { "searchIndex", vim.ref("SearchIndex", "SearchIndex") },
    { "fileManager", vim.ref("FileManager", "FileManager") },
  })
end

---@class lab.VcenterOptions
---@field faults lab.Faults
---@field username string
---@field password string
---@field idle_s? number
---@field latency_s? number of each call
---@field page_max? integer
---@field denied? string[] privileges

---@param options lab.VcenterOptions
---@return lab.Vcenter
function M.new(options)
  local self <const> = setmetatable({
    tree = world.new(),
    sessions = sessions.new(options),
    uuid = codec.uuid(),
    faults = options.faults,
    latency_s = options.latency_s or 0,
    page_max = options.page_max,
    denied = {},
    settings = { ["config.vmacore.soap.sessionTimeout"] = 30, ["VirtualCenter.VimApiUrl"] = "https://127.0.0.1/sdk" },
    tasks = {},
  }, Vcenter)
  for _, id in ipairs(options.denied or {}) do
    self.denied[id] = true
  end
  self.tree.root = self.tree:folder("group-d1", nil, "Datacenters", { "Folder", "Datacenter" })
  for _, manager in ipairs(MANAGERS) do
    self.tree:add(manager[1], manager[2], {})
  end
  self.content = content(self.tree.root, self.uuid)
  self.tree.objects.ServiceInstance.props.content = self.content
  self.tree.objects.TaskManager.props.recentTask = function() return self:recent_tasks() end
  return self
end

--- The tree as one login sees it: other logins' views are not there, and `currentSession` is its own.
---@param session lab.Session?
function Vcenter:seen_by(session)
  return {
    find = function(_, ref)
      local object <const> = self.tree:find(ref)
      if object and object.owner and object.owner ~= session then return nil end
      if object and object.type == "SessionManager" then
        local props <const> = session
            and {
              currentSession = sessions.value(session),
              sessionList = vim.array("UserSession", self.sessions:values()),
            }
          or {}
        return { type = object.type, id = object.id, props = props }
      end
      return object
    end,
  }
end

---@param session lab.Session
function Vcenter:end_session(session)
  for _, view in ipairs(session.views) do
    self.tree:remove(view)
  end
  self.sessions:logout(session)
end

---@return table<string, any> settings of a host or of the vCenter
function Vcenter:options_of(manager) return manager.host and manager.host.options or self.settings end

function Vcenter:recent_tasks()
  local refs <const> = {}
  for i, each in ipairs(self.tasks) do
    refs[i] = world.ref_of(each)
  end
  return vim.refs(refs)
end

local function task_info(object)
  return vim.object("TaskInfo", {
    { "key", object.id },
    { "task", world.ref_of(object) },
    { "name", object.name:match "[^.]+$" },
    { "descriptionId", object.name },
    { "entity", world.ref_of(object.entity) },
    { "entityName", object.entity.props.name },
    { "state", vim.scalar("TaskInfoState", object.state) },
    { "cancelled", object.fault ~= nil and object.fault.fault == "RequestCanceled" },
    { "cancelable", false },
    { "error", object.fault and vim.localized(object.fault) },
    { "result", object.result, any = true },
    { "progress", object.state == "running" and 50 or nil },
    { "reason", vim.derived("TaskReasonUser", { { "userName", "lab" } }) },
    { "queueTime", vim.date(object.queued) },
    { "startTime", object.started and vim.date(object.started) },
    { "completeTime", object.completed and vim.date(object.completed) },
    { "eventChainId", 1 },
  })
end

--- Run `work` behind a Task object: what it returns becomes the task's result, a fault it raises the task's error.
---@param name string
---@param entity lab.Object
---@param work fun(): lab.Value?
---@return lab.Value ref
function Vcenter:start_task(name, entity, work)
  local object <const> = self.tree:add("Task", "task-" .. (#self.tasks + 1), {})
  object.name, object.entity, object.state, object.queued = name, entity, "queued", timer.iso()
  object.props.info = function() return task_info(object) end
  self.tasks[#self.tasks + 1] = object
  -- Not a child of the request: that ends as soon as it is answered, and its children with it.
  task.shield(TASK_WITHIN_S, function()
    object.state, object.started = "running", timer.iso()
    local done <const>, result <const> = pcall(work)
    object.completed = timer.iso()
    if object.state ~= "running" then return end
    object.state = done and "success" or "error"
    if done then
      object.result = result
    else
      object.fault = type(result) == "table" and result.fault and result
        or vim.fault("SystemError", tostring(result), { { "reason", tostring(result) } })
    end
  end)
  return world.ref_of(object)
end

local XML_HEADERS <const> = { ["Content-Type"] = "text/xml; charset=utf-8", ["Cache-Control"] = "no-cache" }

local function xml_answer(status, body, headers)
  local all <const> = headers or {}
  for name, value in pairs(XML_HEADERS) do
    all[name] = value
  end
  return { status = status, headers = all, body = body }
end

local function fault_answer(fault) return xml_answer(500, vim.fault_response(fault)) end

--- The method and its object, or a fault raised.
local function resolve(self, call, session)
  local operation <const> = operations.table[call.method]
  if not operation then
    error(vim.fault("MethodNotFound", "The method is not supported: " .. call.method, {
      { "receiver", vim.ref(call.this.type or "", call.this.id) },
      { "method", call.method },
    }))
  end
  if not session and not operation.open then error(operations.not_authenticated()) end
  local object <const> = self.tree:find { type = call.this.type or operation.of, id = call.this.id }
  if not object or (object.owner and object.owner ~= session) then
    error(operations.not_found { type = call.this.type or operation.of, id = call.this.id })
  end
  if not schema.is_a(object.type, operation.of) then
    error(vim.fault("InvalidRequest", ("%s has no method %s"):format(object.type, call.method)))
  end
  return operation, object
end

--- The method that a request calls, read once.
---@return lab.Call? call
---@return lab.Fault? why
local function call_of(request)
  if not request.call and not request.why then
    request.call, request.why = soap.call(request.body)
  end
  return request.call, request.why
end

local function perform(self, request, headers)
  local call <const>, why <const> = call_of(request)
  if not call then error(why) end
  if (request.headers.soapaction or ""):gsub('"', "") == "" then
    error(vim.fault("InvalidRequest", "Malformed SOAPAction header"))
  end
  local session <const> = self.sessions:of(request)
  local operation <const>, object <const> = resolve(self, call, session)
  local args <const> = soap.arguments(call, operation.takes)
  local results <const> =
    table.pack(operation.run(self, object, args, { session = session, request = request, headers = headers }))
  return vim.response(call.method, results, operation.any)
end

local function sdk(self, request)
  if request.method ~= "POST" then return { status = 405, body = "" } end
  if self.latency_s > 0 then timer.sleep(self.latency_s) end
  local headers <const> = {}
  local done <const>, result <const> = pcall(perform, self, request, headers)
  if done then return xml_answer(200, result, headers) end
  if type(result) == "table" and result.fault then return fault_answer(result) end
  log.error(
    "the lab's vCenter broke",
    { method = request.call and request.call.method, error = type(result) == "table" and result.message or result }
  )
  return fault_answer(vim.fault("SystemError", "A general system error occurred: lab", { { "reason", "lab" } }))
end

---@param request ServerRequest
---@return ServerAnswer
function Vcenter:handle(request)
  if request.path == "/sdk/vimServiceVersions.xml" then return xml_answer(200, VERSIONS) end
  if request.path == "/sdk" or request.path == "/sdk/" or request.path == "/sdk/vimService" then
    return sdk(self, request)
  end
  if request.path:find "^/folder/" then return folder.handle(self, request) end
  return { status = 404, headers = { ["Content-Type"] = "text/html" }, body = "<html><body>Not here</body></html>" }
end

local FILE_READS <const> = { GET = true, HEAD = true }

--- What a request is, for the log and for fault rules.
local function describe(self, request)
  if not request.path:find "^/sdk/?$" and request.path ~= "/sdk/vimService" then
    return {
      method = request.method,
      path = request.path,
      target = request.args.dsName,
      effect = not FILE_READS[request.method],
    }
  end
  local call <const> = call_of(request)
  if not call then return { method = request.method, path = request.path } end
  local object <const> = self.tree.objects[call.this.id]
  local operation <const> = operations.table[call.method]
  local what <const> = {
    method = call.method,
    path = request.path,
    target = call.this.id,
    host = object and object.host and object.host.name,
    effect = operation and operation.effect,
  }
  if call.method == "ExecuteSoap" then
    for _, child in ipairs(call.node) do
      if child.name == "method" then
        what.target, what.effect = esxcli.command_of(child.text), esxcli.is_effect(child.text)
      end
    end
  end
  return what
end

--- Faults by name for rules: "fault:NotAuthenticated".
local function injected(name)
  if name == "NotAuthenticated" then return fault_answer(operations.not_authenticated()) end
  return fault_answer(vim.fault(name, "injected by the lab"))
end

--- Listen on a loopback port.
---@param options { cert: string, key: Secret, port: integer? }
function Vcenter:listen(options)
  self.server = assert(server.listen {
    port = options.port,
    cert = options.cert,
    key = options.key,
    max_body = 64 * 1024 * 1024,
    on_request = self.faults:wrap("vcenter", function(request) return self:handle(request) end, {
      describe = function(request) return describe(self, request) end,
      fault = injected,
    }),
  })
  self.port = self.server.port
end

function Vcenter:close()
  if self.server then self.server:close() end
end

return M
