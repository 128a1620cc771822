--- lunalift vib install | status: which hosts, how they are reached, and a table of what came of it.
local console <const> = require "lunalift.console"
local env <const> = require "lunalift.env"
local fail <const> = require "lib.fail"
local flags <const> = require "lib.flags"
local hints <const> = require "lib.hints"
local jobs <const> = require "lib.job"
local json <const> = require "lunalift.json"
local list <const> = require "lib.list"
local log <const> = require "lunalift.log"
local populate <const> = require "cli.populate"
local redact <const> = require "lib.redact"
local report <const> = require "lib.report"
local secret <const> = require "lunalift.secret"
local settings <const> = require "lib.settings"
local site <const> = require "lib.site"
local ssh_settings <const> = require "lib.ssh_settings"
local task <const> = require "lunalift.task"
local vib <const> = require "lib.vib"
local words <const> = require "lib.words"

local M <const> = {}

local SHARED <const> = {
  ["vsphere-hostname"] = { help = "vCenter; needed for --datastore and --all" },
  ["vsphere-username"] = { help = "with --vsphere-hostname" },
  ["vsphere-password"] = { help = "with --vsphere-hostname; better given in the environment" },
  ["vsphere-insecure"] = {},
  ["vsphere-thumbprint"] = {},
  ["ca-file"] = { help = "PEM file of certificate authorities to trust, for vCenter" },
  ["ssh-user"] = {},
  ["ssh-port"] = {},
  ["ssh-known-hosts"] = {},
  ["ssh-fingerprint"] = {},
  patience = { default = 5 },
  scripts = {},
  v = {},
  vv = {},
}

M.FLAGS = {
  { name = "host", env = "ESXI_HOSTS", type = "list", help = "names or addresses of hosts; may be given again" },
  { name = "datastore", type = "list", help = "all hosts that mount one of these; with --host, of those named" },
  { name = "all", type = "bool", default = false, help = "all hosts of the vCenter" },
  { name = "datacenter", help = "of --datastore and --all only hosts of this datacenter" },
  { name = "ssh-key-file", env = "SSH_KEY_FILE", help = "private key that lets the user in; mandatory" },
  {
    name = "ssh-timeout-seconds",
    env = "SSH_TIMEOUT_SECONDS",
    type = "seconds",
    default = 30,
    help = "longest time to connect and log in",
  },
  { name = "vib-path", env = "VIB_PATH", help = "a VIB to install; default: the one that build makes" },
  { name = "parallel", type = "integer", default = 8, help = "hosts at a time" },
  { name = "force", type = "bool", default = false, help = "install: put it in the place of a newer one, too" },
  {
    name = "restart-hostd",
    env = "RESTART_HOSTD",
    type = "bool",
    default = true,
    help = "install: restart hostd where it has not read the extension",
  },
  {
    name = "hostd-timeout",
    type = "seconds",
    default = 300,
    help = "seconds until hostd is back and vCenter has seen it",
  },
}

