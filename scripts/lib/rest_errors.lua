--- What the refusals of an array mean: its own words, its codes and what to do about them, in place of what HTTP says.
local fail <const> = require "lib.fail"
local list <const> = require "lib.list"

local M <const> = {}

---@class lib.RestSaid what the body of a refusal says
---@field text? string
---@field codes any[] as the array writes them; the first that has a meaning counts
---@field at? string which part of the request it means
---@field hint? string the array's own advice

---@alias lib.RestMeaning { [1]: string, [2]: string? } kind and hint

---@class lib.RestErrors
---@field by string who speaks: ONTAP
---@field read fun(body: table): lib.RestSaid? nil for what is not the array's
---@field refuses? fun(body: table): any for arrays that refuse with status 200, too: is this answer a refusal?
---@field meanings table<any, lib.RestMeaning> by code; all others stay as their HTTP status says
---@field hints? table<integer|string, string> by HTTP status or by kind, where the code has none
---@field elsewhere? string the hint where something else than the array answers: a page for people, a 404 without the array's words

local REASONS <const> = {
  [200] = "OK",
  [404] = "Not Found",
  [500] = "Internal Server Error",
  [502] = "Bad Gateway",
  [503] = "Service Unavailable",
  [504] = "Gateway Timeout",
}

--- Does a reply, or a failure, bring a page for people?
---@param answer { headers: table<string, string>? }
---@return boolean
function M.is_page(answer) return ((answer.headers or {})["content-type"] or ""):find "html" ~= nil end

--- The refusal that an answer of status 2xx is all the same, as the HTTP client would say it.
---@param errors? lib.RestErrors
---@param reply HttpReply
---@return Fail?
function M.refusal(errors, reply)
  local body <const> = reply.json
  if not errors or not errors.refuses or type(body) ~= "table" or not errors.refuses(body) then return nil end
  local why <const> = fail.new("failed", "HTTP status %d, and a refusal", reply.status)
  why.json, why.headers = body, reply.headers
  return why
end

local function meaning_of(errors, codes)
  for _, code in ipairs(codes) do
    if errors.meanings[code] then return errors.meanings[code], code end
  end
end

local function repeat_words(errors, why, said)
  local about <const> = { said.codes[1] and "code " .. table.concat(list.map(said.codes, tostring), ", ") }
  if said.at then about[#about + 1] = "at " .. said.at end
  local remark <const> = about[1] and (" (%s)"):format(table.concat(about, ", ")) or ""
  why.message = ("%s says: %s%s"):format(errors.by, said.text or "nothing", remark)
  why.code, why.at = said.codes[1], said.at
end

-- Whatever code comes with a busy server, or with an answer that was lost on the way, it is no verdict.
local function judge(errors, why, said)
  local meaning <const>, code <const> = meaning_of(errors, said.codes)
  local is_verdict <const> = meaning and not why.refused and not why.unanswered
  if is_verdict then
    why.code, why.kind, why.refused = code, meaning[1], meaning[1] == "busy" or nil
  end
  return is_verdict and meaning[2]
end

--- Put the array's words into a failure of the HTTP client, with `code` and `at`; the code is there only if the array itself spoke.
---@param errors lib.RestErrors
---@param why Fail
function M.explain(errors, why)
  local hints <const> = errors.hints or {}
  local said <const> = type(why.json) == "table" and errors.read(why.json)
  if said then
    repeat_words(errors, why, said)
    local advice <const> = why.status ~= 401 and said.hint or nil -- on a login there is better advice
    why.hint = judge(errors, why, said) or hints[why.status] or advice or why.hint
    return
  end
  if M.is_page(why) then
    why.message = ("%s %s, and a page for people"):format(why.message, REASONS[why.status] or "")
  end
  local is_elsewhere <const> = M.is_page(why) or why.status == 404
  why.hint = is_elsewhere and errors.elsewhere or hints[why.status] or why.hint or hints[why.kind]
end

return M
