--- Whole runs on each array that the lab has beside ONTAP, on which all other specs run: copied, killed and run again, logged out of
--- while the copy runs. A row is an array, with what it needs of the site.
local fs <const> = require "lunalift.fs"
local labs <const> = require "support.lab"
local process <const> = require "lunalift.process"

local SCINI <const> =
  { device = "vmhba67", kind = "sdc", driver = "scini", model = "scini", guid = "9E56672F-2F4B-4A42-BFF4-88B6846FBFDA" }

local FC <const> = {
  device = "vmhba2",
  kind = "fc",
  driver = "qlnativefc",
  model = "QLE2772",
  wwnn = "20000025b5000a01",
  wwpn = "a1000025b5000a02",
}
local VSP_LOGIN <const> = "/ConfigurationManager/v1/objects/storages/934000612345/sessions"

---@class arrays_spec.Row
---@field about string
---@field product string
---@field settings table
---@field hbas lab.Hba[]
---@field login string path of its request
---@field copies? string disks that are volumes themselves, without a host; paths at which it is asked after that
---@field raw? "rdm"|"vvol" what such a disk is; rdm
---@field is_new? boolean as `vendor new` makes it

---@type arrays_spec.Row[]
local ARRAYS <const> = {
  { about = "PowerFlex 3.6", product = "powerflex", settings = {}, hbas = { SCINI }, login = "/api/login" },
  {
    about = "PowerFlex 4.5",
    product = "powerflex",
    settings = { version = "4.5.0", no_gateway_login = true },
    hbas = { SCINI },
    login = "/rest/auth/login",
  },
  { about = "a Hitachi VSP over iSCSI", product = "vantara", settings = {}, hbas = {}, login = VSP_LOGIN },
  {
    about = "a Hitachi VSP over FC",
    product = "vantara",
    settings = { data_reduction = "compression" },
    hbas = { FC },
    login = VSP_LOGIN,
    copies = "/snapshots$",
  },
  {
    about = "a 3PAR that knows the hosts",
    product = "primera3par",
    settings = {},
    hbas = { FC },
    login = "/api/v1/credentials",
    copies = "/tasks/%d+$",
  },
  {
    about = "a Primera that knows no hosts",
    product = "primera3par",
    settings = { build = 40000128, is_registered = false, tells_progress = false },
    hbas = { FC },
    login = "/api/v1/credentials",
    copies = "/tasks/%d+$",
    raw = "vvol",
  },
  {
    about = "an array whose vendor is new",
    product = "acme",
    settings = {},
    hbas = { FC },
    login = "/api/v1/login",
    copies = "/copies/[%x-]+$",
    raw = "vvol",
    is_new = true,
  },
}

-- A folder of scripts with both halves of a new vendor.
local function new_vendor(product)
  local folder <const> = process.run({ argv = { "mktemp", "-d" } }).out:match "%S+" .. "/my scripts"
  assert.equal(0, process.run({ argv = { labs.QUICK_BIN, "vendor", "new", product, "--dir", folder } }).code)
  return folder
end

local WITHIN_S <const> = 20

