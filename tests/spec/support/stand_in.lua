--- Stand-ins for modules, for one test. Scripts are loaded afresh, so that they meet the stand-ins and not the real ones.
local M <const> = {}

local OURS <const> = { lib = true, cli = true, flows = true }

---@param fakes table<string, table> by module name
---@return fun() restore for after_each
function M.install(fakes)
  local saved <const> = {}
  for name, module in pairs(package.loaded) do
    if OURS[name:match "^(%a+)%."] then saved[name] = module end
  end
  for name in pairs(fakes) do
    saved[name] = package.loaded[name] or false
  end
  for name in pairs(saved) do
    package.loaded[name] = fakes[name]
  end
  return function()
    for name in pairs(package.loaded) do
      if OURS[name:match "^(%a+)%."] then package.loaded[name] = nil end
    end
    for name, module in pairs(saved) do
      package.loaded[name] = module or nil
    end
  end
end

--- A clock that jumps: sleeping costs nothing but is a wait all the same, so that a cancel arrives there.
---@return table clock with `timer`, the stand-in for lunalift.timer, and `naps`, the seconds slept
function M.clock()
  local real <const> = require "lunalift.timer"
  local clock <const> = { now_s = 1000, naps = {} }
  clock.timer = {
    now = function() return clock.now_s end,
    epoch = function() return 1769860800 end,
    iso = function() return "2026-01-31T12:00:00.123456Z" end,
    parse = real.parse,
    sleep = function(seconds)
      clock.naps[#clock.naps + 1] = seconds
      clock.now_s = clock.now_s + seconds
      return real.sleep(0)
    end,
  }
  return clock
end

--- What a program would print.
---@param terminal? { width: integer?, utf8: boolean? } nil: no terminal
---@return table console with `said` and `complained`
function M.console(terminal)
  local console <const> = { said = "", complained = "" }
  console.out = function(text) console.said = console.said .. text end
  console.err = function(text) console.complained = console.complained .. text end
  console.is_terminal = function() return terminal ~= nil end
  console.width = function() return terminal and terminal.width or 80 end
  console.is_utf8 = function() return terminal ~= nil and terminal.utf8 ~= false end
  return console
end

--- An environment of its own.
---@param variables table<string, string>
---@return table env
function M.env(variables)
  local secret <const> = require "lunalift.secret"
  return {
    get = function(name) return variables[name] end,
    secret = function(name) return variables[name] and secret.new(variables[name]) end,
    read = function() end,
  }
end

--- A log that is kept and not written.
---@return table log with `lines`
function M.log()
  local log <const> = { lines = {}, redact = function(text) return text end }
  for _, level in ipairs { "debug", "info", "warn", "error" } do
    log[level] = function(message, fields)
      log.lines[#log.lines + 1] = { level = level, message = message, fields = fields }
    end
  end
  return log
end

return M
