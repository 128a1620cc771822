--- A session with each kind of array, written down once and held again without it: ONTAP has a login with every request, PowerFlex a token.
local codec <const> = require "lunalift.codec"
local fs <const> = require "lunalift.fs"
local json <const> = require "lunalift.json"
local labs <const> = require "support.lab"
local process <const> = require "lunalift.process"

local GUID <const> = "9E56672F-2F4B-4A42-BFF4-88B6846FBFDA"
local IQN <const> = "iqn.1998-01.com.vmware:esx-01.lab.example:1234:64"

-- What a change to the script makes of the session: text in it, what it becomes, and what is said.
local ARRAYS <const> = {
  {
    product = "ontap",
    hbas = {},
    port = { kind = "iscsi", id = IQN, adapter = "vmhba64" },
    has_create_host = true,
    changes = {
      { 'OS_TYPE <const> = "vmware"', 'OS_TYPE <const> = "linux"', "call %d+, create_host, request 1, body.os_type\n" },
      { '"naa." .. OUI', '"eui." .. OUI', "call 2, lun_of, returned%[1%].naa\n  recorded  naa" },
    },
  },
  {
    product = "powerflex",
    hbas = { { device = "vmhba67", kind = "sdc", driver = "scini", model = "scini", guid = GUID } },
    port = { kind = "sdc", id = GUID, adapter = "vmhba67" },
    changes = {
      { "sizeInKb * 1024", "sizeInKb * 1000", "call 2, lun_of, returned%[1%].size_bytes\n" },
      { "removeMappedSdc", "unmapSdc", "call %d+, unmap, request 1, ask\n  recorded  POST /api/instances/Volume" },
    },
  },
}

for _, array in ipairs(ARRAYS) do
  describe("a session with " .. array.product, function()
    local lab, pv, file

    local function vendor(...) return lab:populate { argv = { "vendor", ... } } end

    setup(function()
      local scenario <const> = labs.small()
      local hbas <const> = scenario.datacenters[1].hosts[1].hbas
      table.move(array.hbas, 1, #array.hbas, #hbas + 1, hbas)
      scenario.array = array.product
      lab = labs.start(scenario, labs.QUICK_BIN)
      local object <const> = assert(lab.kube:get("/api/v1/persistentvolumes/" .. lab:claim("vm-57-disk-1").pv))
      local csi <const> = object.spec.csi
      local attributes <const> = csi.volumeAttributes
      pv = { name = object.metadata.name, handle = csi.volumeHandle, driver = csi.driver, attributes = attributes }
      file = lab.dir .. "/session.json"
    end)

    teardown(function() lab:stop() end)

    it("is written down, one call after the other", function()
      local ports <const> = json.encode { array.port }
      local words <const> = { "record", array.product, "--output", file, "--yes", "--", "lun_of", json.encode(pv) }
      local function add(...) table.move({ "--", ... }, 1, 1 + select("#", ...), #words + 1, words) end
      local host = "@2.1"
      add("hosts_of", ports, '"xcopy-1"')
      if array.has_create_host then
        add("create_host", '"xcopy-1"', ports)
        host = "@3"
      end
      add("map", "@1", host)
      add("maps_of", "@1")
      add("unmap", "@1", host)
      if array.has_create_host then add("remove_host", host) end
      add(
        "lun_of",
        json.encode {
          name = "gone",
          handle = "gone",
          driver = pv.driver,
          attributes = { Name = "gone", internalName = "gone" },
        }
      )
      local ended <const> = vendor(table.unpack(words))
      assert.equal(0, ended.code, ended.err)
      assert.matches('map +%["made",', ended.out)
      assert.matches('lun_of       ".*gone', ended.out)
      assert.matches("session.json: %d+ calls, %d+ requests\n$", ended.out)
    end)

    it("has no secret, and is for its user alone", function()
      local text <const> = assert(fs.read(file))
      local account <const> = lab.site.arrays[1]
      lab:assert_no_secret(text)
      assert.is_nil(text:find(codec.base64(account.username .. ":" .. account.password), 1, true))
      assert.equal(6 << 6, fs.stat(file).mode & 511)
    end)

    it("is held again without the array", function()
      local ended <const> = vendor("replay", file)
      assert.equal(0, ended.code, ended.err .. ended.out)
      assert.matches("requests, all as recorded\n$", ended.out)
    end)

    it("is not written over", function()
      local ended <const> = vendor("record", array.product, "--output", file, "--", "info")
      assert.equal(2, ended.code)
      assert.matches("session.json is there already", ended.err, 1, true)
    end)

    for i, change in ipairs(array.changes) do
      it("shows what changed in the script: " .. change[1], function()
        local folder <const> = ("%s/changed-%d"):format(lab.dir, i)
        process.run { argv = { "mkdir", "-p", folder .. "/vendors" } }
        local path <const> = ("/vendors/%s.lua"):format(array.product)
        local text <const> = assert(fs.read(fs.cwd() .. "/scripts" .. path))
        local first <const>, last <const> = text:find(change[1], 1, true)
        assert(fs.write(folder .. path, text:sub(1, first - 1) .. change[2] .. text:sub(last + 1)))
        local ended <const> = vendor("replay", file, "--scripts", folder)
        assert.equal(1, ended.code, ended.err)
        assert.matches(change[3], ended.out)
        assert.is_truthy(
          ended.out:find("script    " .. folder .. path .. ", which has changed since\n", 1, true),
          ended.out
        )
      end)
    end
  end)
end
