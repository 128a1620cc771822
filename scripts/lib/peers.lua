--- Logins to vCenters and arrays that jobs share: each is made once for all that use it, and ended when none has used it for a while.
local fail <const> = require "lib.fail"
local log <const> = require "lunalift.log"
local task <const> = require "lunalift.task"
local timer <const> = require "lunalift.timer"

local M <const> = {}

---@class lib.Peers
---@field linger_s number how long one is kept that nobody uses
local Peers <const> = {}
Peers.__index = Peers

---@param linger_s? number 0 unless set: ended with its last user
---@return lib.Peers
function M.new(linger_s) return setmetatable({ linger_s = linger_s or 0, held = {} }, Peers) end

--- The peer of this key; who takes it gives it back, once. Where opening fails, the next one tries anew.
---@generic T: { close: fun(self) }
---@param key string tells apart what is not the same login
---@param open fun(): T
---@return T
function Peers:take(key, open)
  local entry <const> = self.held[key] or { users = 0, mutex = task.mutex() }
  self.held[key] = entry
  entry.users = entry.users + 1
  local _undo <close> = setmetatable({}, {
    __close = function(_, why)
      if why then self:give(key) end
    end,
  })
  local _lock <close> = entry.mutex:lock()
  entry.peer = entry.peer or open()
  return entry.peer
end

local function close_if_idle(self, key, entry)
  if entry.users > 0 or self.held[key] ~= entry then return end
  self.held[key] = nil -- who comes now opens a new one
  if entry.peer then entry.peer:close() end
end

--- Raises what kept it from being closed, if it was closed.
---@param key string
function Peers:give(key)
  local entry <const> = self.held[key]
  entry.users = entry.users - 1
  if self.linger_s == 0 then return close_if_idle(self, key, entry) end
  task.spawn(function()
    timer.sleep(self.linger_s)
    local ok <const>, why <const> = pcall(close_if_idle, self, key, entry)
    if not ok then log.warn("not logged out", { peer = key, why = fail.text(why) }) end
  end)
end

return M
