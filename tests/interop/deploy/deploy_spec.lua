--- What deploy/ holds, on a real API server: kubectl applies it, and the controller's service account does with it what it may.
local clusters <const> = require "support.cluster"
local json <const> = require "lunalift.json"
local kube <const> = require "lunalift.kube"
local lab_site <const> = require "support.lab_site"
local resources <const> = require "lib.resource"

local DEPLOY <const> = os.getenv "LUNALIFT_SOURCE" .. "/deploy/"
local GROUP <const> = "/apis/forklift.konveyor.io/v1beta1"
local BINDINGS <const> = DEPLOY .. "rbac/populate-here.yaml"

-- The example of the product's own description, with the accessModes that the API demands.
local EXAMPLE <const> = [[
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: my-pvc, namespace: default}
spec:
  accessModes: [ReadWriteMany]
  resources: {requests: {storage: 100000Mi}}
  dataSourceRef: {apiGroup: forklift.konveyor.io, kind: VSphereXcopyVolumePopulator, name: vm-1-xcopy-1}
  storageClassName: sc-1
  volumeMode: Block
  volumeName: pvc-6dff02f2-de63-40ab-a534-3bd5a7b47f82
---
apiVersion: forklift.konveyor.io/v1beta1
kind: VSphereXcopyVolumePopulator
metadata: {name: vm-1-xcopy-1, namespace: default}
spec: {secretRef: vantara-secret, storageVendorProduct: vantara, targetPVC: my-pvc, vmdkPath: '[my-vsphere-ds] vm-1/vm-1.vmdk'}
]]

-- As forklift's planner makes them.
local UPSTREAM <const> = [[
apiVersion: forklift.konveyor.io/v1beta1
kind: VSphereXcopyVolumePopulator
metadata: {name: upstream, namespace: move, labels: {migration: m, vmID: vm-9}}
spec:
  migrationHost: host-36
  secretName: plan-vm-9-0
  storageVendorProduct: pureFlashArray
  vmId: vm-9
  vmdkPath: '[Data Store (1)] web server_1/web server-000002.vmdk'
status:
  progress: "100"
  xcopyUsed: "1"
]]

local function resource(spec, status)
  return json.encode {
    apiVersion = "forklift.konveyor.io/v1beta1",
    kind = "VSphereXcopyVolumePopulator",
    metadata = { name = "x", namespace = clusters.NAMESPACE },
    spec = spec,
    status = status,
  }
end

local function spec(changes)
  local made <const> = { vmdkPath = "[ds] web/web.vmdk", storageVendorProduct = "ontap" }
  for field, value in pairs(changes) do
    made[field] = value ~= json.null and value or nil
  end
  return made
end

