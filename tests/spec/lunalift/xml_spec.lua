local xml <const> = require "lunalift.xml"

describe("lunalift.xml", function()
  it("gives a document as plain tables", function()
    local root <const> = assert(xml.parse '<p:a xmlns:p="urn:x" p:k="1" k="2">t<b/>u<b>&lt;</b></p:a>')
    assert.equal("a", root.name)
    assert.equal("urn:x", root.ns)
    assert.equal("tu", root.text)
    assert.same({ k = "2", ["{urn:x}k"] = "1" }, root.attr)
    assert.equal(2, #root)
    assert.same({ name = "b", ns = "", text = "<", attr = {} }, root[2])
  end)

  it("keeps a prefix that is bound to nothing", function()
    local root <const> = assert(xml.parse '<obj xsi:type="T"/>')
    assert.same({ ["xsi:type"] = "T" }, root.attr)
  end)

  it("refuses anything that is not one whole document, and names the line", function()
    for _, text in ipairs { "", "<a>", "<a/><b/>", "text", "<!DOCTYPE a><a/>", "<a>\n&x;</a>" } do
      local root <const>, why <const> = xml.parse(text)
      assert.is_nil(root)
      assert.equal("protocol", why.kind)
      assert.matches("line %d", why.message)
    end
  end)

  it("raises when it is not given a text", function()
    assert.error(function() xml.parse {} end)
  end)
end)
