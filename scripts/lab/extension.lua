--- Extensions of esxcli: the XML that a VIB installs, and the command lines that hostd makes of it.
---@class lab.extension
local M <const> = {}

---@class lab.CliParam
---@field name string as in the XML
---@field wire string as in SOAP: without dashes
---@field short? string
---@field required boolean
---@field help string
---@field flag? boolean

---@class lab.CliCommand
---@field words string[]
---@field help string
---@field params lab.CliParam[]
---@field type string class of the result on the wire
---@field execute? string command line of an extension
---@field run? fun(host: lab.Host, args: table<string, any>): table of a built-in command

local function child(node, name)
  for _, each in ipairs(node or {}) do
    if each.name == name then return each end
  end
end

local function text_of(node, name)
  local found <const> = child(node, name)
  return found and found.text:match "^%s*(.-)%s*$" or ""
end

local function param_of(node)
  return {
    name = node.attr.name,
    wire = node.attr.name:gsub("%-", ""),
    short = node.attr.shortname,
    required = node.attr.required ~= "false",
    help = text_of(node, "description"),
    flag = node.attr.type == "bool" or nil,
  }
end

local function command_of(node)
  local words <const>, params <const> = {}, {}
  for word in node.attr.path:gmatch "[^.]+" do
    words[#words + 1] = word
  end
  for _, each in ipairs(child(node, "input-spec") or {}) do
    if each.name == "parameter" then params[#params + 1] = param_of(each) end
  end
  local structure <const> = child(child(node, "output-spec"), "structure")
  return {
    words = words,
    help = text_of(node, "description"),
    params = params,
    type = "VimEsxCLI" .. table.concat(words) .. (structure and structure.attr.typeName or ""),
    execute = text_of(node, "execute"),
  }
end

--- The commands of an extension's XML.
---@param root XmlNode
---@return lab.CliCommand[]
function M.commands(root)
  local found <const> = {}
  for _, node in ipairs(child(root, "commands") or {}) do
    if node.name == "command" then found[#found + 1] = command_of(node) end
  end
  return found
end

--- The command line for these arguments, made as hostd makes it: `$val{name}` is replaced by the text as it is,
--- `$if{name,text}` by the text when the argument was given. Nothing is quoted: whoever writes the XML must.
---@param line string
---@param args table<string, string> by the name in the XML
---@return string
function M.expand(line, args)
  local function conditional(inside)
    local name <const>, text <const> = inside:match "^{%s*([%w_%-]+)%s*,(.*)}$"
    return args[name] and M.expand(text, args) or ""
  end
  -- One pass, so that an argument which looks like a placeholder stays what it is.
  local out, at = {}, 1
  while true do
    local from <const>, to <const> = line:find("%$[vi][af]l?%b{}", at)
    if not from then break end
    out[#out + 1] = line:sub(at, from - 1)
    local found <const> = line:sub(from, to)
    local name <const> = found:match "^%$val{([%w_%-]+)}$"
    out[#out + 1] = name and (args[name] or "") or conditional(found:match "%b{}")
    at = to + 1
  end
  out[#out + 1] = line:sub(at)
  return table.concat(out)
end

--- The fields that a command of an extension printed; nil when that is no `structure`.
---@param root XmlNode?
---@return { [1]: string, [2]: string }[]? fields
function M.result(root)
  local structure <const> = root and root.name == "output" and child(root, "structure")
  if not structure then return nil end
  local fields <const> = {}
  for _, node in ipairs(structure) do
    fields[#fields + 1] = { node.attr.name, (child(node, "string") or { text = "" }).text }
  end
  return fields
end

return M
