--- The short forms in which lists show VMs and hosts.
local timer <const> = require "lunalift.timer"
local vim <const> = require "lab.vim"

---@class lab.summaries
local M <const> = {}

M.NUM_CPU, M.MEMORY_MIB = 2, 4096
M.GUEST_ID, M.GUEST_NAME = "otherLinux64Guest", "Other Linux (64-bit)"

---@param vm lab.Vm
---@return string "[ds] web/web.vmx"
function M.vmx_of(vm) return (vm.disks[1].path:gsub("%.vmdk$", ".vmx")) end

local function storage_of(vm)
  local committed = 0
  for _, disk in ipairs(vm.disks) do
    committed = committed + disk.size_bytes
  end
  return vim.object("VirtualMachineStorageSummary", {
    { "committed", vim.long(committed) },
    { "uncommitted", vim.long(0) },
    { "unshared", vim.long(committed) },
    { "timestamp", vim.date(timer.iso()) },
  })
end

---@param vm lab.Vm
---@param runtime fun(): lab.Value
---@return lab.Value
function M.of_vm(vm, runtime)
  return vim.object("VirtualMachineSummary", {
    { "vm", vim.ref("VirtualMachine", vm.moref) },
    { "runtime", runtime },
    { "guest", vim.object("VirtualMachineGuestSummary", { { "toolsStatus", "toolsNotInstalled" } }) },
    {
      "config",
      vim.object("VirtualMachineConfigSummary", {
        { "name", vm.name },
        { "template", false },
        { "vmPathName", M.vmx_of(vm) },
        { "memorySizeMB", M.MEMORY_MIB },
        { "numCpu", M.NUM_CPU },
        { "numEthernetCards", 1 },
        { "numVirtualDisks", #vm.disks },
        { "uuid", vm.uuid },
        { "instanceUuid", vm.instance_uuid },
        { "guestId", M.GUEST_ID },
        { "guestFullName", M.GUEST_NAME },
      }),
    },
    { "storage", storage_of(vm) },
    { "quickStats", vim.object("VirtualMachineQuickStats", { { "overallCpuUsage", 0 }, { "hostMemoryUsage", 0 } }) },
    { "overallStatus", "green" },
  })
end

---@param host lab.Host
---@param runtime fun(): lab.Value
---@param product lab.Value AboutInfo
---@return lab.Value
function M.of_host(host, runtime, product)
  return vim.object("HostListSummary", {
    { "host", vim.ref("HostSystem", host.moref) },
    {
      "hardware",
      vim.object("HostHardwareSummary", {
        { "vendor", "Lab" },
        { "model", "Loopback" },
        { "uuid", host.uuid },
        { "memorySize", vim.long(64 << 30) },
        { "cpuModel", "Intel(R) Xeon(R) Gold 6338 CPU @ 2.00GHz" },
        { "cpuMhz", 2000 },
        { "numCpuPkgs", 1 },
        { "numCpuCores", 32 },
        { "numCpuThreads", 64 },
        { "numNics", 2 },
        { "numHBAs", #host.hbas },
      }),
    },
    { "runtime", runtime },
    {
      "config",
      vim.object("HostConfigSummary", {
        { "name", host.name },
        { "port", 443 },
        { "product", product },
        { "vmotionEnabled", true },
      }),
    },
    {
      "quickStats",
      vim.object(
        "HostListSummaryQuickStats",
        { { "overallCpuUsage", 100 }, { "overallMemoryUsage", 2048 }, { "uptime", 86400 } }
      ),
    },
    { "overallStatus", "green" },
    { "rebootRequired", false },
  })
end

return M
