--- Whole runs of `lunalift preflight` on sites with something wrong: it is found, the fix is said, and nothing is changed.
local codec <const> = require "lunalift.codec"
local fs <const> = require "lunalift.fs"
local json <const> = require "lunalift.json"
local labs <const> = require "support.lab"
local process <const> = require "lunalift.process"

local CLAIMS <const> = "/api/v1/namespaces/move/persistentvolumeclaims"
local VOLUMES <const> = "/api/v1/persistentvolumes"
local LEASES <const> = "/apis/coordination.k8s.io/v1/namespaces/move/leases"
local REVIEWS <const> = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"

local EMPTY <const> = '{"v":1,"entries":[]}'
local DISK <const> = "O'Neil's db/söhne & co.vmdk"

local function site()
  local small <const> = labs.small()
  local datacenter <const> = small.datacenters[1]
  local vms <const> = datacenter.vms
  vms[#vms + 1] = {
    moref = "vm-60",
    name = "shares the disk",
    host = "host-21",
    disks = json.array { { datastore = "Daten & Söhne", file = DISK, size_mib = 8 } },
  }
  vms[#vms + 1] = {
    moref = "vm-61",
    name = "chained",
    host = "host-21",
    disks = json.array { { datastore = "ds 1", file = "chained/chained.vmdk", size_mib = 4, snapshot = true } },
  }
  vms[#vms + 1] = {
    moref = "vm-62",
    name = "on the filer",
    host = "host-21",
    disks = json.array { { datastore = "filer", file = "a/a.vmdk", size_mib = 4 } },
  }
  local stores <const> = datacenter.datastores
  stores[#stores + 1] = {
    moref = "datastore-17",
    name = "filer",
    uuid = "66aa0f12-6e3d4c2f-9b28-005056a10017",
    size_mib = 16,
    type = "NFS",
  }
  return small
end

