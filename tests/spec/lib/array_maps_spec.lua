local fail <const> = require "lib.fail"
local fake_job <const> = require "spec.support.fake_job"
local stand_in <const> = require "spec.support.stand_in"

local A <const>, B <const> = { kind = "iscsi", id = "iqn.a", adapter = "vmhba64" }, { kind = "fc", id = "fc.1:2" }
local LOST <const> = { nil, { kind = "timeout", message = "no answer", unanswered = true } }
local REFUSED <const> = fake_job.refusal

-- An array that keeps hosts and maps, and refuses or loses an answer when told to.
local function make_array(job)
  local array <const> =
    { job = job, where = "box.example", hosts = {}, maps = {}, asked = {}, lacks = {}, answers = {} }
  function array:offers(name) return not self.lacks[name] end
  function array:hosts_of()
    self.asked[#self.asked + 1] = "hosts_of"
    return table.move(self.hosts, 1, #self.hosts, 1, {})
  end
  function array:map_to(_, host) return self.maps[host.id] end
  function array:read(name) return "no " .. name end
  function array:create_host(name)
    self.hosts[1] = { id = "h-" .. #self.asked, name = name, ours = true, ports = { "IQN.A" } }
    return { id = self.hosts[1].id, name = name }
  end
  function array:map(lun, host)
    local outcome <const> = self.maps[host.id] and "existing" or "made"
    self.maps[host.id] = true
    return outcome, { id = lun.id, name = lun.name, naa = "naa.1", number = 7 }
  end
  function array:ask(name, ...)
    self.asked[#self.asked + 1] = name
    local answer <const> = table.remove(self.answers[name] or {}, 1)
    if answer then return answer(...) end
    return self[name](self, ...)
  end
  return array
end

describe("a LUN", function()
  local restore, job, array, lun

  before_each(function()
    restore = stand_in.install {
      ["lunalift.timer"] = stand_in.clock().timer,
      ["lunalift.log"] = stand_in.log(),
    }
    job = fake_job.new()
    array = make_array(job)
    lun = { id = "l-1", name = "lun0" }
  end)

  after_each(function() restore() end)

  local function show(initiators)
    return require("lib.array_maps").show(array, lun, {
      name = "xcopy-h",
      initiators = initiators or { A },
      ports = { A, B },
      before_map = function() job.trace[#job.trace + 1] = "before" end,
    })
  end

  local function raised()
    local ok <const>, why <const> = pcall(show)
    assert.is_false(ok)
    assert.is_true(fail.is(why), tostring(why))
    return why
  end

  local function lose(name)
    array.answers[name] = {
      function(...)
        array[name](array, ...)
        return LOST[1], LOST[2]
      end,
    }
  end

  local function promised()
    local names <const> = {}
    for i, promise in ipairs(job.ledger.promises) do
      names[i] = promise.undo .. (promise.args.host and " " .. promise.args.host.id or "")
    end
    return names
  end

  local function ours(id, ports) return { id = id, name = "xcopy-h", ours = true, ports = ports or { "iqn.a" } } end

  it("is shown to a host object that is made for it, each promised before it is done", function()
    local shown <const> = show()
    assert.same({ "naa.1", 7, true }, { shown.lun.naa, shown.lun.number, shown.made })
    assert.equal("xcopy-h (made), mapping made", shown.text)
    assert.same({
      "journal array.remove_host",
      "effect 1 array.create_host xcopy-h",
      "before",
      "journal array.remove_host array.unmap",
      "effect 2 array.map lun0 to xcopy-h",
    }, job.trace)
    assert.same({ name = "xcopy-h", initiators = { A } }, job.ledger.promises[1].args)
  end)

  it("is shown to one of our name that is there: to be removed by whoever is last", function()
    array.hosts = { ours "h-1" }
    local shown <const> = show()
    assert.equal("xcopy-h (found), mapping made", shown.text)
    assert.same({ "array.remove_host", "array.unmap h-1" }, promised())
  end)

  it("is shown to one that owns the initiators, which is never ours to remove, and said to be shared", function()
    array.hosts = { { id = "prod", name = "esx-prod", shared = true } }
    local shown <const> = show()
    assert.equal("esx-prod, which others use, too (found), mapping made", shown.text)
    assert.same({ "array.unmap prod" }, promised())
  end)

  it("is seen through those initiators alone that its host objects hold", function()
    array.hosts = { { id = "h-1", name = "xcopy-h", ours = true, ports = { "IQN.A" } } }
    assert.same({ A }, show({ A, B }).through)
    array.hosts = { { id = "h-1", name = "xcopy-h" } } -- one that tells none
    assert.same({ A, B }, show({ A, B }).through)
  end)

  it("is mapped to each of several, and what one saw before us stays", function()
    array.hosts =
      { { id = "CL1-A,1", name = "CL1-A,1" }, { id = "CL2-A,4", name = "CL2-A,4" }, { id = "CL3-A,1", name = "x" } }
    array.maps["CL2-A,4"] = true
    local shown <const> = show()
    assert.is_false(shown.made)
    assert.same({ "array.unmap CL1-A,1", "array.unmap CL3-A,1" }, promised())
    assert.matches("CL2-A,4 (found), mapping existing", shown.text, 1, true)
    assert.same({ "before" }, fake_job.only(job.trace, "before"))
  end)

  it("that was shown already is nobody's to take away, nor is its device to switch off", function()
    array.hosts, array.maps["h-1"] = { ours "h-1" }, true
    local shown <const> = show()
    assert.is_false(shown.made)
    assert.same({ "array.remove_host" }, promised())
    assert.same({}, fake_job.only(job.trace, "before"))
  end)

  it("keeps its promise when the answer to its mapping was lost, since what exists then may be ours", function()
    array.hosts = { ours "h-1" }
    lose "map"
    local shown <const> = show()
    assert.is_true(shown.made)
    assert.same({ "array.remove_host", "array.unmap h-1" }, promised())
  end)

  it("that another mapped at that moment is not ours to unmap", function()
    array.hosts = { ours "h-1" }
    array.answers.map = { function() return "existing", { id = "l-1", name = "lun0", naa = "naa.1" } end }
    assert.is_false(show().made)
    assert.same({ "array.remove_host" }, promised())
  end)

  it("is not gone on with when nobody knows its device; what was mapped stays promised", function()
    array.hosts = { ours "h-1" }
    array.answers.map = { function() return "made" end }
    assert.matches("does not tell which device LUN lun0 is", raised().message)
    assert.same({ "array.remove_host", "array.unmap h-1" }, promised())
  end)

  it("is shown in words only on a dry run", function()
    job = fake_job.new { dry_run = true }
    array.job = job
    assert.equal("(known once mapped)", show().lun.naa)
    assert.same({ "hosts_of" }, array.asked)
    assert.same({ "array.remove_host", "array.unmap new" }, promised())
  end)

  it("is shown on a dry run through what a new host object would hold: one fabric", function()
    job = fake_job.new { dry_run = true }
    array.job = job
    local fc <const> = { kind = "fc", id = "fc.20000025b5000001:20000025b5000002", adapter = "vmhba3" }
    assert.same({ fc }, show({ A, fc }).through)
    assert.same({ A }, show({ A }).through)
  end)

  describe("has a host object", function()
    it("that is found when the answer to its making was lost", function()
      lose "create_host"
      assert.equal("xcopy-h (found), mapping made", show().text)
      assert.same({ "hosts_of", "create_host", "hosts_of", "map" }, array.asked)
      assert.equal("array.remove_host", promised()[1])
    end)

    it("that another run made at the same moment", function()
      array.answers.create_host = {
        function()
          array.hosts = { ours "theirs" }
          return nil, REFUSED "conflict"
        end,
      }
      show()
      assert.same({ "array.remove_host", "array.unmap theirs" }, promised())
    end)

    it("that is refused for another reason, and then it is said", function()
      array.answers.create_host = { function() return nil, REFUSED "conflict" end }
      assert.equal("it said conflict", raised().message)
    end)

    local function vanish(lun_, host)
      assert(lun_ and host)
      array.hosts = {}
      return nil, REFUSED "not_found"
    end

    it("that is made anew when it was removed before the LUN was mapped, and again", function()
      array.hosts = { ours "h-1" }
      array.answers.map = { vanish, vanish }
      assert.is_true(show().made)
      assert.equal(1, #fake_job.only(promised(), "array.remove_host"))
      assert.equal("array.unmap " .. array.hosts[1].id, promised()[#job.ledger.promises])
    end)

    it("but not for ever, nor when something else is missing", function()
      array.answers.map = { vanish, vanish, vanish, vanish, vanish }
      assert.equal("not_found", raised().kind)
      assert.same({}, array.answers.map)
      array.hosts = { ours "h-1" }
      array.answers.map = { function() return nil, REFUSED "not_found" end }
      assert.equal("not_found", raised().kind)
      assert.same({}, array.answers.map)
    end)

    it("that is none of ours when another host's port is in it", function()
      array.hosts = { ours("h-1", { "iqn.a", "iqn.other", "00:00:00:00:00:00:00:09" }) }
      local why <const> = raised()
      assert.equal("conflict", why.kind)
      assert.matches(
        "xcopy-h on box.example bears our name and holds ports of another host: iqn.other and 00:",
        why.message,
        1,
        true
      )
      assert.matches("delete it", why.hint)
      assert.same({}, promised())
    end)

    it("that is of no use when none of the host's ports is in it", function()
      array.hosts = { ours("h-1", {}) }
      assert.matches("holds none of iqn.a", raised().message, 1, true)
    end)

    it("that is used as it is when it lacks a port: an older run's, or one whose path was down", function()
      local other <const> = { kind = A.kind, id = "iqn.c", adapter = "vmhba9" }
      array.hosts = { ours "h-1" }
      show { A, other }
      assert.same({ "warning xcopy-h lacks iqn.c: the copy uses the other paths" }, fake_job.only(job.trace, "warning"))
    end)

    it("that lacks nothing when the rest is of another fabric than it speaks", function()
      array.hosts = { ours "h-1" }
      show { A, B }
      assert.same({}, fake_job.only(job.trace, "warning"))
    end)

    it("or none, and the array says what it sees where it makes none itself", function()
      array.lacks.create_host = true
      local why <const> = raised()
      assert.equal("config", why.kind)
      assert.equal("box.example knows no host with iqn.a", why.message)
      assert.equal("no why_none", why.cause.message)
      assert.same({}, promised())
    end)
  end)
end)
