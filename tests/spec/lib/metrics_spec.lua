local metrics <const> = require "lib.metrics"

describe("metrics", function()
  local function job(changes)
    local made <const> = {
      request = { claim_uid = "u-1", method = "vib" },
      vendor = "ontap",
      version = "1.2.3",
      facts = {},
      percent = 0,
      effects = 0,
      ledger = { promises = {} },
      started_s = 0,
    }
    for name, value in pairs(changes or {}) do
      made[name] = value
    end
    return made
  end

  -- The lines of one metric, without upstream's prefix.
  local function lines(of, name, outcome)
    local found <const> = {}
    for line in metrics.text(metrics.of(of, outcome)):gmatch "[^\n]+" do
      line = line:gsub("^vsphere_xcopy_volume_populator_", "")
      if line:find("^" .. name .. "[{ ]") then found[#found + 1] = line end
    end
    return table.concat(found, "\n")
  end

  local function ended(ok) return { ok = ok, seconds = 61.25, left = 0, code = ok and 0 or 1 } end

  it("are written once a name, with labels in order and escaped", function()
    local function gauge(labels, value)
      return { name = "x", kind = "gauge", help = "An x.", labels = labels, value = value }
    end
    assert.equal(
      '# HELP x An x.\n# TYPE x gauge\nx{a="1",b="q\\"\\\\\\n"} 1\nx 2.500\n',
      metrics.text { gauge({ b = 'q"\\\n', a = "1" }, 1), gauge({}, 2.5) }
    )
  end)

  it("are plain numbers, however large", function()
    local bytes <const> = { disk = { capacity_bytes = 1 << 46 } }
    assert.matches(
      'type="provisioned"} 70368744177664$',
      lines(job { facts = bytes }, "source_disk_bytes", ended(true))
    )
    assert.matches("} 61.250$", lines(job(), "copy_duration_seconds", ended(true)))
    local long <const> = { ok = true, seconds = 1e9, left = 0, code = 0 }
    assert.matches("} 1000000000$", lines(job(), "copy_duration_seconds", long))
  end)

  it("have the uid of the claim before its type, which forklift's pattern wants", function()
    local facts <const> = { disk = { capacity_bytes = 2, allocated_bytes = 1 }, protocol = "fc" }
    assert.equal(
      'source_disk_bytes{clone_method="vib",owner_uid="u-1",storage_protocol="fc",storage_vendor="ontap",type="datastore_allocated"} 1\n'
        .. 'source_disk_bytes{clone_method="vib",owner_uid="u-1",storage_protocol="fc",storage_vendor="ontap",type="provisioned"} 2',
      lines(job { facts = facts }, "source_disk_bytes", ended(true))
    )
  end)

  it("know three states of the offload: unknown is neither", function()
    assert.equal("", lines(job(), "xcopy_used"))
    assert.equal('lunalift_offload{offloaded="unknown"} 1', lines(job(), "lunalift_offload"))
    assert.matches("} 0$", lines(job { latest = { offloaded = false } }, "xcopy_used"))
    assert.matches("} 1$", lines(job { latest = { offloaded = true } }, "xcopy_used"))
    assert.matches("} 0$", lines(job { latest = { offloaded = true }, facts = { offloaded = false } }, "xcopy_used"))
  end)

  it("take the claim's own uid when none was given, and say what is not known", function()
    local anonymous <const> = job { request = { method = "vib" }, facts = { volume = { claim = { uid = "u-2" } } } }
    assert.equal('progress{owner_uid="u-2"} 0', lines(anonymous, "progress"))
    assert.equal(
      'copy_duration_seconds{clone_method="vib",owner_uid="u-2",result="failure",storage_protocol="n/a",'
        .. 'storage_vendor="ontap",xcopy_used="0"} 61.250',
      lines(anonymous, "copy_duration_seconds", ended(false))
    )
    local bare <const> = { array = { vendor = "NetApp", product = "ONTAP", model = "" } }
    assert.equal(
      'storage_array_info{storage_array_model="n/a",storage_array_product="ONTAP",storage_array_vendor="NetApp",'
        .. 'storage_array_version="n/a",storage_vendor="ontap"} 1',
      lines(job { facts = bare }, "storage_array_info")
    )
  end)

  it("end at 100 when all is well, and where they stood when it is not", function()
    assert.matches("} 100$", lines(job { percent = 40 }, "progress", ended(true)))
    assert.matches("} 40$", lines(job { percent = 40 }, "progress", ended(false)))
    assert.equal("", lines(job { facts = { disk = { capacity_bytes = 1 } } }, "source_disk_bytes", ended(false)))
  end)

  it("tell the wrapper's version for the VIB alone", function()
    assert.equal(
      'vib_version{owner_uid="u-1",version="1.0.0"} 1',
      lines(job { facts = { wrapper = "1.0.0" } }, "vib_version")
    )
    assert.equal("", lines(job { facts = { wrapper = "1.0.0", method = "rdm" } }, "vib_version"))
  end)
end)
