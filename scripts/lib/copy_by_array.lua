--- A disk that is a volume itself, copied by its array: nothing is shown to any host.
local array_copies <const> = require "lib.array_copies"
local evidence <const> = require "lib.evidence"
local timer <const> = require "lunalift.timer"

local M <const> = {}

---@class lib.CopyByArray : lib.Copy
---@field copy? lib.ArrayCopy once it is started
local Copy <const> = {}
Copy.__index = Copy

---@param job lib.Job
---@param found lib.Found
---@return lib.CopyByArray
function M.new(job, found) return setmetatable({ job = job, found = found }, Copy) end

function Copy:ready() return "nothing is shown to a host" end

function Copy:go_on(earlier) self.copy = earlier.copy end

function Copy:show() end

function Copy:start()
  if self.copy then return end
  local found <const> = self.found
  self.began_s = timer.now()
  self.copy = array_copies.start(self.job, found.array, found.way.source, found.lun)
end

function Copy:states() return array_copies.follow(self.job, self.found.array, self.copy) end

function Copy:judge()
  self.job:note { naa = self.found.lun.naa }
  return true
end

function Copy:prove() return evidence.text(evidence.of_array(self.job, self.last)) end

return M
