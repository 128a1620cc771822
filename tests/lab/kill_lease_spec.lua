--- SIGKILL at every writing request of populate, those that keep its journal in a Lease included: acted on, not yet answered. On a site
--- where another populator uses the same host, through a group of our name. Then a second run, or reap.
local kills <const> = require "support.kills"

local LABS <const> = 2

describe("a populate with its journal in a Lease, killed at any request that changes something,", function()
  local benches <const>, points <const>, results = {}, {}, {}

  setup(function()
    for i = 1, LABS do
      benches[i] = kills.open "lease"
    end
    local _effects <const>, writes <const> = benches[1]:trace()
    local seen <const> = {}
    for n, entry in ipairs(writes) do
      local service <const> = entry.service
      local name <const> = ("%s %s %s"):format(service, entry.method, entry.target or entry.path)
      points[n] = { when = "during", n = n, name = name, request = { service = service, earlier = seen[service] or 0 } }
      seen[service] = (seen[service] or 0) + 1
    end
    results = kills.run_all("lease", benches, points)
  end)

  teardown(function()
    for _, bench in ipairs(benches) do
      bench:close()
    end
    kills.tell(("kill matrix, Lease: %d points"):format(#points), results)
  end)

  for _, again in ipairs(kills.AGAIN) do
    it("leaves nothing after " .. again, function() kills.assert_good(results, "during", again) end)
  end
end)
