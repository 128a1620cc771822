--- Whole runs that succeed, in every style of output, and what they leave: equal bytes and nothing else.
local certificate <const> = require "lunalift.certificate"
local fs <const> = require "lunalift.fs"
local json <const> = require "lunalift.json"
local labs <const> = require "support.lab"

describe("populate, on a site", function()
  local lab, before, claim, source

  setup(function()
    lab = labs.start()
    claim = lab:claim "vm-57-disk-1"
    source = labs.sha256(lab:source_of(claim))
  end)

  teardown(function() lab:stop() end)

  before_each(function()
    before = lab:snapshot()
    fs.pwrite(claim.lun_path, 0, ("x"):rep(4096)) -- what an earlier copy wrote is no proof of this one
  end)

  local function assert_copied(ended)
    assert.equal(0, ended.code, ended.err .. ended.out)
    assert.equal(source, labs.sha256(claim.lun_path))
    assert.same(before, lab:snapshot())
    lab:assert_no_secret(ended.out .. ended.err)
  end

  it("copies, and tells it in lines", function()
    local ended <const> = lab:populate()
    assert_copied(ended)
    assert.matches("Z open both ends: .* status=done seconds=%d", ended.out)
    assert.matches("Z copy: 100 %%.* percent=100 bytes=8388608 ", ended.out)
    assert.matches("Z prove it: 8 extents, 8 MiB, equal on both ends", ended.out)
    assert.matches("Z done in %d[%d.]* s.* status=done seconds=[%d.]+\n$", ended.out)
    assert.not_matches("\27", ended.out)
  end)

  it("copies, and tells it to machines, each line an object", function()
    local ended <const> = lab:populate { flags = { output = "json" } }
    assert_copied(ended)
    local last
    local events <const> = {}
    for line in ended.out:gmatch "[^\n]+" do
      last = assert(json.decode(line))
      events[last.event] = (events[last.event] or 0) + 1
    end
    assert.equal("done", last.status)
    assert.equal("result", last.event)
    assert.is_true(events.step >= 10 and events.effect >= 5 and events.progress >= 1)
  end)

  it("copies, and is quiet about it", function()
    local ended <const> = lab:populate { words = { "--quiet" } }
    assert_copied(ended)
    assert.equal("", ended.out .. ended.err)
  end)

  it("copies, and draws it on a terminal", function()
    lab:host("vmkfstools", { rate = 8388608, xcopy = 1 })
    local ended <const> = lab:populate { on_terminal = true }
    lab:host("vmkfstools", { rate = 0, xcopy = 1 })
    assert_copied(ended)
    assert.matches("\r\27%[K  ✓ copy +%d+%.%d s   8 MiB, [^\n]+ offloaded\r\n", ended.out)
    assert.matches("▸ copy +[█▌]+ +%d+ %% +%d", ended.out)
  end)

  it("copies though what it says is lost, and says that once", function()
    local ended <const> = lab:populate { into = "/dev/full" }
    assert_copied(ended)
    assert.equal(1, select(2, ended.err:gsub("what the run says is lost", "")), ended.err)
    assert.matches("standard output: No space left on device", ended.err)
  end)

  it("warns of a VM that is on", function()
    local ended <const> = lab:populate { claim = "vm-59-disk-1" }
    assert.matches("Z warning: VM twin is poweredOn: ", ended.out)
  end)

  describe("with upstream's wrapper", function()
    before_each(function() lab:host("wrapper", { variant = "upstream" }) end)
    after_each(function() lab:host("wrapper", { variant = "lunalift" }) end)

    it("copies", function()
      local plain <const> = lab:claim "vm-58-disk-1"
      local ended <const> = lab:populate { claim = plain.name }
      assert.equal(0, ended.code, ended.err .. ended.out)
      assert.equal(labs.sha256(lab:source_of(plain)), labs.sha256(plain.lun_path))
      assert.matches("wrapper 0.3.3", ended.out, 1, true)
      assert.matches("not verified: this host's wrapper cannot read back", ended.out, 1, true)
      assert.same(before, lab:snapshot())
    end)

    it("hands over no name that the host would run", function()
      local ended <const> = lab:populate()
      assert.equal(2, ended.code)
      assert.matches("holds a character that the host would run", ended.err)
      assert.matches("\n  fix   upgrade", ended.err)
      assert.same(before, lab:snapshot())
    end)
  end)

  -- ---- dry run ----

  it("tells each effect in order on a dry run, and sends none", function()
    local mark <const> = lab:mark()
    local ended <const> = lab:populate { words = { "--dry-run" } }
    assert.equal(0, ended.code, ended.err)
    local would <const> = {}
    for name in ended.out:gmatch "Z would do ([%w_.]+)" do
      would[#would + 1] = name
    end
    assert.same(
      { "array.create_host", "array.map", "host.rescan", "clone.start", "undo", "undo", "undo", "undo", "undo" },
      would
    )
    assert.matches("Z copy: dry run status=done", ended.out)
    assert.matches("Z dry run: 4 effects, then their undo; nothing was changed", ended.out)
    local requests <const> = lab:requests_since(mark)
    assert.is_true(#requests > 10)
    for _, request in ipairs(requests) do
      assert.is_false(request.effect, request.method .. " " .. request.path)
    end
    assert.same(before, lab:snapshot())
  end)

  -- ---- trust and talk ----

  it("trusts by SSL_CERT_FILE, by thumbprints, or blindly when told to", function()
    local function dry_run(env)
      env.LUNALIFT_CA_FILE = env.LUNALIFT_CA_FILE or false
      local ended <const> = lab:populate { words = { "--dry-run" }, env = env }
      assert.equal(0, ended.code, ended.err)
    end
    dry_run { SSL_CERT_FILE = lab.site.ca_file }
    dry_run {
      LUNALIFT_VSPHERE_THUMBPRINT = lab.site.vcenter.thumbprint,
      LUNALIFT_STORAGE_THUMBPRINT = lab.site.arrays[1].thumbprint,
    }
    dry_run { GOVMOMI_INSECURE = "true", STORAGE_SKIP_SSL_VERIFICATION = "true" }
  end)

  it("trusts by the variable cacert, beside SSL_CERT_FILE", function()
    local ours <const> = assert(fs.read(lab.site.ca_file))
    local another <const> = assert(certificate.ca { cn = "another" }).cert
    for _, env in ipairs { { cacert = ours }, { cacert = another, SSL_CERT_FILE = lab.site.ca_file } } do
      env.LUNALIFT_CA_FILE = false
      local ended <const> = lab:populate { words = { "--dry-run" }, env = env }
      assert.equal(0, ended.code, ended.err)
    end
    local ended <const> = lab:populate { words = { "--dry-run" }, env = { cacert = another, LUNALIFT_CA_FILE = false } }
    assert.matches("certificate", ended.err)
    assert.equal(2, ended.code)
  end)

  it("logs for debugging upon -v in klog's ways, and not upon -v=0", function()
    for words, is_said in pairs { ["-v"] = true, ["-v=2"] = true, ["--v 2"] = true, ["-v=0"] = false } do
      local list <const> = { "--dry-run" }
      for word in words:gmatch "%S+" do
        list[#list + 1] = word
      end
      local ended <const> = lab:populate { words = list }
      assert.equal(0, ended.code, ended.err)
      assert.equal(is_said, ended.err:find(" debug vsphere Login", 1, true) ~= nil, words)
      lab:assert_no_secret(ended.err)
    end
  end)

  it("says that the claim was deleted meanwhile", function()
    local doomed <const> = lab:claim "vm-58-disk-1"
    lab:host("vmkfstools", { rate = 4194304, xcopy = 1 })
    local run <const> = lab:start_populate { claim = doomed.name }
    labs.wait_until(20, "a writer", function() return lab:state().hosts[1].writers[1] end)
    assert(lab.kube:delete(("/api/v1/namespaces/%s/persistentvolumeclaims/%s"):format(doomed.namespace, doomed.name)))
    local ended <const> = run:wait()
    assert.equal(0, ended.code, ended.err)
    assert.matches("warning: claim move/vm%-58%-disk%-1 was deleted meanwhile: volume %S+ may go with it", ended.out)
  end)
end)
