--- What the lab's log says of a run: how often each peer was asked, over how many connections, and when it was a peer's turn.
local M <const> = {}

local KINDS <const> = {
  RetrieveServiceContent = "login",
  Login = "login",
  Logout = "login",
  RetrievePropertiesEx = "properties",
  ContinueRetrievePropertiesEx = "properties",
  ExecuteSoap = "esxcli",
  RetrieveManagedMethodExecuter = "executer",
  RetrieveDynamicTypeManager = "executer",
}

---@param requests lab.Request[]
---@param service string
---@return lab.Request[]
function M.of(requests, service)
  local list <const> = {}
  for _, request in ipairs(requests) do
    if request.service == service then list[#list + 1] = request end
  end
  return list
end

--- SOAP calls by kind; `all` is their sum.
---@param requests lab.Request[]
---@return table<string, integer>
function M.soap(requests)
  local counts <const> = { login = 0, properties = 0, esxcli = 0, executer = 0, other = 0, all = 0 }
  for _, request in ipairs(M.of(requests, "vcenter")) do
    if not (request.method == "GET" or request.method == "PUT") then
      local kind <const> = KINDS[request.method] or "other"
      counts[kind], counts.all = counts[kind] + 1, counts.all + 1
    end
  end
  return counts
end

---@class traffic.Connections
---@field requests integer
---@field reads integer connections that carried nothing but reads
---@field effects integer connections that carried an effect
---@field shared integer effects that came over a connection with anything else
---@field handshakes integer whole ones, for which no session was taken up again

--- How a service was reached.
---@param requests lab.Request[]
---@param service string
---@return traffic.Connections
function M.connections(requests, service)
  local seen <const>, list <const> = {}, {}
  local found <const> = { requests = 0, reads = 0, effects = 0, shared = 0, handshakes = 0 }
  for _, request in ipairs(M.of(requests, service)) do
    local connection = seen[request.connection]
    if not connection then
      connection = { requests = 0, resumed = request.resumed }
      seen[request.connection], list[#list + 1] = connection, connection
    end
    found.requests, connection.requests = found.requests + 1, connection.requests + 1
    connection.effect = connection.effect or request.effect
  end
  for _, connection in ipairs(list) do
    local kind <const> = connection.effect and "effects" or "reads"
    found[kind] = found[kind] + 1
    if connection.effect and connection.requests > 1 then found.shared = found.shared + 1 end
    if not connection.resumed then found.handshakes = found.handshakes + 1 end
  end
  return found
end

--- Seconds in which at least one of the spans { from, to } is under way.
---@param spans number[][]
---@return number
function M.union_s(spans)
  table.sort(spans, function(a, b) return a[1] < b[1] end)
  local sum_s, until_s = 0, -math.huge
  for _, span in ipairs(spans) do
    local from_s <const> = math.max(span[1], until_s)
    if span[2] > from_s then
      sum_s, until_s = sum_s + span[2] - from_s, span[2]
    end
  end
  return sum_s
end

--- The spans in which a peer owed an answer.
---@param requests lab.Request[]
---@return number[][]
function M.owed(requests)
  local spans <const> = {}
  for _, request in ipairs(requests) do
    if request.ended then spans[#spans + 1] = { request.at, request.ended } end
  end
  return spans
end

return M
