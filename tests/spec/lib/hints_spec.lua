local fail <const> = require "lib.fail"
local hints <const> = require "lib.hints"

-- Every failure that users are known to meet (upstream's weaknesses, what its users met, prerequisites on hosts), and the row that
-- answers it.
local KNOWN <const> = {
  -- trust and logins
  ["a certificate that nobody vouches for"] = "certificate not trusted",
  ["a certificate of another name"] = "certificate of another name",
  ["certificates not verified at all"] = "certificate not verified",
  ["a wrong password of vCenter"] = "login refused",
  ["a role without a privilege of the documented ones"] = "privileges missing",
  -- SSH
  ["SSH keys that are not installed"] = "ssh key refused",
  ["a key that is not tied to the wrapper, or to an old one"] = "ssh key not tied",
  ["a line of the key that is for another version"] = "ssh line outdated",
  ["host keys that nobody checks"] = "ssh host unknown",
  ["another machine at the host's address"] = "ssh host changed",
  ["a host whose SSH service is off"] = "ssh off",
  ["a host in lockdown mode"] = "ssh in lockdown",
  ["SSH to a host with vSAN alone"] = "ssh without datastore",
  -- the cluster
  ["owner name or namespace not right"] = "claim missing",
  ["the volume name is not found on the prime volume claim"] = "claim not bound",
  ["a claim that was made anew"] = "claim made anew",
  ["a volume without CSI crashes"] = "volume without csi",
  ["a storage class of another vendor"] = "volume of another driver",
  ["a claim of volume mode Filesystem"] = "claim of files",
  ["a LUN smaller than the disk, found by the clone's failure"] = "volume too small",
  ["a volume that holds the source's datastore"] = "volume holds datastore",
  ["a stale map of a dead run"] = "volume mapped already",
  ["a cluster that is not the kubeconfig's"] = "cluster not trusted",
  ["RBAC in one namespace only"] = "permission missing",
  ["two populators of one volume"] = "journal held",
  ["what a killed run left"] = "journal left",
  -- VM and disk
  ["a VM that is not found"] = "vm missing",
  ["a disk that is not found, taken for a plain one"] = "disk missing",
  ["a VM that is disconnected"] = "vm without host",
  ["a VM that is on, its RDM copied by the array"] = "vm on, array copies",
  ["a VM that is on: disk locked"] = "vm on",
  ["a warm base disk below a snapshot"] = "below a snapshot",
  ["a delta of a snapshot chain"] = "disk of a snapshot",
  ["a disk that another VM has open"] = "disk in use elsewhere",
  ["a second clone of one disk"] = "disk being copied",
  ["a source that the migration host does not see"] = "disk not on host",
  ["a disk that was resized"] = "disk changed",
  ["a datastore that is gone"] = "datastore not accessible",
  ["a datastore on another array, NFS or vSAN"] = "not offloaded",
  -- hosts
  ["a migration host that is not found"] = "host missing",
  ["a host that is disconnected"] = "host away",
  ["a host in maintenance mode"] = "host in maintenance mode",
  ["a migration host without the datastore"] = "host without datastore",
  ["the VIB missing, found only after mapping and rescan"] = "vib missing",
  ["a wrapper without a way to stop a clone"] = "wrapper of upstream",
  ["HARDWARE_ACCELERATED_MOVE off"] = "xcopy off",
  ["MaxHWTransferSize at its default"] = "xcopy small",
  ["failed clone counters"] = "xcopy failed",
  ["an array without a VAAI claim rule"] = "no claim rule",
  ["a switch with a smaller MTU between host and array"] = "frames lost",
  ["an iSCSI portal that answers no ping"] = "portal silent",
  ["many clones that meet the memory limit of hostd-tmp"] = "memory low",
  ["a host without datastores on LUNs"] = "no VMFS on arrays",
  ["a device without VAAI clone"] = "no vaai clone",
  ["no login to the array's ports"] = "not logged in",
  ["no port of the array up"] = "array without ports",
  ["a host without a SAN adapter"] = "no adapter",
  ["some paths dead"] = "paths dead",
  ["all paths dead"] = "no path",
  ["Disk.MaxLUN below the default"] = "lun numbers low",
  ["a LUN number beyond Disk.MaxLUN"] = "lun number too high",
  ["a device never listed"] = "device not visible",
  ["a datastore that is full"] = "datastore full",
  ["a disk on NFS, and no VMFS on the host"] = "no vmfs for descriptor",
  ["a ramdisk /tmp that is full"] = "tmp full",
  ["more than two clones on a host"] = "slots taken",
  -- the copy
  ["a disk locked by another host"] = "disk locked",
  ["no space while it copies"] = "no space on host",
  ["device lock conflicts"] = "device busy",
  ["vmkfstools failed"] = "clone failed",
  ["a clone that hangs is polled for ever"] = "copy stands still",
  ["an RDM or vVol copy that failed is called done"] = "array's copy failed",
  ["a second writer on the LUN"] = "device has a writer",
  ["a clone that outlives its populator"] = "writer may live",
  ["bytes that differ"] = "copy differs",
  -- bringing the VIB to hosts
  ["an upgrade while clones run"] = "clones run",
  ["a host that does not tell what runs there"] = "clones unknown",
  ["the key for copies, which runs no other command"] = "ssh key tied",
  ["no room for the VIB in /tmp"] = "vib without room",
  ["Secure Boot, or a stricter acceptance level"] = "vib refused",
  ["esxcli that installs nothing"] = "vib not installed",
  ["a success though the namespace is missing"] = "vib not effective",
  ["hostd that does not come back"] = "hostd away",
  ["hostd that does not run"] = "esxcli silent",
  ["a host that vCenter does not see again"] = "host not reconnected",
  ["a datastore of another name"] = "datastore missing",
  ["a datastore that nobody mounts"] = "datastore without hosts",
  ["success without a copy"] = "no evidence",
}

-- What users of ONTAP meet: the vendor's script says it, and the vendor's page what to do.
local OF_ONTAP <const> = {
  "user name or password refused",
  "cannot derive SVM",
  "the account sees",
  "no LUN",
  "is not a SCSI LUN",
  "an igroup", -- that can hold no initiator of the host
  "5374573", -- no interface of that protocol
  "1254193", -- seen already, through another igroup
  "5374732", -- the initiator is in an igroup of another OS type
}

local function content(path)
  local file <const> = assert(io.open(path))
  local text <const> = file:read "a"
  file:close()
  return text
end

local function raising_files()
  local pipe <const> =
    assert(io.popen "cat scripts/lib/*.lua scripts/lib/checks/*.lua scripts/flows/*.lua scripts/cli/*.lua")
  local text <const> = pipe:read "a"
  pipe:close()
  return text
end

describe("the table of hints", function()
  local by_name <const> = {}
  for _, row in ipairs(hints.ROWS) do
    by_name[row.name] = row
  end

  it("answers every failure that users are known to meet, and nothing that nobody meets", function()
    local met <const> = {}
    for failure, name in pairs(KNOWN) do
      assert.is_table(by_name[name], failure)
      met[name] = true
    end
    for name in pairs(by_name) do
      assert.is_true(met[name], name .. " answers nothing on the list")
    end
  end)

  it("is used: each row is raised or said by its name, or knows a peer's words", function()
    local text <const> = raising_files()
    for name, row in pairs(by_name) do
      local is_raised <const> = text:find(('hints%%.%%l+%%(?%%s*"%s"'):format((name:gsub("%p", "%%%0")))) ~= nil
      assert.is_true(row.pattern ~= nil or is_raised, name)
    end
  end)

  it("leaves to a vendor's script what only its array says, and its page explains that", function()
    local script <const> = content "scripts/vendors/ontap.lua" .. content "scripts/lib/rest.lua"
    local page <const> = content "docs/vendors/ontap.md"
    for _, words in ipairs(OF_ONTAP) do
      assert.is_truthy(script:find(words, 1, true), words .. " in the script")
      assert.is_truthy(page:find(words, 1, true), words .. " in the page")
    end
  end)

  it("says what, why and what to do in every row, and is of a kind when it is raised", function()
    for _, row in ipairs(hints.ROWS) do
      for _, field in ipairs { "name", "about", "message", "why", "fix" } do
        assert.is_true((row[field] or "") ~= "", row.name .. " has no " .. field)
      end
      assert.is_true(row.kind == nil or fail.KINDS[row.kind], row.name)
      assert.is_nil(row.pattern and row.fix:match "{%w+}", row.name) -- nobody fills it
      assert.is_true(row.pattern == nil or row.message:find(row.pattern) ~= nil, row.name)
    end
  end)

  it("fills in what is known, and takes a value that is missing for a mistake", function()
    local why <const> = hints.new("host away", { host = "esx 100%", state = "notResponding" })
    assert.same({ "unreachable", "host esx 100% is notResponding" }, { why.kind, why.message })
    assert.matches("reconnect it in vCenter", why.hint)
    local done <const>, bug <const> = pcall(hints.new, "host away", { host = "esx" })
    assert.same({ false, "bug" }, { done, bug.kind })
    assert.equal("bug", select(2, pcall(hints.new, "no such row")).kind)
  end)

  it("knows the words of others, down to the cause, and leaves a hint that is there", function()
    local cause <const> = fail.new("failed", "Failed to lock the file (16392).")
    local why <const> = fail.wrap(cause, "the clone ended with exit code 1")
    assert.matches("vmkfstools %-D FILE", hints.explain(why).hint)
    local told <const> = fail.hint(fail.wrap(cause, "again"), "mine")
    assert.equal("mine", hints.explain(told).hint)
    assert.is_nil(hints.explain(fail.new("failed", "nobody knows this")).hint)
  end)
end)
