local list = require "lib.list"

describe("a list", function()
  it("is mapped in order", function()
    assert.same({ 2, 4 }, list.map({ 1, 2 }, function(n) return 2 * n end))
    assert.same({}, list.map({}, error))
  end)

  it("is reduced to what is wanted, in order", function()
    local odd = function(n) return n % 2 == 1 end
    assert.same({ 1, 3 }, list.filter({ 1, 2, 3 }, odd))
    assert.same({}, list.filter({ 2 }, odd))
  end)

  it("gives the first item with that field", function()
    local a, b = { name = "a" }, { name = "b" }
    assert.equal(b, list.find({ a, b, { name = "b" } }, "name", "b"))
    assert.is_nil(list.find({ a }, "name", "c"))
  end)

  it("is named in a message, sorted", function()
    assert.equal("a, b", list.names { { name = "b" }, { name = "a" } })
    assert.equal("none", list.names {})
  end)
end)
