--- What kubectl says of the lab's simulated API is what it says of a real API server, word for word, but for what is each one's own:
--- identities, versions, times.
local clusters <const> = require "support.cluster"
local lab_site <const> = require "support.lab_site"
local task <const> = require "lunalift.task"

local LEASE <const> = [[
apiVersion: coordination.k8s.io/v1
kind: Lease
metadata: { name: slot, labels: { tier: a } }
spec: { holderIdentity: me, leaseDurationSeconds: 10, renewTime: "2026-01-31T12:00:00.000000Z" }
]]

local CLAIM <const> = [[
apiVersion: v1
kind: PersistentVolumeClaim
metadata: { name: data, annotations: { a: b } }
spec:
  accessModes: [ReadWriteMany]
  volumeMode: Block
  storageClassName: ontap-san
  resources: { requests: { storage: 1Gi } }
  dataSourceRef: { apiGroup: forklift.konveyor.io, kind: VSphereXcopyVolumePopulator, name: data }
]]

local VOLUME <const> = [[
apiVersion: v1
kind: PersistentVolume
metadata: { name: pv-1 }
spec:
  capacity: { storage: "67108864" }
  accessModes: [ReadWriteMany, ReadWriteOnce]
  volumeMode: Block
  storageClassName: ontap-san
  persistentVolumeReclaimPolicy: Delete
  claimRef: { namespace: stage, name: prime-1 }
  csi: { driver: csi.trident.netapp.io, volumeHandle: pvc-1, volumeAttributes: { internalName: trident_1 } }
]]

local NAMESPACE <const> = "{ apiVersion: v1, kind: Namespace, metadata: { name: stage } }"

local function review(verb)
  return ([[
apiVersion: authorization.k8s.io/v1
kind: SelfSubjectAccessReview
spec: { resourceAttributes: { verb: %s, group: coordination.k8s.io, resource: leases, namespace: move } }
]]):format(verb)
end

-- Orders by what they show; "< NAME" at the end gives kubectl that file.
local FILES <const> = {
  lease = LEASE,
  other = (LEASE:gsub(": me", ": you")),
  stale = (LEASE:gsub("name: slot", 'name: slot, resourceVersion: "1"')),
  unknown = (LEASE:gsub("holderIdentity", "holderIdentiti")),
  astray = (LEASE:gsub("spec:", "spce:")),
  timeless = (LEASE:gsub('2026[^"]*', "yesterday")),
  renamed = (LEASE:gsub("slot", "renamed"):gsub("holderIdentity", "holderIdentiti")),
  misnamed = (LEASE:gsub("slot", "Not_A_Name")),
  held = (LEASE:gsub("name: slot", "name: held, finalizers: [lunalift.io/journal]")),
  shared = (LEASE:gsub("slot", "shared")),
  shared_other = (LEASE:gsub("slot", "shared"):gsub(": me", ": you"):gsub("tier: a", "tier: b")),
  shared_less = (LEASE:gsub("slot", "shared"):gsub("holderIdentity: me, ", "")),
  secret = [[{ apiVersion: v1, kind: Secret, metadata: { name: s }, type: Opaque, stringData: { k: v } }]],
  claim = CLAIM,
  volume = VOLUME,
  may_create = review "create",
  may_delete = review "delete",
}

