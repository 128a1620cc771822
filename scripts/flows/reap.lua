--- Find what dead runs left, and put it back if asked to.
local reaping <const> = require "lib.reaping"
local scanning <const> = require "lib.scanning"

---@param job lib.Job
return function(job)
  local request <const> = job.request

  job:step "read the journals"
  local items <const> = reaping.journals(job)
  job:note { items = items }
  job:found("%d found", #items)

  if request.scan then
    job:step "look at hosts, array and datastores"
    local found <const> = scanning.scan(job, items)
    table.move(found, 1, #found, #items + 1, items)
    job:found("%d things that no journal names", #found)
  end

  if request.apply then
    job:step "put back what is provably ours"
    reaping.settle(job, items)
    job:found("%d left", reaping.count_left(items))
  end
end
