--- The rules of ONTAP's SAN side: what initiator groups may hold, who may see a LUN, and under which number.
local fabric <const> = require "lab.fabric"
local hal <const> = require "lab.ontap.hal"
local list <const> = require "lab.list"

---@class ontap.san
local M <const> = {}

local each <const>, find <const>, keep <const> = list.each, list.find, list.keep
local MAX_LUN <const> = 4095

--- "200000a098000002" as ONTAP writes it.
function M.pairs_of(hex) return (hex:gsub("%x%x", "%0:"):gsub(":$", "")) end

function M.maps_where(self, field, object)
  return keep(self.maps, function(map) return map[field] == object end)
end

-- Initiators: ONTAP keeps names in lower case, and WWPNs as eight pairs.

function M.held(igroup, name)
  local wanted <const> = fabric.initiator(name)
  return find(igroup.initiators, function(initiator) return fabric.initiator(initiator.name) == wanted end)
end

local function wwpn_of(name)
  local hex <const> = name:match "^%x%x:%x%x:%x%x:%x%x:%x%x:%x%x:%x%x:%x%x$" and name:gsub(":", "") or name
  return hex:match "^%x+$" and #hex == 16 and M.pairs_of(hex) or nil
end

local function iscsi_name(name)
  if name:match "^iqn%.%d%d%d%d%-%d%d%.[%w%-]+[%w%.%-]*:?[^%s]*$" and #name <= 223 then return name end
  if name:match "^eui%.%x+$" and #name == 20 then return name end
end

--- The name as ONTAP will keep it, or a refusal.
local function spelled(igroup, name)
  if type(name) ~= "string" then hal.refuse(400, "2", 'A value is missing for "initiators.name".', "name") end
  local lower <const> = name:lower()
  local kept
  if igroup.protocol ~= "iscsi" then kept = wwpn_of(lower) end
  if igroup.protocol ~= "fcp" then kept = kept or iscsi_name(lower) end
  if kept then return kept end
  local fcp <const> = igroup.protocol == "fcp"
  local what <const> = fcp and "Fibre Channel WWPN" or "iSCSI initiator name"
  hal.refuse(400, fcp and "5374038" or "5374039", ('"%s" is not a valid %s.'):format(name, what), "name")
end

function M.in_igroup(igroup, name) return M.held(igroup, name) ~= nil end

--- What the group's maps forbid the initiator: to see a LUN twice, or two LUNs under one number.
local function refuse_doubles(self, igroup, name)
  for _, mine in ipairs(M.maps_where(self, "igroup", igroup)) do
    for _, other in ipairs(self.maps) do
      if other.igroup ~= igroup and other.igroup.svm == igroup.svm and M.in_igroup(other.igroup, name) then
        local text <const> = ('initiator "%s" of initiator group "%s"'):format(name, other.igroup.name)
        if other.lun == mine.lun then
          hal.refuse(409, "1254193", ('LUN "%s" is already mapped to %s.'):format(mine.lun.name, text), "name")
        elseif other.number == mine.number then
          hal.refuse(409, "1254324", ("LUN number %d is already in use by %s."):format(mine.number, text), "name")
        end
      end
    end
  end
end

local function refuse_other_os(self, igroup, name)
  local other <const> = find(
    self.igroups,
    function(candidate)
      return candidate ~= igroup
        and candidate.svm == igroup.svm
        and candidate.os_type ~= igroup.os_type
        and M.in_igroup(candidate, name)
    end
  )
  if not other then return end
  local text <const> = 'Initiator "%s" is already in initiator group "%s", whose operating system type is "%s".'
  hal.refuse(409, "5374734", text:format(name, other.name, other.os_type), "name")
end

