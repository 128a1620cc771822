--- The VIB on hosts behind a real sshd: what the program does there, and what it says where it cannot.
local fs <const> = require "lunalift.fs"
local hosts <const> = require "interop.vib.hosts"
local json <const> = require "lunalift.json"
local labs <const> = require "support.lab"
local process <const> = require "lunalift.process"

local BIN <const> = os.getenv "LUNALIFT_BIN" or "build-asan/lunalift"
local WRAPPER <const> = "/opt/lunalift/vmkfstools-wrapper"
local EXTENSION <const> = "/usr/lib/vmware/esxcli/ext/esxcli-vmkfstools.xml"
local LOCKED <const> = 5

local site

setup(function() site = hosts.start(5, { locked = { [LOCKED] = true } }) end)
teardown(function() site:stop() end)

local function env(changes)
  local values <const> = {
    PATH = os.getenv "PATH",
    HOME = site.dir,
    LANG = "C.UTF-8",
    ASAN_OPTIONS = os.getenv "ASAN_OPTIONS",
    UBSAN_OPTIONS = os.getenv "UBSAN_OPTIONS",
    SSH_KEY_FILE = site.key,
    LUNALIFT_SSH_USER = site.user,
    LUNALIFT_SSH_PORT = tostring(site.port),
    LUNALIFT_SSH_KNOWN_HOSTS = site.known_hosts,
    LUNALIFT_PATIENCE = "0",
  }
  for name, value in pairs(changes or {}) do
    values[name] = value or nil
  end
  return values
end

local function run(words, changes)
  return assert(process.run { argv = { BIN, "vib", table.unpack(words) }, env = env(changes) })
end

-- Addresses of hosts by their numbers, as --host takes them.
local function named(...)
  local list <const> = {}
  for i, number in ipairs { ... } do
    list[i] = site:address(number)
  end
  return table.concat(list, ",")
end

local function install(numbers, ...) return run { "install", "--host", named(table.unpack(numbers)), ... } end

-- What is said of each host, by its address; the text of its failure, too.
local function results(ended)
  local by_host <const> = {}
  for _, host in ipairs(assert(json.decode(ended.out), ended.out .. ended.err).hosts) do
    by_host[host.host] = host
  end
  return by_host
end

local function reset(...)
  for _, number in ipairs { ... } do
    site:reset(number)
  end
end

local function restarts(number) return select(2, (site:read(number, "/var/log.hostd") or ""):gsub("\n", "")) end

local function assert_has_it(number)
  local sources <const> = fs.cwd() .. "/vmkfstools-wrapper/"
  assert.equal(fs.read(sources .. "vmkfstools-wrapper"), site:read(number, WRAPPER))
  assert.equal(fs.read(sources .. "esxcli-vmkfstools.xml"), site:read(number, EXTENSION))
  assert.matches('"version": "1.0.0"', site:run(number, "esxcli vmkfstools version").out, 1, true)
  assert.same({}, site:list(number, "/tmp"))
end

-- A VIB of ours, or upstream's, as some other day brought it.
local function give(number, version, vendor)
  local root <const>, home <const> = site:root(number), vendor == "REDHAT" and "/opt/redhat" or "/opt/lunalift"
  hosts.sh(
    [[cd "$1"; mkdir -p var/lib/vibs/vmkfstools-wrapper ".$4"; printf '%s\n' "$2" >var/lib/vibs/vmkfstools-wrapper/version
      printf '%s\n' "$3" >var/lib/vibs/vmkfstools-wrapper/vendor
      printf '%s\n' "${4#/}/vmkfstools-wrapper" "${5#/}" >var/lib/vibs/vmkfstools-wrapper/files
      sed "s/^VERSION=.*/VERSION=$2/" "$6/vmkfstools-wrapper" >".$4/vmkfstools-wrapper"; chmod 755 ".$4/vmkfstools-wrapper"
      sed "s:/opt/lunalift:$4:; /taskList/,/taskClean/s/taskList/gone/" "$6/esxcli-vmkfstools.xml" >".$5"]],
    root,
    version,
    vendor,
    home,
    EXTENSION,
    fs.cwd() .. "/vmkfstools-wrapper"
  )
  site:run(number, "/etc/init.d/hostd restart; while [ ! -d /var/run/hostd ]; do sleep 0.1; done; rm /var/log.hostd")
