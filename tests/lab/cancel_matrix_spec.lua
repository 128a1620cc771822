local matrix <const> = require "support.matrix"

local BY <const> = "stopped by SIGTERM"

-- A cancel that comes at a moment of a request's life: on its way, or done and not answered yet.
local function at_request(cases, entry, moment)
  cases[#cases + 1] = {
    name = ("%s %s (%d)"):format(moment, entry.key, entry.nth),
    [moment] = function(now, job)
      if now.key == entry.key and now.nth == entry.nth then job:cancel(BY) end
    end,
  }
end

local function cases_of(trace)
  local cases <const> = {}
  for wait = 1, trace.waits do
    cases[wait] = { name = "wait " .. wait, cancel_at = wait }
  end
  for _, entry in ipairs(trace.requests) do
    at_request(cases, entry, "before")
    if entry.effect then at_request(cases, entry, "after") end
  end
  return cases
end

local function prove(transport)
  local trace <const> = matrix.trace(transport)
  assert.is_nil(trace.why)

  local cases <const>, counts <const>, wrong <const> = matrix.some(cases_of(trace), transport), {}, {}
  matrix.each(cases, function(case, outcome)
    local why <const> = outcome.why
    local kind <const> = why and why.kind or "done"
    counts[kind] = (counts[kind] or 0) + 1
    for _, problem in ipairs(outcome.problems) do
      wrong[#wrong + 1] = ("%s: %s"):format(case.name, problem)
    end
    if why and why.kind ~= "cancelled" then
      wrong[#wrong + 1] = ("%s: %s: %s"):format(case.name, why.kind, why.message)
    end
    -- The last wait writes down that the copy is done and proved, whatever comes in between; one run may wait once less than another.
    if case.cancel_at and not why and outcome.waits > case.cancel_at then
      wrong[#wrong + 1] = case.name .. ": went on"
    end
  end, transport)
  matrix.tell(
    ("%s: %d waits, %d requests, %d cancels, %s"):format(
      transport,
      trace.waits,
      #trace.requests,
      #cases,
      matrix.seconds()
    ),
    counts
  )
  assert(#wrong == 0, "\n" .. table.concat(wrong, "\n"))
end

describe("a cancel at each wait of populate", function()
  for _, transport in ipairs(matrix.TRANSPORTS) do
    it(
      ("stops the writer and leaves nothing behind, and what is being put back is put back, over %s"):format(transport),
      function() prove(transport) end
    )
  end
end)
