---@meta lunalift.server
--- An HTTP(S) server; each request is handled in a task of its own and may wait.
---@class lunalift.server
local server = {}

---@class ServerOptions
---@field host? string 127.0.0.1
---@field port? integer 0: any
---@field cert? string PEM; with key: HTTPS
---@field key? Secret|string PEM
---@field max_body? integer
---@field on_request fun(request: ServerRequest): ServerAnswer?

---@class ServerRequest
---@field method string
---@field path string decoded? no: as sent, without the query
---@field query string as sent, "" if none
---@field args table<string, string> the query, decoded; the last of a repeated name wins
---@field headers table<string, string> names in lower case
---@field body string
---@field peer string address
---@field peer_port integer tells the peer's connections apart
---@field resumed boolean the connection's TLS session was taken up again

---@class ServerAnswer
---@field status? integer 200
---@field headers? table<string, string>
---@field body? string
---@field drop? boolean close the connection without a word
---@field reset? boolean cut it off
---@field stream? fun(send: fun(text: string): boolean) the body, piece by piece; may wait; send says whether the client is there still
---@field drip_s? number send a byte of the body each so many seconds

---@class Server
---@field port integer
local Server = {}

--- Raising in on_request answers 500 and logs. Returns nil and a failure when the address is taken.
---@param options ServerOptions
---@return Server? server
---@return Fail? why
function server.listen(options) end
function Server:close() end

return server
