--- Runs in a state of its own, with a list of the hosts that it may reach.
local http <const> = require "lunalift.http"
local task <const> = require "lunalift.task"

local M <const> = {}

function M.get(base, path, tls)
  local reply <const>, why <const> = http.client({ base = base, tls = tls }):get(path)
  return reply and reply.status, why
end

--- As many requests at once, with whatever ceiling a script may name; how many were answered, and a failure.
function M.get_at_once(base, count, body)
  local client <const> = http.client { base = base, max_body = 1 << 30 }
  local answered, failure, asks = 0, nil, {}
  for i = 1, count do
    asks[i] = function()
      local reply <const>, why <const> = client:post("/", { body = body })
      answered, failure = answered + (reply and 1 or 0), failure or why
    end
  end
  task.all(asks)
  return answered, failure
end

return M
