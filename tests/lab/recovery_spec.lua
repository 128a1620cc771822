local fs <const> = require "lunalift.fs"
local json <const> = require "lunalift.json"
local kube <const> = require "lunalift.kube"
local lab_site <const> = require "support.lab_site"

local HOST <const> = "host-21"
local SLOW <const>, FAST <const> = { rate = 4 << 20, xcopy = 1 }, { rate = 0, xcopy = 1 }
local MARK <const> = "lunalift.io/journal"

describe("after a run that was killed", function()
  local lab, pvc, journal

  setup(function()
    lab = lab_site.start()
    pvc = lab.site.pvcs[2]
    journal = lab.dir .. "/journal.json"
  end)

  teardown(function() lab:stop() end)

  before_each(function()
    lab:vmkfstools(HOST, FAST)
    lab:spoil(pvc)
    assert.is_false(lab:is_copied(pvc))
  end)

  -- Killed while its clone writes.
  local function killed(flags, env)
    lab:vmkfstools(HOST, SLOW)
    local run <const> = lab:populate(pvc, flags or { "--journal=file:" .. journal }, env)
    lab:wait_for_writer(HOST)
    run:kill "KILL"
    run:wait()
  end

  local function again(flags, env) return lab:populate(pvc, flags or { "--journal=file:" .. journal }, env):wait() end

  local function starts() return lab:count_requests("vcenter", "vmkfstools%.clone") end

  local function assert_done(ended)
    assert.equal(0, ended.code, ended.out .. ended.err)
    assert.is_true(lab:is_copied(pvc))
    assert.equal("", lab:leftovers(pvc))
  end

  it("its running clone is adopted, followed and proved; nothing is left, nothing was started twice", function()
    local before <const> = starts()
    killed()
    assert.equal(1, #lab:host_state(HOST).writers)
    assert.equal(pvc.vmdk, json.decode(fs.read(journal)).subject.vmdk)
    lab:vmkfstools(HOST, FAST)
    local ended <const> = again()
    assert_done(ended)
    assert.matches("clone %S+ goes on", ended.out)
    assert.matches("equal on both ends", ended.out)
    assert.equal(1, starts() - before)
    assert.is_nil(fs.stat(journal))
  end)

  it("a run with a wrong password or VM touches nothing of it, and says so; the next one goes on with it", function()
    local before <const> = starts()
    killed()
    local text <const> = fs.read(journal)
    for _, wrong in ipairs {
      { env = { GOVMOMI_PASSWORD = "wrong" }, says = "does not let" },
      { flag = "--source-vm-id=vm-9999", says = "vm%-9999" },
    } do
      local ended <const> = again({ "--journal=file:" .. journal, wrong.flag }, wrong.env)
      assert.equal(5, ended.code, ended.out .. ended.err)
      assert.matches(wrong.says, ended.err)
      assert.matches("left  the clone to [^\n]+ runs: an earlier run's, left as it was found", ended.err)
      assert.equal(text, fs.read(journal))
      assert.equal(1, #lab:host_state(HOST).writers)
    end
    lab:vmkfstools(HOST, FAST)
    assert_done(again())
    assert.equal(1, starts() - before)
  end)

  it("its clone that has ended meanwhile is judged by its evidence", function()
    local before <const> = starts()
    killed()
    lab:vmkfstools(HOST, FAST)
    lab:wait_for_no_writer(HOST)
    assert_done(again())
    assert.equal(1, starts() - before)
  end)

  it("its clone that has ended well but holds other bytes is a failure, and nothing is left", function()
    killed()
    lab:vmkfstools(HOST, FAST)
    lab:wait_for_no_writer(HOST)
    lab:spoil(pvc)
    local ended <const> = again()
    assert.equal(1, ended.code, ended.out .. ended.err)
    assert.matches("differs from the disk", ended.err)
    assert.equal("", lab:leftovers(pvc))
  end)

  it("its clone of another disk is stopped, and the right one copied", function()
    killed()
    local other <const> = lab.site.pvcs[1].vmdk
    local text <const> = fs.read(journal)
    local kept <const> = json.decode(text)
    kept.subject.vmdk = other
    fs.write(journal, json.encode(kept))
    lab:vmkfstools(HOST, FAST)
    local ended <const> = again()
    assert_done(ended)
    assert.matches("put back, since another vmdk", ended.out)
  end)

  it("what it did before any clone is put back, and all done afresh", function()
    for _, point in ipairs { "before:2", "after:2", "before:3" } do
      local crashed <const> = again(nil, { LUNALIFT_TEST_CRASH = point })
      assert.equal(9, crashed.signal, point)
      local ended <const> = again()
      assert_done(ended)
      assert.matches("put back, since no clone was begun", ended.out)
      lab:spoil(pvc)
    end
  end)

  it("a second run meanwhile is told who works on the volume, and what to do", function()
    lab:vmkfstools(HOST, SLOW)
    local first <const> = lab:populate(pvc, { "--journal=file:" .. journal })
    lab:wait_for_writer(HOST)
    local second <const> = again()
    assert.equal(3, second.code)
    assert.matches("another run works on this volume", second.err)
    assert.matches(tostring(first.pid), second.err)
    lab:vmkfstools(HOST, FAST)
    assert_done(first:wait())
  end)

  describe("lunalift reap", function()
    local function reap(...)
      local ended <const> = lab:run { "reap", "-o", "json", ... }
      return ended.code, ended.out ~= "" and json.decode(ended.out) or ended.err
    end

    it("lists what is left without touching it, then puts it back and stops the writer", function()
      killed()
      local code, found = reap("--journal", "file:" .. journal)
      assert.equal(5, code)
      assert.same({ "journal", "dead", "left" }, { found.items[1].kind, found.items[1].state, found.items[1].outcome })
      assert.matches("the clone to %S+ on %S+ runs; a slot for clones on %S+; device %S+ is on", found.items[1].about)
      assert.equal(1, #lab:host_state(HOST).writers)

      code, found = reap("--apply", "--journal", "file:" .. journal)
      assert.equal(0, code, json.encode(found))
      assert.equal("settled", found.items[1].outcome)
      assert.equal("", lab:leftovers(pvc))
      assert.is_nil(fs.stat(journal))
      assert.equal(0, (reap("--journal", "file:" .. journal)))
    end)

    it("finds the journals of this user's folder by itself, and tells them in a table", function()
      lab:populate(pvc, {}, { LUNALIFT_TEST_CRASH = "after:2" }):wait()
      local listed = lab:run { "reap" }
      assert.equal(5, listed.code, listed.err)
      assert.matches("WHAT +WHERE", listed.out)
      assert.is_truthy(listed.out:find(pvc.uid .. ".json", 1, true))
      assert.matches("json +dead +left", listed.out)
      listed = lab:run { "reap", "--apply" }
      assert.equal(0, listed.code, listed.out .. listed.err)
      assert.equal("", lab:leftovers(pvc))
      assert.equal("nothing is left\n", lab:run({ "reap" }).out)
    end)

    it("touches nothing of a run that lives", function()
      lab:vmkfstools(HOST, SLOW)
      local run <const> = lab:populate(pvc, { "--journal=file:" .. journal })
      lab:wait_for_writer(HOST)
      local code <const>, found <const> = reap("--apply", "--journal", "file:" .. journal)
      assert.equal(3, code)
      assert.same({ "live", "kept" }, { found.items[1].state, found.items[1].outcome })
      lab:vmkfstools(HOST, FAST)
      assert_done(run:wait())
    end)

    it("touches nothing of another array", function()
      lab:populate(pvc, { "--journal=file:" .. journal }, { LUNALIFT_TEST_CRASH = "after:2" }):wait()
      local text <const> = fs.read(journal)
      fs.write(journal, (text:gsub('"array":"[^"]*"', '"array":"other.example"')))
      local code <const>, found <const> = reap("--apply", "--journal", "file:" .. journal)
      assert.equal(5, code)
      assert.matches("it is of array other.example", found.items[1].why)
      assert.not_equal("", lab:leftovers(pvc))

      assert(fs.write(journal, text))
      assert.equal(0, (reap("--apply", "--journal", "file:" .. journal)))
      assert.equal("", lab:leftovers(pvc))
    end)
  end)

  describe("with its journal in a Lease, under the rights that forklift gives", function()
    local FLAGS <const> = { "--journal=lease" }
    local env, api, path

    setup(function()
      env = { KUBECONFIG = lab.site.kube.populator_kubeconfig, HOSTNAME = "populate-x" }
      api = assert(kube.open { kubeconfig = lab.site.kube.kubeconfig })
      path = ("/apis/coordination.k8s.io/v1/namespaces/%s/leases/lunalift-"):format(pvc.namespace)
    end)

    local function lease(uid) return assert(api:get(path .. (uid or pvc.uid))) end

    -- As if its holder had been silent for long.
    local function age(uid)
      local found <const> = lease(uid)
      found.spec.renewTime = "2020-01-01T00:00:00.000000Z"
      assert(api:update(path .. (uid or pvc.uid), found))
    end

    it("its clone is adopted once its holder is silent, and the Lease holds nothing in the end", function()
      killed(FLAGS, env)
      assert.same({ MARK }, lease().metadata.finalizers)
      assert.equal(pvc.uid, lease().metadata.ownerReferences[1].uid)
      age()
      lab:vmkfstools(HOST, FAST)
      assert_done(again(FLAGS, env))
      local found <const> = lease()
      assert.is_nil(found.metadata.annotations[MARK])
      assert.is_nil(found.metadata.finalizers)
      assert.is_nil(found.spec.holderIdentity)
    end)

    it("a second run meanwhile is told who works on the volume", function()
      lab:vmkfstools(HOST, SLOW)
      local first <const> = lab:populate(pvc, FLAGS, env)
      lab:wait_for_writer(HOST)
      local second <const> = again(FLAGS, env)
      assert.equal(3, second.code)
      assert.matches("another run, populate%-x_", second.err)
      lab:vmkfstools(HOST, FAST)
      assert_done(first:wait())
    end)

    it("a run on another claim settles what has no clone any more", function()
      local other <const> = lab.site.pvcs[1]
      again(FLAGS, lab:env { KUBECONFIG = env.KUBECONFIG, LUNALIFT_TEST_CRASH = "after:2" })
      assert.is_string(lease().metadata.annotations[MARK])
      age()
      local ended <const> = lab:populate(other, FLAGS, env):wait()
      assert.equal(0, ended.code, ended.err)
      assert.is_nil(lease().metadata.annotations[MARK])
      assert.equal("", lab:leftovers(pvc))
    end)
  end)
end)
