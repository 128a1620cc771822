--- What the isolate specs call: echoes, failures, and every way out that a script might try.
local http <const> = require "lunalift.http"
local json <const> = require "lunalift.json"
local secret <const> = require "lunalift.secret"
local task <const> = require "lunalift.task"
local timer <const> = require "lunalift.timer"

local M <const> = {}

function M.echo(...) return ... end
function M.keep(value) M.kept = value end
function M.kept_value() return M.kept end
function M.task_functions() return task.spawn ~= nil, task.signal == nil end
function M.sleep(seconds) return timer.sleep(seconds) end
function M.raise(value) error(value) end
function M.closure()
  return function() end
end
function M.show(value) return tostring(value), "a" .. value .. "b", ("%s"):format(value), secret.is(value) end

function M.loop()
  while true do
    pcall(function()
      while true do
      end
    end)
  end
end

function M.loop_in_comparator()
  local list <const> = {}
  for i = 1, 100 do
    list[i] = i
  end
  table.sort(list, function()
    while true do
    end
  end)
end

function M.loop_in_handler()
  local function loop()
    while true do
    end
  end
  xpcall(loop, loop)
end

function M.take_options(options) return pcall(http.client, setmetatable({}, { __index = options })) end

function M.unseal()
  json.array(string)
  string.format = nil -- luacheck: ignore 122
end

function M.fill_strings()
  local all <const> = {}
  while true do
    all[#all + 1] = ("x"):rep(1 << 20) .. #all
  end
end

function M.fill_tables()
  local all = {}
  while true do
    all = { all }
  end
end

function M.fill_tasks()
  while true do
    task.spawn(timer.sleep, 60)
  end
end

function M.long_pattern() return (("a"):rep(2 << 20)):find ".-b" end
function M.with_gc()
  return setmetatable({}, { __gc = function() end })
end
function M.global(name) return type(require "spec.globals"(name)) end
function M.try_require(name) return pcall(require, name) end
function M.dump() return string.dump end -- luacheck: ignore 143
function M.string_metatable() return getmetatable "" end

function M.poison()
  string.format = nil -- luacheck: ignore 122
end

return M
