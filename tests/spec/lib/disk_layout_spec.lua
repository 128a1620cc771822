local disk_layout <const> = require "lib.disk_layout"

describe("the layout of a disk", function()
  local PROPS <const> = {
    ["layoutEx.file"] = {
      { key = 0, type = "diskDescriptor", size = "500" },
      { key = 1, type = "diskExtent", size = "1000" },
      { key = 2, type = "diskExtent", size = "30" },
      { key = 3, type = "diskExtent", size = "7" },
    },
    ["layoutEx.disk"] = {
      { key = 2000, chain = { { fileKey = { 0, 1 } }, { fileKey = { 2 } } } },
      { key = 2001, chain = { { fileKey = { 3 } } } },
    },
  }

  it("sums the extents of its whole chain, and of no other disk", function()
    assert.equal(1030, disk_layout.allocated(PROPS, 2000, 4096))
    assert.equal(7, disk_layout.allocated(PROPS, 2001, 4096))
  end)

  it(
    "holds no more than the disk is large",
    function() assert.equal(1024, disk_layout.allocated(PROPS, 2000, 1024)) end
  )

  it("is nothing where vCenter tells nothing", function()
    assert.is_nil(disk_layout.allocated(PROPS, 2002, 4096))
    assert.is_nil(disk_layout.allocated({}, 2000, 4096))
  end)
end)
