local archive <const> = require "lib.archive"
local codec <const> = require "lunalift.codec"
local fail <const> = require "lib.fail"
local stand_in <const> = require "spec.support.stand_in"
local vib <const> = require "lib.vib"

local function refusal(bytes)
  local ok <const>, why <const> = pcall(vib.read, bytes, "x.vib")
  assert.is_false(ok)
  assert.is_true(fail.is(why, "config"))
  assert.equal("make one: lunalift vib build --output x.vib", why.hint)
  return fail.text(why)
end

-- The VIB that is built, with a member changed.
local function changed(name, change)
  local members <const> = archive.read_ar(vib.build())
  for _, member in ipairs(members) do
    if member.name == name then member.text = change(member.text) end
  end
  return archive.ar(members)
end

describe("lib.vib", function()
  it("builds the same bytes twice, of the version that was released then", function()
    local bytes <const> = vib.build()
    assert.equal(bytes, vib.build())
    local found <const> = vib.read(bytes, "x.vib")
    assert.equal(vib.RELEASED.version, found.version)
    assert.equal("Lunalift", found.vendor)
    assert.equal(codec.sha256(bytes), found.sha256)
    assert.matches("<release%-date>2026%-", archive.read_ar(bytes)[1].text)
  end)

  it("takes its time from SOURCE_DATE_EPOCH, and refuses what is no time", function()
    local env <const> = { get = function() return "86400" end, read = require("lunalift.env").read }
    finally(stand_in.install { ["lunalift.env"] = env })
    local dated <const> = require "lib.vib"
    assert.matches("<release-date>1970-01-02T00:00:00</release-date>", archive.read_ar(dated.build())[1].text, 1, true)
    for _, text in ipairs { "tomorrow", "-1", "99999999999" } do
      env.get = function() return text end
      local ok <const>, why <const> = pcall(dated.build)
      assert.is_false(ok)
      assert.is_true(fail.is(why, "config"))
      assert.matches("SOURCE_DATE_EPOCH", why.message)
    end
  end)

  it("refuses what is no VIB of that name, or damaged", function()
    local whole <const> = vib.build()
    assert.matches("no ar archive", refusal "a text")
    assert.matches("damaged, or cut short", refusal(whole:sub(1, -100)))
    assert.matches("it has no descriptor.xml", refusal(archive.ar {}))
    assert.matches(
      "the VIB 'net%-e1000'",
      refusal(
        changed("descriptor.xml", function(text) return (text:gsub("<name>.-</name>", "<name>net-e1000</name>")) end)
      )
    )
    assert.matches(
      "not what its digest says",
      refusal(changed("payload1", function(text) return codec.gzip(codec.gunzip(text) .. "more") end))
    )
    assert.matches("no gzip", refusal(changed("payload1", function() return "" end)))
    assert.matches(
      "no digest",
      refusal(changed("descriptor.xml", function(text) return (text:gsub("<checksum.-</checksum>", "")) end))
    )
    refusal(changed("descriptor.xml", function(text) return text:sub(1, 40) end))
  end)

  it("compares versions by their numbers", function()
    assert.equal(0, vib.compare("1.0.0", "1.0.0"))
    assert.is_true(vib.compare("0.3.3", "1.0.0") < 0)
    assert.is_true(vib.compare("1.10.0", "1.9.0") > 0)
    assert.is_true(vib.compare("1.0", "1.0.0") < 0)
    assert.is_true(vib.compare("1.0.0-2", "1.0.0-1") > 0)
  end)
end)
