--- What the controller tells over HTTP: does it live, is it ready, and its metrics. See docs/metrics.md.
local exporters <const> = require "lib.exporter"
local fail <const> = require "lib.fail"
local metrics <const> = require "lib.metrics"

local M <const> = {}

---@class lib.ControllerDoor
---@field version string
---@field by? lib.Controller while it leads
local Door <const> = {}
Door.__index = Door

---@param version string
---@return lib.ControllerDoor
function M.new(version) return setmetatable({ version = version }, Door) end

-- Who waits to lead is ready to; who leads, once all was seen.
local function is_ready(self) return not self.by or self.by:is_synced() end

local NOTHING <const> = { claims = 0, waiting = 0, copies = 0, ended = {} }

local function metrics_of(self)
  local list <const>, counts <const> = {}, self.by and self.by:counts() or NOTHING
  local function add(name, kind, help, value, labels)
    list[#list + 1] =
      { name = "lunalift_controller_" .. name, kind = kind, help = help, value = value, labels = labels or {} }
  end
  add("build_info", "gauge", "What serves this.", 1, { version = self.version })
  add("leading", "gauge", "Does this process lead (1), or wait to (0)?", self.by and 1 or 0)
  add("claims", "gauge", "Claims in view: those to be filled, and those filled in their place.", counts.claims)
  add("queued", "gauge", "Claims that are to be looked at, now or later.", counts.waiting)
  add("copies", "gauge", "Copies under way.", counts.copies)
  for _, result in ipairs { "success", "retry", "failure" } do
    local help <const> = "Copies that have ended, by how."
    add("copies_total", "counter", help, counts.ended[result] or 0, { result = result })
  end
  return metrics.text(list)
end

local PAGES <const> = {
  ["/healthz"] = function() return { body = "ok\n" } end,
  ["/readyz"] = function(self)
    if is_ready(self) then return { body = "ok\n" } end
    return { status = 503, body = "not all claims are seen yet\n" }
  end,
  ["/metrics"] = function(self)
    return { headers = { ["content-type"] = metrics.CONTENT_TYPE }, body = metrics_of(self) }
  end,
}

---@param request ServerRequest
---@return ServerAnswer
function Door:answer(request)
  local page <const> = PAGES[request.path]
  if not page then return { status = 404 } end
  if request.method ~= "GET" and request.method ~= "HEAD" then return { status = 405 } end
  return page(self)
end

--- Open it at "host:port", ":port"; "off": not at all.
---@param endpoint string
function Door:open(endpoint)
  if endpoint == "off" then return end
  local listening <const>, why <const> = exporters.serve(endpoint, function(request) return self:answer(request) end)
  if not listening then error(fail.wrap(why, "--http-endpoint: nobody can be answered at %s", endpoint)) end
  self.server = listening
end

return M
