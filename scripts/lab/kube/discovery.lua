--- What the API server tells about itself: its version, its kinds, and of their schemas just enough for kubectl's checks.
local json <const> = require "lunalift.json"
local status <const> = require "lab.kube.status"

---@class kube.discovery
local M <const> = {}

local VERSION <const> = { major = "1", minor = "34", gitVersion = "v1.34.4", platform = "linux/amd64" }
local VERBS <const> = { "create", "delete", "get", "list", "patch", "update", "watch" }

local function resources(kube, group_version)
  local found <const> = {}
  for _, resource in ipairs(kube.resources) do
    if status.group_version(resource) == group_version then
      found[#found + 1] = {
        name = resource.name,
        singularName = resource.kind:lower(),
        shortNames = resource.short,
        namespaced = resource.namespaced,
        kind = resource.kind,
        verbs = resource.review and { "create" } or VERBS,
      }
      if resource.status then
        found[#found + 1] = {
          name = resource.name .. "/status",
          singularName = "",
          namespaced = resource.namespaced,
          kind = resource.kind,
          verbs = { "get", "patch", "update" },
        }
      end
    end
  end
  if #found == 0 then return nil end
  return { kind = "APIResourceList", apiVersion = "v1", groupVersion = group_version, resources = found }
end

local function groups(kube)
  local seen <const>, list <const> = { [""] = true }, {}
  for _, resource in ipairs(kube.resources) do
    if not seen[resource.group] then
      seen[resource.group] = true
      local version <const> = { groupVersion = status.group_version(resource), version = resource.version }
      list[#list + 1] = { name = resource.group, versions = { version }, preferredVersion = version }
    end
  end
  return { kind = "APIGroupList", apiVersion = "v1", groups = json.array(list) }
end

local function root_of(resource) return (resource.group == "" and "api/" or "apis/") .. status.group_version(resource) end

local function schema_index(kube)
  local paths <const> = {}
  for _, resource in ipairs(kube.resources) do
    local root <const> = root_of(resource)
    paths[root] = { serverRelativeURL = "/openapi/v3/" .. root }
  end
  return { paths = paths }
end

-- That the server itself looks for fields it does not know, so that kubectl need not.
local QUERY <const> = {
  { name = "dryRun", ["in"] = "query", schema = { type = "string" } },
  { name = "fieldValidation", ["in"] = "query", schema = { type = "string" } },
}

local function schema(kube, root)
  local paths <const> = {}
  for _, resource in ipairs(kube.resources) do
    if root_of(resource) == root then
      local scope <const> = resource.namespaced and "/namespaces/{namespace}" or ""
      paths[("/%s%s/%s/{name}"):format(root, scope, resource.name)] = {
        patch = {
          parameters = QUERY,
          ["x-kubernetes-group-version-kind"] = {
            group = resource.group,
            version = resource.version,
            kind = resource.kind,
          },
        },
      }
    end
  end
  return next(paths) and { openapi = "3.0.0", info = { title = "Kubernetes", version = "v1" }, paths = paths }
end

--- The document at a path; nil when it is none.
---@param kube lab.Kube
---@param path string
---@return table?
function M.document(kube, path)
  if path == "/version" then return VERSION end
  if path == "/api" then return { kind = "APIVersions", versions = { "v1" } } end
  if path == "/apis" then return groups(kube) end
  if path == "/openapi/v3" then return schema_index(kube) end
  local described <const> = path:match "^/openapi/v3/(.+)$"
  if described then return schema(kube, described) end
  return resources(kube, path:match "^/api/(v1)$" or path:match "^/apis/([^/]+/[^/]+)$")
end

return M
