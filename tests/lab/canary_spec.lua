--- Passwords and tokens that nobody could overlook, and everything that a run writes, searched for them.
local certificate <const> = require "lunalift.certificate"
local codec <const> = require "lunalift.codec"
local fs <const> = require "lunalift.fs"
local http <const> = require "lunalift.http"
local json <const> = require "lunalift.json"
local labs <const> = require "support.lab"
local process <const> = require "lunalift.process"
local server <const> = require "lunalift.server"
local task <const> = require "lunalift.task"
local timer <const> = require "lunalift.timer"

-- A core that no escaping touches, among characters that every one does.
local VCENTER <const> = { core = "CanaryVcenter71Q", text = [[p&<"'%41 +CanaryVcenter71Q=ö\/]] }
local ARRAY <const> = { core = "CanaryArrays82W", text = [[%2f&amp;CanaryArrays82W"<'>\]] }
local TOKEN <const> = { core = "CanaryKubernet93E", text = "eyJ.CanaryKubernet93E-._~" }
local SIGABRT <const>, SIGKILL <const> = 6, 9
local CANARIES <const> = { VCENTER, ARRAY, TOKEN }

--- What of a core survives in base64, wherever in a group of three bytes it begins.
local function in_base64(core)
  local found <const> = {}
  for shift = 0, 2 do
    found[shift + 1] = codec.base64(("x"):rep(shift) .. core):sub(5, -5)
  end
  return found
end

local function assert_unseen(text, where)
  for _, canary in ipairs(CANARIES) do
    local forms <const> = in_base64(canary.core)
    table.move({ canary.core, canary.core:sub(1, 10), canary.core:lower(), canary.core:reverse() }, 1, 4, 4, forms)
    for _, form in ipairs(forms) do
      local at <const> = text:find(form, 1, true)
      if at then error(("%s in %s: …%s…"):format(form, where, text:sub(math.max(at - 900, 1), at + 60)), 2) end
    end
  end
end

local function percent(text)
  return (text:gsub("[^%w]", function(c) return ("%%%02X"):format(c:byte()) end))
end

-- All shapes in which a peer may send back what it was sent.
local function echo_of(canary, user)
  return table.concat({
    canary.text,
    percent(canary.text),
    codec.xml_escape(canary.text),
    codec.base64(user .. ":" .. canary.text),
    json.encode(canary.text),
    percent(codec.base64(canary.text)),
  }, " ")
end

describe("no secret", function()
  local lab, ca, listeners, folder, looks

  --- A peer over TLS that refuses all, and quotes the secret wherever a text may be cut.
  local function echoing(canary, user, answer)
    local leaf <const> = assert(certificate.leaf { cn = "echo", names = { "IP:127.0.0.1" }, ca = ca })
    local count = 0
    local listener <const> = assert(server.listen {
      cert = leaf.cert,
      key = leaf.key,
      on_request = function()
        count = count + 1
        return answer((" filler"):rep(count * 17 % 90):sub(1, count * 131 % 601) .. echo_of(canary, user))
      end,
    })
    listeners[#listeners + 1] = listener
    return "127.0.0.1:" .. listener.port
  end

  local function json_answer(status, make)
    return function(text)
      return { status = status, headers = { ["Content-Type"] = "application/json" }, body = json.encode(make(text)) }
    end
  end

  local function fault_answer(text)
    return {
      status = 500,
      headers = { ["Content-Type"] = "text/xml" },
      body = ([[<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body><s:Fault><faultcode>ServerFaultCode</faultcode>
<faultstring>%s</faultstring><detail><f xmlns="urn:vim25" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="InvalidLogin"/>
</detail></s:Fault></s:Body></s:Envelope>]]):format(codec.xml_escape(text)),
    }
  end

  setup(function()
    listeners, looks = {}, 0
    lab = labs.start { vcenter = { password = VCENTER.text }, ontap = { password = ARRAY.text } }
    ca = assert(certificate.ca { cn = "echo" })
    folder = lab.dir .. "/out"
    assert(process.run { argv = { "mkdir", folder } })
    -- One file for the lab's CA and the echoing peers'.
    assert(fs.write(lab.dir .. "/both.pem", assert(fs.read(lab.site.ca_file)) .. ca.cert))
    local config <const> = assert(fs.read(lab.site.kube.kubeconfig))
    assert(fs.write(lab.dir .. "/kubeconfig", (config:gsub("token: [^\n]+", "token: " .. TOKEN.text))))
  end)

  teardown(function()
    for _, listener in ipairs(listeners) do
      listener:close()
    end
    lab:stop()
  end)

  --- All processes below one, those started for a host's scripts among them.
  local function each_below(pid, fn)
    for child in (fs.read(("/proc/%s/task/%s/children"):format(pid, pid)) or ""):gmatch "%d+" do
      fn(child)
      each_below(child, fn)
    end
  end

  --- What any user of the machine could see of the run: its arguments; and of the processes on the host's side, their environment, too.
  local function look_at(running)
    assert_unseen(fs.read("/proc/" .. running.pid .. "/cmdline") or "", "the command line")
    each_below(
      running.pid,
      function(pid) error("the program started a process: " .. (fs.read("/proc/" .. pid .. "/cmdline") or pid)) end
    )
    each_below(lab.process.pid, function(pid)
      looks = looks + 1
      for _, file in ipairs { "cmdline", "environ" } do
        assert_unseen(fs.read(("/proc/%s/%s"):format(pid, file)) or "", file .. " of a process of the host's")
      end
    end)
  end

  local function assert_none_written(where)
    for path in process.run({ argv = { "find", where, "-type", "f" } }).out:gmatch "[^\n]+" do
      local text <const>, why <const> = fs.read(path)
      if text then
        assert_unseen(text, path)
      else
        assert.is_nil(fs.stat(path), why) -- a file that the lab was just replacing may have gone
      end
    end
  end

  --- Search the processes while it runs, and all that it has written when it has ended.
  local function run(changes, words, meanwhile)
    local env <const> =
      { LUNALIFT_CA_FILE = lab.dir .. "/both.pem", XDG_STATE_HOME = folder, LUNALIFT_PATIENCE_S = "1" }
    for name, value in pairs(changes or {}) do
      env[name] = value
    end
    local all <const> = { "-vv", "--receipt=" .. folder .. "/receipt.json" }
    table.move(words or {}, 1, #(words or {}), #all + 1, all)
    local running <const> = lab:start_populate { words = all, env = env }
    local _watched <close> = task.spawn(function()
      while true do
        look_at(running)
        timer.sleep(0.005)
      end
    end)
    if meanwhile then meanwhile(running) end
    local ended <const> = running:wait()
    assert_unseen(ended.out, "standard output")
    assert_unseen(ended.err, "standard error")
    assert_none_written(folder)
    assert_none_written(lab.site.dir .. "/hosts")
    return ended
  end

  for _, output in ipairs { "text", "json" } do
    it("in what a copy says and keeps, as " .. output, function()
      local ended <const> = run(nil, { "--output=" .. output })
      assert.equal(0, ended.code, ended.err)
      assert.is_true(#assert(fs.read(folder .. "/receipt.json")) > 100)
      assert.is_true(looks > 0)
    end)

    it("in what a dry run says, as " .. output, function()
      local ended <const> = run(nil, { "--dry-run", "--output=" .. output })
      assert.equal(0, ended.code, ended.err)
    end)

    local function fails(what, changes, code)
      it(("when %s, as %s"):format(what, output), function()
        local ended <const> = run(changes(), { "--output=" .. output })
        assert.equal(code, ended.code, ended.out .. ended.err)
      end)
    end

    fails("vCenter's password is wrong", function() return { GOVMOMI_PASSWORD = VCENTER.text .. "x" } end, 2)
    fails("the array's password is wrong", function() return { STORAGE_PASSWORD = ARRAY.text .. "x" } end, 2)
    fails("the token is wrong", function() return { KUBECONFIG = lab.dir .. "/kubeconfig" } end, 2)
    fails("nobody is trusted", function() return { LUNALIFT_CA_FILE = false } end, 2)
    fails(
      "vCenter quotes it in a fault",
      function()
        return {
          GOVMOMI_HOSTNAME = echoing(VCENTER, "svc-move@vsphere.local", fault_answer),
          GOVMOMI_PASSWORD = VCENTER.text,
        }
      end,
      2
    )
    for _, status in ipairs { 400, 401 } do
      fails(("the array quotes it with status %d"):format(status), function()
        return {
          STORAGE_HOSTNAME = echoing(
            ARRAY,
            "admin",
            json_answer(status, function(text) return { error = { message = text, code = "4", target = text } } end)
          ),
        }
      end, status == 401 and 2 or 1)
    end
    fails("the API server quotes it", function()
      local host <const> = echoing(
        TOKEN,
        "",
        json_answer(
          403,
          function(text) return { kind = "Status", reason = "Forbidden", message = text, code = 403 } end
        )
      )
      local config <const> = assert(fs.read(lab.dir .. "/kubeconfig"))
      local data <const> = "certificate-authority-data: " .. codec.base64(ca.cert)
      assert(
        fs.write(
          lab.dir .. "/kubeconfig-echo",
          (config:gsub("server: [^\n]+", "server: https://" .. host):gsub("certificate%-authority%-data: [^\n]+", data))
        )
      )
      return { KUBECONFIG = lab.dir .. "/kubeconfig-echo" }
    end, 2)
  end

  --- The built-in vendor, doing this when it is opened; the folder to lay over.
  local function vendor_that(does)
    local scripts <const>, opens <const> = lab.dir .. "/scripts", "function M.open(conf)\n"
    local text <const> = assert(fs.read(fs.cwd() .. "/scripts/vendors/ontap.lua"))
    local _, last <const> = text:find(opens, 1, true)
    assert(process.run { argv = { "mkdir", "-p", scripts .. "/vendors" } })
    assert(fs.write(scripts .. "/vendors/ontap.lua", text:sub(1, last) .. does .. text:sub(last + 1)))
    return scripts
  end

  for _, raises in ipairs {
    "error(conf.password)",
    'error("bad " .. conf.password .. tostring(conf.password) .. ("%s"):format(conf.password))',
    'error({ kind = "failed", message = "bad " .. conf.password, password = conf.password })',
  } do
    it("in the traceback of " .. raises, function()
      local ended <const> = run(nil, { "--scripts=" .. vendor_that(("if conf then %s end\n"):format(raises)) })
      assert.is_true(ended.code > 0, ended.err)
    end)
  end

  it("in the watchdog's last words", function()
    local scripts <const> =
      vendor_that 'local shown <const> = "bad " .. conf.password\n_ = ("a"):rep(1 << 14):find(".-.-.-b", #shown // 99)\n'
    local ended <const> = run({ LUNALIFT_WATCHDOG_S = "1" }, { "--scripts=" .. scripts })
    assert.equal(SIGABRT, ended.signal, ended.err)
    assert.matches("nothing has moved", ended.err)
  end)

  it("in the journal of a run that was killed, and what reap makes of it", function()
    local ended <const> = run { LUNALIFT_TEST_CRASH = "after:4" }
    assert.equal(SIGKILL, ended.signal, ended.err)
    assert.matches("%.json", process.run({ argv = { "ls", folder .. "/lunalift" } }).out)
    local env <const> = { LUNALIFT_CA_FILE = lab.dir .. "/both.pem", XDG_STATE_HOME = folder }
    for _, words in ipairs { { "reap", "-vv" }, { "reap", "--apply", "-vv" } } do
      local reaped <const> = lab:populate { argv = words, env = env }
      assert_unseen(reaped.out .. reaped.err, "what reap says")
      assert_none_written(folder)
    end
  end)

  it("in the metrics", function()
    local ended <const> = run(nil, { "--http-endpoint=127.0.0.1:0", "--metrics-linger=0.1" }, function(running)
      local port <const> = labs.wait_until(10, "the metrics", function()
        local _, err <const> = running:output()
        return err:match "metrics are served.-port=(%d+)"
      end)
      local client <const> = http.client { base = "https://127.0.0.1:" .. port, tls = { insecure = true } }
      assert_unseen(assert(client:get "/metrics").body, "the metrics")
    end)
    assert.equal(0, ended.code, ended.err)
  end)

  it("in a core file, since there is none", function()
    local running <const> = lab:start_populate { env = { LUNALIFT_CA_FILE = lab.dir .. "/both.pem" } }
    local limits <const> = labs.wait_until(
      5,
      "limits",
      function() return (fs.read("/proc/" .. running.pid .. "/limits") or ""):match "Max core file size%s+0%s+0" end
    )
    assert.is_string(limits)
    running:wait()
  end)
end)
