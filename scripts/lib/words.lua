--- Words for people: the nearest right name, sizes, times.
local M <const> = {}

local function distance(a, b)
  local row <const> = {}
  for j = 0, #b do
    row[j] = j
  end
  for i = 1, #a do
    local corner = row[0]
    row[0] = i
    for j = 1, #b do
      local best <const> = math.min(corner + (a:byte(i) == b:byte(j) and 0 or 1), row[j] + 1, row[j - 1] + 1)
      corner, row[j] = row[j], best
    end
  end
  return row[#b]
end

--- The name that is nearest to what was typed; nil when none is near.
---@param word string
---@param names string[]
---@return string?
function M.nearest(word, names)
  local best, best_distance = nil, math.max(2, #word // 2) + 1
  for _, name in ipairs(names) do
    local d <const> = name:sub(1, #word) == word and 1 or distance(word, name)
    if d < best_distance then
      best, best_distance = name, d
    end
  end
  return best
end

--- "did you mean map?", or else what is said otherwise.
---@param word string
---@param names string[]
---@param otherwise string
---@return string
function M.suggestion(word, names, otherwise)
  local near <const> = M.nearest(word, names)
  return near and ("did you mean %s?"):format(near) or otherwise
end

local UNITS <const> = { { 1 << 40, "TiB" }, { 1 << 30, "GiB" }, { 1 << 20, "MiB" }, { 1 << 10, "KiB" } }

--- 40 GiB, 1.5 GiB, 512 bytes.
---@param bytes number
---@return string
function M.size(bytes)
  for _, unit in ipairs(UNITS) do
    if bytes >= unit[1] then
      local count <const> = bytes / unit[1]
      if count == math.floor(count) then return ("%d %s"):format(count, unit[2]) end
      return ("%.1f %s"):format(count, unit[2])
    end
  end
  return ("%.0f bytes"):format(bytes)
end

--- 8 s, 3 min 20 s, 2 h 5 min.
---@param seconds number
---@return string
function M.span(seconds)
  seconds = math.floor(seconds + 0.5)
  if seconds < 60 then return seconds .. " s" end
  if seconds < 3600 then return ("%d min %d s"):format(seconds // 60, seconds % 60) end
  return ("%d h %d min"):format(seconds // 3600, seconds % 3600 // 60)
end

--- "a, b and c".
---@param list string[]
---@return string
function M.list(list)
  if #list < 2 then return list[1] or "none" end
  return table.concat(list, ", ", 1, #list - 1) .. " and " .. list[#list]
end

--- Did the array move the data?
---@param offloaded boolean? nil: nobody could tell
---@param remark? string why not, or what went wrong on the way
---@return string
function M.offload(offloaded, remark)
  local text = "offload unknown"
  if offloaded then
    text = remark and "offloaded in part" or "offloaded"
  elseif offloaded == false then
    text = "not offloaded"
  end
  return remark and text .. ": " .. remark or text
end

return M
