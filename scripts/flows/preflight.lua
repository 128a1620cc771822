--- Look at everything that a copy needs, and change nothing.
local checks <const> = require "lib.checks"

---@param job lib.Job
return function(job)
  job:step "look at everything"
  job:note { checks = checks.all(job, job.request.host_alone and checks.OF_HOST or nil) }
end
