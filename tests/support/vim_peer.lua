--- A vCenter that answers what a spec tells it to, in this very process.
local secret <const> = require "lunalift.secret"
local server <const> = require "lunalift.server"
local vsphere <const> = require "lunalift.vsphere"
local M <const> = {}

local ENVELOPE <const> = [[<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"
 xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xmlns:xsd="http://www.w3.org/2001/XMLSchema"><s:Body>%s</s:Body></s:Envelope>]]

local CONTENT <const> = [[<returnval><rootFolder type="Folder">group-d1</rootFolder>
<propertyCollector type="PropertyCollector">pc</propertyCollector>
<about><fullName>Peer 1</fullName><apiType>VirtualCenter</apiType></about>
<sessionManager type="SessionManager">SM</sessionManager></returnval>]]

local function reply(method, inner)
  return ENVELOPE:format(('<%sResponse xmlns="urn:vim25">%s</%sResponse>'):format(method, inner, method))
end

local FAULT <const> = [[<s:Fault><faultcode>ServerFaultCode</faultcode><faultstring>%s</faultstring>
<detail><f xmlns="urn:vim25" xsi:type="%s"/></detail></s:Fault>]]

function M.fault(kind, text) return { status = 500, body = ENVELOPE:format(FAULT:format(text, kind)) } end

--- What a text is inside another document.
function M.escape(text) return (text:gsub("[&<>]", { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;" })) end

--- answers: method → inner XML of the response, a server answer, or a function(body) that returns either.
---@return table peer { session, calls = { {method, body}, … }, on_call = fun(count)? }
function M.open(answers)
  local peer <const> = { calls = {}, cookie = 0 }
  local function handle(request)
    local method <const> = request.body:match "Body><(%a+)" or request.method
    peer.calls[#peer.calls + 1] = { method = method, body = request.body }
    if peer.on_call then peer.on_call(#peer.calls) end
    if request.path:find "vimServiceVersions" then return { status = 404 } end
    if method == "RetrieveServiceContent" then return { body = reply(method, CONTENT) } end
    if method == "Login" then
      peer.cookie = peer.cookie + 1
      return {
        headers = { ["Set-Cookie"] = ('vmware_soap_session="s-%d"; Path=/'):format(peer.cookie) },
        body = reply(method, "<returnval/>"),
      }
    end
    if request.headers.cookie ~= ('vmware_soap_session="s-%d"'):format(peer.cookie) then
      if request.path:find "^/folder/" then return { status = 401 } end
      return M.fault("NotAuthenticated", "not logged in")
    end
    local answer = answers[method] or M.fault("MethodNotFound", method)
    if type(answer) == "function" then answer = answer(request.body, request) end
    return type(answer) == "table" and answer or { body = reply(method, answer) }
  end
  peer.server = assert(server.listen { on_request = handle })
  peer.session = assert(vsphere.open {
    host = "http://127.0.0.1:" .. peer.server.port,
    username = "user",
    password = secret.new "p&ss<word>",
  })
  return peer
end

--- The last body that came for `method`.
function M.last(peer, method)
  for i = #peer.calls, 1, -1 do
    if peer.calls[i].method == method then return peer.calls[i].body end
  end
end

function M.count(peer, method)
  local n = 0
  for _, call in ipairs(peer.calls) do
    if call.method == method then n = n + 1 end
  end
  return n
end

return M
