--- The wrapper on a host whose vmkfstools asks a real SCSI target to copy: by plain ssh, as an administrator tries it, and by populate.
--- Bytes are compared outside of the guest, in the files that are its LUNs.
local codec <const> = require "lunalift.codec"
local fs <const> = require "lunalift.fs"
local guests <const> = require "support.guest"
local json <const> = require "lunalift.json"
local lab_site <const> = require "support.lab_site"
local process <const> = require "lunalift.process"
local xml <const> = require "lunalift.xml"

local MIB <const> = 1 << 20
local LARGE_MIB <const>, SMALL_MIB <const> = 32, 8
local COMMANDS <const> = LARGE_MIB // 4 -- EXTENDED COPY of 4 MiB each, or more where the file system has split the disk
local PAUSE_MS <const> = 1000 -- after each of them, where a copy is to be seen running
local DATASTORE <const> =
  { moref = "datastore-15", name = "ds 1", uuid = "66aa0f10-5d2c3b1e-8a17-005056a10015", size_mib = 128 }
local SCENARIO <const> = {
  datacenters = {
    {
      moref = "datacenter-3",
      name = "Nürnberg & Fürth",
      hosts = {
        {
          moref = "host-21",
          name = "esx-01.lab.example",
          hbas = {
            {
              device = "vmhba64",
              kind = "iscsi",
              driver = "iscsi_vmk",
              model = "iSCSI",
              iqn = "iqn.1998-01.com.vmware:esx-01:64",
            },
          },
        },
      },
      datastores = { DATASTORE },
      vms = {
        {
          moref = "vm-57",
          name = "Web & Söhne",
          host = "host-21",
          disks = {
            { datastore = "ds 1", file = "web & söhne/web & söhne.vmdk", size_mib = LARGE_MIB },
            { datastore = "ds 1", file = "web & söhne/it's $(id).vmdk", size_mib = SMALL_MIB },
          },
        },
      },
    },
  },
}
local TASK <const> = "6c756e61-6c69-4674-8000-0000000000a1"
local COPY_WITHIN_S <const> = 30
local DISKS <const> = "/vmfs/devices/disks/"