--- Check all, then add all: a refused request changes nothing.
function M.add_initiators(self, igroup, names)
  local new <const> = { initiators = {} }
  for _, wanted in ipairs(names) do
    local name <const> = spelled(igroup, wanted.name)
    if M.in_igroup(igroup, name) or M.in_igroup(new, name) then
      local text <const> = 'Initiator group "%s" already contains initiator "%s".'
      hal.refuse(409, "5374035", text:format(igroup.name, name), "name")
    end
    refuse_other_os(self, igroup, name)
    refuse_doubles(self, igroup, name)
    new.initiators[#new.initiators + 1] = { name = name, comment = wanted.comment }
  end
  table.move(new.initiators, 1, #new.initiators, #igroup.initiators + 1, igroup.initiators)
  return new.initiators
end

-- Maps

local function publish(self, lun)
  self.fabric:set_maps(
    lun.naa,
    each(M.maps_where(self, "lun", lun), function(map)
      return {
        initiators = each(map.igroup.initiators, function(initiator) return initiator.name end),
        number = map.number,
        via = map.igroup.name,
      }
    end)
  )
end

function M.publish_all(self, igroup)
  for _, map in ipairs(M.maps_where(self, "igroup", igroup)) do
    publish(self, map.lun)
  end
end

-- An SVM is a target of its own: what another SVM shows to an initiator does not matter.
local function shares_initiator(a, b)
  return a.svm == b.svm and find(a.initiators, function(initiator) return M.in_igroup(b, initiator.name) end) ~= nil
end

--- Numbers that the group, or one of its initiators through another group, already uses.
local function numbers_used(self, igroup)
  local used <const> = {}
  for _, map in ipairs(self.maps) do
    if map.igroup == igroup or shares_initiator(igroup, map.igroup) then used[map.number] = true end
  end
  return used
end

local function lun_number(self, igroup, wanted)
  local used <const> = numbers_used(self, igroup)
  if wanted == nil then
    for number = 0, MAX_LUN do
      if not used[number] then return number end
    end
    hal.refuse(409, "1254324", ('No LUN number is free in initiator group "%s".'):format(igroup.name))
  end
  if math.type(wanted) ~= "integer" or wanted < 0 or wanted > MAX_LUN then
    local text <const> = ('The value "%s" is invalid for field "logical_unit_number" (<0..4095>)'):format(
      tostring(wanted)
    )
    hal.refuse(400, "262197", text, "logical_unit_number")
  end
  if used[wanted] then
    local text <const> = 'LUN number %d is already in use in initiator group "%s".'
    hal.refuse(409, "1254324", text:format(wanted, igroup.name), "logical_unit_number")
  end
  return wanted
end

function M.add_map(self, lun, igroup, wanted_number)
  if lun.class == "vvol" then hal.refuse(400, "5374329", "LUNs of class vvol cannot be mapped.", "lun") end
  for _, map in ipairs(M.maps_where(self, "lun", lun)) do
    if map.igroup == igroup then
      local text <const> = 'LUN "%s" is already mapped to initiator group "%s".'
      hal.refuse(409, "1254207", text:format(lun.name, igroup.name))
    elseif shares_initiator(igroup, map.igroup) then
      local text <const> = 'LUN "%s" is already mapped to an initiator of this group through initiator group "%s".'
      hal.refuse(409, "1254193", text:format(lun.name, map.igroup.name), "igroup")
    end
  end
  local map <const> = { lun = lun, igroup = igroup, number = lun_number(self, igroup, wanted_number) }
  self.maps[#self.maps + 1] = map
  publish(self, lun)
  return map
end

function M.remove_igroup(self, igroup)
  local _, index <const> = find(self.igroups, function(item) return item == igroup end)
  table.remove(self.igroups, index)
end

function M.remove_map(self, map)
  local _, index <const> = find(self.maps, function(item) return item == map end)
  table.remove(self.maps, index)
  publish(self, map.lun)
  if map.igroup.delete_on_unmap and #M.maps_where(self, "igroup", map.igroup) == 0 then
    M.remove_igroup(self, map.igroup)
  end
end

return M
