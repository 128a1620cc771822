local vendor_doc <const> = require "lib.vendor_doc"

local VENDOR <const> = {
  name = "acme",
  drivers = { "csi.acme.example", "csi2.acme.example" },
  fabrics = { "iscsi", "fc" },
  options = {
    speed = { env = "ACME_SPEED", help = 'how "fast"', choices = { "slow", "fast" }, default = "slow" },
    box = { env = "ACME_BOX", help = "which|box", required = true },
    key = { type = "secret", env = "ACME_KEY", help = "its key" },
  },
}

describe("what a vendor's declared options say", function()
  it("is a table for its page: required ones first, each with its type, choices and default", function()
    assert.equal(
      [[
CSI drivers: `csi.acme.example`, `csi2.acme.example`. Fabrics: iscsi and fc. Status: not said.

| Setting of its own | Needed | Meaning |
|---|---|---|
| `ACME_BOX` | yes | which\|box |
| `ACME_KEY` | no | its key; secret |
| `ACME_SPEED` | no | how "fast"; one of slow, fast; default slow |
]],
      vendor_doc.markdown(VENDOR)
    )
    local plain <const> = { name = "plain", drivers = { "d" }, fabrics = { "fc" }, options = {} }
    assert.matches("no settings beside `STORAGE_…`", vendor_doc.markdown(plain), 1, true)
  end)

  it("is a line each for the help", function()
    local lines <const> = vendor_doc.help { VENDOR }
    assert.matches("^  ACME_BOX +acme: which|box; mandatory\n", lines)
    assert.equal(3, select(2, lines:gsub("\n", "")))
  end)

  it(
    "is a Secret to fill in, in which what is not needed is commented out",
    function()
      assert.equal(
        [[
apiVersion: v1
kind: Secret
metadata:
  name: storage-acme
type: Opaque
stringData:
  # where it is
  STORAGE_HOSTNAME: ""
  # which|box
  ACME_BOX: ""
  # its key; secret
  # ACME_KEY: ""
  # how "fast"; one of slow, fast; default slow
  # ACME_SPEED: "slow"
]],
        vendor_doc.secret(VENDOR, { { env = "STORAGE_HOSTNAME", help = "where it is", required = true } })
      )
    end
  )
end)
