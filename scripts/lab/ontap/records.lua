--- What ONTAP's records show. They are built anew for every request, so that the wire may do with them what it likes.
local list <const> = require "lab.list"
local san <const> = require "lab.ontap.san"

---@class ontap.records
local M <const> = {}

local each <const>, some <const> = list.each, list.some

M.VERSION = {
  generation = 9,
  major = 14,
  minor = 1,
  full = "NetApp Release 9.14.1P2: Thu Mar 28 16:45:50 UTC 2024",
}

---@type table<string, hal.Kind>
M.KIND = {
  node = {
    path = "/api/cluster/nodes",
    keys = { "uuid" },
    always = { "uuid", "name" },
    fields = { "state", "model", "version" },
  },
  svm = {
    path = "/api/svm/svms",
    keys = { "uuid" },
    always = { "uuid", "name" },
    fields = { "state", "subtype", "iscsi", "fcp", "nvme" },
  },
  lun = {
    path = "/api/storage/luns",
    keys = { "uuid" },
    always = { "uuid", "name", "svm" },
    fields = {
      "serial_number",
      "enabled",
      "os_type",
      "class",
      "space",
      "status",
      "location",
      "create_time",
      "lun_maps",
    },
    expensive = { lun_maps = true },
  },
  igroup = {
    path = "/api/protocols/san/igroups",
    keys = { "uuid" },
    always = { "uuid", "name", "svm" },
    fields = { "protocol", "os_type", "initiators", "delete_on_unmap", "comment", "lun_maps" },
    expensive = { lun_maps = true },
  },
  map = {
    path = "/api/protocols/san/lun-maps",
    keys = { "lun.uuid", "igroup.uuid" },
    always = { "svm", "lun", "igroup" },
    fields = { "logical_unit_number" },
  },
  iscsi = {
    path = "/api/protocols/san/iscsi/services",
    keys = { "svm.uuid" },
    always = { "svm" },
    fields = { "enabled", "target" },
  },
  fcp = {
    path = "/api/protocols/san/fcp/services",
    keys = { "svm.uuid" },
    always = { "svm" },
    fields = { "enabled", "target" },
  },
  ip = {
    path = "/api/network/ip/interfaces",
    keys = { "uuid" },
    always = { "uuid", "name" },
    fields = { "svm", "ip", "services", "service_policy", "enabled", "state", "scope", "location" },
  },
  fc = {
    path = "/api/network/fc/interfaces",
    keys = { "uuid" },
    always = { "uuid", "name", "svm" },
    fields = { "wwpn", "wwnn", "data_protocol", "enabled", "state", "location" },
  },
}

function M.initiator_kind(igroup)
  local path <const> = M.KIND.igroup.path .. "/" .. igroup.uuid .. "/initiators"
  return { path = path, keys = { "name" }, always = { "name", "igroup" }, fields = { "comment" } }
end

local function ref(object) return { uuid = object.uuid, name = object.name } end

function M.node(self)
  return { uuid = self.node.uuid, name = self.node.name, state = "up", model = "AFF-A400", version = M.VERSION }
end

function M.svm(svm)
  return {
    uuid = svm.uuid,
    name = svm.name,
    state = "running",
    subtype = "default",
    iscsi = { allowed = true, enabled = svm.iqn ~= nil },
    fcp = { allowed = true, enabled = svm.fc_ports[1] ~= nil },
    nvme = { allowed = true, enabled = false },
  }
end

function M.lun(self, lun)
  local maps <const> = san.maps_where(self, "lun", lun)
  return {
    uuid = lun.uuid,
    name = lun.name,
    svm = ref(lun.svm),
    serial_number = lun.serial,
    enabled = true,
    os_type = "linux",
    class = lun.class,
    space = { size = lun.size_bytes, used = 0, guarantee = { requested = false, reserved = false } },
    status = { state = "online", mapped = #maps > 0, read_only = false, container_state = "online" },
    location = {
      volume = { name = lun.name:match "^/vol/([^/]+)/" },
      logical_unit = lun.name:match "[^/]+$",
      node = ref(self.node),
    },
    create_time = lun.created,
    lun_maps = some(
      each(maps, function(map) return { logical_unit_number = map.number, igroup = ref(map.igroup) } end)
    ),
  }
end

function M.igroup(self, igroup)
  return {
    uuid = igroup.uuid,
    name = igroup.name,
    svm = ref(igroup.svm),
    protocol = igroup.protocol,
    os_type = igroup.os_type,
    comment = igroup.comment,
    delete_on_unmap = igroup.delete_on_unmap,
    initiators = some(
      each(igroup.initiators, function(initiator) return { name = initiator.name, comment = initiator.comment } end)
    ),
    lun_maps = some(
      each(
        san.maps_where(self, "igroup", igroup),
        function(map) return { logical_unit_number = map.number, lun = ref(map.lun) } end
      )
    ),
  }
end

function M.initiator(igroup, initiator)
  return { name = initiator.name, comment = initiator.comment, igroup = ref(igroup) }
end

function M.map(map)
  return {
    svm = ref(map.lun.svm),
    lun = ref(map.lun),
    igroup = ref(map.igroup),
    logical_unit_number = map.number,
  }
end

function M.iscsi(svm) return { svm = ref(svm), enabled = true, target = { name = svm.iqn, alias = svm.name } } end

function M.fcp(svm) return { svm = ref(svm), enabled = true, target = { name = san.pairs_of(svm.wwnn) } } end

function M.ip(self, svm)
  return {
    uuid = svm.lif_uuid,
    name = svm.name .. "_iscsi_1",
    svm = ref(svm),
    ip = { address = svm.address, netmask = "24" },
    services = { "data_core", "data_iscsi" },
    service_policy = { name = "default-data-blocks" },
    enabled = true,
    state = "up",
    scope = "svm",
    location = { home_node = ref(self.node), node = ref(self.node), port = { name = "e0c" } },
  }
end

function M.fc(self, svm)
  local records <const> = {}
  for i, wwpn in ipairs(svm.fc_ports) do
    records[i] = {
      uuid = svm.fc_uuids[i],
      name = ("%s_fc_%d"):format(svm.name, i),
      svm = ref(svm),
      wwpn = san.pairs_of(wwpn),
      wwnn = san.pairs_of(svm.wwnn),
      data_protocol = "fcp",
      enabled = true,
      state = "up",
      location = { home_node = ref(self.node), port = { name = i .. "a" } },
    }
  end
  return records
end

return M
