--- The controller on a simulated cluster that provisions and binds: claims come filled, and whatever ends that is put in order.
local http <const> = require "lunalift.http"
local json <const> = require "lunalift.json"
local labs <const> = require "support.lab"
local populators <const> = require "support.populators"
local process <const> = require "lunalift.process"
local timer <const> = require "lunalift.timer"

local SLOW <const>, FAST <const> = { rate = 1 << 20, xcopy = 1 }, { rate = 0, xcopy = 1 }
local LEASES <const> = "/apis/coordination.k8s.io/v1/namespaces/lunalift/leases/"

describe("the controller", function()
  local lab, there, running

  setup(function()
    lab = labs.start { kube = { controllers = true } }
    there = populators.new(lab)
    there:make_namespace(populators.HOME)
    there:make_secret "copy"
    there:opt_in()
    running = there:start()
  end)

  teardown(function()
    if running then
      running:kill "TERM"
      local ended <const> = running:wait()
      assert.equal(0, ended.code, ended.err)
      lab:assert_no_secret(ended.out .. ended.err)
    end
    lab:stop()
  end)

  before_each(function() lab:host("vmkfstools", FAST) end)

  -- Its copy writes, slowly.
  local function make_slowly(name, disk)
    lab:host("vmkfstools", SLOW)
    there:make_populator(name, disk)
    local claim <const> = there:make_claim(name, name)
    there:wait_phase(name, "Copying")
    return claim
  end

  local function wait_gone(...)
    for _, path in ipairs { ... } do
      labs.wait_until(30, path .. " gone", function() return not lab.kube:get(path) end)
    end
  end

  local function assert_filled(name, disk)
    local status <const> = there:wait_phase(name, "Succeeded", 40)
    assert.is_true(there:is_copied(name, disk))
    assert.equal("", there:leftovers())
    return status
  end

  it("fills a claim from a disk, hands its volume over, and tells the story", function()
    there:make_populator("first", "vm-57-disk-1")
    local claim <const> = there:make_claim("first", "first")
    local status <const> = assert_filled("first", "vm-57-disk-1")
    assert.same({ 1, "100", "success", "ontap", "vib", "1", 100, "8388608", 8388608 }, {
      status.attempts,
      status.progress,
      status.result,
      status.storageVendor,
      status.cloneMethod,
      status.xcopyUsed,
      status.offloadedPercent,
      status.provisionedBytes,
      status.copiedBytes,
    })
    assert.equal("done", status.receipt.result.status)
    assert.equal("Bound", there:claim("first").status.phase)
    wait_gone(populators.claim_path("prime-" .. claim.metadata.uid), LEASES .. "lunalift-" .. claim.metadata.uid)
    local told <const> = labs.wait_until(10, "events", function()
      local reasons <const> = table.concat(there:events "first", " ")
      return reasons:find "PopulatorFinished" and reasons
    end)
    for _, reason in ipairs { "PopulatorCreated", "Copying", "Rebinding", "Succeeded" } do
      assert.matches(reason, told, 1, true)
    end
  end)

  it("finds the VM by its disk, and takes the older names of fields", function()
    there:make_populator("older", "vm-58-disk-1", { vmId = json.null, secretName = json.null, secretRef = "copy" })
    there:make_claim("older", "older", { size = "4Mi" })
    assert_filled("older", "vm-58-disk-1")
  end)

  it("waits for the Secret, the class and the resource, and says for which", function()
    there:make_claim("early", "early", { size = "4Mi", spec = { storageClassName = "later" } })
    labs.wait_until(10, "an event", function() return there:events("early")[1] == "PopulatorDataSourceNotFound" end)
    there:make_populator("early", "vm-58-disk-1", { secretName = "later" })
    local status = there:wait_phase("early", "Waiting")
    assert.equal("there is no storage class 'later'", status.message)
    assert(lab.kube:create("/apis/storage.k8s.io/v1/storageclasses", {
      apiVersion = "storage.k8s.io/v1",
      kind = "StorageClass",
      metadata = { name = "later" },
      provisioner = "csi.lab.example",
    }))
    status = labs.wait_until(20, "the Secret", function()
      local now <const> = there:status "early"
      return (now.message or ""):find "Secret" and now
    end)
    assert.equal("there is no Secret later for namespace move", status.message)
    assert.matches("lunalift.io/offered-to", status.hint, 1, true)
    there:make_secret "later"
    assert_filled("early", "vm-58-disk-1")
  end)

  it(
    "takes a Secret of its own namespace where that is offered, and of a tenant's only what is a tenant's to say",
    function()
      there:make_secret("shared", populators.HOME)
      there:make_populator("offered", "vm-58-disk-1", { secretName = "shared" })
      there:make_claim("offered", "offered", { size = "4Mi" })
      assert.matches("no Secret shared", there:wait_phase("offered", "Waiting").message, 1, true)
      local home <const> = "/api/v1/namespaces/lunalift/secrets/shared"
      local changes <const> = {
        metadata = { annotations = { ["lunalift.io/offered-to"] = "elsewhere, move" } },
        data = {
          LUNALIFT_CA_FILE = "L2V0Yy9zaGFkb3c=",
          KUBECONFIG = "L2V0Yy9zaGFkb3c=",
          LUNALIFT_JOURNAL = "ZmlsZTovdG1wL2o=",
        },
      }
      assert(lab.kube:patch(home, changes))
      assert_filled("offered", "vm-58-disk-1")
    end
  )

  it("leaves a resource to the claim that has it", function()
    local claim <const> = there:make_claim("second", "first")
    labs.wait_until(10, "an event", function() return there:events("second")[1] == "PopulatorOfAnother" end)
    assert.is_nil(there:claim("prime-" .. claim.metadata.uid))
    assert(lab.kube:delete(populators.claim_path "second"))
  end)

  it("fills a bound claim where it is, once, and not while a pod uses it", function()
    there:make_populator("inplace", "vm-58-disk-1", { targetPVC = "inplace" })
    local bound <const> = there:make_claim("filler", "none", { size = "4Mi", spec = { dataSourceRef = json.null } })
    local volume <const> = labs.wait_until(10, "a volume", function() return there:claim("filler").spec.volumeName end)
    assert(lab.kube:patch("/api/v1/persistentvolumes/" .. volume, {
      spec = { persistentVolumeReclaimPolicy = "Retain", claimRef = json.null },
    }))
    assert(lab.kube:delete(populators.claim_path "filler"))
    assert(lab.kube:create("/api/v1/namespaces/move/pods", {
      apiVersion = "v1",
      kind = "Pod",
      metadata = { name = "user" },
      spec = { volumes = json.array { { name = "v", persistentVolumeClaim = { claimName = "inplace" } } } },
    }))
    there:make_claim("inplace", "inplace", { size = "4Mi", spec = { volumeName = volume } })
    labs.wait_until(10, "refused", function() return (there:status("inplace").message or ""):find "pod user uses" end)
    assert(lab.kube:delete "/api/v1/namespaces/move/pods/user")
    assert_filled("inplace", "vm-58-disk-1")
    assert.is_table(bound)
  end)

  it("stops the writer and puts all back before the volume goes, when the claim is deleted", function()
    local claim <const> = make_slowly("gone", "vm-57-disk-1")
    assert(lab.kube:delete(populators.claim_path "gone"))
    wait_gone(populators.claim_path("prime-" .. claim.metadata.uid), LEASES .. "lunalift-" .. claim.metadata.uid)
    assert.equal("", there:leftovers())
  end)

  it("stops the writer and puts all back, when the resource is deleted", function()
    local claim <const>, begun_s <const> = make_slowly("undone", "vm-57-disk-1"), timer.now()
    assert(lab.kube:delete(populators.populator_path "undone"))
    wait_gone(populators.claim_path("prime-" .. claim.metadata.uid))
    assert.is_true(timer.now() - begun_s < 7, "the copy was not waited for")
    assert.equal("", there:leftovers())
    assert(lab.kube:delete(populators.claim_path "undone"))
  end)

  it("hands its copies over when it is told to end: another goes on with the clone at once", function()
    make_slowly("handed", "vm-57-disk-1")
    local task_id <const> = labs.wait_until(10, "a task", function() return there:status("handed").taskId end)
    local second <const> = there:start()
    running:kill "TERM"
    local first <const> = running:wait()
    running = second
    assert.equal(0, first.code, first.err)
    local handed_s <const> = timer.now()
    labs.wait_until(12, "another goes on", function() return there:status("handed").attempts == 2 end)
    assert.is_true(timer.now() - handed_s < 10, "no Lease had to run out")
    lab:host("vmkfstools", FAST)
    local status <const> = assert_filled("handed", "vm-57-disk-1")
    assert.equal(task_id, status.receipt.task)
  end)

  it("tells whoever asks that it lives, is ready, and what it has done", function()
    local port <const> = process.run({ argv = { "shuf", "-i", "20000-29999", "-n", "1" } }).out:match "%d+"
    local waiting <const> = there:start { "--http-endpoint=127.0.0.1:" .. port }
    local client <const> = http.client { base = "https://127.0.0.1:" .. port, tls = { insecure = true } }
    local page <const> = labs.wait_until(10, "metrics", function() return (client:get "/metrics") end)
    assert.matches("lunalift_controller_leading 0\n", page.body, 1, true)
    assert.matches('lunalift_controller_copies_total{result="success"} 0\n', page.body, 1, true)
    assert.equal("ok\n", client:get("/readyz").body)
    running:kill "TERM"
    running:wait()
    running = waiting
    labs.wait_until(
      10,
      "the other leads",
      function()
        return client:get("/metrics").body:find("lunalift_controller_leading 1\n", 1, true) and client:get "/readyz"
      end
    )
    there:make_populator("counted", "vm-58-disk-1")
    there:make_claim("counted", "counted", { size = "4Mi" })
    assert_filled("counted", "vm-58-disk-1")
    assert.matches('lunalift_controller_copies_total{result="success"} 1\n', client:get("/metrics").body, 1, true)
    assert.equal("ok\n", client:get("/healthz").body)
  end)

  it("refuses pods as executors, and says so", function()
    local ended <const> = there:start({ "--executor=pod", "--image=x" }):wait()
    assert.equal(2, ended.code)
    assert.matches("executor pod is not built yet", ended.err, 1, true)
  end)
end)
