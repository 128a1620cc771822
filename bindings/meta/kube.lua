---@meta lunalift.kube
--- Single objects of the Kubernetes API. Failures carry `status` and `reason` (AlreadyExists, Conflict, …).
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
---@param kind? string "merge" (default), "json", "strategic"
---@return table? object
---@return Fail? why
function Kube:patch(path, patch, kind) end
---@return table? object
---@return Fail? why
function Kube:delete(path, options) end

return kube
