--- The Kubernetes client on a real API server, whose objects others change as well, and which restarts and forgets.
local clusters <const> = require "support.cluster"
local codec <const> = require "lunalift.codec"
local http <const> = require "lunalift.http"
local informers <const> = require "lib.informer"
local json <const> = require "lunalift.json"
local lab_site <const> = require "support.lab_site"
local process <const> = require "lunalift.process"
local resources <const> = require "lib.resource"
local task <const> = require "lunalift.task"
local timer <const> = require "lunalift.timer"

local MANY <const>, CHANGED <const> = 10000, 1000
local AT_ONCE <const> = 100 -- of etcd's operations
local TEST_PROGRAM <const> = os.getenv("LUNALIFT_BIN"):match "^(.*)/" .. "/tests/lunalift-test"
local OTHER <const> = debug.getinfo(1, "S").source:match "^@(.*/)" .. "other.lua"

describe("on a real API server", function()
  local cluster, maps, tasks, others

  setup(function()
    cluster = clusters.start { is_bare = true }
    maps = resources.new(cluster.admin, "/api/v1", "configmaps")
  end)

  teardown(function()
    if cluster then cluster:stop() end
  end)

  before_each(function()
    tasks, others = {}, {}
  end)

  after_each(function()
    for _, each in ipairs(tasks) do
      each:cancel()
    end
    for _, each in ipairs(others) do
      each:kill "KILL"
      each:wait()
    end
  end)

  local function map(name, data)
    return {
      apiVersion = "v1",
      kind = "ConfigMap",
      metadata = { namespace = clusters.NAMESPACE, name = name },
      data = data,
    }
  end

  local function kubectl(words, input)
    local ended <const> = clusters.kubectl(cluster.kubeconfig, words, input)
    return ended.code, ended.out .. ended.err
  end

  local function other(role, env)
    local all <const> = {
      LUNALIFT_ROLE = role,
      KUBECONFIG = cluster.kubeconfig,
      LUNALIFT_BIN = os.getenv "LUNALIFT_BIN",
      PATH = os.getenv "PATH",
      ASAN_OPTIONS = "quarantine_size_mb=4", -- what is freed is not to be counted
    }
    for name, value in pairs(env) do
      all[name] = value
    end
    local started <const> = assert(process.start { argv = { TEST_PROGRAM, "--output=TAP", OTHER }, env = all })
    others[#others + 1] = started
    return started
  end

  -- ---- etcd, past the API server ----

  local function etcd(path, body)
    local answer <const> =
      assert(http.client({ base = cluster.etcd_url, timeout_s = 60 }):post("/v3/kv" .. path, { json = body }))
    return answer.json or json.decode(answer.body)
  end

  -- As large as claims are, with what their writers have left in them.
  local function claim(i, note)
    local name <const> = ("disk-%05d"):format(i)
    local fields <const> = {}
    for n = 1, 30 do
      fields["f:field" .. n] = { ["f:inner"] = json.array {} }
    end
    return "/registry/persistentvolumeclaims/move/" .. name,
      {
        apiVersion = "v1",
        kind = "PersistentVolumeClaim",
        metadata = {
          name = name,
          namespace = clusters.NAMESPACE,
          uid = ("00000000-0000-4000-8000-%012d"):format(i),
          creationTimestamp = "2026-01-31T12:00:00Z",
          labels = { migration = "m-1", vmID = "vm-" .. i // 4 },
          annotations = { note = note, ["forklift.konveyor.io/disk-source"] = ("[ds] vm-%d/vm-%d.vmdk"):format(i, i) },
          managedFields = json.array {
            {
              manager = "forklift",
              operation = "Update",
              apiVersion = "v1",
              fieldsType = "FieldsV1",
              fieldsV1 = fields,
            },
          },
        },
        spec = {
          accessModes = json.array { "ReadWriteMany" },
          resources = { requests = { storage = "100Gi" } },
          storageClassName = "ontap-san",
          volumeMode = "Block",
          dataSourceRef = {
            apiGroup = "forklift.konveyor.io",
            kind = "VSphereXcopyVolumePopulator",
            name = name,
          },
        },
        status = { phase = "Pending" },
      }
  end

  local function put_claims(count, note)
    for first = 1, count, AT_ONCE do
      local operations <const> = {}
      for i = first, first + AT_ONCE - 1 do
        local key <const>, object <const> = claim(i, note)
        operations[#operations + 1] =
          { requestPut = { key = codec.base64(key), value = codec.base64(json.encode(object)) } }
      end
      etcd("/txn", { success = json.array(operations) })
    end
  end

  local function compact()
    local found <const> = etcd("/range", { key = codec.base64 "none" })
    etcd("/compaction", { revision = found.header.revision, physical = true })
  end

  local function line(of, what) return (of:output():match("\n?(" .. what .. " [^\n]*)\n")) end

  local function numbers(text)
    local list <const> = {}
    for word in text:gmatch "%S+" do
      list[#list + 1] = tonumber(word)
    end
    return table.unpack(list)
  end

  it("ten thousand claims are kept in view in little memory", function()
    put_claims(MANY, "first")
    local viewer <const> = other("view", { LUNALIFT_CHANGES = tostring(CHANGED) })
    local listed <const> = lab_site.wait_until(60, function() return line(viewer, "LISTED") end)
    local count <const>, took_s <const>, before <const>, peak <const>, kept <const> = numbers(listed)
    assert.equal(MANY, count)
    local begun_s <const> = timer.now()
    put_claims(CHANGED, "second")
    local put_s <const> = timer.now() - begun_s
    local heard <const> = lab_site.wait_until(60, function() return line(viewer, "HEARD") end)
    local changed <const>, heard_s <const>, peak_later <const>, lists <const> = numbers(heard)
    assert.same({ CHANGED, 1 }, { changed, lists })
    local text <const> = "# %d claims listed in %.1f s: %.1f MiB before, %.1f MiB at most, %.1f MiB of them in Lua; "
      .. "%d changes made in %.1f s, heard %.2f s after they began, %.1f MiB at most"
    print(text:format(count, took_s, before, peak, kept, changed, put_s, heard_s - begun_s, peak_later))
    assert.is_true(peak_later - before < 64, "RSS grew by more than 64 MiB")
  end)

  it("nothing is lost to writers that write at the same time, kubectl among them", function()
    assert(maps:create(map("storm", { count = "0" })))
    local writers <const> = {}
    for i = 1, 8 do
      writers[i] = function()
        for _ = 1, 4 do
          assert(
            maps:change(
              60,
              clusters.NAMESPACE,
              "storm",
              function(object) object.data.count = tostring(tonumber(object.data.count) + 1) end
            )
          )
        end
      end
    end
    writers[#writers + 1] = function()
      for i = 1, 4 do
        local code <const>, said <const> = kubectl { "annotate", "configmap", "storm", "--overwrite", "turn=" .. i }
        assert.equal(0, code, said)
      end
    end
    task.all(writers)
    local storm <const> = assert(maps:get(clusters.NAMESPACE, "storm"))
    assert.same({ "32", "4" }, { storm.data.count, storm.metadata.annotations.turn })
  end)

  it("fields have one owner, and who else wants them is told whose they are", function()
    local function apply(data, force) return maps:apply(map("shared", data), { manager = "lunalift", force = force }) end
    assert.same({ ours = "1", both = "1" }, assert(apply { ours = "1", both = "1" }).data)
    local wanted <const> = json.encode(map("shared", { theirs = "1", both = "2" }))
    local words <const> = { "apply", "--server-side", "--field-manager=people", "-f", "-" }
    local code <const>, said <const> = kubectl(words, wanted)
    assert.equal(1, code)
    assert.matches('conflict with "lunalift": .data.both', said, 1, true)
    words[#words + 1] = "--force-conflicts"
    assert.equal(0, (kubectl(words, wanted)))
    local _, why <const> = apply { ours = "1", both = "1" }
    assert.equal("conflict", why.kind)
    assert.matches('conflict with "people": .data.both', why.message, 1, true)
    assert.same({ theirs = "1", both = "2" }, assert(apply {}).data)
    assert.same({ theirs = "1", both = "1" }, assert(apply({ both = "1" }, true)).data)
  end)

  it("only that object is deleted, and only if nobody has changed it", function()
    local first <const> = assert(maps:create(map("brief", {})))
    assert(maps:patch(clusters.NAMESPACE, "brief", { data = { a = "b" } }))
    assert.equal("conflict", select(2, maps:delete(first, { version = true })).kind)
    assert.is_true(maps:delete(first))
    assert(maps:create(map("brief", {})))
    assert.equal("conflict", select(2, maps:delete(first)).kind)
  end)

  it("a process leads alone: when its leader is killed, and when it was only asleep", function()
    local function start(me) return other("lead", { LUNALIFT_ME = me }) end
    local function leads(of) return line(of, "BEAT") end
    local function last_beat(of)
      local number, at_s
      for n, s in of:output():gmatch "BEAT %S+ (%d+) ([%d.]+)\n" do
        number, at_s = tonumber(n), tonumber(s)
      end
      return number, at_s
    end
    local first <const> = start "a"
    lab_site.wait_until(10, function() return leads(first) end)
    local second <const> = start "b"
    timer.sleep(0.5)
    assert.is_nil(leads(second))
    first:kill "KILL"
    local killed_s <const> = timer.now()
    lab_site.wait_until(15, function() return leads(second) end)
    local number <const>, _ = last_beat(second)
    assert.is_true(number > last_beat(first))
    local taken_s <const> = timer.now() - killed_s

    local third <const> = start "c"
    timer.sleep(0.5)
    second:kill "STOP"
    lab_site.wait_until(15, function() return leads(third) end)
    local _, asleep_s <const> = last_beat(second)
    second:kill "CONT"
    timer.sleep(1)
    assert.equal(asleep_s, select(2, last_beat(second)), "it went on leading in its sleep")
    assert.is_true(last_beat(third) > number)
    print(("# a killed leader's Lease of 3 s was taken after %.1f s"):format(taken_s))
  end)

  -- A view of it that can be cut off.
  local function cut_off_view()
    local view <const> = { is_cut = false }
    function view:get(path)
      if self.is_cut then return nil, { kind = "unreachable", message = "cut off" } end
      return cluster.admin:get(path)
    end
    function view:watch(...)
      if self.is_cut then return nil, { kind = "unreachable", message = "cut off" } end
      self.watching = assert(cluster.admin:watch(...))
      return self.watching
    end
    function view:cut()
      self.is_cut = true
      self.watching:close()
    end
    return view
  end

  it("what happens while the API server restarts, and what it has forgotten, is found out", function()
    local view <const> = cut_off_view()
    local informer_of_view <const> =
      informers.new(resources.new(view, "/api/v1", "configmaps"), { labels = "story=restart" })
    local informer <const> = informers.new(maps, { labels = "story=restart" })
    for _, each in ipairs { informer, informer_of_view } do
      tasks[#tasks + 1] = task.spawn(each.run, each)
    end
    local function labelled(name)
      local object <const> = map(name, {})
      object.metadata.labels = { story = "restart" }
      return object
    end
    local function wait_for(all, has, has_not)
      lab_site.wait_until(30, function()
        for _, each in ipairs(all) do
          if not each:get("move/" .. has) or each:get("move/" .. has_not) then return false end
        end
        return true
      end)
    end
    local gone <const> = assert(maps:create(labelled "gone"))
    wait_for({ informer, informer_of_view }, "gone", "came")
    view:cut()
    maps:delete(gone)
    assert(maps:create(labelled "came"))
    wait_for({ informer }, "came", "gone")
    cluster:kill_server()
    compact()
    cluster:start_server()
    assert(maps:create(labelled "late"))
    local begun_s <const> = timer.now()
    wait_for({ informer }, "late", "gone")
    print(("# heard again %.1f s after the API server was back"):format(timer.now() - begun_s))
    assert.is_truthy(informer_of_view:get "move/gone")
    view.is_cut = false
    wait_for({ informer, informer_of_view }, "late", "gone")
    assert.equal(2, informer_of_view.lists)
    assert.is_nil(informer.why)
  end)
end)
