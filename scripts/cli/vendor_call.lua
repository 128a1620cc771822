--- lunalift vendor call: one function of the contract against the array of the environment; its result, or its failure, as JSON.
local console <const> = require "lunalift.console"
local contract <const> = require "lib.vendor_contract"
local fail <const> = require "lib.fail"
local flags <const> = require "lib.flags"
local jobs <const> = require "lib.job"
local json <const> = require "lunalift.json"
local populate <const> = require "cli.populate"
local redact <const> = require "lib.redact"
local report <const> = require "lib.report"
local settings <const> = require "lib.settings"
local site <const> = require "lib.site"
local task <const> = require "lunalift.task"
local words <const> = require "lib.words"

local M <const> = {}

local USAGE <const> = [[
usage: lunalift vendor call NAME FUNCTION [JSON]… [flags]

Logs in to the array, calls one function of the vendor contract, prints what it returns as JSON, or the failure, and logs out. Each JSON is
an argument: lunalift vendor call ontap lun_of '{"name":"pvc-1","handle":"…","driver":"…","attributes":{}}'

]]

---@type lib.Flag
M.SURE = { name = "yes", type = "bool", default = false, help = "call what changes the array, too" }

local SHARED <const> = { "patience", "ca-file", "scripts", "v", "vv", "help" }

--- The flags of whoever opens nothing but an array.
---@return lib.Flag[]
function M.array_flags()
  local list <const> = {}
  for _, flag in ipairs(populate.FLAGS) do
    local is_array <const> = flag.name:find "^storage%-" and flag.name ~= "storage-vendor-product"
    if is_array or contract.has(SHARED, flag.name) then list[#list + 1] = flag end
  end
  return list
end

--- A job whose site is the array `vendor` of the flags and the environment.
---@param vendor string
---@param values table<string, any>
---@return lib.Job
function M.array_job(vendor, values)
  settings.check_mandatory(values, { "storage-hostname" })
  values["storage-vendor-product"] = vendor
  local job <const> = jobs.new {
    name = "vendor",
    request = { patience_s = values.patience },
    site = site.new { array = settings.array_conf(values) },
    report = report.new "quiet",
  }
  task.spawn(populate.cancel_on_signal, job)
  return job
end

local function callable()
  local names <const> = {}
  for _, each in ipairs(contract.FUNCTIONS) do
    if each.name ~= "close" then names[#names + 1] = each.name end
  end
  return names
end

local function check(of, name, count, is_sure)
  if not of or name == "close" then
    local why <const> = fail.new("config", "'%s' is no function that may be called", name)
    error(fail.hint(why, words.suggestion(name, callable(), "there are " .. words.list(callable()))))
  elseif count ~= #of.params then
    local why <const> = fail.new("config", "%s takes %d values, not %d", name, #of.params, count)
    error(fail.hint(why, "lunalift vendor call NAME %s %s", name, table.concat(of.params, " "):upper()))
  elseif of.effect and not is_sure then
    local why <const> = fail.new("config", "%s changes the array", name)
    error(fail.hint(why, "add --yes when that is what you want"))
  end
end

local function decoded(texts)
  local values <const> = {}
  for i, text in ipairs(texts) do
    local value <const>, why <const> = json.decode(text)
    if value == nil then
      local wrong <const> = fail.new("config", "argument %d is no JSON: %s", i, text)
      wrong.cause = why
      error(fail.hint(wrong, [[a text needs its quotes, too: '"name"']]))
    end
    values[i] = value
  end
  return values
end

--- What the words of a call ask for. Raises what is wrong with them.
---@param given string[] FUNCTION [JSON]…
---@param is_sure boolean the array may be changed
---@return lib.VendorFunction of
---@return any[] values
function M.read(given, is_sure)
  local texts <const> = table.move(given, 2, #given, 1, {})
  local of <const> = contract.BY_NAME[given[1]]
  check(of, given[1], #texts, is_sure)
  return of, decoded(texts)
end

--- Reads as the core asks them; an effect goes out once.
---@param array lib.Array
---@param of lib.VendorFunction
---@param values any[]
---@return any ...
function M.ask(array, of, values)
  if of.name == "lun_of" then return array:lun_of(values[1]) end
  if not of.effect then return array:read(of.name, table.unpack(values)) end
  local results <const> = table.pack(array:ask(of.name, table.unpack(values)))
  if results[1] == nil and results[2] ~= nil then error(results[2]) end
  return table.unpack(results, 1, results.n)
end

local function print_json(value) console.out(json.encode(redact.value(value), { indent = true }) .. "\n") end

local function print_results(of, ...)
  if select("#", ...) > 1 then return print_json(json.array { ... }) end
  local result <const> = ...
  if result == nil then return print_json(json.null) end
  print_json(of.list and json.array(result) or result)
end

local function print_failure(why)
  print_json {
    kind = why.kind,
    message = fail.text(why),
    hint = why.hint,
    status = why.status,
    refused = why.refused,
    unanswered = why.unanswered,
  }
end

---@param args string[]
---@return integer exit_code
function M.run(args)
  local known <const> = table.move(M.array_flags(), 1, #M.array_flags(), 2, { M.SURE })
  local values <const>, rest <const> = flags.parse(args, known)
  if values.help then
    console.out(USAGE .. flags.help(known) .. "\n")
    return 0
  end
  local vendor <const> = table.remove(rest, 1)
  if not rest[1] then
    error(fail.hint(fail.new("config", "vendor call needs a vendor and a function"), USAGE:match "[^\n]+"))
  end
  local of <const>, given <const> = M.read(rest, values.yes)
  local job <const> = M.array_job(vendor, values)
  local why <const> = job:run(function() print_results(of, M.ask(job.site:array(), of, given)) end)
  if why then print_failure(why) end
  return why and 1 or 0
end

return M
