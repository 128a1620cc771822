local codec <const> = require "lunalift.codec"
local files <const> = require "lab.files"
local fs <const> = require "lunalift.fs"
local process <const> = require "lunalift.process"
local secret <const> = require "lunalift.secret"
local ssh <const> = require "lunalift.ssh"
local ssh_wrapper <const> = require "lib.ssh_wrapper"
local sshds <const> = require "lab.sshd"
local vib <const> = require "lib.vib"

local SHELLS <const> = { { "busybox", "sh" }, { "dash" } }
local SCRIPT <const> = vib.source "vmkfstools-wrapper"
local NAME <const> = "lunalift-wrapper-" .. codec.sha256(SCRIPT):sub(1, 16)

-- What a shell must never get to see of a request; each would make the file `canary`.
local HOSTILE <const> = {
  "DS=ds1;CMD=--version; touch canary",
  "DS=ds1;CMD=--version\ntouch canary",
  "DS=ds1;CMD=$(touch canary)",
  "DS=ds1;CMD=`touch canary` --version",
  "DS=ds1;CMD=--clone -s /vmfs/volumes/x';touch canary;'.vmdk -t /vmfs/devices/disks/naa.1",
  "DS=ds1;CMD=--clone -s '/vmfs/volumes/ds1/$(touch canary).vmdk' -t /vmfs/devices/disks/naa.1",
  'DS=ds1;CMD=--clone -s "/vmfs/volumes/ds1/a.vmdk" -t "/vmfs/devices/disks/naa.1";touch canary;"',
  "DS=ds1;CMD=--clone -s pct:/vmfs/volumes/x%27;touch%20canary;%27.vmdk -t pct:/vmfs/devices/disks/%24(touch%20canary)",
  "DS=ds1;CMD=--task-get -i $(touch canary)",
  "DS=ds1;CMD=--task-clean -i ../../../canary",
  "DS=$(touch canary);CMD=--version",
  "DS=`touch canary`;CMD=--version",
  'DS=ds1" ; touch canary; ";CMD=--version',
  "DS=ds1';touch canary;';CMD=--version",
  "DS=ds1&touch canary;CMD=--version",
  "DS=ds1|touch canary;CMD=--version",
  "DS=../../evil;CMD=--version",
  "DS=..;CMD=--version",
  "DS=.;CMD=--version",
  "DS=ds1/../../../evil;CMD=--version",
  "DS=*;CMD=--version",
  "DS=d s 1;CMD=--version",
  "DS=;CMD=touch canary",
  "touch canary",
  "sh -c 'touch canary'",
  "",
}

