--- Archives in memory: tar and ar, of files whose owner is root and whose time is given. The same files give the same bytes.
local fail <const> = require "lib.fail"

local M <const> = {}

local BLOCK <const> = 512 -- of tar
local TAR_NAME_MAX <const> = 100
local AR_MAGIC <const> = "!<arch>\n"
local AR_HEADER <const> = "%-16s%-12d%-6d%-6d%-8o%-10d`\n"
local AR_HEADER_BYTES <const> = 60
local AR_NAME_MAX <const> = 15 -- and a slash

local function check_name(name, longest)
  if #name > longest then fail.raise("bug", "the name %s does not fit into an archive", name) end
end

-- ---- tar: ustar, as POSIX has it ----

-- name mode uid gid size mtime sum type linkname magic version uname gname major minor prefix, and up to a block
local TAR_HEADER <const> = "c100 c8 c8 c8 c12 c12 c8 c1 c100 c6 c2 c32 c32 c8 c8 c155 c12"

local function octal(digits, number) return ("%%0%do"):format(digits):format(number) end

local function tar_header(name, mode, size, time_s, type)
  check_name(name, TAR_NAME_MAX)
  local zero <const> = octal(7, 0)
  local fields <const> =
    { name, octal(7, mode), zero, zero, octal(11, size), octal(11, time_s), (" "):rep(8), type, "", "ustar" }
  table.move({ "00", "root", "root", zero, zero, "", "" }, 1, 7, #fields + 1, fields)
  local sum = 0 -- of the header with blanks where it will stand
  for byte in TAR_HEADER:pack(table.unpack(fields)):gmatch "." do
    sum = sum + byte:byte()
  end
  fields[7] = octal(6, sum) .. "\0 "
  return TAR_HEADER:pack(table.unpack(fields))
end

local function padded(text, block) return text .. ("\0"):rep(-#text % block) end

-- "a/b/c" has the folders "a/" and "a/b/".
local function folders_of(files)
  local seen <const>, folders <const> = {}, {}
  for _, file in ipairs(files) do
    for at in file.name:gmatch "()/" do
      local folder <const> = file.name:sub(1, at)
      if not seen[folder] then folders[#folders + 1] = folder end
      seen[folder] = true
    end
  end
  return folders
end

---@class lib.ArchiveFile
---@field name string relative; in an ar without slashes
---@field text string
---@field mode? integer 0644; of tar alone

--- The folders first, then the files in the order given.
---@param files lib.ArchiveFile[]
---@param time_s integer
---@return string
function M.tar(files, time_s)
  local parts <const> = {}
  for _, folder in ipairs(folders_of(files)) do
    parts[#parts + 1] = tar_header(folder, tonumber("755", 8), 0, time_s, "5")
  end
  for _, file in ipairs(files) do
    parts[#parts + 1] = tar_header(file.name, file.mode or tonumber("644", 8), #file.text, time_s, "0")
    parts[#parts + 1] = padded(file.text, BLOCK)
  end
  parts[#parts + 1] = ("\0"):rep(2 * BLOCK)
  return padded(table.concat(parts), 20 * BLOCK) -- as tar has written to tapes ever since
end

-- ---- ar: as GNU writes it ----

---@param files lib.ArchiveFile[]
---@return string
function M.ar(files)
  local parts <const> = { AR_MAGIC }
  for _, file in ipairs(files) do
    check_name(file.name, AR_NAME_MAX)
    parts[#parts + 1] = AR_HEADER:format(file.name .. "/", 0, 0, 0, tonumber("644", 8), #file.text)
    parts[#parts + 1] = #file.text % 2 == 0 and file.text or file.text .. "\n"
  end
  return table.concat(parts)
end

--- The members, in order. Raises protocol where it is none, or cut short.
---@param bytes string
---@return lib.ArchiveFile[]
function M.read_ar(bytes)
  if bytes:sub(1, #AR_MAGIC) ~= AR_MAGIC then fail.raise("protocol", "it is no ar archive") end
  local files <const>, at = {}, #AR_MAGIC + 1
  while at <= #bytes do
    local header <const> = bytes:sub(at, at + AR_HEADER_BYTES - 1)
    local name <const>, size <const> = header:match "^([^/ ]+)/? *[%d ]+ +(%d+) *`\n$"
    local text <const> = name and bytes:sub(at + AR_HEADER_BYTES, at + AR_HEADER_BYTES + size - 1)
    if not text or #text ~= math.tointeger(tonumber(size)) then
      fail.raise("protocol", "the archive is damaged, or cut short, at byte %d", at - 1)
    end
    files[#files + 1] = { name = name, text = text }
    at = at + AR_HEADER_BYTES + #text + #text % 2
  end
  return files
end

return M
