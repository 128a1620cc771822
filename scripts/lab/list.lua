--- Small things done with lists.
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

--- All items that suit.
function M.keep(list, suits)
  local kept <const> = {}
  for _, item in ipairs(list) do
    if suits(item) then kept[#kept + 1] = item end
  end
  return kept
end

--- What `fn` makes of each item.
function M.each(list, fn)
  local made <const> = {}
  for i, item in ipairs(list) do
    made[i] = fn(item)
  end
  return made
end

--- The list, or nil when it is empty.
function M.some(list) return list[1] ~= nil and list or nil end

return M
