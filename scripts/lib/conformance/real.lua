--- A real array as what a vendor script is tried on: two volumes that the user names and nobody uses, and a host object of made-up ports.
local contract <const> = require "lib.vendor_contract"
local fail <const> = require "lib.fail"
local json <const> = require "lunalift.json"
local list <const> = require "lib.list"
local words <const> = require "lib.words"

local M <const> = {}

---@class lib.RealRig : lib.Rig
local Rig <const> = {}
Rig.__index = Rig

-- Ports that no host has, by fabric. An SDC cannot be made up: the array knows its own.
local MADE_UP <const> = {
  iscsi = "iqn.1998-01.com.vmware:lunalift-vendor-test-%d:64",
  fc = "fc.2000f0f0f0f0f00%d:2100f0f0f0f0f00%d",
  nvme = "nqn.2014-08.org.nvmexpress:lunalift-vendor-test-%d",
}

local function made_up(fabrics, number)
  for _, kind in ipairs(fabrics) do
    local id <const> = MADE_UP[kind]
    if id then return { { kind = kind, id = id:gsub("%%d", number), adapter = "vmhba" .. number } } end
  end
end

-- iscsi:iqn…,fc:fc.…:…
local function parse_initiators(text)
  local found <const> = {}
  for item in text:gmatch "[^,%s]+" do
    local kind <const>, id <const> = item:match "^(%l+):(.+)$"
    if not contract.has(contract.FABRICS, kind) then
      local hint <const> = "write KIND:ID, with commas between: iscsi:iqn.1998-01.com.vmware:esx-01:64"
      fail.advise("config", hint, "--initiators: '%s' is no port", item)
    end
    found[#found + 1] = { kind = kind, id = id, adapter = "vmhba" .. #found }
  end
  return found
end

local function initiators_of(vendor, text)
  local found <const> = text and parse_initiators(text) or made_up(vendor.fabrics, 1)
  if found then return found end
  local hint <const> = "name those of an ESXi host that no other copy uses: --initiators sdc:GUID"
  fail.advise("config", hint, "ports of %s cannot be made up", words.list(vendor.fabrics))
end

-- A volume handle, or the whole PersistentVolume as lun_of takes it.
local function parse_volume(vendor, flag, text)
  if not text then
    local hint <const> =
      "name two that nobody uses: --volume and --other-volume, each a volume handle, or JSON as for vendor call … lun_of"
    fail.advise("config", hint, "%s is missing: which volumes may be mapped?", flag)
  end
  local pv, why = { handle = text }, nil
  if text:find "^%s*{" then
    pv, why = json.decode(text)
  end
  if type(pv) ~= "table" then error(fail.wrap(why, "%s is no JSON", flag)) end
  pv.name, pv.driver, pv.attributes = pv.name or pv.handle, pv.driver or vendor.drivers[1], pv.attributes or {}
  return pv
end

---@param vendor table as lib.arrays describes it
---@param conf table as lib.arrays takes it
---@param given { volume: string?, other_volume: string?, initiators: string?, overwrites: boolean }
---@return lib.RealRig
function M.new(vendor, conf, given)
  return setmetatable({
    vendor = vendor,
    about = conf.hostname,
    conf = conf,
    pvs = {
      parse_volume(vendor, "--volume", given.volume),
      parse_volume(vendor, "--other-volume", given.other_volume),
    },
    initiators = initiators_of(vendor, given.initiators),
    strangers = made_up(vendor.fabrics, 2) or { { kind = vendor.fabrics[1], id = "none", adapter = "vmhba99" } },
    secrets = {},
    overwrites = given.overwrites,
  }, Rig)
end

--- What can be seen of it through the contract.
---@param t lib.Trial
function Rig:state(t)
  local state <const> = { hosts = t:hosts(), own_hosts = t:own_hosts(), maps = {} }
  for i in ipairs(self.pvs) do
    state.maps[i] = t:sure("maps_of", t:lun(i))
  end
  return state
end

local function check_unused(t, i)
  local lun <const> = assert(t:ask("lun_of", t.rig.pvs[i]))
  local maps <const> = t:sure("maps_of", lun)
  if not maps[1] then return lun end
  local hint <const> = "name a volume that nobody uses"
  fail.advise("conflict", hint, "volume %s is mapped to %s: it is not touched", lun.name, list.names(maps))
end

local function check_host(t)
  local host <const> = t:hosts()[1]
  if host and host.name:find(t.host_name, 1, true) then
    local hint <const> = "another test runs, or one was killed: remove it when no test runs"
    fail.advise("conflict", hint, "there is a host object %s already", host.name)
  end
  if host or t.has.create_host then return host end
  local text <const> = t.has.why_none and t:ask("why_none", t.rig.initiators)
  local why <const> = fail.new("config", "the array has no host object for these ports, and makes none")
  why.cause = text and fail.new("config", "%s", text) or nil
  error(fail.hint(why, "name the ports of an ESXi host that it knows: --initiators KIND:ID,KIND:ID"))
end

--- What will be made there, and undone. Raises what forbids it.
---@param t lib.Trial
---@return string
function M.plan(t)
  local first <const>, second <const> = check_unused(t, 1), check_unused(t, 2)
  local host <const> = check_host(t)
  local ids <const> = words.list(list.map(t.rig.initiators, function(port) return port.id end))
  local lines <const> = {
    ("On %s, many times over, and undone each time:"):format(t.rig.about),
    host and ("  host object %s is used, through which %s see volumes"):format(host.name, ids)
      or ("  host object %s is made of %s, and removed"):format(t.host_name, ids),
    ("  volumes %s and %s are mapped to it, and unmapped"):format(first.name, second.name),
  }
  if t.has.create_host then
    lines[#lines + 1] = "  host objects of hostile names are made where the array takes them, and removed"
  end
  if t.rig.overwrites and t.has.copy_start then
    if first.size_bytes ~= second.size_bytes then
      fail.advise("config", "name two of one size", "%s and %s differ in size", first.name, second.name)
    end
    lines[#lines + 1] = ("  volume %s is OVERWRITTEN with %s"):format(second.name, first.name)
  end
  return table.concat(lines, "\n") .. "\n"
end

return M
