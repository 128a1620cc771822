local fake_kube <const> = require "spec.support.fake_kube"
local json <const> = require "lunalift.json"
local stand_in <const> = require "spec.support.stand_in"
local task <const> = require "lunalift.task"
local timer <const> = require "lunalift.timer"

local CLAIMS <const> = "/api/v1/namespaces/move/persistentvolumeclaims/"
local POPULATORS <const> = "/apis/forklift.konveyor.io/v1beta1/namespaces/move/vspherexcopyvolumepopulators/"

-- Copies that end when and how the test says.
local function fake_executor()
  local executor <const> = { copies = {}, started = {}, cancelled = {} }
  function executor:start(order)
    self.copies[order.uid] =
      { is_running = true, flow = order.flow, phase = "Mapping", message = "", left = {}, facts = {} }
    self.started[#self.started + 1] = order
  end
  function executor:of(uid) return self.copies[uid] end
  function executor:cancel(uid, reason)
    if self.copies[uid] and not self.copies[uid].cancelled_by then self.cancelled[#self.cancelled + 1] = reason end
    if self.copies[uid] then self.copies[uid].cancelled_by = reason end
  end
  function executor:open()
    if self.trouble then return nil, self.trouble end
    return {}
  end
  function executor:is_full() return self.is_busy end
  function executor:hand_over()
    self.is_over = true
    return true
  end
  function executor:forget(uid) self.copies[uid] = nil end
  function executor:count() return #self.started end
  return executor
end

describe("the controller", function()
  local restore, kube, executor, controller, running

  before_each(function()
    restore = stand_in.install { ["lunalift.log"] = stand_in.log() }
    kube, executor = fake_kube.new "admin", fake_executor()
    kube.lab:put {
      apiVersion = "v1",
      kind = "Namespace",
      metadata = { name = "move", labels = { ["lunalift.io/populate"] = "true" } },
      status = { phase = "Active" },
    }
    kube.lab:put {
      apiVersion = "v1",
      kind = "Namespace",
      metadata = { name = "lunalift" },
      status = { phase = "Active" },
    }
    controller = require("lib.populator.controller").new {
      kube = kube,
      namespace = "lunalift",
      instance = "test",
      executor = executor,
      flows = {},
      first_retry_s = 0.02,
      look_again_s = 0.02,
    }
    controller.status.every_s, controller.events.count_every_s = 0, 0
    running = task.spawn(controller.run, controller)
  end)

  after_each(function()
    running:cancel()
    restore()
  end)

  -- ---- what users and the rest of the cluster do ----

  local function put_class(mode)
    kube.lab:put {
      apiVersion = "storage.k8s.io/v1",
      kind = "StorageClass",
      metadata = { name = "sc" },
      provisioner = "csi.example",
      volumeBindingMode = mode,
    }
  end

  local function put_claim(changes)
    local spec <const> = {
      accessModes = json.array { "ReadWriteMany" },
      storageClassName = "sc",
      volumeMode = "Block",
      resources = { requests = { storage = "1Gi" } },
      dataSourceRef = { apiGroup = "forklift.konveyor.io", kind = "VSphereXcopyVolumePopulator", name = "disk" },
    }
    for field, value in pairs(changes or {}) do
      spec[field] = value
    end
    return kube.lab:put {
      apiVersion = "v1",
      kind = "PersistentVolumeClaim",
      metadata = { name = "disk", namespace = "move", uid = "0a-1" },
      spec = spec,
      status = { phase = spec.volumeName and "Bound" or "Pending" },
    }
  end

  local function put_populator(changes)
    local spec <const> = { vmdkPath = "[ds] a/a.vmdk", storageVendorProduct = "ontap", secretName = "s" }
    for field, value in pairs(changes or {}) do
      spec[field] = value
    end
    return kube.lab:put {
      apiVersion = "forklift.konveyor.io/v1beta1",
      kind = "VSphereXcopyVolumePopulator",
      metadata = { name = "disk", namespace = "move" },
      spec = spec,
    }
  end

  local function wait_until(is_so, what)
    local until_s <const> = timer.now() + 5
    while true do
      local value <const> = is_so()
      if value then return value end
      if timer.now() > until_s then error(("not within 5 s: %s"):format(what or "what is waited for"), 2) end
      timer.sleep(0.005)
    end
  end

  local function claim() return kube:get(CLAIMS .. "disk") end
  local function prime() return kube:get(CLAIMS .. "prime-0a-1") end
  local function status() return (kube:get(POPULATORS .. "disk") or {}).status or {} end

  local function wait_phase(phase)
    wait_until(function() return status().phase == phase end, phase .. ", but " .. json.encode(status()))
  end

  local function change(path, fn)
    local object <const> = assert(kube:get(path))
    fn(object)
    return kube.lab:put(object)
  end

  -- What the provisioner and the binder do.
  local function bind_prime()
    local made <const> = wait_until(prime, "a prime")
    kube.lab:put {
      apiVersion = "v1",
      kind = "PersistentVolume",
      metadata = { name = "pv" },
      spec = { claimRef = { namespace = "move", name = made.metadata.name, uid = made.metadata.uid } },
      status = { phase = "Bound" },
    }
    change(CLAIMS .. made.metadata.name, function(object)
      object.spec.volumeName, object.status = "pv", { phase = "Bound" }
    end)
  end

  local function volume() return kube:get "/api/v1/persistentvolumes/pv" end

  local function bind_target()
    wait_until(function() return volume().spec.claimRef.uid == "0a-1" end, "the volume handed over")
    change(CLAIMS .. "disk", function(object)
      object.spec.volumeName, object.status = "pv", { phase = "Bound" }
    end)
    change(CLAIMS .. "prime-0a-1", function(object) object.status = { phase = "Lost" } end)
  end

  local function end_copy(outcome)
    local uid <const> = "0a-1"
    local copying <const> = wait_until(function()
      local copying <const> = executor:of(uid)
      return copying and copying.is_running and copying
    end, "a copy")
    for field, value in pairs(outcome or {}) do
      copying[field] = value
    end
    copying.is_running = false
    controller:on_copy { key = "move/disk", uid = uid, namespace = "move" }
  end

  local function events_of(reason)
    local found <const> = {}
    for _, event in ipairs(assert(kube:get "/api/v1/namespaces/move/events").items) do
      if event.reason == reason then found[#found + 1] = event end
    end
    return found
  end

  local function finish()
    bind_prime()
    end_copy()
    bind_target()
    wait_phase "Succeeded"
  end

  -- ---- the rows ----

  it("makes one prime and begins one copy, whatever comes first", function()
    local acts <const> = { put_class, put_claim, put_populator }
    for _, order in ipairs { { 1, 2, 3 }, { 2, 3, 1 }, { 3, 2, 1 } } do
      for _, n in ipairs(order) do
        acts[n]()
        timer.sleep(0.03)
      end
      finish()
      assert.equal(1, #executor.started)
      assert.is_nil(prime())
      kube:delete(CLAIMS .. "disk")
      kube:delete(POPULATORS .. "disk")
      kube:delete "/apis/storage.k8s.io/v1/storageclasses/sc"
      kube:delete "/api/v1/persistentvolumes/pv"
      executor.started = {}
      timer.sleep(0.05)
    end
  end)

  it("waits for the node of a class that waits for a consumer, and pins the prime to it", function()
    put_class "WaitForFirstConsumer"
    put_populator()
    put_claim()
    wait_phase "Waiting"
    assert.matches("waits for the first pod", status().message)
    assert.is_nil(prime())
    change(
      CLAIMS .. "disk",
      function(object) object.metadata.annotations = { ["volume.kubernetes.io/selected-node"] = "node-1" } end
    )
    local made <const> = wait_until(prime)
    assert.equal("node-1", made.metadata.annotations["volume.kubernetes.io/selected-node"])
  end)

  it("makes the prime as the claim is, held by a finalizer, owned by the claim", function()
    put_class()
    put_populator()
    put_claim()
    local made <const> = wait_until(prime)
    assert.same({ "lunalift.io/populate" }, made.metadata.finalizers)
    assert.equal("0a-1", made.metadata.ownerReferences[1].uid)
    assert.is_nil(made.spec.dataSourceRef)
    assert.same({ "ReadWriteMany", "Block", "sc", "1Gi" }, {
      made.spec.accessModes[1],
      made.spec.volumeMode,
      made.spec.storageClassName,
      made.spec.resources.requests.storage,
    })
    assert.equal("ontap", json.decode(made.metadata.annotations["lunalift.io/populator"]).storageVendorProduct)
  end)

  it("says that a quota forbids the prime, and goes on when it no longer does", function()
    local is_full = true
    kube.fails = function(method, path)
      if is_full and method == "POST" and path:find "persistentvolumeclaims" then
        return { kind = "denied", status = 403, reason = "Forbidden", message = "exceeded quota: claims" }
      end
    end
    put_class()
    put_populator()
    put_claim()
    wait_until(function() return events_of("PopulatorPVCCreationError")[1] end)
    assert.matches("exceeded quota", status().message)
    assert.equal(0, #executor.started)
    is_full = false
    finish()
  end)

  it("tries again what may pass, counts that, and says it", function()
    put_class()
    put_populator()
    put_claim()
    bind_prime()
    end_copy { why = { kind = "unreachable", message = "vCenter is away" } }
    wait_phase "Retrying"
    assert.matches("vCenter is away", status().message)
    end_copy { why = { kind = "busy", message = "the host is busy" } }
    end_copy()
    bind_target()
    wait_phase "Succeeded"
    assert.equal(3, status().attempts)
    assert.equal(3, #executor.started)
  end)

  it(
    "does not try again what cannot pass, puts the prime away, and begins anew when the resource is changed",
    function()
      put_class()
      put_populator()
      put_claim()
      bind_prime()
      end_copy { why = { kind = "config", message = "no such VM", hint = "name one" } }
      wait_phase "Failed"
      assert.equal("name one", status().hint)
      wait_until(function() return not prime() end, "the prime to go")
      timer.sleep(0.1)
      assert.equal(1, #executor.started)
      kube:delete "/api/v1/persistentvolumes/pv"
      assert(kube:patch(POPULATORS .. "disk", { spec = { vmId = "vm-2" } }))
      finish()
      assert.equal(2, #executor.started)
      assert.equal(1, status().attempts)
    end
  )

  it("waits in order while as many copies are under way as may be, and begins when one ends", function()
    executor.is_busy = true
    put_class()
    put_populator()
    put_claim()
    bind_prime()
    wait_phase "Queued"
    assert.equal(0, #executor.started)
    executor.is_busy = false
    executor.copies.other = { is_running = false }
    controller:on_copy { key = "move/other", uid = "other", namespace = "move" }
    wait_until(function() return #executor.started == 1 end, "a copy")
  end)

  it("gives up after five attempts", function()
    put_class()
    put_populator()
    put_claim()
    bind_prime()
    for _ = 1, 5 do
      end_copy { why = { kind = "timeout", message = "no answer" } }
    end
    wait_phase "Failed"
    assert.equal(5, #executor.started)
  end)

  it("hands over no volume that has become a stranger's", function()
    put_class()
    put_populator()
    put_claim()
    bind_prime()
    change(
      "/api/v1/persistentvolumes/pv",
      function(object) object.spec.claimRef = { namespace = "other", name = "thief", uid = "0f" } end
    )
    end_copy()
    wait_until(function() return events_of("VolumeTaken")[1] end)
    assert.matches("bound to other/thief", status().message)
    assert.equal("0f", volume().spec.claimRef.uid)
  end)

  it("reads again and hands over when the volume was changed meanwhile", function()
    local conflicts = 2
    kube.fails = function(method, path)
      if method == "PATCH" and path:find "persistentvolumes" and conflicts > 0 then
        conflicts = conflicts - 1
        return { kind = "conflict", status = 409, message = "modified" }
      end
    end
    put_class()
    put_populator()
    put_claim()
    finish()
    assert.equal(0, conflicts)
  end)

  it("keeps the prime until it is lost and the claim bound, and finishes once", function()
    put_class()
    put_populator()
    put_claim()
    bind_prime()
    end_copy()
    wait_until(function() return volume().spec.claimRef.uid == "0a-1" end)
    change(CLAIMS .. "prime-0a-1", function(object) object.status = { phase = "Lost" } end)
    timer.sleep(0.1)
    assert.is_truthy(prime(), "the claim is not bound yet")
    bind_target()
    wait_phase "Succeeded"
    assert.is_nil(prime())
    change(CLAIMS .. "disk", function(object) object.metadata.labels = { a = "b" } end)
    timer.sleep(0.1)
    local said <const> = events_of "PopulatorFinished"
    assert.same({ 1, 1 }, { #said, said[1].count })
  end)

  it("ends the copy first when the claim is deleted, and only then lets the volume go", function()
    put_class()
    put_populator()
    put_claim()
    bind_prime()
    wait_until(function() return #executor.started == 1 end)
    kube:delete(CLAIMS .. "disk")
    wait_until(function() return #executor.cancelled == 1 end)
    timer.sleep(0.1)
    assert.is_truthy(prime())
    end_copy { why = { kind = "cancelled", message = "the claim is being deleted" } }
    wait_until(function() return not prime() end, "the prime to go")
  end)

  it("puts back what a dead controller's copy left before the volume goes", function()
    put_class()
    put_populator()
    put_claim()
    bind_prime()
    kube.lab:put {
      apiVersion = "coordination.k8s.io/v1",
      kind = "Lease",
      metadata = { name = "lunalift-0a-1", namespace = "lunalift", annotations = { ["lunalift.io/journal"] = "{}" } },
      spec = {},
    }
    wait_until(function() return #executor.started == 1 end)
    kube:delete(POPULATORS .. "disk")
    end_copy { why = { kind = "cancelled", message = "stopped" }, left = { "a mapping" } }
    local settling <const> = wait_until(function() return executor.started[2] end)
    assert.equal("settle", settling.flow)
    assert.equal("ontap", settling.spec.storageVendorProduct)
    assert.is_truthy(prime())
    kube.lab:put {
      apiVersion = "coordination.k8s.io/v1",
      kind = "Lease",
      metadata = { name = "lunalift-0a-1", namespace = "lunalift" },
      spec = {},
    }
    end_copy()
    wait_until(function() return not prime() end, "the prime to go")
    assert.is_nil(kube:get "/apis/coordination.k8s.io/v1/namespaces/lunalift/leases/lunalift-0a-1")
  end)

  it("leaves to another controller what that one's pod fills", function()
    kube.lab:put {
      apiVersion = "v1",
      kind = "Pod",
      metadata = { name = "populate-0a-1", namespace = "move" },
      spec = {},
      status = { phase = "Running" },
    }
    put_class()
    put_populator()
    put_claim()
    wait_until(function() return events_of("AnotherController")[1] end)
    assert.is_nil(prime())
  end)

  it("refuses a resource of another namespace, and says when there is none", function()
    put_class()
    put_claim {
      dataSourceRef = {
        apiGroup = "forklift.konveyor.io",
        kind = "VSphereXcopyVolumePopulator",
        name = "disk",
        namespace = "other",
      },
    }
    put_populator()
    wait_until(function() return events_of("PopulatorCrossNamespace")[1] end)
    assert.is_nil(prime())
    kube:delete(POPULATORS .. "disk")
    put_claim()
    wait_until(function() return events_of("PopulatorDataSourceNotFound")[1] end)
  end)

  it("acts where a namespace or a resource asks for it, and nowhere else", function()
    change("/api/v1/namespaces/move", function(object) object.metadata.labels = nil end)
    put_class()
    put_populator()
    put_claim()
    timer.sleep(0.1)
    assert.is_nil(prime())
    change(
      POPULATORS .. "disk",
      function(object) object.metadata.annotations = { ["lunalift.io/populate"] = "true" } end
    )
    wait_until(prime)
  end)

  describe("fills a claim that is bound already", function()
    before_each(function()
      put_class()
      kube.lab:put {
        apiVersion = "v1",
        kind = "PersistentVolume",
        metadata = { name = "pv" },
        spec = { claimRef = { namespace = "move", name = "disk", uid = "0a-1" } },
        status = { phase = "Bound" },
      }
    end)

    it("in place and once, where the resource names it", function()
      put_populator { targetPVC = "disk" }
      put_claim { volumeName = "pv" }
      end_copy()
      wait_phase "Succeeded"
      assert.is_truthy(claim().metadata.annotations["lunalift.io/filled"])
      assert.is_nil(prime())
      change(CLAIMS .. "disk", function(object) object.metadata.labels = { a = "b" } end)
      timer.sleep(0.1)
      assert.equal(1, #executor.started)
    end)

    it("never, where the resource does not name it", function()
      put_populator()
      put_claim { volumeName = "pv" }
      timer.sleep(0.1)
      assert.equal(0, #executor.started)
    end)

    it("not while a pod uses it", function()
      local function put_pod(phase)
        kube.lab:put {
          apiVersion = "v1",
          kind = "Pod",
          metadata = { name = "vm", namespace = "move" },
          spec = { volumes = { { name = "d", persistentVolumeClaim = { claimName = "disk" } } } },
          status = { phase = phase },
        }
      end
      put_pod "Running"
      put_populator { targetPVC = "disk" }
      put_claim { volumeName = "pv" }
      wait_until(function() return events_of("ClaimInUse")[1] end)
      assert.equal(0, #executor.started)
      put_pod "Succeeded"
      wait_until(function() return #executor.started == 1 end)
    end)
  end)
end)
