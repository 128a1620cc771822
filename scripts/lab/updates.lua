--- The property collector's other half: filters that tell what has changed since they were asked last.
local codec <const> = require "lunalift.codec"
local properties <const> = require "lab.properties"
local timer <const> = require "lunalift.timer"
local vim <const> = require "lab.vim"

local LOOK_EVERY_S <const> = 0.1
local LONGEST_WAIT_S <const> = 1800

---@class lab.Filter
---@field collector lab.Object
---@field spec table
---@field told table<string, table<string, string>> object → path → value as last told

local function filters_of(vc, session, collector)
  local mine <const> = {}
  for _, object in ipairs(session.views) do
    if object.filter and object.filter.collector == collector and vc.tree.objects[object.id] then
      mine[#mine + 1] = object
    end
  end
  return mine
end

local function text_of(value)
  local out <const> = {}
  vim.encode(out, "val", value, true)
  return table.concat(out)
end

local function change(path, value)
  return vim.object("PropertyChange", { { "name", path }, { "op", "assign" }, { "val", value, any = true } })
end

local function update(kind, ref, changes)
  return vim.object(
    "ObjectUpdate",
    { { "kind", kind }, { "obj", ref }, { "changeSet", vim.array("PropertyChange", changes) } }
  )
end

-- What is other than `old`, the texts by path as last told, and those to remember.
local function compare(content, old)
  local changes <const>, new <const> = {}, {}
  for _, property in ipairs(vim.field(content, "propSet").items) do
    local path <const> = vim.field(property, "name")
    local value <const> = vim.field(property, "val")
    new[path] = text_of(value)
    if new[path] ~= old[path] then changes[#changes + 1] = change(path, value) end
  end
  for path in pairs(old) do
    if not new[path] then changes[#changes + 1] = change(path) end
  end
  return changes, new
end

local function updates_of(vc, session, filter)
  local updates <const>, told <const>, refs <const> = {}, {}, {}
  for _, content in ipairs(properties.collect(vc:seen_by(session), { filter.spec })) do
    local ref <const> = vim.field(content, "obj")
    local changes <const>, new <const> = compare(content, filter.told[ref.id] or {})
    told[ref.id], refs[ref.id] = new, ref
    if not filter.told[ref.id] then
      updates[#updates + 1] = update("enter", ref, changes)
    elseif #changes > 0 then
      updates[#updates + 1] = update("modify", ref, changes)
    end
  end
  for id in pairs(filter.told) do
    if not told[id] then updates[#updates + 1] = update("leave", filter.refs[id], {}) end
  end
  filter.told, filter.refs = told, refs
  return updates
end

local function look(vc, session, collector)
  local sets <const> = {}
  for _, object in ipairs(filters_of(vc, session, collector)) do
    local updates <const> = updates_of(vc, session, object.filter)
    if #updates > 0 then
      sets[#sets + 1] = vim.object("PropertyFilterUpdate", {
        { "filter", vim.ref("PropertyFilter", object.id) },
        { "objectSet", vim.array("ObjectUpdate", updates) },
      })
    end
  end
  return sets
end

-- An empty version begins anew; any other must be the one told last.
local function check_version(vc, session, collector, version)
  if version ~= "" then
    if version ~= tostring(session.versions[collector] or 0) then error(vim.fault "InvalidCollectorVersion") end
    return
  end
  for _, object in ipairs(filters_of(vc, session, collector)) do
    object.filter.told = {}
  end
end

local function wait(vc, collector, args, context)
  local session <const>, options <const> = context.session, args.options or {}
  check_version(vc, session, collector, args.version or "")
  local until_s <const> = timer.now() + math.min(options.maxWaitSeconds or LONGEST_WAIT_S, LONGEST_WAIT_S)
  while true do
    local sets <const> = look(vc, session, collector)
    if #sets > 0 then
      session.versions[collector] = (session.versions[collector] or 0) + 1
      return vim.object("UpdateSet", {
        { "version", tostring(session.versions[collector]) },
        { "filterSet", vim.array("PropertyFilterUpdate", sets) },
      })
    end
    if timer.now() >= until_s or not vc.sessions:is_live(session) then return nil end
    timer.sleep(LOOK_EVERY_S)
  end
end

local function own(vc, session, type, fields)
  local object <const> =
    { type = type, id = ("session[%s]%s"):format(session.key, codec.uuid()), props = {}, owner = session }
  for name, value in pairs(fields) do
    object[name] = value
  end
  vc.tree.objects[object.id] = object
  session.views[#session.views + 1] = object
  return vim.ref(type, object.id)
end

local function destroy(vc, object) vc.tree:remove(object) end

---@type table<string, lab.Operation>
return {
  CreatePropertyCollector = {
    of = "PropertyCollector",
    takes = "",
    run = function(vc, _, _, context) return own(vc, context.session, "PropertyCollector", {}) end,
  },
  CreateFilter = {
    of = "PropertyCollector",
    takes = "spec:PropertyFilterSpec partialUpdates:bool",
    run = function(vc, collector, args, context)
      local filter <const> = { collector = collector, spec = args.spec, told = {}, refs = {} }
      properties.collect(vc:seen_by(context.session), { args.spec }) -- refuses what is wrong
      return own(vc, context.session, "PropertyFilter", { filter = filter })
    end,
  },
  WaitForUpdatesEx = { of = "PropertyCollector", takes = "version? options?:WaitOptions", run = wait },
  WaitForUpdates = { of = "PropertyCollector", takes = "version?", run = wait }, -- what pyVmomi waits for tasks with
  CancelWaitForUpdates = { of = "PropertyCollector", takes = "", run = function() end },
  DestroyPropertyCollector = { of = "PropertyCollector", takes = "", run = destroy },
  DestroyPropertyFilter = { of = "PropertyFilter", takes = "", run = destroy },
}
