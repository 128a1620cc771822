--- A whole copy inside what forklift makes of a populate pod: its arguments, its Secret in the environment, a service account that may do
--- little, uid 107, no capabilities, and nowhere to write to; from the files of the container image.
local fs <const> = require "lunalift.fs"
local json <const> = require "lunalift.json"
local labs <const> = require "support.lab"
local process <const> = require "lunalift.process"
local timer <const> = require "lunalift.timer"

-- The image as the pod's root, read-only, with a service account's files: uid 107 without capabilities, in a user namespace.
local POD <const> = [[
#!/bin/sh
set -eu
if [ "${1-}" != inside ]; then exec setpriv --no-new-privs unshare --user --map-root-user --mount -- "$0" inside "$@"; fi
shift
mount --rbind "$IMAGE" "$IMAGE"
mount -t tmpfs pod "$IMAGE/run"
mkdir -p "$IMAGE/run/secrets/kubernetes.io/serviceaccount"
mount --bind "$ACCOUNT" "$IMAGE/run/secrets/kubernetes.io/serviceaccount"
mount --rbind /proc "$IMAGE/proc"
[ -z "${SITE_SCRIPTS-}" ] || mount --bind -o ro "$SITE_SCRIPTS" "$IMAGE/etc/lunalift/scripts"
mount -o remount,ro,bind "$IMAGE/run"
mount -o remount,ro,bind "$IMAGE"
for place in / /run /etc/lunalift/scripts; do
  if touch "$IMAGE$place/lunalift-was-here" 2>/dev/null; then
    echo "this pod could write to $place" >&2
    exit 99
  fi
done
exec unshare --user --map-user=107 --map-group=107 --root="$IMAGE" --wd=/ -- /usr/bin/vsphere-copy-offload-populator "$@"
]]

local function namespaces_allowed()
  local probe <const> = process.run {
    argv = { "unshare", "--user", "--map-root-user", "--mount", "--", "mount", "-t", "tmpfs", "none", "/run" },
  }
  return probe and probe.code == 0
end

