local fail <const> = require "lib.fail"
local vmdk <const> = require "lib.vmdk"

describe("a VMDK path", function()
  local function refused(text)
    local ok <const>, why <const> = pcall(vmdk.parse, text)
    assert.is_false(ok, text)
    assert.is_true(fail.is(why, "config"), tostring(why))
    assert.equal("it should be '[datastore] folder/disk.vmdk'", why.hint)
    return why.message
  end

  it(
    "is a datastore, a folder and a file",
    function()
      assert.same({
        datastore = "ds-1",
        path = "web/web.vmdk",
        text = "[ds-1] web/web.vmdk",
        on_host = "/vmfs/volumes/ds-1/web/web.vmdk",
      }, vmdk.parse "[ds-1] web/web.vmdk")
    end
  )

  it("may hold blanks, brackets behind the datastore, and quotes", function()
    assert.equal("/vmfs/volumes/my ds/My VM/My VM.vmdk", vmdk.parse("[my ds] My VM/My VM.vmdk").on_host)
    assert.equal("a [b] c/d'e.vmdk", vmdk.parse("[ds] a [b] c/d'e.vmdk").path)
  end)

  it("may be of any depth from one", function()
    assert.equal("a/b/c/d.vmdk", vmdk.parse("[ds] a/b/c/d.vmdk").path)
    assert.matches("a folder and a file", refused "[ds] web.vmdk")
  end)

  it(
    "has its repeated slashes made one",
    function() assert.equal("[ds] web/web.vmdk", vmdk.parse("[ds] web//web.vmdk").text) end
  )

  it("is refused without brackets, blank, datastore, folder or file", function()
    assert.matches("it is empty", refused "")
    assert.matches("is missing", refused "ds web/web.vmdk")
    assert.matches("is missing", refused "[ds web/web.vmdk")
    assert.matches("is missing", refused "[ds]web/web.vmdk")
    assert.matches("is missing", refused "[ds]")
    assert.matches("datastore's name", refused "[] web/web.vmdk")
    assert.matches("a folder and a file", refused "[ds] ")
    assert.matches("a folder and a file", refused "[ds] /web.vmdk")
    assert.matches("a folder and a file", refused "[ds] web/")
    assert.matches("%.vmdk", refused "[ds] web/web.vmx")
  end)

  it("does not climb out of its datastore", function()
    assert.matches("'%.%.' is no folder", refused "[ds] ../other/web.vmdk")
    assert.matches("'%.%.' is no folder", refused "[ds] web/../../x/web.vmdk")
    assert.matches("'%.' is no folder", refused "[ds] ./web.vmdk")
    assert.matches("datastore's name", refused "[..] tmp/web.vmdk")
    assert.matches("datastore's name", refused "[.] tmp/web.vmdk")
    assert.matches("datastore's name", refused "[a/b] web/web.vmdk")
    assert.equal("web/..web.vmdk", vmdk.parse("[ds] web/..web.vmdk").path)
  end)

  it("holds no control characters, and the message shows none", function()
    local message <const> = refused "[ds] web/we\27b.vmdk"
    assert.matches("control characters", message)
    assert.not_matches("%c", message)
  end)

  it(
    "is repeated in the message as it was given",
    function() assert.matches([["[ds] web.vmdk"]], refused "[ds] web.vmdk", 1, true) end
  )
end)
