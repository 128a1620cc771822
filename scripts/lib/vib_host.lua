--- The VIB on one ESXi host, over SSH: what is there, and how it gets there.
local codec <const> = require "lunalift.codec"
local fail <const> = require "lib.fail"
local hints <const> = require "lib.hints"
local json <const> = require "lunalift.json"
local ssh_hosts <const> = require "lib.ssh_hosts"
local timer <const> = require "lunalift.timer"
local vib <const> = require "lib.vib"
local words <const> = require "lib.words"
local xml <const> = require "lunalift.xml"

local M <const> = {}

local COMMAND_WITHIN_S <const> = 600
local LOOK_FIRST_S <const>, LOOK_LONGEST_S <const> = 0.2, 2

---@class lib.VibHost
---@field job lib.Job
---@field name string
---@field target lib.VibTarget
---@field remote lib.SshHost
local Host <const> = {}
Host.__index = Host

---@param job lib.Job
---@param target lib.VibTarget
---@param conf lib.SshConf
---@return lib.VibHost to be closed
function M.open(job, target, conf)
  local remote <const> = ssh_hosts.open(target, conf)
  return setmetatable({ job = job, name = target.name, target = target, remote = remote }, Host)
end

function Host:__close() self.remote:close() end

-- ---- commands ----

-- A command that only looks.
function Host:ask(command)
  return self.job:read(("%s on %s"):format(command, self.name), function() return self.remote:exec(command) end)
end

-- What a failed command said, on one line.
local function said_by(ended)
  local text <const> = (ended.err .. "\n" .. ended.out):gsub("^%s+", ""):gsub("%s+$", ""):gsub("%s+", " ")
  return text ~= "" and text or ended.signal and "ended by " .. ended.signal or ("exit code %d"):format(ended.status)
end

