--- Jobs for tests/torture: each touches much of the bindings, cleans up after itself, and raises on any failure.
local M <const> = {}

function M.data()
  local codec <const> = require "lunalift.codec"
  local json <const> = require "lunalift.json"
  local log <const> = require "lunalift.log"
  local secret <const> = require "lunalift.secret"
  local xml <const> = require "lunalift.xml"
  local value <const> = assert(json.decode '{"a":[1,2.5,"x\\n",null,{"b":true}],"c":{}}')
  assert(json.encode(value, { indent = true }))
  local _, why <const> = json.decode "{"
  assert(why.kind == "protocol")
  assert(codec.unbase64(codec.base64(codec.sha256 "x")))
  assert(xml.parse '<a xmlns="urn:x"><b c="d">e</b><b/></a>')
  local hidden <const> = secret.new("cGFzc3dvcmQ="):unbase64():wrap("a", "b")
  log.debug("said " .. hidden, { secret = hidden, number = 1 })
  assert(log.redact "apasswordb" == "***")
end

function M.tasks()
  local task <const> = require "lunalift.task"
  local timer <const> = require "lunalift.timer"
  local mutex <const> = task.mutex()
  local order <const> = {}
  local function work(name)
    local _held <close> = mutex:lock()
    timer.sleep(0.001)
    order[#order + 1] = name
    return name
  end
  task.all { function() return work "a" end, function() return work "b" end }
  local sleeper <const> = task.spawn(timer.sleep, 60)
  timer.sleep(0)
  sleeper:cancel "enough"
  local _, why <const> = sleeper:wait()
  assert(why.kind == "cancelled" and #order == 2)
  local _, late <const> = task.within(0.001, timer.sleep, 60)
  assert(late.kind == "timeout")
  assert(task.shield(5, function() return 1 end):join() == 1)
  local bell <const> = task.bell()
  local waiting <const> = task.spawn(function() return bell:wait(60) end)
  timer.sleep(0)
  bell:ring()
  assert(waiting:wait() == true and bell:wait(0.001) == false)
end

function M.http(peer)
  local http <const> = require "lunalift.http"
  local secret <const> = require "lunalift.secret"
  local task <const> = require "lunalift.task"
  local client <const> = http.client {
    base = "http://127.0.0.1:" .. peer.port,
    username = "u",
    password = secret.new "password",
    headers = { ["X-A"] = "1" },
  }
  assert(client:get("/json", { query = { a = "b c" } }).json.ok)
  assert(client:post("/json", { json = { a = { 1, 2 } }, effect = true }).status == 200)
  local _, why <const> = client:get "/missing"
  assert(why.status == 404 and why.retry_after_s == 7)
  task.all { function() return client:get "/json" end, function() return client:get "/json" end }
  local slow <const> = task.spawn(client.get, client, "/never")
  require("lunalift.timer").sleep(0.002)
  slow:cancel()
  slow:wait()
end

function M.isolate()
  local isolate <const> = require "lunalift.isolate"
  local secret <const> = require "lunalift.secret"
  local task <const> = require "lunalift.task"
  local timer <const> = require "lunalift.timer"
  local inside <const> = assert(isolate.open { module = "spec.guest", hosts = { "a", "b" } })
  local hidden <const> = secret.new "password"
  local back <const> = assert(inside:call("echo", { hidden, { deep = { 1, 2, 3 } }, "text" }))
  assert(secret.is(back[1]) and back[2].deep[3] == 3)
  local _, why <const> = inside:call("raise", { kind = "busy", message = "m" })
  assert(why.kind == "busy")
  local sleeper <const> = task.spawn(inside.call, inside, "sleep", 60)
  timer.sleep(0)
  sleeper:cancel()
  sleeper:wait()
  inside:close()
end

function M.kube(peer)
  local kube <const> = require "lunalift.kube"
  local api <const> = assert(kube.open { kubeconfig = peer.kubeconfig })
  assert(api:get("/api/v1/x").ok)
  assert(api:patch("/api/v1/x", { metadata = { labels = { a = "b" } } }).ok)
  local _, why <const> = api:get "/missing"
  assert(why.kind == "not_found")
  local watch <close> = assert(api:watch "/lines")
  assert(watch:next(5).n == 1 and watch:next(5).n == 2)
  assert(watch:next(5) == nil)
  local _, refused <const> = assert(api:watch "/missing"):next(5)
  assert(refused.status == 404)
end

function M.vsphere(peer)
  local clone <const> = require "lunalift.clone"
  local secret <const> = require "lunalift.secret"
  local vsphere <const> = require "lunalift.vsphere"
  local session <const> =
    vsphere.open { host = "http://127.0.0.1:" .. peer.port, username = "u", password = secret.new "password" }
  assert(session:login().rootFolder.id == "group-d1")
  assert(session:call("Read", "sessionManager", { { "a", { _type = "T", { "b", 1 } } } })[2] == "b")
  local _, why <const> = session:call("Refuse", "sessionManager")
  assert(why.fault == "NoPermission")
  local host <const> = { type = "HostSystem", id = "host-1" }
  assert(session:esxcli(host, "storage core list", { device = "naa.1" }))
  local wrapper <const> = clone.over_esxcli(session, host)
  assert(wrapper:poll("t-1").exitCode == "0")
  session:logout()
end

function M.tls(peer)
  local http <const> = require "lunalift.http"
  local base <const> = "https://127.0.0.1:" .. peer.tls_port
  local client <const> = http.client { base = base, tls = { ca_file = peer.ca_file } }
  assert(client:get("/json").json.ok)
  local _, why <const> = http.client({ base = base, tls = { thumbprint = ("00:"):rep(31) .. "00" } }):get "/json"
  assert(why.kind == "config", why.message)
end

function M.journal(peer)
  local journal <const> = require "lunalift.journal"
  local path <const> = peer.ca_file .. ".journal"
  local lock <close> = assert(journal.lock(path))
  assert(journal.write(path, '{"format":1}'))
  assert(journal.write(path, '{"format":2}'))
  assert(journal.read(path) == '{"format":2}')
  assert(journal.remove(path))
  assert(journal.read(path) == nil and lock)
end

return M
