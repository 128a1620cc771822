local clone <const> = require "lunalift.clone"
local json <const> = require "lunalift.json"
local peers <const> = require "support.vim_peer"

local HOST <const> = { type = "HostSystem", id = "host-1" }
local FEATURES <const> = { "taskId", "taskKill", "taskList", "digest", "preflight", "percent" }

describe("lunalift.clone", function()
  local peer, wrapper

  --- answers: esxcli command → { status, message }
  local function open(answers)
    peer = peers.open {
      RetrieveManagedMethodExecuter = '<returnval type="X">x</returnval>',
      ExecuteSoap = function(body)
        local answer <const> = answers[body:match "vim%.EsxCLI%.vmkfstools%.(%w+)"]
        if not answer then
          return "<returnval><fault><faultMsg>m</faultMsg><faultDetail>"
            .. peers.escape '<obj><fault xsi:type="NotFound"/></obj>'
            .. "</faultDetail></fault></returnval>"
        end
        local row <const> = '<obj xsi:type="VimEsxCLIvmkfstoolsresult"><message>%s</message><status>%s</status></obj>'
        return "<returnval><response>"
          .. peers.escape(row:format(peers.escape(answer[2]), answer[1]))
          .. "</response></returnval>"
      end,
    }
    wrapper = clone.over_esxcli(peer.session, HOST)
  end

  --- A host with our wrapper.
  local function open_ours(answers)
    answers.version = { "0", json.encode { version = "1.0.0", features = FEATURES } }
    open(answers)
    assert(wrapper:version())
  end

  local function asked() return peers.last(peer, "ExecuteSoap") end

  after_each(function()
    if peer then peer.server:close() end
    peer = nil
  end)

  it("learns what the host has", function()
    open_ours {}
    for _, name in ipairs(FEATURES) do
      assert.is_true(wrapper:offers(name))
    end
    assert.is_false(wrapper:offers "flying")
  end)

  it("takes upstream's wrapper for one without features", function()
    open { version = { "0", '{"version": "0.3.3"}' }, clone = { "0", '{"taskId": "t", "pid": 7, "xcopyUsed": false}' } }
    assert.same({ version = "0.3.3", features = {} }, wrapper:version())
    assert.is_false(wrapper:offers "taskKill")
    local _, why = wrapper:kill "t-1"
    assert.equal("unsupported", why.kind)
    assert.is_string(why.hint)
    local task <const> = { task_id = "t-1", source = "/vmfs/volumes/a b/c.vmdk", target = "/vmfs/devices/disks/naa.1" }
    assert.same({ taskId = "t", pid = 7, xcopyUsed = false }, wrapper:start(task))
    assert.matches("&gt;/vmfs/volumes/a b/c.vmdk&lt;", asked(), 1, true)
    task.source = "/vmfs/volumes/a/b';reboot;'.vmdk"
    _, why = wrapper:start(task)
    assert.equal("config", why.kind)
  end)

  it("says what to do when the host has no wrapper", function()
    open {}
    local found <const>, why <const> = wrapper:version()
    assert.is_nil(found)
    assert.equal("unsupported", why.kind)
    assert.matches("VIB", why.hint)
  end)

  it("starts, polls, kills, lists and cleans", function()
    open_ours {
      clone = { "0", '{"taskId": "t-1", "pid": 7, "xcopyUsed": false, "existing": true}' },
      taskGet = { "0", '{"taskId": "t-1", "state": "running", "percent": 40, "lastLine": "<&>"}' },
      taskKill = { "0", '{"taskId": "t-1", "state": "killed", "writerAlive": false}' },
      taskList = { "0", '{"tasks": [{"taskId": "t-1"}]}' },
      taskClean = { "0", "" },
    }
    assert.is_true(wrapper:start({ task_id = "t-1", source = "/v/a'b", target = "/d/naa.1" }).existing)
    assert.matches("&gt;pct:/v/a%27b&lt;", asked(), 1, true)
    assert.matches("&lt;taskid&gt;t%-1&lt;", asked())
    assert.same({ taskId = "t-1", state = "running", percent = 40, lastLine = "<&>" }, wrapper:poll "t-1")
    assert.equal("killed", wrapper:kill("t-1").state)
    assert.same({ { taskId = "t-1" } }, wrapper:tasks())
    assert.is_true(wrapper:clean "t-1")
  end)

  it("asks for digests and a preflight", function()
    open_ours { digest = { "0", '{"algorithm": "sha256"}' }, preflight = { "0", '{"sourceExists": true}' } }
    local disk <const> = { source = "/v/a", target = "/d/b" }
    assert.is_true(wrapper:preflight(disk).sourceExists)
    disk.extents = { { offset = 0, length = 4096 }, { offset = 8192, length = 1 } }
    assert.equal("sha256", wrapper:digest(disk).algorithm)
    assert.matches("&gt;0:4096,8192:1&lt;", asked(), 1, true)
    disk.extents = {}
    assert.error(function() wrapper:digest(disk) end)
  end)

  it("hands on what the wrapper refused", function()
    open_ours {
      taskGet = { "1", '{"taskId": "t-1", "stdErr": "no such task"}' },
      clone = { "28", "low on space" },
    }
    local state, why = wrapper:poll "t-1"
    assert.is_nil(state)
    assert.equal("failed", why.kind)
    assert.equal("no such task", why.message)
    assert.equal("t-1", why.reply.taskId)
    state, why = wrapper:start { task_id = "t-1", source = "/v/a", target = "/d/b" }
    assert.is_nil(state)
    assert.equal("no_space", why.kind)
    assert.is_nil(why.reply)
  end)

  it("calls a start open when its answer makes no sense", function()
    open_ours { clone = { "0", "not JSON" }, taskGet = { "0", "[1]x" } }
    local _, why = wrapper:start { task_id = "t-1", source = "/v/a", target = "/d/b" }
    assert.equal("protocol", why.kind)
    assert.is_true(why.unanswered)
    _, why = wrapper:poll "t-1"
    assert.equal("protocol", why.kind)
    assert.is_nil(why.unanswered)
  end)

  it("refuses an id that is none", function()
    open_ours {}
    local _, why = wrapper:poll "a;b"
    assert.equal("config", why.kind)
    assert.error(function() wrapper:poll() end)
  end)

  it("outlives the session's handle", function()
    open_ours { taskList = { "0", '{"tasks": []}' } }
    peer.session = nil
    collectgarbage()
    assert.same({}, wrapper:tasks())
  end)
end)
