---@meta lunalift.fs
--- Files. Lab and test states only. Failures: nil, fail.
---@class lunalift.fs
local fs = {}
function fs.read(path) end
function fs.write(path, text) end
function fs.append(path, text) end
function fs.mkdir(path) end
function fs.remove(path) end
function fs.rename(from, to) end
function fs.link(from, to) end
function fs.symlink(target, path) end
function fs.realpath(path) end
function fs.chmod(path, mode) end
---@return string[]? names sorted
function fs.list(path) end
---@return { size: integer, kind: string, inode: integer, mode: integer, mtime: number }? found follows symlinks; kind file, directory, other
function fs.stat(path) end
--- Make a sparse file of that size.
function fs.truncate(path, size) end
--- Fill with pseudo-random bytes of a seed (fast, the same for the same seed).
---@param path string
---@param options { size: integer, seed: integer, offset: integer? }
function fs.fill(path, options) end
---@return string? bytes
function fs.pread(path, offset, length) end
function fs.pwrite(path, offset, bytes) end
---@return string
function fs.cwd() end
return fs
