--- Hands its arguments to busted, inside a task, and turns its wish to exit into the task's result.
local M <const> = {}

---@param args string[]
---@return integer exit_code
function M.main(args)
  local left <const> = {}
  _G.arg = table.move(args, 1, #args, 1, { [0] = "lunalift-test" })
  os.exit = function(code) -- luacheck: ignore 122
    left.code = code == true and 0 or code == false and 1 or code or 0
    error(left)
  end
  local ok <const>, why <const> = pcall(function() require "busted.runner" { standalone = false } end)
  if not ok and why ~= left then error(why) end
  return left.code or 0
end

return M
