--- SIGKILL before, during and after every effect of populate, settling's included; then a second run, or reap. The points come from the
--- flow's own trace.
local kills <const> = require "support.kills"
local task <const> = require "lunalift.task"

local LABS <const> = 3
local AGAIN <const> = { "populate" }
local DOES <const> = { populate = "is followed by a run that copies once and leaves nothing" }

-- Every case once, on whichever site is free. A site that was left dirty is replaced.
local function run_all(benches, cases, results)
  local next_case = 0
  local workers <const> = {}
  for i = 1, #benches do
    workers[i] = function()
      while next_case < #cases do
        next_case = next_case + 1
        local case <const> = cases[next_case]
        local result <const> = benches[i]:run(case)
        results[#results + 1] = result
        if #result.problems > 0 then
          benches[i]:close()
          benches[i] = kills.open()
        end
      end
    end
  end
  task.all(workers)
end

local function each(points)
  local cases <const> = {}
  for _, point in ipairs(points) do
    for _, again in ipairs(AGAIN) do
      cases[#cases + 1] = { point = point, again = again }
    end
  end
  return cases
end

-- An effect's requests are those that came between a kill before it and a kill before the next one.
local function requests_of(effects, results, all_writes)
  local before <const> = {}
  for _, result in ipairs(results) do
    before[result.case.point.n] = result.writes
  end
  local points <const> = {}
  for n, effect in ipairs(effects) do
    local seen <const>, writes <const> = {}, before[n + 1] or all_writes
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

  local function add(list)
    table.move(list, 1, #list, #points + 1, points)
    return list
  end

  setup(function()
    for i = 1, LABS do
      benches[i] = kills.open()
    end
    local before <const>, rest <const> = {}, {}
    local writes
    effects, writes = benches[1]:trace()
    for n, effect in ipairs(effects) do
      before[n] = { when = "before", n = n, name = effect.name }
      rest[n] = { when = "after", n = n, name = effect.name }
    end
    run_all(benches, each(add(before)), results)

    for _, point in ipairs(requests_of(effects, results, writes)) do
      rest[#rest + 1] = point
    end
    add_running(rest)
    run_all(benches, each(add(rest)), results)
  end)

  teardown(function()
    for _, bench in ipairs(benches) do
      bench:close()
    end
    local counts <const>, lines <const> = {}, {}
    for _, result in ipairs(results) do
      local outcome <const> = #result.problems > 0 and "FAILED" or result.outcome
      local key <const> = ("killed %s, then %s: %s"):format(result.case.point.when, result.case.again, outcome)
      counts[key] = (counts[key] or 0) + 1
    end
    for key, count in pairs(counts) do
      lines[#lines + 1] = ("# %3d %s\n"):format(count, key)
    end
    table.sort(lines)
    io.write(
      ("# kill matrix: %d effects, %d points, %d cases\n"):format(#effects, #points, #results),
      table.concat(lines)
    )
  end)

  -- Fails with every case by its name, and what it left.
  local function assert_good(when, again)
    local count, failed <const> = 0, {}
    for _, result in ipairs(results) do
      if result.case.point.when == when and result.case.again == again then
        count = count + 1
        if #result.problems > 0 then
          failed[#failed + 1] = kills.name(result.case) .. ":\n    " .. table.concat(result.problems, "\n    ")
        end
      end
    end
    assert.is_true(count > 0, "no case")
    assert(#failed == 0, table.concat(failed, "\n"))
  end

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
    for _, again in ipairs(AGAIN) do
      it(("%s its effects %s"):format(when, DOES[again]), function() assert_good(when, again) end)
    end
  end
end)
