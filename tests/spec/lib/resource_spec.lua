local fake_kube <const> = require "spec.support.fake_kube"
local json <const> = require "lunalift.json"
local stand_in <const> = require "spec.support.stand_in"
local task <const> = require "lunalift.task"

describe("a resource", function()
  local restore, kube, leases

  before_each(function()
    restore = stand_in.install { ["lunalift.log"] = stand_in.log() }
    kube = fake_kube.new "admin"
    leases = require("lib.resource").new(kube, "/apis/coordination.k8s.io/v1", "leases")
  end)

  after_each(function() restore() end)

  local function lease(name, spec, more)
    local object <const> = {
      apiVersion = "coordination.k8s.io/v1",
      kind = "Lease",
      metadata = { namespace = "move", name = name },
      spec = spec or { holderIdentity = "me" },
    }
    for field, value in pairs(more or {}) do
      object.metadata[field] = value
    end
    return object
  end

  it("knows its paths", function()
    local root <const> = "/apis/coordination.k8s.io/v1"
    assert.equal(root .. "/leases", leases:path())
    assert.equal(
      root .. "/namespaces/move/leases/a/status?a=b%20c&x=true",
      leases:path("move", "a", {
        x = true,
        a = "b c",
      }, "status")
    )
    local resources <const> = require "lib.resource"
    assert.equal("move/a", resources.key(lease "a"))
    assert.equal("pv-1", resources.key { metadata = { name = "pv-1" } })
    assert.same({ "move", "a" }, { resources.split "move/a" })
    assert.same({ nil, "pv-1" }, { resources.split "pv-1" })
  end)

  it("hands over all objects, page by page, and the version they are of", function()
    for i = 1, 600 do
      kube.lab:put(lease(("n%03d"):format(i), nil, { labels = { even = i % 2 == 0 and "yes" or "no" } }))
    end
    local seen <const>, begun = {}, 0
    local version <const> = assert(
      leases:each(
        { namespace = "move", labels = "even=yes" },
        function(object) seen[#seen + 1] = object.metadata.name end,
        function() begun = begun + 1 end
      )
    )
    assert.equal(300, #seen)
    assert.equal("n600", seen[300])
    assert.equal(2, #kube.calls)
    assert.equal(1, begun)
    assert.equal(tostring(kube.lab.store.version), version)
  end)

  it("says why a list cannot be had", function()
    kube.fails = function() return { kind = "denied", status = 403, message = "forbidden" } end
    local _, why <const> = leases:each({}, function() end)
    assert.equal("denied", why.kind)
  end)

  it("finds out whether its kind is served, and has a status of its own", function()
    local resources <const> = require "lib.resource"
    assert.same({ is_served = true, has_status = false }, leases:discover())
    assert.same(
      { is_served = true, has_status = true },
      resources.new(kube, "/api/v1", "persistentvolumeclaims"):discover()
    )
    local foreign <const> = resources.new(kube, "/apis/forklift.konveyor.io/v1beta1", "networkmaps")
    assert.same({ is_served = false, has_status = false }, foreign:discover())
  end)

  it("writes a status where it is", function()
    local claims <const> = require("lib.resource").new(kube, "/api/v1", "persistentvolumeclaims")
    local changed <const> = assert(claims:patch_status("move", "data", { status = { phase = "Bound" } }))
    assert.equal("Bound", changed.status.phase)
    assert(leases:create(lease "a"))
    assert(leases:patch_status("move", "a", { spec = { holderIdentity = "you" } }))
    assert.equal("you", leases:get("move", "a").spec.holderIdentity)
  end)

  it("changes an object as often as others write meanwhile, so that nothing is lost", function()
    assert(leases:create(lease("a", { leaseTransitions = 0 })))
    local writers <const> = {}
    for i = 1, 8 do
      writers[i] = function()
        for _ = 1, 5 do
          assert(leases:change(10, "move", "a", function(object)
            object.spec.leaseTransitions = object.spec.leaseTransitions + 1
            task.within(1, function() end) -- a turn, in which the others read
          end))
        end
      end
    end
    task.all(writers)
    assert.equal(40, leases:get("move", "a").spec.leaseTransitions)
    local version <const> = leases:get("move", "a").metadata.resourceVersion
    assert(leases:change(1, "move", "a", function() return false end))
    assert.equal(version, leases:get("move", "a").metadata.resourceVersion)
    assert.equal("not_found", select(2, leases:change(1, "move", "none", function() end)).kind)
  end)

  it("deletes that object, and none that has taken its place", function()
    local first <const> = assert(leases:create(lease "a"))
    assert.is_true(leases:delete(first))
    assert.is_true(leases:delete(first), "it has gone already")
    local second <const> = assert(leases:create(lease "a"))
    assert.equal("conflict", select(2, leases:delete(first)).kind)
    assert(leases:patch("move", "a", { spec = { holderIdentity = json.null } }))
    assert.equal("conflict", select(2, leases:delete(second, { version = true })).kind)
    assert.is_true(leases:delete(second))
  end)

  describe("applied", function()
    local function apply(manager, spec, more)
      local object <const> = lease("a", spec, more)
      return leases:apply(object, { manager = manager, force = more and more.force })
    end

    it("is made, and then is what its manager says", function()
      assert.equal("me", apply("ours", { holderIdentity = "me", leaseTransitions = 1 }).spec.holderIdentity)
      assert.same({ leaseTransitions = 2 }, apply("ours", { leaseTransitions = 2 }).spec)
    end)

    it("keeps what others have set, and says whose a field is that two want", function()
      assert(apply("theirs", { holderIdentity = "them", leaseTransitions = 1 }))
      assert.same(
        { holderIdentity = "them", leaseTransitions = 1, leaseDurationSeconds = 9 },
        apply("ours", { leaseDurationSeconds = 9, leaseTransitions = 1 }).spec
      )
      local _, why <const> = apply("ours", { holderIdentity = "us" })
      assert.equal("conflict", why.kind)
      assert.matches('conflict with "theirs": %.spec%.holderIdentity', why.message)
      assert.equal("us", apply("ours", { holderIdentity = "us" }, { force = true }).spec.holderIdentity)
    end)
  end)
end)
