--- The part of forklift's controller is played here: it makes claims and volumes, starts the pod's program with the very arguments,
--- variables and files, reads its metrics, and hands the filled volume over.
local clusters <const> = require "support.cluster"
local fs <const> = require "lunalift.fs"
local http <const> = require "lunalift.http"
local json <const> = require "lunalift.json"
local lab_site <const> = require "support.lab_site"
local process <const> = require "lunalift.process"

local HOST <const> = "host-21"
local SLOW <const>, FAST <const> = { rate = 4 << 20, xcopy = 1 }, { rate = 0, xcopy = 1 }
local FILES <const> = "/var/run/secrets/kubernetes.io/serviceaccount"
-- A pod's own file system, as far as we look at it.
local ENTER <const> = ('mount -t tmpfs none /run && mkdir -p %s && cp "$0"/* %s && exec "$@"'):format(FILES, FILES)
local WITHIN_S <const> = 60

describe("in forklift's pod, with another's vCenter and a real Kubernetes,", function()
  local cluster, lab, vcsim, vcenter, pvc, claim, metrics

  setup(function()
    cluster, lab = clusters.start(), lab_site.start()
    local folder <const> = lab.dir .. "/vcsim"
    vcsim = assert(process.start {
      argv = {
        "setpriv",
        "--pdeathsig",
        "KILL",
        os.getenv "LUNALIFT_VCSIM",
        lab.dir .. "/site/site.json",
        folder,
        "vcenter",
      },
    })
    vcenter = json.decode(lab_site.wait_until(WITHIN_S, function() return fs.read(folder .. "/vcsim.json") end))
    pvc = lab.site.pvcs[2]

    local account <const> = cluster.dir .. "/account"
    fs.mkdir(account)
    assert(fs.write(account .. "/token", cluster:token(cluster.populator, 3600)))
    assert(fs.write(account .. "/ca.crt", fs.read(cluster.ca_file)))
    assert(fs.write(account .. "/namespace", clusters.NAMESPACE))
  end)

  teardown(function()
    if vcsim then vcsim:kill "KILL" end
    if lab then lab:stop() end
    if cluster then cluster:stop() end
  end)

  before_each(function()
    lab:vmkfstools(HOST, FAST)
    lab:spoil(pvc)
    claim = cluster:adopt(lab, pvc)
  end)

  after_each(function() cluster:drop(claim) end)

  local function vm_of_claim()
    local lab_vm <const> = pvc.name:match "^vm%-%d+"
    for _, vm in ipairs(vcenter.vms) do
      if vm.lab == lab_vm then return vm.moref end
    end
  end

  local function start_pod()
    local port <const> = clusters.free_port()
    metrics = ("https://127.0.0.1:%d"):format(port)
    local env <const> = lab:env {
      cacert = fs.read(lab.site.ca_file) .. fs.read(vcenter.ca_file),
      GOVMOMI_HOSTNAME = vcenter.host,
      HOSTNAME = "populate-" .. claim.uid,
      KUBERNETES_SERVICE_HOST = "127.0.0.1",
      KUBERNETES_SERVICE_PORT = tostring(cluster.port),
      LUNALIFT_HTTP_ENDPOINT = "127.0.0.1:" .. port, -- 8443 may be taken
    }
    env.KUBECONFIG, env.LUNALIFT_CA_FILE, env.XDG_STATE_HOME, env.STORAGE_VENDOR = nil, nil, nil, nil
    local argv <const> = {
      "unshare",
      "-Urm",
      "sh",
      "-c",
      ENTER,
      cluster.dir .. "/account",
      os.getenv "LUNALIFT_BIN",
      "--source-vm-id=" .. vm_of_claim(),
      "--source-vmdk=" .. pvc.vmdk,
      "--target-namespace=" .. clusters.NAMESPACE,
      "--cr-name=" .. pvc.name,
      "--cr-namespace=" .. clusters.NAMESPACE,
      "--owner-name=" .. pvc.name,
      "--secret-name=some",
      "--storage-vendor-product=ontap",
      "--pvc-size=" .. pvc.size_bytes,
      "--owner-uid=" .. claim.uid,
    }
    return assert(process.start { argv = argv, env = env })
  end

  -- The controller's look at the metrics, by its own pattern; nil when there are none yet.
  local function scraped(pattern)
    local answer <const> = http.client({ base = metrics, tls = { insecure = true } }):get "/metrics"
    return answer and answer.body:match(pattern)
  end

  local function follow_and_hand_over(pod)
    local finished <const> = 'copy_duration_seconds{[^}]*owner_uid="'
      .. claim.uid:gsub("%-", "%%-")
      .. '"[^}]*} ([0-9.]+)'
    local seconds <const> = lab_site.wait_until(WITHIN_S, function() return scraped(finished) end)
    assert.is_true(tonumber(seconds) > 0)
    local ended <const> = pod:wait()
    assert.equal(0, ended.code, ended.out .. ended.err)
    assert.is_true(lab:is_copied(pvc))
    assert.equal("", lab:leftovers(pvc))
    cluster:rebind(claim)
    return ended
  end

  it("a disk is copied, its metrics are read, and its volume becomes the claim's", function()
    local ended <const> = follow_and_hand_over(start_pod())
    assert.matches("VMware vCenter Server 6.5.0", ended.out, 1, true) -- that of vcsim
  end)

  it("what a lost pod began is finished by the next", function()
    lab:vmkfstools(HOST, SLOW)
    local lost <const> = start_pod()
    lab:wait_for_writer(HOST)
    lost:kill "KILL"
    lost:wait()
    lab:vmkfstools(HOST, FAST)
    assert.matches("clone %S+ goes on", follow_and_hand_over(start_pod()).out)
  end)
end)
