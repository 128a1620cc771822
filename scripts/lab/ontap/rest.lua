--- ONTAP's REST calls: the address book, and what each call does.
local codec <const> = require "lunalift.codec"
local hal <const> = require "lab.ontap.hal"
local list <const> = require "lab.list"
local records <const> = require "lab.ontap.records"
local san <const> = require "lab.ontap.san"

---@class ontap.rest
local M <const> = {}

local by <const>, each <const>, find <const>, keep <const> = list.by, list.each, list.find, list.keep
local OS_TYPES <const> =
  { aix = true, hpux = true, hyper_v = true, linux = true, solaris = true, vmware = true, windows = true, xen = true }
local PROTOCOLS <const> = { fcp = true, iscsi = true, mixed = true }

-- Scope: an account, or a tunnelling header, may narrow the cluster to one SVM.

--- By uuid, by name, or by both.
local function referred(items, given)
  return find(
    items,
    function(item)
      return (given.uuid == nil or item.uuid == given.uuid) and (given.name == nil or item.name == given.name)
    end
  )
end

local function svm_by_ref(self, given)
  return referred(self.svms, given)
    or hal.refuse(404, "2621462", ('SVM "%s" does not exist.'):format(given.name or given.uuid), "svm")
end

local function scope_of(self, request, account)
  local header <const> = { name = request.headers["x-dot-svm-name"], uuid = request.headers["x-dot-svm-uuid"] }
  local own <const> = account.svm and svm_by_ref(self, { name = account.svm })
  if not next(header) then return own end
  local tunnel <const> = svm_by_ref(self, header)
  if own and own ~= tunnel then hal.refuse(403, "6", "not authorized for that command") end
  return tunnel
end

local function in_scope(request, items)
  return keep(items, function(item) return not request.scope or (item.svm or item) == request.scope end)
end

--- The SVM that a body names, or the scope in its place.
local function svm_of(self, request)
  local given <const> = request.body.svm
  if type(given) ~= "table" or not (given.uuid or given.name) then
    local text <const> = 'No SVM was specified. Either "svm.name" or "svm.uuid" must be supplied.'
    return request.scope or hal.refuse(400, "2621707", text, "svm")
  end
  local svm <const> = svm_by_ref(self, given)
  if request.scope and request.scope ~= svm then
    hal.refuse(400, "2621706", "The specified SVM does not match the SVM of the request.", "svm")
  end
  return svm
end

local function igroup_at(self, request, uuid)
  return by(in_scope(request, self.igroups), "uuid", uuid)
    or hal.refuse(404, "5374852", "The specified initiator group does not exist.", "igroup.uuid")
end

local function forced(request) return request.query.allow_delete_while_mapped == "true" end

local function refuse_while_mapped(self, request, igroup)
  if forced(request) or #san.maps_where(self, "igroup", igroup) == 0 then return end
  local text <const> = 'Initiator group "%s" is mapped to one or more LUNs.'
  hal.refuse(409, "1254213", text:format(igroup.name), "allow_delete_while_mapped")
end

-- The calls

local Call <const> = {}

function Call.cluster(self, request)
  local kind <const> =
    { path = "/api/cluster", keys = {}, always = { "uuid", "name" }, fields = { "version", "location" } }
  return hal.one(request, kind, { uuid = self.uuid, name = self.name, version = records.VERSION })
end

--- A list and its single records. `unknown`: the code for a record that is not there.
local function readable(name, kind, all, unknown)
  Call[name] = function(self, request) return hal.list(request, kind, all(self, request), self.page_limit) end
  Call[name .. "_one"] = function(self, request, ...)
    local keys <const> = { ... }
    local found <const> = find(all(self, request), function(record) return hal.names(kind, record, keys) end)
    return hal.one(request, kind, found or hal.refuse(404, unknown or "4", "entry doesn't exist", kind.keys[1]))
  end
end

local function per_svm(record, has)
  return function(self, request)
    local svms <const> = keep(in_scope(request, self.svms), has)
    return each(svms, function(svm) return record(svm, self) end)
  end
end

local function has_iscsi(svm) return svm.iqn ~= nil end
local function has_fc(svm) return svm.fc_ports[1] ~= nil end
local function any() return true end

