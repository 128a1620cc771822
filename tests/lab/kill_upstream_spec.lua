--- SIGKILL around the start of a clone that upstream's wrapper makes: it takes no id of ours, and neither lists nor stops what it started.
local kills <const> = require "support.kills"

describe("a populate with upstream's wrapper that is killed around its clone's start", function()
  local bench, results = nil, {}

  setup(function()
    bench = kills.open("file", "upstream")
    local effects <const>, writes <const> = bench:trace()
    local earlier, start = 0, nil
    for _, entry in ipairs(writes) do
      if entry.target == "vmkfstools.clone" then break end
      if entry.service == "vcenter" then earlier = earlier + 1 end
    end
    for _, effect in ipairs(effects) do
      if effect.name == "clone.start" then start = effect.number end
    end
    local request <const> = { service = "vcenter", earlier = earlier }
    local points <const> = {}
    local function add(when, is_running, is_unlearnt)
      points[#points + 1] = {
        when = when,
        n = start,
        name = "clone.start",
        request = request,
        is_running = is_running,
        is_unlearnt = is_unlearnt,
      }
    end
    add("before", false)
    for _, is_running in ipairs { true, false } do
      add("during", is_running, true)
      add("after", is_running, true)
      add("between", is_running)
    end
    results = kills.run_all("file", { bench }, points, "upstream")
  end)

  teardown(function()
    bench:close()
    kills.tell("kill matrix, upstream's wrapper", results)
  end)

  for _, when in ipairs { "before", "during", "after", "between" } do
    for _, again in ipairs(kills.AGAIN) do
      it(
        ("%s it is followed by %s, which waits for the writer and leaves nothing but what nobody can name"):format(
          when,
          again
        ),
        function() kills.assert_good(results, when, again) end
      )
    end
  end
end)
