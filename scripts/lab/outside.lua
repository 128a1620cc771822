--- A host whose storage and programs are elsewhere: a machine of its own, such as a guest under qemu, with a door that runs scripts as
--- root. vCenter, what esxcli tells and what the host discovers stay the lab's. The devices that are on are really shown to that machine,
--- by its program `lun` (show NAA, hide NAA, is-open NAA), and what hostd would run is run there.
local http <const> = require "lunalift.http"
local task <const> = require "lunalift.task"

---@class lab.outside
local M <const> = {}

local TIMEOUT_S <const> = 600

---@class lab.Outside
---@field shown table<string, boolean> NAAs
local Outside <const> = {}
Outside.__index = Outside

---@param url string of the door
---@return lab.Outside
function M.new(url)
  local door <const> = http.client { base = url, timeout_s = TIMEOUT_S }
  return setmetatable({ door = door, shown = {}, showing = task.mutex() }, Outside)
end

--- Run a script there.
---@return string output both of its streams
---@return boolean ok it ended with 0
function Outside:run(script)
  local answer <const>, why <const> = self.door:post("", { body = script })
  if answer then return answer.body, true end
  assert(why.status == 500, why.message)
  return why.body, false
end

--- Let it see a LUN, or no longer.
---@param naa string
---@param is_on boolean
function Outside:publish(naa, is_on)
  local _lock <close> = self.showing:lock()
  if is_on == (self.shown[naa] or false) then return end
  local output <const>, ok <const> = self:run(("lun %s %s"):format(is_on and "show" or "hide", naa))
  assert(ok, output)
  self.shown[naa] = is_on or nil
end

---@param naa string
---@return boolean
function Outside:is_open(naa)
  local _output <const>, ok <const> = self:run("lun is-open " .. naa)
  return ok
end

return M
