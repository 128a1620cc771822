local environment <const> = require "lab.environment"
local process <const> = require "lunalift.process"

describe("what a lab tells shells", function()
  it("quotes whatever a password may hold", function()
    for _, word in ipairs { "", "plain", "it's", [['"'"']], "a b\nc", "$HOME `id` \\ !" } do
      local said <const> = process.run { argv = { "sh", "-c", "printf %s " .. environment.quote(word) } }
      assert.equal(word, said.out)
    end
  end)
end)
