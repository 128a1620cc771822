--- The VIB as programs read it that nobody here wrote.
local fs <const> = require "lunalift.fs"
local process <const> = require "lunalift.process"

local PROGRAM <const> = os.getenv "LUNALIFT_BIN" or "build-asan/lunalift"

describe("lunalift vib build", function()
  local folder

  setup(function() folder = assert(process.run { argv = { "mktemp", "-d" } }).out:match "%S+" end)
  teardown(function() process.run { argv = { "rm", "-rf", folder } } end)

  local function run(...) return assert(process.run { argv = { PROGRAM, "vib", ... } }) end

  local function shell(text)
    local ended <const> = assert(process.run { argv = { "sh", "-euc", text }, cwd = folder })
    assert.equal(0, ended.code, ended.err)
    return ended.out
  end

  local function build(name)
    local ended <const> = run("build", "--output", folder .. "/" .. name)
    assert.equal(0, ended.code, ended.err)
    return ended.out
  end

  it("writes the same bytes twice, and tells what they are", function()
    local said <const> = build "one.vib"
    build "two.vib"
    shell "cmp one.vib two.vib"
    local digest <const> = shell("sha256sum one.vib"):match "^%x+"
    local size <const> = fs.stat(folder .. "/one.vib").size
    assert.equal(
      ("%s/one.vib: vmkfstools-wrapper 1.0.0 of Lunalift, %d bytes, sha256 %s\n"):format(folder, size, digest),
      said
    )
  end)

  it("has the members in ESXi's order, all of root and of no time", function()
    build "x.vib"
    assert.equal("descriptor.xml\nsig.pkcs7\npayload1\n", shell "ar t x.vib")
    for line in shell("TZ=UTC ar tv x.vib"):gmatch "[^\n]+" do
      assert.matches("^rw%-r%-%-r%-%- 0/0 +%d+ Jan  1 00:00 1970 ", line)
    end
  end)

  it("packs the files as they are, with the folders before", function()
    build "x.vib"
    shell "rm -rf out && mkdir out && ar x x.vib && gzip -t <payload1 && tar -xzf payload1 -C out"
    local listed <const> = {}
    for mode, name in shell("tar --numeric-owner -tvzf payload1"):gmatch "(%S+) 0/0 +%d+ %S+ %S+ (%S+)\n" do
      listed[#listed + 1] = mode .. " " .. name
    end
    assert.same({
      "drwxr-xr-x opt/",
      "drwxr-xr-x opt/lunalift/",
      "drwxr-xr-x usr/",
      "drwxr-xr-x usr/lib/",
      "drwxr-xr-x usr/lib/vmware/",
      "drwxr-xr-x usr/lib/vmware/esxcli/",
      "drwxr-xr-x usr/lib/vmware/esxcli/ext/",
      "-rwxr-xr-x opt/lunalift/vmkfstools-wrapper",
      "-rw-r--r-- usr/lib/vmware/esxcli/ext/esxcli-vmkfstools.xml",
      "-rwxr-xr-x opt/lunalift/hostd-memory",
    }, listed)
    local sources <const> = fs.cwd() .. "/vmkfstools-wrapper/"
    shell(("cmp out/opt/lunalift/vmkfstools-wrapper '%svmkfstools-wrapper'"):format(sources))
    shell(("cmp out/opt/lunalift/hostd-memory '%shostd-memory'"):format(sources))
    shell(("cmp out/usr/lib/vmware/esxcli/ext/esxcli-vmkfstools.xml '%sesxcli-vmkfstools.xml'"):format(sources))
  end)

  it("describes the payload by digests that others compute, too", function()
    build "x.vib"
    shell "ar x x.vib && xmllint --noout descriptor.xml && [ ! -s sig.pkcs7 ]"
    local function xpath(path)
      return (shell(("xmllint --xpath 'string(%s)' descriptor.xml"):format(path)):gsub("\n$", ""))
    end
    local checksum <const> = "//payload/checksum[%d]"
    assert.equal(shell "stat -c %s payload1", xpath "//payload/@size" .. "\n")
    assert.equal(shell("sha256sum <payload1"):match "^%x+", xpath(checksum:format(1)))
    assert.equal(shell("zcat <payload1 | sha256sum"):match "^%x+", xpath(checksum:format(2)))
    assert.equal(shell("zcat <payload1 | sha1sum"):match "^%x+", xpath(checksum:format(3)))
    assert.equal("opt/lunalift/vmkfstools-wrapper", xpath "/vib/file-list/file[1]")
    assert.equal("usr/lib/vmware/esxcli/ext/esxcli-vmkfstools.xml", xpath "/vib/file-list/file[2]")
    assert.equal("opt/lunalift/hostd-memory", xpath "/vib/file-list/file[3]")
    assert.equal("community", xpath "/vib/acceptance-level")
  end)

  it("says what is missing, or cannot be written", function()
    local ended = run "build"
    assert.equal(2, ended.code)
    assert.matches("missing value for --output", ended.err, 1, true)
    ended = run("build", "--output", folder .. "/no/such/x.vib")
    assert.equal(2, ended.code)
    assert.matches("the VIB cannot be written", ended.err)
    assert.is_nil(ended.err:find("journal", 1, true), ended.err)
    shell "mkfifo pipe"
    ended = run("build", "--output", folder .. "/pipe")
    assert.equal(2, ended.code)
    assert.matches("is no plain file, and would be replaced", ended.err, 1, true)
    shell "[ -p pipe ]"
    ended = run("biuld", "--output", "x.vib")
    assert.equal(2, ended.code)
    assert.matches("did you mean build?", ended.err, 1, true)
    ended = run()
    assert.equal(2, ended.code)
    assert.matches("see lunalift help vib", ended.err, 1, true)
  end)

  it("tells how it is used", function()
    local ended <const> = run "--help"
    assert.equal(0, ended.code)
    assert.matches("lunalift vib build --output FILE", ended.out, 1, true)
  end)
end)
