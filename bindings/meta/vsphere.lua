---@meta lunalift.vsphere
--- A login to a vCenter or ESXi. Values: morefs are {type=, id=}; xsd:int and friends are integers, xsd:boolean booleans, ArrayOfX lists; data objects
--- are tables with `_type`, whose untyped leaves are strings and whose repeated fields are lists (see `list`).
---@class lunalift.vsphere
local vsphere = {}

---@class Moref
---@field type string
---@field id string
---@field guid? string

---@class VsphereOptions
---@field host string host[:port] or URL
---@field username string
---@field password Secret
---@field tls? Trust
---@field timeout_s? number of one call, 60

---@class Vsphere
local Vsphere = {}

--- Sends nothing yet. Raises a config failure on what is no host.
---@param options VsphereOptions
---@return Vsphere
function vsphere.open(options) end

--- A list, whatever a repeated field came as: nil is {}, a single value {value}.
---@param value any
---@return any[]
function vsphere.list(value) end

--- Log in now. Returns the service content (about, rootFolder, …).
---@return table? content
---@return Fail? why
function Vsphere:login() end
function Vsphere:logout() end

--- One vim25 call. `self` is a moref, or the name of a property of the service content ("sessionManager").
--- args: ordered {name, value} pairs; value: string, integer, boolean, moref, Secret, a list of those (repeats the element), or
--- {_type = "Name"?, {name, value}, …} for a data object. A third item in the pair is the xsi:type.
--- Failures carry `fault` (type without suffix). Lost logins are renewed once; an effect then fails with `refused`.
---@param method string
---@param self Moref|string
---@param args? any[]
---@param options? { effect: boolean?, timeout_s: number? }
---@return any value nil for void; a list when there are several returnvals
---@return Fail? why
function Vsphere:call(method, self, args, options) end

---@class RetrieveSpec
---@field objects Moref[]
---@field props table<string, string[]> paths by type
---@field select? { type: string, path: string, name: string?, again: string[]? }[] traversals from the objects; `again` names further ones

---@class Retrieved
---@field ref Moref
---@field props table<string, any> unset properties are absent
---@field missing table<string, string> path → fault type

--- Properties of many objects in one call (paged if the server pages). Missing objects are left out.
---@param spec RetrieveSpec
---@return Retrieved[]? found
---@return Fail? why
function Vsphere:retrieve(spec) end

--- An esxcli command on a host. Argument names as on the command line without dashes in front ("source-vmdk"); true for a flag; lists repeat.
--- Failures: `fault` "CLIFault" with errMsg lines as message; a missing command is kind unsupported, fault "NotFound".
---@param host Moref
---@param words string "storage core device list"
---@param args? table<string, string|integer|boolean|string[]>
---@param options? { effect: boolean?, timeout_s: number? }
---@return table[]? rows field → text, list or nested table; {} for a void command; a scalar is { { value = text } }
---@return Fail? why
function Vsphere:esxcli(host, words, args, options) end

---@param file { dc: string, datastore: string, path: string, max: integer? }
---@return string? content
---@return Fail? why
function Vsphere:get_file(file) end
---@param file { dc: string, datastore: string, path: string, content: string }
---@return boolean? done
---@return Fail? why
function Vsphere:put_file(file) end

--- How many SOAP requests this login has cost.
---@return integer
function Vsphere:requests() end

return vsphere
