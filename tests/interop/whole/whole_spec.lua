--- The real program between VMware's vCenter simulator and a real Kubernetes API, as service account `populator`.
local clusters <const> = require "support.cluster"
local fs <const> = require "lunalift.fs"
local json <const> = require "lunalift.json"
local lab_site <const> = require "support.lab_site"
local process <const> = require "lunalift.process"

describe("between two peers", function()
  local cluster, lab, vcsim, pvc, claim, config

  -- Let vcsim stand where the lab's vCenter stood: its address, its authority, its ids of the same VMs.
  local function move_to(found)
    local site <const> = lab.site
    local both <const> = lab.dir .. "/both.pem"
    assert(fs.write(both, assert(fs.read(site.ca_file)) .. assert(fs.read(found.ca_file))))
    site.vcenter.host, site.ca_file = found.host, both
    for _, vm in ipairs(site.vms) do
      for _, there in ipairs(found.vms) do
        if there.lab == vm.moref then vm.moref = there.moref end
      end
    end
  end

  setup(function()
    cluster, lab = clusters.start(), lab_site.start()
    vcsim = assert(process.start {
      argv = { os.getenv "LUNALIFT_VCSIM", lab.dir .. "/site/site.json", lab.dir .. "/vcsim", "vcenter" },
    })
    local text <const> = lab_site.wait_until(60, function() return fs.read(lab.dir .. "/vcsim/vcsim.json") end)
    move_to(assert(json.decode(text)))
    config = cluster:write_kubeconfig("populator", cluster:token(cluster.populator, 3600))
    pvc = lab.site.pvcs[2]
    claim = cluster:adopt(lab, pvc)
  end)

  teardown(function()
    if vcsim then
      vcsim:kill "TERM"
      vcsim:wait()
    end
    if lab then lab:stop() end
    if cluster then cluster:stop() end
  end)

  it("a claim is filled, and its volume handed over", function()
    local flags <const> = { "--journal=lease", "--owner-uid=" .. claim.uid }
    local ended <const> = lab:populate(pvc, flags, { KUBECONFIG = config, HOSTNAME = "populate-" .. claim.uid }):wait()
    assert.equal(0, ended.code, ended.out .. ended.err)
    assert.matches("VMware vCenter Server 6.5.0", ended.out, 1, true)
    assert.is_true(lab:is_copied(pvc))
    assert.equal("", lab:leftovers(pvc))
    cluster:rebind(claim)
  end)
end)
