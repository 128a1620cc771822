local fail <const> = require "lib.fail"
local fake_job <const> = require "spec.support.fake_job"
local stand_in <const> = require "spec.support.stand_in"

local function ref(type, id) return { type = type, id = id } end

describe("datastores", function()
  local restore, job, objects, calls, result, session

  before_each(function()
    objects, calls, result = {}, {}, nil
    restore = stand_in.install { ["lunalift.log"] = stand_in.log(), ["lunalift.timer"] = stand_in.clock().timer }
    job = fake_job.new()
    session = {
      call = function(_, method, self, args)
        calls[#calls + 1] = { method, self, args }
        return ref("Task", "task-1")
      end,
      get_file = function(_, file)
        calls[#calls + 1] = file
        if result then return result end
        return nil, fake_job.refusal "not_found"
      end,
    }
    local function add(type, id, name, parent, more)
      local props <const> = more or {}
      props.name, props.parent = name, parent and { type = "ManagedEntity", id = parent }
      objects[#objects + 1] = { ref = ref(type, id), props = props }
    end
    local function mount(id, url)
      return {
        browser = ref("HostDatastoreBrowser", "b"),
        host = { { key = ref("HostSystem", id) } },
        ["summary.url"] = url,
      }
    end
    add("Folder", "group-d1", "Datacenters")
    add("Folder", "group-1", "Works", "group-d1")
    for i, url in ipairs { "ds:///a/", "ds:///a/", "ds:///b/" } do
      add("Datacenter", "dc-" .. i, "DC" .. i, i == 1 and "group-1" or "group-d1")
      add("Folder", "group-s" .. i, "datastore", "dc-" .. i)
      add("Datastore", "ds-" .. i, "ds 1", "group-s" .. i, mount("host-" .. i, url))
    end
  end)

  after_each(function() restore() end)

  local function all()
    return require("lib.datastores").all {
      job = job,
      session = session,
      all = function() return objects end,
      ask = function(_, ...)
        calls[#calls + 1] = { ... }
        return ref("Task", "task-1")
      end,
      finish = function()
        if fail.is(result) then error(result) end
        return result
      end,
    }
  end

  it("are volumes, each once, with its hosts in whatever datacenter, and one datacenter's path", function()
    local found <const> = all()
    assert.equal(2, #found)
    local other <const>, shared <const> = found[1], found[2]
    assert.same(
      { { ["host-3"] = true }, "DC3", "dc-3" },
      { other.hosts, other.datacenter.path, other.datacenter.ref.id }
    )
    assert.same({ { ["host-1"] = true, ["host-2"] = true }, "Works/DC1" }, { shared.hosts, shared.datacenter.path })
  end)

  it("are searched in all folders, however the server writes their paths", function()
    result = {
      { folderPath = "[ds 1] ", file = { { path = "a" } } },
      { folderPath = "[ds 1] web & söhne/", file = { { path = "b" }, { path = "c" } } },
      { folderPath = "[ds 1] x/y", file = { path = "d" } },
      { folderPath = "[ds 1] empty" },
    }
    local paths <const> = {}
    for i, file in ipairs(all()[1]:search "*-rdmdisk-*") do
      paths[i] = file.folder .. file.name
    end
    assert.same({ "a", "web & söhne/b", "web & söhne/c", "x/y/d" }, paths)
    assert.same({ { "datastorePath", "[ds 1]" }, { "searchSpec", { { "matchPattern", "*-rdmdisk-*" } } } }, calls[1][3])
  end)

  it("hand over a file's text, or nil when it is not there", function()
    assert.is_nil(all()[2]:read "a/b")
    result = "text"
    assert.equal("text", all()[2]:read "a/b")
    assert.same({ dc = "Works/DC1", datastore = "ds 1", path = "a/b", max = 65536 }, calls[1])
  end)

  it("delete one file by a numbered effect; one that is gone is deleted, one that is locked is a failure", function()
    all()[2]:delete "a/b.vmdk"
    assert.same({
      "DeleteDatastoreFile_Task",
      "fileManager",
      { { "name", "[ds 1] a/b.vmdk" }, { "datacenter", ref("Datacenter", "dc-1") } },
    }, calls[1])
    assert.same({ "effect 1 vcenter.delete_file [ds 1] a/b.vmdk" }, job.trace)
    result = fail.new("failed", "no such file")
    result.fault = "FileNotFound"
    all()[2]:delete "a/b.vmdk"
    result.fault = "FileLocked"
    assert.is_false(pcall(function() all()[2]:delete "a/b.vmdk" end))
  end)
end)
