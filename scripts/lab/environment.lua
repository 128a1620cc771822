--- What site.json says of a site, for shells: the environment in which `lunalift populate` alone fills the first claim.
---@class lab.environment
local M <const> = {}

--- One word of a shell, whatever is in it.
---@param value string
---@return string
function M.quote(value) return "'" .. value:gsub("'", [['\'']]) .. "'" end

local function disk_of(site, path)
  for _, vm in ipairs(site.vms) do
    for _, disk in ipairs(vm.disks) do
      if disk.vmdk == path then return vm, disk end
    end
  end
end

--- Endpoints and credentials under the names that populate reads; LAB_… is what only the lab's user needs.
---@param site table as in site.json
---@return string
function M.text(site)
  local array <const> = site.arrays[1]
  local list <const> = {
    { "GOVMOMI_HOSTNAME", site.vcenter.host },
    { "GOVMOMI_USERNAME", site.vcenter.username },
    { "GOVMOMI_PASSWORD", site.vcenter.password },
    { "STORAGE_VENDOR", array.product },
    { "STORAGE_HOSTNAME", array.host },
    { "STORAGE_USERNAME", array.username },
    { "STORAGE_PASSWORD", array.password },
    { "KUBECONFIG", site.kube.kubeconfig },
    { "LUNALIFT_CA_FILE", site.ca_file },
    { "XDG_STATE_HOME", site.dir .. "/state" }, -- claims of other labs have the same uid
    { "LAB_CONTROL", site.control.url:match "^http://(.*)$" },
  }
  for _, more in ipairs { array.env, site.ssh or {} } do
    for name, value in pairs(more) do
      list[#list + 1] = { name, value }
    end
  end
  local claim <const> = site.pvcs[1]
  if claim then
    local vm <const>, disk <const> = disk_of(site, claim.vmdk)
    table.move({
      { "LUNALIFT_SOURCE_VM_ID", vm.moref },
      { "LUNALIFT_SOURCE_VMDK", claim.vmdk },
      { "LUNALIFT_OWNER_NAME", claim.name },
      { "LUNALIFT_OWNER_UID", claim.uid },
      { "LUNALIFT_TARGET_NAMESPACE", claim.namespace },
      { "LAB_FLAT", disk.flat_path },
      { "LAB_LUN", claim.lun_path },
    }, 1, 7, #list + 1, list)
  end
  local lines <const> = {}
  for i, entry in ipairs(list) do
    lines[i] = ("export %s=%s\n"):format(entry[1], M.quote(entry[2]))
  end
  return table.concat(lines)
end

return M
