--- SSH to the lab's hosts. A real sshd for each lets the site's key in; what the key's line then runs is run here, by the host's own shell,
--- so that each command is written down and that faults strike.
local codec <const> = require "lunalift.codec"
local files <const> = require "lab.files"
local fs <const> = require "lunalift.fs"
local process <const> = require "lunalift.process"
local server <const> = require "lunalift.server"
local ssh_wrapper <const> = require "lib.ssh_wrapper"
local sshd <const> = require "lab.sshd"

---@class lab.ssh
local M <const> = {}

local KEYS <const> = "/etc/ssh/keys-root/authorized_keys"

-- What sshd runs: it asks the lab. Nobody there, or cut off: so is who is logged in.
local HOOK <const> = [[
s=$(printf '\001')
t=$(wget -q -O - --post-data "$SSH_ORIGINAL_COMMAND" "$1") || { kill -KILL $PPID; exit 1; }
r=${t#* }
printf '%s' "${r%%"$s"*}"
printf '%s' "${r#*"$s"}" >&2
exit "${t%% *}"
]]

-- As upstream has it, which runs what it is told; the datastore is not quoted.
local UPSTREAM <const> = [[command="d=$(printf '%%s' \"$SSH_ORIGINAL_COMMAND\" | sed -nE 's/^DS=([^;]*);.*/\1/p'); ]]
  .. [[if [ -z \"$d\" ]; then echo SSH_OK; else SSH_ORIGINAL_COMMAND=$(printf '%%s' \"$SSH_ORIGINAL_COMMAND\" | ]]
  .. [[sed -E 's/^DS=[^;]*;CMD=//') sh /vmfs/volumes/$d/secure-vmkfstools-wrapper; fi",no-port-forwarding %s lab]]

local LINES <const> = {
  lunalift = ssh_wrapper.key_line,
  upstream = function(public_key) return UPSTREAM:format(public_key) end,
  bare = function(public_key) return public_key .. " lab" end,
  none = function() return "" end,
}

---@class lab.Ssh
---@field folder string
---@field public_key string
---@field user string
---@field port integer of all hosts
local Ssh <const> = {}
Ssh.__index = Ssh

--- Put the key's line on a host: what is named, or the text of a line.
---@param host lab.Host
---@param line string
function Ssh:authorize(host, line)
  local text <const> = LINES[line] and LINES[line](self.public_key) or line
  files.mkdirs(host.root .. KEYS:match "^(.*)/")
  files.replace(host.root .. KEYS, text .. "\n")
  local hook <const> = ([[restrict,command="exec \"%s\" sh \"%s\" http://127.0.0.1:%d/%s" %s]]):format(
    host.busybox,
    self.folder .. "/hook",
    self.server.port,
    host.moref,
    self.public_key
  )
  host.sshd:authorize(text:find(self.public_key, 1, true) and hook .. "\n" or "")
end

-- The command that the key is tied to, as sshd reads the line; the host's folders are below its root here.
local function command_of(host)
  local line <const> = assert(fs.read(host.root .. KEYS))
  local quoted <const> = line:match 'command="(.-[^\\])"'
  if not quoted then return nil end
  return (
    quoted
      :gsub('\\"', '"')
      :gsub('"/vmfs/', '"$LUNALIFT_ESXI_ROOT/vmfs/')
      :gsub("([%s])(/%l+/)", '%1"$LUNALIFT_ESXI_ROOT"%2')
  )
end

-- A key without a command may run anything.
local function run(host, request)
  local ended <const> = assert(process.run {
    argv = { host.busybox, "sh", "-c", command_of(host) or request },
    env = {
      PATH = host.root .. "/bin",
      LUNALIFT_ESXI_ROOT = host.root,
      SSH_ORIGINAL_COMMAND = request,
      HOME = "/",
    },
    cwd = host.root,
  })
  return { body = ("%d %s\1%s"):format(ended.code or 255, ended.out, ended.err) }
end

local OPTIONS <const> = {
  ["--version"] = { "version" },
  ["--clone"] = { "clone", true },
  ["--task-get"] = { "taskGet" },
  ["--task-kill"] = { "taskKill", true },
  ["--task-list"] = { "taskList" },
  ["--task-clean"] = { "taskClean", true },
  ["--digest"] = { "digest" },
  ["--preflight"] = { "preflight" },
}

-- A command of the wrapper by the name that it has in esxcli.
local function describe(request)
  local option <const> = request.body:match ";CMD=(%-%-[%l-]+)" or ""
  local known <const> = OPTIONS[option] or { request.body }
  return {
    method = "exec",
    path = request.path,
    target = OPTIONS[option] and "vmkfstools." .. known[1] or known[1],
    effect = known[2] or false,
  }
end

local function host_of(self, request)
  for _, host in ipairs(self.hosts) do
    if "/" .. host.moref == request.path then return host end
  end
end

local function serve(self, request)
  local host <const> = host_of(self, request)
  return host and run(host, request.body) or { status = 404 }
end

local function open_host(self, host)
  host.sshd = sshd.new(host.root .. "/etc/ssh/lab", host.address)
  host.sshd.port = self.port
  host.sshd:start()
  self.port, self.user = host.sshd.port, host.sshd.user
end

---@param site lab.Site
---@param line string of each host: lunalift, upstream, bare, none
---@return lab.Ssh
function M.start(site, line)
  local self <const> = setmetatable({ folder = site.dir .. "/ssh", hosts = site.hosts }, Ssh)
  files.mkdirs(self.folder)
  assert(fs.write(self.folder .. "/hook", HOOK))
  sshd.make_key(self.folder .. "/key", "rsa")
  self.public_key = fs.read(self.folder .. "/key.pub"):match "^%S+ %S+"
  self.server = assert(server.listen {
    on_request = site.faults:wrap("ssh", function(request) return serve(self, request) end, { describe = describe }),
  })
  for _, host in ipairs(self.hosts) do
    open_host(self, host)
    self:authorize(host, line)
  end
  return self
end

--- What a command needs in its environment to reach the hosts.
---@return table<string, string>
function Ssh:env()
  local fingerprints <const> = {}
  for i, host in ipairs(self.hosts) do
    fingerprints[i] = host.sshd.fingerprint
  end
  return {
    ESXI_CLONE_METHOD = "ssh",
    SSH_PRIVATE_KEY = codec.base64(fs.read(self.folder .. "/key")),
    SSH_PUBLIC_KEY = codec.base64(fs.read(self.folder .. "/key.pub")),
    LUNALIFT_SSH_USER = self.user,
    LUNALIFT_SSH_PORT = tostring(self.port),
    LUNALIFT_SSH_FINGERPRINT = table.concat(fingerprints, ","),
  }
end

function Ssh:close()
  self.server:close()
  for _, host in ipairs(self.hosts) do
    host.sshd:stop()
  end
end

return M
