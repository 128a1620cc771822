--- SIGKILL around the start of a clone that is asked for over SSH, and while it is followed: all else is the same by vCenter.
local kills <const> = require "support.kills"

describe("a populate over SSH that is killed around its clone's start", function()
  local bench, results = nil, {}

  setup(function()
    bench = kills.open("file", "ssh")
    local effects <const> = bench:trace()
    local start
    for _, effect in ipairs(effects) do
      if effect.name == "clone.start" then start = effect.number end
    end
    local points <const> = {}
    for i, when in ipairs { "during", "after", "between" } do
      points[i] =
        { when = when, n = start, name = "clone.start", is_running = true, request = { service = "ssh", earlier = 0 } }
    end
    results = kills.run_all("file", { bench }, points, "ssh")
  end)

  teardown(function()
    bench:close()
    kills.tell("kill matrix, over SSH", results)
  end)

  for _, when in ipairs { "during", "after", "between" } do
    for _, again in ipairs(kills.AGAIN) do
      it(
        ("%s it is followed by %s, which copies once or stops the writer, and leaves nothing"):format(when, again),
        function() kills.assert_good(results, when, again) end
      )
    end
  end
end)
