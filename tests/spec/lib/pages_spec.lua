local fail = require "lib.fail"
local pages = require "lib.pages"

describe("a paged list", function()
  local function book(content)
    local asked = {}
    return function(cursor)
      asked[#asked + 1] = cursor or "first"
      local page = content[cursor or "first"]
      return page.items, page.next
    end,
      asked
  end

  it("is all pages in order, empty ones in between included", function()
    local page, asked = book {
      first = { items = { 1, 2 }, next = "b" },
      b = { items = {}, next = "c" },
      c = { next = "d" },
      d = { items = { 3 } },
    }
    assert.same({ 1, 2, 3 }, pages.all(page))
    assert.same({ "first", "b", "c", "d" }, asked)
  end)

  it("is empty without items", function() assert.same({}, pages.all(book { first = {} })) end)

  it("that never ends is refused", function()
    local _, why = pcall(pages.all, book { first = { items = { 1 }, next = "b" }, b = { items = { 1 }, next = "b" } })
    assert.is_true(fail.is(why, "protocol"))
    local count = 0
    _, why = pcall(pages.all, function()
      count = count + 1
      return { 1 }, count
    end)
    assert.matches("no end", fail.text(why))
  end)
end)
