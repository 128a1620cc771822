local codec <const> = require "lunalift.codec"
local env <const> = require "lunalift.env"
local fs <const> = require "lunalift.fs"
local secret <const> = require "lunalift.secret"

describe("lunalift.env", function()
  it("reads variables", function()
    assert.equal(os.getenv "PATH", env.get "PATH")
    assert.is_nil(env.get "LUNALIFT_NOT_SET")
  end)

  it("makes secrets of them", function()
    assert.is_true(secret.is(env.secret "PATH"))
    assert.equal("***", tostring(env.secret "PATH"))
    assert.is_false(env.secret("PATH"):is_empty())
    assert.is_nil(env.secret "LUNALIFT_NOT_SET")
  end)

  it("reads files up to a mebibyte", function()
    local path <const> = "/tmp/env-" .. codec.uuid()
    assert(fs.write(path, "content"))
    assert.equal("content", env.read(path))
    assert(fs.truncate(path, 1 << 20))
    assert.equal(1 << 20, #env.read(path))
    assert(fs.truncate(path, (1 << 20) + 1))
    assert.equal("no_space", select(2, env.read(path)).kind)
    assert(fs.remove(path))
    assert.equal("not_found", select(2, env.read(path)).kind)
  end)
end)
