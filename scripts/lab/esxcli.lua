--- esxcli as hostd serves it to ExecuteSoap: commands of the host, of its extension, and the descriptions of both.
local codec <const> = require "lunalift.codec"
local commands <const> = require "lab.esxcli_commands"
local extension <const> = require "lab.extension"
local process <const> = require "lunalift.process"
local timer <const> = require "lunalift.timer"
local vim <const> = require "lab.vim"
local xml <const> = require "lunalift.xml"

---@class lab.esxcli
local M <const> = {}

local OBJ <const> = '<obj xmlns:xsd="http://www.w3.org/2001/XMLSchema" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" '
  .. 'xmlns="urn:vim25" versionId="5.0" xsi:type="%s">'

local function obj(type, inside) return OBJ:format(type) .. table.concat(inside) .. "</obj>" end

local row

local function element(out, name, value)
  if type(value) == "table" and value.fields then
    out[#out + 1] = "<" .. name .. ">" .. row(value.fields) .. "</" .. name .. ">"
  elseif type(value) == "table" then
    for _, each in ipairs(value) do
      element(out, name, each)
    end
  else
    out[#out + 1] = "<" .. name .. ">" .. codec.xml_escape(tostring(value)) .. "</" .. name .. ">"
  end
end

--- Fields of one row, in alphabetical order as the real thing sends them; one that is { fields = … } holds others.
function row(fields)
  local out <const> = {}
  table.sort(fields, function(a, b) return a[1] < b[1] end)
  for _, field in ipairs(fields) do
    element(out, field[1], field[2])
  end
  return table.concat(out)
end

local function rows(type, list)
  local out <const> = {}
  for _, fields in ipairs(list) do
    out[#out + 1] = '<DataObject xsi:type="' .. type .. '">' .. row(fields) .. "</DataObject>"
  end
  return obj("ArrayOfDataObject", out)
end

local FAULTS <const> = {
  CLIFault = { type = "VimEsxCLICLIFault", text = "EsxCLI.CLIFault.summary" },
  NotFound = { type = "NotFound", text = "The object or item referred to could not be found." },
  InvalidArgument = { type = "InvalidArgument", text = "A specified parameter was not correct: " },
}

--- A command fault: part of an answer that is otherwise a success.
---@param name string
---@param lines? string[] the errMsg of a CLIFault
---@return lab.Value
function M.fault(name, lines)
  local known <const> = FAULTS[name] or { type = name, text = name }
  local out <const> = {}
  element(out, "errMsg", lines or {})
  local detail <const> = obj("LocalizedMethodFault", {
    '<fault xsi:type="' .. known.type .. '">' .. table.concat(out) .. "</fault>",
    "<localizedMessage>" .. codec.xml_escape(known.text) .. "</localizedMessage>",
  })
  return vim.object("ReflectManagedMethodExecuterSoapResult", {
    {
      "fault",
      vim.object("ReflectManagedMethodExecuterSoapFault", { { "faultMsg", known.text }, { "faultDetail", detail } }),
    },
  })
end

local function result(text) return vim.object("ReflectManagedMethodExecuterSoapResult", { { "response", text } }) end

---@param host lab.Host
---@return table<string, lab.CliCommand> by "storage.core.device.list"
function M.table_of(host)
  local all <const> = {}
  for _, list in ipairs { commands, host.extension or {} } do
    for _, command in ipairs(list) do
      all[table.concat(command.words, ".")] = command
    end
  end
  return all
end

local function namespace(command) return table.concat(command.words, ".", 1, #command.words - 1) end

local function params_of(command)
  local out <const> = {}
  for _, param in ipairs(command.params) do
    out[#out + 1] = "<param>"
    element(out, "name", param.wire)
    element(out, "displayName", param.name)
    element(out, "help", param.help)
    if param.short then element(out, "aliases", "-" .. param.short) end
    element(out, "aliases", "--" .. param.name)
    element(out, "flag", param.flag or false)
    out[#out + 1] = "</param>"
  end
  return table.concat(out)
end

local function describe(host, type_name)
  local out <const>, space <const> = {}, type_name:gsub("^vim%.EsxCLI%.", "")
  local names <const>, all <const> = {}, M.table_of(host)
  for name, command in pairs(all) do
    if namespace(command) == space then names[#names + 1] = name end
  end
  if #names == 0 then return M.fault "NotFound" end
  table.sort(names)
  element(out, "name", space:match "[^.]+$")
  element(out, "displayName", space:match "[^.]+$")
  element(out, "help", space .. " operations")
  for _, name in ipairs(names) do
    local command <const> = all[name]
    out[#out + 1] = "<method>"
    element(out, "name", command.words[#command.words])
    element(out, "displayName", command.words[#command.words])
    element(out, "help", command.help)
    out[#out + 1] = params_of(command)
    out[#out + 1] = "<hints><key>formatter</key><value>"
      .. (command.execute and "simple" or "table")
      .. "</value></hints></method>"
  end
  return result(obj("VimCLIInfoInfo", out))
end

local function values_of(argument)
  local inner <const> = xml.parse("<a>" .. argument.val .. "</a>")
  if not inner then error(vim.fault("InvalidRequest", "not XML while parsing argument " .. argument.name)) end
  local values <const> = {}
  for _, node in ipairs(inner) do
    if node.name ~= argument.name then
      error(vim.fault("InvalidArgument", "A specified parameter was not correct: argument"))
    end
    values[#values + 1] = node.text
  end
  return #values > 1 and values or values[1]
end

--- Arguments by the parameter's own name; nil when one is unknown or a required one is missing.
local function arguments(command, list)
  local args <const>, by_wire <const> = {}, {}
  for _, param in ipairs(command.params) do
    by_wire[param.wire] = param
  end
  for _, argument in ipairs(list) do
    local param <const> = by_wire[argument.name]
    if not param then return nil end
    args[param.name] = values_of(argument)
  end
  for _, param in ipairs(command.params) do
    if param.required and args[param.name] == nil then return nil end
  end
  return args
end

local function lines_of(text)
  local lines <const> = {}
  for line in text:gmatch "[^\r\n]+" do
    lines[#lines + 1] = line
  end
  return lines
end

local function run_line(host, line)
  if host.outside then return { out = host.outside:run(line), err = "" } end
  return assert(process.run {
    argv = { host.busybox, "sh", "-c", (line:gsub("^/opt/", '"$LUNALIFT_ESXI_ROOT"/opt/')) },
    env = { PATH = host.root .. "/bin", LUNALIFT_ESXI_ROOT = host.root, HOME = "/" },
    cwd = host.root,
  })
end

--- Run the command line of an extension as hostd does: by the host's shell, the arguments pasted in.
local function execute(host, command, args)
  local ended <const> = run_line(host, extension.expand(command.execute, args))
  local fields <const> = extension.result(xml.parse(ended.out))
  if fields then return result(obj(command.type, { row(fields) })) end
  local lines <const> = lines_of(ended.err ~= "" and ended.err or ended.out)
  if #lines == 0 then
    lines[1] = "Command ended with code " .. tostring(ended.code or ended.signal) .. " and no output"
  end
  return M.fault("CLIFault", lines)
end

local function run(host, command, args)
  if command.execute then return execute(host, command, args) end
  local answer <const> = command.run(host, args)
  if answer.fault then return M.fault(answer.fault, answer.lines) end
  if answer.rows then return result(rows(command.type, answer.rows)) end
  if answer.row then return result(obj(command.type, { row(answer.row) })) end
  return nil
end

-- Hosts refuse versions that are newer than what their internal interface was frozen at.
local VERSIONS <const> = {
  ["urn:vim25/5.0"] = true,
  ["urn:vim25/5.1"] = true,
  ["urn:vim25/5.5"] = true,
  ["urn:vim25/6.0"] = true,
  ["urn:vim25/6.5"] = true,
}

local function find(host, moid, method)
  local name <const> = method:match "^vim%.EsxCLI%.(.+)$"
  if not name then return nil end
  for known, command in pairs(M.table_of(host)) do
    if known:lower() == name:lower() and moid == "ha-cli-handler-" .. namespace(command):gsub("%.", "-") then
      return command, known
    end
  end
end

--- What an ExecuteSoap is for: "storage.core.device.list", for logs and faults.
function M.command_of(method) return (method:gsub("^vim%.EsxCLI%.", "")) end

local READS <const> = {
  list = true,
  get = true,
  version = true,
  taskGet = true,
  taskList = true,
  preflight = true,
  digest = true,
  FetchCLIInfo = true,
}

--- Whether a command changes the host.
---@return boolean
function M.is_effect(method) return not READS[method:match "[^.]+$" or ""] end

--- Serve one ExecuteSoap on a host.
---@param host lab.Host
---@param call { moid: string, version: string, method: string, argument: { name: string, val: string }[] }
---@param faults lab.Faults
---@return lab.Value? result nil: void
function M.serve(host, call, faults)
  local verb <const>, name <const> = faults:note("esxi", {
    method = M.command_of(call.method),
    host = host.name,
    target = call.argument[1] and call.argument[1].val,
    effect = M.is_effect(call.method),
  })
  if verb == "delay" then timer.sleep(tonumber(name) or 1) end
  if verb == "fault" then
    return M.fault(name, name == "CLIFault" and { "injected by the lab", "second line" } or nil)
  end
  if host.esxcli_s > 0 then timer.sleep(host.esxcli_s) end
  if not VERSIONS[call.version] then return M.fault "InvalidArgument" end
  if call.moid == "ha-dynamic-type-manager-local-cli-cliinfo" and call.method == "vim.CLIInfo.FetchCLIInfo" then
    return describe(host, values_of(call.argument[1] or { name = "typeName", val = "" }) or "")
  end
  local command <const> = find(host, call.moid, call.method)
  if not command then return M.fault "NotFound" end
  local args <const> = arguments(command, call.argument)
  if not args then return M.fault "InvalidArgument" end
  return run(host, command, args)
end

return M