describe("the line of an SSH key", function()
  local folder, volumes, line

  setup(function()
    folder = fs.realpath(process.run({ argv = { "mktemp", "-d" } }).out:match "%S+")
    volumes = folder .. "/vmfs/volumes"
    files.mkdirs(volumes .. "/ds1")
    files.mkdirs(folder .. "/here")
    sshds.make_key(folder .. "/key", "rsa")
    local public_key <const> = fs.read(folder .. "/key.pub"):match "^%S+ %S+"
    -- as on a host, below this folder
    line = ssh_wrapper.key_line(public_key):gsub("/vmfs/", folder .. "/vmfs/"):gsub("/opt/", folder .. "/opt/")
  end)

  teardown(function() process.run { argv = { "rm", "-rf", folder } } end)

  before_each(function()
    assert(fs.write(volumes .. "/ds1/" .. NAME, SCRIPT))
    process.run { argv = { "rm", "-rf", folder .. "/opt", folder .. "/evil", folder .. "/here/canary" } }
  end)

  local function ask(shell, request)
    local command <const> = line:match('^restrict,command="(.-[^\\])" ssh%-rsa '):gsub('\\"', '"')
    local argv <const> = table.move(shell, 1, #shell, 1, {})
    table.move({ "-c", command }, 1, 2, #argv + 1, argv)
    return assert(process.run {
      argv = argv,
      env = { PATH = os.getenv "PATH", SSH_ORIGINAL_COMMAND = request, LUNALIFT_ESXI_ROOT = folder },
      cwd = folder .. "/here",
    })
  end

  local function each_shell(check)
    for _, shell in ipairs(SHELLS) do
      check(function(request) return ask(shell, request) end)
    end
  end

  it("lets the key do nothing else", function()
    assert.matches('^restrict,command="[^\n]*" ssh%-rsa %S+ lunalift$', line)
    assert.is_truthy(line:find(codec.sha256(SCRIPT), 1, true))
  end)

  it("answers upstream's probe, and everything that is no request", function()
    each_shell(function(request)
      for _, text in ipairs { "DS=;CMD=status test-task-id", "DS=ds1", "DS=ds1;CMD=", "ls -la", "" } do
        assert.same({ 0, "SSH_OK\n" }, { request(text).code, request(text).out }, text)
      end
    end)
  end)

  it("runs the script from the datastore that is named", function()
    each_shell(function(request)
      local ended <const> = request "DS=ds1;CMD=--version"
      assert.equal(0, ended.code, ended.err)
      assert.matches('"version": "' .. vib.version_of(SCRIPT), ended.out)
    end)
  end)

  it("runs no other text than that of its digest", function()
    local others <const> = { "touch canary\n", SCRIPT .. "touch canary\n", SCRIPT:sub(1, #SCRIPT // 2), "" }
    each_shell(function(request)
      for _, text in ipairs(others) do
        assert(fs.write(volumes .. "/ds1/" .. NAME, text))
        local ended <const> = request "DS=ds1;CMD=--version"
        assert.same({ 127, "", "there is no " .. NAME .. "\n" }, { ended.code, ended.out, ended.err })
      end
      assert.is_nil(fs.stat(folder .. "/here/canary"))
    end)
  end)

  it("prefers the script that is installed, whatever is on the datastore", function()
    files.mkdirs(folder .. "/opt/lunalift")
    assert(fs.write(folder .. vib.WRAPPER, '#!/bin/sh\necho "installed: $SSH_ORIGINAL_COMMAND"\n'))
    assert(fs.chmod(folder .. vib.WRAPPER, tonumber("755", 8)))
    assert(fs.write(volumes .. "/ds1/" .. NAME, "touch canary\n"))
    each_shell(function(request) assert.equal("installed: DS=x;CMD=--version\n", request("DS=x;CMD=--version").out) end)
  end)

  it("is no shell for anybody's words", function()
    files.mkdirs(folder .. "/evil")
    assert(fs.write(folder .. "/evil/" .. NAME, "touch canary\n"))
    each_shell(function(request)
      for _, text in ipairs(HOSTILE) do
        request(text)
        assert.is_nil(fs.stat(folder .. "/here/canary"), text)
      end
    end)
  end)

  it("is read by a real sshd as it is written, and takes names that are hostile", function()
    local sshd <const> = sshds.new(folder .. "/sshd", "127.0.0.1")
    sshd:authorize(line .. "\n")
    sshd:start()
    local host <close> = assert(ssh.open {
      host = sshd.address,
      port = sshd.port,
      user = sshd.user,
      key = secret.new(fs.read(folder .. "/key")),
      fingerprints = { sshd.fingerprint },
    })
    assert.equal("SSH_OK\n", assert(host:exec "DS=;CMD=status test-task-id").out)
    local ended <const> = assert(host:exec "DS=ds1;CMD=--version")
    assert.matches("<output", ended.out, ended.err)
    for _, text in ipairs(HOSTILE) do
      if text ~= "" then assert(host:exec((text:gsub("canary", folder .. "/here/canary")))) end
      assert.is_nil(fs.stat(folder .. "/here/canary"), text)
    end
    sshd:stop()
  end)
end)
