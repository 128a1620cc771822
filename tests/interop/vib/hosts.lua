--- Hosts that stand in for ESXi, behind one real sshd: 127.0.0.2, 127.0.0.3, …, each with a root of its own (esxi/make-host).
local codec <const> = require "lunalift.codec"
local fs <const> = require "lunalift.fs"
local process <const> = require "lunalift.process"
local timer <const> = require "lunalift.timer"

local M <const> = {}

local HERE <const> = fs.cwd() .. "/tests/interop/vib/esxi/"
local READY_WITHIN_S <const> = 10

---@class interop.Hosts
---@field dir string
---@field port integer
---@field user string who runs the sshd, and may log in
local Hosts <const> = {}
Hosts.__index = Hosts

local function sh(text, ...)
  local ended <const> = assert(process.run { argv = { "sh", "-euc", text, "sh", ... } })
  if ended.code ~= 0 then error(("%s: %s%s"):format(text, ended.out, ended.err), 2) end
  return (ended.out:gsub("\n$", ""))
end
M.sh = sh

local CONFIG <const> = [[
Port %d
HostKey %s/host
AuthorizedKeysFile %s/authorized
PidFile none
StrictModes no
UsePAM no
PermitRootLogin yes
MaxStartups 100
MaxSessions 100
SetEnv SHLVL=9
]] -- the last keeps Debian's bash from reading ~/.bashrc, which it does below sshd

local MATCH <const> = "Match LocalAddress %s\n  ForceCommand %ssession '%s'\n"

---@param locked table<integer, boolean> numbers of hosts that let nobody in
local function config_of(self, count, locked)
  local lines <const> = { CONFIG:format(self.port, self.dir, self.dir) }
  for number = 1, count do
    lines[#lines + 1] = ("ListenAddress %s\n"):format(self:address(number))
  end
  for number = 1, count do
    lines[#lines + 1] = MATCH:format(self:address(number), HERE, self:root(number))
    if locked[number] then lines[#lines + 1] = "  AuthorizedKeysFile none\n" end
  end
  return table.concat(lines)
end

local function start_sshd(self, count, locked)
  for _ = 1, 5 do
    self.port = 20000 + tonumber(codec.random_hex(2), 16) % 10000
    assert(fs.write(self.dir .. "/config", config_of(self, count, locked)))
    local argv <const> = { "/usr/sbin/sshd", "-D", "-e", "-f", self.dir .. "/config" }
    self.sshd = assert(process.start { argv = argv })
    local until_s <const> = timer.now() + READY_WITHIN_S
    repeat
      local _, said <const> = self.sshd:output()
      if select(2, said:gsub("Server listening", "")) == count then return end
      timer.sleep(0.05)
    until said:find "Cannot bind" or timer.now() > until_s
    self.sshd:kill()
    self.sshd:wait()
  end
  error "sshd does not start"
end

---@param count integer
---@param options? { locked: table<integer, boolean>? }
---@return interop.Hosts
function M.start(count, options)
  local self <const> = setmetatable({ dir = sh "mktemp -d", user = sh "id -un" }, Hosts)
  sh "[ $(id -u) != 0 ] || mkdir -p /run/sshd" -- as its unit does
  sh(
    [[cd "$1"; for key in host root stranger; do ssh-keygen -q -t ed25519 -N '' -f $key; done; cp root.pub authorized]],
    self.dir
  )
  start_sshd(self, count, options and options.locked or {})
  self.key, self.stranger = self.dir .. "/root", self.dir .. "/stranger"
  self.fingerprint = sh([[ssh-keygen -lf "$1/host.pub"]], self.dir):match "SHA256:%S+"
  self.known_hosts = self.dir .. "/known_hosts"
  local known <const> = {}
  for number = 1, count do
    known[number] = ("[%s]:%d %s\n"):format(self:address(number), self.port, fs.read(self.dir .. "/host.pub"))
    self:reset(number)
  end
  assert(fs.write(self.known_hosts, table.concat(known)))
  return self
end

function Hosts:address(number) return ("127.0.0.%d"):format(number + 1) end
function Hosts:root(number) return ("%s/%d"):format(self.dir, number) end

--- As new, without a VIB of ours.
function Hosts:reset(number) sh([[rm -rf "$2"; "$1/make-host" "$2"]], HERE, self:root(number)) end

--- Let it have a fault of esxi/: tmp-full, secure-boot, no-install, hostd-dead, lost, tied.
function Hosts:fault(number, name) assert(fs.write(("%s/var/fault/%s"):format(self:root(number), name), "")) end

--- What is in a file of the host; nil when it is not there.
function Hosts:read(number, path) return (fs.read(self:root(number) .. path)) end

--- Names in a folder of the host.
function Hosts:list(number, path) return assert(fs.list(self:root(number) .. path)) end

--- Run a command on the host, as root there and not over SSH.
function Hosts:run(number, command)
  local argv <const> = { HERE .. "session", self:root(number) }
  return assert(process.run { argv = argv, env = { SSH_ORIGINAL_COMMAND = command, PATH = os.getenv "PATH" } })
end

function Hosts:stop()
  self.sshd:kill()
  self.sshd:wait()
  sh([[rm -rf "$1"]], self.dir)
end

return M
