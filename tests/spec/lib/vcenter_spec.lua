local fail <const> = require "lib.fail"
local fake_host <const> = require "spec.support.fake_host"
local fake_job <const> = require "spec.support.fake_job"
local stand_in <const> = require "spec.support.stand_in"

local function ref(type, id) return { type = type, id = id } end

describe("a vCenter", function()
  local restore, session, objects, job

  -- A session that answers retrieve() from `objects`, and logs in at once.
  local function fake_session()
    return {
      calls = {},
      login = function()
        return { about = { name = "vCenter", version = "8.0.3" }, rootFolder = ref("Folder", "group-d1") }
      end,
      logout = function(self) self.calls[#self.calls + 1] = "logout" end,
      call = function(self, method)
        self.calls[#self.calls + 1] = method
        if method == "CreateContainerView" then return ref("ContainerView", "view-1") end
      end,
      retrieve = function(_, spec)
        local found <const> = {}
        local view <const> = spec.objects[1].type == "ContainerView"
        for _, object in ipairs(objects) do
          local asked <const> = view or object.ref.id == spec.objects[1].id or object.ref.type == "Datastore"
          if asked and spec.props[object.ref.type] then found[#found + 1] = object end
        end
        return found
      end,
    }
  end

  before_each(function()
    session, objects = fake_session(), {}
    restore = stand_in.install {
      ["lunalift.timer"] = stand_in.clock().timer,
      ["lunalift.log"] = stand_in.log(),
      ["lunalift.clone"] = {},
      ["lunalift.vsphere"] = {
        list = require("lunalift.vsphere").list,
        open = function() return session end,
      },
    }
    job = fake_job.new()
  end)

  after_each(function() restore() end)

  local function login() return require("lib.vcenter").login(job, { host = "vc.example" }) end
  local function open() return require("lib.vcenter").of(job, login()) end

  local function raised(fn, ...)
    local ok <const>, why <const> = pcall(fn, ...)
    assert.is_false(ok)
    assert.is_true(fail.is(why), tostring(why))
    return why
  end

  local function add_vm(id, name, devices, props)
    local all <const> =
      { name = name, ["runtime.host"] = ref("HostSystem", "host-1"), ["config.hardware.device"] = devices }
    for key, value in pairs(props or {}) do
      all[key] = value
    end
    objects[#objects + 1] = { ref = ref("VirtualMachine", id), props = all }
  end

  local function flat(file, parent)
    return {
      _type = "VirtualDiskFlatVer2BackingInfo",
      fileName = file,
      datastore = ref("Datastore", "datastore-1"),
      parent = parent,
    }
  end

  local function virtual_disk(key, backing, bytes)
    return { _type = "VirtualDisk", key = key, backing = backing, capacityInBytes = bytes, capacityInKB = "1024" }
  end

  it("logs in, and tells what it is", function()
    assert.equal("8.0.3", open().about.version)
    login():close()
    assert.same({ "logout" }, session.calls)
  end)

  describe("finds a virtual machine", function()
    it("by id, with its devices and datastores", function()
      add_vm("vm-1", "web", { virtual_disk(2000, flat "[ds] web/web.vmdk") })
      add_vm("vm-2", "other", {})
      objects[#objects + 1] = {
        ref = ref("Datastore", "datastore-1"),
        props = { name = "ds", ["summary.type"] = "VMFS", info = { vmfs = { extent = { diskName = "naa.1" } } } },
      }
      local vm <const> = open():vm "vm-1"
      assert.equal("web", vm.name)
      assert.equal("host-1", vm.host.id)
      assert.equal(1, #vm.devices)
      assert.same({ "naa.1" }, vm.datastores.ds.extents)
      assert.same({}, session.calls)
    end)

    it("by name, and lets the view go", function()
      add_vm("vm-1", "web", {})
      add_vm("vm-2", "web2", {})
      assert.equal("vm-1", open():vm("web").ref.id)
      assert.same({ "CreateContainerView", "DestroyView" }, session.calls)
    end)

    it("not where two bear the name: it asks for the id", function()
      add_vm("vm-1", "web", {})
      add_vm("vm-2", "web", {})
      local vcenter <const> = open()
      local why <const> = raised(vcenter.vm, vcenter, "web")
      assert.equal("config", why.kind)
      assert.equal("2 virtual machines are called 'web'", why.message)
      assert.equal("give the id, such as vm-1", why.hint)
    end)

    it("or says that there is none", function()
      local vcenter <const> = open()
      assert.equal("no virtual machine 'web' in vc.example", raised(vcenter.vm, vcenter, "web").message)
      assert.equal("no virtual machine vm-7 in vc.example", raised(vcenter.vm, vcenter, "vm-7").message)
    end)
  end)

  describe("finds the disk", function()
    local function disk(devices, text)
      local vcenter <const> = open()
      return vcenter:disk({ name = "web", devices = devices, datastores = {} }, require("lib.vmdk").parse(text))
    end

    it("of exactly that file", function()
      local found <const> = disk({
        virtual_disk(2000, flat "[ds] web/web.vmdk.vmdk"),
        virtual_disk(2001, flat "[ds] web/my-web.vmdk"),
        virtual_disk(2002, flat "[ds] web/web.vmdk", "1073741824"),
      }, "[ds] web/web.vmdk")
      assert.equal(2002, found.key)
      assert.equal(1 << 30, found.capacity_bytes)
      assert.equal("datastore-1", found.datastore.ref.id)
      assert.equal("vmdk", found.kind)
    end)

    it("and no file whose name is merely longer, or on another datastore", function()
      local devices <const> = {
        virtual_disk(2000, flat "[ds] web/web.vmdk.vmdk"),
        virtual_disk(2001, flat "[ds] web/web_1.vmdk"),
        virtual_disk(2002, flat "[ds2] web/web.vmdk"),
        { _type = "VirtualE1000", key = 4000 },
      }
      local why <const> = raised(disk, devices, "[ds] web/web.vmdk")
      assert.equal("virtual machine web has no disk [ds] web/web.vmdk", why.message)
      assert.equal("its disks are [ds] web/web.vmdk.vmdk, [ds] web/web_1.vmdk, [ds2] web/web.vmdk", why.hint)
      assert.equal("its disks are none", raised(disk, {}, "[ds] web/web.vmdk").hint)
    end)

    it("anywhere in the snapshot chain", function()
      local base <const> = flat "[ds] web/web.vmdk"
      local devices <const> =
        { virtual_disk(2000, flat("[ds] web/web-000002.vmdk", flat("[ds] web/web-000001.vmdk", base))) }
      for _, name in ipairs { "web", "web-000001", "web-000002" } do
        local found <const> = disk(devices, ("[ds] web/%s.vmdk"):format(name))
        assert.equal(("[ds] web/%s.vmdk"):format(name), found.path)
        assert.equal("[ds] web/web-000002.vmdk", found.top)
      end
      raised(disk, devices, "[ds] web/web-000003.vmdk")
    end)

    it(
      "whatever slashes it was written with",
      function() assert.equal(2000, disk({ virtual_disk(2000, flat "[ds] web//web.vmdk") }, "[ds] web/web.vmdk").key) end
    )

    describe("and what kind it is:", function()
      local RAW <const> = "VirtualDiskRawDiskMappingVer1BackingInfo"

      local function with(backing, fields)
        for key, value in pairs(fields) do
          backing[key] = value
        end
        return backing
      end

      local function found(backing, text, type)
        local vm <const> = { name = "web", devices = { virtual_disk(2000, backing) }, datastores = {} }
        vm.datastores.ds = { ref = ref("Datastore", "datastore-1"), name = "ds", type = type or "VMFS", extents = {} }
        return open():disk(vm, require("lib.vmdk").parse(text or "[ds] web/web.vmdk"))
      end

      it("a raw device, by the id that holds its NAA", function()
        local rdm <const> =
          { _type = RAW, fileName = "[ds] web/web.vmdk", lunUuid = "0200a1", deviceName = "vml.0200a1" }
        local raw <const> = found(rdm)
        assert.equal("rdm", raw.kind)
        assert.equal("vml.0200a1", raw.device)
        assert.is_true(raw.is_top)
        assert.is_false(raw.is_delta)
        rdm.lunUuid = nil
        assert.equal("vml.0200a1", found(rdm).device)
      end)

      it("a delta of a raw device, and the raw device below it", function()
        local base <const> = { fileName = "[ds] web/web.vmdk" }
        local top <const> = { _type = RAW, fileName = "[ds] web/web-000001.vmdk", lunUuid = "0200a1", parent = base }
        local below <const>, above <const> = found(top), found(top, "[ds] web/web-000001.vmdk")
        assert.same({ "rdm", false, false }, { below.kind, below.is_top, below.is_delta })
        assert.same({ "rdm", true, true }, { above.kind, above.is_top, above.is_delta })
      end)

      it("a vVol, each node of the chain its own", function()
        local base <const> = with(flat "[ds] web/web.vmdk", { backingObjectId = "rfc4122.1" })
        local top <const> = with(flat("[ds] web/web-000001.vmdk", base), { backingObjectId = "rfc4122.2" })
        assert.equal("rfc4122.1", found(top, nil, "VVOL").vvol)
        assert.equal("rfc4122.2", found(top, "[ds] web/web-000001.vmdk", "VVOL").vvol)
        assert.equal("vvol", found(top, nil, "VVOL").kind)
      end)

      it("no vVol on vSAN, whose objects have ids, too", function()
        local backing <const> = with(flat "[ds] web/web.vmdk", { backingObjectId = "a1b2" })
        assert.equal("vmdk", found(backing, nil, "vsan").kind)
      end)
    end)
  end)

  describe("finds the host", function()
    before_each(function()
      objects[#objects + 1] = fake_host.object "host-1"
      objects[#objects + 1] = fake_host.object "host-2"
    end)

    it("where the machine is, unless another is named by id or name", function()
      local vcenter <const> = open()
      local vm <const> = { name = "web", host = ref("HostSystem", "host-1") }
      assert.equal("host-1.example", vcenter:host(vm).name)
      assert.equal("host-1.example", vcenter:host(vm, "").name)
      assert.equal("host-2.example", vcenter:host(vm, "host-2").name)
      assert.equal("xcopy-hostsystem-host-2", vcenter:host(vm, "host-2.example").upstream_name)
      assert.equal("host-2.example", vcenter:host_again(ref("HostSystem", "host-2")).name)
    end)

    it("or says that the machine is on none", function()
      local vcenter <const> = open()
      assert.equal("unsupported", raised(vcenter.host, vcenter, { name = "web" }).kind)
    end)
  end)

  describe("waits for a task of its own", function()
    local states

    local function add_task(...)
      states = { ... }
      local props <const> = setmetatable({}, {
        __index = function(_, path)
          if path == "info.state" then return #states > 1 and table.remove(states, 1) or states[1] end
          if path == "info.result" then return "made" end
          return { localizedMessage = "The disk is locked.", fault = { _type = "FileLocked" } }
        end,
      })
      objects = { { ref = ref("Task", "task-1"), props = props } }
    end

    it("until it has ended, and hands over what it made", function()
      add_task("queued", "running", "success")
      assert.equal("made", open():finish("make it", ref("Task", "task-1"), 60))
      assert.same({ "success" }, states)
    end)

    it("and raises its error", function()
      add_task("running", "error")
      local why <const> = raised(function() open():finish("make it", ref("Task", "task-1"), 60) end)
      assert.equal("failed", why.kind)
      assert.matches("make it: The disk is locked", why.message)
      assert.equal("FileLocked", why.fault)
    end)

    it("and says that the outcome is unknown when the server has forgotten it, or time is up", function()
      objects = {}
      assert.is_true(raised(function() open():finish("make it", ref("Task", "task-1"), 60) end).unanswered)
      add_task "running"
      local why <const> = raised(function() open():finish("make it", ref("Task", "task-1"), 60) end)
      assert.equal("timeout", why.kind)
      assert.is_true(why.unanswered)
    end)
  end)
end)
