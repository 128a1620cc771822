--- The rules of the array's SAN side: whose an initiator is, who sees a volume, and under which number.
local fabric <const> = require "lab.fabric"
local list <const> = require "lab.list"
local refusal <const> = require "lab.primera3par.refusal"

---@class primera3par.san
local M <const> = {}

local by <const>, each <const>, find <const>, keep <const> = list.by, list.each, list.find, list.keep
local refuse <const> = refusal.raise
local SET <const> = "^set:(.*)$"
local MAX_LUN <const> = 16384

-- Names

local function check_name(name, longest)
  if type(name) ~= "string" or name == "" then refuse(400, 12, "invalid input: name is required") end
  if #name > longest then refuse(400, 57, "invalid input: string length exceeds limit") end
  if not name:find "^[%w%-_.]+$" then refuse(400, 69, "invalid input: illegal character") end
end

-- Hosts

local function spelled(port) return port:find "^%x+$" and port:upper() or port end

--- The host that holds a port, and the port as it is spelled there.
function M.owner(self, port)
  local wanted <const> = fabric.initiator(port)
  for _, host in ipairs(self.hosts) do
    for _, held in ipairs(host.ports) do
      if fabric.initiator(held) == wanted then return host, held end
    end
  end
end

---@param given { name: string, persona: integer, ports: string[] }
function M.add_host(self, given)
  check_name(given.name, 31)
  if by(self.hosts, "name", given.name) then refuse(409, 16, "host already exists") end
  for _, port in ipairs(given.ports) do
    local owner <const> = M.owner(self, port)
    if owner then refuse(409, 73, ("host WWN/iSCSI name already used by host %s"):format(owner.name)) end
  end
  local ports <const> = each(given.ports, spelled)
  self.hosts[#self.hosts + 1] = { id = self:next_id(), name = given.name, persona = given.persona, ports = ports }
end

local function take_out(items, item)
  local _, index <const> = find(items, function(each_item) return each_item == item end)
  table.remove(items, index)
end

function M.remove_host(self, host)
  for _, set in ipairs(self.sets) do
    for _, member in ipairs(set.members) do
      if member == host.name then refuse(409, 77, "host is in a set") end
    end
  end
  if by(self.vluns, "hostname", host.name) then refuse(409, 26, "host has exported VLUNs") end
  take_out(self.hosts, host)
end

-- Host sets

local function check_members(self, members)
  for _, name in ipairs(members) do
    if not by(self.hosts, "name", name) then refuse(404, 17, "host does not exist") end
  end
end

---@param given { name: string, members: string[] }
function M.add_set(self, given)
  check_name(given.name, 27)
  if by(self.sets, "name", given.name) then refuse(400, 101, "set already exists") end
  check_members(self, given.members)
  self.sets[#self.sets + 1] = { id = self:next_id(), name = given.name, members = given.members }
end

function M.remove_set(self, set)
  if by(self.vluns, "hostname", "set:" .. set.name) then refuse(409, 26, "the host set has exported VLUNs") end
  take_out(self.sets, set)
end

local function contains(items, item)
  return find(items, function(each_item) return each_item == item end) ~= nil
end

--- Take hosts in (action 1) or out (2).
function M.change_set(self, set, action, members)
  check_members(self, members)
  for _, name in ipairs(members) do
    if action == 1 and contains(set.members, name) then refuse(409, 104, "the object is already part of the set") end
    if action == 2 and not contains(set.members, name) then refuse(404, 105, "the object is not part of the set") end
  end
  for _, name in ipairs(members) do
    if action == 1 then
      set.members[#set.members + 1] = name
    else
      take_out(set.members, name)
    end
  end
  M.publish_all(self)
end

-- VLUNs

--- The hosts that a host or set name stands for; none for a port.
function M.hosts_behind(self, hostname)
  local set <const> = by(self.sets, "name", hostname:match(SET) or "")
  return keep(self.hosts, function(host) return set and contains(set.members, host.name) or host.name == hostname end)
end

local function publish(self, volume)
  local maps <const> = {}
  for _, vlun in ipairs(self.vluns) do
    if vlun.volume == volume then
      local initiators = vlun.initiators
      if not initiators then
        initiators = {}
        for _, host in ipairs(M.hosts_behind(self, vlun.hostname)) do
          table.move(host.ports, 1, #host.ports, #initiators + 1, initiators)
        end
      end
      maps[#maps + 1] = { initiators = initiators, number = vlun.number, via = vlun.hostname }
    end
  end
  self.fabric:set_maps(volume.naa, maps)
end

function M.publish_all(self)
  for _, volume in ipairs(self.volumes) do
    publish(self, volume)
  end
end

-- Numbers that one of these hosts sees something under, or that are given out for the same name.
local function numbers_used(self, hostname)
  local used <const>, mine <const> = {}, M.hosts_behind(self, hostname)
  for _, vlun in ipairs(self.vluns) do
    local shares <const> = find(M.hosts_behind(self, vlun.hostname), function(host) return contains(mine, host) end)
    if vlun.hostname == hostname or shares then used[vlun.number] = true end
  end
  return used
end

---@param number integer|"auto"
---@param to { hostname: string, port: table?, initiators: string[]? }
---@return table vlun
function M.add_vlun(self, volume, number, to)
  local used <const> = numbers_used(self, to.hostname)
  if number == "auto" then
    number = 0
    while used[number] do
      number = number + 1
    end
  end
  if number > MAX_LUN then refuse(400, 28, "LUN is greater than 16384") end
  local double <const> = find(
    self.vluns,
    function(vlun) return vlun.volume == volume and vlun.hostname == to.hostname end
  )
  if double or used[number] then refuse(409, 18, "VLUN already exists") end
  local vlun <const> =
    { volume = volume, number = number, hostname = to.hostname, port = to.port, initiators = to.initiators }
  self.vluns[#self.vluns + 1] = vlun
  publish(self, volume)
  return vlun
end

function M.remove_vlun(self, vlun)
  take_out(self.vluns, vlun)
  publish(self, vlun.volume)
end

return M
