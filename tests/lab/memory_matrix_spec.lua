--- Memory that runs out during populate: one allocation of its Lua states, all from one on, or one in C. The allocations are chosen by a
--- seed. Whatever its end, it says what is left, and a second run or reap leaves nothing.
local kills <const> = require "support.kills"

local LABS <const> = 2
local SEED <const> = math.tointeger(tonumber(os.getenv "LUNALIFT_MATRIX_SEED")) or 4
local POINTS <const> = { lua = 24, all = 10, c = 14 }
local EFFECTS_FROM <const> = { lua = 0.9, all = 0.9, c = 0.75 } -- most of Lua's allocations are its scripts
local EVERY <const> = math.tointeger(tonumber(os.getenv "LUNALIFT_MATRIX_EVERY")) or 1

local SIGABRT <const>, INCOMPLETE <const> = 6, 5

-- What does not fail a copy that is done: files of a clone on its host, which the journal keeps, and a login that ends by itself.
local function is_cosmetic(left, ended, has_journal)
  for _, what in ipairs(left) do
    local is_file <const> = has_journal and (what:find "^left file " or what:find ", tasks %d+ = ")
    local is_login <const> = what:find "^left session " and (ended.out .. ended.err):find "not logged out"
    if not is_file and not is_login then return false end
  end
  return true
end

-- A process that was ended in the middle of it keeps its journal; one that went on to its end leaves nothing, or says so.
local function judge(ended, left)
  local has_journal <const> = table.concat(left, "\n"):find "%.json = there" ~= nil
  local said_so <const> = ended.err:find "[Oo]ut of memory\n" ~= nil
  if (ended.signal == SIGABRT or ended.code == 255) and said_so then return end
  if ended.code == 1 and ended.err:find "error: not enough memory\n" then return end
  if not math.type(ended.code) then
    return ("it ended with %s: %s"):format(ended.code or ended.signal, ended.err:sub(-1500))
  end
  local may_leave <const> = ended.code == INCOMPLETE and has_journal or is_cosmetic(left, ended, has_journal)
  if #left > 0 and not may_leave then
    return ("with exit code %d it left: %s\n%s"):format(ended.code, table.concat(left, "; "), ended.err:sub(-1500))
  end
end

local function choose(totals)
  local points <const> = {}
  math.randomseed(SEED)
  for _, what in ipairs { "lua", "all", "c" } do
    for i = 1, POINTS[what] // EVERY do
      local from <const> = i % 4 < 2 and 1 or math.floor(totals[what] * EFFECTS_FROM[what]) -- half of them where the effects are
      local starve <const> = ("%s %d"):format(what, math.random(from, totals[what]))
      points[#points + 1] =
        { when = "starved", n = i, name = starve, starve = starve, again = kills.AGAIN[i % 2 + 1], judge = judge }
    end
  end
  return points
end

describe("a populate that runs out of memory", function()
  local benches <const>, results, points = {}, nil, nil

  setup(function()
    for i = 1, LABS do
      benches[i] = kills.open "file"
    end
    local lua, c
    kills.run_all("file", { benches[1] }, {
      {
        when = "starved",
        n = 0,
        name = "nothing",
        again = "reap",
        judge = function(ended)
          lua, c = ended.err:match "# allocations: lua (%d+), c (%d+)"
          return ended.code ~= 0 and ended.err or nil
        end,
      },
    })
    points = choose { lua = assert(math.tointeger(lua)), all = math.tointeger(lua), c = math.tointeger(c) }
    print(("# %s allocations in Lua, %s in C"):format(lua, c))
    results = kills.run_all("file", benches, points)
  end)

  teardown(function()
    for _, bench in ipairs(benches) do
      bench:close()
    end
    kills.tell(("memory matrix: %d points"):format(#points), results)
  end)

  it(
    "says what it leaves, and is followed by a run that copies once and leaves nothing",
    function() kills.assert_good(results, "starved", "populate") end
  )
  it(
    "says what it leaves, and is followed by reap, which leaves nothing",
    function() kills.assert_good(results, "starved", "reap") end
  )
end)
