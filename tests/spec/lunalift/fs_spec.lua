local codec <const> = require "lunalift.codec"
local fs <const> = require "lunalift.fs"

describe("lunalift.fs", function()
  local dir
  before_each(function()
    dir = "/tmp/fs-" .. codec.uuid()
    assert(fs.mkdir(dir))
  end)
  after_each(function()
    for _, name in ipairs(fs.list(dir)) do
      assert(fs.remove(dir .. "/" .. name))
    end
    assert(fs.remove(dir))
  end)

  it("writes, appends and reads", function()
    local path <const> = dir .. "/a"
    assert.is_true(fs.write(path, "one\0"))
    assert.is_true(fs.append(path, "two"))
    assert.equal("one\0two", fs.read(path))
    assert(fs.write(path, ""))
    assert.equal("", fs.read(path))
  end)

  it("names path and reason of a failure, by kind", function()
    local text, why = fs.read(dir .. "/none")
    assert.is_nil(text)
    assert.equal("not_found", why.kind)
    assert.equal(dir .. "/none: No such file or directory", why.message)
    assert.equal("conflict", select(2, fs.mkdir(dir)).kind)
    assert(fs.write(dir .. "/a", ""))
    assert.equal("conflict", select(2, fs.remove(dir)).kind)
    assert.equal("failed", select(2, fs.list(dir .. "/a")).kind)
    local _, link_why = fs.link(dir .. "/a", dir .. "/a")
    assert.equal("conflict", link_why.kind)
  end)

  it("lists names in order", function()
    for _, name in ipairs { "b", "a", ".c" } do
      assert(fs.write(dir .. "/" .. name, ""))
    end
    assert.same({ ".c", "a", "b" }, fs.list(dir))
  end)

  it("tells what a path is", function()
    assert(fs.write(dir .. "/a", "12345"))
    assert(fs.chmod(dir .. "/a", tonumber("640", 8)))
    assert(fs.link(dir .. "/a", dir .. "/b"))
    assert(fs.symlink("a", dir .. "/c"))
    local found <const> = fs.stat(dir .. "/c")
    assert.equal("file", found.kind)
    assert.equal(5, found.size)
    assert.equal(tonumber("640", 8), found.mode)
    assert.equal(found.inode, fs.stat(dir .. "/b").inode)
    assert.truthy(math.abs(os.time() - found.mtime) < 60)
    assert.equal("directory", fs.stat(dir).kind)
    assert.equal("other", fs.stat("/dev/null").kind)
    assert.equal(fs.realpath(dir .. "/a"), fs.realpath(dir .. "/c"))
  end)

  it("renames over what is there", function()
    assert(fs.write(dir .. "/a", "new"))
    assert(fs.write(dir .. "/b", "old"))
    assert(fs.rename(dir .. "/a", dir .. "/b"))
    assert.same({ "b" }, fs.list(dir))
    assert.equal("new", fs.read(dir .. "/b"))
  end)

  it("reads and writes in the middle of a sparse file", function()
    local path <const> = dir .. "/disk"
    assert(fs.truncate(path, 1 << 40))
    assert(fs.pwrite(path, (1 << 40) - 6, "middle"))
    assert.equal(1 << 40, fs.stat(path).size)
    assert.equal("\0mid", fs.pread(path, (1 << 40) - 7, 4))
    assert.equal("dle", fs.pread(path, (1 << 40) - 3, 100))
    assert.equal("", fs.pread(path, 1 << 41, 100))
    assert.equal("not_found", select(2, fs.pwrite(dir .. "/none", 0, "x")).kind)
  end)

  it("fills with the same bytes, wherever the filling begins", function()
    local whole <const>, parts <const> = dir .. "/whole", dir .. "/parts"
    local size <const> = 3 * 1024 * 1024 + 5
    assert(fs.fill(whole, { size = size, seed = 7 }))
    assert.equal(size, fs.stat(whole).size)
    assert(fs.fill(parts, { size = size - 1234567, seed = 7, offset = 1234567 }))
    assert(fs.fill(parts, { size = 1234567, seed = 7 }))
    assert.equal(codec.sha256(fs.read(whole)), codec.sha256(fs.read(parts)))
    assert(fs.fill(parts, { size = size, seed = 8 }))
    assert.not_equal(codec.sha256(fs.read(whole)), codec.sha256(fs.read(parts)))
  end)

  it("raises on a misspelt option", function()
    assert.error_matches(function() fs.fill(dir .. "/a", { sise = 1 }) end, "did you mean 'size'")
  end)
end)