local function add_rows(node, rows)
  if node.name ~= "structure" then
    for _, child in ipairs(node) do
      add_rows(child, rows)
    end
    return rows
  end
  local row <const> = {}
  for _, field in ipairs(node) do
    if field.name == "field" then row[field.attr.name] = field[1] and field[1].text or "" end
  end
  rows[#rows + 1] = row
  return rows
end

--- Rows of an esxcli command, or nil and what it said when it was refused.
---@return table<string, string>[]? rows
---@return string? said
function Host:esxcli(command)
  local ended <const> = self:ask("esxcli --formatter=xml " .. command)
  if ended.status ~= 0 then return nil, said_by(ended) end
  if ended.out:match "^%s*(.-)%s*$" == ssh_hosts.TIED then
    hints.raise("ssh key tied", { host = self.name, user = self.remote.conf.user })
  end
  local root <const>, why <const> = xml.parse(ended.out)
  return add_rows(fail.assert(root, why, "%s: esxcli %s", self.name, command), {})
end

-- ---- what is there ----

-- What an answer of the wrapper holds; nil and what was said where there is none.
local function message_of(self, command)
  local rows <const>, said <const> = self:esxcli("vmkfstools " .. command)
  local row <const> = rows and rows[1] or {}
  if row.status ~= "0" then return nil, said or row.message or "nothing" end
  return json.decode(row.message) or nil, row.message
end

-- Clones that run; nil where hostd knows no such command, as with an extension of earlier.
local function running(self)
  local answer <const>, said <const> = message_of(self, "taskList")
  if not answer then return nil, said end
  local count = 0
  for _, task in ipairs(answer.tasks or {}) do
    if task.state == "running" then count = count + 1 end
  end
  return count
end

-- The writers themselves, for upstream's wrapper, which lists no clones, and for a hostd that does not ask ours; nil where there is no ps.
local function writers(self)
  local ended <const> = self:ask "/bin/ps -c 2>/dev/null || ps -c"
  if ended.status ~= 0 then return nil end
  return select(2, ended.out:gsub("vmkfstools +%-i ", ""))
end

--- Digest of the extension's file; "" when there is none.
---@return string
function Host:extension() return self:ask("sha256sum " .. vib.EXTENSION).out:match "^%x+" or "" end

---@class lib.VibFound
---@field version? string of the VIB; nil when there is none
---@field vendor? string
---@field answers? string version that `esxcli vmkfstools version` tells; nil when hostd does not know it
---@field said? string instead
---@field clones? integer that run; nil where nobody tells
---@field extension string its file's digest

---@return lib.VibFound
function Host:look()
  local found <const> = {}
  local rows <const>, said <const> = self:esxcli "software vib list"
  if not rows then hints.raise("esxcli silent", { host = self.name, said = said }) end
  for _, row in ipairs(rows) do
    if row.Name == vib.NAME then
      found.version, found.vendor = row.Version, row.Vendor
    end
  end
  local answer, what = message_of(self, "version")
  found.answers, found.said = answer and answer.version, what
  if found.vendor == vib.VENDOR and answer then
    found.clones, what = running(self)
    if not found.clones then
      found.answers, found.said = nil, what
    end
  end
  if found.version and not found.clones then found.clones = writers(self) end
  found.extension = self:extension()
  return found
end

-- ---- the install ----

local UPLOAD_FAILED <const>, REMOVE_FAILED <const> = 74, 75

-- One command line for the whole way: whatever ends it, the host itself takes the file away again, and half a file is never installed.
local INSTALL <const> = [[umask 077
file=/tmp/lunalift-%s.vib
trap 'rm -f "$file"' EXIT
trap 'exit 143' HUP INT TERM
cat >"$file" || exit %d
sum=$(sha256sum <"$file")
[ "${sum%%%% *}" = %s ] || { echo "what arrived is not what was sent" >&2; exit %d; }
%sesxcli software vib %s -v "$file" -f]]

-- A VIB is replaced by one of its own vendor alone; two vendors' would claim the same file.
local REMOVE <const> = "esxcli software vib remove -n " .. vib.NAME .. " || exit %d\n"

local function is_foreign(found, package) return found.version and found.vendor ~= package.vendor end

local function command_of(found, package)
  local is_older <const> = found.vendor == package.vendor and vib.compare(found.version, package.version) < 0
  return INSTALL:format(
    codec.random_hex(8),
    UPLOAD_FAILED,
    package.sha256,
    UPLOAD_FAILED,
    is_foreign(found, package) and REMOVE:format(REMOVE_FAILED) or "",
    is_older and "update" or "install"
  )
end

local REFUSALS <const> = { "acceptance", "signature", "signer", "secure ?boot" }

local function refusal_of(self, ended, found, package)
  local said <const> = said_by(ended)
  local values <const> = { host = self.name, reason = said }
  if ended.status == UPLOAD_FAILED then
    if said:find "[Nn]o space" then return hints.new("vib without room", values) end
    return fail.new("failed", "the VIB did not reach %s: %s", self.name, said)
  end
  if is_foreign(found, package) and ended.status ~= REMOVE_FAILED then
    values.reason = ("%s; that of %s is removed already"):format(said, found.vendor)
  end
  for _, word in ipairs(REFUSALS) do
    if said:lower():find(word) then return hints.new("vib refused", values) end
  end
  return hints.new("vib not installed", values)
end

--- Raises what kept it from being installed. hostd knows nothing of it yet.
---@param found lib.VibFound
---@param package lib.Vib
function Host:install(found, package)
  local now = found
  local function act()
    local options <const> = { input = package.bytes, timeout_s = COMMAND_WITHIN_S, effect = true }
    local ended <const>, why <const> = self.remote:exec(command_of(now, package), options)
    if not ended then return nil, why end
    if ended.status == 0 then return true end
    return nil, refusal_of(self, ended, now, package)
  end
  local function look()
    now = self:look()
    if now.version == package.version and now.vendor == package.vendor then return true end
  end
  self.job:effect("vib.install", self.name, act, { standin = true, look = look })
end

-- ---- hostd ----

-- Its output must not keep the channel open.
local RESTART <const> = "/etc/init.d/hostd restart >/dev/null 2>&1 </dev/null"

function Host:restart_hostd()
  self.job:effect("hostd.restart", self.name, function()
    local ended <const>, why <const> = self.remote:exec(RESTART, { timeout_s = COMMAND_WITHIN_S, effect = true })
    if not ended then return nil, why end
    return true -- whether it came up, its answers will tell
  end, { standin = true, look = function() end })
end

local STATE <const> = "runtime.connectionState"

local function state_in(vcenter, ref)
  local found <const> =
    vcenter:retrieve("host " .. ref.id, { objects = { ref }, props = { HostSystem = { STATE } } })[1]
  return found and found.props[STATE] or "nothing"
end

local function wait_until(until_s, holds)
  local pause_s = LOOK_FIRST_S
  while not holds() do
    if timer.now() >= until_s then return false end
    timer.sleep(pause_s)
    pause_s = math.min(2 * pause_s, LOOK_LONGEST_S)
  end
  return true
end

--- Until hostd answers again, and vCenter has seen it. Raises timeout.
---@param within_s number
function Host:wait_for_hostd(within_s)
  local until_s <const> = timer.now() + within_s
  local within <const> = words.span(within_s)
  local function answers()
    local ok <const>, rows <const> = pcall(self.esxcli, self, "software vib list") -- it may hang meanwhile
    return ok and rows ~= nil
  end
  if not wait_until(until_s, answers) then hints.raise("hostd away", { host = self.name, within = within }) end
  local ref <const> = self.target.ref
  if not ref then return end
  local vcenter <const> = self.job.site:vcenter()
  local state
  local function is_connected()
    state = state_in(vcenter, ref)
    return state == "connected"
  end
  if wait_until(until_s, is_connected) then return end
  hints.raise("host not reconnected", { host = self.name, vcenter = vcenter.where, state = state, within = within })
end

return M
