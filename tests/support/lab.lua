--- A lab in a process of its own, and whole runs of the real program against it.
local environments <const> = require "lab.environment"
local fs <const> = require "lunalift.fs"
local http <const> = require "lunalift.http"
local json <const> = require "lunalift.json"
local kube <const> = require "lunalift.kube"
local process <const> = require "lunalift.process"
local timer <const> = require "lunalift.timer"

local M <const> = {}

local READY_WITHIN_S <const> = 10
local BIN <const> = os.getenv "LUNALIFT_BIN" or "build-asan/lunalift"
--- The build without sanitizers where there is one: for matrices of many runs.
M.QUICK_BIN = os.getenv "LUNALIFT_RELEASE_BIN" or BIN

-- Awkward names stay, disks shrink: what these specs prove does not hang on size.
local SMALL <const> = {
  datacenters = json.array {
    {
      moref = "datacenter-3",
      name = "Nürnberg & Fürth",
      folder = { moref = "group-d2", name = "Werke" },
      cluster = { moref = "domain-c8", name = 'Cluster "A"' },
      hosts = json.array {
        {
          moref = "host-21",
          name = "esx-01.lab.example",
          hbas = json.array {
            { device = "vmhba0", kind = "block", driver = "smartpqi", model = "Smart Array P408i-a" },
            {
              device = "vmhba64",
              kind = "iscsi",
              driver = "iscsi_vmk",
              model = "iSCSI Software Adapter",
              iqn = "iqn.1998-01.com.vmware:esx-01.lab.example:1234:64",
            },
          },
        },
      },
      datastores = json.array {
        {
          moref = "datastore-15",
          name = "Daten & Söhne",
          uuid = "66aa0f10-5d2c3b1e-8a17-005056a10015",
          size_mib = 64,
        },
        { moref = "datastore-16", name = "ds 1", uuid = "66aa0f11-6e3d4c2f-9b28-005056a10016", size_mib = 64 },
      },
      vms = json.array {
        {
          moref = "vm-57",
          name = [[O'Neil's "db" & Söhne]],
          host = "host-21",
          disks = json.array {
            { datastore = "Daten & Söhne", file = "O'Neil's db/söhne & co.vmdk", size_mib = 8 },
          },
        },
        {
          moref = "vm-58",
          name = "twin",
          host = "host-21",
          disks = json.array { { datastore = "ds 1", file = "twin/twin.vmdk", size_mib = 4 } },
        },
        {
          moref = "vm-59",
          name = "twin",
          host = "host-21",
          power = "poweredOn",
          disks = json.array { { datastore = "ds 1", file = "twin 2/twin.vmdk", size_mib = 4 } },
        },
      },
    },
  },
}

--- The scenario of `start`, to be changed at will.
---@return table
function M.small() return assert(json.decode(json.encode(SMALL))) end

---@class lab.Lab
---@field site table as site.json has it
---@field bin string
---@field control HttpClient
local Lab <const> = {}
Lab.__index = Lab

---@param within_s number
---@param what string
---@param holds fun(): any
function M.wait_until(within_s, what, holds)
  local deadline <const> = timer.now() + within_s
  while timer.now() < deadline do
    local value <const> = holds()
    if value then return value end
    timer.sleep(0.05)
  end
  error(("not within %g s: %s"):format(within_s, what), 2)
end