end

describe("vib install", function()
  before_each(function() reset(1, 2) end)

  it("brings it to hosts that lack it, and then finds nothing to do", function()
    local ended = install { 1, 2 }
    assert.equal(0, ended.code, ended.out .. ended.err)
    assert.equal(
      "HOST       WAS   NOW    DONE\n"
        .. "127.0.0.2  none  1.0.0  installed, hostd restarted\n"
        .. "127.0.0.3  none  1.0.0  installed, hostd restarted\n",
      ended.out
    )
    assert_has_it(1)
    assert_has_it(2)
    ended = install { 1, 2 }
    assert.equal(0, ended.code, ended.err)
    assert.matches("127.0.0.2  1.0.0  1.0.0  nothing: it has it\n", ended.out, 1, true)
    assert.equal(1, restarts(1))
  end)

  it("replaces an older one, and upstream's", function()
    give(1, "0.9.0", "Lunalift")
    give(2, "0.3.3", "REDHAT")
    local ended <const> = install { 1, 2 }
    assert.equal(0, ended.code, ended.out .. ended.err)
    assert.matches("127.0.0.2  0.9.0           1.0.0  updated, hostd restarted\n", ended.out, 1, true)
    assert.matches("127.0.0.3  0.3.3 (REDHAT)  1.0.0  updated, hostd restarted\n", ended.out, 1, true)
    assert_has_it(1)
    assert_has_it(2)
    assert.is_nil(site:read(2, "/opt/redhat/vmkfstools-wrapper"))
  end)

  it("leaves one alone that is newer than the one given, unless it is forced", function()
    give(1, "2.0.0", "Lunalift")
    local file <const> = site.dir .. "/given.vib"
    assert.equal(0, run({ "build", "--output", file }).code)
    local ended = install({ 1 }, "--vib-path", file)
    assert.equal(0, ended.code, ended.err)
    assert.matches("127.0.0.2  2.0.0  2.0.0  nothing: it is newer; --force", ended.out, 1, true)
    ended = install({ 1 }, "--vib-path", file, "--force")
    assert.equal(0, ended.code, ended.out .. ended.err)
    assert_has_it(1)
  end)

  it("restarts hostd where only that was missing, and not where it was told not to", function()
    local ended = install({ 1 }, "--restart-hostd=false")
    assert.equal(0, ended.code, ended.err)
    assert.matches("none  1.0.0  installed, hostd not restarted\n", ended.out, 1, true)
    assert.equal(0, restarts(1))
    ended = install { 1 }
    assert.equal(0, ended.code, ended.err)
    assert.matches("1.0.0  1.0.0  hostd restarted\n", ended.out, 1, true)
    assert_has_it(1)
  end)

  it("does not restart hostd for a change that it need not read", function()
    assert.equal(0, install({ 1 }).code)
    hosts.sh(
      [[cd "$1"; echo 0.9.9 >var/lib/vibs/vmkfstools-wrapper/version; sed -i s/^VERSION=.*/VERSION=0.9.9/ ".$2"]],
      site:root(1),
      WRAPPER
    )
    local ended <const> = install { 1 }
    assert.equal(0, ended.code, ended.err)
    assert.matches("0.9.9  1.0.0  updated\n", ended.out, 1, true)
    assert.equal(1, restarts(1))
  end)

  it("lets a host that fails stop no other, says what to do, and leaves no file behind", function()
    reset(1, 2, 3, 4)
    site:fault(1, "tmp-full")
    site:fault(2, "secure-boot")
    site:fault(3, "no-install")
    give(3, "0.3.3", "REDHAT")
    local down <const> = "127.0.0.99,nosuch.invalid"
    local ended <const> = run { "install", "--host", named(1, 2, 3, 4) .. "," .. down, "--output", "json" }
    assert.equal(2, ended.code, ended.out .. ended.err)
    local by_host <const> = results(ended)
    local function failure(number) return by_host[site:address(number)].failure end
    assert.equal("no_space", failure(1).kind)
    assert.matches("/tmp of 127.0.0.2 has no room", failure(1).message, 1, true)
    assert.equal("denied", failure(2).kind)
    assert.matches("refuses the VIB: .*trusted signer", failure(2).message)
    assert.matches("esxcli software acceptance set", failure(2).hint, 1, true)
    assert.equal("failed", failure(3).kind)
    assert.matches("has not installed the VIB: %[LiveInstallationError%]", failure(3).message)
    assert.matches("; that of REDHAT is removed already", failure(3).message, 1, true)
    assert.matches("/var/log/esxupdate.log", failure(3).hint, 1, true)
    assert.is_nil(failure(4))
    assert_has_it(4)
    assert.equal("unreachable", by_host["127.0.0.99"].failure.kind)
    assert.matches("vim-cmd hostsvc/start_ssh", by_host["127.0.0.99"].failure.hint, 1, true)
    assert.equal("unreachable", by_host["nosuch.invalid"].failure.kind)
    for number = 1, 3 do
      assert.is_nil(site:read(number, WRAPPER))
      assert.same({}, site:list(number, "/tmp"))
    end
  end)

  it("goes on when the connection is lost on the way", function()
    site:fault(1, "lost")
    local ended <const> = run({ "install", "--host", named(1) }, { LUNALIFT_PATIENCE = "10" })
    assert.equal(0, ended.code, ended.out .. ended.err)
    assert.is_nil(site:read(1, "/var/fault/lost"))
    assert_has_it(1)
  end)

  it("says that hostd does not come back", function()
    site:fault(1, "hostd-dead")
    local ended = install({ 1 }, "--hostd-timeout", "1")
    assert.equal(3, ended.code, ended.out .. ended.err)
    assert.matches(
      "installed, hostd restarted, then failed: hostd of 127.0.0.2 has not come back within 1 s",
      ended.out,
      1,
      true
    )
    assert.matches("fix   look at it there: /etc/init.d/hostd status", ended.out, 1, true)
    ended = run { "status", "--host", named(1) }
    assert.equal(1, ended.code)
    assert.matches("esxcli on 127.0.0.2 does not list the VIBs: Connect to localhost failed", ended.out, 1, true)
  end)

  it("ends when it is told to, with the table of what it came to", function()
    site:fault(1, "hostd-dead")
    local argv <const> = { BIN, "vib", "install", "--host", named(1, 1), "--hostd-timeout", "60" }
    local started <const> = assert(process.start { argv = argv, env = env() })
    labs.wait_until(20, "hostd is restarted", function() return restarts(1) > 0 end)
    started:kill "TERM"
    local ended <const> = started:wait()
    assert.equal(4, ended.code, ended.out .. ended.err)
    assert.matches("none  ?    installed, hostd restarted, cut off\n", ended.out, 1, true)
    assert.matches("stopped by SIGTERM", ended.err, 1, true)
  end)

  it("waits for clones: they are not cut off", function()
    assert.equal(0, install({ 1 }).code)
    local clone <const> =
      "esxcli vmkfstools clone -s /vmfs/volumes/ds1/a.vmdk -t /vmfs/devices/disks/naa.1 -i 00000000-0000-4000-8000-000000000001"
    site:run(1, "touch /vmfs/volumes/ds1/a.vmdk /vmfs/devices/disks/naa.1")
    local started <const> = site:run(1, clone)
    assert.matches('"taskId"', started.out, 1, true)
    hosts.sh([[echo 0.9.9 >"$1/var/lib/vibs/vmkfstools-wrapper/version"]], site:root(1))
    local ended <const> = install { 1 }
    assert.equal(3, ended.code, ended.out .. ended.err)
    assert.matches("failed: clones run on 127.0.0.2: 1", ended.out, 1, true)
    site:run(1, "esxcli vmkfstools taskKill -i 00000000-0000-4000-8000-000000000001")
    assert.equal(0, install({ 1 }).code)
  end)

  it("waits for clones of upstream's wrapper, which lists none, and stops where nobody can tell", function()
    for fault, about in pairs { writer = "clones run on 127.0.0.2: 1", ["no-ps"] = "does not tell whether clones run" } do
      reset(1)
      give(1, "0.3.3", "REDHAT")
      site:fault(1, fault)
      local ended <const> = install { 1 }
      assert.is_true(ended.code == 3 or ended.code == 1, ended.out .. ended.err)
      assert.matches(about, ended.out, 1, true)
      assert.is_string(site:read(1, "/opt/redhat/vmkfstools-wrapper"))
    end
  end)

  it("installs nothing that is no VIB", function()
    local file <const> = site.dir .. "/given.vib"
    assert.equal(0, run({ "build", "--output", file }).code)
    local bytes <const> = fs.read(file)
    for text, about in pairs {
      [bytes:sub(1, -200)] = "damaged, or cut short",
      ["a text"] = "no ar archive",
    } do
      assert(fs.write(file, text))
      local ended <const> = install({ 1 }, "--vib-path", file)
      assert.equal(2, ended.code)
      assert.matches(about, ended.err, 1, true)
      assert.matches("lunalift vib build --output " .. file, ended.err, 1, true)
    end
    local ended <const> = install({ 1 }, "--vib-path", site.dir .. "/none.vib")
    assert.equal(1, ended.code)
    assert.matches("the VIB cannot be read", ended.err, 1, true)
  end)
end)

