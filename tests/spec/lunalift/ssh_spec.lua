local files <const> = require "lab.files"
local fs <const> = require "lunalift.fs"
local process <const> = require "lunalift.process"
local secret <const> = require "lunalift.secret"
local sshds <const> = require "lab.sshd"
local ssh <const> = require "lunalift.ssh"
local task <const> = require "lunalift.task"
local timer <const> = require "lunalift.timer"

describe("lunalift.ssh", function()
  local folder, sshd

  setup(function()
    folder = process.run({ argv = { "mktemp", "-d" } }).out:gsub("%s", "")
    sshds.make_key(folder .. "/user")
    sshds.make_key(folder .. "/stranger")
    sshd = sshds.new(folder .. "/sshd", "127.0.0.1")
    sshd:authorize(fs.read(folder .. "/user.pub"))
    sshd:start()
  end)

  teardown(function()
    sshd:stop()
    process.run { argv = { "rm", "-rf", folder } }
  end)

  local function open(more)
    local conf <const> = {
      host = sshd.address,
      port = sshd.port,
      user = sshd.user,
      key = secret.new(fs.read(folder .. "/user")),
      fingerprints = { sshd.fingerprint },
    }
    for key, value in pairs(more or {}) do
      conf[key] = value
    end
    return ssh.open(conf)
  end

  it("runs commands and gives what they print, and how they ended", function()
    local host <close> = assert(open())
    assert.same({ out = "a\n", err = "b\n", status = 3, truncated = false }, host:exec "echo a; echo b >&2; exit 3")
    assert.equal("TERM", host:exec("kill -TERM $$").signal)
    assert.same(
      { "x\0y", true },
      (function()
        local ended <const> = host:exec("cat; echo zzz", { input = "x\0y", max_output = 3 })
        return { ended.out, ended.truncated }
      end)()
    )
  end)

  it("runs the commands of several tasks side by side", function()
    local host <const> = assert(open())
    local began_s <const>, tasks <const> = timer.now(), {}
    for i = 1, 5 do
      tasks[i] = task.spawn(function() return host:exec(("sleep 0.3; echo %d"):format(i)).out end)
    end
    for i = 1, 5 do
      assert.equal(i .. "\n", tasks[i]:join())
    end
    assert.is_true(timer.now() - began_s < 1.4)
  end)

  it("tells the public key, and nothing of the private one", function()
    local host <const> = assert(open())
    assert.equal(fs.read(folder .. "/user.pub"):match "^%S+ %S+", host:public_key())
    local none <const>, why <const> = open { key = secret.new "no key at all" }
    assert.is_nil(none)
    assert.equal("config", why.kind)
    assert.is_nil(why.message:find "no key at all")
  end)

  it("says which of the two keys was refused, and shows the host's", function()
    local _, why = open({ fingerprints = { "SHA256:x" } }):exec "true"
    assert.same({ "denied", "host unknown", sshd.fingerprint }, { why.kind, why.refusal, why.fingerprint })
    _, why = open({ key = secret.new(fs.read(folder .. "/stranger")) }):exec "true"
    assert.same({ "denied", "key refused" }, { why.kind, why.refusal })
    files.replace(folder .. "/known", ("[127.0.0.1]:%d %s"):format(sshd.port, fs.read(folder .. "/stranger.pub")))
    _, why = open({ fingerprints = {}, known_hosts = folder .. "/known" }):exec "true"
    assert.same({ "denied", "host changed" }, { why.kind, why.refusal })
  end)

  it("tells an effect without an answer from one that was not sent", function()
    local host <const> = assert(open())
    local _, why = host:exec("kill -KILL $PPID; sleep 1", { effect = true })
    assert.same({ "unreachable", true }, { why.kind, why.unanswered })
    _, why = host:exec("sleep 9", { effect = true, timeout_s = 0.2 })
    assert.same({ "timeout", true }, { why.kind, why.unanswered })
    _, why = open({ port = 1 }):exec("true", { effect = true })
    assert.same({ "unreachable" }, { why.kind, why.unanswered })
  end)

  it("ends a command when its task is cancelled, and may be closed before", function()
    local host <const> = assert(open())
    local waiting <const> = task.spawn(function() return host:exec "sleep 9" end)
    timer.sleep(0.2)
    waiting:cancel()
    local other <const> = task.spawn(function() return host:exec "sleep 0.1; echo on" end)
    timer.sleep(0.01)
    host:close()
    assert.equal("on\n", other:join().out)
    assert.error_matches(function() host:exec "true" end, "closed")
  end)

  it("raises on misuse", function()
    assert.error_matches(function() ssh.open {} end, "host and key")
    assert.error_matches(function() open { fingerprints = { 1 } } end, "fingerprint")
    assert.error_matches(function() open():exec("true", { timeout = 1 }) end, "timeout")
  end)
end)
