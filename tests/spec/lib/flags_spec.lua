local fail <const> = require "lib.fail"
local secret <const> = require "lunalift.secret"
local stand_in <const> = require "spec.support.stand_in"

describe("flags", function()
  local restore, flags, variables

  local FLAGS <const> = {
    { name = "source-vm-id", help = "the machine" },
    { name = "storage-vendor-product", env = "STORAGE_VENDOR", help = "the array" },
    { name = "storage-password", env = "STORAGE_PASSWORD", type = "secret", help = "better in the environment" },
    { name = "dry-run", type = "bool", default = false, help = "change nothing" },
    { name = "timeout", type = "integer", default = 30, help = "seconds" },
    { name = "patience", type = "seconds", default = 60, help = "seconds" },
    { name = "v", type = "level", help = "log more" },
    { name = "host", type = "list", env = "ESXI_HOSTS", help = "hosts" },
    { name = "output", default = "text", choices = { "text", "json" }, help = "text or json" },
  }

  before_each(function()
    variables = {}
    restore = stand_in.install { ["lunalift.env"] = stand_in.env(variables) }
    flags = require "lib.flags"
  end)

  after_each(function() restore() end)

  local function refused(args)
    local ok <const>, why <const> = pcall(flags.parse, args, FLAGS)
    assert.is_false(ok)
    assert.is_true(fail.is(why, "config"), tostring(why))
    return why
  end

  it("takes one dash or two, and the value after = or as the next word", function()
    for _, args in ipairs {
      { "-source-vm-id", "vm-1" },
      { "--source-vm-id", "vm-1" },
      { "-source-vm-id=vm-1" },
      { "--source-vm-id=vm-1" },
    } do
      assert.equal("vm-1", flags.parse(args, FLAGS)["source-vm-id"])
    end
  end)

  it("keeps what follows the first =, and values that look like flags", function()
    assert.equal("a=b=c", flags.parse({ "--source-vm-id=a=b=c" }, FLAGS)["source-vm-id"])
    assert.equal("--dry-run", flags.parse({ "--source-vm-id", "--dry-run" }, FLAGS)["source-vm-id"])
    assert.equal("", flags.parse({ "--source-vm-id=" }, FLAGS)["source-vm-id"])
    assert.equal("a=b", flags.parse({ "--source-vm-id", "a=b" }, FLAGS)["source-vm-id"])
  end)

  it("reads bools as Go does, and takes no next word for them", function()
    local values <const>, rest <const> = flags.parse({ "-dry-run", "false" }, FLAGS)
    assert.is_true(values["dry-run"])
    assert.same({ "false" }, rest)
    for _, text in ipairs { "1", "t", "T", "true", "TRUE", "True" } do
      assert.is_true(flags.parse({ "--dry-run=" .. text }, FLAGS)["dry-run"])
    end
    for _, text in ipairs { "0", "f", "F", "false", "FALSE", "False" } do
      assert.is_false(flags.parse({ "--dry-run=" .. text }, FLAGS)["dry-run"])
    end
    assert.equal("--dry-run: 'yes' is neither true nor false", refused({ "--dry-run=yes" }).message)
  end)

  it("splits lists at commas, and goes on where the flag is given again", function()
    assert.same({ "a", "b c", "d" }, flags.parse({ "--host", "a, b c", "--host=d," }, FLAGS).host)
    assert.is_nil(flags.parse({}, FLAGS).host)
    variables.ESXI_HOSTS = "a,b"
    assert.same({ "a", "b" }, flags.parse({}, FLAGS).host)
    assert.same({ "c" }, flags.parse({ "--host", "c" }, FLAGS).host)
  end)

  it("reads whole numbers and nothing else", function()
    assert.equal(5, flags.parse({ "--timeout", "5" }, FLAGS).timeout)
    assert.equal("--timeout: '5s' is not a whole number", refused({ "--timeout=5s" }).message)
    assert.equal("--timeout: '1.5' is not a whole number", refused({ "--timeout=1.5" }).message)
  end)

  it("hands over the words that are no flags, and all behind --", function()
    local _, rest <const> = flags.parse({ "a", "--dry-run", "-", "--", "--source-vm-id", "b" }, FLAGS)
    assert.same({ "a", "-", "--source-vm-id", "b" }, rest)
  end)

  it(
    "names the flag that has no value",
    function() assert.equal("flag --source-vm-id needs a value", refused({ "--source-vm-id" }).message) end
  )

  it("offers the nearest name for an unknown flag", function()
    local why <const> = refused { "--source-vmid=vm-1" }
    assert.equal("unknown flag --source-vmid", why.message)
    assert.equal("did you mean --source-vm-id?", why.hint)
    assert.equal("see lunalift help", refused({ "--zzzzzzzzzzzz" }).hint)
  end)

  it("does not take the start of a longer name for a flag", function()
    assert.matches("unknown flag", refused({ "--timeout.seconds=5" }).message)
    assert.matches("unknown flag", refused({ "--timeout:5" }).message)
  end)

  it("takes a level alone, with =N, or with a number behind it", function()
    for _, case in ipairs { { "-v" }, { "--v=1" }, { "-v", "1" }, { "-v", "--dry-run" } } do
      local values <const>, rest <const> = flags.parse(case, FLAGS)
      assert.equal(1, values.v)
      assert.same({}, rest)
    end
    assert.same({ "word" }, (select(2, flags.parse({ "-v", "word" }, FLAGS))))
    assert.equal("--v: 'x' is not a whole number", refused({ "-v=x" }).message)
  end)

  it("takes seconds, and fractions of them", function()
    assert.equal(0.5, flags.parse({ "--patience=0.5" }, FLAGS).patience)
    for _, text in ipairs { "-1", "1m", "inf", "nan", "" } do
      assert.equal(
        ("--patience: '%s' is no number of seconds"):format(text),
        refused({ "--patience=" .. text }).message
      )
    end
  end)

  it("checks choices, wherever the value comes from", function()
    assert.equal("json", flags.parse({ "--output", "json" }, FLAGS).output)
    local why <const> = refused { "--output=jsn" }
    assert.equal("--output: 'jsn' is not one of text, json", why.message)
    assert.equal("did you mean json?", why.hint)
    assert.equal("--output: '' is not one of text, json", refused({ "--output=" }).message)
    variables.LUNALIFT_OUTPUT = "xml"
    assert.equal("LUNALIFT_OUTPUT: 'xml' is not one of text, json", refused({}).message)
  end)

  it("prefers the flag, then its own twin, then upstream's variable, then the default", function()
    local function vendor(args) return flags.parse(args, FLAGS)["storage-vendor-product"] end
    assert.is_nil(vendor {})
    variables.STORAGE_VENDOR = "vantara"
    assert.equal("vantara", vendor {})
    variables.LUNALIFT_STORAGE_VENDOR_PRODUCT = "ontap"
    assert.equal("ontap", vendor {})
    assert.equal("powermax", vendor { "--storage-vendor-product", "powermax" })
    assert.equal(30, flags.parse({}, FLAGS).timeout)
  end)

  it("takes an empty variable for none", function()
    variables.LUNALIFT_STORAGE_VENDOR_PRODUCT, variables.STORAGE_VENDOR = "", "ontap"
    variables.LUNALIFT_TIMEOUT, variables.STORAGE_PASSWORD = "", ""
    local values <const> = flags.parse({}, FLAGS)
    assert.equal("ontap", values["storage-vendor-product"])
    assert.equal(30, values.timeout)
    assert.is_nil(values["storage-password"])
  end)

  it("lets an explicit false beat the environment", function()
    variables.LUNALIFT_DRY_RUN = "true"
    assert.is_true(flags.parse({}, FLAGS)["dry-run"])
    assert.is_false(flags.parse({ "--dry-run=false" }, FLAGS)["dry-run"])
  end)

  it("makes secrets of secrets", function()
    for _, args in ipairs { { "--storage-password=hunter2" }, { "--storage-password", "hunter2" } } do
      local value <const> = flags.parse(args, FLAGS)["storage-password"]
      assert.is_true(secret.is(value))
      assert.equal("***", tostring(value))
    end
    variables.STORAGE_PASSWORD = "hunter2"
    assert.is_true(secret.is(flags.parse({}, FLAGS)["storage-password"]))
  end)

  it("never repeats a secret in a message", function()
    for _, arg in ipairs { "--storage-pasword=hunter2", "--storage-password:hunter2", "--storage-password.=hunter2" } do
      local why <const> = refused { arg }
      assert.not_matches("hunter2", why.message .. (why.hint or ""))
      assert.matches("storage%-pass?word", why.message)
    end
  end)

  it("writes a line of help for each flag", function()
    local text <const> = flags.help(FLAGS)
    assert.matches("%-%-storage%-vendor%-product +the array %(STORAGE_VENDOR%)", text)
    assert.matches("%-%-dry%-run +change nothing", text)
  end)
end)
