--- Lists that come in pages.
local fail <const> = require "lib.fail"

local M <const> = {}

-- No list we ask for is this long: more pages mean an array that never ends its list.
local MAX_PAGES <const> = 10000

--- All items, in order. `page(cursor)` asks for one page, cursor nil for the first, and returns its items (nil for none) and the
--- cursor of the next, nil after the last. It raises on failure. A short page is not the last one: only a missing cursor ends the list.
---@generic T
---@param page fun(cursor: any): T[]?, any
---@return T[]
function M.all(page)
  local all <const> = {}
  local items, cursor = page(nil)
  for _ = 1, MAX_PAGES do
    table.move(items or {}, 1, #(items or {}), #all + 1, all)
    if cursor == nil then return all end
    local before <const> = cursor
    items, cursor = page(before)
    if cursor == before then fail.raise("protocol", "the page after %s points at itself", before) end
  end
  fail.raise("protocol", "the list has no end: %d pages, %d items", MAX_PAGES, #all)
end

return M
