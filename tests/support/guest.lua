--- An ESXi-like host in a guest under qemu, whose array is LIO: tests/interop/esxi. LUNs are files of this machine, shown to it one by one.
--- Needs LUNALIFT_GUEST, what tests/interop/esxi/build-guest made.
local clusters <const> = require "support.cluster"
local fs <const> = require "lunalift.fs"
local http <const> = require "lunalift.http"
local lab_site <const> = require "support.lab_site"
local process <const> = require "lunalift.process"

local M <const> = {}

local FOLDER <const> = "tests/interop/esxi"
local UP_WITHIN_S <const> = 60
local SERIAL_DIGITS <const> = 20 -- as many as a disk of the guest may have

---@class support.Guest
---@field dir string with `key`, for the wrapper, and `known_hosts`
---@field ssh_port integer
---@field door_url string runs the scripts that it is sent
local Guest <const> = {}
Guest.__index = Guest

--- Put a datastore into the file that is its LUN: a file system with what the lab has in the datastore's folder. ESXi writes UUIDs with
--- three dashes.
---@param path string
---@param datastore { name: string, uuid: string }
function M.format(path, datastore, folder)
  local uuid <const> = datastore.uuid:gsub("^(%x+%-%x%x%x%x)(%x%x%x%x)", "%1-%2")
  local argv <const> =
    { "mke2fs", "-q", "-F", "-t", "ext4", "-O", "^has_journal,^resize_inode", "-N", "256", "-m", "0" }
  table.move({ "-L", datastore.name, "-U", uuid, "-d", folder, path }, 1, 7, #argv + 1, argv)
  local ended <const> = assert(process.run { argv = argv })
  assert(ended.code == 0, ended.err)
end

-- qemu takes connections before the guest listens.
local function wait_until_up(self)
  lab_site.wait_until(UP_WITHIN_S, function()
    local said <const> = self.qemu:output()
    assert(not said:find "error" and not said:find "not found" and not said:find "No such file", said)
    local answer <const> = self.door:post("", { body = "true", timeout_s = 1 })
    return answer ~= nil
  end)
end

---@param dir string
---@param luns { naa: string, path: string }[]
---@return support.Guest
function M.start(dir, luns)
  fs.mkdir(dir)
  local self <const> = setmetatable({ dir = dir, ssh_port = clusters.free_port() }, Guest)
  local door_port <const> = clusters.free_port()
  self.door_url = ("http://127.0.0.1:%d/cgi-bin/run"):format(door_port)
  self.door = http.client { base = self.door_url }
  local argv <const> =
    { "setpriv", "--pdeathsig", "KILL", FOLDER .. "/boot", dir, tostring(self.ssh_port), tostring(door_port) }
  for _, lun in ipairs(luns) do
    argv[#argv + 1] = lun.naa:sub(-SERIAL_DIGITS) .. "=" .. lun.path
  end
  self.qemu = assert(process.start { argv = argv })
  wait_until_up(self)
  return self
end

function Guest:stop()
  self.qemu:kill "TERM"
  self.qemu:wait()
end

--- Run a script in the guest, as root; it must succeed.
---@return string output
function Guest:run(script, ...)
  local body <const> = script:format(...)
  local answer <const>, why <const> = self.door:post("", { body = body })
  return answer and answer.body or error(body .. ": " .. tostring(why.body or why.message), 2)
end

--- What the host's SSH server answers to a command, which is the wrapper's to run.
---@return ProcessEnd
function Guest:ssh(command)
  local argv <const> = { "ssh", "-q", "-p", tostring(self.ssh_port), "-i", self.dir .. "/key" }
  for _, option in ipairs {
    "UserKnownHostsFile=" .. self.dir .. "/known_hosts",
    "ControlMaster=auto", -- a login costs the guest half a second
    "ControlPath=" .. self.dir .. "/master",
    "ControlPersist=60",
  } do
    table.move({ "-o", option }, 1, 2, #argv + 1, argv)
  end
  table.move({ "root@127.0.0.1", command }, 1, 2, #argv + 1, argv)
  return assert(process.run { argv = argv })
end

return M
