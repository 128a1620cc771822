local fail = require "lib.fail"

local function raised(fn, ...)
  local done, why = pcall(fn, ...)
  assert.is_false(done)
  return why
end

describe("a failure", function()
  it("says its kind, and prints as its message", function()
    local why = fail.new("not_found", "no volume %s on %s", "v1", "svm0")
    assert.equal("not_found", why.kind)
    assert.equal("no volume v1 on svm0", tostring(why))
  end)

  it(
    "takes a message without arguments as it is",
    function() assert.equal("100 % full", tostring(fail.new("no_space", "100 % full"))) end
  )

  it("has one of the known kinds", function()
    assert.matches("no such kind of failure: oops", raised(fail.new, "oops", "x"))
    assert.matches("no such kind of failure: nil", raised(fail.new, nil, "x"))
  end)

  it("is raised as the table that it is", function()
    local why = raised(fail.raise, "busy", "%d running", 2)
    assert.equal("busy", why.kind)
    assert.equal("2 running", why.message)
  end)

  it("carries a hint, and the hint call returns the same table", function()
    local why = fail.new("config", "no SVM")
    assert.equal(why, fail.hint(why, "set %s", "ONTAP_SVM"))
    assert.equal("set ONTAP_SVM", why.hint)
  end)

  it("is raised with its advice, which is no format", function()
    local why = raised(fail.advise, "no_space", "free 10 %", "%s is full", "pool 1")
    assert.same({ "no_space", "pool 1 is full", "free 10 %" }, { why.kind, why.message, why.hint })
  end)
end)

describe("a wrapped failure", function()
  local cause =
    { kind = "busy", message = "503 from svm0", hint = "wait", refused = true, status = 503, retry_after_s = 2 }

  it("says what was being done, then why", function()
    local why = fail.wrap(cause, "map %s", "lun0")
    assert.equal("map lun0", why.message)
    assert.equal("map lun0: 503 from svm0", tostring(why))
    assert.equal("copy: map lun0: 503 from svm0", tostring(fail.wrap(why, "copy")))
    assert.equal(cause, why.cause)
  end)

  it("keeps what decides about a retry, and the hint", function()
    local why = fail.wrap(cause, "map lun0")
    assert.equal("busy", why.kind)
    assert.equal("wait", why.hint)
    assert.is_true(why.refused)
    assert.is_nil(why.unanswered)
    assert.equal(503, why.status)
    assert.equal(2, why.retry_after_s)
    assert.is_true(fail.wrap({ kind = "timeout", message = "late", unanswered = true }, "x").unanswered)
  end)

  it("is raised for a value that is not there", function()
    assert.equal(7, fail.assert(7, nil, "map %s", "lun0"))
    local why = raised(fail.assert, nil, cause, "map %s", "lun0")
    assert.equal("map lun0: 503 from svm0", tostring(why))
    assert.is_true(why.refused)
  end)

  it("makes a bug of a wrapped string", function() assert.equal("bug", fail.wrap("a.lua:1: oops", "map").kind) end)
end)

describe("telling failures from other values", function()
  it("knows C's plain tables", function()
    local plain = { kind = "denied", message = "401" }
    assert.is_true(fail.is(plain))
    assert.is_true(fail.is(plain, "denied"))
    assert.is_false(fail.is(plain, "busy"))
    assert.equal("401", fail.text(plain))
  end)

  it("takes nothing else for one", function()
    for _, value in ipairs { "x", 1, true, {}, { kind = "denied" }, { kind = "oops", message = "x" }, { message = "x" } } do
      assert.is_false(fail.is(value))
    end
    assert.is_false(fail.is(nil))
    assert.equal("x", fail.text "x")
  end)
end)

describe("making a failure of what was raised", function()
  it("leaves failure tables the same table, and makes them print", function()
    local plain = { kind = "denied", message = "401", status = 401 }
    assert.equal(plain, fail.of(plain))
    assert.equal("401", tostring(plain))
    local ours = fail.new("busy", "later")
    assert.equal(ours, fail.of(ours))
  end)

  it("makes a bug of anything else, and keeps the traceback apart", function()
    local why = fail.of "a.lua:3: attempt to index nil\nstack traceback:\n\ta.lua:3: in main chunk"
    assert.equal("bug", why.kind)
    assert.equal("a.lua:3: attempt to index nil", why.message)
    assert.equal("stack traceback:\n\ta.lua:3: in main chunk", why.traceback)
    assert.equal("bug", fail.of({}).kind)
    assert.equal("nil", fail.of(nil).message)
    assert.is_nil(fail.of("a.lua:3: oops").traceback)
  end)
end)
