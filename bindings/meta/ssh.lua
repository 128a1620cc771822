---@meta lunalift.ssh
--- Commands on a host over SSH. A connection is made at the first command, and again when it was lost.
---@class lunalift.ssh
local ssh = {}

---@class Ssh
local Ssh = {}

---@class SshConf
---@field host string
---@field port? integer 22
---@field user? string root
---@field key Secret private, PEM or OpenSSH's form, without a passphrase
---@field fingerprints? string[] "SHA256:…" of host keys
---@field known_hosts? string path
---@field connect_timeout_s? number 30: to find, connect, exchange keys and log in
---@field keepalive_s? number 15: silence before we ask; after three it is lost

--- Reads the key; connects to nothing yet. Fails config for a key that is none, or that needs a passphrase.
---@param conf SshConf
---@return Ssh? ssh
---@return Fail? why
function ssh.open(conf) end

---@class SshEnd
---@field out string
---@field err string
---@field status? integer nil when a signal ended it
---@field signal? string "TERM"
---@field truncated boolean

--- Run a command to its end, whatever its status. A failure to log in has kind denied, `refusal` ("host unknown", "host changed", "key refused")
--- and `fingerprint`, the host key that was seen.
---@param command string
---@param options? { input: string?, timeout_s: number?, max_output: integer?, effect: boolean? } 60 s; 1 MiB each of out and err
---@return SshEnd? ended
---@return Fail? why
function Ssh:exec(command, options) end

--- "ssh-rsa AAAA…": the key's public half, as authorized_keys wants it.
---@return string
function Ssh:public_key() end

--- A command under way has its answer first.
function Ssh:close() end

return ssh
