--- Whole runs that reach the host over SSH, and everything that keeps them from it.
local fs <const> = require "lunalift.fs"
local json <const> = require "lunalift.json"
local labs <const> = require "support.lab"

local KEYS <const> = "/etc/ssh/keys-root/authorized_keys"

describe("over SSH", function()
  local lab, claim, before

  setup(function()
    lab = labs.start({ esxi = { ssh = "lunalift", wrapper = "none", rescan_s = 0 } }, labs.QUICK_BIN)
    claim = lab:claim "vm-57-disk-1"
  end)

  teardown(function() lab:stop() end)

  local function is_filled() return labs.sha256(claim.lun_path) == labs.sha256(lab:source_of(claim)) end
  local function spoil() assert(fs.fill(claim.lun_path, { size = claim.size_bytes, seed = 9 })) end

  local function host(settings) return lab:host("ssh", settings).json end

  -- The names on the datastores of what the copies put there.
  local function scripts()
    local found <const> = {}
    for _, folder in ipairs(fs.list(lab.site.dir .. "/datastores")) do
      for _, name in ipairs(fs.list(("%s/datastores/%s"):format(lab.site.dir, folder))) do
        if name:find "wrapper" then found[#found + 1] = name end
      end
    end
    return found
  end

  local function forget_scripts()
    for _, folder in ipairs(fs.list(lab.site.dir .. "/datastores")) do
      for _, name in ipairs(scripts()) do
        fs.remove(("%s/datastores/%s/%s"):format(lab.site.dir, folder, name))
      end
    end
  end

  local function copies(options)
    spoil()
    local ended <const> = lab:populate(options)
    assert.equal(0, ended.code, ended.out .. ended.err)
    assert.is_true(is_filled())
    lab:assert_no_secret(ended.out .. ended.err)
    return ended
  end

  -- One that changes nothing, and says why and what to do.
  local function is_refused(code, text, fix, options)
    local mark <const> = lab:mark()
    options = options or {}
    options.flags = options.flags or { patience = "1" }
    local ended <const> = lab:populate(options)
    assert.equal(code, ended.code, ended.out .. ended.err)
    local said <const> = ended.err:gsub("%s+", " ")
    assert.is_truthy(said:find(text, 1, true), ended.err)
    assert.is_truthy(said:find(fix, 1, true), ended.err)
    lab:assert_no_secret(ended.err)
    assert.is_nil(said:find("PRIVATE KEY", 1, true))
    for _, request in ipairs(lab:requests_since(mark)) do
      assert.is_false(request.effect and request.service == "ontap", request.path)
    end
  end

  describe("a host without VIB", function()
    before_each(function() before = lab:snapshot() end)

    it("is not written to by a preflight or a dry run, which foresee the script", function()
      local ended = lab:populate { command = "preflight", words = { "-o", "json" } }
      local results <const> = {}
      for _, check in ipairs(json.decode(ended.out).checks) do
        results[check.name] = check
      end
      assert.equal("pass", results.wrapper.status, results.wrapper.text)
      assert.matches("which the first copy puts onto a datastore", results.wrapper.text, 1, true)
      ended = lab:populate { words = { "--dry-run" } }
      assert.equal(0, ended.code, ended.err)
      assert.same(before, lab:snapshot())
    end)

    it("gets the script onto a datastore, once, under the name of its digest, and copies disks of any name", function()
      copies()
      assert.equal(1, #scripts())
      assert.matches("^lunalift%-wrapper%-%x+$", scripts()[1])
      before = lab:snapshot()
      local mark <const> = lab:mark()
      copies()
      assert.same(before, lab:snapshot())
      for _, request in ipairs(lab:requests_since(mark, "vcenter")) do
        assert.is_nil(request.target and request.target:find "^vmkfstools", request.target)
      end
    end)

    it("runs no script that was changed, and gets it anew", function()
      local path <const> = ("%s/datastores/datastore-15/%s"):format(lab.site.dir, scripts()[1])
      local whole <const> = assert(fs.read(path))
      assert(fs.write(path, "touch /tmp/lunalift-was-here\n"))
      copies()
      assert.equal(whole, fs.read(path))
      assert.is_nil(fs.stat "/tmp/lunalift-was-here")
    end)

    it("puts the script again when it goes in the middle of a copy", function()
      local name <const> = scripts()[1]
      spoil()
      lab:host("vmkfstools", { rate = 4194304 })
      local run <const> = lab:start_populate()
      labs.wait_until(20, "the writer", function() return #lab:state().hosts[1].writers == 1 end)
      forget_scripts()
      local ended <const> = run:wait()
      lab:host("vmkfstools", {})
      assert.equal(0, ended.code, ended.out .. ended.err)
      assert.is_true(is_filled())
      assert.same({ name }, scripts())
    end)
  end)

  describe("a host with upstream's line for the key", function()
    setup(function()
      forget_scripts()
      host { line = "upstream" }
    end)
    teardown(function()
      forget_scripts()
      host { line = "lunalift" }
    end)

    it("gets the script where that looks for it, and copies", function()
      copies()
      assert.same({ "secure-vmkfstools-wrapper" }, scripts())
    end)

    it("keeps a script that is newer, and loses one that is older or broken", function()
      local path <const> = lab.site.dir .. "/datastores/datastore-15/secure-vmkfstools-wrapper"
      local ours <const> = assert(fs.read(path))
      local newer <const> = ours:gsub("\nVERSION=%S+", "\nVERSION=9.0.0")
      for text, expected in pairs { [newer] = newer, [ours:sub(1, 9000)] = ours, ["#!/bin/sh\n"] = ours } do
        assert(fs.write(path, text))
        copies()
        assert.equal(expected, fs.read(path))
      end
    end)
  end)

  describe("a host that does not let us in", function()
    after_each(function() host { line = "lunalift" } end)

    local function key_line() return fs.read(lab.site.hosts[1].root .. KEYS):match "^[^\n]+" end

    it("is told with the very line that its administrator has to add", function()
      host { line = "lunalift" }
      local line <const> = key_line()
      host { line = "none" }
      is_refused(2, "does not let " .. lab.site.ssh.LUNALIFT_SSH_USER .. " in with this key", line)
    end)

    it("is told when the key may do anything, or runs another version's script", function()
      host { line = "bare" }
      is_refused(2, "does not ask the wrapper", 'restrict,command="')
      host { line = "lunalift" }
      host { line = key_line():gsub(("%x"):rep(16) .. "+", string.reverse) }
      is_refused(2, "is for another version of the script", 'restrict,command="')
      forget_scripts()
    end)

    it("is told with its host key and the variable, when nobody has vouched for that", function()
      local env <const> = { LUNALIFT_SSH_FINGERPRINT = "SHA256:other" }
      is_refused(
        2,
        "shows a key that nobody has vouched for: " .. lab.site.ssh.LUNALIFT_SSH_FINGERPRINT,
        "LUNALIFT_SSH_FINGERPRINT",
        { env = env }
      )
    end)

    it("is refused loudly when its key is not the known one any more", function()
      local known <const> = lab.dir .. "/known_hosts"
      local key <const> = fs.read(lab.site.hosts[1].root .. "/etc/ssh/lab/host_key.pub")
      assert(fs.write(known, ("[127.0.0.1]:%s %s"):format(lab.site.ssh.LUNALIFT_SSH_PORT, key)))
      local env <const> = { LUNALIFT_SSH_FINGERPRINT = false, LUNALIFT_SSH_KNOWN_HOSTS = known }
      copies { env = env }
      local renewed <const> = host({ renew = true }).fingerprint
      is_refused(2, "shows another key than it had: " .. renewed, "ssh-keygen -R", { env = env })
      lab.site.ssh.LUNALIFT_SSH_FINGERPRINT = renewed
    end)

    it("is not believed when its key changes in the middle of a copy, whose writer is known to live", function()
      spoil()
      lab:host("vmkfstools", { hang_at = 50 })
      local run <const> = lab:start_populate { flags = { patience = "1" } }
      labs.wait_until(20, "the writer", function() return #lab:state().hosts[1].writers == 1 end)
      local renewed <const> = host({ renew = true }).fingerprint
      lab:faults { { service = "ssh", action = "drop" } }
      local ended <const> = run:wait()
      lab:faults {}
      assert.equal(5, ended.code, ended.out .. ended.err)
      assert.is_truthy(ended.err:find(renewed, 1, true), ended.err)
      assert.equal(1, #lab:state().hosts[1].writers)

      lab.site.ssh.LUNALIFT_SSH_FINGERPRINT = renewed
      lab:host("vmkfstools", {})
      local again <const> = lab:populate()
      assert.equal(0, again.code, again.out .. again.err)
      assert.is_true(is_filled())
    end)

    it("is told when it is in lockdown mode", function()
      host { line = "none", lockdown = "lockdownNormal" }
      is_refused(2, "is in lockdown mode", "exception users")
    end)

    it("is told when nobody listens", function()
      host { off = true }
      is_refused(3, "takes no SSH connection at 127.0.0.1", "vim-cmd hostsvc/start_ssh")
    end)
  end)
end)
