local fail <const> = require "lib.fail"
local fake_job <const> = require "spec.support.fake_job"
local stand_in <const> = require "spec.support.stand_in"

local CLAIMS <const> = "/api/v1/namespaces/shop/persistentvolumeclaims/"

describe("the volume of a claim", function()
  local restore, clock, kube, asked_uid

  before_each(function()
    clock, asked_uid = stand_in.clock(), nil
    restore = stand_in.install { ["lunalift.timer"] = clock.timer, ["lunalift.log"] = stand_in.log() }
    kube = { objects = {}, asked = {} }
    function kube:get(path)
      self.asked[#self.asked + 1] = path
      local object <const> = self.objects[path]
      if type(object) == "function" then return object() end
      if object then return object end
      return nil, { kind = "not_found", message = path .. " not found", status = 404 }
    end
  end)

  after_each(function() restore() end)

  local function claim(name, volume)
    kube.objects[CLAIMS .. name] =
      { metadata = { name = name, namespace = "shop", uid = "uid-" .. name }, spec = { volumeName = volume } }
  end

  local function pv(name, csi)
    kube.objects["/api/v1/persistentvolumes/" .. name] = { metadata = { name = name }, spec = { csi = csi } }
  end

  local function find(name)
    local job <const> = fake_job.new { request = { bind_within_s = 5, claim_uid = asked_uid } }
    return require("lib.volume").of_claim(job, kube, "shop", name or "data"), job
  end

  local function raised(name)
    local ok <const>, why <const> = pcall(find, name)
    assert.is_false(ok)
    assert.is_true(fail.is(why), tostring(why))
    return why
  end

  it("is the one that the claim is bound to", function()
    claim("data", "pvc-1")
    pv("pvc-1", { driver = "csi.trident.netapp.io", volumeHandle = "h-1", volumeAttributes = { a = "b" } })
    assert.same({
      name = "pvc-1",
      handle = "h-1",
      driver = "csi.trident.netapp.io",
      attributes = { a = "b" },
      claim = { name = "data", namespace = "shop", uid = "uid-data" },
    }, (find()))
    assert.equal(2, #kube.asked)
  end)

  it("is that of the prime claim while the claim itself is unbound", function()
    for _, unbound in ipairs { "", false } do
      claim("data", unbound or nil)
      claim("prime-uid-data", "pvc-2")
      pv("pvc-2", { driver = "d", volumeHandle = "h-2" })
      local volume <const> = find()
      assert.equal("h-2", volume.handle)
      assert.same({}, volume.attributes)
      assert.equal("data", volume.claim.name)
    end
  end)

  it("is waited for until the prime claim is there and bound", function()
    claim("data", nil)
    pv("pvc-2", { driver = "d", volumeHandle = "h-2" })
    kube.objects[CLAIMS .. "prime-uid-data"] = function()
      if clock.now_s < 1002 then return nil, { kind = "not_found", message = "" } end
      return { spec = { volumeName = clock.now_s >= 1003 and "pvc-2" or "" } }
    end
    local volume <const>, job <const> = find()
    assert.equal("pvc-2", volume.name)
    assert.equal("waiting test: claim data is not bound yet", job.trace[1])
  end)

  it("is waited for until the claim itself is bound", function()
    pv("pvc-1", { driver = "d", volumeHandle = "h-1" })
    kube.objects[CLAIMS .. "data"] = function()
      return {
        metadata = { name = "data", namespace = "shop", uid = "u" },
        spec = { volumeName = clock.now_s >= 1002 and "pvc-1" or nil },
      }
    end
    assert.equal("pvc-1", (find()).name)
  end)

  it("is given up when nothing binds it, with the command that tells why", function()
    claim("data", nil)
    local why <const> = raised()
    assert.equal("config", why.kind)
    assert.equal("claim shop/data is not bound to a volume", why.message)
    assert.equal("see why with: kubectl -n shop describe pvc data", why.hint)
    assert.equal(1005, clock.now_s)
  end)

  it("must have been made by a CSI driver", function()
    claim("data", "pvc-1")
    pv("pvc-1", nil)
    local why <const> = raised()
    assert.equal("config", why.kind)
    assert.equal("volume pvc-1 of claim data was not made by a CSI driver", why.message)
  end)

  it("needs a claim: its absence names the flags to check", function()
    local why <const> = raised "nowhere"
    assert.equal("not_found", why.kind)
    assert.equal("there is no claim nowhere in namespace shop", why.message)
    assert.matches("^check %-%-owner%-name and %-%-target%-namespace", why.hint)
    assert.matches("lunalift reap", why.hint, 1, true)
  end)

  it("is refused when another claim has taken the name", function()
    claim("data", "pvc-1")
    pv("pvc-1", { driver = "d", volumeHandle = "h-1" })
    asked_uid = "uid-data"
    assert.equal("pvc-1", (find()).name)
    asked_uid = "uid-of-old"
    local why <const> = raised()
    assert.equal("conflict", why.kind)
    assert.equal("claim data has the uid uid-data, not uid-of-old", why.message)
  end)

  it("is not called missing when nobody may ask", function()
    kube.objects[CLAIMS .. "data"] = function() return nil, fake_job.refusal "denied" end
    local why <const> = raised()
    assert.equal("denied", why.kind)
    assert.equal("claim shop/data cannot be read", why.message)
    claim("data", nil)
    kube.objects[CLAIMS .. "prime-uid-data"] = function() return nil, fake_job.refusal "denied" end
    assert.equal("denied", raised().kind)
  end)

  it("is asked for under names that are safe in a path", function()
    raised "a/b?c"
    assert.equal(CLAIMS .. "a%2Fb%3Fc", kube.asked[1])
  end)

  it("may go with its claim while it is filled, which is said", function()
    claim("data", "pvc-1")
    pv("pvc-1", { driver = "d", volumeHandle = "h" })
    local function warnings()
      local volume <const>, job <const> = find()
      return function(object)
        kube.objects[CLAIMS .. "data"] = object
        require("lib.volume").warn_of_loss(job, kube, volume)
        return table.remove(fake_job.only(job.trace, "warning"))
      end
    end
    local told <const> = warnings()
    local there <const> = kube.objects[CLAIMS .. "data"]
    assert.is_nil(told(there))
    assert.is_nil(told(function() return nil, { kind = "unreachable", message = "away" } end))
    assert.equal("warning claim shop/data was deleted meanwhile: volume pvc-1 may go with it", told(nil))
    assert.matches("was deleted and made anew", told { metadata = { uid = "another" } })
    assert.matches("is being deleted", told { metadata = { uid = "uid-data", deletionTimestamp = "now" } })
  end)
end)
