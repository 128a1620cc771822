--- What each function of the vendor contract is tried on: the scene before it, the call, what must come of it.
local contract <const> = require "lib.vendor_contract"

local M <const> = {}

local function mapped(t)
  local s <const> = { lun = t:lun(), host = t:host() }
  local _
  _, s.lun = t:sure("map", s.lun, s.host)
  return s
end

local function unmapped(t) return { lun = t:lun(), host = t:host() } end

local function no_copy(t) return { copy = t:new_copy() } end

local function copying(t)
  local s <const> = no_copy(t)
  s.copy.handle = t:sure("copy_start", s.copy.id, s.copy.source, s.copy.target)
  return s
end

local function is_running(state) return state ~= nil and state.state == "running" end

-- The lab's copies stand still; others may be through before we look.
local function is_under_way(t, state) return is_running(state) or not t.rig.strike and (state or {}).state == "done" end

local function poll(t, s) return (t:sure("copy_poll", s.copy.id, s.copy)) end

-- What is wrong with a result ------------------------------------------------------------------------------------------------------

local function is_text(value) return type(value) == "string" and value ~= "" end

-- What is wrong with those fields of a record that are texts.
local function check_texts(record, what, fields)
  if type(record) ~= "table" then return ("it is no %s"):format(what) end
  for _, field in ipairs(fields) do
    local value <const> = record[field]
    if not is_text(value) then
      local shown <const> = value == "" and "empty"
        or value == nil and "absent"
        or ("%s, a %s"):format(value, type(value))
      return ("%s of the %s is %s; it must be a text"):format(field, what, shown)
    end
  end
end

local function check_device(t, lun, i)
  local naa <const> = t.rig.naas and t.rig.naas[i]
  if naa and lun.naa ~= nil and lun.naa ~= naa then return ("naa is %s, ESXi will show %s"):format(lun.naa, naa) end
end

local function check_lun(t, lun)
  local says <const> = check_texts(lun, "lun", { "id", "name" })
  if says then return says end
  local size <const> = t.rig.size_bytes
  if math.type(lun.size_bytes) ~= "integer" then return "size_bytes is no whole number" end
  if size and lun.size_bytes ~= size then return ("size_bytes is %d, not %d"):format(lun.size_bytes, size) end
  return check_device(t, lun, 1)
end

local function check_host(host)
  local says <const> = check_texts(host, "host", { "id", "name" })
  if says then return says end
  if host.ours and (type(host.ports) ~= "table" or not host.ports[1]) then
    return "a host that is ours has its ports"
  end
end

local function has_id(list, id, what)
  for _, each in ipairs(list) do
    if each.id == id then return nil end
  end
  return ("%s is not in it"):format(what)
end

-- Of a host object that was there before any of our name, each in which the initiators are.
local function check_others(s, hosts)
  for _, host in ipairs(s.is_others and hosts or {}) do
    if host.ours then return ("%s is ours, it says, and does not bear our name"):format(host.name) end
  end
end

local function check_ports(list)
  for _, port in ipairs(list) do
    if not contract.has(contract.FABRICS, port.kind) then return ("%s is no kind of port"):format(port.kind) end
    local says <const> = check_texts(port, "port", { "id" })
    if says then return says end
  end
  if not list[1] then return "there is no port" end
end

-- The scenes -----------------------------------------------------------------------------------------------------------------------

---@class lib.Scene
---@field name string the function
---@field prepare fun(t: lib.Trial): table s what the call is about
---@field args fun(t: lib.Trial, s: table): any ... of the call
---@field check fun(t: lib.Trial, s: table, ...): string? what is wrong with its results
---@field may_lack? boolean the answer may say less, where something went wrong
---@field first? fun(result: any): string? what is wrong with it where nothing was called before
---@field holds? fun(t: lib.Trial, s: table): boolean of effects: did it come about?
---@field took? fun(s: table, result: any) what the call made known
---@field is_done? fun(t: lib.Trial, s: table, why: Fail): boolean a refusal that means that it came about before

local function nothing() return {} end

