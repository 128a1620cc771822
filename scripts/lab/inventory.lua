--- Fills a vCenter's tree with what a site has: folders, datacenters, clusters, hosts, datastores, VMs and their disks.
local esxi <const> = require "lab.esxi"
local storage <const> = require "lab.storage"
local summaries <const> = require "lab.summaries"
local timer <const> = require "lunalift.timer"
local vim <const> = require "lab.vim"
local world <const> = require "lab.world"

---@class lab.inventory
local M <const> = {}

---@class lab.Datastore
---@field moref string
---@field name string
---@field uuid string
---@field folder string where its files are
---@field type string VMFS, NFS, vsan or VVOL
---@field naa? string device that a VMFS lies on
---@field size_bytes integer

---@class lab.Disk
---@field key integer
---@field path string "[ds] dir/x.vmdk"
---@field datastore lab.Datastore
---@field size_bytes integer
---@field uuid string
---@field parent? lab.Disk what a snapshot froze
---@field files { name: string, size: integer, type: string }[] descriptor and extent

---@class lab.Vm
---@field moref string
---@field name string
---@field uuid string
---@field instance_uuid string
---@field host lab.Host
---@field disks lab.Disk[]
---@field power "poweredOff"|"poweredOn"

local ref <const> = world.ref_of

local function number_of(moref) return math.tointeger(tonumber(moref:match "%d+$")) end

local function datastore_ref(datastore) return vim.ref("Datastore", datastore.moref) end

local function url_of(datastore) return "ds:///vmfs/volumes/" .. datastore.uuid .. "/" end

