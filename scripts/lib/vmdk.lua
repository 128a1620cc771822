--- Paths of virtual disks: `[datastore] folder/file.vmdk`.
local fail <const> = require "lib.fail"

local M <const> = {}

---@class lib.VmdkPath
---@field datastore string
---@field path string below the datastore, "web/web.vmdk"
---@field text string "[ds] web/web.vmdk"
---@field on_host string "/vmfs/volumes/ds/web/web.vmdk"

local SHAPE <const> = "it should be '[datastore] folder/disk.vmdk'"

--- Raises a config failure for anything else.
---@param text string
---@return lib.VmdkPath
function M.parse(text)
  local function refuse(why) error(fail.hint(fail.new("config", "invalid VMDK path %q: %s", text, why), SHAPE)) end
  if text == "" then refuse "it is empty" end
  if text:find "%c" then refuse "it holds control characters" end
  local datastore <const>, rest <const> = text:match "^%[(.-)%] (.*)$"
  if not datastore then refuse "the datastore in brackets, followed by a blank, is missing" end
  if datastore == "" or datastore == "." or datastore == ".." or datastore:find("/", 1, true) then
    refuse "the datastore's name is empty, dots or holds a slash"
  end
  local path <const> = rest:gsub("/+", "/")
  if not path:find "^[^/]+/.*[^/]$" then refuse "a folder and a file are needed" end
  for component in path:gmatch "[^/]+" do
    if component == ".." or component == "." then refuse(("'%s' is no folder"):format(component)) end
  end
  if not path:find "%.vmdk$" then refuse "the file's name must end in .vmdk" end
  return {
    datastore = datastore,
    path = path,
    text = ("[%s] %s"):format(datastore, path),
    on_host = ("/vmfs/volumes/%s/%s"):format(datastore, path),
  }
end

return M
