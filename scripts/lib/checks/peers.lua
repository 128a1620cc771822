--- Checks of the three peers: does each let us in, is it who it says, and what is it?
local hints <const> = require "lib.hints"
local volumes <const> = require "lib.volume"
local vsphere <const> = require "lunalift.vsphere"
local words <const> = require "lib.words"

local function trusted(tls, peer, variable, flag)
  if tls.thumbprint and tls.thumbprint ~= "" then return "is the one given, SHA-1 or SHA-256 " .. tls.thumbprint end
  if tls.insecure then
    return hints.say("certificate not verified", { peer = peer, variable = variable, flag = flag })
  end
  local by <const> = {}
  if tls.ca_file and tls.ca_file ~= "" then by[1] = tls.ca_file end
  if tls.ca then by[#by + 1] = "the variable cacert" end
  if #by == 0 or tls.and_system then by[#by + 1] = "the system's authorities" end
  return "verified by " .. words.list(by)
end

-- ---- privileges in vCenter ----

-- Upstream's documented role; without the first there is no rescan and no detaching.
local ON_HOST <const> = { "Host.Config.Storage", "Host.Config.AdvancedConfig" }
local ON_DATASTORE <const> = { "Datastore.Browse", "Datastore.FileManagement" }
local NEEDED <const> = { ["Host.Config.Storage"] = true }

-- Of these privileges the ones that the user lacks; nil where that is not told, as by an ESXi host.
local function lacking(vcenter, session, ref, privileges)
  local answer <const>, why <const> = vcenter.session:call(
    "HasPrivilegeOnEntities",
    "authorizationManager",
    { { "entity", ref }, { "sessionId", session }, { "privId", privileges } }
  )
  if not answer then
    if why.kind == "unsupported" or why.fault then return nil end
    error(why)
  end
  local missing <const> = {}
  for _, availability in ipairs(vsphere.list((vsphere.list(answer)[1] or {}).privAvailability)) do
    if tostring(availability.isGranted) ~= "true" then missing[#missing + 1] = availability.privId end
  end
  return missing
end

local function session_key(vcenter)
  local manager <const> = vcenter.content.sessionManager
  local spec <const> = { objects = { manager }, props = { SessionManager = { "currentSession" } } }
  local found <const> = manager and vcenter:retrieve("this login", spec)[1]
  return found and found.props.currentSession and found.props.currentSession.key
end

local function check_privileges(found)
  local session <const> = session_key(found.vcenter)
  local user <const> = found.job.site.conf.vcenter.username
  local warning, fix
  for _, each in ipairs { { found.host, ON_HOST }, { found.disk.datastore, ON_DATASTORE } } do
    local missing <const> = session and lacking(found.vcenter, session, each[1].ref, each[2])
    if not missing then return nil, found.vcenter.where .. " does not tell them" end
    local values <const> = { user = user, privileges = words.list(missing), object = each[1].name }
    for _, id in ipairs(missing) do
      if NEEDED[id] then hints.raise("privileges missing", values) end
    end
    if #missing > 0 then
      warning, fix = hints.say("privileges missing", values)
    end
  end
  return warning or ("%s has those of the documented role"):format(user), fix
end

---@type lib.Check[]
return {
  {
    name = "vCenter login",
    of = "vcenter",
    alone = true,
    run = function(found)
      found.vcenter = found.job.site:vcenter()
      local about <const> = found.vcenter.about
      local conf <const> = found.job.site.conf.vcenter
      return ("%s at %s, %s %s"):format(conf.username, conf.host, about.name, about.version)
    end,
  },
  {
    name = "vCenter certificate",
    of = "vcenter",
    alone = true,
    needs = { "vCenter login" },
    run = function(found)
      local conf <const> = found.job.site.conf.vcenter
      return trusted(conf.tls, conf.host, "GOVMOMI_INSECURE", "--vsphere-thumbprint")
    end,
  },
  {
    name = "array login",
    of = "array",
    run = function(found)
      found.array = found.job.site:array()
      local info <const> = found.array:info()
      local version <const> = info.version or "of a version that the account may not read"
      return ("%s, %s %s"):format(found.array.where, info.product, version)
    end,
  },
  {
    name = "array certificate",
    of = "array",
    needs = { "array login" },
    run = function(found)
      local conf <const> = found.job.site.conf.array
      return trusted(conf.tls, conf.hostname, "STORAGE_SKIP_SSL_VERIFICATION", "--storage-thumbprint")
    end,
  },
  {
    name = "Kubernetes API",
    of = "cluster",
    run = function(found)
      local kube <const> = found.job.site:kube()
      local version <const> = found.job:read("version", function()
        local answer <const>, why <const> = kube:get "/version"
        return answer, why and why.kind == "config" and volumes.distrusts_cluster(why) or why
      end)
      found.kube = kube
      return ("%s, %s"):format(kube.server, version.gitVersion or "of an unknown version")
    end,
  },
  {
    name = "vCenter privileges",
    of = "vcenter",
    needs = { "host", "disk" },
    run = check_privileges,
  },
}
