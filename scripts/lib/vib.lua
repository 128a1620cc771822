--- The VIB vmkfstools-wrapper: the package by which an ESXi host installs the wrapper and its esxcli extension. An ar archive of a
--- descriptor, a signature, which is empty, and a payload, which is a gzipped tar.
local archive <const> = require "lib.archive"
local codec <const> = require "lunalift.codec"
local env <const> = require "lunalift.env"
local fail <const> = require "lib.fail"
local flags <const> = require "lib.flags"
local script <const> = require "lunalift.script"
local xml <const> = require "lunalift.xml"

local M <const> = {}

M.NAME = "vmkfstools-wrapper"
M.VENDOR = "Lunalift"
M.WRAPPER = "/opt/lunalift/vmkfstools-wrapper"
M.MEMORY = "/opt/lunalift/hostd-memory"
M.EXTENSION = "/usr/lib/vmware/esxcli/ext/esxcli-vmkfstools.xml"

-- Of the wrapper's version below: a VIB of one version is the same wherever it was built. SOURCE_DATE_EPOCH takes its place.
M.RELEASED = { version = "1.0.0", time_s = 1795478400 }

local DESCRIPTOR <const>, SIGNATURE <const>, PAYLOAD <const> = "descriptor.xml", "sig.pkcs7", "payload1"
local ABOUT <const> = "Clones virtual disks onto raw devices, as esxcli vmkfstools"
local WEBSITE <const> = "https://lunalift.io/"

-- ---- building ----

--- A file of the ESXi side as it is shipped: beside the scripts, in the source tree as in an installed one.
---@param name string
---@return string
function M.source(name)
  local scripts <const> = assert(script.find "lib.vib").path:match "^(.*)/lib/vib%.lua$"
  local text <const>, why <const> = env.read(scripts .. "/../vmkfstools-wrapper/" .. name)
  if text then return text end
  local failure <const> = fail.wrap(why, "what belongs into the VIB is not installed here")
  error(fail.hint(failure, "install Lunalift whole, or give a VIB with --vib-path"))
end

local function files()
  return {
    { name = M.WRAPPER:sub(2), text = M.source "vmkfstools-wrapper", mode = tonumber("755", 8) },
    { name = M.EXTENSION:sub(2), text = M.source "esxcli-vmkfstools.xml" },
    { name = M.MEMORY:sub(2), text = M.source "hostd-memory", mode = tonumber("755", 8) },
  }
end

local function release_time_s()
  local text <const> = env.get "SOURCE_DATE_EPOCH"
  if not text or text == "" then return M.RELEASED.time_s end
  local time_s <const> = flags.convert({ name = "", help = "", type = "integer" }, "SOURCE_DATE_EPOCH", text)
  if time_s >= 0 and time_s < 1 << 33 then return time_s end -- what a tar can say
  fail.raise("config", "SOURCE_DATE_EPOCH: %s is no time since 1970", text)
end

-- A tag with texts and tags in it, on lines of their own where there is more than a text.
local function tag(name, content)
  local bare <const> = name:match "^%S+"
  if content == nil then return ("<%s/>"):format(name) end
  if type(content) ~= "table" then return ("<%s>%s</%s>"):format(name, codec.xml_escape(tostring(content)), bare) end
  local inner <const> = table.concat(content, "\n"):gsub("[^\n]+", "  %0")
  return ("<%s>\n%s\n</%s>"):format(name, inner, bare)
end

