local disks <const> = require "lab.disks"
local files <const> = require "lab.files"
local fs <const> = require "lunalift.fs"
local process <const> = require "lunalift.process"

local BLOCK <const> = 65536
local SIZE <const> = 16 * BLOCK
local DEVICE <const> = "/vmfs/devices/disks/naa.1"

describe("the stand-in for ESXi's vmkfstools", function()
  local root, source

  before_each(function()
    root = process.run({ argv = { "mktemp", "-d" } }).out:match "%S+"
    for _, folder in ipairs { "etc", "vmfs/devices/disks", "var/lab/writers", "var/lab/stats" } do
      files.mkdirs(root .. "/" .. folder)
    end
    fs.truncate(root .. DEVICE, SIZE)
    local datastore <const> = { name = "ds1", moref = "datastore-1", folder = root .. "/vmfs/volumes/ds1" }
    files.mkdirs(datastore.folder)
    source = disks.make(datastore, "vm/d.vmdk", { size_bytes = SIZE, seed = 1, key = 2000 })
  end)

  after_each(function() process.run { argv = { "rm", "-rf", root } } end)

  local function clone(settings)
    fs.write(root .. "/etc/lab-vmkfstools", settings)
    local disk <const> = "/vmfs/volumes/ds1/vm/d.vmdk"
    local argv <const> =
      { "busybox", "sh", "scripts/lab/esxi/vmkfstools", "-i", disk, "-d", "rdm:" .. DEVICE, disk .. "-rdmdisk-1" }
    return process.run { argv = argv, env = { LUNALIFT_ESXI_ROOT = root, PATH = os.getenv "PATH" } }
  end

  --- Numbers of the target's blocks that are not the source's.
  local function wrong_blocks()
    local from <const>, to <const> = fs.read(source.flat), fs.read(root .. DEVICE)
    local wrong <const> = {}
    for at = 1, SIZE, BLOCK do
      local till <const> = at + BLOCK - 1
      if from:sub(at, till) ~= to:sub(at, till) then wrong[#wrong + 1] = at // BLOCK end
    end
    return wrong
  end

  it("copies every byte", function()
    local ended <const> = clone ""
    assert.equal(0, ended.code)
    assert.matches("Clone: 100%% done", ended.out)
    assert.same({}, wrong_blocks())
  end)

  it("ends well without a byte when silent", function()
    local ended <const> = clone "silent='1'\n"
    assert.equal(0, ended.code)
    assert.equal(16, #wrong_blocks())
  end)

  it("ends well with one wrong block when it corrupts", function()
    local ended <const> = clone(("corrupt_at='%d'\n"):format(7 * BLOCK + 4096))
    assert.equal(0, ended.code)
    assert.matches("Clone: 100%% done", ended.out)
    assert.same({ 7 }, wrong_blocks())
  end)
end)
