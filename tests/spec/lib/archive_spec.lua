local archive <const> = require "lib.archive"

describe("lib.archive", function()
  it("begins a tar with the folders, each once, and ends on a record of 20 blocks", function()
    local tar <const> = archive.tar({ { name = "a/b/c", text = "text" }, { name = "a/d", text = "" } }, 0)
    assert.equal(0, #tar % 10240)
    local names <const> = {}
    for at = 1, 5 * 512, 512 do
      names[#names + 1] = tar:sub(at, at + 99):match "^%Z+"
    end
    assert.same({ "a/", "a/b/", "a/b/c", "text", "a/d" }, names)
  end)

  it("refuses names that do not fit", function()
    assert.error_matches(function() archive.tar({ { name = ("x"):rep(101), text = "" } }, 0) end, "does not fit")
    assert.error_matches(function() archive.ar { { name = ("x"):rep(16), text = "" } } end, "does not fit")
  end)

  it("reads an ar as it was written, members of odd length too", function()
    local files <const> =
      { { name = "one", text = "odd" }, { name = "two", text = "" }, { name = "three", text = "even" } }
    assert.same(files, archive.read_ar(archive.ar(files)))
    assert.same({}, archive.read_ar "!<arch>\n")
  end)

  it("refuses an ar that is cut anywhere but between members, and what is none", function()
    local whole <const> = archive.ar { { name = "one", text = "text" }, { name = "two", text = "more" } }
    for length = 0, #whole - 1 do
      local ok <const>, why <const> = pcall(archive.read_ar, whole:sub(1, length))
      local is_between <const> = length == 8 or length == 8 + 60 + 4
      assert.equal(is_between, ok, length)
      if not ok then assert.equal("protocol", why.kind) end
    end
    assert.is_false((pcall(archive.read_ar, "PK\3\4")))
  end)
end)
