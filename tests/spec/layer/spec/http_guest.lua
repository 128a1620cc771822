--- Runs in a state of its own, with a list of the hosts that it may reach.
local http <const> = require "lunalift.http"

local M <const> = {}

function M.get(base, path)
  local reply <const>, why <const> = http.client({ base = base }):get(path)
  return reply and reply.status, why
end

return M
