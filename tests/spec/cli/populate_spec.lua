local codec <const> = require "lunalift.codec"
local fail <const> = require "lib.fail"
local fs <const> = require "lunalift.fs"
local secret <const> = require "lunalift.secret"
local sshd <const> = require "lab.sshd"
local stand_in <const> = require "spec.support.stand_in"
local task <const> = require "lunalift.task"
local timer <const> = require "lunalift.timer"

describe("lunalift populate", function()
  local restore, console, conf, request, flow, vendor, variables, signals

  before_each(function()
    console, conf, request, variables, signals = stand_in.console(), nil, nil, {}, {}
    vendor = { options = {} }
    restore = stand_in.install {
      ["lunalift.console"] = console,
      ["lunalift.env"] = stand_in.env(variables),
      ["lunalift.log"] = stand_in.log(),
      ["lunalift.task"] = setmetatable({
        signal = function()
          local name <const> = table.remove(signals, 1)
          timer.sleep(name and 0.01 or 3600)
          return name
        end,
      }, { __index = task }),
      ["lib.arrays"] = {
        check_name = function(name)
          if name ~= "ontap" then fail.raise("config", "no storage vendor '%s'", name) end
        end,
        describe = function() return vendor end,
        names = function() return { "ontap" } end,
      },
      ["lib.site"] = {
        new = function(given)
          conf = given
          return { close = function() end }
        end,
      },
      ["lib.undo"] = { ["array.unmap"] = { within_s = 1, run = function() end } },
      ["flows.populate"] = function(job)
        request = job.request
        if flow then flow(job) end
        job:was_done {}
      end,
    }
    flow = nil
  end)

  after_each(function() restore() end)

  local ARGS <const> = {
    ["source-vm-id"] = "vm-1",
    ["source-vmdk"] = "[ds] web/web.vmdk",
    ["owner-name"] = "data",
    ["target-namespace"] = "shop",
    ["storage-vendor-product"] = "ontap",
    ["storage-hostname"] = "array.example",
    ["storage-username"] = "admin",
    ["storage-password"] = "hunter2",
    ["vsphere-hostname"] = "vc.example",
    ["vsphere-username"] = "root",
    ["vsphere-password"] = "hunter3",
  }

  -- Run with ARGS, changed: false takes one away.
  local function run(changes, ...)
    local args <const> = { ... }
    for name, value in pairs(changes or {}) do
      if value then args[#args + 1] = ("--%s=%s"):format(name, value) end
    end
    for name, value in pairs(ARGS) do
      if not changes or changes[name] == nil then args[#args + 1] = ("--%s=%s"):format(name, value) end
    end
    return require("cli.populate").run(args)
  end

  local function refused(changes, ...)
    local ok <const>, why <const> = pcall(run, changes, ...)
    assert.is_false(ok)
    assert.is_true(fail.is(why, "config"), tostring(why))
    assert.is_nil(request)
    return why.message
  end

  it("makes a request and a site of its flags", function()
    assert.equal(0, run { ["migration-host"] = "host-2", ["esxi-clone-method"] = " VIB " })
    assert.equal("/vmfs/volumes/ds/web/web.vmdk", request.vmdk.on_host)
    assert.same(
      { "vm-1", "data", "shop", "host-2", "vib" },
      { request.vm, request.claim, request.namespace, request.migration_host, request.method }
    )
    assert.equal("sampled", request.verify)
    assert.equal("vc.example", conf.vcenter.host)
    assert.is_true(secret.is(conf.vcenter.password))
    assert.same({ "ontap", "array.example", "admin" }, { conf.array.vendor, conf.array.hostname, conf.array.username })
    assert.is_false(conf.array.tls.insecure)
    assert.matches("flow populate (built in) · vendor ontap (built in)", console.said, 1, true)
  end)

  it("takes upstream's environment", function()
    variables.STORAGE_HOSTNAME, variables.GOVMOMI_PASSWORD = "other.example", "hunter4"
    run { ["storage-hostname"] = false, ["vsphere-password"] = false }
    assert.equal("other.example", conf.array.hostname)
  end)

  it("takes what forklift sends and has no effect here, and klog's flags", function()
    local code <const> = run(
      { ["cr-name"] = "x", ["cr-namespace"] = "y", ["pvc-size"] = "1", ["secret-name"] = "z", stderrthreshold = "2" },
      "--logtostderr",
      "-alsologtostderr=false",
      "-vmodule",
      "a=2",
      "--log_file_max_size=1800",
      "-v=2"
    )
    assert.equal(0, code)
    run { help = "true" }
    assert.not_matches("stderrthreshold", console.said)
  end)

  it("hands on which claim is meant, whose Leases count, and what the array shall not copy", function()
    variables.HOST_LEASE_NAMESPACE, variables.HOST_LEASE_DURATION_SECONDS = "mtv", "20.5"
    variables.DISABLE_RDM_METHOD = "true"
    run { ["owner-uid"] = "u-1" }
    assert.same({ "u-1", "mtv", 20.5 }, { request.claim_uid, request.lease_namespace, request.lease_s })
    assert.same({ vvol = false, rdm = true }, request.disabled)
    variables.HOST_LEASE_NAMESPACE, variables.HOST_LEASE_DURATION_SECONDS = nil, nil
    run { ["owner-uid"] = "" }
    assert.same({ "openshift-mtv", 10 }, { request.lease_namespace, request.lease_s })
    assert.is_nil(request.claim_uid)
  end)

  it("trusts the authorities of the variable cacert beside the system's, at both ends", function()
    variables.cacert = "-----BEGIN CERTIFICATE-----\n…"
    run()
    assert.same({ variables.cacert, true }, { conf.vcenter.tls.ca, conf.vcenter.tls.and_system })
    assert.same(conf.vcenter.tls, conf.array.tls)
    request, variables.cacert = nil, "/etc/ca.pem"
    assert.equal("the variable cacert holds no certificate", refused())
    variables.cacert = ""
    run()
    assert.same({ insecure = false, and_system = false }, conf.vcenter.tls)
  end)

  it("serves metrics at 8443 in a pod, elsewhere where it is told to, and never of a dry run", function()
    local served
    package.loaded["lib.exporter"] = {
      open = function(_, endpoint, path)
        served = endpoint .. path
        return {
          finish = function(_, outcome, within_s) served = ("%s %d %g"):format(served, outcome.code, within_s) end,
        }
      end,
    }
    run()
    assert.equal("off/metrics 0 10", served)
    variables.KUBERNETES_SERVICE_HOST = "10.0.0.1"
    run { ["metrics-linger"] = "0.5" }
    assert.equal(":8443/metrics 0 0.5", served)
    flow = function() fail.raise("failed", "no") end
    run { ["http-endpoint"] = "off" }
    assert.equal("off/metrics 1 10", served)
    run({ ["http-endpoint"] = ":1" }, "--dry-run")
    assert.equal("off/metrics 1 10", served)
    run { kubeconfig = "/home/me/config" }
    assert.equal("off/metrics 1 10", served)
  end)

  it("reads the keys for ssh, and how hosts are reached", function()
    local ssh <const> = { ["esxi-clone-method"] = "SSH" }
    assert.equal("the clone method ssh needs SSH_PRIVATE_KEY", refused(ssh))
    variables.SSH_PRIVATE_KEY, variables.SSH_PUBLIC_KEY = "no base64!", "c3NoLXJzYSBBQUFB"
    assert.equal("SSH_PRIVATE_KEY is no base64", refused(ssh))
    variables.SSH_PRIVATE_KEY = "LS0tLS1CRUdJTg=="
    assert.matches("SSH_PRIVATE_KEY is no key to log in with", refused(ssh))
    local path <const> = os.tmpname()
    sshd.make_key(path)
    variables.SSH_PRIVATE_KEY = codec.base64(fs.read(path))
    os.remove(path)
    os.remove(path .. ".pub")
    variables.LUNALIFT_SSH_FINGERPRINT = "SHA256:a, SHA256:b"
    assert.equal(0, run(ssh))
    assert.equal("ssh", request.method)
    assert.same({ "SHA256:a", "SHA256:b" }, request.ssh.fingerprints)
    assert.same({ "root", 22 }, { request.ssh.user, request.ssh.port })
    assert.equal("***", tostring(request.ssh.key))
    ssh["ssh-port"] = "66000"
    assert.is_false((pcall(run, ssh)))
    assert.equal(0, run { ["esxi-clone-method"] = "" })
    assert.equal("vib", request.method)
  end)

  it("knows how far a copy is to be verified", function()
    run { verify = "full", receipt = "/tmp/r.json" }
    assert.same({ "full", "/tmp/r.json" }, { request.verify, request.receipt })
    request = nil
    assert.equal("--verify: 'all' is not one of none, sampled, full", refused { verify = "all" })
  end)

  it("knows before anything is done that there is no folder for the receipt", function()
    flow = function() error "too late" end
    assert.matches("no receipt can be kept in /no/folder/r.json", refused { receipt = "/no/folder/r.json" })
  end)

  it("names everything that is missing at once", function()
    local message <const> = refused { ["source-vm-id"] = false, ["vsphere-password"] = false, ["owner-name"] = "" }
    assert.equal("missing value for --source-vm-id, --owner-name and --vsphere-password", message)
    assert.matches("%-%-vsphere%-password", refused { ["vsphere-password"] = "" })
  end)

  describe("needs a token, or user and password", function()
    local AUTH <const> = "either STORAGE_TOKEN or both STORAGE_USERNAME and STORAGE_PASSWORD must be provided"
    local function auth(token, user, password)
      return { ["storage-token"] = token, ["storage-username"] = user, ["storage-password"] = password }
    end

    it("and is content with either", function()
      assert.equal(0, run(auth("t", false, false)))
      assert.equal(0, run(auth(nil, "u", "p")))
      assert.equal(0, run(auth("t", "u", "p")))
    end)

    it("and not with one half, or with empty ones", function()
      for _, given in ipairs {
        auth(nil, false, false),
        auth(nil, "u", false),
        auth(nil, false, "p"),
        auth("", false, false),
        auth(nil, "u", ""),
        auth(nil, "", "p"),
      } do
        assert.equal(AUTH, refused(given))
      end
    end)
  end)

  it("refuses a bad path, an unknown method, vendor or word before anything is opened", function()
    assert.matches("invalid VMDK path", refused { ["source-vmdk"] = "web.vmdk" })
    assert.equal("unknown ESXi clone method 'telnet'", refused { ["esxi-clone-method"] = "telnet" })
    assert.equal("no storage vendor 'onatp'", refused { ["storage-vendor-product"] = "onatp" })
    assert.equal("'word' is no flag", refused(nil, "word"))
    assert.is_nil(conf)
  end)

  it("trusts any certificate of the array for exactly 'true'", function()
    run { ["storage-skip-ssl-verification"] = "true" }
    assert.is_true(conf.array.tls.insecure)
    run { ["storage-skip-ssl-verification"] = "True" }
    assert.is_false(conf.array.tls.insecure)
  end)

  it("reads the vendor's own options from the environment, and keeps their defaults", function()
    vendor.options =
      { svm = { env = "ONTAP_SVM" }, timeout_s = { default = 30 }, depth = { default = 2, env = "DEPTH" } }
    variables.ONTAP_SVM = "svm0"
    run()
    assert.same({ "svm0", 30, 2 }, { conf.array.svm, conf.array.timeout_s, conf.array.depth })
    run { ["storage-http-timeout-seconds"] = "5" }
    assert.equal(5, conf.array.timeout_s)
  end)

  it("converts the vendor's options by their type, and names all that are required and missing", function()
    vendor.options = {
      depth = { type = "integer", env = "DEPTH" },
      key = { type = "secret", env = "KEY" },
      strict = { type = "bool", env = "STRICT" },
      pool = { env = "POOL", required = true },
    }
    variables.DEPTH, variables.KEY, variables.STRICT, variables.POOL = "3", "k", "true", "p1"
    run()
    assert.same({ 3, true, "p1" }, { conf.array.depth, conf.array.strict, conf.array.pool })
    assert.is_true(secret.is(conf.array.key))
    request, variables.DEPTH = nil, "deep"
    assert.equal("DEPTH: 'deep' is not a whole number", refused())
    variables.DEPTH, variables.POOL = "3", ""
    assert.equal("ontap needs a value for POOL", refused())
  end)

  it("prints help and version without any other flag", function()
    assert.equal(0, require("cli.populate").run { "--help" })
    assert.matches("usage: lunalift populate", console.said)
    assert.equal(0, require("cli.populate").run { "--version" })
    assert.matches("\nlunalift %d", console.said)
  end)

  describe("ends", function()
    local function promise(job)
      job:promise("array.unmap", {}, "LUN 7 is mapped to esx1")
      job:effect("array.map", "7 to esx1", function() return true end)
    end

    it("with 0 and the time it took", function()
      flow = promise
      assert.equal(0, run())
      assert.matches("done in %d+%.%d s, %d+%.%d s of it overhead", console.said)
    end)

    it("with the failure's code, and says that nothing is left", function()
      flow = function(job)
        promise(job)
        fail.raise("busy", "come back")
      end
      assert.equal(3, run())
      assert.equal("error: come back\n  left  nothing: all that was changed is put back\n", console.complained)
    end)

    it("without that word when nothing was changed", function()
      flow = function() fail.raise("denied", "no") end
      assert.equal(2, run())
      assert.equal("error: no\n", console.complained)
    end)

    it("with 5 when the copy is done but something is left, and names it with the reason and the fix", function()
      package.loaded["lib.undo"]["array.unmap"].run = function()
        error(fail.hint(fail.new("unreachable", "ONTAP is away"), "run reap"))
      end
      flow = promise
      assert.equal(5, run())
      assert.equal(
        "error: the copy is done, but not everything could be put back\n"
          .. "  left  LUN 7 is mapped to esx1: ONTAP is away (run reap)\n",
        console.complained
      )
    end)

    it("with 5 and the failure itself when both went wrong", function()
      package.loaded["lib.undo"]["array.unmap"].run = function() fail.raise("unreachable", "ONTAP is away") end
      flow = function(job)
        promise(job)
        fail.raise("failed", "the clone ended with exit code 1")
      end
      assert.equal(5, run())
      assert.matches("^error: the clone ended.*left  LUN 7 is mapped", console.complained)
    end)

    it("with 4 when a signal stopped it, after the undo", function()
      flow = function(job)
        promise(job)
        timer.sleep(60)
      end
      signals = { "USR1", "TERM" }
      local undone = false
      package.loaded["lib.undo"]["array.unmap"].run = function() undone = true end
      assert.equal(4, run())
      assert.is_true(undone)
      assert.matches("stopped by SIGTERM", console.complained)
    end)

    it("with 5 at once when a second signal came during the undo: the rest stays promised", function()
      flow = function(job)
        promise(job)
        promise(job)
        timer.sleep(60)
      end
      signals = { "TERM", "INT" }
      local begun = 0
      package.loaded["lib.undo"]["array.unmap"] = {
        within_s = 60,
        run = function()
          begun = begun + 1
          timer.sleep(60)
        end,
      }
      local began_s <const> = timer.now()
      assert.equal(5, run())
      assert.is_true(timer.now() - began_s < 10)
      assert.equal(1, begun)
      assert.matches("stopped by SIGTERM", console.complained)
      assert.matches("LUN 7 is mapped to esx1: stopped by another SIGINT", console.complained)
      assert.matches("LUN 7 is mapped to esx1: there was no time left", console.complained)
    end)

    it("for machines: a failure has no text that says done", function()
      flow = function() fail.raise("failed", "no") end
      assert.equal(1, run { output = "json" })
      local last <const> = console.said:match '({"event":"result".-)\n'
        or console.said:match '([^\n]*"event":"result"[^\n]*)'
      assert.not_matches("done", last)
    end)

    it("with the proof's time no overhead, and where the receipt is", function()
      package.loaded["lib.receipt"] = { check = function() end, keep = function() return "/state/r.json" end }
      flow = function(job) job:note { copy_seconds = -20, proof_seconds = -10 } end
      assert.equal(0, run())
      assert.matches("done in 0.0 s, 30.0 s of it overhead, receipt: /state/r.json", console.said, 1, true)
      flow = function() fail.raise("failed", "no") end
      assert.equal(1, run())
      assert.matches("more  receipt: /state/r.json", console.complained, 1, true)
    end)

    it("on a dry run, with all effects and then their undo, numbered on", function()
      flow = promise
      assert.equal(0, run(nil, "--dry-run"))
      assert.matches("would do array.map 7 to esx1 effect=1", console.said, 1, true)
      assert.matches("would do undo array.unmap LUN 7 is mapped to esx1 effect=2", console.said, 1, true)
      assert.matches("dry run: 1 effects, then their undo; nothing was changed", console.said, 1, true)
    end)
  end)
end)
