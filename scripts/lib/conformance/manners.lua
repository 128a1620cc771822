--- How a vendor script behaves where nothing is wrong with the array: twice the same, two jobs on one host object, names that nobody
--- expects, what belongs to others, and an account or settings that are wrong.
local fail <const> = require "lib.fail"
local initiator <const> = require "lib.initiator"
local judge <const> = require "lib.conformance.judge"
local list <const> = require "lib.list"
local trials <const> = require "lib.conformance.trial"

local M <const> = {}

local wrong <const>, expect <const>, text <const> = judge.wrong, judge.expect, judge.text

---@class lib.Manner
---@field name string
---@field needs? string a function of the contract
---@field is_of_lab? boolean it needs an array that lets others act in between
---@field crowd? integer it needs an array with so many host objects of others
---@field run fun(t: lib.Trial)

-- Twice ----------------------------------------------------------------------------------------------------------------------------

local function copies_once(t)
  local copy <const> = t:new_copy()
  copy.handle = t:sure("copy_start", copy.id, copy.source, copy.target)
  copy.handle = t:sure("copy_start", copy.id, copy.source, copy.target)
  t:sure("copy_stop", copy.id, copy)
  t:sure("copy_stop", copy.id, copy)
  local state <const> = t:sure("copy_poll", copy.id, copy)
  if state and state.state == "running" then wrong("after copy_stop nothing of it runs", "it runs") end
end