describe("on a real API server", function()
  local cluster, populators

  local function kubectl(words, input)
    local ended <const> = clusters.kubectl(cluster.kubeconfig, words, input)
    return ended.code, ended.out .. ended.err
  end

  local function must(words, input)
    local code <const>, said <const> = kubectl(words, input)
    assert.equal(0, code, said)
    return said
  end

  local function apply(text) return must({ "apply", "-f", "-" }, text) end

  setup(function()
    cluster = clusters.start { is_bare = true }
    populators = resources.new(cluster.admin, GROUP, "vspherexcopyvolumepopulators")
    must { "apply", "--server-side", "-f", DEPLOY .. "crds" }
    must { "wait", "--for=condition=Established", "crd", "--all", "--timeout=20s" }
    lab_site.wait_until(20, function() return populators:discover().is_served end)
    lab_site.wait_until(20, function() return populators:get("default", "none") == nil end)
  end)

  teardown(function()
    if cluster then cluster:stop() end
  end)

  describe("the resource", function()
    it("is taken as the description shows it, and as forklift makes it", function()
      apply(EXAMPLE)
      apply(UPSTREAM)
      local found <const> = assert(populators:get("default", "vm-1-xcopy-1"))
      assert.same({ "vantara-secret", "my-pvc" }, { found.spec.secretRef, found.spec.targetPVC })
      must { "delete", "vxvp", "-n", "move", "upstream" }
    end)

    it(
      "has a status of its own",
      function() assert.same({ is_served = true, has_status = true }, populators:discover()) end
    )

    it("is refused with words that say what is meant", function()
      local wrong <const> = {
        { { vmdkPath = "web.vmdk" }, "must name a disk as vSphere does: [datastore] folder/disk.vmdk" },
        { { vmdkPath = "[ds] web.vmdk" }, "must name a disk as vSphere does" },
        { { vmdkPath = "[ds] web/web.qcow2" }, "must name a disk as vSphere does" },
        { { vmdkPath = json.null }, "spec.vmdkPath: Required value" },
        { { storageVendorProduct = "net app" }, "must be the product key of a storage vendor, such as ontap" },
        { { storageVendorProduct = json.null }, "spec.storageVendorProduct: Required value" },
        { { vmId = "web server" }, "must be a managed object id, such as vm-1234" },
        { { migrationHost = "esx 1" }, "must be a managed object id, such as host-36" },
        { { targetPVC = "My_PVC" }, "must be the name of a claim of this namespace" },
        { { secretName = "a", secretRef = "b" }, "secretName and secretRef are two names of one field" },
      }
      for _, case in ipairs(wrong) do
        local code <const>, said <const> = kubectl({ "create", "-f", "-" }, resource(spec(case[1])))
        assert.equal(1, code, said)
        assert.matches(case[2], said, 1, true)
      end
      local code <const>, said <const> = kubectl({ "create", "-f", "-" }, resource(spec { vmdkpath = "x" }))
      assert.equal(1, code)
      assert.matches('unknown field "spec.vmdkpath"', said, 1, true)
    end)

    it("takes paths of every shape that vSphere has, and arrays that were added", function()
      for _, path in ipairs { "[ds-1] a/b/c.vmdk", "[a (b)] rfc4122.1-2/x y.vmdk", "[vsanDatastore] 0f/ü_1.vmdk" } do
        local given <const> = { vmdkPath = path, storageVendorProduct = "acmeFlashBox", vmId = "", secretName = "" }
        must({ "create", "--dry-run=server", "-f", "-" }, resource(spec(given)))
      end
    end)

    it("tells its story in its columns", function()
      must({ "create", "-f", "-" }, resource(spec { vmId = "vm-7" }))
      local now <const> = "2026-01-31T12:00:00Z"
      assert(populators:patch_status(clusters.NAMESPACE, "x", {
        status = {
          phase = "Copying",
          progress = "42",
          offloadedPercent = 98,
          host = "esx-1.example",
          message = "21 of 50 GiB copied",
          hint = "nothing to do",
          attempts = 1,
          taskId = "t-1",
          totalBytes = 53687091200,
          copiedBytes = 22548578304,
          claim = { name = "data", uid = "u" },
          receipt = { v = 1, copy = { by = "array", bytes = 1 } },
          observedGeneration = 1,
          conditions = json.array {
            {
              type = "Ready",
              status = "False",
              reason = "Copying",
              message = "the array copies",
              lastTransitionTime = now,
            },
            {
              type = "Reconciling",
              status = "True",
              reason = "Copying",
              message = "the array copies",
              lastTransitionTime = now,
            },
          },
        },
      }))
      local said <const> = must { "get", "vxvp", "-n", "move", "-o", "wide" }
      local head <const>, row <const> = said:match "^([^\n]*)\n([^\n]*)\n"
      local columns <const> =
        "NAME READY PHASE PROGRESS OFFLOADED HOST MESSAGE AGE VENDOR DISK CLAIM ATTEMPTS TASK HINT"
      assert.equal(columns, (head:gsub("%s+", " "):gsub(" $", "")))
      assert.matches(
        "^x +False +Copying +42 +98 +esx%-1%.example +21 of 50 GiB copied +%d+s +ontap +%[ds%] web/web%.vmdk",
        row
      )
      assert.equal(1, populators:get(clusters.NAMESPACE, "x").status.receipt.copy.bytes)
      must { "wait", "-n", "move", "vxvp/x", "--for=condition=Reconciling", "--timeout=5s" }
      assert.matches("copiedBytes%s+<integer>", must { "explain", "vxvp.status" })
    end)

    it("refuses a status that makes no sense", function()
      local _, why = populators:patch_status("default", "vm-1-xcopy-1", { status = { phase = "Flying" } })
      assert.matches('Unsupported value: "Flying"', why.message)
      _, why = populators:patch_status("default", "vm-1-xcopy-1", { status = { offloadedPercent = 101 } })
      assert.matches("should be less than or equal to 100", why.message)
    end)
  end)

  describe("the optional kinds", function()
    it("are made where they are missing, and left as they are where they are not", function()
      local theirs <const> = json.encode {
        apiVersion = "apiextensions.k8s.io/v1",
        kind = "CustomResourceDefinition",
        metadata = { name = "plans.forklift.konveyor.io", annotations = { mark = "forklift" } },
        spec = {
          group = "forklift.konveyor.io",
          scope = "Namespaced",
          names = { kind = "Plan", plural = "plans" },
          versions = json.array {
            { name = "v1beta1", served = true, storage = true, schema = { openAPIV3Schema = { type = "object" } } },
          },
        },
      }
      must({ "create", "-f", "-" }, theirs)
      local code <const>, said <const> = kubectl { "create", "-f", DEPLOY .. "crds/optional" }
      assert.equal(1, code)
      assert.matches('"plans.forklift.konveyor.io" already exists', said, 1, true)
      for _, plural in ipairs { "storagemaps", "providers", "hosts" } do
        assert.matches(plural .. ".forklift.konveyor.io created", said, 1, true)
      end
      assert.equal(
        "forklift",
        must { "get", "crd", "plans.forklift.konveyor.io", "-o", "jsonpath={.metadata.annotations.mark}" }
      )
      must { "wait", "--for=condition=Established", "crd", "--all", "--timeout=20s" }
    end)

    it("keep what is not described, and know what the array copies by itself", function()
      local map <const> = {
        apiVersion = "forklift.konveyor.io/v1beta1",
        kind = "StorageMap",
        metadata = { name = "offload", namespace = "move" },
        spec = {
          provider = {
            source = { name = "vc", namespace = "move" },
            destination = { name = "host", namespace = "move" },
          },
          map = json.array {
            {
              source = { id = "datastore-1" },
              destination = { storageClass = "sc-1", later = "kept" },
              offloadPlugin = { vsphereXcopyConfig = { secretRef = "array", storageVendorProduct = "ontap" } },
            },
          },
        },
      }
      lab_site.wait_until(20, function() return kubectl({ "create", "-f", "-" }, json.encode(map)) == 0 end)
      local words <const> =
        { "get", "storagemap", "-n", "move", "offload", "-o", "jsonpath={.spec.map[0].destination.later}" }
      assert.equal("kept", must(words))
      map.metadata.name, map.spec.map[1].offloadPlugin.vsphereXcopyConfig.secretRef = "wrong", nil
      local code <const>, said <const> = kubectl({ "create", "-f", "-" }, json.encode(map))
      assert.equal(1, code)
      assert.matches("vsphereXcopyConfig.secretRef: Required value", said, 1, true)
    end)

    it("let the resource be registered as a source of claims", function()
      lab_site.wait_until(20, function() return kubectl { "apply", "-f", DEPLOY .. "registration.yaml" } == 0 end)
      assert.matches("VSphereXcopyVolumePopulator", must { "get", "volumepopulator", "vsphere-xcopy" })
    end)
  end)

  describe("the controller's account", function()
    local ours

    setup(function()
      must { "apply", "-f", DEPLOY .. "rbac/controller.yaml" }
      must { "apply", "-n", clusters.NAMESPACE, "-f", BINDINGS }
      must { "create", "secret", "generic", "array", "-n", clusters.NAMESPACE, "--from-literal=a=b" }
      apply(UPSTREAM)
      local account <const> =
        assert(cluster.admin:get "/api/v1/namespaces/lunalift/serviceaccounts/lunalift-controller")
      local path <const> = cluster:write_kubeconfig("controller", cluster:token(account, 3600))
      ours = assert(kube.open { kubeconfig = path })
    end)

    local CLAIMS <const> = "/api/v1/namespaces/%s/persistentvolumeclaims"

    local function prime(namespace)
      return {
        apiVersion = "v1",
        kind = "PersistentVolumeClaim",
        metadata = { name = "prime-1", namespace = namespace },
        spec = {
          accessModes = json.array { "ReadWriteMany" },
          resources = { requests = { storage = "1Gi" } },
          storageClassName = "ontap-san",
        },
      }
    end

    local function assert_denied(_, why) assert.equal("denied", why and why.kind) end

    it("may do where it was let in what filling a claim takes", function()
      local move <const> = clusters.NAMESPACE
      local claims <const> = resources.new(ours, "/api/v1", "persistentvolumeclaims")
      local made <const> = assert(claims:create(prime(move)))
      assert(claims:patch(move, "prime-1", { metadata = { annotations = { a = "b" } } }))
      assert(claims:delete(made))
      for _, path in ipairs {
        "/api/v1/namespaces",
        "/api/v1/persistentvolumeclaims",
        "/api/v1/persistentvolumes",
        "/apis/storage.k8s.io/v1/storageclasses",
        GROUP .. "/vspherexcopyvolumepopulators",
        "/api/v1/namespaces/move/pods",
        "/api/v1/namespaces/move/secrets/array",
      } do
        assert(ours:get(path))
      end
      local populator <const> = GROUP .. "/namespaces/move/vspherexcopyvolumepopulators/upstream"
      assert(ours:patch(populator, { metadata = { finalizers = json.array { "lunalift.io/populate" } } }))
      assert(ours:patch(populator .. "/status", { status = { phase = "Waiting" } }))
      assert(ours:patch(populator, { metadata = { finalizers = json.null } }))
      local leases <const> = resources.new(ours, "/apis/coordination.k8s.io/v1", "leases")
      local lease <const> = {
        apiVersion = "coordination.k8s.io/v1",
        kind = "Lease",
        metadata = { name = "lunalift-controller", namespace = "lunalift" },
      }
      assert(leases:update(assert(leases:create(lease))))
      local said <const> = require("lib.events").new(ours, { component = "lunalift-controller", instance = "test" })
      local running <const> = require("lunalift.task").spawn(said.run, said)
      said:say(require("lib.events").about(assert(ours:get(populator))), "Normal", "Waiting", "no class")
      lab_site.wait_until(10, function() return said:is_idle() end)
      running:cancel()
      assert.matches("Waiting.*no class", must { "describe", "vxvp", "-n", "move", "upstream" })
    end)

    it("may let go what it held back when a namespace ends, and its rights there with it", function()
      must { "create", "namespace", "brief" }
      must { "apply", "-n", "brief", "-f", BINDINGS }
      local claims <const> = resources.new(ours, "/api/v1", "persistentvolumeclaims")
      local held <const> = prime "brief"
      held.metadata.finalizers = json.array { "lunalift.io/populate" }
      assert(claims:create(held))
      assert(claims:delete(held))
      must { "delete", "-n", "brief", "-f", BINDINGS }
      assert_denied(claims:create(prime "brief"))
      assert(claims:patch("brief", "prime-1", { metadata = { finalizers = json.null } }))
      lab_site.wait_until(10, function() return not claims:get("brief", "prime-1") end)
    end)

    it("may do nothing of it elsewhere, and nothing else anywhere", function()
      assert_denied(ours:create(CLAIMS:format "default", prime "default"))
      assert_denied(ours:delete(CLAIMS:format "default" .. "/my-pvc"))
      assert_denied(ours:patch(GROUP .. "/namespaces/default/vspherexcopyvolumepopulators/vm-1-xcopy-1/status", {}))
      assert_denied(ours:get "/api/v1/namespaces/default/pods")
      for _, path in ipairs {
        "/api/v1/secrets",
        "/api/v1/namespaces/move/secrets",
        "/api/v1/namespaces/default/secrets/any",
        "/api/v1/namespaces/move/configmaps",
        "/apis/coordination.k8s.io/v1/namespaces/move/leases",
        "/apis/coordination.k8s.io/v1/leases",
        "/apis/rbac.authorization.k8s.io/v1/clusterroles",
      } do
        assert_denied(ours:get(path))
      end
      assert_denied(ours:delete "/api/v1/persistentvolumes/any")
      assert_denied(
        ours:create("/api/v1/namespaces/move/pods", { apiVersion = "v1", kind = "Pod", metadata = { name = "p" } })
      )
    end)
  end)
end)
