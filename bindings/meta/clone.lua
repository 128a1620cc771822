---@meta lunalift.clone
--- The clone protocol of vmkfstools-wrapper on one host. Replies are the decoded JSON of the wrapper; a refusal is nil and a failure whose `reply` holds it.
---@class lunalift.clone
local clone = {}

---@class Clone
local Clone = {}

---@class CloneState
---@field taskId string
---@field pid integer
---@field exitCode string "" while it runs
---@field lastLine string
---@field stdErr string
---@field xcopyUsed? boolean
---@field state? string running, done, failed, killed, lost; absent from upstream's wrapper
---@field percent? integer
---@field existing? boolean start only: that task, or one to that device, was there already

---@param session Vsphere
---@param host Moref
---@return Clone
function clone.over_esxcli(session, host) end

--- By requests `DS=<datastore>;CMD=…` to a key that may do nothing else. Failures to log in are as of Ssh:exec.
---@param ssh Ssh
---@param datastore string id below /vmfs/volumes of one that may hold the script
---@return Clone?
---@return Fail? why
function clone.over_ssh(ssh, datastore) end

--- What the host has; also decides how later values are encoded and which operations are offered. Fails unsupported without a wrapper.
---@return { version: string, features: string[] }? found
---@return Fail? why
function Clone:version() end
--- task_id is ours to choose where the host offers taskId; elsewhere the reply tells it.
---@param args { task_id: string?, source: string, target: string }
---@return CloneState?
---@return Fail? why
function Clone:start(args) end
---@return CloneState?
---@return Fail? why
function Clone:poll(task_id) end
---@return table?
---@return Fail? why
function Clone:kill(task_id) end
---@return table[]? tasks
---@return Fail? why
function Clone:tasks() end
---@return boolean?
---@return Fail? why
function Clone:clean(task_id) end
---@param args { source: string, target: string, extents: { offset: integer, length: integer }[] }
---@return table?
---@return Fail? why
function Clone:digest(args) end
--- Facts about what is named; with no source, about the host too.
---@param args { source: string?, target: string? }
---@return table?
---@return Fail? why
function Clone:preflight(args) end
--- "taskKill", "digest", …: said by version().
---@return boolean
function Clone:offers(feature) end

return clone
