--- Puts a whole site together below one folder: fabric, array, hosts, vCenter, cluster, control door.
--- site.json, written last, says where everything is; site.env says it to shells.
local certificate <const> = require "lunalift.certificate"
local cluster <const> = require "lab.cluster"
local copier <const> = require "lab.copier"
local disks <const> = require "lab.disks"
local environment <const> = require "lab.environment"
local esxi <const> = require "lab.esxi"
local extension <const> = require "lab.extension"
local fabric <const> = require "lab.fabric"
local faults <const> = require "lab.faults"
local files <const> = require "lab.files"
local fs <const> = require "lunalift.fs"
local inventory <const> = require "lab.inventory"
local json <const> = require "lunalift.json"
local control <const> = require "lab.control"
local process <const> = require "lunalift.process"
local scenario <const> = require "lab.scenario"
local ssh <const> = require "lab.ssh"
local script <const> = require "lunalift.script"
local vcenter <const> = require "lab.vcenter"
local xml <const> = require "lunalift.xml"

---@class lab.site
local M <const> = {}

---@class lab.Site
---@field dir string
---@field scenario table
---@field fabric lab.Fabric
---@field faults lab.Faults
---@field vcenter lab.Vcenter
---@field array lab.Array
---@field copier lab.Copier
---@field kube lab.Kube
---@field ssh? lab.Ssh where the scenario asks for it: esxi.ssh
---@field hosts lab.Host[]
---@field vms lab.Vm[]
---@field datastores lab.Datastore[]
---@field pvcs table[] as in site.json
---@field controllers Task[] of clusters
---@field rdms string[] volumes of a datacenter's disks that hosts see as they are
local Site <const> = {}
Site.__index = Site

local MIB <const> = 1048576
local BUSYBOX <const> = { "/bin/busybox", "/usr/bin/busybox" }
local EXT <const> = "/usr/lib/vmware/esxcli/ext/esxcli-vmkfstools.xml"
local SAN <const> = { iscsi = true, fc = true }

-- Certificates.

local function issue(site)
  local ca <const> = assert(certificate.ca { cn = "Lunalift lab CA" })
  site.ca_pem = ca.cert
  assert(fs.write(site.dir .. "/ca.pem", ca.cert))
  return function(cn) return assert(certificate.leaf { cn = cn, names = { "IP:127.0.0.1", "DNS:localhost" }, ca = ca }) end
end

-- The array.

--- What the site asks of an array: lab/<product>.lua, each with the wire of its vendor.
---@class lab.Array
---@field port integer
---@field fabrics? table<string, true> kinds of hosts' adapters that it speaks with; nil: iSCSI and FC
---@field provision fun(self, given: { name: string, pv: string?, size_bytes: integer, file: string }): lab.Volume
---@field show fun(self, name: string, initiators: string[], ids: string[], hosts: { name: string, initiators: string[] }[]) volumes to
--- ESXi hosts, as an administrator did long ago; in hosts the same initiators, by host
---@field keep_vvol? fun(self, uuid: string, file: string, size_bytes: integer)
---@field about fun(self): table what site.json says of it beside address and account: `env`, the vendor's own settings as variables
---@field state fun(self): table all there is, as plain data
---@field expire? fun(self) end all sessions
---@field close fun(self)

---@class lab.Volume
---@field id string
---@field naa string
---@field csi table as its CSI driver writes it into the PersistentVolume

local function start_array(site, leaf)
  local options <const> =
    { fabric = site.fabric, faults = site.faults, copier = site.copier, cert = leaf.cert, key = leaf.key }
  local product <const> = site.scenario.array
  if not script.find("lab." .. product) then
    local hint <const> = "put its lab/" .. product .. ".lua into a folder given by --scripts or LUNALIFT_SCRIPTS"
    error { kind = "config", message = "the lab has no array " .. product, hint = hint }
  end
  site.array = require("lab." .. product).start(scenario.merge(site.scenario[product], options))
end

--- A LUN of the array, with bytes of its own when it has a seed.
---@param name string
---@param options { pv: string?, seed: integer?, holes: table? } pv: the PersistentVolume that it is of
function Site:add_volume(name, size, options)
  local file <const> = ("%s/luns/%s"):format(self.dir, name)
  local seed <const>, holes <const> = options.seed, options.holes
  if seed then
    disks.fill(file, size, seed, holes)
  else
    assert(fs.truncate(file, size))
  end
  local volume <const> = self.array:provision { name = name, pv = options.pv, size_bytes = size, file = file }
  self.copier:add(volume.naa, name, file, size)
  return volume, file
end

-- Hosts.

local function find_busybox()
  for _, path in ipairs(BUSYBOX) do
    if fs.stat(path) then return path end
  end
  error { kind = "config", message = "the lab needs BusyBox", hint = "install busybox (Debian: busybox-static)" }