describe("populate in a pod", function()
  if not namespaces_allowed() then
    pending "needs user namespaces: run the tests where unshare --user --mount is allowed"
    return
  end

  local lab

  setup(function()
    lab = labs.start()
    local build <const> = lab.bin:match "^(.*)/" or "."
    local laid <const> = assert(process.run { argv = { "tools/image-root", build, lab.dir .. "/image" } })
    assert(laid.code == 0, laid.stderr)
    lab.bin = lab.dir .. "/pod"
    assert(fs.write(lab.bin, POD))
    assert(fs.chmod(lab.bin, tonumber("755", 8)))
    local account <const> = lab.dir .. "/account"
    assert(fs.mkdir(account))
    assert(fs.write(account .. "/token", "populator-token\n"))
    assert(fs.write(account .. "/namespace", lab.site.kube.namespace))
    assert(fs.write(account .. "/ca.crt", assert(fs.read(lab.site.ca_file))))
  end)

  teardown(function() lab:stop() end)

  -- What forklift's controller gives, word by word.
  local function arguments(claim, vendor)
    return {
      "--source-vm-id=" .. claim.name:match "^vm%-%d+",
      "--source-vmdk=" .. claim.vmdk,
      "--target-namespace=" .. claim.namespace,
      "--cr-name=populator-1",
      "--cr-namespace=" .. claim.namespace,
      "--owner-name=" .. claim.name,
      "--secret-name=secret-1",
      "--storage-vendor-product=" .. (vendor or "ontap"),
      ("--pvc-size=%d"):format(claim.size_bytes),
      "--owner-uid=" .. claim.uid,
    }
  end

  local function environment()
    return {
      ACCOUNT = lab.dir .. "/account",
      IMAGE = lab.dir .. "/image",
      HOME = false,
      XDG_STATE_HOME = false,
      KUBECONFIG = false,
      LUNALIFT_CA_FILE = false,
      STORAGE_VENDOR = false,
      KUBERNETES_SERVICE_HOST = "127.0.0.1",
      KUBERNETES_SERVICE_PORT = lab.site.kube.server:match ":(%d+)$",
      cacert = assert(fs.read(lab.site.ca_file)),
      ESXI_CLONE_METHOD = "vib",
      GOVMOMI_INSECURE = "false",
      SSH_PRIVATE_KEY = "LS0tLS1CRUdJTg==",
      SSH_PUBLIC_KEY = "c3NoLXJzYSBBQUFB",
      LUNALIFT_HTTP_ENDPOINT = "127.0.0.1:0", -- 8443 may be another's here
      LUNALIFT_METRICS_LINGER = "0",
    }
  end

  it("copies as uid 107 without capabilities or a place to write to, and leaves its receipt on the Lease", function()
    local before <const> = lab:snapshot()
    local claim <const> = lab:claim "vm-57-disk-1"
    local ended <const> = lab:populate { argv = arguments(claim), env = environment() }
    assert.equal(0, ended.code, ended.err .. ended.out)
    assert.equal(labs.sha256(lab:source_of(claim)), labs.sha256(claim.lun_path))
    lab:assert_no_secret(ended.out .. ended.err)
    assert.not_matches("warning", ended.out .. ended.err)

    local path <const> = ("/apis/coordination.k8s.io/v1/namespaces/%s/leases/lunalift-%s"):format(
      claim.namespace,
      claim.uid
    )
    local notes <const> = assert(lab.kube:get(path)).metadata.annotations
    local receipt <const> = assert(json.decode(notes["lunalift.io/receipt"]))
    assert.equal("done", receipt.result.status)
    assert.is_true(receipt.verification.equal)
    assert.is_nil(notes["lunalift.io/journal"])

    local after <const> = lab:snapshot()
    before.cluster, after.cluster = nil, nil
    assert.same(before, after)
  end)

  it("takes a vendor script from a folder that is mounted into the image", function()
    local scripts <const>, claim <const> = lab.dir .. "/site-scripts", lab:claim "vm-57-disk-1"
    assert(fs.mkdir(scripts))
    assert(fs.mkdir(scripts .. "/vendors"))
    assert(fs.write(scripts .. "/vendors/acme.lua", assert(fs.read "scripts/vendors/ontap.lua")))
    local env <const> = environment()
    env.SITE_SCRIPTS = scripts
    local ended <const> = lab:populate { argv = arguments(claim, "acme"), env = env }
    assert.equal(0, ended.code, ended.err .. ended.out)
    assert.matches("vendor acme (/etc/lunalift/scripts/vendors/acme.lua", ended.out .. ended.err, 1, true)
    assert.equal(labs.sha256(lab:source_of(claim)), labs.sha256(claim.lun_path))
  end)

  it("is gone within thirty seconds of SIGTERM, whatever it was putting back, and the next pod finishes", function()
    local before <const> = lab:snapshot()
    local claim <const> = lab:claim "vm-57-disk-1"
    local mark <const> = lab:mark()
    lab:faults { { service = "vcenter", match = { target = "*device.set" }, action = "hang:60", times = 0 } }
    local run <const> = lab:start_populate { argv = arguments(claim), env = environment() }
    labs.wait_until(20, "the detach", function()
      for _, request in ipairs(lab:requests_since(mark, "vcenter")) do
        if (request.target or ""):find "device%.set$" then return true end
      end
    end)
    local asked_s <const> = timer.now()
    run:kill "TERM"
    local ended <const> = run:wait()
    local took_s <const> = timer.now() - asked_s
    assert.is_true(took_s < 30, tostring(took_s))
    assert.equal(5, ended.code, ended.err)
    assert.matches("there is no time left", ended.err)
    assert.matches("  left  ", ended.err, 1, true)

    lab:faults {}
    local again <const> = lab:populate { argv = arguments(claim), env = environment() }
    assert.equal(0, again.code, again.err)
    assert.equal(labs.sha256(lab:source_of(claim)), labs.sha256(claim.lun_path))
    local after <const> = lab:snapshot()
    before.cluster, after.cluster, before.sessions, after.sessions = nil, nil, nil, nil
    assert.same(before, after)
  end)

  it("tells what it lacks with exit code 2, and nothing else", function()
    local ended <const> = lab:populate { argv = { "--source-vm-id=vm-1" }, env = environment() }
    assert.equal(2, ended.code)
    assert.matches("missing value for %-%-source%-vmdk, .*%-%-storage%-vendor%-product", ended.err)
  end)
end)
