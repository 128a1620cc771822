---@meta lunalift.http
--- HTTP(S) requests. No redirects, no proxies from the environment; TLS verified unless told otherwise.
---@class lunalift.http
local http = {}

---@class Trust
---@field ca? string PEM text
---@field ca_file? string
---@field and_system? boolean trust the system's authorities and SSL_CERT_FILE beside ca and ca_file; without these they count anyway
---@field thumbprint? string SHA-1 or SHA-256 of the certificate, AA:BB:…
---@field insecure? boolean

---@class HttpClientOptions
---@field base string URL that request paths are appended to; no scheme is https
---@field username? string with password: Basic
---@field password? Secret
---@field headers? table<string, string|Secret> sent with every request
---@field tls? Trust
---@field timeout_s? number whole exchange, 60
---@field connect_timeout_s? number 10
---@field max_body? integer bytes, 16 MiB

---@class HttpRequestOptions
---@field query? table<string, string|number|boolean|string[]> encoded, in the order of the keys
---@field headers? table<string, string|Secret>
---@field json? any encoded as the body, and may hold secrets; Content-Type application/json unless given
---@field body? string|Secret
---@field form? table<string, string|Secret> urlencoded body
---@field timeout_s? number
---@field effect? boolean default: true for all but GET and HEAD; false for a POST that only reads. An effect goes out once, on a connection of its own

---@class HttpReply
---@field status integer
---@field headers table<string, string> names in lower case; several values joined by ", ", set-cookie by "\n"
---@field body string
---@field json any decoded when the Content-Type says JSON and it is; else nil
---@field duration_s number

---@class HttpClient
local HttpClient = {}

---@param options HttpClientOptions raises on unknown or mistyped options
---@return HttpClient
function http.client(options) end

--- 2xx gives the reply. Anything else nil and a failure: kind by status (400 failed, 401 and 403 denied, 404 and 410 not_found, 409 and 412 conflict,
--- 408 and 504 timeout, 413 and 507 no_space, 429 and 503 busy, other 4xx and 5xx failed), with `status`, `json`, `body` (first 4 KiB), `headers`,
--- `retry_after_s`; no answer: unreachable, timeout, protocol. `refused` is true for 401, 429, 503 and when nothing was sent; `unanswered` when it may have been
--- acted on (reset, timeout, truncated, 502, 504).
---@param method string
---@param path string
---@param options? HttpRequestOptions
---@return HttpReply? reply
---@return Fail? why
function HttpClient:request(method, path, options) end
---@return HttpReply? reply
---@return Fail? why
function HttpClient:get(path, options) end
---@return HttpReply? reply
---@return Fail? why
function HttpClient:post(path, options) end
---@return HttpReply? reply
---@return Fail? why
function HttpClient:put(path, options) end
---@return HttpReply? reply
---@return Fail? why
function HttpClient:patch(path, options) end
---@return HttpReply? reply
---@return Fail? why
function HttpClient:delete(path, options) end
--- Replace headers sent with every request (nil value removes), such as a token.
---@param headers table<string, string|Secret|false>
function HttpClient:set_headers(headers) end

return http
