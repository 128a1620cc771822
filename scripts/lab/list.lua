--- Small things done with lists.
local lists <const> = require "lib.list"

---@class lab.list
local M <const> = {}

--- The first item that suits, and its place.
function M.find(list, suits)
  for i, item in ipairs(list) do
    if suits(item) then return item, i end
  end
end

--- The first item whose field has that value.
function M.by(list, field, value)
  return M.find(list, function(item) return item[field] == value end)
end

--- All items that suit, and what a function makes of each.
M.keep, M.each = lists.filter, lists.map

--- How many keys a table has.
function M.count(set)
  local count = 0
  for _ in pairs(set) do
    count = count + 1
  end
  return count
end

--- The list, or nil when it is empty.
function M.some(list) return list[1] ~= nil and list or nil end

return M
