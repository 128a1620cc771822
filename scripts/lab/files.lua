--- What the lab does to files more than once.
local fs <const> = require "lunalift.fs"

---@class lab.files
local M <const> = {}

--- Make a folder and those above it.
---@param path string
function M.mkdirs(path)
  if path == "" or path == "/" or fs.stat(path) then return end
  M.mkdirs(path:match "^(.*)/[^/]*$" or "")
  assert(fs.mkdir(path))
end

--- Remove all files of a folder.
function M.empty(path)
  for _, name in ipairs(fs.list(path) or {}) do
    fs.remove(path .. "/" .. name)
  end
end

--- A symbolic link, whatever was there before.
function M.relink(target, path)
  fs.remove(path)
  assert(fs.symlink(target, path))
end

--- Write a file so that readers meet the old or the new text, never half of one.
function M.replace(path, text)
  assert(fs.write(path .. ".new", text))
  assert(fs.rename(path .. ".new", path))
end

--- Copy a script of the host, to be run by this BusyBox: the machine's own /bin/sh is another shell.
function M.install_script(from, to, busybox)
  local text <const> = assert(fs.read(from))
  assert(fs.write(to, (text:gsub("^#![^\n]*", "#!" .. busybox .. " sh"))))
  assert(fs.chmod(to, tonumber("755", 8)))
end

return M
