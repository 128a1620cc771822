--- A host whose esxcli and wrapper answer from tables. Needs a job; what is asked goes to the job's trace.
local M <const> = {}

---@class FakeVcenter
---@field answers table<string, fun(args: table): any, any> esxcli answers by command
---@field hosts table<string, table> properties by host id

--- Properties of a host with these adapters and topology.
---@param id string
---@param props? table
function M.object(id, props)
  local all <const> = {
    name = id .. ".example",
    ["runtime.connectionState"] = "connected",
    ["configManager.advancedOption"] = { type = "OptionManager", id = "o-1" },
  }
  for key, value in pairs(props or {}) do
    all[key] = value
  end
  return { ref = { type = "HostSystem", id = id }, props = all }
end

--- Stands where lib.vcenter's object would.
---@param job lib.Job
---@param objects? table[]
function M.vcenter(job, objects)
  local vcenter <const> =
    { job = job, where = "vc.example", mark = "dbed6e0c", answers = {}, session = {}, options = nil }
  function vcenter.retrieve(_, _, spec)
    for _, object in ipairs(objects or { M.object "host-1" }) do
      if object.ref.id == spec.objects[1].id then return { object } end
    end
    return {}
  end
  function vcenter.ask(_, method) return assert(vcenter.answers[method], method)() end
  function vcenter.session.esxcli(_, ref, words, args)
    local shown <const> = {}
    for key, value in pairs(args or {}) do
      shown[#shown + 1] = ("%s=%s"):format(key, value)
    end
    table.sort(shown)
    job.trace[#job.trace + 1] = ("%s: %s %s"):format(ref.id, words, table.concat(shown, " "))
    local answer <const> = vcenter.answers[words]
    if not answer then return {} end
    return answer(args)
  end
  return vcenter
end

--- What esxcli says of a device that it does not list.
function M.no_device(naa)
  return nil, { kind = "failed", fault = "CLIFault", message = ("Unable to find device with name %s"):format(naa) }
end

return M
