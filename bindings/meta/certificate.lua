---@meta lunalift.certificate
--- Certificates of our own: for the metrics listener and the lab.
---@class lunalift.certificate
local certificate = {}
---@param options { cn: string, days: integer? }
---@return { cert: string, key: Secret }? ca
---@return Fail? why
function certificate.ca(options) end
---@param options { cn: string, names: string[], days: integer?, ca: { cert: string, key: Secret }? } names: "DNS:host", "IP:127.0.0.1"; without ca self-signed
---@return { cert: string, key: Secret, sha256: string }? leaf sha256 "AA:BB:…"
---@return Fail? why
function certificate.leaf(options) end
return certificate