local STORIES <const> = {
  {
    "makes objects",
    "create -f - < lease",
    "create -f - < lease",
    "create -f - < misnamed",
    "create -f - < unknown",
    "create -f - < astray",
    "create -f - < timeless",
    "create --validate=ignore -f - < renamed",
    "get lease renamed -o yaml",
    "create -n nowhere -f - < lease",
    "create --dry-run=server -f - < held",
    "get lease held",
    "create -f - < held",
    "create -f - < secret",
    "get secret s -o yaml",
  },
  {
    "shows objects",
    "get leases",
    "get leases -o wide",
    "get leases --show-labels",
    "get leases --no-headers",
    "get leases -A --field-selector metadata.namespace=stage",
    "get lease slot -o yaml",
    "get lease slot -o json",
    "get lease slot none",
    "get lease -l tier=a -o name",
    "get lease -l tier!=a",
    "get lease --field-selector metadata.name=slot -o name",
    "get lease --field-selector spec.holderIdentity=me",
    "get lease --chunk-size=1 -o name",
    "get lease slot -o jsonpath={.spec.holderIdentity}",
    "get lease,secret",
    "describe lease slot",
    "describe lease none",
    "get widgets",
    "get ns stage",
    "get secrets",
  },
  {
    "applies",
    "apply -f - < lease",
    "apply -f - < lease",
    "apply -f - < other",
    "get lease slot -o yaml",
    "diff -f - < other",
    "replace -f - < stale",
    "replace -f - < other",
    "delete lease slot",
    "apply -f - < lease",
  },
  {
    "applies on the server",
    "apply --server-side -f - < shared",
    "apply --server-side -f - < shared",
    "apply --server-side --field-manager=other -f - < shared",
    "apply --server-side --field-manager=other -f - < shared_less",
    "apply --server-side --field-manager=other -f - < shared_other",
    [[patch lease shared --field-manager=hand --type=merge -p {"spec":{"leaseDurationSeconds":11}}]],
    "apply --server-side -f - < shared",
    "apply --server-side --field-manager=other -f - < shared_other",
    "apply --server-side --field-manager=other --force-conflicts -f - < shared_other",
    "get lease shared -o yaml",
    "apply --server-side --force-conflicts -f - < shared_less",
    "get lease shared -o yaml",
    "delete lease shared",
  },
  {
    "watches",
    "create -f - < shared",
    "get leases -w --request-timeout=1s",
    "get lease shared --watch-only --request-timeout=1s",
    "get leases --output-watch-events -w -o name --request-timeout=1s",
    "wait lease/shared --for=jsonpath={.spec.holderIdentity}=me --timeout=5s",
    "delete lease shared",
  },
  {
    "patches",
    [[patch lease slot -p {"metadata":{"finalizers":["a.io/x"],"labels":{"b":"c"}}}]],
    [[patch lease slot -p {"metadata":{"finalizers":["b.io/x"]}}]],
    "get lease slot -o jsonpath={.metadata.finalizers}",
    [[patch lease slot -p {"metadata":{"$deleteFromPrimitiveList/finalizers":["a.io/x"]}}]],
    [[patch lease slot --type=merge -p {"metadata":{"finalizers":null,"labels":{"b":null}}}]],
    [[patch lease slot --type=merge -p {"metadata":{"labels":{"b":null}}}]],
    [=[patch lease slot --type=json -p [{"op":"add","path":"/metadata/labels/x","value":"1"}]]=],
    [=[patch lease slot --type=json -p [{"op":"test","path":"/metadata/labels/x","value":"2"}]]=],
    [=[patch lease slot --type=json -p [{"op":"remove","path":"/metadata/labels/none"}]]=],
    [[patch lease slot --type=merge -p {"metadata":{"resourceVersion":"1"}}]],
    [[patch lease slot --type=merge -p {"metadata":{"name":"other"}}]],
    [[patch lease slot --type=merge -p {"metadata":{"uid":"00000000-0000-4000-8000-000000000000"}}]],
    [[patch lease slot --type=merge -p {"spec":{"leaseDurationSeconds":0}}]],
    [[patch lease slot --type=merge -p {"spec":{"leaseTransitions":-1}}]],
    [[patch lease none --type=merge -p {}]],
    "label lease slot tier=b",
    "label lease slot tier=b --overwrite",
    "annotate lease slot note=x",
    "annotate lease slot note-",
    "get lease slot -o yaml",
  },
  {
    "deletes",
    "delete lease held --wait=false",
    "get lease held -o jsonpath={.metadata.deletionGracePeriodSeconds}",
    [[patch lease held --type=merge -p {"metadata":{"finalizers":["lunalift.io/journal","new.io/x"]}}]],
    "delete lease held --wait=false",
    [[patch lease held --type=merge -p {"metadata":{"finalizers":null}}]],
    "get lease held",
    "delete lease slot",
    "delete lease slot",
    "delete lease slot --ignore-not-found",
    "delete secret s",
  },
  {
    "knows claims and volumes",
    "create -f - < claim",
    "create -f - < volume",
    "get pvc",
    "get pvc -o wide",
    "get pv pv-1 -o wide",
    "get pvc/data pv/pv-1",
    "get pvc data -o yaml",
    "get pv pv-1 -o yaml",
    "describe pvc data",
    "describe pv pv-1",
    [[patch pv pv-1 -p {"spec":{"claimRef":{"name":"data","uid":"00000000-0000-4000-8000-000000000000"}}}]],
    "get pv pv-1 -o jsonpath={.spec.claimRef}",
    [[patch pvc data --subresource=status --type=merge -p {"status":{"phase":"Lost"}}]],
    "get pvc data",
    "delete pvc data",
    "delete pv pv-1",
  },
}

