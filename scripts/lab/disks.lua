--- Makes files: VMDKs with bytes that a seed determines, and LUNs whose bytes are others.
local codec <const> = require "lunalift.codec"
local files <const> = require "lab.files"
local fs <const> = require "lunalift.fs"

---@class lab.disks
local M <const> = {}

local MIB <const> = 1048576
local SECTOR <const> = 512
local WHOLE_MIB <const> = 128 -- larger files stay mostly holes

local DESCRIPTOR <const> = [[
# Disk DescriptorFile
version=3
encoding="UTF-8"
CID=%s
parentCID=%s
createType="%s"
%s
# Extent description
RW %d %s "%s"

# The Disk Data Base
#DDB

ddb.adapterType = "lsilogic"
ddb.geometry.cylinders = "%d"
ddb.geometry.heads = "255"
ddb.geometry.sectors = "63"
ddb.thinProvisioned = "1"
ddb.uuid = "%s"
ddb.virtualHWVersion = "19"
]]

--- A UUID that follows from a text, so that the same scenario is the same site.
---@param text string
function M.uuid(text)
  local hex <const> = codec.sha256(text)
  return ("%s-%s-4%s-8%s-%s"):format(hex:sub(1, 8), hex:sub(9, 12), hex:sub(14, 16), hex:sub(18, 20), hex:sub(21, 32))
end

--- Bytes all over a small file; at the start, in the middle and at the end of a large one, unless `holes` is false.
---@param path string
---@param holes? boolean
function M.fill(path, size, seed, holes)
  assert(fs.truncate(path, size))
  if size <= WHOLE_MIB * MIB or holes == false then
    assert(fs.fill(path, { size = size, seed = seed }))
    return
  end
  for i, offset in ipairs { 0, size // 2 // MIB * MIB, size - 16 * MIB } do
    assert(fs.fill(path, { size = 16 * MIB, seed = seed + i, offset = offset }))
  end
end

-- What the descriptor calls the disk, and its extent.
local function words_of(disk)
  if disk.raw and disk.raw.naa then return "vmfsRawDeviceMap", "VMFSRDM" end
  if disk.parent then return "vmfsSparse", "VMFSSPARSE" end
  return "vmfs", "VMFS"
end

local function write_descriptor(path, disk)
  local create_type <const>, extent_type <const> = words_of(disk)
  local uuid <const> = disk.uuid:gsub("%-", ""):gsub("(..)", "%1 ", 15)
  local text <const> = DESCRIPTOR:format(
    disk.cid,
    disk.parent and disk.parent.cid or "ffffffff",
    create_type,
    disk.parent and ('parentFileNameHint="%s"\n'):format(disk.parent.path:match "[^/]+$") or "",
    disk.size_bytes // SECTOR,
    extent_type,
    disk.flat:match "[^/]+$",
    disk.size_bytes // (255 * 63 * SECTOR),
    uuid
  )
  assert(fs.write(path, text))
end

---@class lab.Raw the volume that a disk is
---@field path string
---@field naa? string of an RDM
---@field vvol? string

--- One VMDK: descriptor and extent. A delta's extent holds the whole disk as its reader sees it: the lab's vmkfstools knows no grains.
---@param datastore lab.Datastore
---@param file string "dir/name.vmdk"
---@param options { size_bytes: integer, seed: integer, key: integer, parent: lab.Disk?, holes: boolean?, raw: lab.Raw? }
---@return lab.Disk
function M.make(datastore, file, options)
  local path <const> = datastore.folder .. "/" .. file
  files.mkdirs(path:match "^(.*)/")
  local extent <const> = file:gsub("%.vmdk$", options.parent and "-delta.vmdk" or "-flat.vmdk")
  local disk <const> = {
    key = options.key,
    path = ("[%s] %s"):format(datastore.name, file),
    datastore = datastore,
    size_bytes = options.size_bytes,
    uuid = M.uuid(datastore.moref .. file),
    cid = codec.sha256(datastore.moref .. file):sub(1, 8),
    parent = options.parent,
    holes = options.holes,
    raw = options.raw,
    flat = datastore.folder .. "/" .. extent,
  }
  if disk.raw then
    assert(fs.symlink(disk.raw.path, disk.flat))
  else
    M.fill(disk.flat, disk.size_bytes, options.seed, options.holes)
  end
  write_descriptor(path, disk)
  disk.files = {
    { name = disk.path, type = "diskDescriptor", size = fs.stat(path).size },
    { name = ("[%s] %s"):format(datastore.name, extent), type = "diskExtent", size = disk.size_bytes },
  }
  return disk
end

--- The disks of a VM as a scenario describes them; `snapshot` puts a delta on top, `holes` = false leaves none in disk and volume.
---@param given { file: string, size_mib: integer, snapshot: boolean?, holes: boolean? }
---@param options { seed: integer, key: integer, raw: lab.Raw? }
---@return lab.Disk
function M.of_scenario(datastore, given, options)
  local size <const> = given.size_bytes or given.size_mib * MIB
  local base <const> = M.make(datastore, given.file, {
    size_bytes = size,
    seed = options.seed,
    key = options.key,
    holes = given.holes,
    raw = options.raw,
  })
  if not given.snapshot then return base end
  local file <const> = given.file:gsub("%.vmdk$", "-000001.vmdk")
  return M.make(datastore, file, { size_bytes = size, seed = options.seed + 500, key = options.key, parent = base })
end

return M
