local fs <const> = require "lunalift.fs"
local json <const> = require "lunalift.json"
local lab_site <const> = require "support.lab_site"

local HOST <const> = "host-21"
local SLOW <const>, FAST <const> = { rate = 4 << 20, xcopy = 1 }, { rate = 0, xcopy = 1 }

describe("lunalift reap --scan", function()
  local lab, peer, pvc, journal, folder

  setup(function()
    lab = lab_site.start()
    peer = ("xcopy-%s-%s-fcp"):format(HOST, lab.site.vcenter.uuid:sub(1, 8))
    pvc = lab.site.pvcs[2]
    journal = lab.dir .. "/journal.json"
    folder = lab.site.vms[1].disks[1].flat_path:match "^(.*)/"
  end)

  teardown(function() lab:stop() end)

  before_each(function() lab:vmkfstools(HOST, FAST) end)

  local function reap(...)
    local ended <const> = lab:run { "reap", "--scan", "-o", "json", ... }
    local found <const> = ended.out ~= "" and json.decode(ended.out) or { items = {} }
    local by_kind <const> = {}
    for _, item in ipairs(found.items) do
      by_kind[item.kind] = by_kind[item.kind] or item
    end
    return ended.code, by_kind, found.items, ended.err
  end

  -- A run whose journal nobody here knows, killed while its clone writes.
  local function killed()
    lab:vmkfstools(HOST, SLOW)
    local run <const> = lab:populate(pvc, { "--journal=file:" .. journal })
    lab:wait_for_writer(HOST)
    run:kill "KILL"
    run:wait()
  end

  local function reboot() assert(lab.control:post("/host/" .. HOST .. "/reboot", { json = {} })) end

  local function descriptors()
    local names <const> = {}
    for _, name in ipairs(assert(fs.list(folder))) do
      if name:find "rdmdisk" then names[#names + 1] = name end
    end
    return names
  end

  -- As an administrator would: by name.
  local function tidy(...)
    local code, _, items, why = reap("--apply", "--assume-dead", table.concat({ ... }, ","))
    assert.equal(0, code, json.encode(items) .. why)
    assert.equal("", lab:leftovers(pvc))
  end

  it("touches nothing to which a clone writes, whatever the user says", function()
    killed()
    fs.remove(journal)
    local code, found, items = reap("--apply", "--assume-dead", pvc.naa)
    assert.equal(5, code)
    assert.same({ "kept", "kept", "kept" }, { items[1].outcome, items[2].outcome, items[3].outcome })
    assert.equal("a clone writes to it", found.map.why)
    assert.equal(1, #lab:host_state(HOST).writers)
    lab:vmkfstools(HOST, FAST)
    lab:wait_for_no_writer(HOST)
    code, found = reap("--apply", "--assume-dead", pvc.naa .. "," .. peer)
    assert.equal(5, code)
    assert.matches("it ended lately", found.task.why)
    assert.same({ "settled", "settled" }, { found.map.outcome, found["host object"].outcome })
    lab:forget_tasks()
    assert.equal("", lab:leftovers(pvc))
  end)

  it("finds the RDM descriptor of a clone that a rebooted host has forgotten, and deletes both its files", function()
    killed()
    local _, running <const> = reap "--apply"
    assert.same({ "kept", "it runs" }, { running.task.outcome, running.task.why })
    assert.is_nil(running.descriptor) -- it goes with its task
    reboot()
    local code <const>, found = reap()
    assert.equal(5, code)
    assert.is_nil(found.task)
    assert.matches("^%[ds 1%] web & söhne/lunalift%-rdmdisk%-%x+%-[%x-]+%.vmdk$", found.descriptor.about)
    assert.equal(2, #descriptors())
    _, found = reap "--apply"
    assert.equal("settled", found.descriptor.outcome)
    assert.same({}, descriptors())
    tidy(pvc.naa, peer)
    fs.remove(journal)
  end)

  it("finds it as well at the top of a VMFS, where that of a disk on NFS lies", function()
    local kind <const> = folder:match "^(.*)/" .. "/.kind"
    assert(fs.write(kind, "NFS-1.00\n"))
    killed()
    fs.remove(kind)
    reboot()
    local _, found <const> = reap "--apply"
    assert.matches("^%[Daten & Söhne%] lunalift%-rdmdisk%-%x+%-[%x-]+%.vmdk$", found.descriptor.about)
    assert.equal("settled", found.descriptor.outcome)
    assert.is_nil((select(2, reap())).descriptor)
    tidy(pvc.naa, peer)
    fs.remove(journal)
  end)

  it("deletes nothing of that name that is no such descriptor, and nothing of upstream's", function()
    local ours <const> = folder .. "/lunalift-rdmdisk-11111111-1111-4111-8111-111111111111.vmdk"
    local theirs <const> = folder .. "/o'db.vmdk-rdmdisk-4711"
    assert(fs.write(ours, 'createType="vmfs"\nRW 2048 VMFS "web-flat.vmdk"\n'))
    assert(fs.write(theirs, 'createType="vmfsRawDeviceMap"\nRW 2048 VMFSRDM "x-rdm.vmdk"\n'))
    local code <const>, _, items = reap("--apply", "--assume-dead", "11111111-1111-4111-8111-111111111111")
    assert.equal(5, code)
    assert.same({ "kept", "kept" }, { items[1].outcome, items[2].outcome })
    assert.equal("it is no RDM descriptor of a clone", items[1].why)
    assert.is_nil(items[1].command)
    assert.equal([[vmkfstools -U '/vmfs/volumes/ds 1/web & söhne/o'\''db.vmdk-rdmdisk-4711']], items[2].command)
    assert.equal(2, #descriptors())
    assert(fs.remove(ours))
    assert(fs.remove(theirs))
  end)

  it("deletes no descriptor while a host that mounts its datastore cannot be asked", function()
    killed()
    reboot()
    fs.remove(journal)
    assert(lab.control:post("/host/host-22/wrapper", { json = { variant = "upstream" } }))
    local _, found <const> = reap "--apply"
    assert.matches("the wrapper on esx%-02.lab.example lists no tasks", found.descriptor.why)
    assert.equal(2, #descriptors())
    assert(lab.control:post("/host/host-22/wrapper", { json = { variant = "lunalift" } }))
    tidy(pvc.naa, peer)
  end)

  it("takes nothing from a run that has mapped its LUN and not yet started its clone", function()
    local wait <const> =
      { service = "vcenter", match = { target = "vmkfstools.clone" }, action = "status:503", times = 0 }
    assert(lab.control:post("/faults", { json = json.array { wait } }))
    local run <const> = lab:populate(pvc, { "--journal=file:" .. journal })
    lab_site.wait_until(30, function()
      local device <const> = lab:host_state(HOST).devices[pvc.naa]
      return device and device.status == "on"
    end)
    local _, found = reap "--apply"
    assert.equal("kept", found.map.outcome)
    assert.equal("lunalift reap --scan --apply --assume-dead " .. pvc.naa, found.map.command)
    assert.equal("kept", found["host object"].outcome)
    -- nor may the user take it from a run whose journal is known
    _, found = reap("--apply", "--journal=file:" .. journal, "--assume-dead", pvc.naa .. "," .. peer)
    assert.same({ "live", "live" }, { found.map.state, found["host object"].state })
    assert(lab.control:post("/faults", { json = json.array {} }))
    local ended <const> = run:wait()
    assert.equal(0, ended.code, ended.err)
    assert.is_true(lab:is_copied(pvc))
    assert.equal("", lab:leftovers(pvc))
  end)

  it("takes nothing from upstream's populator, which leaves no mark but the same names", function()
    assert(lab.control:post("/host/" .. HOST .. "/wrapper", { json = { variant = "upstream" } }))
    lab:populate(pvc, { "--journal=file:" .. journal }, { LUNALIFT_TEST_CRASH = "after:3" }):wait()
    fs.remove(journal)
    local code <const>, found <const> = reap "--apply"
    assert.equal(5, code)
    assert.same({ "kept", "kept" }, { found.map.outcome, found["host object"].outcome })
    assert.matches("nor can this host tell whether a clone writes to it", found.map.why)
    assert.not_equal("", lab:leftovers(pvc))
    assert(lab.control:post("/host/" .. HOST .. "/wrapper", { json = { variant = "lunalift" } }))
    tidy(pvc.naa, peer)
  end)

  it("refuses names that it has not found, and touches nothing then", function()
    local code <const>, _, _, why = reap("--apply", "--assume-dead", "naa.none")
    assert.equal(2, code)
    assert.matches("nothing that could be put back so is called naa.none", why)
  end)

  it("says so when there is nothing", function()
    local ended <const> = lab:run { "reap", "--scan" }
    assert.same({ 0, "nothing is left\n" }, { ended.code, ended.out })
  end)
end)
