--- The wrapper of a host through an SSH key that may do nothing else. A host that has no wrapper installed runs the script from a
--- datastore, where it is put through vCenter; its key's line names the digest of the text that may be run.
local clone <const> = require "lunalift.clone"
local codec <const> = require "lunalift.codec"
local datastores <const> = require "lib.datastores"
local fail <const> = require "lib.fail"
local hints <const> = require "lib.hints"
local list <const> = require "lib.list"
local ssh_hosts <const> = require "lib.ssh_hosts"
local vib <const> = require "lib.vib"

local M <const> = {}

local PROBE <const> = "DS=;CMD=status test-task-id" -- as upstream's
-- The script on a datastore, as upstream's line for the key names it, and as ours does.
local UPSTREAM_NAME <const>, OUR_NAME <const> = "secure-vmkfstools-wrapper", "lunalift-wrapper-"
local TAKES_FILES <const> = { VMFS = true, NFS = true, NFS41 = true }

-- Runs what is installed on the host, else the text on the datastore if it has that digest: in this very shell, from memory, so that
-- nobody can change it in between. No word of the request ever becomes part of a command line.
local ROUTER <const> = table.concat({
  "c=$SSH_ORIGINAL_COMMAND",
  "d=${c#DS=}",
  "d=${d%%;*}",
  "case $c in DS=[!.]*';CMD='?*) ;; *) echo SSH_OK; exit ;; esac",
  "case $d in */*) exit 1 ;; esac",
  "[ ! -x {wrapper} ] || exec {wrapper}",
  's=$(head -c 999999 "/vmfs/volumes/$d/{name}" 2>/dev/null)',
  [[h=$(printf '%s\n' "$s" | sha256sum)]],
  '[ "${h%% *}" != {digest} ] || eval "$s"',
  "echo 'there is no {name}' >&2",
  "exit 127",
}, "; ")

local function script()
  local text <const> = vib.source "vmkfstools-wrapper"
  local digest <const> = codec.sha256(text)
  return { text = text, version = vib.version_of(text), digest = digest, name = OUR_NAME .. digest:sub(1, 16) }
end

--- What a host needs among its authorized keys.
---@param public_key string
---@return string line
function M.key_line(public_key)
  local here <const> = script()
  local values <const> = { wrapper = vib.WRAPPER, name = here.name, digest = here.digest }
  return ('restrict,command="%s" %s lunalift'):format(ROUTER:gsub("{(%l+)}", values):gsub('"', '\\"'), public_key)
end

-- ---- the host, and a datastore of it ----

-- Those that other hosts mount, too, come first: one script for all.
local function choose(stores)
  local usable <const> = list.filter(
    stores,
    function(store) return TAKES_FILES[store.type] and store.accessible and store.id end
  )
  table.sort(usable, function(a, b)
    if a.is_shared ~= b.is_shared then return a.is_shared end
    return a.id < b.id
  end)
  return usable[1]
end

local function store_of(props)
  local url <const> = props["summary.url"] or ""
  return {
    name = props.name,
    url = url,
    id = url:match "/vmfs/volumes/([%w._:-]+)/?$",
    type = props["summary.type"],
    accessible = props["summary.accessible"] ~= false,
    is_shared = props["summary.multipleHostAccess"] == true,
  }
end

local STORE_PATHS <const> =
  { "name", "summary.url", "summary.type", "summary.accessible", "summary.multipleHostAccess" }

