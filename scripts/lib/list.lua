--- Small words for lists.
local M <const> = {}

---@generic T, U
---@param items T[]
---@param fn fun(item: T): U
---@return U[]
function M.map(items, fn)
  local results <const> = {}
  for i, item in ipairs(items) do
    results[i] = fn(item)
  end
  return results
end

---@generic T
---@param items T[]
---@param is_wanted fun(item: T): any
---@return T[]
function M.filter(items, is_wanted)
  local wanted <const> = {}
  for _, item in ipairs(items) do
    if is_wanted(item) then wanted[#wanted + 1] = item end
  end
  return wanted
end

--- The first item whose `field` is `value`.
---@generic T: table
---@param items T[]
---@param field string
---@return T?
function M.find(items, field, value)
  for _, item in ipairs(items) do
    if item[field] == value then return item end
  end
end

--- The names of items for a message: sorted, "none" for none.
---@param items { name: string }[]
---@return string
function M.names(items)
  local names <const> = M.map(items, function(item) return item.name end)
  table.sort(names)
  return names[1] and table.concat(names, ", ") or "none"
end

return M
