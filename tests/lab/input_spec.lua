--- Whole runs on bad input: a clear message with what to do, the right exit code, and nothing changed.
local labs <const> = require "support.lab"

local CLAIMS <const> = "/api/v1/namespaces/move/persistentvolumeclaims"
local VOLUMES <const> = "/api/v1/persistentvolumes"

describe("populate refuses", function()
  local lab, before

  setup(function()
    lab = labs.start()
    before = lab:snapshot()
  end)

  teardown(function() lab:stop() end)

  ---@param code integer
  ---@param texts string[] each somewhere in what standard error says
  ---@param options? lab.RunOptions
  ---@return ProcessEnd
  local function refused(code, texts, options)
    local mark <const> = lab:mark()
    local ended <const> = lab:populate(options)
    assert.equal(code, ended.code, ended.out .. ended.err)
    for _, text in ipairs(texts) do
      assert.is_truthy(ended.err:find(text, 1, true), ("%q is not in: %s"):format(text, ended.err))
    end
    assert.is_truthy(ended.err:find("\n  fix   ", 1, true), "no hint: " .. ended.err)
    lab:assert_no_secret(ended.out .. ended.err)
    assert.same(before, lab:snapshot())
    ended.requests = lab:requests_since(mark)
    return ended
  end

  -- Refused before anybody was asked anything.
  local function refused_at_once(texts, options)
    local ended <const> = refused(2, texts, options)
    for _, request in ipairs(ended.requests) do
      assert.equal("kube", request.service) -- the snapshot's own
    end
  end

  local function count(ended, service, method)
    local n = 0
    for _, request in ipairs(ended.requests) do
      if request.service == service and (not method or request.method == method) then n = n + 1 end
    end
    return n
  end

  local function put(path, kind, object)
    object.apiVersion, object.kind = "v1", kind
    assert(lab.kube:create(path, object))
    before = lab:snapshot()
  end

  -- ---- flags ----

  it(
    "to start without mandatory input, and names all of it at once",
    function()
      refused_at_once({
        "--source-vm-id, --source-vmdk, --owner-name, --target-namespace, --storage-vendor-product, --storage-hostname",
        "--vsphere-hostname, --vsphere-username and --vsphere-password",
      }, {
        flags = {
          ["source-vm-id"] = false,
          ["source-vmdk"] = false,
          ["owner-name"] = false,
          ["target-namespace"] = false,
        },
        env = {
          STORAGE_VENDOR = false,
          STORAGE_HOSTNAME = false,
          GOVMOMI_HOSTNAME = false,
          GOVMOMI_USERNAME = false,
          GOVMOMI_PASSWORD = false,
        },
      })
    end
  )

  it(
    "half a login",
    function()
      refused_at_once({ "either STORAGE_TOKEN or both STORAGE_USERNAME and STORAGE_PASSWORD" }, {
        env = { STORAGE_PASSWORD = false },
      })
    end
  )

  it("flags that are unknown, malformed or lack their value", function()
    refused_at_once(
      { "unknown flag --source-vmid", "did you mean --source-vm-id?" },
      { flags = { ["source-vmid"] = "x" } }
    )
    refused_at_once({ "--bind-timeout: 'soon' is no number of seconds" }, { flags = { ["bind-timeout"] = "soon" } })
    refused_at_once({ "LUNALIFT_DRY_RUN: 'maybe' is neither true nor false" }, { env = { LUNALIFT_DRY_RUN = "maybe" } })
    refused_at_once({ "'word' is no flag" }, { words = { "word" } })
    refused_at_once({ "flag --journal needs a value" }, { words = { "--journal" } })
    refused_at_once(
      { "--output: 'jsn' is not one of text, json", "did you mean json?" },
      { flags = { output = "jsn" } }
    )
    refused_at_once({ "STORAGE_HTTP_TIMEOUT_SECONDS: 'x' is not a whole number" }, {
      env = { STORAGE_HTTP_TIMEOUT_SECONDS = "x" },
    })
  end)

  it("unknown vendors, clone methods and homes of a journal", function()
    refused_at_once({ "no storage vendor 'onatp'", "did you mean ontap?" }, { env = { STORAGE_VENDOR = "onatp" } })
    refused_at_once({ "no storage vendor '../lib/fail'" }, { env = { STORAGE_VENDOR = "../lib/fail" } })
    refused_at_once({ "unknown ESXi clone method 'telnet'", "use vib" }, { env = { ESXI_CLONE_METHOD = "telnet" } })
    refused(2, { "--journal: 'memory' is no home" }, { flags = { journal = "memory" } })
  end)

  it("paths that name no VMDK", function()
    for _, path in ipairs {
      "[Daten & Söhne",
      "[Daten & Söhne]",
      "[Daten & Söhne] ",
      "[Daten & Söhne] disk.vmdk",
      "Daten & Söhne] web/web.vmdk",
      "[Daten & Söhne]web/web.vmdk",
      "[] web/web.vmdk",
      "[..] web/web.vmdk",
      "[Daten & Söhne] ../web/web.vmdk",
      "[Daten & Söhne] web/../../web.vmdk",
      "[Daten & Söhne] web/web.vmx",
      "[Daten & Söhne] web/",
    } do
      refused_at_once({ "invalid VMDK path", "[datastore] folder/disk.vmdk" }, { flags = { ["source-vmdk"] = path } })
    end
  end)

  it("a folder of scripts that does not exist", function()
    refused_at_once({ "the folder of scripts '/no/such' does not exist" }, { flags = { scripts = "/no/such" } })
    refused_at_once({ "the folder of scripts '/no/such' does not exist" }, { env = { LUNALIFT_SCRIPTS = "/no/such" } })
  end)

  -- ---- the cluster ----

  it("a kubeconfig that is not there", function() refused(2, { "/no/such" }, { env = { KUBECONFIG = "/no/such" } }) end)

  it("a claim that is not there", function()
    local ended <const> = refused(1, { "there is no claim web in namespace move", "--owner-name" }, {
      flags = { ["owner-name"] = "web" },
    })
    assert.equal(0, count(ended, "kube", "POST"))
  end)

  it("a claim that is not bound in time", function()
    put(
      CLAIMS,
      "PersistentVolumeClaim",
      { metadata = { name = "loose", namespace = "move" }, spec = { storageClassName = "ontap-san" } }
    )
    refused(2, { "claim move/loose is not bound to a volume", "kubectl -n move describe pvc loose" }, {
      flags = { ["owner-name"] = "loose", ["owner-uid"] = false, ["bind-timeout"] = "0.3" },
    })
  end)

  it("a volume that was not made by a CSI driver", function()
    put(
      VOLUMES,
      "PersistentVolume",
      { metadata = { name = "pv-nfs" }, spec = { nfs = { server = "10.0.0.1", path = "/" } } }
    )
    put(
      CLAIMS,
      "PersistentVolumeClaim",
      { metadata = { name = "on-nfs", namespace = "move" }, spec = { volumeName = "pv-nfs" } }
    )
    refused(
      2,
      { "volume pv-nfs of claim on-nfs was not made by a CSI driver" },
      { flags = { ["owner-name"] = "on-nfs", ["owner-uid"] = false } }
    )
  end)

  it("a volume of another array's driver", function()
    put(VOLUMES, "PersistentVolume", {
      metadata = { name = "pv-pure" },
      spec = { csi = { driver = "pxd.portworx.com", volumeHandle = "1" } },
    })
    put(
      CLAIMS,
      "PersistentVolumeClaim",
      { metadata = { name = "on-pure", namespace = "move" }, spec = { volumeName = "pv-pure" } }
    )
    refused(2, { "volume pv-pure was made by CSI driver pxd.portworx.com", "csi.trident.netapp.io" }, {
      flags = { ["owner-name"] = "on-pure", ["owner-uid"] = false },
    })
  end)

  it("a LUN that is smaller than the disk", function()
    local small <const> = lab:claim "vm-58-disk-1"
    refused(1, { "is smaller (4194304 bytes) than the disk (8388608 bytes)", "at least 8388608 bytes" }, {
      flags = { ["owner-name"] = small.name, ["owner-uid"] = small.uid },
    })
  end)

  -- ---- vSphere ----

  it("virtual machines, disks and hosts that are not there, and names that two bear", function()
    refused(1, { "no virtual machine vm-999", "--source-vm-id" }, { flags = { ["source-vm-id"] = "vm-999" } })
    refused(1, { "no virtual machine 'Web'", "--source-vm-id" }, { flags = { ["source-vm-id"] = "Web" } })
    refused(2, { "2 virtual machines are called 'twin'", "vm-5" }, { flags = { ["source-vm-id"] = "twin" } })
    refused(1, { "has no disk [Daten & Söhne] web/web.vmdk", "its disks are [Daten & Söhne] O'Neil's db/" }, {
      flags = { ["source-vmdk"] = "[Daten & Söhne] web/web.vmdk" },
    })
    refused(1, { "host-999", "--migration-host" }, { flags = { ["migration-host"] = "host-999" } })
    refused(1, { "no host 'esx-09'", "--migration-host" }, { flags = { ["migration-host"] = "esx-09" } })
  end)

  it("hosts that are away or in maintenance mode", function()
    lab:host("connected", { connected = false })
    refused(3, { "host esx-01.lab.example is", "--migration-host" })
    lab:host("connected", { connected = true })
    lab:host("condition", { in_maintenance = true })
    refused(3, { "host esx-01.lab.example is in maintenance mode", "--migration-host" })
    lab:host("condition", { in_maintenance = false })
  end)

  it("hosts without the VIB", function()
    lab:host("wrapper", { variant = "none" })
    refused(2, { "the VIB vmkfstools-wrapper is not installed on esx-01.lab.example", "install it" })
    lab:host("wrapper", { variant = "lunalift" })
  end)

  -- ---- logins and trust ----

  it("a wrong password of vCenter, tried once", function()
    local ended <const> = refused(2, { lab.site.vcenter.username, lab.site.vcenter.host }, {
      env = { GOVMOMI_PASSWORD = "Wr0ng!" },
    })
    assert.equal(1, count(ended, "vcenter", "Login"))
    assert.not_matches("Wr0ng!", ended.out .. ended.err)
  end)

  it("a wrong password of the array, tried once", function()
    local ended <const> = refused(
      2,
      { lab.site.arrays[1].host, "STORAGE_PASSWORD" },
      { env = { STORAGE_PASSWORD = "Wr0ng!" } }
    )
    assert.equal(1, count(ended, "ontap"))
    assert.not_matches("Wr0ng!", ended.out .. ended.err)
  end)

  it("certificates that nobody vouches for, at once, and shows how to trust them", function()
    local trusted <const> = { LUNALIFT_CA_FILE = false, LUNALIFT_VSPHERE_THUMBPRINT = lab.site.vcenter.thumbprint }
    for _, case in ipairs {
      { lab.site.vcenter, { LUNALIFT_CA_FILE = false } },
      { lab.site.arrays[1], trusted },
    } do
      local peer <const>, env <const> = table.unpack(case)
      local ended <const> = refused(2, {
        peer.host .. ": certificate not trusted: unknown issuer",
        peer.thumbprint,
        "--ca-file",
        "SSL_CERT_FILE",
        "--vsphere-thumbprint",
        "--storage-thumbprint",
        "LUNALIFT_VSPHERE_THUMBPRINT",
        "LUNALIFT_STORAGE_THUMBPRINT",
      }, { env = env })
      assert.is_true(ended.seconds < 5)
    end
  end)

  it("a certificate that is not the pinned one", function()
    local ended <const> = refused(2, { "the thumbprint given is not that", lab.site.vcenter.thumbprint }, {
      flags = { ["vsphere-thumbprint"] = ("AA:"):rep(31) .. "AA" },
    })
    assert.is_true(ended.seconds < 5)
  end)

  it(
    "a file of authorities that cannot be read",
    function() refused(2, { "/no/such.pem" }, { env = { LUNALIFT_CA_FILE = "/no/such.pem" } }) end
  )

  -- ---- addresses ----

  it("a vCenter and an array that are not there, when patience ends", function()
    refused(3, { "127.0.0.1:1: " }, { env = { GOVMOMI_HOSTNAME = "127.0.0.1:1", LUNALIFT_PATIENCE = "0.5" } })
    refused(3, { "127.0.0.1:1: " }, { env = { STORAGE_HOSTNAME = "127.0.0.1:1", LUNALIFT_PATIENCE = "0.5" } })
  end)

  it("peers that are something else, after three tries and not a minute", function()
    local ended = refused(
      2,
      { lab.site.arrays[1].host, "GOVMOMI_HOSTNAME must name" },
      { env = { GOVMOMI_HOSTNAME = lab.site.arrays[1].host } }
    )
    assert.is_true(ended.seconds < 5)
    ended = refused(1, { lab.site.vcenter.host }, { env = { STORAGE_HOSTNAME = lab.site.vcenter.host } })
    assert.is_true(ended.seconds < 5)
  end)
end)
