--- A 3PAR's vendor script with one of the mistakes that the conformance suite must find.
local http <const> = require "lunalift.http"
local primera3par <const> = require "vendors.primera3par"

local M <const> = {
  api = 1,
  name = "broken",
  title = "Broken",
  drivers = primera3par.drivers,
  fabrics = primera3par.fabrics,
  options = { mistake = { type = "string", env = "BROKEN_BY", default = "nothing", choices = {}, help = "which one" } },
}

---@type table<string, fun(array: table, base: table, conf: table)>
local MISTAKES <const> = {
  nothing = function() end,

  ["unmaps others, too"] = function(array, base)
    function array:unmap(lun)
      for _, host in ipairs(base.maps_of(self, lun)) do
        base.unmap(self, lun, host)
      end
      return true
    end
  end,

  ["leaks a session"] = function(array)
    function array:close() end
  end,

  ["changes when asked"] = function(array, base)
    function array:maps_of(lun)
      for _, host in ipairs(base.maps_of(self, lun)) do
        if host.name:find "^set:xcopy" then base.unmap(self, lun, host) end
      end
      return base.maps_of(self, lun)
    end
  end,

  ["calls all maps made"] = function(array, base)
    function array:map(lun, host) return "made", select(2, base.map(self, lun, host)) end
  end,

  ["calls no map made"] = function(array, base)
    function array:map(lun, host) return "existing", select(2, base.map(self, lun, host)) end
  end,

  ["breaks on 404"] = function(array, base)
    function array:find_lun(by)
      local done <const>, found <const> = pcall(base.find_lun, self, by)
      if done then return found end
      return found.json.code
    end
  end,

  ["sends an effect twice"] = function(array)
    local api <const> = array.api
    local ask <const> = api.ask
    function api:ask(method, path, options)
      local reply, why = ask(self, method, path, options)
      if why and method == "POST" then
        reply, why = ask(self, method, path, options)
      end
      return reply, why
    end
  end,

  ["leaves the host object behind"] = function(array)
    function array:remove_host() return "removed" end
  end,

  ["takes what is not there for done"] = function(array, base)
    function array:unmap(lun, host)
      local done <const>, why <const> = pcall(base.unmap, self, lun, host)
      if not done and why.kind ~= "not_found" then error(why) end
      return true
    end
  end,

  ["tells the token"] = function(array, _, conf)
    local client <const> = http.client { base = "https://" .. conf.hostname .. "/api/v1", tls = conf.tls }
    local login <const> = { user = conf.username, password = conf.password }
    function array:info()
      local key <const> = assert(client:post("/credentials", { json = login })).json.key
      client:request("GET", "/system", { headers = { ["X-HP3PAR-WSAPI-SessionKey"] = key } })
      client:request("DELETE", "/credentials/" .. key)
      return { vendor = "HPE", product = key }
    end
  end,
}

for name in pairs(MISTAKES) do
  table.insert(M.options.mistake.choices, name)
end

function M.open(conf)
  local array <const> = primera3par.open(conf)
  MISTAKES[conf.mistake](array, getmetatable(array).__index, conf)
  return array
end

return M
