--- How a LUN is shown to an ESXi host: through the host objects that the array has for it, or one of our own. Each mapping has its own
--- promise; what was mapped before us stays.
local fail <const> = require "lib.fail"
local initiator <const> = require "lib.initiator"
local words <const> = require "lib.words"

local M <const> = {}

local TRIES <const> = 5 -- so often in a row other runs on the host may remove the empty host object before we map to it

---@class lib.Shown
---@field lun lib.Lun with what mapping made known
---@field made boolean none of the host objects saw it before us, so that the device is ours to switch off
---@field through lib.Initiator[] those that see it
---@field text string for people

---@class lib.ToShow
---@field name string of a host object of our own
---@field initiators lib.Initiator[] that shall see the LUN
---@field ports lib.Initiator[] all that the ESXi host has
---@field before_map fun(through: lib.Initiator[]) called before the first mapping of ours, to promise what is to be done after the
--- unmapping, with those that shall see it
---@field through? lib.Initiator[] of the host objects at hand
---@field removal? lib.Promise of the host object of our name
---@field is_promised? boolean before_map was called

-- ---- host objects ----

local function ids_of(ports)
  local ids <const> = {}
  for i, port in ipairs(ports) do
    ids[i] = type(port) == "table" and port.id or port
  end
  return words.list(ids)
end