describe("preflight", function()
  local lab, before

  setup(function()
    lab = labs.start(site())
    before = lab:snapshot()
  end)

  teardown(function() lab:stop() end)

  -- Logins, reviews of access and commands that only list are no changes.
  local function assert_nothing_changed(mark)
    for _, request in ipairs(lab:requests_since(mark)) do
      assert.is_true(not request.effect or request.path == REVIEWS, request.method .. " " .. request.path)
    end
    assert.same(before, lab:snapshot())
  end

  local function run(options)
    options = options or {}
    local mark <const> = lab:mark()
    options.command = "preflight"
    local ended <const> = lab:populate(options)
    assert_nothing_changed(mark)
    lab:assert_no_secret(ended.out .. ended.err)
    return ended
  end

  ---@param options? lab.RunOptions
  ---@return table<string, lib.CheckResult> by name
  ---@return ProcessEnd
  local function look(options)
    options = options or {}
    options.words = { "-o", "json" }
    local ended <const> = run(options)
    local told <const> = assert(json.decode(ended.out), ended.err)
    local by_name <const>, fails = {}, 0
    for _, result in ipairs(told.checks) do
      by_name[result.name] = result
      if result.status == "fail" then
        fails = fails + 1
        assert.is_true((result.fix or "") ~= "", "no fix for: " .. result.text)
      end
    end
    assert.same({ fails, fails == 0 }, { told.counts.fail, told.ok })
    by_name.counts = told.counts
    return by_name, ended
  end

  --- One check comes out so; with `alone` all others pass.
  local function expect(name, status, text, fix, options)
    local results <const>, ended <const> = look(options)
    local result <const> = assert(results[name], name)
    assert.equal(status, result.status, result.text)
    assert.is_truthy(result.text:find(text, 1, true), result.text)
    assert.is_truthy((result.fix or ""):find(fix, 1, true), tostring(result.fix))
    return results, ended
  end

  local function put(path, kind, object)
    object.apiVersion, object.kind = object.apiVersion or "v1", kind
    assert(lab.kube:create(path, object))
    before = lab:snapshot()
  end

  local function condition(path, settings) assert(lab.control:post(path, { json = settings })) end

  it("finds nothing wrong where nothing is, and sees as much as a copy needs", function()
    local results <const>, ended <const> = look()
    assert.equal(0, ended.code, ended.out .. ended.err)
    assert.same({ 0, 0, 0 }, { results.counts.warn, results.counts.fail, results.counts.skipped })
    assert.is_true(results.counts.pass >= 42)
    assert.matches("VMFS on naa.600a0980", results.datastore.text)
    assert.matches("vmhba64 %(iscsi%)", results.initiators.text)
  end)

  it("prints a table whose columns stand below one another, with fixes and a sum", function()
    lab:host("condition", { in_maintenance = true })
    local ended <const> = run()
    lab:host("condition", { in_maintenance = false })
    assert.equal(3, ended.code)
    local column <const> = ended.out:find("RESULT", 1, true)
    local seen = 0
    for line in ended.out:gmatch "[^\n]+" do
      if line:sub(column):find "^%l+ +%S" and not line:find "^%s" then seen = seen + 1 end
    end
    assert.is_true(seen >= 42, ended.out)
    assert.matches("\nhost state +fail +host esx%-01.lab.example is in maintenance mode\n +fix: wait until", ended.out)
    assert.matches("%d+ pass, 1 fail, %d+ skipped: this copy would fail\n$", ended.out)
    assert.is_nil(ended.out:find("\27", 1, true))
  end)

  it("colours the results on a terminal, unless asked not to", function()
    local ended = run { on_terminal = true, env = { TERM = "xterm" } }
    assert.matches("\27%[32mpass", ended.out)
    ended = run { on_terminal = true, env = { NO_COLOR = "1" } }
    assert.is_nil(ended.out:find("\27", 1, true))
  end)

  it("tells a refused login, skips what builds on it, and looks at the rest", function()
    local results <const>, ended <const> =
      expect("vCenter login", "fail", "does not let", "GOVMOMI_PASSWORD", { env = { GOVMOMI_PASSWORD = "wrong" } })
    assert.equal(2, ended.code)
    assert.same({ "skipped", "'vCenter login' failed" }, { results.disk.status, results.disk.text })
    assert.same({ "pass", "pass" }, { results.volume.status, results["permission: claims"].status })
    expect("array login", "fail", "refused", "STORAGE_PASSWORD", { env = { STORAGE_PASSWORD = "wrong" } })
  end)

  it("names the fingerprint of a certificate that nobody vouches for, and warns where none is verified", function()
    local bare <const> = { LUNALIFT_CA_FILE = false, STORAGE_SKIP_SSL_VERIFICATION = "true" }
    local results <const> =
      expect("vCenter login", "fail", lab.site.vcenter.thumbprint, "--vsphere-thumbprint", { env = bare })
    assert.equal("warn", results["array certificate"].status)
    bare.GOVMOMI_INSECURE = "true"
    expect("vCenter certificate", "warn", "not verified", "leave GOVMOMI_INSECURE away", { env = bare })
  end)

  it("says that a key for the clone method ssh is none", function()
    local env <const> = { ESXI_CLONE_METHOD = "ssh", SSH_PRIVATE_KEY = "YQ==", SSH_PUBLIC_KEY = "YQ==" }
    local results <const>, ended <const> =
      expect("clone method", "fail", "SSH_PRIVATE_KEY is no key", "ssh-keygen", { env = env })
    assert.equal(2, ended.code)
    assert.equal("skipped", results.wrapper.status, "a host without VIB is no fault then")
  end)

  it("tells of privileges that are missing: one that it must have, others that it should", function()
    condition("/privileges", json.array { "Datastore.Browse" })
    expect(
      "vCenter privileges",
      "warn",
      "lacks the privilege Datastore.Browse on Daten & Söhne",
      "add it to the user's role"
    )
    condition("/privileges", json.array { "Host.Config.Storage" })
    expect(
      "vCenter privileges",
      "fail",
      "lacks the privilege Host.Config.Storage on esx-01",
      "add it to the user's role"
    )
    condition("/privileges", json.array {})
  end)

  it("tells of VM and disk that are not there", function()
    expect("VM", "fail", "no virtual machine vm-999", "--source-vm-id", { flags = { ["source-vm-id"] = "vm-999" } })
    expect("disk", "fail", "has no disk", "its disks are", { flags = { ["source-vmdk"] = "[ds 1] no/no.vmdk" } })
  end)

  it("tells of hosts that are away, in maintenance mode or not there", function()
    lab:host("connected", { connected = false })
    local _, ended <const> = expect("host state", "fail", "is notResponding", "reconnect it in vCenter")
    assert.equal(3, ended.code)
    lab:host("connected", { connected = true })
    lab:host("condition", { in_maintenance = true })
    expect("host state", "fail", "in maintenance mode", "--migration-host")
    lab:host("condition", { in_maintenance = false })
    expect("host", "fail", "no host host-99", "--migration-host", { flags = { ["migration-host"] = "host-99" } })
  end)

  it("tells of a host without the VIB, or with upstream's", function()
    lab:host("wrapper", { variant = "none" })
    local results <const>, ended <const> =
      expect("wrapper", "fail", "is not installed on esx-01", "lunalift vib install --host esx-01")
    assert.same({ 2, "skipped" }, { ended.code, results["source file"].status })
    lab:host("wrapper", { variant = "upstream" })
    local told <const> = expect("wrapper", "warn", "is not ours", "install our VIB")
    assert.same({ "skipped", "this wrapper cannot tell" }, { told["source file"].status, told["source file"].text })
    lab:host("wrapper", { variant = "lunalift" })
  end)

  it("tells why the host would send no XCOPY", function()
    lab:host("condition", { settings = { ["DataMover.HardwareAcceleratedMove"] = 0 } })
    expect("XCOPY", "warn", "HardwareAcceleratedMove is off", "-o /DataMover/HardwareAcceleratedMove -i 1")
    lab:host("condition", { settings = { ["DataMover.HardwareAcceleratedMove"] = 1 }, clone_status = "unsupported" })
    expect("VAAI", "warn", "no support for VAAI clone", "claimrule")
    lab:host("condition", { clone_status = "supported" })
  end)

  it("tells of LUN numbers that the host does not look at, or soon will not", function()
    lab:host("condition", { settings = { ["Disk.MaxLUN"] = 256 } })
    expect("LUN numbers", "warn", "Disk.MaxLUN is 256", "-o /Disk/MaxLUN -i 1024")
    lab:host("condition", { settings = { ["Disk.MaxLUN"] = 2 } })
    local _, ended <const> = expect("LUN numbers", "fail", "at or above Disk.MaxLUN (2)", "-o /Disk/MaxLUN -i 1024")
    assert.equal(2, ended.code)
    lab:host("condition", { settings = { ["Disk.MaxLUN"] = 1024 } })
  end)

  it("tells of a datastore that is full, gone, or no VMFS", function()
    condition("/datastore/datastore-15/condition", { free_bytes = 1000 })
    expect("room for descriptors", "fail", "has 1000 bytes free", "make room on Daten & Söhne")
    condition("/datastore/datastore-15/condition", { accessible = false })
    expect("datastore", "fail", "no host reaches datastore Daten & Söhne", "see to its paths")
    condition("/datastore/datastore-15/condition", {})
    expect(
      "array and datastore match",
      "warn",
      "datastore filer is on NFS",
      "--require-offload",
      { claim = "vm-62-disk-1" }
    )
    local _, ended <const> = expect("who moves the data", "fail", "datastore filer is on NFS", "--require-offload", {
      claim = "vm-62-disk-1",
      flags = { ["require-offload"] = "true" },
    })
    assert.equal(2, ended.code)
  end)

  it("tells of a VM that is on, another that has the disk, and snapshots", function()
    condition("/vm/vm-57/condition", { power = "poweredOn" })
    expect("VM power", "warn", "a disk it has open cannot be copied", "make a snapshot")
    condition("/vm/vm-57/condition", { power = "poweredOff" })
    condition("/vm/vm-60/condition", { power = "poweredOn" })
    local _, ended <const> = expect("locks", "fail", "is a disk of VM shares the disk", "power shares the disk off")
    assert.equal(3, ended.code)
    condition("/vm/vm-60/condition", { power = "poweredOff" })
    expect("snapshots", "warn", "since a snapshot", "delete the VM's snapshots", { claim = "vm-61-disk-1" })
  end)

  it("tells of claims that are missing, unbound, of files, too small or another array's", function()
    local function claim(name, volume)
      put(
        CLAIMS,
        "PersistentVolumeClaim",
        { metadata = { name = name, namespace = "move" }, spec = { volumeName = volume } }
      )
      return { flags = { ["owner-name"] = name, ["owner-uid"] = false } }
    end
    expect("claim", "fail", "there is no claim web", "--owner-name", { flags = { ["owner-name"] = "web" } })
    expect("claim", "fail", "is not bound to a volume", "kubectl -n move describe pvc loose", claim "loose")
    local small <const> = lab:claim "vm-58-disk-1"
    local too_small <const> = { flags = { ["owner-name"] = small.name, ["owner-uid"] = small.uid } }
    expect("volume size", "fail", "is smaller (4194304 bytes)", "at least 8388608 bytes", too_small)

    local csi <const> = { driver = "pxd.portworx.com", volumeHandle = "1" }
    put(VOLUMES, "PersistentVolume", { metadata = { name = "pure" }, spec = { csi = csi, volumeMode = "Filesystem" } })
    local options <const> = claim("on-pure", "pure")
    local results <const> = expect("volume", "fail", "CSI driver pxd.portworx.com", "csi.trident.netapp.io", options)
    assert.equal("fail", results["volume mode"].status)
    assert.matches("volume mode Filesystem, not Block", results["volume mode"].text)
    assert.matches("volumeMode: Block", results["volume mode"].fix)
  end)

  it("asks whether the account may, and names the verbs that it may not", function()
    local env <const> = { KUBECONFIG = lab.site.kube.populator_kubeconfig }
    local flags <const> = { ["target-namespace"] = "other", journal = "lease" }
    local results <const>, ended <const> = expect(
      "permission: claims",
      "fail",
      "not allowed: get persistentvolumeclaims in namespace other",
      "kubectl create role lunalift --verb=get --resource=persistentvolumeclaims -n other",
      { env = env, flags = flags }
    )
    assert.equal(2, ended.code)
    assert.equal("pass", results["permission: volumes"].status)
    assert.matches("get,list,create,update leases.coordination.k8s.io", results["permission: journal"].text)
    flags["target-namespace"] = nil
    env.HOST_LEASE_NAMESPACE = "elsewhere"
    local own <const>, done <const> = look { env = env, flags = flags }
    assert.equal(0, done.code)
    assert.same({ "pass", "pass" }, { own["permission: claims"].status, own["permission: journal"].status })
    assert.equal("warn", own["permission: host Leases"].status) -- a copy goes on without them
    assert.matches("may not read", own["slots for clones"].text)
  end)

  it("tells of a cluster that it cannot trust, or that does not know it", function()
    local text <const> = assert(fs.read(lab.site.kube.kubeconfig))
    local path <const> = lab.dir .. "/kubeconfig"
    assert(fs.write(path, (text:gsub("certificate%-authority%-data: %S+", "insecure-skip-tls-verify: false"))))
    local distrusted <const> = { env = { KUBECONFIG = path } }
    local results <const> = expect("Kubernetes API", "fail", "not trusted", "authority in the kubeconfig", distrusted)
    assert.same({ "skipped", "pass" }, { results.claim.status, results.disk.status })
    assert(fs.write(path, (text:gsub("token: %S+", "token: of-nobody"))))
    expect("Kubernetes API", "fail", "401", "does not know these credentials", { env = { KUBECONFIG = path } })
  end)

  it("tells of a folder in which no journal, or no receipt, can be kept", function()
    local flags <const> = { journal = "file:/no/such/folder/j.json", receipt = "/no/folder/r.json" }
    local results <const> = expect("journal", "fail", "/no/such/folder", "create it", { flags = flags })
    assert.equal("fail", results.receipt.status)
    assert.matches("the folder /no/folder/", results.receipt.text)
  end)

  it("tells of another run, of what a dead one left, and of slots that are taken", function()
    local function lease(name, holder, renewed)
      local spec <const> = { holderIdentity = holder, leaseDurationSeconds = 3600, renewTime = renewed }
      local mark <const> = { ["lunalift.io/journal"] = "true" }
      put(LEASES, "Lease", {
        apiVersion = "coordination.k8s.io/v1",
        metadata = { name = name, namespace = "move", labels = mark, annotations = { ["lunalift.io/journal"] = EMPTY } },
        spec = spec,
      })
    end
    local now <const> = require("lunalift.timer").iso()
    local flags <const> = { journal = "lease", ["host-lease-namespace"] = "move" }
    local first <const>, second <const> = lab:claim "vm-57-disk-1", lab:claim "vm-58-disk-1"
    lease("lunalift-" .. first.uid, "shop/db-0", now)
    lease("lunalift-" .. second.uid, nil, now)
    local slot <const> = ("lunalift-clone-%s-host-21-"):format(codec.sha256(lab.site.vcenter.uuid):sub(1, 8))
    lease("lunalift-clone-0badcafe-host-21-0", "another vCenter's", now)
    lease(slot .. "0", "shop/db-0", now)
    lease(slot .. "1", "shop/db-1", now)
    local results <const> =
      expect("other runs", "fail", "another run, shop/db-0, works", "wait for it to end", { flags = flags })
    assert.equal("warn", results["slots for clones"].status)
    assert.matches("taken, by shop/db%-0 and shop/db%-1", results["slots for clones"].text)
    expect(
      "other runs",
      "warn",
      "a run that ended left Lease",
      "lunalift reap",
      { flags = flags, claim = "vm-58-disk-1" }
    )
  end)
end)

