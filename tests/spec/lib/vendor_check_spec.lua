local arrays <const> = require "lib.arrays"
local codec <const> = require "lunalift.codec"
local fs <const> = require "lunalift.fs"
local lua_words <const> = require "lib.lua_words"
local script <const> = require "lunalift.script"
local vendor_check <const> = require "lib.vendor_check"

local GOOD <const> = [==[
local fail <const> = require "lib.fail"
local M <const> = {
  api = 1,
  name = "acme",
  title = "Acme Box",
  drivers = { "csi.acme.example" },
  fabrics = { "iscsi" },
  options = { pool = { type = "string", env = "ACME_POOL", help = "pool of the volumes" } },
  limits = { requests_per_s = 5 },
  status = "experimental",
}
local Array <const> = {}
Array.__index = Array
function M.open(conf) return setmetatable({ pool = conf.pool }, Array) end
function Array:info() return { vendor = "Acme", product = "Box", model = "", version = "1" } end
function Array:lun_of(pv) fail.raise("not_found", "no volume of %s", pv.name) end
function Array:hosts_of() return {} end
function Array:maps_of() return {} end
function Array:map(lun) return "made", lun end
function Array:unmap() return true end
function Array:close() end
return M
]==]

describe("the check of vendor scripts", function()
  local dir, path

  before_each(function()
    dir = "/tmp/lunalift-vendor-" .. codec.uuid()
    path = dir .. "/acme.lua"
    assert(fs.mkdir(dir))
  end)

  after_each(function()
    fs.remove(path)
    fs.remove(dir)
  end)

  local function check(text)
    assert(fs.write(path, text))
    return vendor_check.file(path)
  end

  -- The good one with one text in another's place.
  local function changed(old, new)
    local first <const>, last <const> = GOOD:find(old, 1, true)
    assert(first, old)
    return GOOD:sub(1, first - 1) .. new .. GOOD:sub(last + 1)
  end

  -- "line text | fix" of each problem.
  local function problems_of(text)
    local lines <const> = {}
    for i, problem in ipairs(check(text).problems) do
      lines[i] = ("%d %s | %s"):format(problem.line, problem.text, problem.fix)
    end
    return lines
  end

  it("finds nothing to complain of in a sound one, and tells what it offers", function()
    local verdict <const> = check(GOOD)
    assert.same({}, verdict.problems)
    assert.equal("Acme Box", verdict.title)
    assert.same({ "info", "lun_of", "hosts_of", "maps_of", "map", "unmap", "close" }, verdict.offers)
    assert.same("targets", verdict.absent[1])
  end)

  it("finds nothing to complain of in those that are built in", function()
    for _, name in ipairs(arrays.names()) do
      assert.same({}, vendor_check.file(script.find("vendors." .. name).path).problems, name)
    end
  end)

  for _, case in ipairs {
    {
      "a line that is no Lua",
      "api = 1,",
      "api 1,",
      "3 '}' expected (to close '{' at line 2) near '1' | correct the line",
    },
    { "another api", "api = 1", "api = 2", "3 api is 2 | write api = 1" },
    {
      "a name that is not the file's",
      'name = "acme"',
      'name = "box"',
      '4 name is box, the file acme.lua | write name = "acme", or rename the file',
    },
    {
      "drivers that are no list",
      '{ "csi.acme.example" }',
      '"csi.acme.example"',
      "6 drivers is a string | it must be a table",
    },
    { "an unknown fabric", '"iscsi"', '"iscsy"', "7 'iscsy' is none of the fabrics | did you mean iscsi?" },
    { "unknown metadata", "status", "statsu", "10 there is no metadata 'statsu' | did you mean status?" },
    { "an unknown limit", "requests_per_s", "per_s", "9 there is no limit 'per_s' | there is requests_per_s" },
    {
      "an option of an unknown type",
      'type = "string"',
      'type = "int"',
      "8 option pool has the type 'int' | did you mean integer?",
    },
    {
      "an option of a variable that is the program's",
      '"ACME_POOL"',
      '"STORAGE_TOKEN"',
      "8 STORAGE_TOKEN is the program's own | call it ACME_POOL",
    },
    {
      "a default that is no choice",
      'type = "string"',
      'default = "c", choices = { "a" }',
      "8 option pool has a default that is none of its choices | add it to them",
    },
    {
      "a default of another type",
      'type = "string"',
      'type = "integer", default = "3"',
      "8 option pool is a integer, its default a string | make them agree",
    },
    {
      "a secret with a default",
      'type = "string"',
      'type = "secret", default = "x"',
      "8 option pool is a secret with a default | a secret comes from the environment alone",
    },
    {
      "an option that hides what all have",
      "pool = { type",
      "password = { type",
      "8 option password is every array's | give it another name",
    },
    {
      "a function that is missing",
      "function Array:unmap() return true end\n",
      "",
      "21 the array has no unmap | write function Array:unmap(lun, host)",
    },
    {
      "one that is misnamed",
      "Array:maps_of",
      "Array:map_of",
      "18 the array has no maps_of | is map_of meant to be it? function Array:maps_of(lun)",
    },
    {
      "one that takes more than it gets",
      "Array:map(lun)",
      "Array:map(lun, host, number)",
      "19 map gets 2 values | write function Array:map(lun, host)",
    },
    {
      "one that lacks its colon",
      "Array:map(lun)",
      "Array.map(lun)",
      "19 map is called with the array first | write function Array:map(lun, host)",
    },
    {
      "half of a pair",
      "function Array:close",
      "function Array:create_host() end\nfunction Array:close",
      "21 create_host is of no use without remove_host | write both, or neither",
    },
    {
      "a global that is assigned",
      "return {} end",
      "count = 1 return {} end",
      "17 'count' is assigned as a global | declare it: local count",
    },
    {
      "what is not offered",
      "return {} end",
      'print "x" end',
      "17 there is no global 'print' | use require \"lunalift.log\"",
    },
    {
      "a module that is not a vendor's",
      '"lib.fail"',
      '"lunalift.kube"',
      "1 vendors may not use lunalift.kube | there are for them http, json, xml, codec, secret, log, timer and task",
    },
    { "a module that does not exist", '"lib.fail"', '"lib.fial"', "1 there is no lib.fial | did you mean lib.fail?" },
    {
      "another vendor",
      '"lib.fail"',
      '"vendors.ontap"',
      "1 vendors do not know one another | put what they share into lib",
    },
    {
      "no open",
      "M.open",
      "M.opens",
      "3 there is no open | write function M.open(conf), which logs in and returns the array",
    },
  } do
    it("finds " .. case[1], function() assert.same(case[4], problems_of(changed(case[2], case[3]))[1]) end)
  end

  it("finds a wait, whatever its module is called", function()
    local text <const> = 'local clock <const> = require "lunalift.timer"\n'
      .. changed("return {} end", "clock.sleep(1) end")
    assert.matches("^18 a vendor does not wait by itself | lib.poll", problems_of(text)[1])
  end)

  it("finds two options of one variable", function()
    local text <const> = changed("options = {", 'options = { box = { env = "ACME_POOL", help = "x" },')
    assert.same({ "8 ACME_POOL is the variable of the option box, too | give each its own" }, problems_of(text))
  end)

  it("tells where a script fails that cannot be loaded, or returns nothing", function()
    assert.matches(
      "^11 attempt to .* | it must load without an array",
      problems_of(changed("}\nlocal Array", "} + 1\nlocal Array"))[1]
    )
    assert.matches("it returns boolean, no table", problems_of(changed("return M", ""))[1], 1, true)
  end)

  it("takes no field, comment, string or label for a global", function()
    local text <const> = [[
      -- count = 1
      local text <const> = "count = 2" .. 'it\'s' .. [=[ count = 3 ]=]
      --[==[ count
      = 4 ]==]
      local t <const> = { count = 5, [text] = 6, more = function() t2 = nil end }
      t.count = 7
      for i = 1, 2 do if i < t.count and i > 0 then goto out end end
      ::out::
    ]]
    local lines <const> = problems_of(changed("local Array", text .. "\nlocal Array"))
    assert.same(1, #lines)
    assert.matches("'t2' is assigned as a global", lines[1], 1, true)
  end)

  it("counts lines through comments and long strings", function()
    local words <const> = lua_words.split "--[[ a\nb ]]\nx = [[\n\n]] .. 'y\\\n' -- end\nz"
    local seen <const> = {}
    for i, word in ipairs(words) do
      seen[i] = word.line .. word.kind
    end
    assert.same({ "3name", "3symbol", "3string", "5symbol", "5string", "7name" }, seen)
  end)
end)