end

local function applets_of(busybox)
  local applets <const> = {}
  for name in assert(process.run { argv = { busybox, "--list" } }).out:gmatch "%S+" do
    applets[#applets + 1] = name
  end
  return applets
end

--- Folder of the scripts that the lab itself came from.
local function scripts_dir() return assert(script.find "lab.site").path:match "^(.*)/lab/site%.lua$" end

local VARIANTS <const> = {
  lunalift = {
    vib = { name = "vmkfstools-wrapper", version = "1.0.0", vendor = "Lunalift", acceptance = "CommunitySupported" },
    xml = "/../vmkfstools-wrapper/esxcli-vmkfstools.xml",
  },
  upstream = {
    vib = { name = "vmkfstools-wrapper", version = "0.3.3", vendor = "REDHAT", acceptance = "CommunitySupported" },
    xml = "/lab/esxi/upstream-vmkfstools.xml",
  },
}

--- Install the wrapper on a host as its VIB does; "none" removes it. hostd reads the extension at once, as after a restart.
---@param host lab.Host
---@param variant "lunalift"|"upstream"|"none"
function Site:install_wrapper(host, variant)
  host.extension, host.vibs = {}, {}
  local from <const> = VARIANTS[variant]
  if not from then
    fs.remove(host.root .. EXT)
    return
  end
  local target <const> = host.root .. "/opt/lunalift/"
  for _, name in ipairs { "vmkfstools-wrapper", "hostd-memory" } do
    files.install_script(self.scripts .. "/../vmkfstools-wrapper/" .. name, target .. name, host.busybox)
  end
  if variant == "upstream" then
    files.install_script(self.scripts .. "/lab/esxi/upstream-wrapper", target .. "upstream-wrapper", host.busybox)
  end
  local text <const> = assert(fs.read(self.scripts .. from.xml))
  assert(fs.write(host.root .. EXT, text))
  host.extension = extension.commands(assert(xml.parse(text)))
  host.vibs = { from.vib }
end

local NUMBERS <const> = {
  rate = true,
  xcopy = true,
  corrupt_at = true,
  silent = true,
  hang_at = true,
  fail_at = true,
  fail_code = true,
  fail_text = false,
}

--- Settings of a host's vmkfstools; what is not said goes back to the default.
---@param host lab.Host
---@param settings table<string, any>
function Site:set_vmkfstools(host, settings)
  local lines <const> = {}
  for key, is_number in pairs(NUMBERS) do
    local value <const> = settings[key]
    if value ~= nil then
      assert(not is_number or math.type(value) == "integer", key .. " must be an integer")
      lines[#lines + 1] = ("%s='%s'\n"):format(key, (tostring(value):gsub("'", [['\'']])))
    end
  end
  table.sort(lines)
  files.replace(host.root .. "/etc/lab-vmkfstools", table.concat(lines))
  return settings
end

local function make_host(site, given)
  local settings <const> = site.scenario.esxi
  local host <const> = esxi.new {
    name = given.name,
    moref = given.moref,
    root = ("%s/hosts/%s"):format(site.dir, given.name),
    uuid = disks.uuid(given.name),
    address = given.address or ("127.0.0.%d"):format(#site.hosts + 1),
    hbas = given.hbas,
    fabric = site.fabric,
    settings = settings.settings,
    discovery_lag_s = settings.discovery_lag_s,
    rescan_s = settings.rescan_s,
    esxcli_s = settings.esxcli_s,
  }
  host.busybox, host.lockdown = site.busybox, given.lockdown
  host:install(site.scripts .. "/lab/esxi", site.busybox, site.applets)
  site:install_wrapper(host, given.wrapper or settings.wrapper)
  site:set_vmkfstools(host, given.vmkfstools or settings.vmkfstools)
  site.hosts[#site.hosts + 1] = host
  return host
end

--- Show volumes to all hosts, as an administrator did long ago.
local function show_to_hosts(site, name, hosts, volumes)
  local initiators <const>, by_host <const>, fabrics <const> = {}, {}, site.array.fabrics or SAN
  for i, host in ipairs(hosts) do
    local first <const> = #initiators + 1
    for _, hba in ipairs(host.hbas) do
      if fabrics[hba.kind] then initiators[#initiators + 1] = hba.iqn or hba.wwpn or hba.guid end
    end
    by_host[i] = { name = host.name, initiators = table.move(initiators, first, #initiators, 1, {}) }
  end
  site.array:show(name, initiators, volumes, by_host)
end

-- The vCenter's tree.

local function find_by(list, field, value)
  for _, each in ipairs(list) do
    if each[field] == value then return each end
  end
  error { kind = "config", message = ("the scenario has no %s %s"):format(field, tostring(value)) }
end

local function make_datastore(site, given)
  local size <const>, kind <const> = given.size_mib * MIB, given.type or "VMFS"
  local volume <const> = kind == "VMFS" and site:add_volume("ds_" .. given.moref:gsub("%-", "_"), size, {}) or {}
  local folder <const> = ("%s/datastores/%s"):format(site.dir, given.moref)
  files.mkdirs(folder)
  if kind ~= "VMFS" then assert(fs.write(folder .. "/.kind", kind .. "-1.00\n")) end
  return {
    moref = given.moref,
    name = given.name,
    type = kind,
    uuid = given.uuid,
    folder = folder,
    naa = volume.naa,
    size_bytes = size,
    lun = volume.id,
  }
end

--- A disk that is a volume of the array: a file on a datastore only points to it.
local function make_raw(site, datastore, given, options)
  local file <const> = ("%s/luns/raw_%d"):format(site.dir, options.seed)
  local raw <const> = { path = file }
  if given.rdm then
    local volume <const> = site:add_volume("raw_" .. options.seed, given.size_mib * MIB, { seed = options.seed })
    raw.naa = volume.naa
    table.insert(site.rdms, volume.id)
  else
    disks.fill(file, given.size_mib * MIB, options.seed)
    local uuid <const> = disks.uuid(given.file)
    raw.vvol = "rfc4122." .. uuid
    if site.array.keep_vvol then site.array:keep_vvol(uuid, file, given.size_mib * MIB) end
    site.copier:add(raw.vvol, raw.vvol, file, given.size_mib * MIB)
  end
  options.raw = raw
  return disks.of_scenario(datastore, given, options)
end

local function make_vm(site, given, hosts, datastores)
  local vm <const> = {
    moref = given.moref,
    name = given.name,
    uuid = disks.uuid("bios " .. given.moref),
    instance_uuid = disks.uuid("instance " .. given.moref),
    host = find_by(hosts, "moref", given.host),
    power = given.power or "poweredOff",
    disks = {},
  }
  for i, disk in ipairs(given.disks) do
    site.seed = site.seed + 1
    local datastore <const> = find_by(datastores, "name", disk.datastore)
    local options <const> = { seed = site.seed * 1000, key = 1999 + i }
    local make <const> = (disk.rdm or disk.vvol) and function(...) return make_raw(site, ...) end or disks.of_scenario
    vm.disks[i] = make(datastore, disk, options)
  end
  site.vms[#site.vms + 1] = vm
  return vm
end

local function vms_on(vms, host)
  local list <const> = {}
  for _, vm in ipairs(vms) do
    if vm.host == host then list[#list + 1] = vm end
  end
  return list
end

local function vms_with_disks_on(vms, datastore)
  local list <const> = {}
  for _, vm in ipairs(vms) do
    for _, disk in ipairs(vm.disks) do
      if disk.datastore == datastore and list[#list] ~= vm then list[#list + 1] = vm end
    end
  end
  return list
end

local function make_all(list, make)
  local made <const> = {}
  for i, given in ipairs(list or {}) do
    made[i] = make(given)
  end
  return made
end

local function add_datacenter(site, given)
  local tree <const> = site.vcenter.tree
  local hosts <const> = make_all(given.hosts, function(each) return make_host(site, each) end)
  local datastores <const> = make_all(given.datastores, function(each) return make_datastore(site, each) end)
  local luns <const> = {}
  for _, datastore in ipairs(datastores) do
    luns[#luns + 1] = datastore.lun
  end
  show_to_hosts(site, "esx_production_" .. given.moref:match "%d+$", hosts, luns)
  for _, host in ipairs(hosts) do
    host:rescan "all"
    for _, datastore in ipairs(datastores) do
      host:mount(datastore)
    end
  end
  local vms <const> = make_all(given.vms, function(each) return make_vm(site, each, hosts, datastores) end)

  local above <const> = given.folder and tree:folder(given.folder.moref, tree.root, given.folder.name, { "Datacenter" })
    or tree.root
  if site.rdms[1] then
    show_to_hosts(site, "esx_rdm_" .. given.moref:match "%d+$", hosts, site.rdms)
    for _, host in ipairs(hosts) do
      host:rescan "all"
    end
    site.rdms = {}
  end

  local _datacenter <const>, folders <const> = inventory.add_datacenter(tree, above, given.moref, given.name)
  local function compute(moref, name, list)
    local parent <const> = inventory.add_compute(tree, folders.host, moref, name, list, given.cluster ~= nil)
    for _, host in ipairs(list) do
      inventory.add_host(tree, parent, host, vms_on(vms, host))
    end
  end
  if given.cluster then
    compute(given.cluster.moref, given.cluster.name, hosts)
  else
    for _, host in ipairs(hosts) do
      compute("domain-s" .. host.moref:match "%d+$" .. "0", host.name, { host })
    end
  end
  for _, datastore in ipairs(datastores) do
    inventory.add_datastore(tree, folders.datastore, datastore, hosts, vms_with_disks_on(vms, datastore))
    site.datastores[#site.datastores + 1] = datastore
  end
  for _, vm in ipairs(vms) do
    inventory.add_vm(tree, folders.vm, vm)
  end
end

-- What the user gets.

local function vm_entry(vm)
  local list <const> = {}
  for i, disk in ipairs(vm.disks) do
    list[i] = { vmdk = disk.path, flat_path = disk.flat, size_bytes = disk.size_bytes }
  end
  return { name = vm.name, moref = vm.moref, host = vm.host.moref, disks = list }
end

local function array_entry(site, leaf)
  local product <const> = site.scenario.array
  local account <const> = site.scenario[product]
  return scenario.merge(site.array:about(), {
    product = product,
    host = "127.0.0.1:" .. site.array.port,
    username = account.username,
    password = account.password,
    thumbprint = leaf.sha256,
  })
end

local function describe(site, leaves)
  local given <const>, hosts <const>, vms <const> = site.scenario, {}, {}
  for i, host in ipairs(site.hosts) do
    hosts[i] = { name = host.name, moref = host.moref, root = host.root }
  end
  for i, vm in ipairs(site.vms) do
    vms[i] = vm_entry(vm)
  end
  return {
    dir = site.dir,
    ca_file = site.dir .. "/ca.pem",
    control = { url = "http://127.0.0.1:" .. site.control.port },
    copier = { url = "http://127.0.0.1:" .. site.copier.port },
    vcenter = {
      host = "127.0.0.1:" .. site.vcenter.port,
      username = given.vcenter.username,
      password = given.vcenter.password,
      thumbprint = leaves.vcenter.sha256,
      uuid = site.vcenter.uuid,
    },
    ssh = site.ssh and site.ssh:env(),
    hosts = json.array(hosts),
    vms = json.array(vms),
    arrays = json.array { array_entry(site, leaves.array) },
    kube = {
      server = site.kube_server,
      kubeconfig = site.dir .. "/kubeconfig",
      populator_kubeconfig = site.dir .. "/kubeconfig-populator",
      namespace = given.kube.namespace,
    },
    pvcs = json.array(site.pvcs),
  }
end

---@param options { dir: string, scenario: table }
---@return lab.Site
function M.start(options)
  files.mkdirs(options.dir)
  local site <const> = setmetatable({
    dir = assert(fs.realpath(options.dir)),
    scenario = options.scenario,
    seed = options.scenario.seed,
    scripts = scripts_dir(),
    fabric = fabric.new(),
    faults = faults.new(),
    busybox = find_busybox(),
    hosts = {},
    vms = {},
    datastores = {},
    pvcs = {},
    rdms = {},
    controllers = {},
  }, Site)
  fs.remove(site.dir .. "/site.json")
  files.mkdirs(site.dir .. "/luns")
  site.applets = applets_of(site.busybox)
  local leaf <const> = issue(site)
  local leaves <const> =
    { vcenter = leaf "vcenter.lab.example", array = leaf "array.lab.example", kube = leaf "kube.lab.example" }

  site.copier = copier.start(site.faults)
  start_array(site, leaves.array)
  local given <const> = site.scenario.vcenter
  site.vcenter = vcenter.new {
    faults = site.faults,
    username = given.username,
    password = given.password,
    idle_s = given.idle_s,
    latency_s = given.latency_s,
    page_max = given.page_max,
    denied = given.denied,
  }
  for _, each in ipairs(site.scenario.datacenters) do
    add_datacenter(site, each)
  end
  site.vcenter:listen { cert = leaves.vcenter.cert, key = leaves.vcenter.key }
  cluster.start(site, leaves.kube)
  if site.scenario.esxi.ssh then site.ssh = ssh.start(site, site.scenario.esxi.ssh) end
  site.control = control.listen(site)
  local described <const> = describe(site, leaves)
  files.replace(site.dir .. "/site.env", environment.text(described))
  files.replace(site.dir .. "/site.json", json.encode(described, { indent = true }) .. "\n")
  return site
end

--- End what runs: services first, then copies that outlived their callers.
function Site:stop()
  for _, controller in ipairs(self.controllers) do
    controller:cancel()
  end
  for _, service in ipairs { self.control, self.vcenter, self.array, self.copier, self.kube, self.ssh } do
    service:close()
  end
  for _, host in ipairs(self.hosts) do
    for _, name in ipairs(fs.list(host.root .. "/var/lab/writers") or {}) do
      local pid <const> = name:match "@(%d+)$"
      if pid and fs.stat("/proc/" .. pid) then process.run { argv = { self.busybox, "kill", pid } } end
    end
  end
  fs.remove(self.dir .. "/site.env")
  fs.remove(self.dir .. "/site.json")
end

return M