describe("who is let in, and whom we talk to", function()
  before_each(function() reset(1) end)

  it("is refused without a key, or with none that is one", function()
    local ended = run({ "install", "--host", named(1) }, { SSH_KEY_FILE = false })
    assert.equal(2, ended.code)
    assert.matches("missing value for --ssh-key-file", ended.err, 1, true)
    ended = run({ "install", "--host", named(1) }, { SSH_KEY_FILE = site.dir .. "/none" })
    assert.matches("the key cannot be read", ended.err, 1, true)
    ended = run({ "install", "--host", named(1) }, { SSH_KEY_FILE = site.known_hosts })
    assert.equal(2, ended.code)
    assert.matches("is no key to log in with", ended.err, 1, true)
  end)

  it("is told which line to add where the host does not take the key", function()
    local ended <const> = run({ "install", "--host", named(1) }, { SSH_KEY_FILE = site.stranger })
    assert.equal(2, ended.code, ended.out .. ended.err)
    assert.matches("127.0.0.2 does not let " .. site.user .. " in with this key", ended.out, 1, true)
    local line <const> = fs.read(site.stranger .. ".pub"):match "^%S+ %S+"
    assert.matches("authorized_keys on 127.0.0.2: " .. line, ended.out, 1, true)
  end)

  it("is told that the key for copies installs nothing", function()
    site:fault(1, "tied")
    local ended <const> = install { 1 }
    assert.equal(2, ended.code, ended.out .. ended.err)
    assert.matches("it may ask the wrapper, and nothing else", ended.out, 1, true)
    assert.matches("give --ssh-key-file another key", ended.out, 1, true)
  end)

  it("is told the fingerprint of a host that nobody vouches for, and may vouch for it", function()
    local ended = run({ "install", "--host", named(1) }, { LUNALIFT_SSH_KNOWN_HOSTS = site.dir .. "/empty" })
    assert.equal(2, ended.code, ended.out .. ended.err)
    assert.matches("--ssh-fingerprint " .. site.fingerprint, ended.out, 1, true)
    assert.is_nil(site:read(1, WRAPPER))
    local words <const> = { "status", "--host", named(1), "--ssh-fingerprint", site.fingerprint }
    ended = run(words, { LUNALIFT_SSH_KNOWN_HOSTS = false })
    assert.matches("none  -        missing: lunalift vib install", ended.out, 1, true)
  end)

  it("is warned of a host that has another key than before", function()
    local changed <const> = site.dir .. "/changed"
    local line <const> = fs.read(site.stranger .. ".pub")
    assert(fs.write(changed, ("[%s]:%d %s"):format(site:address(1), site.port, line)))
    local ended <const> = run({ "install", "--host", named(1) }, { LUNALIFT_SSH_KNOWN_HOSTS = changed })
    assert.equal(2, ended.code, ended.out .. ended.err)
    assert.matches("shows another key than it had: SHA256:", ended.out, 1, true)
    assert.is_nil(site:read(1, WRAPPER))
  end)
end)

