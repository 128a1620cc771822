--- What a vendor's declared options say to people: a table for its page, lines for the help, a Secret to fill in.
local json <const> = require "lunalift.json"
local list <const> = require "lib.list"
local words <const> = require "lib.words"

local M <const> = {}

---@class lib.VendorOption : lib.Flag
---@field env string
---@field required? boolean

--- The options of a vendor: the required ones first, then by variable.
---@param vendor table as lib.arrays describes it
---@return lib.VendorOption[]
function M.options(vendor)
  local options <const> = {}
  for _, option in pairs(vendor.options) do
    if option.env then options[#options + 1] = option end
  end
  table.sort(options, function(a, b)
    if (a.required or false) ~= (b.required or false) then return a.required or false end
    return a.env < b.env
  end)
  return options
end

-- "port of the array; integer, default 443".
local function meaning(option)
  local parts <const> = {}
  if option.type and option.type ~= "string" then parts[#parts + 1] = option.type end
  if option.choices then parts[#parts + 1] = "one of " .. table.concat(option.choices, ", ") end
  local has_default <const> = option.default ~= nil and option.default ~= ""
  if has_default then parts[#parts + 1] = "default " .. tostring(option.default) end
  return (option.help or "") .. (parts[1] and "; " .. table.concat(parts, "; ") or "")
end

local function row(option)
  local needed <const> = option.required and "yes" or "no"
  return ("| `%s` | %s | %s |\n"):format(option.env, needed, (meaning(option):gsub("|", "\\|")))
end

--- The part of a vendor's page that its script declares.
---@param vendor table
---@return string markdown
function M.markdown(vendor)
  local facts <const> = ("CSI drivers: `%s`. Fabrics: %s. Status: %s.\n"):format(
    table.concat(vendor.drivers, "`, `"),
    words.list(vendor.fabrics),
    vendor.status or "not said"
  )
  local rows <const> = list.map(M.options(vendor), row)
  if #rows == 0 then return facts .. "\nIt has no settings beside `STORAGE_…`.\n" end
  return facts .. "\n| Setting of its own | Needed | Meaning |\n|---|---|---|\n" .. table.concat(rows)
end

--- A line for each option of each vendor.
---@param vendors table[]
---@return string
function M.help(vendors)
  local lines <const> = {}
  for _, vendor in ipairs(vendors) do
    for _, option in ipairs(M.options(vendor)) do
      local needed <const> = option.required and "; mandatory" or ""
      lines[#lines + 1] = ("  %-32s %s: %s%s\n"):format(option.env, vendor.name, meaning(option), needed)
    end
  end
  return table.concat(lines)
end

local function entry(option)
  local mark <const> = option.required and "" or "# "
  local value <const> = json.encode(tostring(option.default == nil and "" or option.default))
  return ("  # %s\n  %s%s: %s\n"):format(meaning(option), mark, option.env, value)
end

--- A Secret with the variables of the array's account and its own; what is not needed is commented out.
---@param vendor table
---@param common lib.VendorOption[] the variables of all arrays
---@return string yaml
function M.secret(vendor, common)
  local head <const> = "apiVersion: v1\nkind: Secret\nmetadata:\n  name: storage-%s\ntype: Opaque\nstringData:\n"
  local entries <const> = list.map(common, entry)
  table.move(list.map(M.options(vendor), entry), 1, #M.options(vendor), #entries + 1, entries)
  return head:format(vendor.name:lower():gsub("_", "-")) .. table.concat(entries)
end

return M