readable("nodes", records.KIND.node, function(self) return { records.node(self) } end)
readable("svms", records.KIND.svm, per_svm(records.svm, any))
readable("iscsi", records.KIND.iscsi, per_svm(records.iscsi, has_iscsi))
readable("fcp", records.KIND.fcp, per_svm(records.fcp, has_fc))
readable("ip", records.KIND.ip, per_svm(function(svm, self) return records.ip(self, svm) end, has_iscsi))
readable("fc", records.KIND.fc, function(self, request)
  local ports <const> = {}
  for _, svm in ipairs(in_scope(request, self.svms)) do
    table.move(records.fc(self, svm), 1, #svm.fc_ports, #ports + 1, ports)
  end
  return ports
end)
readable("luns", records.KIND.lun, function(self, request)
  return each(in_scope(request, self.luns), function(lun) return records.lun(self, lun) end)
end)
readable("igroups", records.KIND.igroup, function(self, request)
  return each(in_scope(request, self.igroups), function(igroup) return records.igroup(self, igroup) end)
end, "5374852")
readable("maps", records.KIND.map, function(self, request)
  return each(keep(self.maps, function(map) return not request.scope or map.lun.svm == request.scope end), records.map)
end, "5374922")

local IGROUP_BODY <const> = {
  svm = true,
  name = true,
  os_type = true,
  protocol = true,
  initiators = true,
  delete_on_unmap = true,
  comment = true,
}

local function check_choice(body, field, choices)
  if choices[body[field]] then return end
  local text <const> = ('The value "%s" is invalid for field "%s"'):format(tostring(body[field]), field)
  hal.refuse(400, "262197", text, field)
end

local function check_igroup_name(self, svm, name)
  if type(name) ~= "string" or #name < 1 or #name > 96 then
    hal.refuse(400, "2", 'The field "name" is missing or has an invalid value.', "name")
  end
  if find(self.igroups, function(igroup) return igroup.svm == svm and igroup.name == name end) then
    local text <const> = 'An initiator group named "%s" already exists in SVM "%s".'
    hal.refuse(409, "5374023", text:format(name, svm.name), "name")
  end
end

function Call.create_igroup(self, request)
  local body <const> = request.body
  hal.only(body, IGROUP_BODY)
  local svm <const> = svm_of(self, request)
  check_igroup_name(self, svm, body.name)
  check_choice(body, "os_type", OS_TYPES)
  if body.protocol ~= nil then check_choice(body, "protocol", PROTOCOLS) end
  local igroup <const> = {
    uuid = codec.uuid(),
    name = body.name,
    svm = svm,
    os_type = body.os_type,
    protocol = body.protocol or "mixed",
    comment = body.comment,
    delete_on_unmap = body.delete_on_unmap == true,
    initiators = {},
  }
  san.add_initiators(self, igroup, body.initiators or {})
  self.igroups[#self.igroups + 1] = igroup
  return hal.created(request, records.KIND.igroup, { records.igroup(self, igroup) })
end

function Call.change_igroup(self, request, uuid)
  local igroup <const>, body <const> = igroup_at(self, request, uuid), request.body
  hal.only(body, { name = true, os_type = true, comment = true, delete_on_unmap = true })
  if body.name ~= nil and body.name ~= igroup.name then check_igroup_name(self, igroup.svm, body.name) end
  if body.os_type ~= nil then check_choice(body, "os_type", OS_TYPES) end
  for field, value in pairs(body) do
    igroup[field] = value
  end
  san.publish_all(self, igroup)
  return hal.answer(200)
end

function Call.delete_igroup(self, request, uuid)
  local igroup <const> = igroup_at(self, request, uuid)
  refuse_while_mapped(self, request, igroup)
  igroup.delete_on_unmap = false
  for _, map in ipairs(san.maps_where(self, "igroup", igroup)) do
    san.remove_map(self, map)
  end
  san.remove_igroup(self, igroup)
  return hal.answer(200)
end

function Call.initiators(self, request, uuid)
  local igroup <const> = igroup_at(self, request, uuid)
  local shown <const> = each(igroup.initiators, function(initiator) return records.initiator(igroup, initiator) end)
  return hal.list(request, records.initiator_kind(igroup), shown, self.page_limit)
end

function Call.add_initiators(self, request, uuid)
  local igroup <const>, body <const> = igroup_at(self, request, uuid), request.body
  hal.only(body, { name = true, records = true, comment = true })
  if body.name ~= nil and body.records ~= nil then
    hal.refuse(400, "262186", 'Field "name" cannot be used with field "records".', "name")
  end
  local wanted <const> = body.records or { { name = body.name, comment = body.comment } }
  if #wanted == 0 then hal.refuse(400, "2", 'A value is missing for "name".', "name") end
  local added <const> = san.add_initiators(self, igroup, wanted)
  san.publish_all(self, igroup)
  local shown <const> = each(added, function(initiator) return records.initiator(igroup, initiator) end)
  return hal.created(request, records.initiator_kind(igroup), shown)
end

local function member(igroup, name)
  local initiator <const>, index <const> = san.held(igroup, name)
  if initiator then return initiator, index end
  local text <const> = 'Initiator "%s" is not a member of initiator group "%s".'
  hal.refuse(404, "5374034", text:format(name, igroup.name), "name")
end

function Call.initiator(self, request, uuid, name)
  local igroup <const> = igroup_at(self, request, uuid)
  return hal.one(request, records.initiator_kind(igroup), records.initiator(igroup, (member(igroup, name))))
end

function Call.change_initiator(self, request, uuid, name)
  hal.only(request.body, { comment = true })
  member(igroup_at(self, request, uuid), name).comment = request.body.comment
  return hal.answer(200)
end

function Call.remove_initiator(self, request, uuid, name)
  local igroup <const> = igroup_at(self, request, uuid)
  local _, index <const> = member(igroup, name)
  refuse_while_mapped(self, request, igroup)
  table.remove(igroup.initiators, index)
  san.publish_all(self, igroup)
  return hal.answer(200)
end

local function named(body, field)
  local given <const> = body[field]
  if type(given) == "table" and (given.uuid or given.name) then return given end
  hal.refuse(400, "2", ('Either "%s.uuid" or "%s.name" must be supplied.'):format(field, field), field)
end

function Call.create_map(self, request)
  local body <const> = request.body
  hal.only(body, { svm = true, lun = true, igroup = true, logical_unit_number = true })
  local svm <const> = svm_of(self, request)
  local function mine(items)
    return keep(items, function(item) return item.svm == svm end)
  end
  local lun <const> = referred(mine(self.luns), named(body, "lun"))
    or hal.refuse(404, "5374875", "The specified LUN does not exist or is not accessible.", "lun.uuid")
  local igroup <const> = referred(mine(self.igroups), named(body, "igroup"))
    or hal.refuse(404, "5374878", "No such initiator group exists in the SVM of the LUN.", "igroup.uuid")
  return hal.created(
    request,
    records.KIND.map,
    { records.map(san.add_map(self, lun, igroup, body.logical_unit_number)) }
  )
end

function Call.delete_map(self, request, lun_uuid, igroup_uuid)
  local lun <const> = by(in_scope(request, self.luns), "uuid", lun_uuid)
    or hal.refuse(404, "5374875", "The specified LUN does not exist or is not accessible.", "lun.uuid")
  local igroup <const> = find(self.igroups, function(item) return item.uuid == igroup_uuid and item.svm == lun.svm end)
    or hal.refuse(404, "5374878", "No such initiator group exists in the SVM of the LUN.", "igroup.uuid")
  local map <const> = by(san.maps_where(self, "lun", lun), "igroup", igroup)
    or hal.refuse(404, "5374922", "The specified LUN map does not exist.")
  san.remove_map(self, map)
  return hal.answer(200)
end

local ROUTES <const> = {
  { "^/cluster$", GET = Call.cluster },
  { "^/cluster/nodes$", GET = Call.nodes },
  { "^/cluster/nodes/([^/]+)$", GET = Call.nodes_one },
  { "^/svm/svms$", GET = Call.svms },
  { "^/svm/svms/([^/]+)$", GET = Call.svms_one },
  { "^/storage/luns$", GET = Call.luns },
  { "^/storage/luns/([^/]+)$", GET = Call.luns_one },
  { "^/protocols/san/igroups$", GET = Call.igroups, POST = Call.create_igroup },
  {
    "^/protocols/san/igroups/([^/]+)$",
    GET = Call.igroups_one,
    PATCH = Call.change_igroup,
    DELETE = Call.delete_igroup,
  },
  { "^/protocols/san/igroups/([^/]+)/initiators$", GET = Call.initiators, POST = Call.add_initiators },
  {
    "^/protocols/san/igroups/([^/]+)/initiators/([^/]+)$",
    GET = Call.initiator,
    PATCH = Call.change_initiator,
    DELETE = Call.remove_initiator,
  },
  { "^/protocols/san/lun%-maps$", GET = Call.maps, POST = Call.create_map },
  { "^/protocols/san/lun%-maps/([^/]+)/([^/]+)$", GET = Call.maps_one, DELETE = Call.delete_map },
  { "^/protocols/san/iscsi/services$", GET = Call.iscsi },
  { "^/protocols/san/iscsi/services/([^/]+)$", GET = Call.iscsi_one },
  { "^/protocols/san/fcp/services$", GET = Call.fcp },
  { "^/protocols/san/fcp/services/([^/]+)$", GET = Call.fcp_one },
  { "^/network/ip/interfaces$", GET = Call.ip },
  { "^/network/ip/interfaces/([^/]+)$", GET = Call.ip_one },
  { "^/network/fc/interfaces$", GET = Call.fc },
  { "^/network/fc/interfaces/([^/]+)$", GET = Call.fc_one },
}

local function dispatch(self, request)
  for _, route in ipairs(ROUTES) do
    local found <const> = { request.path:match(route[1]) }
    if found[1] then
      local call <const> = route[request.method] or hal.refuse(405, "3", "The operation is not supported.")
      local keys <const> = each(found, codec.unpercent)
      return call(self, request, table.unpack(keys))
    end
  end
  hal.refuse(404, "3", "API not found", request.path)
end

--- Answer one request of the wire.
---@param raw ServerRequest
---@return ServerAnswer
function M.handle(self, raw)
  return hal.guard(function()
    local account <const> = hal.account(raw, self.users)
    local request <const> = hal.parse(raw)
    request.scope = scope_of(self, request, account)
    return dispatch(self, request)
  end)
end

return M