describe("vib status", function()
  before_each(function() reset(1, 2, 3, 4) end)

  it("tells of each host what it has, changes nothing, and is 0 where all have it", function()
    assert.equal(0, install({ 1 }).code)
    give(2, "1.0.0", "Lunalift")
    give(3, "0.3.3", "REDHAT")
    local ended = run { "status", "--host", named(1, 2, 3, 4) }
    assert.equal(1, ended.code, ended.err)
    assert.equal(
      "HOST       VIB             ANSWERS  STATE\n"
        .. "127.0.0.2  1.0.0           1.0.0    has it\n"
        .. "127.0.0.3  1.0.0           -        hostd has not read it: /etc/init.d/hostd restart\n"
        .. "127.0.0.4  0.3.3 (REDHAT)  0.3.3    not this one: lunalift vib install\n"
        .. "127.0.0.5  none            -        missing: lunalift vib install\n",
      ended.out
    )
    assert.equal(0, restarts(2) + restarts(3) + restarts(4))
    ended = run { "status", "--host", named(1), "--output=json" }
    assert.equal(0, ended.code)
    local host <const> = results(ended)[site:address(1)]
    assert.same({ version = "1.0.0", vendor = "Lunalift", answers = "1.0.0" }, host.now)
    assert.equal("current", host.verdict)
  end)
end)

