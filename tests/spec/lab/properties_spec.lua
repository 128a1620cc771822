local properties <const> = require "lab.properties"
local vim <const> = require "lab.vim"
local world <const> = require "lab.world"

local function tree()
  local made <const> = world.new()
  local root <const> = made:folder("group-d1", nil, "Datacenters", {})
  made.root = root
  local inner <const> = made:folder("group-d2", root, "Werke / Süd", {})
  local datacenter <const> = made:entity("Datacenter", "datacenter-3", inner, "DC", {})
  local hosts <const> = made:folder("group-h4", datacenter, "host", {})
  local vms <const> = made:folder("group-v4", datacenter, "vm", {})
  datacenter.props.hostFolder, datacenter.props.vmFolder = world.ref_of(hosts), world.ref_of(vms)
  made:entity("HostSystem", "host-21", hosts, "esx", {
    runtime = vim.object("HostRuntimeInfo", { { "connectionState", "connected" } }),
    config = vim.object("HostConfigInfo", {
      {
        "storageDevice",
        vim.object("HostStorageDeviceInfo", {
          { "hostBusAdapter", function() return vim.array("HostHostBusAdapter", {}) end },
        }),
      },
    }),
    datastore = vim.refs {},
  })
  made:entity("VirtualMachine", "vm-57", vms, "web", {
    runtime = vim.object("VirtualMachineRuntimeInfo", { { "host", vim.ref("HostSystem", "host-21") } }),
    config = vim.object("VirtualMachineConfigInfo", {
      {
        "hardware",
        vim.object("VirtualHardware", {
          {
            "device",
            vim.array("VirtualDevice", {
              vim.derived("VirtualDisk", { { "key", 2000 }, { "capacityInKB", vim.long(64) } }),
            }),
          },
        }),
      },
    }),
  })
  return made
end

local function spec_of(prop_set, obj, select, more)
  local spec <const> = {
    propSet = prop_set,
    objectSet = { { obj = obj, skip = more and more.skip, selectSet = select or {} } },
    reportMissingObjectsInResults = more and more.report,
  }
  return { spec }
end

local function wanted(type, paths) return { type = type, pathSet = paths } end

local function step(type, path, again, name)
  return { _type = "TraversalSpec", name = name, type = type, path = path, selectSet = again or {} }
end

local function names(found)
  local list <const> = {}
  for i, content in ipairs(found) do
    list[i] = vim.field(content, "obj").id
  end
  return list
end

local function told(content)
  local list <const> = {}
  for _, property in ipairs(vim.field(content, "propSet").items) do
    list[#list + 1] = vim.field(property, "name")
  end
  return list
end

local VM <const> = { type = "VirtualMachine", id = "vm-57" }
local HOST <const> = { type = "HostSystem", id = "host-21" }

describe("the property collector", function()
  it("matches objects by base type and leaves unset properties out", function()
    local found <const> =
      properties.collect(tree(), spec_of({ wanted("ManagedEntity", { "name", "overallStatus" }) }, VM))
    assert.same({ "vm-57" }, names(found))
    assert.same({ "name" }, told(found[1]))
  end)

  it("walks from a host up to the root through a traversal that names itself", function()
    local up <const> = step("ManagedEntity", "parent", { { _type = "SelectionSpec", name = "up" } }, "up")
    local found <const> = properties.collect(tree(), spec_of({ wanted("ManagedEntity", { "name" }) }, HOST, { up }))
    assert.same({ "host-21", "group-h4", "datacenter-3", "group-d2", "group-d1" }, names(found))
  end)

  it("leaves out a skipped start, and tells each object once", function()
    local select <const> = { step("VirtualMachine", "runtime.host"), step("VirtualMachine", "runtime.host") }
    local found <const> =
      properties.collect(tree(), spec_of({ wanted("HostSystem", { "name" }) }, VM, select, { skip = true }))
    assert.same({ "host-21" }, names(found))
  end)

  it("reads nested paths, and array items by key", function()
    local made <const> = tree()
    local vm <const>, host <const> = made:find(VM), made:find(HOST)
    assert.equal("HostHostBusAdapter", properties.value(host, "config.storageDevice.hostBusAdapter").type)
    assert.equal("64", properties.value(vm, "config.hardware.device[2000].capacityInKB").text)
    assert.is_nil(properties.value(vm, "config.hardware.device[2001].capacityInKB"))
    assert.is_nil(properties.value(host, "config.storageDevice.scsiTopology"))
  end)

  it("faults with InvalidProperty for a name that the class does not have, at any depth", function()
    for _, path in ipairs { "nonsense", "config.nonsense", "config.storageDevice.nonsense", "name.first" } do
      local spec <const> = spec_of({ wanted("HostSystem", { path }) }, HOST)
      local ok <const>, fault <const> = pcall(properties.collect, tree(), spec)
      assert.is_false(ok)
      assert.equal("InvalidProperty", fault.fault)
      assert.equal(path, fault.fields[1][2])
    end
  end)

  it("faults for a missing object unless the missing are to be reported", function()
    local gone <const> = { type = "VirtualMachine", id = "vm-1" }
    local ok <const>, fault <const> =
      pcall(properties.collect, tree(), spec_of({ wanted("VirtualMachine", { "name" }) }, gone))
    assert.is_false(ok)
    assert.equal("ManagedObjectNotFound", fault.fault)
    local found <const> =
      properties.collect(tree(), spec_of({ wanted("VirtualMachine", {}) }, gone, nil, { report = true }))
    assert.same({}, found)
  end)

  it("puts a denial in the place of every value", function()
    local denial <const> = vim.fault("NotAuthenticated", "no")
    local found <const> = properties.collect(tree(), spec_of({ wanted("VirtualMachine", { "name" }) }, VM), denial)
    assert.same({}, told(found[1]))
    assert.equal("name", vim.field(vim.field(found[1], "missingSet").items[1], "path"))
  end)
end)

describe("the inventory tree", function()
  it("finds by path, with the slash in a name escaped", function()
    local made <const> = tree()
    assert.equal("vm-57", made:by_path("/Werke %2f Süd/DC/vm/web").id)
    assert.is_nil(made:by_path "Werke / Süd/DC/vm/web")
    assert.equal("Werke %2f Süd/DC", made:path_of(made:datacenter_of(made:find(HOST))))
  end)

  it("lists all of a type below a folder", function()
    local made <const> = tree()
    assert.equal("vm-57", made:below(made.root, "VirtualMachine", true)[1].id)
    assert.same({}, made:below(made.root, "VirtualMachine", false))
  end)
end)