for _, flag in ipairs(populate.FLAGS) do
  if SHARED[flag.name] then M.FLAGS[#M.FLAGS + 1] = setmetatable(SHARED[flag.name], { __index = flag }) end
end

-- ---- what was asked for ----

local function refuse(hint, fmt, ...) error(fail.hint(fail.new("config", fmt, ...), "%s", hint)) end

local VCENTER <const> = { "vsphere-hostname", "vsphere-username", "vsphere-password" }

-- Whether there is a vCenter to ask; needed when hosts are not named.
local function has_vcenter(values, hosts, stores)
  if #hosts + #stores == 0 and not values.all then refuse("give --host, --datastore or --all", "no host is named") end
  if not flags.is_given(values["vsphere-hostname"]) and #stores == 0 and not values.all then return false end
  local missing <const> = {}
  for _, name in ipairs(VCENTER) do
    if not flags.is_given(values[name]) then missing[#missing + 1] = "--" .. name end
  end
  if #missing > 0 then
    refuse(
      "hosts are found through vCenter; give each as a flag or in the environment (GOVMOMI_…)",
      "missing value for %s",
      words.list(missing)
    )
  end
  return true
end

local function ssh_of(values)
  local path <const> = values["ssh-key-file"]
  if not flags.is_given(path) then
    refuse(
      "give the private key that lets root in on the hosts, or set SSH_KEY_FILE",
      "missing value for --ssh-key-file"
    )
  end
  local text <const>, why <const> = env.read(path)
  if not text then error(fail.hint(fail.wrap(why, "the key cannot be read"), "check --ssh-key-file")) end
  local conf <const> = ssh_settings.conf(values, secret.new(text), path)
  conf.connect_timeout_s = math.max(1, values["ssh-timeout-seconds"])
  return conf
end

local function package_of(path)
  if not flags.is_given(path) then return vib.read(vib.build(), "the VIB of this program") end
  local bytes <const>, why <const> = env.read(path)
  if bytes then return vib.read(bytes, path) end
  error(
    fail.hint(
      fail.wrap(why, "the VIB cannot be read"),
      "check --vib-path; without it the VIB of this program is installed"
    )
  )
end

local function job_of(values, read_only)
  local hosts <const>, stores <const> = values.host or {}, values.datastore or {}
  local asks_vcenter <const> = has_vcenter(values, hosts, stores)
  local request <const> = {
    hosts = hosts,
    datastores = stores,
    datacenter = flags.is_given(values.datacenter) and values.datacenter or nil,
    has_vcenter = asks_vcenter,
    ssh = ssh_of(values),
    package = package_of(values["vib-path"]),
    parallel = math.max(1, values.parallel),
    force = values.force,
    restart_hostd = values["restart-hostd"],
    hostd_within_s = values["hostd-timeout"],
    patience_s = values.patience,
  }
  return jobs.new {
    name = "vib",
    request = request,
    site = site.new { vcenter = asks_vcenter and settings.vcenter_conf(values) or nil },
    report = report.new "quiet",
    read_only = read_only,
  }
end

-- ---- what came of it ----

local function shown(found)
  if not found then return "?" end
  if not found.version then return "none" end
  return found.vendor == vib.VENDOR and found.version or ("%s (%s)"):format(found.version, found.vendor)
end

local KEPT <const> = {
  current = "nothing: it has it",
  newer = "nothing: it is newer; --force puts this one in its place",
}

local STATES <const> = {
  current = "has it",
  newer = "newer than this one",
  missing = "missing: lunalift vib install",
  older = "not this one: lunalift vib install",
  asleep = "hostd has not read it: /etc/init.d/hostd restart",
}

local function row_of_install(result)
  local done <const> = table.concat(result.done, ", ")
  local outcome = done ~= "" and done or KEPT[result.verdict]
  if result.why then
    outcome = (done == "" and "failed: " or done .. ", then failed: ") .. fail.text(result.why)
  elseif not result.is_over then
    outcome = done == "" and "cut off" or done .. ", cut off"
  end
  return { result.host, shown(result.was), shown(result.now), outcome, result.why and result.why.hint }
end

local function row_of_status(result)
  local now <const>, why <const> = result.now, result.why
  local state <const> = why and "failed: " .. fail.text(why) or STATES[result.verdict] or "cut off"
  return { result.host, shown(now), now and now.answers or "-", state, why and why.hint }
end

local function print_table(heads, rows)
  local widths <const>, lines <const> = {}, {}
  table.insert(rows, 1, heads)
  for column = 1, 3 do
    for _, row in ipairs(rows) do
      widths[column] = math.max(widths[column] or 0, utf8.len(row[column]) or #row[column])
    end
  end
  for _, row in ipairs(rows) do
    local cells <const> = {}
    for column = 1, 3 do
      cells[column] = row[column] .. (" "):rep(widths[column] - (utf8.len(row[column]) or #row[column]))
    end
    lines[#lines + 1] = table.concat(cells, "  ") .. "  " .. row[4]
    if row[5] then lines[#lines + 1] = "  fix   " .. row[5] end
  end
  console.out(log.redact(table.concat(lines, "\n")) .. "\n")
end

local function plain(found) return found and { version = found.version, vendor = found.vendor, answers = found.answers } end

local function print_json(results, package, ok)
  local hosts <const> = json.array {}
  for i, result in ipairs(results) do
    local why <const> = result.why
    hosts[i] = {
      host = result.host,
      verdict = result.verdict,
      was = plain(result.was),
      now = plain(result.now),
      done = json.array(result.done),
      failure = why and { kind = why.kind, message = fail.text(why), hint = why.hint },
    }
  end
  local value <const> = { ok = ok, vib = plain(package), hosts = hosts }
  console.out(json.encode(redact.value(value), { indent = true }) .. "\n")
end

local SUITS <const> = { current = true, newer = true }

-- What the results amount to: the worst failure, or 1 where a host still lacks it after all.
local function code_of(results, read_only)
  local failures <const>, lacks = {}, false
  for i, result in ipairs(results) do
    failures[i] = result.why or {}
    lacks = lacks or read_only and not SUITS[result.verdict]
  end
  local code <const> = require("cli.main").worst_exit_code(failures)
  return code == 0 and lacks and 1 or code
end

local function run(args, read_only)
  local output <const> = { name = "output", default = "table", choices = { "table", "json" }, help = "" }
  local known <const> = table.move(M.FLAGS, 1, #M.FLAGS, 2, { output })
  local values <const>, rest <const> = flags.parse(args, known)
  if rest[1] then refuse("give hosts as --host a,b; see lunalift help vib", "'%s' is no flag", rest[1]) end
  local job <const> = job_of(values, read_only)
  task.spawn(populate.cancel_on_signal, job)
  local why <const> = job:run(require "flows.vib")
  local results <const> = job.facts.hosts or {}
  for _, result in ipairs(results) do
    if result.why then hints.explain(result.why) end
    if result.why and result.why.traceback then log.error(result.why.traceback) end
  end
  local code <const> = why and require("cli.main").exit_code(why) or code_of(results, read_only)
  if values.output == "json" then
    print_json(results, job.request.package, code == 0)
  elseif #results > 0 then
    if read_only then
      print_table({ "HOST", "VIB", "ANSWERS", "STATE" }, list.map(results, row_of_status))
    else
      print_table({ "HOST", "WAS", "NOW", "DONE" }, list.map(results, row_of_install))
    end
  end
  if why then console.err(report.failure_text(why)) end
  return code
end

function M.install(args) return run(args, false) end
function M.status(args) return run(args, true) end

return M
