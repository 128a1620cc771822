local codec <const> = require "lunalift.codec"

describe("lunalift.codec", function()
  it("digests with SHA-256", function()
    assert.equal("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", codec.sha256 "")
    assert.equal("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", codec.sha256 "abc")
  end)

  it("digests with SHA-1 where a format asks for it", function()
    assert.equal("da39a3ee5e6b4b0d3255bfef95601890afd80709", codec.sha1 "")
    assert.equal("a9993e364706816aba3e25717850c26c9cd0d89d", codec.sha1 "abc")
  end)

  it("takes gzip back to the bytes, and refuses what is none", function()
    local bytes <const> = ("\0\255 binary \n"):rep(10000)
    assert.equal(bytes, codec.gunzip(codec.gzip(bytes)))
    assert.equal("", codec.gunzip(codec.gzip ""))
    local none <const>, why <const> = codec.gunzip "no gzip"
    assert.is_nil(none)
    assert.equal("protocol", why.kind)
  end)

  it("takes base64 back to the bytes", function()
    local bytes <const> = "\0\255 binary \n"
    assert.equal(bytes, codec.unbase64(codec.base64(bytes)))
    assert.equal("Zm9vYg==", codec.base64 "foob")
    assert.equal("", codec.unbase64 "")
  end)

  it("refuses what is no base64", function()
    local bytes, why = codec.unbase64 "not*base64"
    assert.is_nil(bytes)
    assert.equal("config", why.kind)
  end)

  it("percent-encodes all but the unreserved and what is kept", function()
    assert.equal("a%2Fb%20c~%C3%A9", codec.percent "a/b c~é")
    assert.equal("a/b%20c", codec.percent("a/b c", "/"))
    assert.equal("a/b c~é", codec.unpercent "a%2Fb%20c~%c3%A9")
  end)

  it("leaves what is no escape as it is", function() assert.equal("100% %zz %4", codec.unpercent "100% %zz %4") end)

  it("makes random UUIDs of version 4", function()
    local first <const> = codec.uuid()
    assert.truthy(first:match "^%x%x%x%x%x%x%x%x%-%x%x%x%x%-4%x%x%x%-[89ab]%x%x%x%-%x%x%x%x%x%x%x%x%x%x%x%x$")
    assert.equal(first:lower(), first)
    assert.not_equal(first, codec.uuid())
  end)

  it("makes random digits, as many as asked", function()
    assert.truthy(codec.random_hex(3):match "^%x%x%x%x%x%x$")
    assert.equal(128, #codec.random_hex(64))
    assert.error_matches(function() codec.random_hex(0) end, "out of range")
    assert.error_matches(function() codec.random_hex(65) end, "out of range")
  end)

  it("escapes for XML, and raises on what XML cannot carry", function()
    assert.equal("a &lt;b&gt; &amp; c", codec.xml_escape "a <b> & c")
    assert.error(function() codec.xml_escape "\0" end)
  end)
end)