-- What it lacks of the fabrics that it speaks: many arrays' host objects hold one only.
local function lost_paths(held, to)
  local speaks <const>, lost <const> = {}, {}
  for _, port in ipairs(initiator.among(to.initiators, held)) do
    speaks[port.kind] = true
  end
  for _, port in ipairs(initiator.missing(to.initiators, held)) do
    if speaks[port.kind] then lost[#lost + 1] = port end
  end
  return lost
end

-- A name proves little. What shows LUNs to other machines, too, is neither to be mapped to nor to be removed.
local function check_ours(array, host, to)
  local held <const> = host.ports or {}
  local foreign <const> = initiator.missing(held, to.ports)
  local lacking <const> = initiator.missing(to.initiators, held)
  if #foreign > 0 then
    local why <const> = fail.new(
      "conflict",
      "%s on %s bears our name and holds ports of another host: %s",
      host.name,
      array.where,
      ids_of(foreign)
    )
    error(fail.hint(why, "take them out of it; or delete it when no copy uses it, and it is made anew"))
  end
  if #lacking == #to.initiators then
    local why <const> =
      fail.new("conflict", "%s on %s bears our name and holds none of %s", host.name, array.where, ids_of(lacking))
    error(fail.hint(why, "delete it when no copy uses it: it is made anew then"))
  end
  local lost <const> = lost_paths(held, to)
  if #lost > 0 then array.job:warn("%s lacks %s: the copy uses the other paths", host.name, ids_of(lost)) end
end

-- One that was found is promised, too: its maker leaves it while we use it. Whoever is last removes it.
local function promise_removal(array, to)
  local args <const> = { name = to.name, initiators = to.initiators }
  to.removal = to.removal
    or array.job:promise("array.remove_host", args, ("host object %s on %s"):format(to.name, array.where))
end

local function none_there(array, to)
  local text <const> = array:offers "why_none" and array:read("why_none", to.initiators)
  local why <const> = fail.new("config", "%s knows no host with %s", array.where, ids_of(to.initiators))
  if text then why.cause = fail.new("config", "%s", text) end
  return fail.hint(why, "register the ESXi host's ports on the array, which gives it no host object by itself")
end

-- In a dry run. A host object that is made holds one fabric: what is left out then shall not be named now.
local function host_to_be(to)
  local _, ports <const> = initiator.one_fabric(to.initiators)
  return { id = "new", name = to.name, ours = true, made = true, ports = ports }
end

local function create_host(array, to)
  if not array:offers "create_host" then error(none_there(array, to)) end
  promise_removal(array, to)
  local function find() return array:hosts_of(to.initiators, to.name)[1] end
  return array.job:effect("array.create_host", to.name, function()
    local made <const>, why <const> = array:ask("create_host", to.name, to.initiators)
    if made then
      made.ours, made.made = true, true
      return made
    end
    local is_taken <const> = why and why.kind == "conflict" -- perhaps another run made it meanwhile
    return is_taken and find() or nil, why
  end, { standin = host_to_be(to), look = find })
end

-- Found, or made; with the promise to remove those of our name.
local function ensure_hosts(array, to)
  local hosts = array:hosts_of(to.initiators, to.name)
  if #hosts == 0 then hosts = { create_host(array, to) } end
  for _, host in ipairs(hosts) do
    if host.ours and not host.made then
      check_ours(array, host, to)
      promise_removal(array, to)
    end
  end
  return hosts
end

-- ---- mapping ----

local function mapped_in_a_dry_run(lun)
  if lun.naa then return lun end
  return { id = lun.id, name = lun.name, size_bytes = lun.size_bytes, naa = "(known once mapped)" }
end

-- Promised first, unless the host object sees the LUN already: then nothing is ours to undo.
---@return lib.Lun lun
---@return "made"|"existing" outcome
local function map(array, lun, host, to)
  local job <const> = array.job
  local promise
  if job.dry_run or not array:map_to(lun, host) then
    if not to.is_promised then to.before_map(to.through) end
    to.is_promised = true
    local about <const> = ("LUN %s is mapped to %s"):format(lun.name, host.name)
    promise = job:promise("array.unmap", { lun = lun, host = host }, about)
  end
  local is_lost = false
  local done <const> = job:effect("array.map", ("%s to %s"):format(lun.name, host.name), function()
    local outcome <const>, mapped <const> = array:ask("map", lun, host)
    if not outcome then return nil, mapped end
    return { outcome = outcome, lun = mapped or lun }
  end, {
    standin = { outcome = "made", lun = mapped_in_a_dry_run(lun) },
    -- mapping again is idempotent, and tells what a mapping makes known
    look = function() is_lost = true end,
  })
  if promise and is_lost then return done.lun, "made" end -- the mapping that "exists" may be ours
  if promise and done.outcome == "existing" then job:withdraw(promise) end
  return done.lun, done.outcome
end

local function described(host, outcome)
  local is_shared <const> = host.shared and ", which others use, too" or ""
  return ("%s%s (%s), mapping %s"):format(host.name, is_shared, host.made and "made" or "found", outcome)
end

local function map_to_all(array, lun, hosts, to)
  local texts <const>, made = {}, true
  for i, host in ipairs(hosts) do
    local outcome
    lun, outcome = map(array, lun, host, to)
    made = made and outcome == "made"
    texts[i] = described(host, outcome)
  end
  if lun.naa then return { lun = lun, made = made, through = to.through, text = table.concat(texts, "; ") } end
  fail.raise("failed", "%s does not tell which device LUN %s is, now that it is mapped", array.where, lun.name)
end

-- An empty host object is removed by whoever was the last to use it: then there is another, or none, and it is worth another try.
local function has_changed(array, hosts, to)
  local now <const> = array:hosts_of(to.initiators, to.name)
  if #now ~= #hosts then return true end
  for i, host in ipairs(hosts) do
    if host.id ~= now[i].id then return true end
  end
  return false
end

-- An array's host object may hold the ports of one fabric only. All, where the array does not tell.
local function through(hosts, initiators)
  local held <const> = {}
  for _, host in ipairs(hosts) do
    table.move(host.ports or initiators, 1, #(host.ports or initiators), #held + 1, held)
  end
  local seeing <const> = initiator.among(initiators, held)
  return #seeing > 0 and seeing or initiators
end

--- Show the LUN to the host objects that hold these initiators; one is made where there is none.
---@param array lib.Array
---@param lun lib.Lun
---@param to lib.ToShow
---@return lib.Shown
function M.show(array, lun, to)
  for try = 1, TRIES do
    local hosts <const> = ensure_hosts(array, to)
    to.through = through(hosts, to.initiators)
    local done <const>, shown <const> = pcall(map_to_all, array, lun, hosts, to)
    if done then return shown end
    local may_be_gone <const> = fail.is(shown, "not_found") and try < TRIES
    if not may_be_gone or not has_changed(array, hosts, to) then error(shown) end
  end
end

return M