--- Start a lab; `scenario` is laid over the small one.
---@param scenario? table
---@param bin? string program, of the lab and of the runs
---@param scripts? string folder laid over the built-in ones, of both
---@return lab.Lab
function M.start(scenario, bin, scripts)
  local dir <const> = process.run({ argv = { "mktemp", "-d" } }).out:match "%S+"
  local merged <const> = require("lab.scenario").merge(SMALL, scenario or {})
  assert(fs.write(dir .. "/scenario.json", json.encode(merged)))
  local argv <const> = { bin or BIN, "lab", "--dir", dir .. "/my lab", "--scenario", dir .. "/scenario.json" }
  if scripts then argv[#argv + 1] = "--scripts=" .. scripts end
  local running <const> = assert(process.start { argv = argv })
  local ready <const> = dir .. "/my lab/site.json"
  local ok <const>, text <const> = pcall(
    M.wait_until,
    READY_WITHIN_S,
    "site.json",
    function() return fs.read(ready) end
  )
  if not ok then error(text .. ": " .. select(2, running:output())) end
  local site <const> = assert(json.decode(text))
  return setmetatable({
    dir = dir,
    bin = bin or BIN,
    scripts = scripts,
    process = running,
    site = site,
    control = http.client { base = site.control.url },
    kube = assert(kube.open { kubeconfig = site.kube.kubeconfig }),
  }, Lab)
end

function Lab:stop()
  self.process:kill "TERM"
  local ended <const> = self.process:wait()
  process.run { argv = { "rm", "-rf", self.dir } }
  assert(ended.code == 0, "the lab ended with " .. tostring(ended.code) .. ": " .. ended.err)
end

-- ---- the control door ----

function Lab:state() return assert(self.control:get "/state").json end

function Lab:host(action, settings, host)
  return assert(self.control:post(("/host/%s/%s"):format(host or "host-21", action), { json = settings }))
end

---@param rules table[]
function Lab:faults(rules) assert(self.control:post("/faults", { json = json.array(rules) })) end

--- Number of the last request so far, for requests_since.
function Lab:mark()
  local all <const> = assert(self.control:get "/requests").json
  return all[#all] and all[#all].n or 0
end

--- Requests that came after `mark`: the runs' own, without those of this helper.
---@param mark integer
---@param service? string
---@return table[]
function Lab:requests_since(mark, service)
  local query <const> = { since = mark, service = service }
  return assert(self.control:get("/requests", { query = query })).json
end

-- ---- runs ----

---@param name string of a claim, such as "vm-57-disk-1"
function Lab:claim(name)
  for _, claim in ipairs(self.site.pvcs) do
    if claim.name == name then return claim end
  end
  error("no claim " .. name)
end

--- The file that holds the bytes of a claim's source disk.
function Lab:source_of(claim)
  for _, vm in ipairs(self.site.vms) do
    for _, disk in ipairs(vm.disks) do
      if disk.vmdk == claim.vmdk then return disk.flat_path end
    end
  end
end

local function environment(self, changes)
  local site <const>, array <const> = self.site, self.site.arrays[1]
  local env <const> = {
    PATH = os.getenv "PATH",
    HOME = self.dir,
    LANG = "C.UTF-8",
    ASAN_OPTIONS = os.getenv "ASAN_OPTIONS",
    UBSAN_OPTIONS = os.getenv "UBSAN_OPTIONS",
    XDG_STATE_HOME = self.dir .. "/state",
    GOVMOMI_HOSTNAME = site.vcenter.host,
    GOVMOMI_USERNAME = site.vcenter.username,
    GOVMOMI_PASSWORD = site.vcenter.password,
    STORAGE_VENDOR = array.product,
    STORAGE_HOSTNAME = array.host,
    STORAGE_USERNAME = array.username,
    STORAGE_PASSWORD = array.password,
    KUBECONFIG = site.kube.kubeconfig,
    LUNALIFT_CA_FILE = site.ca_file,
    LUNALIFT_SCRIPTS = self.scripts,
  }
  for _, more in ipairs { array.env, site.ssh or {}, changes or {} } do
    for name, value in pairs(more) do
      env[name] = value or nil
    end
  end
  return env
end

local function shell_words(argv)
  local words <const> = {}
  for i, word in ipairs(argv) do
    words[i] = environments.quote(word)
  end
  return table.concat(words, " ")
end

---@class lab.RunOptions
---@field command? string that takes populate's flags; populate
---@field claim? string name; vm-57-disk-1
---@field flags? table<string, string|false> laid over those of the claim; false takes one away
---@field words? string[] further arguments
---@field env? table<string, string|false> likewise
---@field argv? string[] the whole command line after the program's name, in place of populate's
---@field bin? string another program than the lab's
---@field on_terminal? boolean
---@field into? string file that takes its standard output

--- Start `lunalift populate` for a claim.
---@param options? lab.RunOptions
---@return Process
function Lab:start_populate(options)
  options = options or {}
  local claim <const> = self:claim(options.claim or "vm-57-disk-1")
  local flags <const> = {
    ["source-vm-id"] = claim.name:match "^vm%-%d+",
    ["source-vmdk"] = claim.vmdk,
    ["owner-name"] = claim.name,
    ["owner-uid"] = claim.uid,
    ["target-namespace"] = claim.namespace,
  }
  for name, value in pairs(options.flags or {}) do
    flags[name] = value or nil
  end
  local argv = { options.bin or self.bin, options.command or "populate" }
  for name, value in pairs(flags) do
    argv[#argv + 1] = ("--%s=%s"):format(name, value)
  end
  table.move(options.words or {}, 1, #(options.words or {}), #argv + 1, argv)
  if options.argv then argv = table.move(options.argv, 1, #options.argv, 2, { self.bin }) end
  if options.into then argv = { "sh", "-c", ("exec %s >%s"):format(shell_words(argv), options.into) } end
  if options.on_terminal then argv = { "script", "-qefc", shell_words(argv), "/dev/null" } end
  return assert(process.start { argv = argv, env = environment(self, options.env) })
end

--- Run it to its end.
---@param options? lab.RunOptions
---@return ProcessEnd ended with `seconds`
function Lab:populate(options)
  local began_s <const> = timer.now()
  local ended <const> = self:start_populate(options):wait()
  ended.seconds = timer.now() - began_s
  return ended
end

-- ---- what is there ----

--- By the tool of that name.
---@param path string
---@return string hex
function M.sha256(path) return assert(process.run { argv = { "sha256sum", "-b", path } }).out:match "^\\?(%x+)" end

local CLUSTER <const> = {
  "/api/v1/namespaces/move/persistentvolumeclaims",
  "/api/v1/persistentvolumes",
  "/apis/coordination.k8s.io/v1/namespaces/move/leases",
}

local function objects_of(self)
  local found <const> = {}
  for _, path in ipairs(CLUSTER) do
    found[path] = assert(self.kube:get(path)).items
  end
  return found
end

local function hosts_of(state)
  local hosts <const> = {}
  for _, host in ipairs(state.hosts) do
    hosts[host.moref] = { devices = host.devices, detached = host.detached, writers = host.writers, tasks = host.tasks }
  end
  return hosts
end

local function files_of(self)
  local folders <const> = { self.site.dir .. "/datastores", self.dir .. "/state" }
  return process.run({
    argv = { "find", folders[1], folders[2], "-type", "f", "!", "-name", "*.lock", "!", "-name", "*.receipt.json" },
  }).out
end

--- All that a run could leave behind: igroups, maps, devices, writers, tasks, sessions, cluster objects, files of datastores and journals.
---@return table
function Lab:snapshot()
  local state <const> = self:state()
  return {
    ontap = state.ontap,
    array = state[self.site.arrays[1].product],
    hosts = hosts_of(state),
    sessions = state.sessions,
    cluster = objects_of(self),
    files = files_of(self),
  }
end

--- The secrets of the site, in clear and as a header would carry them.
function Lab:assert_no_secret(text)
  for _, secret in ipairs { self.site.vcenter.password, self.site.arrays[1].password, "lab-token" } do
    assert(not text:find(secret, 1, true), "a secret was printed")
  end
end

return M
