--- SIGKILL before, during and after every effect of populate, settling's included; then a second run, or reap. The points come from the
--- flow's own trace.
local kills <const> = require "support.kills"
local list <const> = require "lib.list"

local LABS <const> = 2
local DOES <const> = {
  populate = "is followed by a run that copies once and leaves nothing",
  reap = "is followed by reap, which leaves nothing",
}

-- A host's Leases are no effects, and the cluster is asked once more where they are new.
local function without_leases(writes)
  return list.filter(writes, function(entry) return entry.service ~= "kube" end)
end

-- An effect's requests are those that came between a kill before it and a kill before the next one.
local function requests_of(effects, results, all_writes)
  local before <const>, points <const> = {}, {}
  for _, result in ipairs(results) do
    before[result.case.point.n] = without_leases(result.writes)
  end
  for n, effect in ipairs(effects) do
    local seen <const>, writes <const> = {}, before[n + 1] or without_leases(all_writes)
    for i, entry in ipairs(writes) do
      if i > #before[n] then
        local request <const> = { service = entry.service, earlier = seen[entry.service] or 0 }
        points[#points + 1] = { when = "during", n = n, name = effect.name, request = request }
      end
      seen[entry.service] = (seen[entry.service] or 0) + 1
    end
  end
  return points
end

-- What is killed once the clone was started, while it surely runs.
local function add_running(points)
  for i = 1, #points do
    local point <const> = points[i]
    if point.name == "clone.start" then
      points[#points + 1] =
        { when = point.when, n = point.n, name = point.name, request = point.request, is_running = true }
      if point.when == "after" then
        points[#points + 1] = { when = "between", n = point.n, name = point.name, is_running = true }
      end
    end
  end
end

describe("a populate that is killed", function()
  local benches <const>, results <const>, effects, points = {}, {}, nil, {}

  local function run(chosen)
    table.move(chosen, 1, #chosen, #points + 1, points)
    local found <const> = kills.run_all("file", benches, chosen)
    table.move(found, 1, #found, #results + 1, results)
  end

  setup(function()
    for i = 1, LABS do
      benches[i] = kills.open "file"
    end
    local before <const>, rest <const> = {}, {}
    local writes
    effects, writes = benches[1]:trace()
    for n, effect in ipairs(effects) do
      before[n] = { when = "before", n = n, name = effect.name }
      rest[n] = { when = "after", n = n, name = effect.name }
    end
    run(before)
    for _, point in ipairs(requests_of(effects, results, writes)) do
      rest[#rest + 1] = point
    end
    add_running(rest)
    run(rest)
  end)

  teardown(function()
    for _, bench in ipairs(benches) do
      bench:close()
    end
    kills.tell(("kill matrix: %d effects, %d points"):format(#effects, #points), results)
  end)

  it("is killed before, during and after every effect that it tells of", function()
    local seen <const> = {}
    for _, point in ipairs(points) do
      seen[point.when .. point.n] = true
    end
    for n, effect in ipairs(effects) do
      assert.equal(n, effect.number)
      for _, when in ipairs { "before", "during", "after" } do
        assert.is_true(seen[when .. n], ("no case %s %s"):format(when, effect.name))
      end
    end
  end)

  for _, when in ipairs { "before", "during", "after", "between" } do
    for _, again in ipairs(kills.AGAIN) do
      it(("%s its effects %s"):format(when, DOES[again]), function() kills.assert_good(results, when, again) end)
    end
  end
end)
