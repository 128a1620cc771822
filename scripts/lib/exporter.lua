--- Serves a job's metrics while it runs, and its last ones until somebody has had them.
local certificate <const> = require "lunalift.certificate"
local fail <const> = require "lib.fail"
local log <const> = require "lunalift.log"
local metrics <const> = require "lib.metrics"
local server <const> = require "lunalift.server"
local timer <const> = require "lunalift.timer"

local M <const> = {}

local BODY_MAX <const> = 1024 -- of a request, which has none
local LOOK_EVERY_S <const> = 0.05
local FLUSH_S <const> = 0.2 -- an answer that was given is on its way by then

---@class lib.Exporter
---@field outcome? lib.Outcome
---@field had_last boolean the last values were asked for and given
local Exporter <const> = {}
Exporter.__index = Exporter

-- All addresses of the machine: IPv6's stand for both, where there is IPv6.
local ANY <const> = { "::", "0.0.0.0" }

local function parse(endpoint)
  local host <const>, port <const> = endpoint:match "^(.*):(%d+)$"
  if port and tonumber(port) < 65536 then
    return host == "" and ANY or { host:match "^%[(.*)%]$" or host }, math.tointeger(tonumber(port))
  end
  local why <const> = fail.new("config", "--http-endpoint: '%s' is no address to listen at", endpoint)
  error(fail.hint(why, "give an address and a port, such as :8443 or 127.0.0.1:9090, or off"))
end

local function listen(hosts, options)
  local papers <const>, trouble <const> = certificate.leaf { cn = "lunalift", names = { "DNS:localhost" } }
  if not papers then return nil, trouble end
  options.cert, options.key = papers.cert, papers.key
  local listening, why
  for _, host in ipairs(hosts) do
    options.host = host
    listening, why = server.listen(options)
    if listening then break end
  end
  return listening, why
end

--- Answer over TLS at "host:port" or ":port", with a certificate made for this run.
---@param endpoint string
---@param on_request fun(request: ServerRequest): ServerAnswer?
---@return Server? listening
---@return Fail? why
function M.serve(endpoint, on_request)
  local hosts <const>, port <const> = parse(endpoint)
  return listen(hosts, { port = port, max_body = BODY_MAX, on_request = on_request })
end

local function answer(self, path, request)
  if request.path ~= path then return { status = 404 } end
  if request.method ~= "GET" and request.method ~= "HEAD" then return { status = 405 } end
  local body <const> = metrics.text(metrics.of(self.job, self.outcome))
  if self.outcome and request.method == "GET" then self.had_last = true end
  return { headers = { ["content-type"] = metrics.CONTENT_TYPE }, body = body }
end

--- Listen over TLS, with a certificate made for this run: forklift's controller asks for none in particular. Nobody to listen to is no
--- reason not to copy: it is only said.
---@param job lib.Job
---@param endpoint string "host:port", ":port" or "off"
---@param path string
---@return lib.Exporter
function M.open(job, endpoint, path)
  local self <const> = setmetatable({ job = job, had_last = false }, Exporter)
  if endpoint == "off" then return self end
  local listening <const>, why <const> = M.serve(endpoint, function(request) return answer(self, path, request) end)
  if not listening then job:warn("metrics are not served: %s", fail.text(why)) end
  if listening then log.info("metrics are served", { port = listening.port, path = path }) end
  self.server = listening
  return self
end

--- Serve the last values until they were had, or for that long, or until the job is cancelled.
---@param outcome lib.Outcome
---@param within_s number
function Exporter:finish(outcome, within_s)
  if not self.server then return end
  self.outcome = outcome
  local until_s <const> = timer.now() + within_s
  while not self.had_last and not self.job.cancelled_by and timer.now() < until_s do
    timer.sleep(LOOK_EVERY_S)
  end
  if self.had_last then timer.sleep(FLUSH_S) end
  self.server:close()
end

return M
