--- The vendor contract as data, for all that looks at a vendor from outside. docs/vendors.md says what each function must do.
local M <const> = {}

M.API = 1

---@class lib.VendorFunction
---@field name string
---@field params string[]
---@field list? boolean returns a list
---@field effect? boolean changes the array
---@field optional? boolean
---@field with? string[] those that it is of use with only

---@type lib.VendorFunction[]
M.FUNCTIONS = {
  { name = "info", params = {} },
  { name = "lun_of", params = { "pv" } },
  { name = "targets", list = true, params = {}, optional = true },
  { name = "hosts_of", list = true, params = { "initiators", "name" } },
  { name = "create_host", params = { "name", "initiators" }, effect = true, optional = true, with = { "remove_host" } },
  { name = "why_none", params = { "initiators" }, optional = true },
  { name = "remove_host", params = { "host" }, effect = true, optional = true, with = { "create_host" } },
  { name = "maps_of", list = true, params = { "lun" } },
  { name = "map", params = { "lun", "host" }, effect = true },
  { name = "unmap", params = { "lun", "host" }, effect = true },
  { name = "luns_of", list = true, params = { "host" }, optional = true },
  { name = "find_lun", params = { "id" }, optional = true },
  {
    name = "copy_start",
    params = { "id", "source", "target" },
    effect = true,
    optional = true,
    with = { "copy_poll", "copy_stop", "find_lun" },
  },
  { name = "copy_poll", params = { "id", "copy" }, optional = true, with = { "copy_start", "copy_stop" } },
  {
    name = "copy_stop",
    params = { "id", "copy" },
    effect = true,
    optional = true,
    with = { "copy_start", "copy_poll" },
  },
  { name = "close", params = {} },
}

---@type table<string, lib.VendorFunction>
M.BY_NAME = {}
for _, each in ipairs(M.FUNCTIONS) do
  M.BY_NAME[each.name] = each
end

M.METADATA = {
  api = "number",
  name = "string",
  title = "string",
  drivers = "table",
  fabrics = "table",
  options = "table",
  limits = "table",
  maintainer = "string",
  status = "string",
  token = "boolean",
}

M.FABRICS = { "iscsi", "fc", "nvme", "sas", "sdc" }
M.STATUSES = { "stable", "experimental" }
M.LIMITS = { "requests_per_s" }
M.OPTION_FIELDS = { "type", "default", "choices", "help", "env", "required" }
M.OPTION_TYPES = { "string", "integer", "seconds", "bool", "secret" }

--- Modules of the program that a vendor script may use.
M.MODULES = { "http", "json", "xml", "codec", "secret", "log", "timer", "task" }

--- Fields of `conf` that are every array's.
M.COMMON = { "hostname", "username", "password", "token", "tls", "vendor", "limits" }

--- Variables of the environment that are the program's.
M.RESERVED = {
  "STORAGE_VENDOR",
  "STORAGE_HOSTNAME",
  "STORAGE_USERNAME",
  "STORAGE_PASSWORD",
  "STORAGE_TOKEN",
  "STORAGE_SKIP_SSL_VERIFICATION",
  "STORAGE_HTTP_TIMEOUT_SECONDS",
  "KUBECONFIG",
}

---@param list string[]
---@param value any
---@return boolean
function M.has(list, value)
  for _, each in ipairs(list) do
    if each == value then return true end
  end
  return false
end

return M
