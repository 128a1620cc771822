local fakes <const> = require "support.fakes"
fakes.install()

local kube <const> = require "lab.kube"

local LEASES <const> = "/apis/coordination.k8s.io/v1/namespaces/vms/leases"
local PVC <const> = "/api/v1/namespaces/vms/persistentvolumeclaims/data"
local MERGE <const> = "application/merge-patch+json"
local STRATEGIC <const> = "application/strategic-merge-patch+json"

local POPULATOR <const> = {
  user = "system:serviceaccount:vms:populator",
  rules = {
    {
      verbs = { "get", "list", "watch" },
      groups = { "" },
      resources = { "persistentvolumeclaims" },
      namespaces = { "vms" },
    },
    {
      verbs = { "get", "list", "watch", "create", "update", "patch" },
      groups = { "coordination.k8s.io" },
      resources = { "leases" },
      namespaces = { "vms" },
    },
    { verbs = { "get" }, groups = { "" }, resources = { "persistentvolumes" } },
  },
}

describe("the simulated API server", function()
  local cluster

  local function ask(method, path, body, options)
    local given <const> = options or {}
    local answer <const> = cluster:handle {
      method = method,
      path = path,
      query = "",
      args = given.args or {},
      headers = { authorization = "Bearer " .. (given.token or "admin"), ["content-type"] = given.type },
      body = type(body) == "table" and fakes.json.encode(body) or body or "",
      peer = "127.0.0.1",
    }
    return fakes.json.decode(answer.body), answer.status
  end

  local function lease(name, more)
    local object <const> = {
      apiVersion = "coordination.k8s.io/v1",
      kind = "Lease",
      metadata = { name = name },
      spec = { holderIdentity = "me", leaseDurationSeconds = 10 },
    }
    for key, value in pairs(more or {}) do
      object.metadata[key] = value
    end
    return object
  end

  local function make(name, more)
    local made <const>, code <const> = ask("POST", LEASES, lease(name, more))
    assert.equal(201, code)
    return made
  end

  before_each(
    function()
      cluster = kube.new {
        tokens = { admin = { user = "admin" }, populator = POPULATOR },
        objects = {
          {
            apiVersion = "v1",
            kind = "PersistentVolumeClaim",
            metadata = { namespace = "vms", name = "data", labels = { app = "db", tier = "1" } },
            spec = { volumeName = "pv-1" },
            status = { phase = "Bound" },
          },
          {
            apiVersion = "v1",
            kind = "PersistentVolume",
            metadata = { name = "pv-1" },
            spec = { csi = { volumeHandle = "h" } },
          },
        },
      }
    end
  )

  describe("asked who may", function()
    it("answers 401 with a Status to a token that it does not know", function()
      local answer <const>, code <const> = ask("GET", PVC, nil, { token = "wrong" })
      assert.same({ 401, "Status", "Unauthorized" }, { code, answer.kind, answer.reason })
    end)

    it("lets the populator do what its role says and nothing else", function()
      local as <const> = { token = "populator" }
      assert.equal(200, select(2, ask("GET", PVC, nil, as)))
      assert.equal(200, select(2, ask("GET", "/api/v1/persistentvolumes/pv-1", nil, as)))
      assert.equal(201, select(2, ask("POST", LEASES, lease "l", as)))
      local answer <const>, code <const> = ask("DELETE", LEASES .. "/l", nil, as)
      assert.equal(403, code)
      assert.equal("Forbidden", answer.reason)
      assert.equal(
        'leases.coordination.k8s.io "l" is forbidden: User "system:serviceaccount:vms:populator" cannot delete resource "leases" '
          .. 'in API group "coordination.k8s.io" in the namespace "vms"',
        answer.message
      )
      assert.equal(
        'persistentvolumes is forbidden: User "system:serviceaccount:vms:populator" cannot list resource "persistentvolumes" '
          .. 'in API group "" at the cluster scope',
        ask("GET", "/api/v1/persistentvolumes", nil, as).message
      )
      assert.equal(403, select(2, ask("GET", "/apis/coordination.k8s.io/v1/namespaces/other/leases", nil, as)))
    end)

    it("tells the caller what it may", function()
      local function may(verb, place)
        local review <const> = {
          apiVersion = "authorization.k8s.io/v1",
          kind = "SelfSubjectAccessReview",
          spec = { resourceAttributes = { verb = verb, resource = "persistentvolumeclaims", namespace = place } },
        }
        local path <const> = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        local answer <const>, code <const> = ask("POST", path, review, { token = "populator" })
        assert.equal(201, code)
        return answer.status.allowed
      end
      assert.is_true(may("get", "vms"))
      assert.is_false(may("delete", "vms"))
      assert.is_false(may("get", "other"))
    end)

    it("refuses an owner that the caller may not block", function()
      local owner <const> =
        { apiVersion = "v1", kind = "PersistentVolumeClaim", name = "data", uid = cluster:get(PVC).metadata.uid }
      local as <const> = { token = "populator" }
      assert.equal(201, select(2, ask("POST", LEASES, lease("a", { ownerReferences = { owner } }), as)))
      owner.blockOwnerDeletion = true
      local answer <const>, code <const> = ask("POST", LEASES, lease("b", { ownerReferences = { owner } }), as)
      assert.equal(403, code)
      assert.matches("cannot set blockOwnerDeletion", answer.message, 1, true)
      assert.equal(201, select(2, ask("POST", LEASES, lease("b", { ownerReferences = { owner } }))))
    end)
  end)

  describe("asked for objects", function()
    it("says NotFound with kind, group and name", function()
      local answer <const>, code <const> = ask("GET", LEASES .. "/none")
      assert.equal(404, code)
      assert.equal('leases.coordination.k8s.io "none" not found', answer.message)
      assert.same({ name = "none", group = "coordination.k8s.io", kind = "leases" }, answer.details)
      assert.equal("the server could not find the requested resource", ask("GET", "/api/v1/widgets").message)
    end)

    it("gives objects an identity, and lists without kinds but with a version", function()
      local made <const> = make "l"
      assert.matches("^%x+%-%x+%-4?", made.metadata.uid)
      assert.matches("^%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%dZ$", made.metadata.creationTimestamp)
      local list <const> = ask("GET", LEASES)
      assert.equal("LeaseList", list.kind)
      assert.equal(made.metadata.resourceVersion, list.metadata.resourceVersion)
      assert.is_nil(list.items[1].kind)
      assert.equal("l", list.items[1].metadata.name)
    end)

    it("selects by labels and fields", function()
      local all <const> = "/api/v1/persistentvolumeclaims"
      local function count(args) return #ask("GET", all, nil, { args = args }).items end
      assert.equal(1, count { labelSelector = "app=db,tier in (1, 2),!gone" })
      assert.equal(0, count { labelSelector = "app!=db" })
      assert.equal(0, count { labelSelector = "tier notin (1)" })
      assert.equal(1, count { fieldSelector = "metadata.name=data" })
      assert.equal(0, count { fieldSelector = "metadata.name!=data" })
      assert.equal(400, select(2, ask("GET", all, nil, { args = { fieldSelector = "spec.volumeName=pv-1" } })))
    end)

    it("continues a limited list where it stopped", function()
      for _, name in ipairs { "a", "b", "c" } do
        make(name)
      end
      local first <const> = ask("GET", LEASES, nil, { args = { limit = "2" } })
      assert.same({ "b", 1 }, { first.items[2].metadata.name, first.metadata.remainingItemCount })
      local rest <const> = ask("GET", LEASES, nil, { args = { limit = "2", continue = first.metadata.continue } })
      assert.equal(1, #rest.items)
      assert.equal("c", rest.items[1].metadata.name)
      assert.is_nil(rest.metadata.continue)
    end)

    it("refuses to continue a list that it has forgotten, but for a token to go on with all the same", function()
      for _, name in ipairs { "a", "b", "c" } do
        make(name)
      end
      local first <const> = ask("GET", LEASES, nil, { args = { limit = "2" } })
      make "d"
      local args <const> = { limit = "2", continue = first.metadata.continue }
      assert.equal(first.metadata.resourceVersion, ask("GET", LEASES, nil, { args = args }).metadata.resourceVersion)
      cluster.store:forget()
      local answer <const>, code <const> = ask("GET", LEASES, nil, { args = args })
      assert.same({ 410, "Expired" }, { code, answer.reason })
      args.continue = answer.metadata.continue
      assert.equal("c", ask("GET", LEASES, nil, { args = args }).items[1].metadata.name)
    end)

    -- The events of a watch, up to its end.
    local function watch(path, args)
      args.watch, args.timeoutSeconds = "1", args.timeoutSeconds or "0"
      local answer <const>, told <const> =
        cluster:handle {
          method = "GET",
          path = path,
          args = args,
          headers = { authorization = "Bearer admin" },
        }, {}
      answer.stream(function(line)
        local event <const> = fakes.json.decode(line)
        local meta <const> = event.object.metadata
        told[#told + 1] = ("%s %s"):format(event.type, event.object.code or meta.name or meta.resourceVersion)
        return true
      end)
      return told
    end

    it("tells what has changed since, as the selectors of who watches let it be seen", function()
      local since <const> = make("a", { labels = { tier = "x" } }).metadata.resourceVersion
      make("b", { labels = { tier = "x" } })
      make "c"
      ask("PATCH", LEASES .. "/a", { metadata = { labels = { tier = "y" } } }, { type = MERGE })
      ask("PATCH", LEASES .. "/b", { spec = { leaseTransitions = 1 } }, { type = MERGE })
      ask("PATCH", LEASES .. "/c", { metadata = { labels = { tier = "x" } } }, { type = MERGE })
      ask("DELETE", LEASES .. "/b")
      local expected <const> = { "ADDED b", "DELETED a", "MODIFIED b", "ADDED c", "DELETED b" }
      assert.same(expected, watch(LEASES, { resourceVersion = since, labelSelector = "tier=x" }))
      local all <const> = watch(LEASES, { resourceVersion = since })
      assert.same({ "ADDED b", "ADDED c", "MODIFIED a", "MODIFIED b", "MODIFIED c", "DELETED b" }, all)
    end)

    it("tells all there is to who names no version, and the version in bookmarks", function()
      make "a"
      local version <const> = tostring(cluster.store.version)
      assert.same({ "ADDED a", "BOOKMARK " .. version }, watch(LEASES, { allowWatchBookmarks = "true" }))
      local args <const> = { sendInitialEvents = "true", resourceVersionMatch = "NotOlderThan" }
      assert.same({ "ADDED a", "BOOKMARK " .. version }, watch(LEASES, args))
    end)

    it("tells who comes too late that his version has expired", function()
      local since <const> = make("a").metadata.resourceVersion
      make "b"
      cluster.store:forget()
      assert.same({ "ERROR 410" }, watch(LEASES, { resourceVersion = since }))
    end)

    it("counts the changes of a resource's spec", function()
      local path <const> = "/apis/forklift.konveyor.io/v1beta1/namespaces/vms/vspherexcopyvolumepopulators"
      local made <const> = ask("POST", path, {
        apiVersion = "forklift.konveyor.io/v1beta1",
        kind = "VSphereXcopyVolumePopulator",
        metadata = { name = "x" },
        spec = { vmId = "vm-1" },
        status = { phase = "Succeeded" },
      })
      assert.same({ 1, nil }, { made.metadata.generation, made.status })
      ask("PATCH", path .. "/x/status", { status = { phase = "Waiting" } }, { type = MERGE })
      ask("PATCH", path .. "/x", { metadata = { labels = { a = "b" } } }, { type = MERGE })
      local changed <const> = ask("PATCH", path .. "/x", { spec = { vmId = "vm-2" } }, { type = MERGE })
      assert.same({ 2, "Waiting" }, { changed.metadata.generation, changed.status.phase })
    end)

    it("shows them as rows to who prefers tables", function()
      make "l"
      local answer <const> = fakes.json.decode(cluster:handle({
        method = "GET",
        path = LEASES,
        query = "",
        args = {},
        headers = {
          authorization = "Bearer admin",
          accept = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json",
        },
        body = "",
        peer = "127.0.0.1",
      }).body)
      assert.equal("Table", answer.kind)
      assert.equal("Holder", answer.columnDefinitions[2].name)
      assert.same({ "l", "me" }, { answer.rows[1].cells[1], answer.rows[1].cells[2] })
      assert.equal("l", answer.rows[1].object.metadata.name)
    end)

    it("tells what it serves", function()
      assert.equal("v1", ask("GET", "/api").versions[1])
      assert.equal("coordination.k8s.io", ask("GET", "/apis").groups[1].name)
      assert.equal("leases", ask("GET", "/apis/coordination.k8s.io/v1").resources[1].name)
      assert.equal("1", ask("GET", "/version").major)
    end)
  end)

  describe("asked to change objects", function()
    it("refuses a name twice, a namespace that is not there, a body of another kind", function()
      make "l"
      local answer <const>, code <const> = ask("POST", LEASES, lease "l")
      assert.same({ 409, "AlreadyExists" }, { code, answer.reason })
      local nowhere <const> = ask("POST", "/apis/coordination.k8s.io/v1/namespaces/none/leases", lease "l")
      assert.equal('namespaces "none" not found', nowhere.message)
      assert.equal(400, select(2, ask("POST", "/api/v1/namespaces/vms/secrets", lease "l")))
      assert.equal(422, select(2, ask("POST", LEASES, lease "Not_A_Name")))
    end)

    it("refuses what no lease may be, and drops in silence what it has not got", function()
      local odd <const> = lease "l"
      odd.spec.holderIdentiti = "me"
      assert.equal(400, select(2, ask("POST", LEASES, odd, { args = { fieldValidation = "Strict" } })))
      assert.is_nil(ask("POST", LEASES, odd).spec.holderIdentiti)
      local short <const> = { spec = { leaseDurationSeconds = 0 } }
      assert.equal(422, select(2, ask("PATCH", LEASES .. "/l", short, { type = MERGE })))
      odd.spec.renewTime = "yesterday"
      assert.equal(400, select(2, ask("PUT", LEASES .. "/l", odd)))
    end)

    it("refuses a stale version, and a lease without one", function()
      local made <const> = make "l"
      made.spec.holderIdentity = "you"
      local newer <const>, code <const> = ask("PUT", LEASES .. "/l", made)
      assert.equal(200, code)
      assert.not_equal(made.metadata.resourceVersion, newer.metadata.resourceVersion)
      local answer <const>, stale <const> = ask("PUT", LEASES .. "/l", made)
      assert.same({ 409, "Conflict" }, { stale, answer.reason })
      assert.equal(422, select(2, ask("PUT", LEASES .. "/l", lease "l")))
      assert.equal(newer.metadata.resourceVersion, ask("PUT", LEASES .. "/l", newer).metadata.resourceVersion)
    end)

    it("merges, takes nulls away and minds the version in a patch", function()
      local made <const> = make("l", { annotations = { keep = "1", gone = 'a "null" \\' } })
      local path <const>, as <const> = LEASES .. "/l", { type = MERGE }
      local answer = ask("PATCH", path, '{"metadata":{"annotations":{"gone":null,"new":"null"}}}', as)
      assert.same({ keep = "1", new = "null" }, answer.metadata.annotations)
      assert.equal("me", answer.spec.holderIdentity)
      local stale <const> =
        { metadata = { resourceVersion = made.metadata.resourceVersion }, spec = { holderIdentity = "x" } }
      assert.equal(409, select(2, ask("PATCH", path, stale, as)))
      assert.equal(415, select(2, ask("PATCH", path, "{}", { type = "application/json" })))
    end)

    it("adds to finalizers by a strategic patch, replaces them by a merge patch", function()
      make("l", { finalizers = { "a.io/a" } })
      local path <const> = LEASES .. "/l"
      local answer = ask("PATCH", path, { metadata = { finalizers = { "b.io/b" } } }, { type = STRATEGIC })
      assert.same({ "b.io/b", "a.io/a" }, answer.metadata.finalizers)
      answer = ask(
        "PATCH",
        path,
        { metadata = { ["$deleteFromPrimitiveList/finalizers"] = { "a.io/a" } } },
        { type = STRATEGIC }
      )
      assert.same({ "b.io/b" }, answer.metadata.finalizers)
      answer = ask("PATCH", path, { metadata = { finalizers = { "c.io/c" } } }, { type = MERGE })
      assert.same({ "c.io/c" }, answer.metadata.finalizers)
    end)

    it("applies JSON patches as a whole or not at all", function()
      make("l", { annotations = { ["a/b"] = "1" }, finalizers = { "x.io/x", "y.io/y" } })
      local path <const>, as <const> = LEASES .. "/l", { type = "application/json-patch+json" }
      local answer = ask("PATCH", path, {
        { op = "test", path = "/metadata/finalizers/0", value = "x.io/x" },
        { op = "remove", path = "/metadata/finalizers/0" },
        { op = "add", path = "/metadata/finalizers/-", value = "z.io/z" },
        { op = "replace", path = "/metadata/annotations/a~1b", value = "2" },
      }, as)
      assert.same({ "y.io/y", "z.io/z" }, answer.metadata.finalizers)
      assert.equal("2", answer.metadata.annotations["a/b"])
      local refused <const>, code <const> = ask("PATCH", path, {
        { op = "remove", path = "/metadata/finalizers/0" },
        { op = "test", path = "/metadata/finalizers/0", value = "y.io/y" },
      }, as)
      assert.same({ 422, "Invalid" }, { code, refused.reason })
      assert.equal(2, #ask("GET", path).metadata.finalizers)
    end)

    it("keeps status and the rest apart", function()
      local claim <const> = ask("GET", PVC)
      claim.status, claim.spec.volumeName = { phase = "Lost" }, "pv-2"
      local answer = ask("PUT", PVC, claim)
      assert.same({ "Bound", "pv-2" }, { answer.status.phase, answer.spec.volumeName })
      answer = ask(
        "PATCH",
        PVC .. "/status",
        { status = { phase = "Lost" }, spec = { volumeName = "pv-3" } },
        { type = MERGE }
      )
      assert.same({ "Lost", "pv-2" }, { answer.status.phase, answer.spec.volumeName })
    end)

    it("encodes what a secret is given as text", function()
      local secret <const> =
        { apiVersion = "v1", kind = "Secret", metadata = { name = "s" }, stringData = { k = "väl" } }
      assert.equal(fakes.codec.base64 "väl", ask("POST", "/api/v1/namespaces/vms/secrets", secret).data.k)
    end)

    it("changes nothing on a dry run", function()
      assert.equal(201, select(2, ask("POST", LEASES, lease "l", { args = { dryRun = "All" } })))
      assert.equal(404, select(2, ask("GET", LEASES .. "/l")))
    end)
  end)

  describe("asked to delete objects", function()
    it("answers with a Status, or with the object where the real one does", function()
      make "l"
      local answer <const> = ask("DELETE", LEASES .. "/l")
      assert.same({ "Status", "Success" }, { answer.kind, answer.status })
      assert.equal("PersistentVolumeClaim", ask("DELETE", PVC).kind)
      assert.equal(404, select(2, ask("DELETE", PVC)))
    end)

    it("waits for the last finalizer, and takes no new ones meanwhile", function()
      make("l", { finalizers = { "lunalift.io/journal" } })
      local path <const> = LEASES .. "/l"
      assert.truthy(ask("DELETE", path).metadata.deletionTimestamp)
      assert.equal(200, select(2, ask("GET", path)))
      local more <const> = { metadata = { finalizers = { "lunalift.io/journal", "new.io/x" } } }
      local answer <const>, code <const> = ask("PATCH", path, more, { type = MERGE })
      assert.equal(422, code)
      assert.matches("no new finalizers can be added", answer.message)
      assert.equal(200, select(2, ask("PATCH", path, '{"metadata":{"finalizers":null}}', { type = MERGE })))
      assert.equal(404, select(2, ask("GET", path)))
    end)

    it("minds preconditions", function()
      local made <const> = make "l"
      local wrong <const> = { preconditions = { uid = "00000000-0000-4000-8000-000000000000" } }
      local answer <const>, code <const> = ask("DELETE", LEASES .. "/l", wrong)
      assert.equal(409, code)
      assert.matches("Precondition failed: UID in precondition", answer.message)
      assert.equal(200, select(2, ask("DELETE", LEASES .. "/l", { preconditions = { uid = made.metadata.uid } })))
    end)

    it("collects what the deleted owned, but not orphans made on purpose", function()
      local function owned(name)
        local owner <const> =
          { apiVersion = "v1", kind = "PersistentVolumeClaim", name = "data", uid = cluster:get(PVC).metadata.uid }
        return make(name, { ownerReferences = { owner } })
      end
      owned "a"
      ask("DELETE", PVC, { propagationPolicy = "Orphan" })
      assert.is_nil(ask("GET", LEASES .. "/a").metadata.ownerReferences)
      cluster:put { apiVersion = "v1", kind = "PersistentVolumeClaim", metadata = { namespace = "vms", name = "data" } }
      owned "b"
      ask("DELETE", PVC)
      assert.equal(404, select(2, ask("GET", LEASES .. "/b")))
    end)

    it("keeps a running pod until it is forced", function()
      local pods <const> = "/api/v1/namespaces/vms/pods/p"
      cluster:put {
        apiVersion = "v1",
        kind = "Pod",
        metadata = { namespace = "vms", name = "p" },
        spec = { nodeName = "n" },
        status = { phase = "Running" },
      }
      assert.equal(30, ask("DELETE", pods).metadata.deletionGracePeriodSeconds)
      assert.equal(200, select(2, ask("GET", pods)))
      ask("DELETE", pods, { gracePeriodSeconds = 0 })
      assert.equal(404, select(2, ask("GET", pods)))
    end)
  end)

  it("writes a kubeconfig", function()
    local text <const> =
      kube.kubeconfig { server = "https://127.0.0.1:1", ca_pem = "PEM", token = "t", namespace = "vms" }
    assert.matches("certificate%-authority%-data: UEVN\n", text)
    assert.matches("namespace: vms\n", text)
  end)
end)