local function descriptor(version, time_s, payload, tar, names)
  local contents <const> = {}
  for i, name in ipairs(names) do
    contents[i] = tag("file", name)
  end
  local attributes <const> = ('payload name="%s" type="tgz" size="%d"'):format(PAYLOAD, #payload)
  local unpacked <const> = 'checksum checksum-type="%s" verify-process="gunzip"'
  return tag('vib version="5.0"', {
    tag("type", "bootbank"),
    tag("name", M.NAME),
    tag("version", version),
    tag("vendor", M.VENDOR),
    tag("summary", ABOUT),
    tag("description", ABOUT .. ". Starts, follows and ends the clones that lunalift asks for."),
    tag("release-date", os.date("!%Y-%m-%dT%H:%M:%S", time_s)),
    tag("urls", { tag('url key="website"', WEBSITE) }),
    tag("relationships", {
      tag "depends",
      tag "conflicts",
      tag "replaces",
      tag "provides",
      tag "compatibleWith",
    }),
    tag "software-tags",
    tag("system-requires", { tag("maintenance-mode", false) }),
    tag("file-list", contents),
    tag("acceptance-level", "community"),
    tag("live-install-allowed", true),
    tag("live-remove-allowed", true),
    tag("cimom-restart", false),
    tag("stateless-ready", true),
    tag("overlay", false),
    tag("payloads", {
      tag(attributes, {
        tag('checksum checksum-type="sha-256"', codec.sha256(payload)),
        tag(unpacked:format "sha-256", codec.sha256(tar)),
        tag(unpacked:format "sha-1", codec.sha1(tar)),
      }),
    }),
  }) .. "\n"
end

--- Of the wrapper's text.
---@return string
function M.version_of(text) return text:match "\nVERSION=([%w.]+)\n" or fail.raise("bug", "the wrapper has no version") end

--- Of the wrapper that is installed here.
---@return string bytes
function M.build()
  local list <const>, time_s <const>, names <const> = files(), release_time_s(), {}
  local version <const> = M.version_of(list[1].text)
  for i, file in ipairs(list) do
    names[i] = file.name
  end
  local tar <const> = archive.tar(list, time_s)
  local payload <const> = codec.gzip(tar)
  return archive.ar {
    { name = DESCRIPTOR, text = descriptor(version, time_s, payload, tar, names) },
    { name = SIGNATURE, text = "" },
    { name = PAYLOAD, text = payload },
  }
end

-- ---- reading ----

local function child(node, name)
  for _, each in ipairs(node or {}) do
    if each.name == name then return each end
  end
end

local function check_payload(stated, payload)
  local tar <const>, why <const> = codec.gunzip(payload)
  if not tar then error(why) end
  local digests <const> = { ["sha-256"] = codec.sha256, ["sha-1"] = codec.sha1 }
  local is_proved = false
  for _, checksum in ipairs(stated) do
    local digest <const> = digests[checksum.attr["checksum-type"]]
    local of <const> = checksum.attr["verify-process"] == "gunzip" and tar or payload
    if digest and digest(of) ~= checksum.text then fail.raise("protocol", "the payload is not what its digest says") end
    is_proved = is_proved or digest ~= nil
  end
  if not is_proved then fail.raise("protocol", "no digest of the payload is given") end
end

local function read(bytes)
  local members <const> = {}
  for _, member in ipairs(archive.read_ar(bytes)) do
    members[member.name] = member.text
  end
  if not members[DESCRIPTOR] or not members[PAYLOAD] then
    fail.raise("protocol", "it has no %s and %s", DESCRIPTOR, PAYLOAD)
  end
  local root <const> = assert(xml.parse(members[DESCRIPTOR]))
  local function text(name) return (child(root, name) or { text = "" }).text:match "^%s*(.-)%s*$" end
  if text "name" ~= M.NAME then fail.raise("protocol", "it is the VIB '%s', not %s", text "name", M.NAME) end
  check_payload(child(child(root, "payloads"), "payload") or {}, members[PAYLOAD])
  return { bytes = bytes, version = text "version", vendor = text "vendor", sha256 = codec.sha256(bytes) }
end

---@class lib.Vib
---@field bytes string
---@field version string
---@field vendor string
---@field sha256 string

--- Raises config, with what is wrong, for anything that is no whole VIB of that name.
---@param bytes string
---@param where string
---@return lib.Vib
function M.read(bytes, where)
  local ok <const>, found <const> = pcall(read, bytes)
  if ok then return found end
  local why <const> = fail.of(found)
  if why.kind == "bug" then error(why) end
  local failure <const> = fail.new("config", "%s is no VIB that can be installed", where)
  failure.cause = why
  error(fail.hint(failure, "make one: lunalift vib build --output %s", where))
end

-- ---- versions ----

--- Below, at or above 0, as `a` is older than `b`, the same, or newer: number by number.
---@param a string
---@param b string
---@return integer
function M.compare(a, b)
  local next_a <const>, next_b <const> = a:gmatch "%d+", b:gmatch "%d+"
  while true do
    local x <const>, y <const> = next_a(), next_b()
    if not x and not y then return 0 end
    local difference <const> = tonumber(x or -1) - tonumber(y or -1)
    if difference ~= 0 then return difference end
  end
end

return M