describe("preflight of a host", function()
  local lab, before

  setup(function()
    local small <const> = site()
    local hbas <const> = small.datacenters[1].hosts[1].hbas
    hbas[#hbas + 1] =
      { device = "vmhba65", kind = "iscsi", driver = "iscsi_vmk", model = "x", iqn = "iqn.1998-01.com.vmware:b" }
    lab = labs.start(small)
    before = lab:snapshot()
  end)

  teardown(function() lab:stop() end)

  ---@return table<string, lib.CheckResult> by name
  ---@return ProcessEnd
  local function look(...)
    local settings <const> = {
      GOVMOMI_HOSTNAME = lab.site.vcenter.host,
      GOVMOMI_USERNAME = lab.site.vcenter.username,
      GOVMOMI_PASSWORD = lab.site.vcenter.password,
      LUNALIFT_CA_FILE = lab.site.ca_file,
    }
    local argv <const> = { lab.bin, "preflight", "-o", "json", "--patience", "2", ... }
    local ended <const> = assert(process.run { argv = argv, env = settings })
    assert.same(before, lab:snapshot())
    lab:assert_no_secret(ended.out .. ended.err)
    local told <const> = json.decode(ended.out) or { checks = {} }
    local by_name <const> = { counts = told.counts }
    for _, result in ipairs(told.checks) do
      by_name[result.name] = result
      if result.status == "fail" or result.status == "warn" then
        assert.is_true((result.fix or "") ~= "", result.text)
      end
    end
    return by_name, ended
  end

  local function expect(name, status, text, fix, ...)
    local results <const>, ended <const> = look("--host", "esx-01.lab.example", ...)
    local result <const> = assert(results[name], name .. ended.err)
    assert.equal(status, result.status, result.text)
    assert.is_truthy(result.text:find(text, 1, true), result.text)
    assert.is_truthy((result.fix or ""):find(fix, 1, true), tostring(result.fix))
    return results, ended
  end

  local function condition(settings) lab:host("condition", settings) end

  it("needs no VM, no array and no cluster, and finds nothing wrong where nothing is", function()
    local results <const>, ended <const> = look("--host", "host-21")
    assert.equal(0, ended.code, ended.out .. ended.err)
    assert.same({ warn = 0, fail = 0, skipped = 0, pass = 18 }, results.counts)
    assert.matches("^Daten & Söhne and ds 1 on naa%.%x+ and naa%.%x+$", results.datastore.text)
    assert.matches("^clone supported, by VMW_VAAIP_NETAPP$", results.VAAI.text)
    assert.equal("there are rules for NETAPP", results["claim rules"].text)
    assert.equal("500 MiB, enough for 2 clones", results["memory for clones"].text)
    assert.equal("0 of 2 taken", results["slots for clones"].text)
  end)

  it("looks below one datastore, whatever its name", function()
    local results <const> = look("--host", "host-21", "--datastore", "Daten & Söhne")
    assert.matches("^Daten & Söhne on naa%.%x+$", results.datastore.text)
    expect("datastore", "fail", "does not mount datastore ds", "mount the datastore there", "--datastore", "ds")
    local _, ended <const> = expect("datastore", "fail", "filer is on NFS", "of type VMFS", "--datastore", "filer")
    assert.equal(2, ended.code)
  end)

  it("asks for the host and for vCenter, and for nothing else", function()
    local _, alone <const> = look("--datastore", "ds 1")
    assert.equal(2, alone.code)
    assert.matches("--datastore goes with --host", alone.err, 1, true)
    local ended <const> = process.run { argv = { lab.bin, "preflight", "--host", "host-21" }, env = {} }
    assert.equal(2, ended.code)
    assert.matches(
      "missing value for --vsphere-hostname, --vsphere-username and --vsphere-password",
      ended.err,
      1,
      true
    )
    local _, none <const> = look("--host", "esx-99")
    assert.equal(1, none.code)
    assert.matches("check %-%-host;.*no host 'esx%-99'", none.out)
  end)

  it("tells each state that would keep copies from being offloaded, with its fix", function()
    local move <const> = "-o /DataMover/HardwareAccelerated"
    condition { settings = { ["DataMover.HardwareAcceleratedMove"] = 0 } }
    expect("XCOPY", "warn", "HardwareAcceleratedMove is off", move .. "Move -i 1")
    condition { settings = { ["DataMover.HardwareAcceleratedMove"] = 1, ["DataMover.HardwareAcceleratedInit"] = 0 } }
    expect("XCOPY", "warn", "HardwareAcceleratedInit is off", move .. "Init -i 1")
    condition {
      settings = { ["DataMover.HardwareAcceleratedInit"] = 1, ["DataMover.MaxHWTransferSize"] = 4096 },
      clone_status = "unsupported",
      claim_rules = { "EMC" },
      dead_paths = 1,
      failed_clone_ops = 3,
      memory_kib = 262144,
    }
    local results <const>, ended <const> =
      expect("XCOPY size", "warn", "move 4 MiB at most", "-o /DataMover/MaxHWTransferSize -i 16384")
    assert.equal(0, ended.code)
    local function is_warned(name, text, fix)
      assert.equal("warn", results[name].status, results[name].text)
      assert.matches(text, results[name].text)
      assert.is_truthy(results[name].fix:find(fix, 1, true), results[name].fix)
    end
    is_warned("VAAI", "no support for VAAI clone in naa%.%x+ and naa%.%x+$", "--claimrule-class=VAAI")
    is_warned("claim rules", "no VAAI claim rule .* for devices of NETAPP$", "-V 'NETAPP' -M 'LUN C-Mode'")
    is_warned("paths", "^2 of %d+ paths to naa", "esxcli storage core path list")
    is_warned("XCOPY counters", "^3 XCOPY commands to naa%.%x+ have failed", "vmkernel.log")
    is_warned("memory for clones", "may take 256 MiB together, which is little for 2", "hostd-memory 1024")
    condition { mtu = 9000 }
    assert.equal("8972 bytes get to 192.0.2.10 from vmk1", look("--host", "host-21")["large frames"].text)
    condition { frame_bytes = 1500 }
    expect("large frames", "warn", "do not get to 192.0.2.10", "vmkping -4 -d -s 8972 -c 3 -I vmk1 192.0.2.10")
    condition { frame_bytes = 20 }
    expect("large frames", "warn", "does not answer vmk1 of esx-01.lab.example", "vmkping -4 -c 3 -I vmk1")
    condition { mtu = 1500 }
    condition { dead_paths = 99 }
    local _, dead <const> = expect("paths", "fail", "has no active path", "esxcli storage core path list")
    assert.equal(3, dead.code)
    condition {
      settings = { ["DataMover.MaxHWTransferSize"] = 16384, ["Disk.MaxLUN"] = 256 },
      clone_status = "supported",
      claim_rules = { "NETAPP" },
      dead_paths = 0,
      failed_clone_ops = 0,
      memory_kib = 512000,
    }
    expect("LUN numbers", "warn", "Disk.MaxLUN is 256", "-i 1024")
    condition { settings = { ["Disk.MaxLUN"] = 1024 } }
  end)

  it(
    "tells more memory to be needed for more clones at a time",
    function() expect("memory for clones", "warn", "little for 8 clones", "hostd-memory 3200", "--clone-slots", "8") end
  )

  it("tells what an absent or foreign wrapper leaves untold", function()
    lab:host("wrapper", { variant = "none" })
    local results <const>, ended <const> =
      expect("wrapper", "fail", "is not installed on esx-01", "lunalift vib install --host esx-01")
    assert.same({ 2, "skipped", "pass" }, { ended.code, results["XCOPY counters"].status, results.VAAI.status })
    lab:host("wrapper", { variant = "upstream" })
    local told <const> = expect("wrapper", "warn", "is not ours", "install our VIB")
    for _, name in ipairs { "XCOPY counters", "memory for clones", "room in /tmp", "slots for clones" } do
      assert.equal("skipped", told[name].status, name)
    end
    lab:host("wrapper", { variant = "lunalift" })
  end)
end)

describe("the checks that populate makes itself", function()
  local lab, before

  setup(function()
    lab = labs.start()
    before = lab:snapshot()
  end)

  teardown(function() lab:stop() end)

  it("end it by their failure and fix, before its first effect", function()
    assert(lab.control:post("/datastore/datastore-15/condition", { json = { free_bytes = 1000 } }))
    local mark <const> = lab:mark()
    local ended <const> = lab:populate()
    assert.equal(1, ended.code)
    assert.is_truthy(ended.err:find("error: datastore Daten & Söhne has 1000 bytes free, 4 MiB are needed", 1, true))
    assert.is_truthy(ended.err:find("fix   make room on Daten & Söhne", 1, true))
    for _, request in ipairs(lab:requests_since(mark)) do
      assert.is_false(request.effect, request.method .. " " .. request.path)
    end
    assert.same(before, lab:snapshot())
    assert(lab.control:post("/datastore/datastore-15/condition", { json = {} }))
  end)
end)
