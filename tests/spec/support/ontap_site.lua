--- An opened ontap vendor on a fake wire, for its specs.
local fake_http = require "fake_http"

local M = {}

M.SVM = { uuid = "77deec3a-38ea-11ec-aca8-00a0b89c9a78", name = "svm0" }
M.MODULES = { "vendors.ontap", "lib.poll", "lib.rest" }

--- Stand-ins for the C modules, and fresh scripts on top of them.
function M.start()
  local site = { wire = fake_http.install(), log = {}, naps = {}, saved = {} }
  for _, name in ipairs { "lunalift.log", "lunalift.timer" } do
    site.saved[name] = package.loaded[name] or false
  end
  local now = 0
  package.loaded["lunalift.log"] =
    { info = function(message, fields) table.insert(site.log, { message = message, fields = fields }) end }
  package.loaded["lunalift.timer"] = {
    now = function() return now end,
    sleep = function(seconds)
      now = now + seconds
      table.insert(site.naps, seconds)
    end,
  }
  for _, name in ipairs(M.MODULES) do
    package.loaded[name] = nil
  end
  site.vendor = require "vendors.ontap"
  return setmetatable(site, { __index = M })
end

function M:stop()
  self.wire:restore()
  for name, module in pairs(self.saved) do
    package.loaded[name] = module or nil
  end
  for _, name in ipairs(M.MODULES) do
    package.loaded[name] = nil
  end
end

function M.conf(fields)
  local conf =
    { hostname = "ontap.example", username = "admin", password = "*secret*", tls = { insecure = true }, timeout_s = 30 }
  for key, value in pairs(fields or {}) do
    conf[key] = value or nil
  end
  return conf
end

function M.list(...) return { records = { ... }, num_records = select("#", ...) } end

function M.refusal(code, message, target) return { error = { code = code, message = message or "no", target = target } } end

--- The array, its SVM found.
function M:open()
  self.wire:expect("GET", "/api/svm/svms"):reply(M.list(M.SVM))
  return self.vendor.open(M.conf())
end

--- What calling a method raises.
function M.raised(fn, ...)
  local done, why = pcall(fn, ...)
  assert(not done, "nothing was raised")
  return why
end

return M
