--- Passwords and tokens that nobody could overlook, and everything that a run writes, searched for them.
local certificate <const> = require "lunalift.certificate"
local codec <const> = require "lunalift.codec"
local fs <const> = require "lunalift.fs"
local json <const> = require "lunalift.json"
local labs <const> = require "support.lab"
local process <const> = require "lunalift.process"
local server <const> = require "lunalift.server"

-- A core that no escaping touches, among characters that every one does.
local VCENTER <const> = { core = "CanaryVcenter71Q", text = [[p&<"'%41 +CanaryVcenter71Q=ö\/]] }
local ARRAY <const> = { core = "CanaryArrays82W", text = [[%2f&amp;CanaryArrays82W"<'>\]] }
local TOKEN <const> = { core = "CanaryKubernet93E", text = "eyJ.CanaryKubernet93E-._~" }
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
  local lab, ca, listeners, folder

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
    listeners = {}
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

  --- Search the process while it runs, and all that it has written when it has ended.
  local function run(changes, words)
    local env <const> =
      { LUNALIFT_CA_FILE = lab.dir .. "/both.pem", XDG_STATE_HOME = folder, LUNALIFT_PATIENCE_S = "1" }
    for name, value in pairs(changes or {}) do
      env[name] = value
    end
    local all <const> = { "-vv", "--receipt=" .. folder .. "/receipt.json" }
    table.move(words or {}, 1, #(words or {}), #all + 1, all)
    local running <const> = lab:start_populate { words = all, env = env }
    assert_unseen(fs.read("/proc/" .. running.pid .. "/cmdline") or "", "the command line")
    local ended <const> = running:wait()
    assert_unseen(ended.out, "standard output")
    assert_unseen(ended.err, "standard error")
    local files <const> = process.run({ argv = { "find", folder, "-type", "f" } }).out
    for path in files:gmatch "[^\n]+" do
      assert_unseen(assert(fs.read(path)), path)
    end
    return ended
  end

  for _, output in ipairs { "text", "json" } do
    it("in what a copy says and keeps, as " .. output, function()
      local ended <const> = run(nil, { "--output=" .. output })
      assert.equal(0, ended.code, ended.err)
      assert.is_true(#assert(fs.read(folder .. "/receipt.json")) > 100)
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
