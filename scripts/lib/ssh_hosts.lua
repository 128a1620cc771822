--- ESXi hosts over SSH: where one listens, and what is said when nothing comes of it.
local fail <const> = require "lib.fail"
local hints <const> = require "lib.hints"
local ssh <const> = require "lunalift.ssh"
local vsphere <const> = require "lunalift.vsphere"

local M <const> = {}

local list <const> = vsphere.list

--- What a key that is tied to the wrapper, upstream's or ours, answers to whatever is no command of it.
M.TIED = "SSH_OK"

---@class lib.SshConf
---@field key Secret
---@field user string
---@field port integer
---@field fingerprints string[] of host keys to trust
---@field known_hosts? string path
---@field connect_timeout_s? number

---@class lib.SshTarget
---@field name string for people
---@field address string
---@field is_locked? boolean in lockdown mode
---@field key_line? string what of ours must be among its authorized keys; the public key alone

--- Properties that the two below are read from.
M.PATHS = { "config.lockdownMode", "config.virtualNicManagerInfo.netConfig" }

--- The first address of its management network; a host that is away tells none.
---@return string?
function M.address_of(props)
  for _, net in ipairs(list(props["config.virtualNicManagerInfo.netConfig"])) do
    local is_selected <const> = {}
    for _, key in ipairs(list(net.nicType == "management" and net.selectedVnic or nil)) do
      is_selected[key] = true
    end
    for _, nic in ipairs(list(net.candidateVnic)) do
      local ip <const> = is_selected[nic.key] and nic.spec and nic.spec.ip and nic.spec.ip.ipAddress
      if ip and ip ~= "" then return ip end
    end
  end
end

---@return boolean
function M.is_locked(props) return (props["config.lockdownMode"] or "lockdownDisabled") ~= "lockdownDisabled" end

---@class lib.SshHost
---@field target lib.SshTarget
---@field conf lib.SshConf
---@field session Ssh
local Host <const> = {}
Host.__index = Host

---@param target lib.SshTarget
---@param conf lib.SshConf
---@return lib.SshHost to be closed
function M.open(target, conf)
  local options <const> = { host = target.address }
  for name, value in pairs(conf) do
    options[name] = value
  end
  return setmetatable({ target = target, conf = conf, session = assert(ssh.open(options)) }, Host)
end

function Host:close() self.session:close() end
Host.__close = Host.close

local function in_users_words(self, why, values)
  local is_away <const> = why.kind == "unreachable" and not why.unanswered
  local is_shut <const> = is_away or why.refusal == "key refused"
  if is_shut and self.target.is_locked then return hints.new("ssh in lockdown", values) end
  if is_away then return hints.new("ssh off", values) end
  if why.refusal == "key refused" then return hints.new("ssh key refused", values) end
  if why.refusal == "host unknown" then return hints.new("ssh host unknown", values) end
  if why.refusal == "host changed" then return hints.new("ssh host changed", values) end
end

--- A log-in that was refused, or that nobody takes, in the user's words; anything else as it is.
---@param why Fail
---@return Fail
function Host:explained(why)
  local failure <const> = in_users_words(self, why, {
    host = self.target.name,
    address = self.target.address,
    user = self.conf.user,
    fingerprint = why.fingerprint,
    key = self.target.key_line or self.session:public_key(),
  })
  if not failure then return why end
  failure.cause, failure.unanswered = fail.of(why), why.unanswered
  return failure
end

---@param command string
---@param options? table as Ssh:exec takes them
---@return SshEnd? ended
---@return Fail? why
function Host:exec(command, options)
  local ended <const>, why <const> = self.session:exec(command, options)
  if ended then return ended end
  return nil, self:explained(why)
end

return M
