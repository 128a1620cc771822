--- Who asks, and what they may.
local status <const> = require "lab.kube.status"

---@class kube.access
local M <const> = {}

--- The account of the request's token.
---@param tokens table<string, kube.Token>
---@param request ServerRequest
---@return kube.Token
function M.account(tokens, request)
  local token <const> = (request.headers.authorization or ""):match "^[Bb]earer%s+(%S+)$"
  return token and tokens[token] or status.refuse(401, "Unauthorized", "Unauthorized")
end

local function holds(list, item)
  for _, candidate in ipairs(list) do
    if candidate == "*" or candidate == item then return true end
  end
  return false
end

---@class kube.Place
---@field group string
---@field resource string plural; "pods/status" for a subresource
---@field namespace? string
---@field name? string

---@param account kube.Token
---@param verb string
---@param place kube.Place
---@return boolean
function M.allows(account, verb, place)
  if not account.rules then return true end
  for _, rule in ipairs(account.rules) do
    if
      holds(rule.verbs, verb)
      and holds(rule.groups, place.group)
      and holds(rule.resources, place.resource)
      and (not rule.namespaces or (place.namespace and holds(rule.namespaces, place.namespace)))
      and (not rule.names or (place.name and holds(rule.names, place.name)))
    then
      return true
    end
  end
  return false
end

---@param call kube.Call
---@param verb string
function M.check(call, verb)
  local group <const> = call.resource.group
  local name <const> = call.resource.name .. (call.subresource and "/" .. call.subresource or "")
  local place <const> = { group = group, resource = name, namespace = call.namespace, name = call.name }
  if call.resource.review or M.allows(call.account, verb, place) then return end
  local where <const> = call.namespace and ('in the namespace "%s"'):format(call.namespace) or "at the cluster scope"
  local text <const> = 'User "%s" cannot %s resource "%s" in API group "%s" %s'
  status.forbidden(call.resource, call.name, text:format(call.account.user, verb, name, group, where))
end

--- OpenShift checks it: an owner can only be blocked by those who may set finalizers on it.
---@param kube lab.Kube
---@param call kube.Call
---@param object table
function M.check_owners(kube, call, object)
  for _, owner in ipairs(object.metadata.ownerReferences or {}) do
    local owned <const> = kube:resource_of(owner.apiVersion, owner.kind)
    local place <const> = owned
      and {
        group = owned.group,
        resource = owned.name .. "/finalizers",
        namespace = call.namespace,
        name = owner.name,
      }
    if owner.blockOwnerDeletion and not (place and M.allows(call.account, "update", place)) then
      local text <const> =
        "cannot set blockOwnerDeletion if an ownerReference refers to a resource you can't set finalizers on: , <nil>"
      status.forbidden(call.resource, object.metadata.name, text)
    end
  end
end

--- Answer a SelfSubjectAccessReview: may the caller do that?
---@param account kube.Token
---@param review table
---@return table review with its status
function M.review(account, review)
  local asked <const> = review.spec and review.spec.resourceAttributes
  if not asked then status.bad "exactly one of nonResourceAttributes or resourceAttributes must be specified" end
  local place <const> = {
    group = asked.group or "",
    resource = asked.resource .. (asked.subresource and "/" .. asked.subresource or ""),
    namespace = asked.namespace,
    name = asked.name,
  }
  review.status = { allowed = M.allows(account, asked.verb, place) }
  return review
end

return M