-- Where the host listens, and the datastore that has the script or gets it.
local function look(host)
  local target <const>, stores <const> = { name = host.name, address = host.name }, {}
  local seen <const> = host.vcenter:retrieve("SSH of " .. host.name, {
    objects = { host.ref },
    select = { { type = "HostSystem", path = "datastore" } },
    props = { HostSystem = ssh_hosts.PATHS, Datastore = STORE_PATHS },
  })
  for _, object in ipairs(seen) do
    if object.ref.type == "Datastore" then
      stores[#stores + 1] = store_of(object.props)
    else
      target.address = ssh_hosts.address_of(object.props) or host.name
      target.is_locked = ssh_hosts.is_locked(object.props)
    end
  end
  return target, choose(stores)
end

-- ---- the script ----

---@class lib.SshWrapper as Clone
---@field clone Clone
---@field remote lib.SshHost
---@field host lib.Host
---@field store? table
---@field script? { name: string, text: string } what the key's line may run from the datastore
local Wrapper <const> = {}
Wrapper.__index = Wrapper

local function datastore_of(self)
  if not self.store then hints.raise("ssh without datastore", { host = self.host.name }) end
  return list.find(datastores.all(self.host.vcenter), "url", self.store.url)
end

-- Nothing may be put anywhere: what our script is, it will be once it is there.
local function is_mere_look(job) return job.read_only or job.dry_run end

-- What was there a moment ago is gone, or the host cannot read it just now: whoever asked will ask again.
local function put_again(self)
  if not self.script or is_mere_look(self.host.job) then return end
  local datastore <const> = datastore_of(self)
  if datastore and datastore:read(self.script.name) ~= self.script.text then
    datastore:put(self.script.name, self.script.text)
  end
end

for _, name in ipairs { "version", "start", "poll", "kill", "tasks", "clean", "digest", "preflight" } do
  Wrapper[name] = function(self, ...)
    local value <const>, why <const> = self.clone[name](self.clone, ...)
    if value ~= nil then return value end
    if fail.is(why, "busy") then put_again(self) end
    return nil, self.remote:explained(why)
  end
end

function Wrapper:offers(feature) return self.clone:offers(feature) end

-- What a tied key answers to what is no command; what is cut short tells nothing.
local function said(self, command)
  return self.host.job:read("SSH key on " .. self.host.name, function()
    local ended <const>, why <const> = self.remote:exec(command)
    if not ended then return nil, why end
    local text <const> = ended.out:match "^%s*(.-)%s*$"
    if ended.status and (text == ssh_hosts.TIED or text == "" or text:find "^<%?xml") then return text end
    return nil, fail.new("protocol", "%s over SSH: '%s'", self.host.name, text:sub(1, 80))
  end)
end

-- Our line answers so to a request without a command, as does our wrapper where the key is tied to it; upstream's runs a script then.
local function is_tied(self)
  return said(self, ("DS=%s;CMD="):format(self.store and self.store.id or "none")) == ssh_hosts.TIED
end

local function version(self)
  local ok <const>, found <const> = pcall(
    self.host.job.read,
    self.host.job,
    "wrapper version",
    function() return self:version() end
  )
  if ok then return found end
  if not fail.is(found, "unsupported") then error(found) end
  return nil, found
end

local function outdated(self, why)
  local target <const>, user <const> = self.remote.target, self.remote.conf.user
  local failure <const> = hints.new("ssh line outdated", { host = target.name, user = user, key = target.key_line })
  failure.cause = fail.of(why)
  return failure
end

local function by_our_line(self, here)
  self.script = here
  local found = version(self)
  if found then return found end
  if is_mere_look(self.host.job) then return { version = here.version, is_to_come = true } end
  datastore_of(self):put(here.name, here.text)
  local why
  found, why = version(self)
  return found or error(outdated(self, why))
end

-- Upstream's line runs whatever has that name. What is newer than ours, or the very same, stays.
local function by_upstreams_line(self, here)
  local datastore <const> = datastore_of(self)
  local text <const> = datastore:read(UPSTREAM_NAME)
  local theirs <const> = text and text:match '\n[%u_]*VERSION="?([%d.]+)' or "0"
  local is_kept <const> = text == here.text or vib.compare(theirs, here.version) > 0
  self.script = { name = UPSTREAM_NAME, text = is_kept and text or here.text }
  if not is_kept then
    if is_mere_look(self.host.job) then return { version = here.version, is_to_come = true } end
    datastore:put(UPSTREAM_NAME, here.text)
  end
  local found <const>, why <const> = version(self)
  return found or error(why)
end

local function not_tied(self, why)
  local target <const>, user <const> = self.remote.target, self.remote.conf.user
  local failure <const> = hints.new("ssh key not tied", { host = target.name, user = user, key = target.key_line })
  failure.cause = why
  return failure
end

-- Asked twice: who broke once would be taken for one with upstream's line.
local function ask_line(self)
  if is_tied(self) or is_tied(self) then return "ours" end
  return said(self, PROBE) == ssh_hosts.TIED and "upstream's"
end

-- Whose line the key has.
local function line_of(self)
  local ok <const>, whose <const> = pcall(ask_line, self)
  if ok and whose then return whose end
  if not ok and not fail.is(whose, "protocol") then error(whose) end
  error(not_tied(self, not ok and whose or nil))
end

--- The wrapper, and what it says of itself.
---@param host lib.Host
---@return lib.SshWrapper
---@return { version: string, is_to_come: boolean? } is_to_come: a real run will put it there
function M.open(host)
  local job <const>, here <const> = host.job, script()
  local target <const>, store <const> = look(host)
  local remote <const> = ssh_hosts.open(target, job.request.ssh)
  job.site:closing { close = function() remote:close() end }
  target.key_line = M.key_line(remote.session:public_key())
  local wrapper <const> = assert(clone.over_ssh(remote.session, store and store.id or "none"))
  local self <const> = setmetatable({ clone = wrapper, remote = remote, host = host, store = store }, Wrapper)
  if line_of(self) == "ours" then return self, by_our_line(self, here) end
  return self, by_upstreams_line(self, here)
end

return M
