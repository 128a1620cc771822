--- ONTAP that copies volumes by itself, through the lab's own door: what a vendor with array-side copies looks like to the core.
local http <const> = require "lunalift.http"
local ontap <const> = require "vendors.ontap"

local M <const> = {
  api = 1,
  name = "copier",
  title = "Copier",
  drivers = ontap.drivers,
  fabrics = ontap.fabrics,
  options = {
    svm = ontap.options.svm,
    door = { type = "string", env = "LAB_COPIER", required = true, help = "the door's URL" },
    silent = { type = "bool", env = "LAB_NO_TARGETS", default = false, help = "tell no target ports" },
  },
}

local Array <const> = {}

-- All else is ONTAP's.
function Array.__index(self, name)
  if Array[name] then return Array[name] end
  local method <const> = self.svm[name]
  return method and function(_, ...) return method(self.svm, ...) end
end

function M.open(conf)
  return setmetatable({ svm = ontap.open(conf), door = http.client { base = conf.door }, conf = conf }, Array)
end

function Array:targets()
  if not self.conf.silent then return self.svm:targets() end
end

function Array:find_lun(id)
  local found <const>, why <const> = self.door:get("/volumes/" .. (id.naa or id.vvol))
  if found then return found.json end
  if why.kind ~= "not_found" then error(why) end
end

function Array:copy_start(id, source, target)
  local body <const> = { id = id, source = source.id, target = target.naa }
  return assert(self.door:post("/copies", { json = body })).json
end

function Array:copy_poll(id)
  local found <const>, why <const> = self.door:get("/copies/" .. id)
  if found then return found.json end
  if why.kind ~= "not_found" then error(why) end
end

function Array:copy_stop(id) assert(self.door:delete("/copies/" .. id)) end

return M