describe("on a host that really copies,", function()
  local lab, guest, datastore, large, small

  local function lun_named(pattern)
    for _, lun in ipairs(lab:state().luns) do
      if lun.path:find(pattern) then return lun end
    end
  end

  setup(function()
    lab = lab_site.start(SCENARIO)
    large, small = lab.site.pvcs[1], lab.site.pvcs[2]
    datastore = lun_named "/ds_datastore_15$"
    guests.format(datastore.path, DATASTORE, lab.dir .. "/site/datastores/" .. DATASTORE.moref)
    guest = guests.start(lab.dir .. "/guest", {
      datastore,
      { naa = large.naa, path = large.lun_path },
      { naa = small.naa, path = small.lun_path },
    })
    assert(lab.control:post("/host/host-21/outside", { json = { door = guest.door_url } }))
  end)

  teardown(function()
    if guest then guest:stop() end
    if lab then lab:stop() end
  end)

  before_each(function()
    lab:spoil(large)
    lab:spoil(small)
  end)

  -- What a test that fails leaves is none of the next one's business.
  after_each(
    function()
      guest:run "killall -q -KILL vmkfstools; rm -rf /etc/vmkfstools-pause /etc/lun/* /tmp/vmkfstools-wrapper-* /vmfs/volumes/*/*/*rdmdisk*"
    end
  )

  local function slow_down() guest:run("echo %d >/etc/vmkfstools-pause", PAUSE_MS) end

  local function without_extended_copy(pvc) guest:run("echo three_pc=0 >/etc/lun/%s", pvc.naa) end

  local function with_identity_of_datastore(pvc) guest:run("echo identity=%s >/etc/lun/%s", datastore.naa, pvc.naa) end

  -- What the host has read and kept counts no second time.
  local function mib_read()
    guest:run "echo 3 >/proc/sys/vm/drop_caches"
    return math.tointeger(tonumber(guest:run("lun read %s", datastore.naa)))
  end

  local function datastore_digest()
    guest:run "sync"
    return process.run({ argv = { "sha256sum", datastore.path } }).out
  end

  local function left_in_guest()
    return guest:run "ls -d /tmp/vmkfstools-wrapper-*[0-9a-f] /vmfs/volumes/*/*/*rdmdisk* 2>/dev/null || :"
  end

  describe("plain ssh:", function()
    local shown

    local function show(pvc)
      shown[#shown + 1] = pvc.naa
      guest:run("lun show %s", pvc.naa)
    end

    before_each(function() shown = {} end)

    after_each(function()
      for _, naa in ipairs(shown) do
        guest:run("lun hide %s", naa)
      end
    end)

    local function on_host(pvc)
      local volume <const>, file <const> = pvc.vmdk:match "^%[(.*)%] (.*)$"
      local path <const> = ("/vmfs/volumes/%s/%s"):format(volume, file)
      return "pct:" .. path:gsub("[^%w/._-]", function(byte) return ("%%%02X"):format(byte:byte()) end)
    end

    -- Status and message of the wrapper's answer.
    local function ask(fmt, ...)
      local ended <const> = guest:ssh("DS=ds 1;CMD=" .. fmt:format(...))
      local found <const> = {}
      for _, field in ipairs(assert(xml.parse(ended.out), ended.out .. ended.err)[1]) do
        found[field.attr.name] = field[1].text
      end
      return found.status, found.message ~= "" and json.decode(found.message) or nil
    end

    local function start(pvc, more)
      return ask("--clone -s %s -t %s%s %s", on_host(pvc), DISKS, pvc.naa, more or "-i " .. TASK)
    end

    local function task_state()
      local _status <const>, state <const> = ask("--task-get -i %s", TASK)
      return state
    end

    local function wait_for_end()
      return lab_site.wait_until(COPY_WITHIN_S, function()
        local state <const> = task_state()
        return state.state ~= "running" and state
      end)
    end

    -- The reads of one copy, and how it ended.
    local function copy(pvc)
      local before <const> = mib_read()
      assert.equal("0", (start(pvc)))
      return wait_for_end(), mib_read() - before
    end

    local function clean()
      assert.equal("0", (ask("--task-clean -i %s", TASK)))
      assert.equal("", left_in_guest())
    end

    it("the key reaches the wrapper and no shell", function()
      assert.equal("SSH_OK\n", guest:ssh("id").out)
      local status <const>, message <const> = ask "--version"
      assert.equal("0", status)
      assert.equal("1.0.0", message.version)
    end)

    it("the wrapper sees both ends", function()
      show(large)
      local _status <const>, facts <const> = ask("--preflight -s %s -t %s%s", on_host(large), DISKS, large.naa)
      assert.same({ true, LARGE_MIB * MIB, true, LARGE_MIB * MIB, "on", true }, {
        facts.sourceExists,
        facts.sourceBytes,
        facts.deviceExists,
        facts.deviceBytes,
        facts.deviceStatus,
        facts.vaaiClone,
      })
    end)

    it("the target fetches the disk: nobody reads it, the bytes are equal, and nothing stays", function()
      show(large)
      local state <const>, read_mib <const> = copy(large)
      assert.same(
        { "done", "0", 100, true, 0 },
        { state.state, state.exitCode, state.percent, state.xcopyUsed, state.failedCloneOps }
      )
      assert.is_true(state.cloneWriteOps >= COMMANDS)
      assert.is_true(read_mib <= 1, read_mib .. " MiB were read")
      assert.is_true(lab:is_copied(large))
      clean()
    end)

    it(
      "a name that is a trap for shells is copied like any other, and digests of both ends are those of the files outside",
      function()
        show(small)
        assert.equal("done", copy(small).state)
        assert.is_true(lab:is_copied(small))
        local offsets <const>, wanted <const> = {}, {}
        for _, offset in ipairs { 0, 5 * MIB, 7 * MIB } do
          offsets[#offsets + 1] = ("%d:%d"):format(offset, MIB)
          wanted[#wanted + 1] = codec.sha256(fs.pread(small.lun_path, offset, MIB))
        end
        local _status <const>, digest <const> =
          ask("--digest -s %s -t %s%s -e %s", on_host(small), DISKS, small.naa, table.concat(offsets, ","))
        assert.same({ source = wanted, target = wanted }, { source = digest.source, target = digest.target })
        clean()
      end
    )

    it("a second start on the device answers with the first, and a kill leaves no writer", function()
      show(large)
      slow_down()
      start(large)
      lab_site.wait_until(COPY_WITHIN_S, function() return (task_state().percent or 0) > 0 end)
      local _status <const>, second <const> = start(large, "-i 6c756e61-6c69-4674-8000-0000000000a2")
      assert.same({ TASK, true }, { second.taskId, second.existing })
      guest:run("lun is-open %s", large.naa)
      assert.matches("rdmdisk-" .. TASK, guest:run "ps -c", 1, true)

      local status <const>, killed <const> = ask("--task-kill -i %s", TASK)
      assert.same({ "0", "killed", false }, { status, killed.state, killed.writerAlive })
      assert.equal("1", guest:run("lun is-open %s; echo $?", large.naa))
      local state <const> = task_state()
      assert.same({ "killed", "143" }, { state.state, state.exitCode })
      assert.is_true(state.percent < 100)
      assert.is_false(lab:is_copied(large))
      clean()
    end)

    it("a target without EXTENDED COPY is read for and written to, and that is told", function()
      without_extended_copy(small)
      show(small)
      local _status <const>, facts <const> = ask("--preflight -s %s -t %s%s", on_host(small), DISKS, small.naa)
      assert.is_false(facts.vaaiClone)
      local state <const>, read_mib <const> = copy(small)
      assert.same({ "done", false, 0 }, { state.state, state.xcopyUsed, state.cloneWriteOps })
      assert.equal(SMALL_MIB, read_mib)
      assert.is_true(lab:is_copied(small))
      clean()
    end)

    it("a target that refuses EXTENDED COPY in the middle gets the rest by writing", function()
      show(large)
      slow_down()
      start(large)
      lab_site.wait_until(COPY_WITHIN_S, function() return (task_state().percent or 0) > 0 end)
      guest:run(
        "echo 0 >/sys/kernel/config/target/core/iblock_0/%s/attrib/emulate_3pc; rm /etc/vmkfstools-pause",
        large.naa
      )
      local state <const> = wait_for_end()
      assert.same({ "done", true, 1 }, { state.state, state.xcopyUsed, state.failedCloneOps })
      assert.is_true(state.cloneWriteOps < COMMANDS)
      assert.is_true(lab:is_copied(large))
      clean()
    end)

    it("a target that has the identity of the datastore's LUN is refused before anything is written", function()
      local before <const> = datastore_digest()
      with_identity_of_datastore(small)
      show(small)
      local status <const>, answer <const> =
        ask("--clone -s %s -t %s%s -i %s", on_host(small), DISKS, datastore.naa, TASK)
      assert.equal("1", status)
      assert.matches("holds the datastore", answer.stdErr)
      assert.equal(before, datastore_digest())
    end)
  end)

  describe("populate:", function()
    local RECEIPT <const> = "receipt.json"

    -- Over SSH, with the key in that file of the guest's folder.
    local function start(pvc, key, ...)
      local path <const> = guest.dir .. "/" .. (key or "key")
      fs.remove(lab.dir .. "/" .. RECEIPT)
      local flags <const> = {
        "--esxi-clone-method=ssh",
        "--ssh-port=" .. guest.ssh_port,
        "--ssh-known-hosts=" .. guest.dir .. "/known_hosts",
        "--receipt=" .. lab.dir .. "/" .. RECEIPT,
        ...,
      }
      return lab:populate(pvc, flags, {
        SSH_PRIVATE_KEY = codec.base64(fs.read(path)),
        SSH_PUBLIC_KEY = codec.base64(fs.read(path .. ".pub")),
      })
    end

    local function receipt() return json.decode(fs.read(lab.dir .. "/" .. RECEIPT)) end

    local function succeed(run)
      local ended <const> = assert(run:wait())
      assert.equal(0, ended.code, ended.out .. ended.err)
    end

    after_each(function()
      assert.equal("", lab:leftovers(large))
      assert.equal("", lab:leftovers(small))
      assert.equal("", left_in_guest())
    end)

    it("over ssh the array copies a disk, its digests agree, and vCenter starts nothing", function()
      succeed(start(small))
      assert.is_true(receipt().copy.offloaded)
      assert.is_true(receipt().copy.clone_write_ops >= SMALL_MIB // 4)
      assert.is_true(receipt().verification.equal)
      assert.is_true(lab:is_copied(small))
      assert.equal(0, lab:count_requests("esxi", "vmkfstools"))
    end)

    it("over vCenter the array copies a disk, and nobody reads it", function()
      local before <const> = mib_read()
      succeed(lab:populate(small, { "--verify=none", "--receipt=" .. lab.dir .. "/" .. RECEIPT }))
      assert.is_true(receipt().copy.offloaded)
      assert.is_true(mib_read() - before <= 1)
      assert.is_true(lab:is_copied(small))
    end)

    it("the line that populate asks for lets its key run the script on a datastore", function()
      process.run { argv = { "ssh-keygen", "-q", "-t", "rsa", "-m", "PEM", "-N", "", "-f", guest.dir .. "/other" } }
      local refused <const> = start(small, "other"):wait()
      local line <const> = refused.err:match "(restrict,command=.- lunalift)\n"
      guest:run("cat >>/etc/ssh/keys-root/authorized_keys <<'END'\n%s\nEND", line)
      local script <const> = "/vmfs/volumes/ds 1/" .. line:match "lunalift%-wrapper%-%x+"
      guest:run("cp /opt/lunalift/vmkfstools-wrapper '%s' && mv /opt/lunalift /opt/away", script)
      succeed(start(small, "other", "--verify=none"))
      guest:run("mv /opt/away /opt/lunalift; rm '%s'", script)
      assert.is_true(lab:is_copied(small))
    end)

    it("a volume without EXTENDED COPY is filled by the host, and that is told", function()
      without_extended_copy(small)
      succeed(start(small))
      local copy <const> = receipt().copy
      assert.same({ false, "the device does not support VAAI clone" }, { copy.offloaded, copy.offload_remark })
      assert.is_true(receipt().verification.equal)
      assert.is_true(lab:is_copied(small))
    end)

    it("a cancel in the middle leaves neither a writer nor a LUN", function()
      slow_down()
      local run <const> = start(large)
      lab_site.wait_until(COPY_WITHIN_S, function() return guest:run("lun is-open %s; echo $?", large.naa) == "0" end)
      run:kill "TERM"
      local ended <const> = run:wait()
      assert.equal(4, ended.code, ended.out .. ended.err)
      assert.is_false(lab:is_copied(large))
      assert.is_nil(guest:run("ps -c"):find("rdmdisk", 1, true))
      assert.equal("", guest:run("ls /vmfs/devices/disks | grep %s || :", large.naa))
    end)

    it("a volume with the identity of the datastore's LUN is found out before anything is written", function()
      local before <const> = datastore_digest()
      with_identity_of_datastore(small)
      local ended <const> = start(small):wait()
      assert.equal(1, ended.code)
      assert.matches("the host cannot open /vmfs/devices/disks/" .. small.naa, ended.err, 1, true)
      assert.matches("same identity", ended.err, 1, true)
      assert.equal(before, datastore_digest())
    end)
  end)
end)
