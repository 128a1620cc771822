--- Watches: what has become of objects since a version, and what becomes of them, a line each.
local json <const> = require "lunalift.json"
local selector <const> = require "lab.kube.selector"
local status <const> = require "lab.kube.status"
local tables <const> = require "lab.kube.table"
local timer <const> = require "lunalift.timer"

---@class kube.watch
local M <const> = {}

local LASTS_S <const> = 1800
local BOOKMARK_EVERY_S <const> = 60
local COLLECT_EVERY_S <const> = 1

local function suits(call, object)
  if not object or (call.namespace and object.metadata.namespace ~= call.namespace) then return false end
  if call.name and object.metadata.name ~= call.name then return false end
  return selector.fields(object, call.args.fieldSelector, call.resource.name) == true
    and selector.labels(object, call.args.labelSelector)
end

-- What a change is to one who only sees what his selectors let through.
local function event_of(call, change)
  if change.resource ~= call.resource then return nil end
  local was <const>, is <const> = suits(call, change.old), change.type ~= "DELETED" and suits(call, change.object)
  if not was and not is then return nil end
  return not was and "ADDED" or not is and "DELETED" or "MODIFIED", change.object
end

local function bookmark(call, version, annotations)
  return {
    kind = call.resource.kind,
    apiVersion = status.group_version(call.resource),
    metadata = { resourceVersion = tostring(version), annotations = annotations },
  }
end

-- Sends events in the form that was asked for: objects, or rows of a table whose columns are told once.
local function sender(call, send)
  local is_table <const>, has_columns = tables.are_wanted(call.headers.accept), false
  return function(kind, object)
    if is_table and kind ~= "ERROR" then
      object = tables.of(call.resource, { object }, { resourceVersion = object.metadata.resourceVersion })
      if has_columns then object.columnDefinitions = json.null end
      has_columns = true
    end
    return send(json.encode { type = kind, object = object } .. "\n")
  end
end

local function expired(version, oldest)
  return {
    kind = "Status",
    apiVersion = "v1",
    metadata = {},
    status = "Failure",
    message = ("too old resource version: %d (%d)"):format(version, oldest),
    reason = "Expired",
    code = 410,
  }
end

-- The objects as they are, for who names no version. Returns the version that they are of.
local function send_all(self, call, say)
  for _, object in ipairs(self.store:list(call.resource, call.namespace)) do
    if suits(call, object) then say("ADDED", object) end
  end
  if call.args.sendInitialEvents == "true" then
    say("BOOKMARK", bookmark(call, self.store.version, { ["k8s.io/initial-events-end"] = "true" }))
  end
  return self.store.version
end

local function follow(self, call, say, version)
  local ends_s <const> = timer.now() + (tonumber(call.args.timeoutSeconds) or LASTS_S)
  local marks <const> = call.args.allowWatchBookmarks == "true"
  local every_s <const> = self.bookmark_every_s or BOOKMARK_EVERY_S
  local mark_s = timer.now() + every_s
  while true do
    self.store:collect()
    if version < self.store.oldest then return say("ERROR", expired(version, self.store.oldest)) end
    for _, change in ipairs(self.store:since(version)) do
      local kind <const>, object <const> = event_of(call, change)
      if kind and not say(kind, object) then return end
      version = change.version
    end
    local now_s <const> = timer.now()
    if marks and (now_s >= mark_s or now_s >= ends_s) then
      if not say("BOOKMARK", bookmark(call, self.store.version)) then return end
      mark_s = now_s + every_s
    end
    if now_s >= ends_s then return end
    local next_s <const> = math.min(ends_s, marks and mark_s or ends_s, now_s + COLLECT_EVERY_S)
    self.store.bell:wait(math.max(0, next_s - now_s))
  end
end

--- Answer a watch.
---@param self lab.Kube
---@param call kube.Call
---@return ServerAnswer
function M.answer(self, call)
  local _, unknown <const> = selector.fields({ metadata = {} }, call.args.fieldSelector, call.resource.name)
  if unknown then status.bad(selector.refusal(call.resource, unknown)) end
  local given <const> = call.args.resourceVersion or ""
  local from <const> = math.tointeger(tonumber(given ~= "" and given or "0"))
  if not from then status.bad(("strconv.ParseUint: parsing %q: invalid syntax"):format(given)) end
  return {
    status = 200,
    headers = { ["content-type"] = "application/json" },
    stream = function(send)
      local say <const> = sender(call, send)
      follow(self, call, say, from == 0 and send_all(self, call, say) or from)
    end,
  }
end

return M
