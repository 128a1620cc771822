--- A run that is scraped as forklift's controller does it: TLS without a question who it is, and its patterns.
local fs <const> = require "lunalift.fs"
local http <const> = require "lunalift.http"
local labs <const> = require "support.lab"
local process <const> = require "lunalift.process"
local server <const> = require "lunalift.server"
local timer <const> = require "lunalift.timer"

local SLOW <const> = { rate = 8388608, xcopy = 1 }
local FAST <const> = { rate = 0, xcopy = 1 }
local PREFIX <const> = "vsphere_xcopy_volume_populator_"

describe("metrics of a run", function()
  local lab, claim

  setup(function()
    lab = labs.start()
    claim = lab:claim "vm-57-disk-1"
  end)

  teardown(function() lab:stop() end)
  after_each(function() lab:host("vmkfstools", FAST) end)

  -- Started as in a pod, but at a port of its own; with the client that scrapes it.
  local function start(flags, env)
    flags = flags or {}
    flags["http-endpoint"] = flags["http-endpoint"] or "127.0.0.1:0"
    env = env or {}
    env.LUNALIFT_LOG = "info"
    local run <const> = lab:start_populate { flags = flags, env = env }
    local port <const> = labs.wait_until(10, "the listener", function()
      local _, err <const> = run:output()
      return err:match "metrics are served.-port=(%d+)"
    end)
    return run, http.client { base = "https://127.0.0.1:" .. port, tls = { insecure = true } }
  end

  local function scrape(client) return assert(client:get "/metrics").body end

  -- The first group of a Perl pattern, as Go's package would find it; nil where it matches nowhere.
  local function group(text, pattern)
    local path <const> = lab.dir .. "/scrape"
    assert(fs.write(path, text))
    local program <const> = "undef $/; my $t = <STDIN>; print $1 if $t =~ /$ARGV[0]/"
    local found <const> = process.run { argv = { "sh", "-c", 'perl -e "$1" "$2" <"$3"', "sh", program, pattern, path } }
    assert(found.code == 0, found.err)
    return found.out ~= "" and found.out or nil
  end

  -- What forklift's controller makes of it: any labels with our uid among them, then one blank and the number.
  local function line(name, number)
    return ('%s%s\\{[^}]*owner_uid="%s"[^}]*\\} (%s)'):format(PREFIX, name, claim.uid, number)
  end
  local function progress(text) return group(text, line("progress", [[\d+\.?\d*]])) end
  local function label(text, name)
    return group(text, ('%scopy_duration_seconds\\{[^}]*%s="([^"]*)"'):format(PREFIX, name))
  end
  local function bytes(text, type)
    return group(
      text,
      ('%ssource_disk_bytes\\{[^}]*owner_uid="%s"[^}]*type="%s"[^}]*\\} ([0-9.e+]+)'):format(PREFIX, claim.uid, type)
    )
  end

  it("follow the copy up to 100, and its end is read before the process goes", function()
    lab:host("vmkfstools", SLOW)
    local run <const>, client <const> = start()
    local seen <const> = {}
    local last
    while not last or not group(last, line("copy_duration_seconds", "[0-9.]+")) do
      last = scrape(client)
      seen[#seen + 1] = tonumber((progress(last)))
      timer.sleep(0.02)
    end
    local ended <const> = run:wait()
    assert.equal(0, ended.code, ended.err)
    lab:assert_no_secret(last)

    for i = 2, #seen do
      assert.is_true(seen[i] >= seen[i - 1] and seen[i] <= 100)
    end
    assert.equal(0, seen[1])
    assert.is_true(#seen > 3 and seen[#seen // 2] <= 100)
    assert.equal("100", progress(last))
    assert.equal("1", group(last, line("xcopy_used", [[\d+]])))
    assert.equal("1", group(last, line("vib_version", [[\d+]])))
    assert.matches("%d", group(last, PREFIX .. [[vib_version\{[^}]*version="([^"]*)"]]))
    local said <const> = {}
    for _, name in ipairs { "result", "storage_vendor", "clone_method", "storage_protocol", "xcopy_used" } do
      said[name] = label(last, name)
    end
    assert.same({
      result = "success",
      storage_vendor = "ontap",
      clone_method = "vib",
      storage_protocol = "iscsi",
      xcopy_used = "1",
    }, said)
    assert.equal("8388608", bytes(last, "provisioned"))
    assert.is_true(tonumber((bytes(last, "datastore_allocated"))) > 0)
    assert.equal("NetApp", group(last, PREFIX .. [[storage_array_info\{[^}]*storage_array_vendor="([^"]*)"]]))
    assert.matches('\nlunalift_offload{offloaded="yes"} 1\n', last)
    assert.matches("\nlunalift_exit_code 0\n", last)
    assert.not_matches("%de[+-]?%d+\n", last)
  end)

  it("wait no longer than told when nobody asks", function()
    local run <const> = start { ["metrics-linger"] = "1" }
    local done_s
    labs.wait_until(20, "done", function()
      local out <const> = run:output()
      done_s = timer.now()
      return out:find "Z done in "
    end)
    assert.equal(0, run:wait().code)
    local lingered_s <const> = timer.now() - done_s
    assert.is_true(lingered_s > 0.8 and lingered_s < 3, tostring(lingered_s))
  end)

  it("count no scrape that was answered before the end", function()
    lab:host("vmkfstools", SLOW)
    local run <const>, client <const> = start()
    assert.is_nil(group(scrape(client), line("copy_duration_seconds", "[0-9.]+")))
    labs.wait_until(20, "done", function() return run:output():find "Z done in " end)
    timer.sleep(0.5)
    assert.equal(0, process.run({ argv = { "kill", "-0", tostring(run.pid) } }).code)
    assert.equal("success", label(scrape(client), "result"))
    assert.equal(0, run:wait().code)
  end)

  it("tell of a failure with what was known by then", function()
    lab:host("vmkfstools", { rate = 0, xcopy = 1, fail_at = 40, fail_code = 1, fail_text = "no" })
    local run <const>, client <const> = start()
    labs.wait_until(20, "the end", function() return select(2, run:output()):find "\nerror: " end)
    local last <const> = scrape(client)
    assert.equal(1, run:wait().code)
    assert.equal("failure", label(last, "result"))
    assert.equal("iscsi", label(last, "storage_protocol"))
    assert.is_nil(bytes(last, "provisioned"))
    assert.matches("\nlunalift_exit_code 1\n", last)
  end)

  it("do not hold up who is told to go", function()
    local run <const> = start()
    labs.wait_until(20, "done", function() return run:output():find "Z done in " end)
    local asked_s <const> = timer.now()
    run:kill "TERM"
    assert.equal(0, run:wait().code)
    assert.is_true(timer.now() - asked_s < 2)
  end)

  it("are given up for a port that is taken, and the copy goes on", function()
    local taken <const> = assert(server.listen { on_request = function() end })
    local ended <const> = lab:populate { flags = { ["http-endpoint"] = "127.0.0.1:" .. taken.port } }
    taken:close()
    assert.equal(0, ended.code, ended.err)
    assert.matches(
      "Z warning: metrics are not served: cannot listen on 127.0.0.1 port %d+: Address already in use",
      ended.out
    )
  end)

  it("are there at their path alone, to be read and nothing else", function()
    lab:host("vmkfstools", SLOW)
    local run <const>, client <const> = start { ["metrics-path"] = "/m" }
    local function status(method, path) return select(2, client:request(method, path)).status end
    assert.equal(404, status("GET", "/metrics"))
    assert.equal(405, status("POST", "/m"))
    assert.matches("version=0.0.4", assert(client:get "/m").headers["content-type"], 1, true)
    run:kill "TERM"
    assert.equal(4, run:wait().code)
  end)

  it("refuse an address that is none", function()
    local ended <const> = lab:populate { flags = { ["http-endpoint"] = "8443" } }
    assert.equal(2, ended.code)
    assert.matches("'8443' is no address to listen at", ended.err, 1, true)
  end)
end)