-- As `user` of both: what is allowed and how a refusal reads.
local RIGHTS <const> = {
  "get pvc none -n move",
  "get lease none -n move",
  "get leases -n other",
  "get pv",
  "get pv none",
  "get secrets -n move",
  "delete lease none -n move",
  "create -n move --dry-run=server -f - < lease",
  "create --validate=false -o jsonpath={.status.allowed} -f - < may_create",
  "create --validate=false -o jsonpath={.status.allowed} -f - < may_delete",
}

-- What no two servers have in common.
local OWN <const> = {
  { "%x%x%x%x%x%x%x%x%-%x%x%x%x%-%x%x%x%x%-%x%x%x%x%-%x%x%x%x%x%x%x%x%x%x%x%x", "UID" },
  { '(resourceVersion"?: )"%d+"', "%1VERSION" },
  { "%d%d%d%d%-%d%d%-%d%d[T ]%d%d:%d%d:%d%d[.%dZ+ ]*", "TIME" },
  { "(Resource Version:%s+)%d+", "%1VERSION" },
  { "%a%a%a, %d+ %a%a%a %d%d%d%d %d%d:%d%d:%d%d %+0000", "TIME" },
  { '\n *lastPhaseTransitionTime: "TIME"', "" }, -- the lab keeps none
  { "(%s)%d+m?%d*s%f[%s\0]", "%1AGE" },
  { "/tmp/%w+%-%d+", "FOLDER" },
  { "https://127%.0%.0%.1:%d+", "SERVER" },
  { " +", " " },
}

local function shared(text)
  for _, rule in ipairs(OWN) do
    text = text:gsub(rule[1], rule[2])
  end
  return text
end

local function words_of(order, namespace)
  local text <const>, file <const> = order:match "^(.-) < ([%w_]+)$"
  local words <const> = { namespace and "--namespace=" .. namespace }
  for word in (text or order):gmatch "%S+" do
    words[#words + 1] = word
  end
  return words, file and FILES[file]
end

describe("kubectl says the same of the lab's API and of a real one when it", function()
  local cluster, lab

  local function told(kubeconfig, order, namespace)
    local words <const>, input <const> = words_of(order, namespace)
    local ended <const> = clusters.kubectl(kubeconfig, words, input)
    return ("$ kubectl %s\n%sexit %d\n"):format(order, shared(ended.out .. ended.err), ended.code)
  end

  local function assert_same_of(orders, ours, real, namespace)
    local function all_told(kubeconfig)
      local lines <const> = {}
      for i, order in ipairs(orders) do
        lines[i] = told(kubeconfig, order, namespace)
      end
      return table.concat(lines)
    end
    local answers <const> = task.all { function() return all_told(real) end, function() return all_told(ours) end }
    assert.equal(answers[1], answers[2])
  end

  setup(function()
    lab, cluster = lab_site.start(), clusters.start { is_bare = true }
    for _, kubeconfig in ipairs { lab.site.kube.kubeconfig, cluster.kubeconfig } do
      local made <const> = clusters.kubectl(kubeconfig, { "create", "-f", "-" }, NAMESPACE)
      assert.equal(0, made.code, made.err)
    end
  end)

  teardown(function()
    if lab then lab:stop() end
    if cluster then cluster:stop() end
  end)

  for _, story in ipairs(STORIES) do
    it(
      story[1],
      function()
        assert_same_of(table.move(story, 2, #story, 1, {}), lab.site.kube.kubeconfig, cluster.kubeconfig, "stage")
      end
    )
  end

  it("is refused", function()
    local real <const> = cluster:write_kubeconfig("populator", cluster:token(cluster.populator, 600))
    assert_same_of(RIGHTS, lab.site.kube.populator_kubeconfig, real)
  end)

  it("is not known", function()
    local real <const> = cluster:write_kubeconfig("nobody", "wrong")
    local ours <const> = clusters.write_kubeconfig(lab.site.dir .. "/nobody", {
      server = lab.site.kube.server,
      ca_file = lab.site.ca_file,
      token = "wrong",
    })
    assert_same_of({ "get leases -n move", "get pv" }, ours, real)
  end)
end)