local function vmfs_info(datastore)
  local size <const> = vim.long(datastore.size_bytes)
  return vim.derived("VmfsDatastoreInfo", {
    { "name", datastore.name },
    { "url", url_of(datastore) },
    { "freeSpace", vim.long(datastore.size_bytes // 2) },
    { "maxFileSize", vim.long(70368744177664) },
    { "maxVirtualDiskCapacity", vim.long(68169720922112) },
    { "maxMemoryFileSize", vim.long(70368744177664) },
    {
      "vmfs",
      vim.object("HostVmfsVolume", {
        { "type", "VMFS" },
        { "name", datastore.name },
        { "capacity", size },
        { "blockSizeMb", 1 },
        { "blockSize", 1024 },
        { "maxBlocks", 63963136 },
        { "majorVersion", 6 },
        { "version", "6.82" },
        { "uuid", datastore.uuid },
        {
          "extent",
          vim.array("HostScsiDiskPartition", {
            vim.object("HostScsiDiskPartition", { { "diskName", datastore.naa }, { "partition", 1 } }),
          }),
        },
        { "vmfsUpgradable", false },
        { "ssd", false },
        { "local", false },
      }),
    },
  })
end

local INFOS <const> = {
  VMFS = vmfs_info,
  NFS = function(datastore)
    return vim.derived("NasDatastoreInfo", {
      { "name", datastore.name },
      { "url", url_of(datastore) },
      {
        "nas",
        vim.object("HostNasVolume", {
          { "type", "NFS" },
          { "name", datastore.name },
          { "capacity", vim.long(datastore.size_bytes) },
          { "remoteHost", "filer.lab.example" },
          { "remotePath", "/exports/" .. datastore.moref },
        }),
      },
    })
  end,
  vsan = function(datastore)
    return vim.derived("VsanDatastoreInfo", {
      { "name", datastore.name },
      { "url", url_of(datastore) },
      { "membershipUuid", datastore.uuid },
    })
  end,
  VVOL = function(datastore)
    return vim.derived("VvolDatastoreInfo", {
      { "name", datastore.name },
      { "url", url_of(datastore) },
      {
        "vvolDS",
        vim.object("HostVvolVolume", {
          { "type", "VVOL" },
          { "name", datastore.name },
          { "capacity", vim.long(datastore.size_bytes) },
          { "scId", "vvol:" .. datastore.uuid },
        }),
      },
    })
  end,
}

local function mounts(datastore, hosts)
  local list <const> = {}
  for _, host in ipairs(hosts) do
    list[#list + 1] = vim.object("DatastoreHostMount", {
      { "key", vim.ref("HostSystem", host.moref) },
      {
        "mountInfo",
        vim.object("HostMountInfo", {
          { "path", "/vmfs/volumes/" .. datastore.uuid },
          { "accessMode", "readWrite" },
          { "mounted", true },
          { "accessible", true },
        }),
      },
    })
  end
  return vim.array("DatastoreHostMount", list)
end

local function refs_to(type, list)
  return function()
    local refs <const> = {}
    for i, each in ipairs(list) do
      refs[i] = vim.ref(type, each.moref)
    end
    return vim.refs(refs)
  end
end

--- Put a datastore below a datacenter's datastore folder.
---@param tree lab.World
---@param datastore lab.Datastore
---@param hosts lab.Host[] that mount it
---@param vms lab.Vm[] with disks on it
function M.add_datastore(tree, folder, datastore, hosts, vms)
  local size <const> = vim.long(datastore.size_bytes)
  local browser <const> = "datastoreBrowser-" .. datastore.moref
  tree:add("HostDatastoreBrowser", browser, {}).datastore = datastore
  local object <const> = tree:entity("Datastore", datastore.moref, folder, datastore.name, {
    info = INFOS[datastore.type](datastore),
    summary = function()
      return vim.object("DatastoreSummary", {
        { "datastore", datastore_ref(datastore) },
        { "name", datastore.name },
        { "url", url_of(datastore) },
        { "capacity", size },
        { "freeSpace", vim.long(datastore.free_bytes or datastore.size_bytes // 2) },
        { "uncommitted", vim.long(0) },
        { "accessible", datastore.accessible ~= false },
        { "multipleHostAccess", #hosts > 1 },
        { "type", datastore.type },
        { "maintenanceMode", "normal" },
      })
    end,
    vm = refs_to("VirtualMachine", vms),
    host = mounts(datastore, hosts),
    browser = vim.ref("HostDatastoreBrowser", browser),
    overallStatus = "green",
  })
  object.datastore = datastore
  return object
end

local MANAGERS <const> = {
  { "storageSystem", "HostStorageSystem", "storageSystem" },
  { "advancedOption", "OptionManager", "EsxHostAdvSettings" },
  { "imageConfigManager", "HostImageConfigManager", "imageConfigManager" },
  { "kernelModuleSystem", "HostKernelModuleSystem", "kernelModuleSystem" },
}

local function management(host)
  local function vnic()
    return vim.object("HostVirtualNic", {
      { "device", "vmk0" },
      { "key", "management.key-vim.host.VirtualNic-vmk0" },
      { "portgroup", "Management Network" },
      {
        "spec",
        vim.object("HostVirtualNicSpec", {
          {
            "ip",
            vim.object(
              "HostIpConfig",
              { { "dhcp", false }, { "ipAddress", host.address }, { "subnetMask", "255.0.0.0" } }
            ),
          },
          { "mac", "00:50:56:60:00:01" },
        }),
      },
    })
  end
  return vim.object("HostVirtualNicManagerInfo", {
    {
      "netConfig",
      vim.array("VirtualNicManagerNetConfig", {
        vim.object("VirtualNicManagerNetConfig", {
          { "nicType", "vmotion" },
          { "multiSelectAllowed", true },
          { "candidateVnic", vim.array("HostVirtualNic", { vnic() }) },
        }),
        vim.object("VirtualNicManagerNetConfig", {
          { "nicType", "management" },
          { "multiSelectAllowed", true },
          { "candidateVnic", vim.array("HostVirtualNic", { vnic() }) },
          { "selectedVnic", vim.strings { "management.key-vim.host.VirtualNic-vmk0" } },
        }),
      }),
    },
  })
end

local function product(host)
  return vim.object("AboutInfo", {
    { "name", "VMware ESXi" },
    { "fullName", "VMware ESXi 8.0.3 build-24022510" },
    { "vendor", "VMware, Inc." },
    { "version", host.version or "8.0.3" },
    { "build", "24022510" },
    { "osType", "vmnix-x86" },
    { "productLineId", "embeddedEsx" },
    { "apiType", "HostAgent" },
    { "apiVersion", "8.0.3.0" },
  })
end

local function host_runtime(host)
  return function()
    return vim.object("HostRuntimeInfo", {
      { "connectionState", vim.scalar("HostSystemConnectionState", host.connected and "connected" or "notResponding") },
      { "powerState", vim.scalar("HostSystemPowerState", host.connected and "poweredOn" or "unknown") },
      { "inMaintenanceMode", host.in_maintenance or false },
    })
  end
end

--- Put a host below its compute resource.
---@param tree lab.World
---@param host lab.Host
---@param vms lab.Vm[] running there
function M.add_host(tree, parent, host, vms)
  local managers <const> = {}
  for _, manager in ipairs(MANAGERS) do
    local id <const> = manager[3] .. "-" .. number_of(host.moref)
    managers[#managers + 1] = { manager[1], vim.ref(manager[2], id) }
    tree:add(manager[2], id, { storageDeviceInfo = function() return storage.info(host) end }).host = host
  end
  local object <const> = tree:entity("HostSystem", host.moref, parent, host.name, {
    runtime = host_runtime(host),
    configManager = vim.object("HostConfigManager", managers),
    config = function()
      return vim.object("HostConfigInfo", {
        { "host", vim.ref("HostSystem", host.moref) },
        { "product", product(host) },
        { "storageDevice", storage.info(host) },
        { "virtualNicManagerInfo", management(host) },
        { "lockdownMode", host.lockdown or "lockdownDisabled" },
      })
    end,
    hardware = vim.object("HostHardwareInfo", {
      {
        "systemInfo",
        vim.object("HostSystemInfo", { { "vendor", "Lab" }, { "model", "Loopback" }, { "uuid", host.uuid } }),
      },
    }),
    summary = summaries.of_host(host, host_runtime(host), product(host)),
    datastore = refs_to("Datastore", host.datastores),
    vm = refs_to("VirtualMachine", vms),
    overallStatus = "green",
  })
  object.host = host
  return object
end

local function rdm(disk, lun)
  local uuid <const> = esxi.uuid { number = 0, lun = lun }
  return vim.derived("VirtualDiskRawDiskMappingVer1BackingInfo", {
    { "fileName", disk.path },
    { "datastore", datastore_ref(disk.datastore) },
    { "lunUuid", uuid },
    { "deviceName", "vml." .. uuid },
    { "compatibilityMode", "physicalMode" },
    { "diskMode", "independent_persistent" },
    { "uuid", disk.uuid },
    { "sharing", "sharingNone" },
  })
end

local function flat(disk, is_top)
  local fields <const> = {
    { "fileName", disk.path },
    { "datastore", datastore_ref(disk.datastore) },
    { "backingObjectId", disk.raw and disk.raw.vvol },
    { "diskMode", "persistent" },
    { "split", false },
    { "writeThrough", false },
    { "thinProvisioned", true },
    { "uuid", disk.uuid },
    { "contentId", (disk.uuid:gsub("%-", "")) },
    { "parent", disk.parent and flat(disk.parent) },
    { "digestEnabled", false },
    { "sharing", "sharingNone" },
  }
  return (is_top and vim.derived or vim.object)("VirtualDiskFlatVer2BackingInfo", fields)
end

local function description(label, summary)
  return vim.derived("Description", { { "label", label }, { "summary", summary } })
end

local function devices_of(vm)
  local list <const> = {
    vim.derived("ParaVirtualSCSIController", {
      { "key", 1000 },
      { "deviceInfo", description("SCSI controller 0", "VMware paravirtual SCSI") },
      { "controllerKey", 100 },
      { "unitNumber", 3 },
      { "busNumber", 0 },
      { "hotAddRemove", true },
      { "sharedBus", "noSharing" },
      { "scsiCtlrUnitNumber", 7 },
    }),
    vim.derived("VirtualVmxnet3", {
      { "key", 4000 },
      { "deviceInfo", description("Network adapter 1", "VM Network") },
      { "controllerKey", 100 },
      { "unitNumber", 7 },
      { "macAddress", "00:50:56:80:00:01" },
    }),
  }
  for i, disk in ipairs(vm.disks) do
    list[#list + 1] = vim.derived("VirtualDisk", {
      { "key", disk.key },
      { "deviceInfo", description("Hard disk " .. i, ("%d KB"):format(disk.size_bytes // 1024)) },
      { "backing", disk.raw and disk.raw.naa and rdm(disk, vm.host.fabric:find(disk.raw.naa)) or flat(disk, true) },
      { "controllerKey", 1000 },
      { "unitNumber", i - 1 },
      { "capacityInKB", vim.long(disk.size_bytes // 1024) },
      { "capacityInBytes", vim.long(disk.size_bytes) },
      { "diskObjectId", number_of(vm.moref) .. "-" .. disk.key },
    })
  end
  return vim.array("VirtualDevice", list)
end

local function layout_ex(vm)
  local files <const>, disks <const> = {}, {}
  local function add(file)
    local key <const> = #files
    files[key + 1] = vim.object("VirtualMachineFileLayoutExFileInfo", {
      { "key", key },
      { "name", file.name },
      { "type", file.type },
      { "size", vim.long(file.size) },
      { "uniqueSize", vim.long(file.size) },
      { "accessible", true },
    })
    return key
  end
  for _, disk in ipairs(vm.disks) do
    local chain <const>, node = {}, disk
    while node do
      local keys <const> = {}
      for i, file in ipairs(node.files) do
        keys[i] = add(file)
      end
      table.insert(
        chain,
        1,
        vim.object("VirtualMachineFileLayoutExDiskUnit", { { "fileKey", vim.array("int", keys) } })
      )
      node = node.parent
    end
    disks[#disks + 1] = vim.object("VirtualMachineFileLayoutExDiskLayout", {
      { "key", disk.key },
      { "chain", vim.array("VirtualMachineFileLayoutExDiskUnit", chain) },
    })
  end
  return vim.object("VirtualMachineFileLayoutEx", {
    { "file", vim.array("VirtualMachineFileLayoutExFileInfo", files) },
    { "disk", vim.array("VirtualMachineFileLayoutExDiskLayout", disks) },
    { "timestamp", vim.date(timer.iso()) },
  })
end

local function snapshots(vm)
  local is_chain = false
  for _, disk in ipairs(vm.disks) do
    is_chain = is_chain or disk.parent ~= nil
  end
  if not is_chain then return nil end
  local snapshot <const> = vim.ref("VirtualMachineSnapshot", "snapshot-" .. number_of(vm.moref))
  return vim.object("VirtualMachineSnapshotInfo", {
    { "currentSnapshot", snapshot },
    {
      "rootSnapshotList",
      vim.array("VirtualMachineSnapshotTree", {
        vim.object("VirtualMachineSnapshotTree", {
          { "snapshot", snapshot },
          { "vm", vim.ref("VirtualMachine", vm.moref) },
          { "name", "before the move" },
          { "description", "" },
          { "id", 1 },
          { "createTime", vim.date "2026-01-31T12:00:00Z" },
          { "state", "poweredOff" },
          { "quiesced", false },
        }),
      }),
    },
  })
end

local function datastores_of(vm)
  local list <const>, seen <const> = {}, {}
  for _, disk in ipairs(vm.disks) do
    if not seen[disk.datastore] then
      seen[disk.datastore] = true
      list[#list + 1] = datastore_ref(disk.datastore)
    end
  end
  return vim.refs(list)
end

local function vm_runtime(vm)
  return function()
    return vim.object("VirtualMachineRuntimeInfo", {
      { "host", vim.ref("HostSystem", vm.host.moref) },
      {
        "connectionState",
        vim.scalar("VirtualMachineConnectionState", vm.host.connected and "connected" or "disconnected"),
      },
      { "powerState", vim.scalar("VirtualMachinePowerState", vm.power) },
      { "toolsInstallerMounted", false },
    })
  end
end

--- Put a VM below a VM folder.
---@param tree lab.World
---@param vm lab.Vm
function M.add_vm(tree, folder, vm)
  local object <const> = tree:entity("VirtualMachine", vm.moref, folder, vm.name, {
    runtime = vm_runtime(vm),
    config = function()
      return vim.object("VirtualMachineConfigInfo", {
        { "changeVersion", "2026-01-31T12:00:00.000000Z" },
        { "modified", vim.date "1970-01-01T00:00:00Z" },
        { "name", vm.name },
        { "guestFullName", summaries.GUEST_NAME },
        { "version", "vmx-19" },
        { "uuid", vm.uuid },
        { "instanceUuid", vm.instance_uuid },
        { "template", false },
        { "guestId", summaries.GUEST_ID },
        {
          "files",
          vim.object("VirtualMachineFileInfo", { { "vmPathName", summaries.vmx_of(vm) } }),
        },
        {
          "hardware",
          vim.object("VirtualHardware", {
            { "numCPU", summaries.NUM_CPU },
            { "memoryMB", summaries.MEMORY_MIB },
            { "device", devices_of(vm) },
          }),
        },
        { "changeTrackingEnabled", false },
      })
    end,
    summary = function() return summaries.of_vm(vm, vm_runtime(vm)) end,
    datastore = datastores_of(vm),
    layoutEx = function() return layout_ex(vm) end,
    snapshot = function() return snapshots(vm) end,
    overallStatus = "green",
  })
  object.vm = vm
  return object
end

--- A datacenter with its four folders.
---@param tree lab.World
---@return lab.Object datacenter
---@return { vm: lab.Object, host: lab.Object, datastore: lab.Object, network: lab.Object } folders
function M.add_datacenter(tree, parent, moref, name)
  local datacenter <const> = tree:entity("Datacenter", moref, parent, name, {})
  local folders <const> = {}
  for _, each in ipairs {
    { "vm", "v", { "VirtualMachine", "VirtualApp" } },
    { "host", "h", { "ComputeResource" } },
    { "datastore", "s", { "Datastore", "StoragePod" } },
    { "network", "n", { "Network", "DistributedVirtualSwitch" } },
  } do
    local id <const> = ("group-%s%d"):format(each[2], number_of(moref) + 1)
    folders[each[1]] = tree:folder(id, datacenter, each[1], each[3])
    datacenter.props[each[1] .. "Folder"] = ref(folders[each[1]])
  end
  datacenter.props.datastore = folders.datastore.props.childEntity
  return datacenter, folders
end

--- A cluster, or the compute resource around a single host.
---@param hosts lab.Host[]
function M.add_compute(tree, folder, moref, name, hosts, is_cluster)
  local pool_id <const> = "resgroup-" .. (number_of(moref) + 1)
  local compute <const> =
    tree:entity(is_cluster and "ClusterComputeResource" or "ComputeResource", moref, folder, name, {
      host = refs_to("HostSystem", hosts),
      resourcePool = vim.ref("ResourcePool", pool_id),
      datastore = function() return refs_to("Datastore", hosts[1] and hosts[1].datastores or {})() end,
    })
  tree:entity("ResourcePool", pool_id, compute, "Resources", { owner = ref(compute) })
  return compute
end

return M
