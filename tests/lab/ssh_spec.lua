--- Whole runs of populate that reach the host over SSH, on a site of their own.
local labs <const> = require "support.lab"

describe("populate over SSH", function()
  local lab, claim

  setup(function()
    lab = labs.start { esxi = { ssh = "lunalift", wrapper = "none", rescan_s = 0 } }
    claim = lab:claim "vm-57-disk-1"
  end)

  teardown(function() lab:stop() end)

  local function is_filled() return labs.sha256(claim.lun_path) == labs.sha256(lab:source_of(claim)) end

  it("puts the script on a datastore, and copies", function()
    local ended <const> = lab:populate()
    assert.equal(0, ended.code, ended.out .. ended.err)
    assert.is_true(is_filled())
  end)
end)
