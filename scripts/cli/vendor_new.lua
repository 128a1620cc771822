--- lunalift vendor new: a vendor script that works, and the lab's array that it works on, for an author to bend to his array.
local arrays <const> = require "lib.arrays"
local console <const> = require "lunalift.console"
local fail <const> = require "lib.fail"
local flags <const> = require "lib.flags"
local fs <const> = require "lunalift.fs"
local script <const> = require "lunalift.script"

local M <const> = {}

local USAGE <const> = [[
usage: lunalift vendor new NAME [--title TEXT] [--dir DIR]

Writes DIR/vendors/NAME.lua, a vendor script that works, and DIR/lab/NAME.lua, the simulated array that it works on. Bend both to yours.

]]

local FLAGS <const> = {
  { name = "title", help = "what people call the array" },
  {
    name = "dir",
    default = "scripts",
    help = "folder of scripts, made if need be; --scripts DIR lays it over the built-in ones",
  },
  { name = "scripts", help = "folder of scripts laid over the built-in ones" },
  { name = "help", type = "bool", default = false, help = "this text" },
}

local NEXT <const> = [[
{dir}/vendors/{name}.lua  the vendor script
{dir}/lab/{name}.lua      the simulated array

Both work together already:
  lunalift vendor check {dir}/vendors/{name}.lua
  lunalift vendor test {name} --scripts {dir}
  lunalift lab --scripts {dir} --array {name} --dir /tmp/site
Read docs/vendors.md, and bend the one and the other to your array.
]]

-- Room of the scripts, and the template of what goes there.
local FILES <const> = { { "vendors", "vendor" }, { "lab", "array" } }

local function refuse(hint, fmt, ...) fail.advise("config", hint, fmt, ...) end

local function check_name(name)
  if not name:find "^%l[%w_]*$" then
    local hint <const> = "a name is the product key of STORAGE_VENDOR: a small letter, then letters and digits"
    refuse(hint, "'%s' is no name for a vendor", name)
  end
  for _, known in ipairs(arrays.names()) do
    if known == name then
      local path <const> = assert(script.find("vendors." .. name)).path
      refuse("take another name, or edit that file", "there is a vendor %s: %s", name, path)
    end
  end
  if script.find("lab." .. name) then refuse("take another name", "the lab has a script %s of its own", name) end
end

local function check_title(title)
  if not title:find "%S" or title:find '[%c"\\]' then
    refuse("write it without quotes and backslashes", "'%s' is no title", title)
  end
end

-- The template is of the product acme, Acme Box, made by Acme.
local function made_of(template, name, title)
  local text <const> = assert(script.source(assert(script.find("templates." .. template)).path))
  local words <const> = { acme = name, ACME = name:upper(), AcmeBox = title, Acme = title:match "%S+" }
  return (text:gsub("Acme Box", "AcmeBox"):gsub("%a+", words))
end

local function make_folders(path)
  local missing <const> = {}
  while path ~= "" and not fs.stat(path) do
    table.insert(missing, 1, path)
    path = path:match "^(.*)/[^/]*$" or ""
  end
  for _, each in ipairs(missing) do
    assert(fs.mkdir(each))
  end
end

---@param args string[]
---@return integer exit_code
function M.run(args)
  local values <const>, rest <const> = flags.parse(args, FLAGS)
  if values.help then
    console.out(USAGE .. flags.help(FLAGS) .. "\n")
    return 0
  end
  local name <const> = rest[1]
  if #rest ~= 1 then refuse(USAGE:match "[^\n]+", "vendor new needs one name") end
  local title <const>, dir <const> = values.title or name, values.dir:match "^(.-)/*$"
  check_name(name)
  check_title(title)
  for _, each in ipairs(FILES) do
    local path <const> = ("%s/%s/%s.lua"):format(dir, each[1], name)
    if fs.stat(path) then refuse("take another name or folder", "%s is there already", path) end
  end
  for _, each in ipairs(FILES) do
    make_folders(("%s/%s"):format(dir, each[1]))
    assert(fs.write(("%s/%s/%s.lua"):format(dir, each[1], name), made_of(each[2], name, title)))
  end
  console.out((NEXT:gsub("{(%w+)}", { dir = dir, name = name })))
  return 0
end

return M
