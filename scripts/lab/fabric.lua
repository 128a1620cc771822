--- What arrays and hosts share: the LUNs, their bytes, and which initiators may see them now.
--- Arrays write it, hosts read it when they rescan.
---@class lab.fabric
local M <const> = {}

---@class lab.Port
---@field kind "iscsi"|"fc"|"nvme"|"sdc"
---@field id string the array's IQN, 16 hex digits of the WWPN, or the NQN of its subsystem

---@class lab.Lun
---@field naa string "naa.600a0980…"
---@field path string backing file
---@field size_bytes integer
---@field array string product of the array that owns it
---@field vendor string SCSI inquiry
---@field model string
---@field serial string
---@field target_ports lab.Port[]

---@class lab.Map
---@field initiators string[] in any spelling
---@field number integer LUN number
---@field via string what the array calls this mapping

---@class lab.Fabric
---@field luns table<string, lab.Lun>
---@field hbas lab.Hba[] adapters of all hosts
local Fabric <const> = {}
Fabric.__index = Fabric

---@return lab.Fabric
function M.new() return setmetatable({ luns = {}, maps = {}, watchers = {}, hbas = {} }, Fabric) end

--- One spelling for one initiator: IQNs in lower case, FC as the 16 hex digits of its WWPN, given as such,
--- as "fc.<wwnn>:<wwpn>", "0x…" or "20:00:…".
---@param id string
---@return string
function M.initiator(id)
  local text = id:lower():gsub("%s", "")
  if text:find "^iqn%." or text:find "^eui%." or text:find "^nqn%." then return text end
  local wwpn <const> = text:match "^fc%.%x+:(%x+)$"
  if wwpn then return wwpn end
  return (text:gsub("^fc%.", ""):gsub("^0x", ""):gsub("[:%-]", ""))
end

--- Connect a host's adapters, so that arrays see their logins.
---@param hbas lab.Hba[]
function Fabric:plug(hbas) table.move(hbas, 1, #hbas, #self.hbas + 1, self.hbas) end

--- Called after each change, with the NAA of the LUN that changed.
---@param fn fun(naa: string)
function Fabric:watch(fn) self.watchers[#self.watchers + 1] = fn end

local function changed(self, naa)
  for _, fn in ipairs(self.watchers) do
    fn(naa)
  end
end

---@param lun lab.Lun
---@return lab.Lun lun
function Fabric:add_lun(lun)
  assert(lun.naa and lun.path and lun.size_bytes, "a LUN needs naa, path and size_bytes")
  self.luns[lun.naa] = lun
  self.maps[lun.naa] = self.maps[lun.naa] or {}
  changed(self, lun.naa)
  return lun
end

---@param naa string
function Fabric:remove_lun(naa)
  self.luns[naa], self.maps[naa] = nil, nil
  changed(self, naa)
end

---@param naa string
---@return lab.Lun?
function Fabric:find(naa) return self.luns[naa] end

--- Replace who sees a LUN.
---@param naa string
---@param maps lab.Map[]
function Fabric:set_maps(naa, maps)
  assert(self.luns[naa], "no such LUN")
  self.maps[naa] = maps
  changed(self, naa)
end

---@param naa string
---@return lab.Map[]
function Fabric:maps_of(naa) return self.maps[naa] or {} end

---@return lab.Lun[] luns by NAA
function Fabric:list()
  local list <const> = {}
  for _, lun in pairs(self.luns) do
    list[#list + 1] = lun
  end
  table.sort(list, function(a, b) return a.naa < b.naa end)
  return list
end

--- The LUNs that any of these initiators may see, by number and NAA.
---@param initiators string[]
---@return { lun: lab.Lun, number: integer }[]
function Fabric:seen_by(initiators)
  local mine <const>, found <const> = {}, {}
  for _, id in ipairs(initiators) do
    mine[M.initiator(id)] = true
  end
  for naa, maps in pairs(self.maps) do
    local number
    for _, map in ipairs(maps) do
      for _, id in ipairs(map.initiators) do
        if mine[M.initiator(id)] and (not number or map.number < number) then number = map.number end
      end
    end
    if number then found[#found + 1] = { lun = self.luns[naa], number = number } end
  end
  table.sort(found, function(a, b)
    if a.number ~= b.number then return a.number < b.number end
    return a.lun.naa < b.lun.naa
  end)
  return found
end

return M