describe("hosts that vCenter knows", function()
  local lab

  local function host_of(number, more)
    local host <const> = { moref = "host-" .. number, name = ("esx-%02d.lab.example"):format(number) }
    host.address = site:address(number)
    host.hbas = json.array {
      {
        device = "vmhba64",
        kind = "iscsi",
        driver = "iscsi_vmk",
        model = "iSCSI",
        iqn = "iqn.1998-01.com.vmware:" .. number,
      },
    }
    for name, value in pairs(more or {}) do
      host[name] = value
    end
    return host
  end

  setup(function()
    local scenario <const> = labs.small()
    local first <const> = scenario.datacenters[1]
    first.hosts = json.array { host_of(1), host_of(2), host_of(21, { address = "127.0.0.98" }) }
    local store <const> =
      { moref = "datastore-41", name = "ds 2", uuid = "66aa0f12-5d2c3b1e-8a17-005056a10041", size_mib = 16 }
    scenario.datacenters[2] = {
      moref = "datacenter-40",
      name = "Zürich",
      hosts = json.array { host_of(3), host_of(LOCKED, { lockdown = "lockdownNormal" }) },
      datastores = json.array { store },
      vms = json.array {},
    }
    local lonely <const> =
      { moref = "datastore-51", name = "ds 3", uuid = "66aa0f12-5d2c3b1e-8a17-005056a10051", size_mib = 16 }
    scenario.datacenters[3] = {
      moref = "datacenter-50",
      name = "empty",
      hosts = json.array {},
      datastores = json.array { lonely },
      vms = json.array {},
    }
    lab = labs.start(scenario)
  end)
  teardown(function() lab:stop() end)
  before_each(function() reset(1, 2, 3) end)

  local function with_vcenter(...)
    local vcenter <const> = lab.site.vcenter
    return run({ ... }, {
      GOVMOMI_HOSTNAME = vcenter.host,
      GOVMOMI_USERNAME = vcenter.username,
      GOVMOMI_PASSWORD = vcenter.password,
      LUNALIFT_CA_FILE = lab.site.ca_file,
    })
  end

  it("are those that mount the datastore, by the address of their management network", function()
    local ended <const> = with_vcenter("install", "--datastore", "ds 2", "--output", "json")
    assert.equal(2, ended.code, ended.out .. ended.err)
    local by_host <const> = results(ended)
    assert.same({ "installed", "hostd restarted" }, by_host["esx-03.lab.example"].done)
    assert_has_it(3)
    local locked <const> = by_host["esx-05.lab.example"].failure
    assert.equal("denied", locked.kind)
    assert.matches("esx-05.lab.example is in lockdown mode", locked.message, 1, true)
    assert.matches("exception users", locked.hint, 1, true)
    local count = 0
    for _ in pairs(by_host) do
      count = count + 1
    end
    assert.equal(2, count)
  end)

  it("are all there are, or all of a datacenter, in maintenance mode too", function()
    lab:host("condition", { in_maintenance = true }, "host-2")
    local ended = with_vcenter("install", "--all", "--datacenter", "Nürnberg & Fürth")
    lab:host("condition", { in_maintenance = false }, "host-2")
    assert.equal(3, ended.code, ended.out .. ended.err)
    assert_has_it(1)
    assert_has_it(2)
    assert.matches("esx-21.lab.example takes no SSH connection at 127.0.0.98", ended.out, 1, true)
    ended = with_vcenter("status", "--all")
    assert.equal(5, select(2, ended.out:gsub("%.lab%.example  ", "")), ended.out)
  end)

  it("are waited for until vCenter has seen them again", function()
    lab:host("connected", { connected = false }, "host-1")
    local ended = with_vcenter("install", "--host", "esx-01.lab.example", "--hostd-timeout", "1")
    assert.equal(3, ended.code, ended.out .. ended.err)
    assert.matches("still says notResponding after 1 s", ended.out, 1, true)
    assert.matches("fix   reconnect the host in vCenter", ended.out, 1, true)
    lab:host("connected", { connected = true }, "host-1")
    ended = with_vcenter("status", "--host", "esx-01.lab.example")
    assert.equal(0, ended.code, ended.out)
  end)

  it("are named where nothing else names them, and must mount what was named", function()
    local ended = with_vcenter("install", "--datastore", "ds 9")
    assert.equal(1, ended.code)
    assert.matches("has no datastore 'ds 9'", ended.err, 1, true)
    assert.matches("check --datastore; there are Daten & Söhne, ds 1, ds 2, ds 3", ended.err, 1, true)
    ended = with_vcenter("install", "--datastore", "ds 2,ds 3")
    assert.equal(1, ended.code)
    assert.matches("no host mounts datastore 'ds 3'", ended.err, 1, true)
    ended = with_vcenter("install", "--host", "esx-01.lab.example", "--datastore", "ds 2")
    assert.equal(1, ended.code)
    assert.matches("host esx-01.lab.example does not mount datastore ds 2", ended.out, 1, true)
    ended = with_vcenter "install"
    assert.equal(2, ended.code)
    assert.matches("give --host, --datastore or --all", ended.err, 1, true)
    ended = with_vcenter("status", "--all", "--datacenter", "nowhere")
    assert.equal(1, ended.code)
    assert.matches("no host is in datacenter nowhere", ended.err, 1, true)
    ended = run { "install", "--all" }
    assert.equal(2, ended.code)
    assert.matches(
      "missing value for --vsphere-hostname, --vsphere-username and --vsphere-password",
      ended.err,
      1,
      true
    )
  end)
end)

