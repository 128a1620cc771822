--- What the fuzz target of the journal calls: reads one as a run does; only failures that speak to users may come of it.
local form <const> = require "lib.journal_form"

local M <const> = {}

local EXPECTED <const> = { protocol = true, unsupported = true }

---@param text string
function M.read(text)
  local ok <const>, why <const> = pcall(form.decode, text, "here")
  if ok then
    for _, entry in ipairs(why.entries) do
      assert(entry.undo:len() + entry.about:len() >= 0 and entry.args)
    end
  elseif type(why) ~= "table" or not EXPECTED[why.kind] then
    error(tostring(why), 0)
  end
end

return M
