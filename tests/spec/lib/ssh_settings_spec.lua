local fs <const> = require "lunalift.fs"
local secret <const> = require "lunalift.secret"
local ssh_settings <const> = require "lib.ssh_settings"
local sshds <const> = require "lab.sshd"

describe("settings for SSH", function()
  it("wait for a log-in no longer than there is patience, and never less than a second", function()
    local path <const> = os.tmpname()
    fs.remove(path)
    sshds.make_key(path)
    local key <const> = secret.new(fs.read(path))
    fs.remove(path)
    fs.remove(path .. ".pub")
    for patience_s, expected_s in pairs { [0] = 1, [5] = 5, [600] = 30 } do
      local conf <const> = ssh_settings.conf({ ["ssh-port"] = 22, patience = patience_s }, key, "KEY")
      assert.equal(expected_s, conf.connect_timeout_s)
    end
  end)
end)