describe("the playbooks", function()
  local ANSIBLE <const> = (os.getenv "LUNALIFT_ANSIBLE" or "python"):match "^(.*/)" or ""
  local FOLDER <const> = fs.cwd() .. "/vmkfstools-wrapper/ansible/"
  local inventory, package

  setup(function()
    inventory, package = site.dir .. "/hosts.json", site.dir .. "/ours.vib"
    local vars <const> = {
      ansible_user = site.user,
      ansible_port = site.port,
      ansible_ssh_private_key_file = site.key,
      ansible_ssh_common_args = "-o UserKnownHostsFile=" .. site.known_hosts,
      vib_file = package,
      vib_delay = 0.2,
      vib_retries = 20,
    }
    local all <const> =
      { hosts = { [site:address(1)] = {}, [site:address(2)] = {}, [site:address(3)] = {} }, vars = vars }
    assert(fs.write(inventory, json.encode { all = all }))
    assert.equal(0, run({ "build", "--output", package }).code)
  end)
  before_each(function() reset(1, 2, 3) end)

  local function ansible(program, ...)
    local path <const> = ANSIBLE .. ":" .. os.getenv "PATH"
    -- Connections that nobody uses are soon gone, and sshd with them.
    local ssh <const> = "-o ControlMaster=auto -o ControlPersist=2s"
    local changes <const> = { PATH = path, ANSIBLE_NOCOLOR = "1", ANSIBLE_SSH_ARGS = ssh, LUNALIFT_SSH_USER = false }
    return assert(process.run { argv = { ANSIBLE .. program, ... }, env = env(changes) })
  end

  local function play(book, ...) return ansible("ansible-playbook", "-i", inventory, FOLDER .. book, ...) end

  -- What the recap says of a host.
  local function recap(ended, number)
    local pattern <const> = site:address(number):gsub("%.", "%%.")
      .. " +: ok=%d+ +changed=(%d+) +unreachable=(%d+) +failed=(%d+)"
    local changed <const>, unreachable <const>, failed <const> = ended.out:match(pattern)
    return { changed = tonumber(changed), failed = tonumber(failed or 1) + tonumber(unreachable or 1) }
  end

  it("please ansible-lint", function()
    local ended <const> =
      ansible("ansible-lint", "--offline", "--strict", FOLDER .. "install.yml", FOLDER .. "remove.yml")
    assert.equal(0, ended.code, ended.out .. ended.err)
  end)

  it("install on hosts that lack it or have upstream's, leave a newer one alone, and change nothing twice", function()
    give(2, "0.3.3", "REDHAT")
    give(3, "2.0.0", "Lunalift")
    local ended = play "install.yml"
    assert.equal(0, ended.code, ended.out .. ended.err)
    assert_has_it(1)
    assert_has_it(2)
    assert.same({ changed = 0, failed = 0 }, recap(ended, 3))
    ended = play "install.yml"
    assert.equal(0, ended.code, ended.out .. ended.err)
    for number = 1, 3 do
      assert.same({ changed = 0, failed = 0 }, recap(ended, number))
    end
    assert.equal(0, run({ "status", "--host", named(1, 2, 3) }).code)
  end)

  it("remove it, and what tasks left, where no clone runs", function()
    assert.equal(0, install({ 1, 2 }).code)
    local clone <const> = "esxcli vmkfstools clone -s /vmfs/volumes/ds1/a.vmdk -t /vmfs/devices/disks/naa.1 -i %s"
    local id <const>, ended_id <const> = "00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000002"
    for number, task in ipairs { ended_id, id } do
      site:run(number, "touch /vmfs/volumes/ds1/a.vmdk /vmfs/devices/disks/naa.1; " .. clone:format(task))
    end
    site:run(1, "esxcli vmkfstools taskKill -i " .. ended_id)
    local ended <const> = play "remove.yml"
    assert.equal(2, ended.code, ended.out .. ended.err)
    assert.same({ changed = 2, failed = 0 }, recap(ended, 1))
    assert.same({ changed = 0, failed = 1 }, recap(ended, 2))
    assert.same({ changed = 0, failed = 0 }, recap(ended, 3))
    assert.is_nil(site:read(1, WRAPPER))
    assert.is_nil(site:read(1, EXTENSION))
    assert.same({}, site:list(1, "/tmp"))
    assert.equal(1, site:run(1, "esxcli vmkfstools version").code)
    assert.matches("clones run here; wait until they have ended", ended.out, 1, true)
    assert.is_string(site:read(2, WRAPPER))
    site:run(2, "esxcli vmkfstools taskKill -i " .. id)
  end)

  it("leave a host alone where upstream's wrapper clones, or nobody can tell", function()
    reset(1, 2)
    for number, fault in ipairs { "writer", "no-ps" } do
      give(number, "0.3.3", "REDHAT")
      site:fault(number, fault)
    end
    local ended <const> = play("install.yml", "--limit", named(1, 2))
    assert.equal(2, ended.code, ended.out .. ended.err)
    assert.matches("clones run here; wait until they have ended", ended.out, 1, true)
    for number = 1, 2 do
      assert.same({ changed = 0, failed = 1 }, recap(ended, number))
      assert.is_string(site:read(number, "/opt/redhat/vmkfstools-wrapper"))
    end
  end)

  it("say which host refuses the VIB", function()
    site:fault(1, "secure-boot")
    local ended <const> = play("install.yml", "--limit", site:address(1))
    assert.equal(2, ended.code, ended.out .. ended.err)
    assert.matches("Could not find a trusted signer", ended.out, 1, true)
    assert.same({}, site:list(1, "/tmp"))
  end)
end)
