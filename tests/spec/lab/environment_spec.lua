local environment <const> = require "lab.environment"
local process <const> = require "lunalift.process"

describe("what a lab tells shells", function()
  it("quotes whatever a password may hold", function()
    for _, word in ipairs { "", "plain", "it's", [['"'"']], "a b\nc", "$HOME `id` \\ !" } do
      local said <const> = process.run { argv = { "sh", "-c", "printf %s " .. environment.quote(word) } }
      assert.equal(word, said.out)
    end
  end)

  it("has the key where the hosts take SSH, and receipts in the lab's folder", function()
    local text <const> = environment.text {
      dir = "/lab",
      vcenter = { host = "v", username = "u", password = "p" },
      arrays = { { product = "ontap", host = "a", username = "u", password = "p", env = { ONTAP_SVM = "svm0" } } },
      kube = { kubeconfig = "k" },
      ca_file = "c",
      control = { url = "http://l" },
      pvcs = {},
      ssh = { SSH_PRIVATE_KEY = "a2V5" },
    }
    assert.matches("export SSH_PRIVATE_KEY='a2V5'\n", text, 1, true)
    assert.matches("export XDG_STATE_HOME='/lab/state'\n", text, 1, true)
    assert.matches("export ONTAP_SVM='svm0'\n", text, 1, true)
  end)
end)
