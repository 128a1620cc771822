-- answer.lua STATUS EXIT MESSAGE EXPRESSION [print]: whether the expression holds, or its value.
-- In it, m is the decoded message; nil when that is no JSON.
local cjson <const> = require "cjson"
local is_json, m <const> = pcall(cjson.decode, arg[3])
local names <const> = setmetatable({
  m = is_json and m or nil,
  status = arg[1],
  code = math.tointeger(tonumber(arg[2])),
  message = arg[3],
  null = cjson.null,
}, { __index = _G })
local is_sound <const>, value = pcall(assert(load("return " .. arg[4], "=expression", "t", names)))
if not is_sound then
  print("# " .. value)
  os.exit(1)
end
if type(value) == "number" then value = math.tointeger(value) or value end
if arg[5] then print(value) end
os.exit(value and 0 or 1)
