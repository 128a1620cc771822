--- How hosts are asked, and how they are reached over SSH: flags of several commands, and what is made of them.
local env <const> = require "lunalift.env"
local fail <const> = require "lib.fail"
local flags <const> = require "lib.flags"
local ssh <const> = require "lunalift.ssh"

local M <const> = {}

local CONNECT_S <const> = 30 -- at most: who has less patience waits no longer for a host that hangs

M.FLAGS = {
  {
    name = "esxi-clone-method",
    env = "ESXI_CLONE_METHOD",
    default = "vib",
    help = "how hosts are asked: vib, through vCenter by the VIB installed on them, or ssh",
  },
  {
    name = "ssh-private-key",
    env = "SSH_PRIVATE_KEY",
    type = "secret",
    help = "base64 of the private key's text, for ssh; better given in the environment",
  },
  {
    name = "ssh-public-key",
    env = "SSH_PUBLIC_KEY",
    type = "secret",
    help = "base64 of a line of authorized_keys, for ssh",
  },
  { name = "ssh-user", default = "root", help = "who logs in on hosts" },
  { name = "ssh-port", type = "integer", default = 22, help = "where hosts take SSH" },
  { name = "ssh-known-hosts", help = "file with the hosts' keys; default: ~/.ssh/known_hosts" },
  { name = "ssh-fingerprint", type = "list", help = "keys of hosts to trust beside those: SHA256:…" },
}

-- Forklift puts base64 of the keys' texts into its Secret, which Kubernetes decodes once on its way into the environment.
local function key_of(values, name)
  local text <const>, variable <const> = values[name], name:upper():gsub("-", "_")
  if not flags.is_given(text) then fail.raise("config", "the clone method ssh needs %s", variable) end
  local key <const> = text:unbase64()
  if not key then fail.advise("config", "give base64 of the key's text", "%s is no base64", variable) end
  return key
end

-- Which connects to nothing.
local function check_key(key, what)
  local session <const>, why <const> = ssh.open { host = "localhost", key = key }
  if not session then error(fail.wrap(why, "%s is no key to log in with", what)) end
  session:close()
end

local function known_hosts(path)
  if flags.is_given(path) then return path end
  local default <const> = (env.get "HOME" or "") .. "/.ssh/known_hosts"
  return env.read(default) and default or nil
end

--- How hosts are reached with this key.
---@param key Secret
---@param what string it is called
---@return lib.SshConf
function M.conf(values, key, what)
  local port <const> = values["ssh-port"]
  check_key(key, what)
  if port < 1 or port > 65535 then fail.advise("config", "ESXi has 22", "--ssh-port: %d is no port", port) end
  return {
    key = key,
    user = values["ssh-user"],
    port = port,
    connect_timeout_s = math.max(1, math.min(CONNECT_S, values.patience or CONNECT_S)),
    fingerprints = values["ssh-fingerprint"] or {},
    known_hosts = known_hosts(values["ssh-known-hosts"]),
  }
end

---@return "vib"|"ssh"
---@return lib.SshConf?
function M.method(values)
  local text <const> = values["esxi-clone-method"]
  local method <const> = text:lower():match "^%s*(.-)%s*$"
  if method == "" or method == "vib" then return "vib" end
  if method ~= "ssh" then fail.advise("config", "use vib or ssh", "unknown ESXi clone method '%s'", text) end
  local key <const> = key_of(values, "ssh-private-key")
  key_of(values, "ssh-public-key") -- is of no use to us, but whoever gives no pair has made a mistake
  return "ssh", M.conf(values, key, "SSH_PRIVATE_KEY")
end

return M
