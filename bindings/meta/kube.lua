---@meta lunalift.kube
--- Objects of the Kubernetes API, one at a time, and the wire of watches; lists, caches and conditions are lib.resource and lib.informer. Failures carry `status` and `reason` (AlreadyExists, Conflict, …).
---@class lunalift.kube
local kube = {}

---@class Kube
---@field server string
---@field namespace string
local Kube = {}

--- kubeconfig (a path), else the environment's KUBECONFIG as given, else in-cluster. Raises nothing: nil and a config failure.
---@param options { kubeconfig: string?, context: string?, master: string?, timeout_s: number? }
---@return Kube? kube
---@return Fail? why
function kube.open(options) end

---@param path string /api/v1/namespaces/x/persistentvolumeclaims/y
---@return table? object
---@return Fail? why
function Kube:get(path) end
---@param path string of the collection
---@return table? object
---@return Fail? why
function Kube:create(path, object) end
--- Replace; a resourceVersion in the object guards it.
---@return table? object
---@return Fail? why
function Kube:update(path, object) end
---@param kind? string "merge" (default), "json", "strategic", "apply" (the path then names fieldManager)
---@return table? object
---@return Fail? why
function Kube:patch(path, patch, kind) end
---@return table? object
---@return Fail? why
function Kube:delete(path, options) end

--- Returns at once; what the API thinks of it is heard from `next`.
---@param path string with its query: watch=1, resourceVersion, allowWatchBookmarks, timeoutSeconds, …
---@param options? { timeout_s: number? } the longest it may last; 600
---@return KubeWatch? watch
---@return Fail? why
function Kube:watch(path, options) end

---@class KubeWatch to be closed
local KubeWatch = {}

--- The next event, in the order of the wire, of one reader at a time. Where nobody reads, the API is made to wait.
---@param within_s number
---@return { type: string, object: table }? event nil without a failure: the API has ended the watch
---@return Fail? why timeout: it was silent, and may be asked on
function KubeWatch:next(within_s) end
function KubeWatch:close() end

return kube
