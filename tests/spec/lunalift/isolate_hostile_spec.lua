local isolate <const> = require "lunalift.isolate"
local secret <const> = require "lunalift.secret"
local timer <const> = require "lunalift.timer"

local CEILING <const> = 48 << 20

local function hostile() return assert(isolate.open { module = "spec.hostile", memory_bytes = CEILING }) end

--- What came of it, and that the state's neighbours and the process went on.
local function attempt(name, ...)
  local begun <const> = timer.now()
  local inside <const> = hostile()
  local results <const> = table.pack(inside:call(name, ...))
  inside:close()
  assert.is_true(timer.now() - begun < 60, name .. " took long")
  return table.unpack(results, 1, results.n)
end

local function refused(name, pattern)
  local value <const>, why <const> = attempt(name)
  assert.is_nil(value, name)
  assert.equal("string", type(why.message), name)
  assert.matches(pattern, why.message, 1, false, name)
end

describe("a hostile script", function()
  it("is ended while it is loaded", function()
    local state <const>, why <const> = isolate.open { module = "spec.wedge_at_load" }
    assert.is_nil(state)
    assert.matches("too long", why.message)
  end)

  for _, name in ipairs {
    "loop_in_close",
    "loop_in_index",
    "loop_in_tostring",
    "loop_in_gsub",
    "loop_in_handler",
    "loop_in_pairs",
    "loop_in_task",
    "loop_in_shield",
  } do
    it("is ended by the budget: " .. name, function() refused(name, "too long") end)
  end

  it("does not loop while its failure is put into words", function()
    local _, why <const> = attempt "loop_in_error_object"
    assert.equal("table", type(why))
  end)

  for name, pattern in pairs {
    insert = "__len",
    remove = "__len",
    sort = "__len",
    move = "too many elements",
    unpack = "too many results",
    long_plain_find = "a pattern may have",
    long_pattern = "32 KiB",
    rep = "too large",
    concat = "memory",
    gsub = "memory",
    secrets = "memory",
    large_secret = "1 MiB",
    recurse = "[om][ve][em][ro]",
    recurse_in_index = "overflow",
    recurse_in_gsub = "overflow",
    recurse_in_sort = "overflow",
    deep_json = "not JSON",
    deep_table = "nested deeper",
    deep_result = "nested deeper",
    sleep_in_comparator = "cannot wait here",
  } do
    it("is refused: " .. name, function()
      local value <const>, why <const> = attempt(name)
      assert.is_nil(value)
      assert.matches(pattern, why.message)
    end)
  end

  it("gets no further with errors, depth and comparators than a failure", function()
    for _, name in ipairs {
      "recurse_in_pcall",
      "recurse_in_handler",
      "deep_xml",
      "odd_comparator",
      "raising_error_object",
      "raising_result",
      "nil_error",
      "encode_twice_as_large",
    } do
      attempt(name)
    end
  end)

  it("gets hold of no metatable that is shared", function()
    for i, is_locked in ipairs((attempt "metatables")) do
      assert.is_true(is_locked, tostring(i))
    end
  end)

  it("makes no text of a secret", function()
    local canary <const> = "Zq7$canary-54-Vx&%"
    local hidden <const> = secret.new(canary)
    local texts <const> = attempt("texts_of_secret", hidden)
    assert.is_true(#texts > 60)
    for _, text in ipairs(texts) do
      assert.is_nil(text:find("canary", 1, true), text)
      assert.is_nil(text:find("Y2FuYXJ5", 1, true), text)
      assert.is_not.equal(tostring(#canary), text)
    end
  end)
end)
