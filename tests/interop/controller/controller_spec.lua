--- The controller on a real control plane, with the rights of deploy/rbac alone; the lab is its vCenter and its array.
local clusters <const> = require "support.cluster"
local codec <const> = require "lunalift.codec"
local json <const> = require "lunalift.json"
local lab_site <const> = require "support.lab_site"
local process <const> = require "lunalift.process"
local provisioner <const> = require "support.provisioner"
local resources <const> = require "lib.resource"
local timer <const> = require "lunalift.timer"

local DEPLOY <const> = os.getenv "LUNALIFT_SOURCE" .. "/deploy/"
local HOST <const> = "host-21"
local SLOW <const>, FAST <const> = { rate = 4 << 20, xcopy = 1 }, { rate = 0, xcopy = 1 }
local MOVE <const> = clusters.NAMESPACE

describe("the controller on a real Kubernetes", function()
  local cluster, lab, claims, populators, storage, config, running

  local function kubectl(...)
    local ended <const> = clusters.kubectl(cluster.kubeconfig, { ... })
    assert.equal(0, ended.code, ended.out .. ended.err)
    return ended.out
  end

  local function start()
    local env <const> = { PATH = os.getenv "PATH", KUBECONFIG = config, HOSTNAME = "controller" }
    local argv <const> =
      { os.getenv "LUNALIFT_BIN", "controller", "--namespace=lunalift", "--ca-file=" .. lab.site.ca_file }
    local started <const> = assert(process.start { argv = argv, env = env })
    running[#running + 1] = started
    return started
  end

  local function secret()
    local data <const> = {}
    for name, value in pairs(lab:env()) do
      if name:find "^STORAGE_" or name:find "^GOVMOMI_" or name:find "^ONTAP_" then data[name] = codec.base64(value) end
    end
    return { apiVersion = "v1", kind = "Secret", metadata = { name = "site", namespace = MOVE }, data = data }
  end

  setup(function()
    cluster, lab = clusters.start(), lab_site.start()
    claims = resources.new(cluster.admin, "/api/v1", "persistentvolumeclaims")
    populators = resources.new(cluster.admin, "/apis/forklift.konveyor.io/v1beta1", "vspherexcopyvolumepopulators")
    kubectl("apply", "--server-side", "-f", DEPLOY .. "crds")
    kubectl("apply", "-f", DEPLOY .. "rbac/controller.yaml")
    kubectl("apply", "-n", MOVE, "-f", DEPLOY .. "rbac/populate-here.yaml")
    kubectl("label", "namespace", MOVE, "lunalift.io/populate=true")
    assert(cluster.admin:create("/api/v1/namespaces/move/secrets", secret()))
    local account <const> = assert(cluster.admin:get "/api/v1/namespaces/lunalift/serviceaccounts/lunalift-controller")
    config = cluster:write_kubeconfig("controller", cluster:token(account, 3600))
    storage, running = provisioner.start(cluster, lab), {}
    start()
  end)

  teardown(function()
    for _, each in ipairs(running or {}) do
      each:kill "KILL"
      each:wait()
    end
    if storage then storage:stop() end
    if lab then lab:stop() end
    if cluster then cluster:stop() end
  end)

  before_each(function() lab:vmkfstools(HOST, FAST) end)

  local function vm_of(pvc)
    for _, vm in ipairs(lab.site.vms) do
      for _, disk in ipairs(vm.disks) do
        if disk.vmdk == pvc.vmdk then return vm.moref end
      end
    end
  end

  local function populator_of(pvc, changes)
    local spec <const> =
      { vmId = vm_of(pvc), vmdkPath = pvc.vmdk, secretName = "site", storageVendorProduct = lab.site.arrays[1].product }
    for field, value in pairs(changes or {}) do
      spec[field] = value ~= json.null and value or nil
    end
    return {
      apiVersion = "forklift.konveyor.io/v1beta1",
      kind = "VSphereXcopyVolumePopulator",
      metadata = { name = pvc.name, namespace = MOVE },
      spec = spec,
    }
  end

  local function claim_of(pvc, namespace)
    return {
      apiVersion = "v1",
      kind = "PersistentVolumeClaim",
      metadata = { name = pvc.name, namespace = namespace or MOVE },
      spec = {
        accessModes = json.array { "ReadWriteMany" },
        volumeMode = "Block",
        storageClassName = "ontap-san",
        resources = { requests = { storage = tostring(pvc.size_bytes) } },
        dataSourceRef = {
          apiGroup = "forklift.konveyor.io",
          kind = "VSphereXcopyVolumePopulator",
          name = pvc.name,
        },
      },
    }
  end

  local function make(pvc, changes)
    lab:spoil(pvc)
    assert(populators:create(populator_of(pvc, changes)))
    return assert(claims:create(claim_of(pvc)))
  end

  local function status(pvc) return (populators:get(MOVE, pvc.name) or {}).status or {} end

  local function wait_phase(pvc, phase, within_s)
    local reached <const> = pcall(lab_site.wait_until, within_s or 60, function() return status(pvc).phase == phase end)
    local _, log <const> = running[#running]:output()
    local told <const> = status(pvc)
    assert.is_true(reached, ("%s (%s), not %s\n%s"):format(told.phase, told.message, phase, log:sub(-3000)))
  end

  local function condition(pvc, kind)
    for _, each in ipairs(status(pvc).conditions) do
      if each.type == kind then return each.status end
    end
  end

  local function is_gone(resource, namespace, name)
    lab_site.wait_until(30, function() return resource:get(namespace, name) == nil end)
  end

  local function journal(uid)
    return cluster.admin:get("/apis/coordination.k8s.io/v1/namespaces/lunalift/leases/lunalift-" .. uid)
  end

  local function drop(pvc)
    local claim <const> = claims:get(MOVE, pvc.name)
    if claim then claims:delete(claim) end
    populators:delete(populator_of(pvc))
    is_gone(claims, MOVE, pvc.name)
    is_gone(populators, MOVE, pvc.name)
  end

  it("fills a claim, hands its volume over, and leaves nothing behind", function()
    local pvc <const> = lab.site.pvcs[1]
    local begun_s <const> = timer.now()
    local claim <const> = make(pvc)
    wait_phase(pvc, "Succeeded")
    print(("# a claim was filled and bound in %.1f s"):format(timer.now() - begun_s))
    local bound <const> = assert(claims:get(MOVE, pvc.name))
    assert.equal("Bound", bound.status.phase)
    assert.is_true(lab:is_copied(pvc))
    assert.equal("", lab:leftovers(pvc))
    assert.is_nil(claims:get(MOVE, "prime-" .. claim.metadata.uid))
    assert.is_nil(journal(claim.metadata.uid))
    local told <const> = status(pvc)
    assert.same({ "100", "success", 1, bound.spec.volumeName }, {
      told.progress,
      told.result,
      told.attempts,
      told.volumeName,
    })
    assert.equal("done", told.receipt.result.status)
    assert.same({ "True", "False", "False" }, {
      condition(pvc, "Ready"),
      condition(pvc, "Reconciling"),
      condition(pvc, "Stalled"),
    })
    lab_site.wait_until(
      10,
      function() return kubectl("describe", "pvc", "-n", MOVE, pvc.name):find "PopulatorFinished" end
    )
    local columns <const> = kubectl("get", "vxvp", "-n", MOVE, pvc.name)
    assert.matches("READY%s+PHASE%s+PROGRESS%s+OFFLOADED%s+HOST", columns)
    assert.matches("True%s+Succeeded%s+100%s+100%s+esx%-01%.lab%.example%s+the claim holds the disk", columns)
    assert.matches("Copying", kubectl("describe", "vxvp", "-n", MOVE, pvc.name))
    drop(pvc)
  end)

  it("finds the VM by its disk, and does nothing where it was not asked to", function()
    local pvc <const> = lab.site.pvcs[2]
    kubectl("label", "namespace", MOVE, "lunalift.io/populate-")
    make(pvc, { vmId = json.null })
    timer.sleep(1)
    assert.is_nil(status(pvc).phase)
    kubectl("label", "namespace", MOVE, "lunalift.io/populate=true")
    wait_phase(pvc, "Succeeded")
    assert.is_true(lab:is_copied(pvc))
    drop(pvc)
  end)

  it("stops the copy when the claim is deleted, and lets the volume go only then", function()
    local pvc <const> = lab.site.pvcs[2]
    lab:vmkfstools(HOST, SLOW)
    local claim <const> = make(pvc)
    lab:wait_for_writer(HOST)
    wait_phase(pvc, "Copying")
    local before <const> = #storage.reclaimed
    assert(claims:delete(claim))
    lab_site.wait_until(60, function() return #storage.reclaimed > before end)
    assert.equal("", storage.reclaimed[#storage.reclaimed].left)
    is_gone(claims, MOVE, "prime-" .. claim.metadata.uid)
    assert.is_nil(journal(claim.metadata.uid))
    drop(pvc)
  end)

  it("lets a namespace end in the middle of a copy, once nothing is left of that", function()
    local pvc <const>, space <const> = lab.site.pvcs[2], "ending"
    kubectl("create", "namespace", space)
    kubectl("label", "namespace", space, "lunalift.io/populate=true")
    kubectl("apply", "-n", space, "-f", DEPLOY .. "rbac/populate-here.yaml")
    local keys <const>, populator <const> = secret(), populator_of(pvc)
    keys.metadata.namespace, populator.metadata.namespace = space, space
    assert(cluster.admin:create("/api/v1/namespaces/ending/secrets", keys))
    lab:vmkfstools(HOST, SLOW)
    lab:spoil(pvc)
    assert(populators:create(populator))
    assert(claims:create(claim_of(pvc, space)))
    lab:wait_for_writer(HOST)
    local before <const> = #storage.reclaimed
    kubectl("delete", "namespace", space, "--wait=false")
    lab_site.wait_until(60, function() return not cluster.admin:get "/api/v1/namespaces/ending" end)
    assert.is_true(#storage.reclaimed > before)
    assert.equal("", storage.reclaimed[#storage.reclaimed].left)
  end)

  it("says why a copy cannot be, and begins it when that is put right", function()
    local pvc <const> = lab.site.pvcs[2]
    make(pvc, { vmId = "vm-99999" })
    wait_phase(pvc, "Failed")
    assert.equal("True", condition(pvc, "Stalled"))
    assert.matches("vm%-99999", status(pvc).message)
    assert(populators:patch(MOVE, pvc.name, { spec = { vmId = vm_of(pvc) } }))
    wait_phase(pvc, "Succeeded")
    assert.is_true(lab:is_copied(pvc))
    drop(pvc)
  end)

  it("another goes on with the clone of one that was killed", function()
    local pvc <const> = lab.site.pvcs[2]
    lab:vmkfstools(HOST, SLOW)
    make(pvc)
    lab:wait_for_writer(HOST)
    wait_phase(pvc, "Copying")
    local task_id <const> = status(pvc).taskId
    running[#running]:kill "KILL"
    start()
    lab_site.wait_until(60, function() return status(pvc).attempts == 2 end)
    lab:vmkfstools(HOST, FAST)
    wait_phase(pvc, "Succeeded", 90)
    assert.is_true(lab:is_copied(pvc))
    assert.equal("", lab:leftovers(pvc))
    assert.equal(task_id, status(pvc).receipt.task)
    drop(pvc)
  end)
end)