---@type lib.Scene[]
M.SCENES = {
  {
    name = "info",
    prepare = nothing,
    args = function() end,
    may_lack = true, -- an account need not see it all
    check = function(_, _, info) return check_texts(info, "info", { "vendor", "product" }) end,
  },
  {
    name = "lun_of",
    prepare = nothing,
    args = function(t) return t.rig.pvs[1] end,
    check = function(t, _, lun) return check_lun(t, lun) end,
  },
  {
    name = "targets",
    prepare = nothing,
    args = function() end,
    check = function(_, _, ports) return check_ports(ports) end,
  },
  {
    name = "hosts_of",
    prepare = function(t)
      local is_others <const> = t:hosts()[1] ~= nil
      return { is_others = is_others, host = t:host() }
    end,
    args = function(t) return t.rig.initiators, t.host_name end,
    check = function(_, s, hosts)
      return check_host(hosts[1]) or check_others(s, hosts) or has_id(hosts, s.host.id, s.host.name)
    end,
  },
  {
    name = "create_host",
    prepare = nothing,
    args = function(t) return t.host_name, t.ports end,
    check = function(_, _, host) return check_host(host) end,
    holds = function(t)
      local hosts <const> = t:own_hosts()
      return #hosts == 1 and hosts[1].ours == true
    end,
    is_done = function(t, _, why) return why.kind == "conflict" and t:own_hosts()[1] ~= nil end,
  },
  {
    name = "why_none",
    prepare = nothing,
    args = function(t) return t.rig.strangers end,
    check = function(_, _, text) return not is_text(text) and "it says nothing" or nil end,
  },
  {
    name = "remove_host",
    prepare = function(t) return { host = t:own_host() } end,
    args = function(_, s) return s.host end,
    check = function(_, _, said) return said ~= "removed" and ("it says %s"):format(said) or nil end,
    holds = function(t) return #t:own_hosts() == 0 end,
  },
  {
    name = "maps_of",
    prepare = mapped,
    args = function(_, s) return s.lun end,
    check = function(_, s, hosts) return has_id(hosts, s.host.id, s.host.name) end,
  },
  {
    name = "map",
    prepare = unmapped,
    args = function(_, s) return s.lun, s.host end,
    check = function(t, _, said, lun)
      if said ~= "made" and said ~= "existing" then return ("it says %s"):format(said) end
      return check_lun(t, lun) or not lun.naa and "naa is not known, though the volume is mapped" or nil
    end,
    first = function(said)
      return said ~= "made" and 'it says "existing", so that the core would leave the mapping behind' or nil
    end,
    holds = function(t, s) return t:map_of(s.lun, s.host) ~= nil end,
  },
  {
    name = "unmap",
    prepare = mapped,
    args = function(_, s) return s.lun, s.host end,
    check = function(_, _, said) return said ~= true and ("it says %s"):format(said) or nil end,
    holds = function(t, s) return t:map_of(s.lun, s.host) == nil end,
  },
  {
    name = "luns_of",
    prepare = mapped,
    args = function(_, s) return s.host end,
    check = function(_, s, luns) return has_id(luns, s.lun.id, s.lun.name) end,
  },
  {
    name = "find_lun",
    prepare = function(t)
      local s <const> = mapped(t) -- of some arrays' volumes the device is known only then
      return { naa = s.lun.naa, lun = s.lun }
    end,
    args = function(_, s) return { naa = s.naa } end,
    check = function(t, s, lun) return check_lun(t, lun) or has_id({ lun }, s.lun.id, s.lun.name) end,
  },
  {
    name = "copy_start",
    prepare = no_copy,
    args = function(_, s) return s.copy.id, s.copy.source, s.copy.target end,
    took = function(s, handle) s.copy.handle = handle end,
    check = function() end,
    holds = function(t, s) return is_under_way(t, poll(t, s)) end,
  },
  {
    name = "copy_poll",
    prepare = copying,
    args = function(_, s) return s.copy.id, s.copy end,
    check = function(t, _, state) return not is_under_way(t, state) and "it does not run" or nil end,
  },
  {
    name = "copy_stop",
    prepare = copying,
    args = function(_, s) return s.copy.id, s.copy end,
    check = function() end,
    holds = function(t, s) return not is_running(poll(t, s)) end,
  },
}

return M
