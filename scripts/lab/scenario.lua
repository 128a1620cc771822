--- What a site consists of, unless told otherwise. Names are awkward on purpose: blanks, quotes, ampersands, umlauts.
local json <const> = require "lunalift.json"

---@class lab.scenario
local M <const> = {}

local DEFAULT <const> = {
  seed = 42,
  vcenter = { username = "svc-move@vsphere.local", password = [[p&ss <w"ö>rd'1]], latency_s = 0, idle_s = 1800 },
  -- wrapper: "lunalift", "upstream" (without our additions) or "none"
  esxi = {
    esxcli_s = 0,
    rescan_s = 0.05,
    discovery_lag_s = 0,
    wrapper = "lunalift",
    vmkfstools = { rate = 0, xcopy = 1 },
    settings = {},
  },
  array = "ontap", -- or another product of the lab: which array the site has
  ontap = {
    username = "admin",
    password = "s&cret 1",
    svm = "svm0",
    svms = { { name = "svm0" }, { name = "svm1" } },
    shadow_svm = "svm1",
  },
  powerflex = { username = "admin", password = "s&cret 2" }, -- hosts need an adapter of kind sdc
  vantara = {
    username = "maintenance",
    password = "s&cret 2",
    storage_id = "934000612345",
    model = "VSP E790",
    ports = {
      { id = "CL1-A", kind = "fc" },
      { id = "CL2-A", kind = "fc" },
      { id = "CL1-C", kind = "iscsi" },
      { id = "CL2-C", kind = "iscsi" },
    },
    alive_s = 300,
    job_s = 0.02,
    data_reduction = "disabled",
  },
  primera3par = { username = "3paradm", password = [[s"cret\2]] },
  kube = { namespace = "move" },
  datacenters = {
    {
      moref = "datacenter-3",
      name = "Nürnberg & Fürth",
      folder = { moref = "group-d2", name = "Werke" },
      cluster = { moref = "domain-c8", name = 'Cluster "A"' },
      hosts = {
        {
          moref = "host-21",
          name = "esx-01.lab.example",
          hbas = {
            { device = "vmhba0", kind = "block", driver = "smartpqi", model = "Smart Array P408i-a" },
            {
              device = "vmhba2",
              kind = "fc",
              driver = "qlnativefc",
              model = "QLE2772",
              wwnn = "20000025b5000a01",
              wwpn = "a1000025b5000a02", -- beyond 2^63: negative on the wire
            },
            {
              device = "vmhba3",
              kind = "fc",
              driver = "qlnativefc",
              model = "QLE2772",
              wwnn = "20000025b5000a01",
              wwpn = "a1000025b5000b02",
              arrays = {}, -- cabled to a fabric without arrays
            },
            {
              device = "vmhba64",
              kind = "iscsi",
              driver = "iscsi_vmk",
              model = "iSCSI Software Adapter",
              iqn = "iqn.1998-01.com.vmware:esx-01.lab.example:1234:64",
            },
          },
        },
        {
          moref = "host-22",
          name = "esx-02.lab.example",
          hbas = {
            { device = "vmhba0", kind = "block", driver = "smartpqi", model = "Smart Array P408i-a" },
            {
              device = "vmhba64",
              kind = "iscsi",
              driver = "iscsi_vmk",
              model = "iSCSI Software Adapter",
              iqn = "iqn.1998-01.com.vmware:esx-02.lab.example:5678:64",
            },
          },
        },
      },
      datastores = {
        { moref = "datastore-15", name = "ds 1", uuid = "66aa0f10-5d2c3b1e-8a17-005056a10015", size_mib = 4096 },
        {
          moref = "datastore-16",
          name = "Daten & Söhne",
          uuid = "66aa0f11-6e3d4c2f-9b28-005056a10016",
          size_mib = 4096,
        },
      },
      vms = {
        {
          moref = "vm-57",
          name = "Web & Söhne",
          host = "host-21",
          disks = {
            { datastore = "ds 1", file = "web & söhne/web & söhne.vmdk", size_mib = 64 },
            { datastore = "ds 1", file = "web & söhne/web & söhne_1.vmdk", size_mib = 32 },
          },
        },
        {
          moref = "vm-58",
          name = [[O'Neil's "db"]],
          host = "host-22",
          disks = { { datastore = "Daten & Söhne", file = "O'Neil's db/O'Neil's db.vmdk", size_mib = 48 } },
        },
        {
          moref = "vm-59",
          name = "chained",
          host = "host-21",
          disks = { { datastore = "ds 1", file = "chained/chained.vmdk", size_mib = 16, snapshot = true } },
        },
      },
    },
    {
      moref = "datacenter-40",
      name = "DC2",
      hosts = {
        {
          moref = "host-48",
          name = "esx-03.lab.example",
          hbas = {
            {
              device = "vmhba64",
              kind = "iscsi",
              driver = "iscsi_vmk",
              model = "iSCSI Software Adapter",
              iqn = "iqn.1998-01.com.vmware:esx-03.lab.example:9012:64",
            },
          },
        },
      },
      datastores = {
        { moref = "datastore-45", name = "ds 1", uuid = "66aa0f12-7f4e5d30-ac39-005056a10045", size_mib = 2048 },
      },
      vms = {
        {
          moref = "vm-50",
          name = "plain",
          host = "host-48",
          disks = { { datastore = "ds 1", file = "plain/plain.vmdk", size_mib = 16 } },
        },
      },
    },
  },
}

-- Of an array that is none of the above.
local ACCOUNT <const> = { username = "admin", password = "s&cret 3" }

local function is_list(value) return type(value) == "table" and value[1] ~= nil end

--- `over` laid on `base`: tables are merged key by key, lists are replaced.
---@return table
function M.merge(base, over)
  local merged <const> = {}
  for key, value in pairs(base) do
    merged[key] = value
  end
  for key, value in pairs(over) do
    local old <const> = merged[key]
    local are_tables <const> = type(old) == "table" and type(value) == "table"
    merged[key] = are_tables and not is_list(old) and not is_list(value) and M.merge(old, value) or value
  end
  return merged
end

--- The built-in scenario, or what the text of a JSON file makes of it; with another array if one is named.
---@param text? string
---@param array? string product
---@return table? scenario
---@return Fail? why
function M.read(text, array)
  local over <const>, why <const> = json.decode(text or "{}")
  if not over then return nil, why end
  local merged <const> = M.merge(DEFAULT, over)
  merged.array = array or merged.array
  merged[merged.array] = M.merge(ACCOUNT, merged[merged.array] or {})
  return merged
end

return M
