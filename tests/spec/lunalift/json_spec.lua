local json <const> = require "lunalift.json"

describe("lunalift.json", function()
  it("keeps integers exact, up to 2^53", function()
    assert.equal("integer", math.type(json.decode "100000000000000"))
    assert.equal("109951162777600", json.encode(json.decode "109951162777600"))
    assert.equal("9007199254740992", json.encode(json.decode "9007199254740992"))
    assert.equal(2.5, json.decode "2.5")
    assert.equal("9223372036854775807", json.encode(math.maxinteger))
  end)

  it("refuses numbers that would lose digits", function()
    local value <const>, why <const> = json.decode '{"a": 9007199254740995}'
    assert.is_nil(value)
    assert.matches("2^53", why.message, 1, true)
  end)

  it("reads null as absent, and keeps its place in a list", function()
    assert.same({ b = 1 }, json.decode '{"a": null, "b": 1}')
    local list <const> = json.decode "[1, null, 3]"
    assert.equal(json.null, list[2])
    assert.equal(3, #list)
  end)

  it("refuses what is no JSON", function()
    for _, text in ipairs { "", "{", "[1,]", "nan", "{'a': 1}", "1 2", ("["):rep(200) } do
      local value <const>, why <const> = json.decode(text)
      assert.is_nil(value, text)
      assert.equal("protocol", why.kind)
    end
  end)

  it("writes the same value as the same text", function()
    assert.equal('{"a":[1,2],"b":{"c":true},"d":"x"}', json.encode { d = "x", b = { c = true }, a = { 1, 2 } })
    assert.equal("[]", json.encode(json.array {}))
    assert.equal("{}", json.encode {})
    assert.equal("[null]", json.encode { json.null })
    assert.equal("0.1", json.encode(0.1))
    assert.equal('{\n  "a": [\n    1\n  ]\n}', json.encode({ a = { 1 } }, { indent = true }))
  end)

  it("escapes what must be escaped", function()
    assert.equal([["\"\\\n\t\u0001\u007fü"]], json.encode '"\\\n\t\1\127ü')
    assert.equal('"\\\n\t\1\127ü', json.decode(json.encode '"\\\n\t\1\127ü'))
  end)

  it("raises on what JSON cannot say", function()
    local cycle <const> = {}
    cycle.me = cycle
    for _, value in ipairs { print, 0 / 0, math.huge, { 1, 2, x = 3 }, { [1.5] = 1 }, cycle } do
      assert.has_error(function() json.encode(value) end)
    end
  end)
end)
