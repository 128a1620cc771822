local faults <const> = require "lab.faults"

describe("the lab's faults", function()
  local put_in, acted

  before_each(function()
    put_in, acted = faults.new(), 0
  end)

  local function ask(method, path)
    local handler <const> = put_in:wrap("ontap", function()
      acted = acted + 1
      return { status = 201, body = "0123456789" }
    end)
    return handler { method = method, path = path, body = "", headers = {}, args = {}, query = "" }
  end

  it("writes every request down, with whether it changed anything", function()
    ask("GET", "/a")
    ask("PATCH", "/b")
    assert.is_false(put_in.requests[1].effect)
    assert.is_true(put_in.requests[2].effect)
    assert.equal("/b", put_in.requests[2].path)
    assert.equal(201, put_in.requests[2].status)
  end)

  it("strikes after so many and so many times, and only what matches", function()
    put_in:set {
      { service = "ontap", match = { method = "GET", path = "/a*" }, after = 1, times = 2, action = "status:503" },
    }
    local got <const> = {}
    for i = 1, 5 do
      got[i] = ask("GET", "/a?x").status
      assert.equal(201, ask("POST", "/a").status)
      assert.equal(201, ask("GET", "/b").status)
    end
    assert.same({ 201, 503, 503, 201, 201 }, got)
  end)

  it("keeps from acting before, and not after", function()
    put_in:set { { service = "ontap", action = "drop" } }
    assert.is_true(ask("POST", "/a").drop)
    assert.equal(0, acted)
    put_in:set { { service = "ontap", action = "drop_after" } }
    assert.is_true(ask("POST", "/a").drop)
    assert.equal(1, acted)
    put_in:set { { service = "ontap", action = "truncate" } }
    local cut <const> = ask("POST", "/a")
    assert.equal("01234", cut.body)
    assert.equal("11", cut.headers["Content-Length"])
    assert.equal(2, acted)
    put_in:set { { service = "ontap", action = "status:429" } }
    assert.equal("3", ask("POST", "/a").headers["Retry-After"])
    assert.equal(2, acted)
    put_in:set { { service = "ontap", action = "reset_after" } }
    assert.is_true(ask("POST", "/a").reset)
    assert.equal(3, acted)
    put_in:set { { service = "ontap", action = "drip:5" } }
    assert.equal(5, ask("POST", "/a").drip_s)
  end)

  it("reads a pattern's punctuation as itself", function()
    put_in:set { { service = "ontap", match = { path = "/a.b-c" }, action = "drop" } }
    assert.is_nil(ask("GET", "/axb-c").drop)
    assert.is_true(ask("GET", "/a.b-c").drop)
  end)
end)
