--- The real program, as service account `populator` with forklift's rights, on a real control plane; the lab is its vCenter and its array.
local clusters <const> = require "support.cluster"
local fs <const> = require "lunalift.fs"
local json <const> = require "lunalift.json"
local lab_site <const> = require "support.lab_site"
local retry <const> = require "lib.retry"
local timer <const> = require "lunalift.timer"

local HOST <const> = "host-21"
local SLOW <const>, FAST <const> = { rate = 4 << 20, xcopy = 1 }, { rate = 0, xcopy = 1 }
local JOURNAL <const>, RECEIPT <const> = "lunalift.io/journal", "lunalift.io/receipt"

describe("on a real Kubernetes API", function()
  local cluster, lab, pvc, claim, config

  setup(function()
    cluster, lab = clusters.start(), lab_site.start()
    pvc = lab.site.pvcs[2]
    config = cluster:write_kubeconfig("populator", cluster:token(cluster.populator, 3600))
  end)

  teardown(function()
    if lab then lab:stop() end
    if cluster then cluster:stop() end
  end)

  before_each(function()
    lab:vmkfstools(HOST, FAST)
    lab:spoil(pvc)
    claim = cluster:adopt(lab, pvc)
  end)

  after_each(function() cluster:drop(claim) end)

  local function token(expires_in_s) return cluster:token(cluster.populator, expires_in_s) end

  local function start(given)
    local flags <const> = { "--journal=lease", "--owner-uid=" .. claim.uid }
    return lab:populate(pvc, flags, { KUBECONFIG = given or config, HOSTNAME = "populate-" .. claim.uid })
  end

  local function start_slowly(given)
    lab:vmkfstools(HOST, SLOW)
    local run <const> = start(given)
    lab:wait_for_writer(HOST)
    return run
  end

  local function lease() return assert(cluster.admin:get(claim.lease_path)) end
  local function journal_of(found) return (found.metadata.annotations or {})[JOURNAL] end

  -- As if its holder had been silent for long.
  local function bury()
    local found <const> = lease()
    found.spec.renewTime = "2020-01-01T00:00:00.000000Z"
    assert(cluster.admin:update(claim.lease_path, found))
  end

  local function assert_done(ended)
    assert.equal(0, ended.code, ended.out .. ended.err)
    assert.is_true(lab:is_copied(pvc))
    assert.equal("", lab:leftovers(pvc))
  end

  it("a claim is filled with forklift's rights alone, and its volume can be handed over", function()
    assert_done(start():wait())
    local kept <const> = lease()
    assert.is_nil(journal_of(kept))
    assert.is_nil(kept.metadata.finalizers)
    assert.is_nil(kept.spec.holderIdentity)
    local receipt <const> = assert(json.decode(kept.metadata.annotations[RECEIPT]))
    assert.equal("done", receipt.result.status)
    assert.equal(claim.uid, receipt.claim.uid)
    cluster:rebind(claim)
  end)

  it("preflight finds that forklift's rights are enough, and which ones an account lacks", function()
    local function look(kubeconfig)
      local words <const> =
        { "preflight", "--output=json", "--journal=lease", "--source-vm-id=" .. pvc.name:match "^vm%-%d+" }
      words[#words + 1] = "--source-vmdk=" .. pvc.vmdk
      words[#words + 1] = "--owner-name=" .. pvc.name
      words[#words + 1] = "--target-namespace=" .. clusters.NAMESPACE
      local ended <const> = lab:run(words, { KUBECONFIG = kubeconfig })
      local told <const>, by_name <const> = assert(json.decode(ended.out), ended.err), {}
      for _, result in ipairs(told.checks) do
        by_name[result.name] = result
      end
      return told, by_name, ended
    end
    local told <const>, _, ended <const> = look(config)
    assert.same({ true, 0, 0 }, { told.ok, told.counts.warn, ended.code }, ended.out)
    local nobody <const> = cluster:write_kubeconfig("nobody", cluster:token(cluster:make_account "nobody", 3600))
    local _, lacking <const>, refused <const> = look(nobody)
    assert.equal(2, refused.code)
    assert.matches("not allowed: get persistentvolumeclaims in namespace", lacking["permission: claims"].text)
    assert.matches("not allowed: get,list,create,update leases", lacking["permission: journal"].text)
    assert.matches("not allowed: get persistentvolumes in the cluster", lacking["permission: volumes"].text)
  end)

  it("the Lease goes with its claim", function()
    assert_done(start():wait())
    assert(cluster.admin:delete(claim.path))
    lab_site.wait_until(45, function() return not cluster.admin:get(claim.lease_path) end)
  end)

  it("a second run is refused, and told whose the claim is", function()
    local first <const> = start_slowly()
    local second <const> = start():wait()
    assert.equal(3, second.code, second.out .. second.err)
    assert.matches("another run, populate%-" .. claim.uid:gsub("%-", "%%-"), second.err)
    lab:vmkfstools(HOST, FAST)
    assert_done(first:wait())
  end)

  it("the clone of a killed run is adopted by the next", function()
    local first <const> = start_slowly()
    first:kill "KILL"
    first:wait()
    assert.same({ JOURNAL }, lease().metadata.finalizers)
    bury()
    lab:vmkfstools(HOST, FAST)
    local second <const> = start():wait()
    assert_done(second)
    assert.matches("clone %S+ goes on", second.out)
  end)

  it("reap puts back what a killed run left", function()
    local first <const> = start_slowly()
    first:kill "KILL"
    first:wait()
    bury()
    lab:vmkfstools(HOST, FAST)
    local words <const> = { "reap", "--apply", "--journal=lease", "--namespace=" .. clusters.NAMESPACE }
    local ended <const> = lab:run(words, { KUBECONFIG = config })
    assert.equal(0, ended.code, ended.out .. ended.err)
    assert.equal("", lab:leftovers(pvc))
    assert.is_nil(journal_of(lease()))
    assert.is_nil(lease().metadata.finalizers)
  end)

  it("a claim that is deleted during the copy takes no promise with it", function()
    local run <const> = start_slowly()
    assert(cluster.admin:delete(claim.path))
    lab_site.wait_until(45, function() return lease().metadata.deletionTimestamp end)
    lab:vmkfstools(HOST, FAST)
    local ended <const> = run:wait()
    assert_done(ended)
    assert.not_matches(" warn ", ended.err)
    lab_site.wait_until(10, function() return not cluster.admin:get(claim.lease_path) end)
  end)

  it("a copy outlives the API server, and its token, which is renewed as a pod's is", function()
    local path <const>, token_path <const> = cluster:write_kubeconfig_of_file("pod", token(3))
    local run <const> = start_slowly(path)
    cluster:kill_server()
    timer.sleep(3)
    cluster:start_server()
    assert(fs.write(token_path, token(600)))
    lab:vmkfstools(HOST, FAST)
    assert_done(run:wait())
    assert.is_nil(journal_of(lease()))
  end)

  it("a missing right is named, with the account that lacks it", function()
    local stranger <const> = cluster:make_account "stranger"
    local ended <const> = start(cluster:write_kubeconfig("stranger", cluster:token(stranger, 600))):wait()
    assert.equal(2, ended.code)
    local text <const> = 'User "system:serviceaccount:move:stranger" cannot get resource "persistentvolumeclaims"'
    assert.matches(text, ended.err, 1, true)
    assert.matches("fix%s+give the account this permission", ended.err)
  end)

  it("an expired token is called one", function()
    local ended <const> = start(cluster:write_kubeconfig("late", token(-10))):wait()
    assert.equal(2, ended.code)
    assert.matches("fix%s+the API does not know these credentials: look at the token's expiry", ended.err)
    assert.equal("", lab:leftovers(pvc))
  end)

  -- Defines a kind and asks for its objects at once. Returns what was found, and the refusals by status.
  local function ask_for_new_kind(group)
    assert(cluster.admin:create("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", {
      apiVersion = "apiextensions.k8s.io/v1",
      kind = "CustomResourceDefinition",
      metadata = { name = "things." .. group },
      spec = {
        group = group,
        scope = "Cluster",
        names = { plural = "things", kind = "Thing" },
        versions = json.array {
          { name = "v1", served = true, storage = true, schema = { openAPIV3Schema = { type = "object" } } },
        },
      },
    }))
    local refusals <const> = {}
    local function ask()
      local found <const>, why <const> = cluster.admin:get("/apis/" .. group .. "/v1/things")
      if why then refusals[why.status] = why end
      return found, why
    end
    return lab_site.wait_until(30, function() return (retry.read("things", 30, ask)) end), refusals
  end

  it("a kind that was just defined is asked for again when the API says to", function()
    local found, refusals
    for i = 1, 20 do -- one in six is served at once
      found, refusals = ask_for_new_kind(("lunalift-%d.test"):format(i))
      if refusals[429] then break end
    end
    assert.equal("ThingList", found.kind)
    assert.equal("busy", refusals[429].kind)
    assert.equal(1, refusals[429].retry_after_s)
  end)
end)
