--- lunalift reap: what dead runs left, as a table or JSON, and put back with --apply.
local console <const> = require "lunalift.console"
local fail <const> = require "lib.fail"
local flags <const> = require "lib.flags"
local jobs <const> = require "lib.job"
local json <const> = require "lunalift.json"
local log <const> = require "lunalift.log"
local populate <const> = require "cli.populate"
local reaping <const> = require "lib.reaping"
local report <const> = require "lib.report"
local settings <const> = require "lib.settings"
local site <const> = require "lib.site"
local ssh_settings <const> = require "lib.ssh_settings"
local task <const> = require "lunalift.task"

local M <const> = {}

local USAGE <const> = [[
usage: lunalift reap [flags]

Lists what dead runs left: from the journals in this user's folder, the one given with --journal file:PATH, or the Leases of --namespace.
With --scan also what bears our marks on hosts, array and datastores and no journal names. --apply puts back what is provably ours; a clone
of a dead run that still runs is stopped then. What belongs to a live run is never touched.
What is mandatory below is so with --scan and --apply only.

Exit codes: 0 nothing is left; 1 failed; 2 configuration; 3 retryable, such as a journal of --journal whose run may live; 4 cancelled;
5 something is left.

]]

local SHARED <const> = {
  ["storage-vendor-product"] = true,
  ["storage-hostname"] = true,
  ["storage-username"] = true,
  ["storage-password"] = true,
  ["storage-token"] = true,
  ["storage-skip-ssl-verification"] = true,
  ["storage-thumbprint"] = true,
  ["storage-http-timeout-seconds"] = true,
  ["vsphere-hostname"] = true,
  ["vsphere-username"] = true,
  ["vsphere-password"] = true,
  ["vsphere-insecure"] = true,
  ["vsphere-thumbprint"] = true,
  ["ca-file"] = true,
  kubeconfig = true,
  master = true,
  patience = true,
  scripts = true,
  v = true,
  vv = true,
  help = true,
}

for _, flag in ipairs(ssh_settings.FLAGS) do
  SHARED[flag.name] = true
end

local PEERS <const> = {
  "storage-vendor-product",
  "storage-hostname",
  "vsphere-hostname",
  "vsphere-username",
  "vsphere-password",
}

local function all_flags()
  local list <const> = {
    { name = "apply", type = "bool", default = false, help = "put back what is provably ours" },
    { name = "scan", type = "bool", default = false, help = "look at hosts, array and datastores, too" },
    {
      name = "assume-dead",
      help = "with --scan: names, as it prints them, whose run you know to be dead: NAME[,NAME…]",
    },
    { name = "journal", help = "lease or file:PATH; default: this user's folder, and Leases with --namespace" },
    { name = "namespace", help = "whose Leases to read" },
    { name = "output", default = "table", choices = { "table", "json" }, help = "table or json; -o for short" },
  }
  for _, flag in ipairs(populate.FLAGS) do
    if SHARED[flag.name] then list[#list + 1] = flag end
  end
  return list
end

local SHORT <const> = { ["-o"] = "--output" }

local function widened(args)
  local list <const> = {}
  for i, word in ipairs(args) do
    list[i] = SHORT[word] or word:gsub("^%-o=", "--output=")
  end
  return list
end

local function plain(item)
  return {
    kind = item.kind,
    where = item.where,
    about = item.about,
    state = item.state,
    outcome = item.outcome,
    why = item.why,
    command = item.command,
  }
end

local function print_json(items, why)
  local list <const> = json.array {}
  for i, item in ipairs(items) do
    list[i] = plain(item)
  end
  local failure <const> = why and { kind = why.kind, message = fail.text(why), hint = why.hint }
  local result <const> = { items = list, left = reaping.count_left(items), failure = failure }
  console.out(json.encode(result, { indent = true }) .. "\n")
end

local function print_table(items)
  if #items == 0 then
    console.out "nothing is left\n"
    return
  end
  local width = 5
  for _, item in ipairs(items) do
    width = math.max(width, #item.where)
  end
  local row <const> = ("%%-11s  %%-%ds  %%-10s  %%-7s  %%s\n"):format(width)
  console.out(row:format("WHAT", "WHERE", "STATE", "OUTCOME", "ABOUT"))
  for _, item in ipairs(items) do
    local about = item.why and ("%s (%s)"):format(item.about, item.why) or item.about
    if item.command then about = ("%s; if nobody needs it: %s"):format(about, item.command) end
    console.out(row:format(item.kind, item.where, item.state, item.outcome, about))
  end
end

---@param args string[]
---@return integer exit_code
function M.run(args)
  local known <const> = all_flags()
  local values <const>, rest <const> = flags.parse(widened(args), known)
  if values.help then
    console.out(USAGE .. flags.help(known) .. "\n")
    return 0
  end
  if #rest > 0 then error(fail.hint(fail.new("config", "'%s' is no flag", rest[1]), "see lunalift help reap")) end
  if values["assume-dead"] and not values.scan then
    error(fail.hint(fail.new("config", "--assume-dead is about what --scan finds"), "give --scan, too"))
  end
  local needs_peers <const> = values.apply or values.scan
  if needs_peers then settings.check_mandatory(values, PEERS) end

  local kube <const> = { kubeconfig = values.kubeconfig, master = values.master }
  local method <const>, ssh <const> = ssh_settings.method(values)
  local job <const> = jobs.new {
    name = "reap",
    request = {
      method = method,
      ssh = ssh,
      journal = values.journal,
      namespace = values.namespace ~= "" and values.namespace or nil,
      apply = values.apply,
      scan = values.scan,
      assume_dead = values["assume-dead"],
      patience_s = values.patience,
    },
    site = site.new(needs_peers and settings.site_conf(values) or { kube = kube }),
    report = report.new "quiet",
  }
  task.spawn(populate.cancel_on_signal, job)
  local why <const>, left <const> = job:run(require "flows.reap")
  if why and why.traceback and why.kind == "bug" then log.error(why.traceback) end
  local items <const> = job.facts.items or {}
  if values.output == "json" then
    print_json(items, why)
  elseif not why or #items > 0 then
    print_table(items)
  end
  if why then
    console.err(report.failure_text(why))
    return #left > 0 and 5 or require("cli.main").exit_code(why)
  end
  if reaping.count_left(items) > 0 then return 5 end
  -- Who names a journal knows of a run that died: one that may live still is worth another look.
  return (values.journal or "") ~= "" and reaping.has_live(items) and 3 or 0
end

return M
