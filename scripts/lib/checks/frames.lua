--- The check whether large Ethernet frames, where the host sends them, get to the array's iSCSI portals.
local fail <const> = require "lib.fail"
local hints <const> = require "lib.hints"
local list <const> = require "lib.list"
local words <const> = require "lib.words"

local JUMBO_MTU <const> = 9000
local JUMBO_BYTES <const> = 8972 -- less 20 of IP and 8 of ICMP
local SMALL_BYTES <const> = 64
local PINGS <const> = 3

-- The host's interfaces that send large frames.
local function jumbo_interfaces(host)
  local rows <const>, why <const> = host:esxcli "network ip interface list"
  if not rows then return nil, why end
  local found <const> = {}
  for _, interface in ipairs(rows) do
    if (tonumber(interface.MTU) or 0) >= JUMBO_MTU then found[interface.Name] = true end
  end
  return found
end

-- What an iSCSI adapter is bound to, and the portals that it reaches. An adapter that is bound to nothing takes what routes to a portal.
local function ways_of(host, jumbo)
  local bindings <const>, why <const> = host:esxcli "iscsi networkportal list"
  if not bindings then return nil, why end
  local portals <const>, refusal <const> = host:esxcli "iscsi adapter target portal list"
  if not portals then return nil, refusal end
  local ways <const>, is_known <const> = {}, {}
  for _, binding in ipairs(list.filter(bindings, function(each) return jumbo[each.Vmknic] end)) do
    for _, portal in ipairs(portals) do
      local way <const> = ("%s from %s"):format(portal.IP, binding.Vmknic)
      if portal.Adapter == binding.Adapter and not is_known[way] then
        is_known[way] = true
        ways[#ways + 1] = { text = way, portal = portal.IP, interface = binding.Vmknic }
      end
    end
  end
  return ways
end

-- "Recieved" is how ESXi spells it.
local function answers(host, way, bytes)
  local rows <const> = host:esxcli("network diag ping", {
    host = way.portal,
    interface = way.interface,
    size = bytes,
    df = true,
    count = PINGS,
  })
  local summary <const> = rows and rows[1] and rows[1].Summary
  return type(summary) == "table" and (tonumber(summary.Recieved or summary.Received) or 0) > 0
end

---@param found lib.Found
return function(found)
  local host <const> = found.host
  local jumbo <const>, why <const> = jumbo_interfaces(host)
  if not jumbo then return nil, fail.text(why) end
  if not next(jumbo) then return "no interface of the host sends large frames" end
  local ways <const>, refusal <const> = ways_of(host, jumbo)
  if not ways then return nil, fail.text(refusal) end
  if #ways == 0 then return nil, "no iSCSI adapter is bound to an interface that sends large frames" end
  for _, way in ipairs(ways) do
    local about <const> = { host = host.name, portal = way.portal, interface = way.interface, bytes = JUMBO_BYTES }
    if not answers(host, way, JUMBO_BYTES) then
      if answers(host, way, SMALL_BYTES) then return hints.say("frames lost", about) end
      return hints.say("portal silent", about)
    end
  end
  return ("%d bytes get to %s"):format(JUMBO_BYTES, words.list(list.map(ways, function(way) return way.text end)))
end