for _, array in ipairs(ARRAYS) do
  describe("populate on " .. array.about, function()
    local lab, claim, before, scripts

    setup(function()
      scripts = array.is_new and new_vendor(array.product) or nil
      local scenario <const> = labs.small()
      local hbas <const> = scenario.datacenters[1].hosts[1].hbas
      table.move(array.hbas, 1, #array.hbas, #hbas + 1, hbas)
      scenario.array, scenario[array.product] = array.product, array.settings
      scenario.datacenters[1].vms[2].disks[1][array.raw or "rdm"] = array.copies ~= nil
      lab = labs.start(scenario, labs.QUICK_BIN, scripts)
      claim = lab:claim "vm-57-disk-1"
      before = lab:snapshot()
    end)

    teardown(function()
      lab:stop()
      if scripts then process.run { argv = { "rm", "-rf", scripts .. "/.." } } end
    end)

    local function assert_copied(ended, other)
      local filled <const> = other or claim
      assert.equal(0, ended.code, ended.err .. ended.out)
      assert.matches(other and "says done" or "equal on both ends", ended.out)
      assert.equal(labs.sha256(lab:source_of(filled)), labs.sha256(filled.lun_path))
      assert.same(before, lab:snapshot())
      lab:assert_no_secret(ended.out .. ended.err)
    end

    local function count(mark, suits)
      local n = 0
      for _, request in ipairs(lab:requests_since(mark)) do
        if suits(request) then n = n + 1 end
      end
      return n
    end

    local function is_start(request) return request.target == "vmkfstools.clone" and request.service == "vcenter" end
    local function is_login(request) return request.service == array.product and request.path == array.login end

    -- A run whose copy stands still at its half.
    local function start_halfway()
      lab:host("vmkfstools", { hang_at = 50 })
      local run <const> = lab:start_populate()
      labs.wait_until(WITHIN_S, "a writer", function() return #lab:state().hosts[1].writers > 0 end)
      return run
    end

    -- The logins of a dead run.
    local function expire_all()
      lab.control:post "/sessions/expire"
      lab.control:post "/array/expire"
    end

    it("copies, and leaves nothing", function()
      local ended <const> = lab:populate { words = { "--require-offload" } }
      assert_copied(ended)
      assert.matches(", offloaded", ended.out)
      if scripts then
        local path <const> = ("%s/vendors/%s.lua"):format(scripts, array.product)
        local said <const> = ("vendor %s (%s, sha256 %s)"):format(array.product, path, labs.sha256(path):sub(1, 12))
        assert.is_truthy(ended.out:find(said, 1, true), ended.out)
        local listed <const> = lab:populate({ argv = { "vendor", "list" } }).out:match "acme [^\n]*"
        assert.is_truthy(listed:find(path, 1, true) and listed:find(labs.sha256(path):sub(1, 12), 1, true), listed)
      end
    end)

    it("is killed, and run again adopts the copy", function()
      local mark <const> = lab:mark()
      local run <const> = start_halfway()
      run:kill "KILL"
      run:wait()
      expire_all()
      lab:host("vmkfstools", {})
      assert_copied(lab:populate())
      assert.equal(1, count(mark, is_start))
    end)

    it("logs in once more when the array has forgotten the session during the copy", function()
      local mark <const> = lab:mark()
      local run <const> = start_halfway()
      lab.control:post "/array/expire"
      lab:host("vmkfstools", {})
      assert_copied(run:wait())
      assert.equal(2, count(mark, is_login))
    end)

    local function refused(env, texts)
      local ended <const> = lab:populate { env = env }
      assert.equal(2, ended.code, ended.err .. ended.out)
      for _, text in ipairs(texts) do
        assert.is_truthy(ended.err:find(text, 1, true), ("%q is not in: %s"):format(text, ended.err))
      end
      assert.same(before, lab:snapshot())
      lab:assert_no_secret(ended.out .. ended.err)
    end

    it("is refused with a wrong password, which is tried once", function()
      local mark <const> = lab:mark()
      refused({ STORAGE_PASSWORD = "Wr0ng!" }, { "refused", "STORAGE_PASSWORD" })
      assert.equal(1, count(mark, is_login))
    end)

    it("is refused where nobody vouches for the array's certificate, and shows it", function()
      local env <const> = { LUNALIFT_CA_FILE = false, LUNALIFT_VSPHERE_THUMBPRINT = lab.site.vcenter.thumbprint }
      refused(env, { "certificate not trusted: unknown issuer", lab.site.arrays[1].thumbprint, "--storage-thumbprint" })
    end)

    if not array.copies then return end

    describe("copies a raw device itself,", function()
      local raw

      local function pace(settings) assert(lab.control:post("/copier", { json = settings })) end

      before_each(function()
        raw = lab:claim "vm-58-disk-1"
        assert(fs.fill(raw.lun_path, { size = raw.size_bytes, seed = 9 }))
      end)

      after_each(function() pace {} end)

      it("and leaves nothing", function()
        pace { rate = 8 << 20 }
        local ended <const> = lab:populate { claim = raw.name }
        assert.matches("by itself, from its volume", ended.out, 1, true)
        assert_copied(ended, raw)
      end)

      it("tells why when that fails, and leaves nothing of it", function()
        pace { fail_at = 50 }
        local ended <const> = lab:populate { claim = raw.name }
        assert.equal(1, ended.code, ended.err .. ended.out)
        assert.matches("the copy inside .* failed: ", ended.err)
        assert.same(before, lab:snapshot())
      end)

      it("is killed, and run again adopts the copy", function()
        pace { hang_at = 50 }
        local mark <const> = lab:mark()
        local run <const> = lab:start_populate { claim = raw.name }
        labs.wait_until(WITHIN_S, "progress", function()
          return count(mark, function(request) return request.path:find(array.copies) and request.acted end) > 2
        end)
        run:kill "KILL"
        run:wait()
        expire_all()
        pace {}
        local ended <const> = lab:populate { claim = raw.name }
        assert.matches("clone .* goes on", ended.out)
        assert_copied(ended, raw)
      end)
    end)
  end)
end
