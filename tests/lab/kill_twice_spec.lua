--- Killed while its clone runs; what comes after is killed as well, before and after each of its effects; then it comes once more.
local kills <const> = require "support.kills"
local task <const> = require "lunalift.task"

local RUNNING <const> = { when = "between", n = 0, name = "while it follows its clone", is_running = true }

describe("what follows a kill, killed itself,", function()
  local results <const> = {}

  setup(function()
    local chains <const> = {}
    for _, again in ipairs(kills.AGAIN) do
      for _, when in ipairs { "before", "after" } do
        chains[#chains + 1] = { again = again, when = when }
      end
    end
    local function work()
      local bench, found <const> = kills.open "file", {}
      while #chains > 0 do
        local chain <const> = table.remove(chains)
        for _, result in ipairs(kills.run_twice(bench, RUNNING, chain.again, chain.when)) do
          found[#found + 1] = result
        end
        if #found[#found].problems > 0 then
          bench:close()
          bench = kills.open "file"
        end
      end
      bench:close()
      return found
    end
    for _, found in ipairs(task.all { work, work }) do
      table.move(found, 1, #found, #results + 1, results)
    end
  end)

  teardown(function() kills.tell("killed twice", results) end)

  for _, again in ipairs(kills.AGAIN) do
    it("is made good when it comes once more: " .. again, function()
      kills.assert_good(results, "between", again)
      local crashed = 0
      for _, result in ipairs(results) do
        if result.case.again == again and not result.survived then crashed = crashed + 1 end
      end
      assert.is_true(crashed > 10, "killed but " .. crashed .. " times")
    end)
  end
end)
