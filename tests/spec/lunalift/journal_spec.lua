local codec <const> = require "lunalift.codec"
local fs <const> = require "lunalift.fs"
local journal <const> = require "lunalift.journal"

describe("lunalift.journal", function()
  local dir, path
  before_each(function()
    dir = "/tmp/journal-" .. codec.uuid()
    path = dir .. "/journal"
    assert(fs.mkdir(dir))
  end)
  after_each(function()
    for _, name in ipairs(fs.list(dir)) do
      assert(fs.remove(dir .. "/" .. name))
    end
    assert(fs.remove(dir))
  end)

  it("gives back what was written last, and leaves nothing beside it", function()
    assert.is_true(journal.write(path, "first"))
    assert.is_true(journal.write(path, "second"))
    assert.equal("second", journal.read(path))
    assert.same({ "journal" }, fs.list(dir))
    assert.equal(tonumber("600", 8), fs.stat(path).mode)
  end)

  it("makes the folders above a file, for this user alone", function()
    journal.make_folder(dir .. "/a/b/journal")
    assert.equal(tonumber("700", 8), fs.stat(dir .. "/a/b").mode)
    assert.is_nil(fs.stat(dir .. "/a/b/journal"))
    journal.make_folder(dir .. "/a/b/journal")
    assert(fs.remove(dir .. "/a/b"))
  end)

  it("says not_found when there is none, and removes what is absent", function()
    local text, why = journal.read(path)
    assert.is_nil(text)
    assert.equal("not_found", why.kind)
    assert.is_true(journal.remove(path))
  end)

  it("refuses what is too large, keeping the old", function()
    assert(journal.write(path, "old"))
    assert.equal("no_space", select(2, journal.write(path, ("x"):rep((64 << 10) + 1))).kind)
    assert.equal("old", journal.read(path))
  end)

  it("keeps others out until the lock is closed", function()
    do
      local _lock <close> = assert(journal.lock(path))
      local second, why = journal.lock(path)
      assert.is_nil(second)
      assert.equal("busy", why.kind)
    end
    local again <const> = assert(journal.lock(path))
    again:close()
    again:close()
    assert(journal.lock(path)):close()
  end)

  it("lists the journals of a folder, and nothing else", function()
    local folder <const> = os.tmpname()
    os.remove(folder)
    assert.same({}, journal.list(folder))
    journal.make_folder(folder .. "/x.json")
    for _, name in ipairs { "a.json", "b.json", "a.receipt.json", "a.json.lock", "a.json.tmp", ".json" } do
      assert(io.open(folder .. "/" .. name, "w")):close()
    end
    local names <const> = journal.list(folder)
    table.sort(names)
    assert.same({ "a.json", "b.json" }, names)
    local found <const>, why <const> = journal.list(folder .. "/a.json")
    assert.is_nil(found)
    assert.matches("look for", why.message)
    os.execute("rm -r " .. folder)
  end)
end)
