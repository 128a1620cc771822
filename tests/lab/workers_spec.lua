--- The volume is shown to worker nodes, too: theirs is the CSI driver's to make and to take, before, during and after a copy.
local http <const> = require "lunalift.http"
local json <const> = require "lunalift.json"
local labs <const> = require "support.lab"
local secret <const> = require "lunalift.secret"

local GROUPS <const>, MAPS <const> = "/api/protocols/san/igroups", "/api/protocols/san/lun-maps"

describe("a volume that workers see", function()
  local lab, claim, array, svm

  setup(function()
    lab = labs.start()
    claim = lab:claim "vm-58-disk-1"
    local about <const> = lab.site.arrays[1]
    svm = { name = about.svm }
    array = http.client {
      base = "https://" .. about.host,
      username = about.username,
      password = secret.new(about.password),
      tls = { ca_file = lab.site.ca_file },
    }
    for _, node in ipairs { "worker-1", "worker-2" } do
      local initiators <const> = json.array { { name = "iqn.2004-10.com.ubuntu:" .. node } }
      local body <const> = { name = node, protocol = "iscsi", os_type = "linux", svm = svm, initiators = initiators }
      assert(array:post(GROUPS, { json = body }))
    end
  end)

  teardown(function() lab:stop() end)

  local function lun()
    for _, each in ipairs(lab:state().ontap.luns) do
      if each.naa == claim.naa then return each end
    end
  end

  local function show(node)
    assert(array:post(MAPS, { json = { svm = svm, igroup = { name = node }, lun = { name = lun().path } } }))
  end

  local function hide(node)
    local query <const> = { ["lun.name"] = lun().path, ["igroup.name"] = node, ["svm.name"] = svm.name }
    local record <const> = assert(array:get(MAPS, { query = query })).json.records[1]
    assert(array:delete(("%s/%s/%s"):format(MAPS, record.lun.uuid, record.igroup.uuid)))
  end

  local function seen_by()
    local names <const> = {}
    for i, map in ipairs(lun().maps) do
      names[i] = map.igroup
    end
    table.sort(names)
    return names
  end

  after_each(function()
    lab:host("vmkfstools", {})
    for _, node in ipairs(seen_by()) do
      hide(node)
    end
  end)

  it("stays with them", function()
    show "worker-1"
    local ended <const> = lab:populate { claim = claim.name }
    assert.equal(0, ended.code, ended.err)
    assert.same({ "worker-1" }, seen_by())
  end)

  it("is not given back to one that it was taken from meanwhile, nor taken from one that it was given to", function()
    show "worker-1"
    lab:host("vmkfstools", { hang_at = 30 })
    local running <const> = lab:start_populate { claim = claim.name }
    labs.wait_until(20, "a writer", function() return #lab:state().hosts[1].writers == 1 end)
    hide "worker-1"
    show "worker-2"
    lab:host("vmkfstools", {})
    local ended <const> = running:wait()
    assert.equal(0, ended.code, ended.err)
    assert.same({ "worker-2" }, seen_by())
  end)

  it("stays with them when the copy is cancelled", function()
    show "worker-1"
    lab:host("vmkfstools", { hang_at = 30 })
    local running <const> = lab:start_populate { claim = claim.name }
    labs.wait_until(20, "a writer", function() return #lab:state().hosts[1].writers == 1 end)
    running:kill "TERM"
    assert.equal(4, running:wait().code)
    assert.same({ "worker-1" }, seen_by())
  end)
end)
