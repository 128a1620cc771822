---@meta lunalift.crash
--- Points at which a test can have the process die. They do nothing unless the environment asks for one.
---@class lunalift.crash
local crash = {}

--- Die by SIGKILL here if LUNALIFT_TEST_CRASH is "<when>:<n>".
---@param when string "before" or "after"
---@param n integer the effect's number
function crash.point(when, n) end

return crash