---@type lib.Manner[]
M.TWICE = {
  {
    name = "map",
    run = function(t)
      local host <const> = t:host()
      local first <const>, one <const> = t:sure("map", t:lun(2), host)
      local second <const>, two <const> = t:sure("map", t:lun(2), host)
      expect(first, "made", "the first map returns")
      expect(second, "existing", "the second map returns")
      expect(two.number, one.number, "its number is")
      expect(two.naa, one.naa, "its device is")
      expect(one.naa, t.rig.naas and t.rig.naas[2] or one.naa, "its device is")
    end,
  },
  {
    name = "unmap",
    run = function(t)
      local lun <const>, host <const> = t:lun(), t:host()
      t:sure("map", lun, host)
      t:sure("unmap", lun, host)
      t:sure("unmap", lun, host)
    end,
  },
  {
    name = "create_host",
    needs = "create_host",
    run = function(t)
      local first <const> = t:sure("create_host", t.host_name, t.ports)
      local second <const>, why <const> = t:ask("create_host", t.host_name, t.ports)
      if second or why.kind ~= "conflict" then
        wrong("what exists is a conflict: the core looks whose it is", "%s", second and "it is taken" or text(why))
      end
      expect(#t:own_hosts(), 1, "the number of host objects is")
      expect(t:own_hosts()[1].id, first.id, "its id is")
    end,
  },
  {
    name = "remove_host",
    needs = "remove_host",
    run = function(t)
      local host <const> = t:own_host()
      expect(t:sure("remove_host", host), "removed", "the first remove_host returns")
      expect(t:sure("remove_host", host), "removed", "the second remove_host returns")
    end,
  },
  { name = "copy_start and copy_stop", needs = "copy_start", run = copies_once },
}

-- Two jobs -------------------------------------------------------------------------------------------------------------------------

-- Another job on the same ESXi host, with its own login.
local function with_another(run)
  return function(t)
    local other <const> = trials.open(t.rig)
    other.ports = t.ports
    local ok <const>, why <const> = pcall(run, t, other)
    other:close()
    if not ok then error(why) end
  end
end

local function others_stay(t, other)
  local host <const> = t:own_host()
  local theirs <const> = other:own_hosts()[1]
  expect(theirs and theirs.id, host.id, "the host object that the other finds is")
  local mine <const>, its <const> = t:lun(1), other:lun(2)
  t:sure("map", mine, host)
  other:sure("map", its, theirs)
  t:sure("unmap", mine, host)
  if host.ours then expect(t:sure("remove_host", host), "in use", "remove_host of one in use returns") end
  if not other:map_of(its, theirs) then wrong("the other job's volume stays mapped", "it is unmapped") end
  other:sure("unmap", its, theirs)
  if host.ours then expect(other:sure("remove_host", theirs), "removed", "the last one's remove_host returns") end
end

-- Both at once, first as two logins, then as two jobs that share one.
local function together(ask, check)
  return function(t, other)
    for _, second in ipairs { other, t } do
      local s <const> = { lun = t:lun(), host = ask ~= "create_host" and t:own_host() or nil }
      local args <const> = ask == "create_host" and { t.host_name, t.ports } or { s.lun, s.host }
      trials.both(
        function() return t:ask(ask, table.unpack(args)) end,
        function() return second:ask(ask, table.unpack(args)) end
      )
      check(t, s)
      t:clean()
    end
  end
end

-- The other maps the volume before one of our requests, each in turn: only one of the two has made the mapping, and undoes it.
local function one_makes(t, other)
  local lun <const>, host <const>, rig <const> = t:lun(), t:own_host(), t.rig
  local before <const> = #rig.requests
  t:sure("map", lun, host)
  for k = 1, #rig.requests - before do
    t:sure("unmap", lun, host)
    rig.mark = #rig.requests
    local its
    rig:interpose(k, function() its = other:ask("map", lun, host) end)
    local mine <const>, why <const> = t:ask("map", lun, host)
    rig:interpose()
    if not mine then
      judge.check_clean(why)
    elseif its and (mine == "made") == (its == "made") then
      local expected <const> = 'one says "made" and the other "existing", for only one mapping is there'
      wrong(expected, 'the other maps it before request %d, and both say "%s"', k, mine)
    end
    t:sure("map", lun, host)
  end
end

local function both_leave(t, other)
  local lun <const>, host <const> = t:lun(), t:own_host()
  t:sure("map", lun, host)
  local function leave(one)
    local done, why = one:ask("unmap", lun, host)
    if done and host.ours then
      done, why = one:ask("remove_host", host)
    end
    return done, why
  end
  trials.both(function() return leave(t) end, function() return leave(other) end)
end

---@type lib.Manner[]
M.TWO_JOBS = {
  { name = "one's end leaves the other's volume mapped", run = with_another(others_stay) },
  {
    name = "both make the host object",
    needs = "create_host",
    run = with_another(
      together("create_host", function(t) expect(#t:own_hosts(), 1, "the number of host objects is") end)
    ),
  },
  {
    name = "both map the same volume",
    run = with_another(together("map", function(t, s)
      if not t:map_of(s.lun, s.host) then wrong("it is mapped", "it is not mapped") end
    end)),
  },
  { name = "the other maps the volume while one looks", is_of_lab = true, run = with_another(one_makes) },
  { name = "both take everything away", run = with_another(both_leave) },
}

-- What is others' ------------------------------------------------------------------------------------------------------------------

local CROWD <const> = 60 -- arrays like to end a page after 50

local function found_in_a_crowd(t)
  local lun <const>, host <const> = t:lun(), t:own_host()
  expect((t:own_hosts()[1] or {}).id, host.id, "the host object found is")
  expect(t:sure("map", lun, host), "made", "the first map returns")
  if not t:map_of(lun, host) then wrong("the mapping, whatever page it is on", "maps_of does not tell it") end
  expect(t:sure("map", lun, host), "existing", "the second map returns")
end

local FOREIGN_DEVICES <const> =
  { "naa.600508b1001c4f3ea1b2c3d4e5f60718", "naa.6000000000000000", "eui.0000000000000000" }

---@type lib.Manner[]
M.OTHERS = {
  {
    name = "a host object of our name that holds another host's ports shows them",
    needs = "create_host",
    run = function(t)
      local made <const> = t:sure("create_host", t.host_name, t.rig.strangers)
      local found <const>, why <const> = t:ask("hosts_of", t.rig.initiators, t.host_name)
      if why then judge.check_clean(why) end
      local it <const> = found and list.find(found, "id", made.id)
      local taken <const>, unlike <const> = t:ask("create_host", t.host_name, t.rig.initiators)
      local is_taken <const> = taken or unlike.kind ~= "conflict"
      local is_hidden <const> = it and #initiator.missing(it.ports or {}, t.rig.initiators) == 0
      t:sure("remove_host", made)
      if is_taken then
        wrong("create_host finds a conflict: the name is taken", "%s", taken and "it takes it over" or text(unlike))
      end
      if is_hidden then wrong("its ports, all of them: the core tells by them whose it is", "they are not shown") end
    end,
  },
  {
    name = "a host object that is gone is no host to map to",
    needs = "remove_host",
    run = function(t)
      local lun <const>, host <const> = t:lun(), t:own_host()
      t:sure("remove_host", host)
      local said <const>, why <const> = t:ask("map", lun, host)
      if said or why.kind ~= "not_found" then
        wrong("a failure of kind not_found: the core makes another host object then", "%s", said or text(why))
      end
    end,
  },
  { name = "many others come before what is ours", crowd = CROWD, run = found_in_a_crowd },
  {
    name = "devices of other arrays",
    needs = "find_lun",
    run = function(t)
      for _, naa in ipairs(FOREIGN_DEVICES) do
        local found <const>, why <const> = t:ask("find_lun", { naa = naa })
        if found or why then wrong("nil for " .. naa, "%s", found and found.name or text(why)) end
      end
    end,
  },
}

-- Hostile names --------------------------------------------------------------------------------------------------------------------

local HOSTILE <const> = {
  "*",
  trials.HOST_NAME:sub(1, 6) .. "*",
  "..",
  "../../x",
  "a/b",
  "a%2Fb",
  "a?b=c&d#e",
  "a\"b'c",
  "a b",
  "ö漢",
  "-",
  "\n",
  "%s%n",
  ("x"):rep(300),
}

local function check_sound(results)
  local why <const> = results[1] == nil and results[2]
  if why then judge.check_clean(why) end
  return why
end

-- While one of our own is there, of which none of these is the name; and made by that name.
local function try_host(t, name)
  if not t.has.create_host then return check_sound(table.pack(t:ask("hosts_of", t.ports, name))) end
  local ours <const> = t:own_host()
  local seen <const> = table.pack(t:ask("hosts_of", t.ports, name))
  check_sound(seen)
  for _, host in ipairs(seen[1] or {}) do
    if host.ours then wrong("no host object: none has that name", "hosts_of takes %s for it", host.name) end
  end
  t:sure("remove_host", ours)
  local made <const> = table.pack(t:ask("create_host", name, t.ports))
  if check_sound(made) then return end
  local found <const> = t:sure("hosts_of", t.ports, name)
  t:sure("remove_host", made[1])
  expect(found[1] and found[1].id, made[1].id, "the host object found by the name it was made by is")
end

-- Two names of one length that differ before or after the middle: a host object of the one is none of the other's.
local function try_alike(t, length, format)
  local filling <const> = ("h"):rep(length - #format)
  local function named(digit) return (format:gsub("%p", { ["#"] = digit, ["*"] = filling })) end
  local one <const>, other <const> = named "1", named "2"
  local made <const>, why <const> = t:ask("create_host", one, t.ports)
  if not made then wrong("a host object: the script shortens a name that is too long", "%s", text(why)) end
  local seen <const> = t:sure("hosts_of", t.ports, other)
  t:sure("remove_host", made)
  for _, host in ipairs(seen) do
    if host.ours then
      wrong("names that are shortened stay different: make it a digest", "both become %s", host.name)
    end
  end
end

local function try_volume(t, name)
  local given <const> = t.rig.pvs[1]
  local pv <const> = { name = given.name, driver = given.driver, handle = name, attributes = {} }
  for key in pairs(given.attributes) do
    pv.attributes[key] = name
  end
  local results <const> = table.pack(t:ask("lun_of", pv))
  if not check_sound(results) then wrong("a failure: there is no such volume", "lun_of finds %s", results[1].name) end
end

local function try_device(t, name)
  for _, id in ipairs { { naa = name }, { naa = "naa." .. name }, { vvol = name } } do
    local results <const> = table.pack(t:ask("find_lun", id))
    if not check_sound(results) and results[1] then wrong("nil", "find_lun finds %s", results[1].name) end
  end
end

local function label_of(name) return #name > 20 and ("of %d letters"):format(#name) or ("%q"):format(name) end

---@return lib.Manner[]
function M.hostile()
  local cases <const> = {}
  for _, name in ipairs(HOSTILE) do
    local shown <const> = label_of(name)
    cases[#cases + 1] = { name = "host " .. shown, run = function(t) try_host(t, name) end }
    cases[#cases + 1] = { name = "volume " .. shown, run = function(t) try_volume(t, name) end }
    cases[#cases + 1] = { name = "device " .. shown, needs = "find_lun", run = function(t) try_device(t, name) end }
  end
  for place, format in pairs { start = "xcopy-#*-00000001", ["end"] = "xcopy-*-0000000#" } do
    for _, length in ipairs { 40, 100 } do
      local name <const> = ("hosts of %d letters, another at the %s"):format(length, place)
      local function run(t) try_alike(t, length, format) end
      cases[#cases + 1] = { name = name, needs = "create_host", run = run }
    end
  end
  return cases
end

-- Account and settings -------------------------------------------------------------------------------------------------------------

local function refused_by(rig, changes)
  local before <const> = rig.requests and #rig.requests or 0
  local ok <const>, opened <const> = pcall(trials.open, rig, changes)
  if ok then
    opened:close()
    wrong("open fails", "it was opened")
  end
  judge.check_clean(opened)
  judge.check_secrets(rig.secrets, opened)
  if not opened.hint then wrong("a hint that says what to do", "%s", text(opened)) end
  return opened, (rig.requests and #rig.requests or 0) - before
end

local function expect_config(rig, changes) expect(refused_by(rig, changes).kind, "config", "the failure's kind is") end

-- Whatever else is written there is no good, or is not asked for.
local function is_sound_with(rig, changes)
  local ok <const>, opened <const> = pcall(trials.open, rig, changes)
  if ok then return opened:close() end
  judge.check_clean(fail.of(opened))
end

---@param rig lib.Rig
---@return lib.Manner[]
function M.account(rig)
  local cases <const> = {
    {
      name = "wrong password",
      run = function()
        local why <const>, count <const> = refused_by(rig, { password = rig.wrong_password })
        expect(why.kind, "denied", "the failure's kind is")
        if count > 3 then wrong("few tries: accounts get locked", "%d requests with a wrong password", count) end
      end,
    },
    { name = "no user name", run = function() expect_config(rig, { username = false }) end },
  }
  for name, option in pairs(rig.vendor.options) do
    local label <const> = "setting " .. (option.env or name)
    if option.required then
      cases[#cases + 1] = { name = label .. " absent", run = function() expect_config(rig, { [name] = false }) end }
    end
    for _, value in ipairs(option.type == "string" and not option.choices and HOSTILE or {}) do
      local about <const> = ("%s %s"):format(label, label_of(value))
      cases[#cases + 1] = { name = about, run = function() is_sound_with(rig, { [name] = value }) end }
    end
  end
  table.sort(cases, function(a, b) return a.name < b.name end)
  return cases
end

return M
