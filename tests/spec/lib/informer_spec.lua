local fake_kube <const> = require "spec.support.fake_kube"
local stand_in <const> = require "spec.support.stand_in"
local task <const> = require "lunalift.task"
local timer <const> = require "lunalift.timer"

describe("an informer", function()
  local restore, informers, resources, kube, claims, seen, running

  before_each(function()
    local log <const> = stand_in.log()
    restore = stand_in.install { ["lunalift.log"] = log }
    informers, resources = require "lib.informer", require "lib.resource"
    kube = fake_kube.new "admin"
    claims = resources.new(kube, "/api/v1", "persistentvolumeclaims")
    seen = {}
  end)

  after_each(function()
    if running then running:cancel() end
    running = nil
    restore()
  end)

  local function put(name, size, labels)
    return kube.lab:put {
      apiVersion = "v1",
      kind = "PersistentVolumeClaim",
      metadata = { name = name, namespace = "move", labels = labels },
      spec = { size = size },
    }
  end

  local function size_of(object) return object.spec.size end

  local function start(options)
    local given <const> = options or {}
    given.project = given.project or size_of
    given.on_change = given.on_change
      or function(key, new, old) seen[#seen + 1] = ("%s %s>%s"):format(key, old or "-", new or "-") end
    local informer <const> = informers.new(claims, given)
    running = task.spawn(informer.run, informer)
    assert.is_true(informer:wait_synced(5))
    return informer
  end

  local function wait_for(count)
    local until_s <const> = timer.now() + 5
    while #seen < count and timer.now() < until_s do
      timer.sleep(0.005)
    end
    return seen
  end

  it("keeps what is there, what comes, changes and goes, as it is projected", function()
    put("a", 1)
    local informer <const> = start()
    assert.same({ "move/a ->1" }, wait_for(1))
    put("b", 2)
    put("a", 3)
    assert(claims:delete { metadata = { namespace = "move", name = "b" } })
    assert.same({ "move/a ->1", "move/b ->2", "move/a 1>3", "move/b 2>-" }, wait_for(4))
    assert.same({ 3, nil, 1 }, { informer:get "move/a", informer:get "move/b", informer.count })
    assert.equal(1, informer.lists)
    local all <const> = {}
    for key, kept in informer:pairs() do
      all[key] = kept
    end
    assert.same({ ["move/a"] = 3 }, all)
  end)

  it("keeps nothing of what is projected to nothing, also when that changes", function()
    local informer <const> = start {
      labels = "tier=a",
      project = function(object) return object.spec.size > 9 and "big" or nil end,
    }
    put("x", 10, { tier = "a" })
    put("y", 1, { tier = "a" })
    put("z", 10)
    put("x", 1, { tier = "a" })
    put("y", 10, { tier = "a" })
    put("y", 10) -- its label has gone
    assert.same({ "move/x ->big", "move/x big>-", "move/y ->big", "move/y big>-" }, wait_for(4))
    assert.equal(0, informer.count)
  end)

  it("goes on where a broken watch has stopped, without a new list", function()
    put("a", 1)
    local informer <const> = start()
    wait_for(1)
    kube.watches[1]:drop { kind = "protocol", message = "cut off", unanswered = true }
    put("a", 2)
    assert.same({ "move/a ->1", "move/a 1>2" }, wait_for(2))
    assert.same({ 1, 2 }, { informer.lists, #kube.watches })
    assert.is_nil(informer.why)
  end)

  it("takes up a watch that has been silent for too long", function()
    start { silent_s = 0.05 }
    timer.sleep(0.3)
    assert.is_true(#kube.watches > 2)
    put("a", 1)
    assert.same({ "move/a ->1" }, wait_for(1))
  end)

  it("moves on with bookmarks, so that a quiet kind does not expire", function()
    kube.lab.bookmark_every_s = 0.02
    local informer <const> = start()
    for i = 1, 3 do
      kube.lab:put { apiVersion = "v1", kind = "Secret", metadata = { name = "s" .. i, namespace = "move" } }
    end
    timer.sleep(0.1)
    kube.lab.store:forget()
    kube.watches[1]:drop()
    put("a", 1)
    wait_for(1)
    assert.equal(1, informer.lists)
  end)

  it("lists anew what has expired, and finds out what has gone meanwhile", function()
    put("a", 1)
    put("b", 2)
    local informer <const> = start()
    wait_for(2)
    local is_down = true
    kube.fails = function(method)
      if is_down and method == "WATCH" then return { kind = "unreachable", message = "down" } end
    end
    kube.watches[1]:drop { kind = "unreachable", message = "down" }
    timer.sleep(0.01)
    assert(claims:delete { metadata = { namespace = "move", name = "a" } })
    put("c", 3)
    kube.lab.store:forget()
    is_down = false
    assert.same({ "move/a ->1", "move/b ->2", "move/c ->3", "move/a 1>-" }, wait_for(4))
    assert.same({ 2, 2 }, { informer.lists, informer.count })
  end)

  it("begins a list again whose pages expire, and forgets what the first pages had", function()
    for i = 1, 600 do
      put(("n%03d"):format(i), i)
    end
    local pages = 0
    kube.fails = function(method, path)
      if method ~= "GET" or not path:find "persistentvolumeclaims" then return end
      pages = pages + 1
      if pages ~= 2 then return end
      assert(claims:delete { metadata = { namespace = "move", name = "n001" } })
      kube.lab.store:forget()
    end
    local informer <const> = start()
    assert.equal(599, informer.count)
    assert.is_nil(informer:get "move/n001")
    assert.equal(3, pages)
  end)

  it("says why it hears nothing, and hears when it may", function()
    local is_denied = true
    kube.fails = function(method)
      if is_denied and method == "WATCH" then return { kind = "denied", status = 403, message = "forbidden" } end
    end
    local informer <const> = start()
    timer.sleep(0.1)
    assert.equal("denied", informer.why.kind)
    is_denied = false
    put("a", 1)
    wait_for(1)
    assert.is_nil(informer.why)
  end)

  it("goes on when what it tells of a change fails", function()
    start {
      on_change = function(key)
        seen[#seen + 1] = key
        error "on purpose"
      end,
    }
    put("a", 1)
    put("b", 1)
    assert.same({ "move/a", "move/b" }, wait_for(2))
  end)
end)
