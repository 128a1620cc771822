--- The SSH service of a host: a real sshd with a host key of its own, on loopback, for the user who runs the lab.
local fail <const> = require "lib.fail"
local files <const> = require "lab.files"
local fs <const> = require "lunalift.fs"
local process <const> = require "lunalift.process"
local timer <const> = require "lunalift.timer"

---@class lab.sshd
local M <const> = {}

local PROGRAM <const> = "/usr/sbin/sshd"
local START_S <const> = 20

-- Without a home the user's shell reads no set-up of his own, which may take long or print.
local CONFIG <const> = [[
SetEnv HOME=/nonexistent
ListenAddress %s
Port %d
HostKey "%s/host_key"
AuthorizedKeysFile "%s/authorized_keys"
PidFile "%s/pid"
StrictModes no
UsePAM no
PermitRootLogin yes
PasswordAuthentication no
LogLevel VERBOSE
]]

---@class lab.Sshd
---@field folder string
---@field address string
---@field port integer
---@field user string who may log in
---@field fingerprint string of its key: "SHA256:…"
local Sshd <const> = {}
Sshd.__index = Sshd

local function run(...)
  local ended <const> = assert(process.run { argv = { ... } })
  if ended.code ~= 0 then fail.raise("failed", "%s: %s", (...), ended.err) end
  return (ended.out:gsub("%s+$", ""))
end

-- A real moment, though time is skipped.
local function pause() run("sleep", "0.01") end

--- A key pair; the private one is the file, the public one has .pub.
---@param path string
---@param kind? "ed25519"|"rsa" the latter in PEM with 2048 bits, as forklift makes them
function M.make_key(path, kind)
  local command <const> = { "ssh-keygen", "-q", "-t", kind or "ed25519", "-N", "", "-C", "lab", "-f", path }
  if kind == "rsa" then table.move({ "-b", "2048", "-m", "PEM" }, 1, 4, #command + 1, command) end
  fs.remove(path)
  run(table.unpack(command))
end

--- A new key of the host, which it shows from its next start on.
function Sshd:make_host_key()
  M.make_key(self.folder .. "/host_key")
  self.fingerprint = run("ssh-keygen", "-l", "-f", self.folder .. "/host_key.pub"):match "SHA256:%S+"
end

---@param lines string of authorized_keys
function Sshd:authorize(lines) files.replace(self.folder .. "/authorized_keys", lines) end

--- What it logged since its start.
---@return string
function Sshd:log() return fs.read(self.folder .. "/log") or "" end

-- No child of ours: it is there for as long as the lab is, and what lives by another clock keeps this one from being skipped.
local function try(self)
  assert(
    fs.write(self.folder .. "/config", CONFIG:format(self.address, self.port, self.folder, self.folder, self.folder))
  )
  fs.remove(self.folder .. "/log")
  run(PROGRAM, "-f", self.folder .. "/config", "-E", self.folder .. "/log")
  local until_s <const> = timer.now() + START_S
  repeat
    local said <const> = self:log()
    if said:find("Server listening", 1, true) and fs.stat(self.folder .. "/pid") then return true end
    if said:find("Address already in use", 1, true) then return false end
    pause()
  until timer.now() > until_s
  fail.raise("failed", "%s does not start: %s", PROGRAM, self:log())
end

function Sshd:start()
  if self.port then return assert(try(self)) end
  repeat -- nothing tells beforehand which port is free on an address
    self.port = math.random(20000, 30000)
  until try(self)
end

--- Stop it; who is logged in stays.
function Sshd:stop()
  local pid <const> = (fs.read(self.folder .. "/pid") or ""):match "%d+"
  if not pid then return end
  run("kill", pid)
  while fs.stat(self.folder .. "/pid") do -- which it removes
    pause()
  end
end

---@param folder string for its files
---@param address string
---@return lab.Sshd
function M.new(folder, address)
  if not fs.stat(PROGRAM) then
    error(fail.hint(fail.new("unsupported", "%s is not here", PROGRAM), "install the package openssh-server"))
  end
  files.mkdirs(folder)
  if run("id", "-u") == "0" then files.mkdirs "/run/sshd" end -- as its unit does; it insists on the folder when root starts it
  local sshd <const> = setmetatable({ folder = folder, address = address, user = run("id", "-un") }, Sshd)
  sshd:make_host_key()
  sshd:authorize ""
  return sshd
end

return M
