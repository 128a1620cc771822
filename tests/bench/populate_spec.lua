--- What a populate costs, measured in one run, beside upstream: one table. Fails when a promise is broken. See docs/bench.md.
local fs = require "lunalift.fs"
local labs = require "support.lab"
local process = require "lunalift.process"
local task = require "lunalift.task"
local timer = require "lunalift.timer"
local traffic = require "support.traffic"

local BUNDLE <const> = "/etc/ssl/certs/ca-certificates.crt"
local LOOK_S <const>, TICKS <const> = 0.01, 100
local STARTS <const>, RUNS <const> = 30, 3 -- of which the fastest counts: others may be at work here
local CLONE_S <const>, FAR_CLONE_S <const>, SHORT_CLONE_S <const> = 10, 4, 1
local ARRAY_S <const>, ESXCLI_S <const> = 0.3, 0.8

-- ---- upstream, as measured once: its program cannot be had here ----

local UPSTREAM <const> = {
  soap = 57 + 4 * (CLONE_S // 5 + 2), -- 4 a poll, every 5 s, and two more
  round_trips = 4,
  array = 17,
  kube = 6,
  overhead_s = 21,
  idle_s = 18.7,
  far_wall_s = 56.9,
  rss_mib = 71,
  cpu_s = 0.15,
}

-- ---- what was measured ----

local rows <const>, broken <const> = {}, {}

---@class bench.Row
---@field [1] string what
---@field [2] number ours
---@field [3] string unit
---@field promise? string "< 0.5"
---@field peer? number
---@field whose? string upstream's, as measured once, unless told otherwise

---@param given bench.Row
local function row(given)
  local what <const>, ours <const>, unit <const> = table.unpack(given)
  local sign <const>, limit <const> = (given.promise or ""):match "^(%S+) (%S+)$"
  local kept <const> = not sign or ours < tonumber(limit) or sign == "<=" and ours == tonumber(limit)
  if not kept then broken[#broken + 1] = what end
  rows[#rows + 1] = {
    what,
    ("%.3g %s"):format(ours, unit),
    given.promise or "",
    sign and (kept and "kept" or "BROKEN") or "",
    given.peer and ("%.3g"):format(given.peer) or "",
    given.peer and ours > 0 and ("%.1f"):format(given.peer / ours) or "",
    given.peer and (given.whose or "upstream") or "",
  }
end

local HEADS <const> = { "one disk", "Lunalift", "promise", "", "peer", "peer/ours", "which peer" }

local function print_table()
  local widths <const> = {}
  table.insert(rows, 1, HEADS)
  for _, cells in ipairs(rows) do
    for i, cell in ipairs(cells) do
      widths[i] = math.max(widths[i] or 0, utf8.len(cell))
    end
  end
  for _, cells in ipairs(rows) do
    local line <const> = {}
    for i, cell in ipairs(cells) do
      line[i] = cell .. (" "):rep(widths[i] - utf8.len(cell))
    end
    print((table.concat(line, "  "):gsub(" +$", "")))
  end
end

-- ---- looking at a process ----

-- Peak memory and time of the processor: both only grow.
local function look_at(pid, usage)
  local status <const> = fs.read(("/proc/%d/status"):format(pid)) or ""
  local stat <const> = fs.read(("/proc/%d/stat"):format(pid)) or ""
  local user <const>, system <const> = stat:match("%) " .. ("%S+ "):rep(11) .. "(%d+) (%d+)")
  usage.peak_mib = math.max(usage.peak_mib, (tonumber(status:match "VmHWM:%s+(%d+)") or 0) / 1024)
  usage.cpu_s = math.max(usage.cpu_s, ((tonumber(user) or 0) + (tonumber(system) or 0)) / TICKS)
end

--- Wait for its end; what it used, as it was seen last.
local function wait(running)
  local usage <const> = { peak_mib = 0, cpu_s = 0 }
  local watch <const> = task.spawn(function()
    while true do
      look_at(running.pid, usage)
      timer.sleep(LOOK_S)
    end
  end)
  local ended <const> = running:wait()
  watch:cancel()
  return ended, usage
end

-- ---- runs ----

--- The environment of a site whose certificates are in the system's bundle, which takes long to read.
local function trust_bundle(lab)
  local both <const> = lab.dir .. "/bundle.pem"
  assert(fs.write(both, (fs.read(BUNDLE) or "") .. fs.read(lab.site.ca_file)))
  return { SSL_CERT_FILE = both, LUNALIFT_CA_FILE = false }
end

local function slow_down(lab, clone_s)
  lab:host("vmkfstools", { rate = lab:claim("vm-57-disk-1").size_bytes // clone_s, xcopy = 1 })
end

--- One populate; all that there is to know of it.
local function populate(lab, clone_s)
  local claim <const> = lab:claim "vm-57-disk-1"
  slow_down(lab, clone_s)
  local mark <const>, wall_offset_s <const> = lab:mark(), timer.parse(timer.iso()) - timer.now()
  local began_s <const> = timer.now()
  local ended <const>, usage <const> = wait(lab:start_populate { env = lab.trusting_bundle })
  local run <const> = { wall_s = timer.now() - began_s, usage = usage, requests = lab:requests_since(mark) }
  assert(ended.code == 0, ended.err)
  for _, request in ipairs(run.requests) do
    if request.method == "vmkfstools.clone" then run.clone = { request.at, 0 } end
  end
  run.clone[2] = fs.stat(claim.lun_path).mtime - wall_offset_s
  run.clone_s = run.clone[2] - run.clone[1]
  local busy <const> = traffic.owed(run.requests)
  busy[#busy + 1] = run.clone
  run.idle_s = run.wall_s - traffic.union_s(busy)
  return run
end

--- Milliseconds from the start of a program to its first request, as the lab has read it: handshakes and all. The fastest of some.
local function start_ms(lab, start)
  local fastest_s = math.huge
  for _ = 1, STARTS do
    local mark <const>, began_s <const> = lab:mark(), timer.now()
    start():wait()
    fastest_s = math.min(fastest_s, lab:requests_since(mark)[1].at - began_s)
  end
  return fastest_s * 1000
end

--- The library that upstream's program is made of, as a program of its own; nil when it cannot be had.
local function find_govc()
  local ended <const> = process.run { argv = { "tools/peers", "build", "govc", "tests/interop/govc" } }
  return ended.code == 0 and ended.out:match "%S+" or nil
end

local function start_govc(lab, govc, words)
  local vcenter <const> = lab.site.vcenter
  return assert(process.start {
    argv = table.move(words, 1, #words, 2, { govc }),
    env = {
      HOME = lab.dir,
      GOVC_URL = "https://" .. vcenter.host,
      GOVC_USERNAME = vcenter.username,
      GOVC_PASSWORD = vcenter.password,
      GOVC_TLS_CA_CERTS = lab.site.ca_file,
    },
  })
end

local function govc_round_trips(lab, govc)
  local mark <const> = lab:mark()
  start_govc(lab, govc, { "host.esxcli", "-host", "esx-01.lab.example", "storage", "core", "adapter", "list" }):wait()
  local soap <const> = traffic.soap(lab:requests_since(mark))
  return soap.esxcli + soap.executer
end

--- Processes that the wrapper on the host starts to answer one poll of a running clone; nil without strace.
local function wrapper_forks(lab)
  if process.run({ argv = { "sh", "-c", "command -v strace" } }).code ~= 0 then return nil end
  slow_down(lab, 3)
  local running <const> = lab:start_populate()
  local task_id <const> = labs.wait_until(30, "a clone", function()
    local host <const> = lab:state().hosts[1]
    return #host.writers > 0 and host.tasks[1]
  end)
  local root <const> = lab.site.hosts[1].root
  local argv <const> = { "strace", "-f", "-qq", "-e", "trace=fork,vfork,clone,clone3", "-o", "/dev/stdout" }
  local poll <const> = { "busybox", "sh", root .. "/opt/lunalift/vmkfstools-wrapper", "--task-get", "-i", task_id }
  local traced <const> = process.run {
    argv = table.move(poll, 1, #poll, #argv + 1, argv),
    env = { PATH = root .. "/bin:" .. os.getenv "PATH", LUNALIFT_ESXI_ROOT = root, HOME = "/" },
  }
  assert(running:wait().code == 0)
  assert(traced.out:find("running", 1, true), traced.out .. traced.err)
  return select(2, traced.out:gsub("fork%(", "")) + select(2, traced.out:gsub("clone3?%(", ""))
end

local function overhead_s(lab)
  local fastest_s = math.huge
  for _ = 1, RUNS do
    local run <const> = populate(lab, SHORT_CLONE_S)
    fastest_s = math.min(fastest_s, run.wall_s - run.clone_s)
  end
  return fastest_s
end

-- ---- the table ----

local LIVE <const> = "govc, this run"

local function count_calls(lab, run, govc)
  local soap <const> = traffic.soap(run.requests)
  row { ("SOAP calls, clone of %d s"):format(CLONE_S), soap.all, "", promise = "<= 32", peer = UPSTREAM.soap }
  for _, kind in ipairs { "login", "properties", "executer", "esxcli", "other" } do
    row { "  " .. kind, soap[kind], "" }
  end
  local trips <const> = soap.esxcli / #traffic.of(run.requests, "esxi")
  row { "round trips per esxcli command, once warm", trips, "", promise = "<= 1", peer = UPSTREAM.round_trips }
  if govc then row { "  the same, live", trips, "", peer = govc_round_trips(lab, govc), whose = LIVE } end
  row { "array calls", #traffic.of(run.requests, "ontap"), "", peer = UPSTREAM.array }
  row { "Kubernetes calls", #traffic.of(run.requests, "kube"), "", peer = UPSTREAM.kube }
end

local function count_connections(run)
  local all <const> = { requests = 0, reads = 0, effects = 0, handshakes = 0 }
  for _, service in ipairs { "vcenter", "ontap", "kube" } do
    local found <const> = traffic.connections(run.requests, service)
    for key in pairs(all) do
      all[key] = all[key] + found[key]
    end
  end
  row { "HTTP requests to three peers", all.requests, "" }
  row { "  connections for reads", all.reads, "", promise = "<= 3" }
  row { "  connections for effects, one each", all.effects, "" }
  row { "  TLS handshakes not resumed", all.handshakes, "", promise = "<= 3" }
end

local function measure_start(lab, govc)
  local url <const> = "https://" .. lab.site.vcenter.host .. "/sdk/vimServiceVersions.xml"
  local argv <const> = { "curl", "-s", "--cacert", lab.site.ca_file, url }
  local function curl() return assert(process.start { argv = argv }) end
  local function about() return start_govc(lab, govc, { "about" }) end
  local function ours() return lab:start_populate { words = { "--dry-run" } } end
  local ours_ms <const>, curl_ms <const> = start_ms(lab, ours), start_ms(lab, curl)
  row { "start to first byte", ours_ms, "ms", promise = "< 50", peer = curl_ms, whose = "curl, this run" }
  if govc then row { "  the same, live", ours_ms, "ms", peer = start_ms(lab, about), whose = LIVE } end
end

local function measure_far(lab)
  lab:faults {
    { service = "ontap", action = "delay:" .. ARRAY_S, times = 0 },
    { service = "esxi", action = "delay:" .. ESXCLI_S, times = 0 },
  }
  local run <const> = populate(lab, FAR_CLONE_S)
  lab:faults {}
  local what <const> = ("idle at %g s an array call, %g s an esxcli"):format(ARRAY_S, ESXCLI_S)
  row { what, run.idle_s, "s", promise = "< 0.5", peer = UPSTREAM.idle_s }
  row { ("  wall of it, clone of %d s"):format(FAR_CLONE_S), run.wall_s, "s", peer = UPSTREAM.far_wall_s }
end

describe("populate", function()
  it("keeps what is promised in numbers", function()
    local lab <const> = labs.start()
    lab.trusting_bundle = trust_bundle(lab)
    local govc <const> = find_govc()
    local run <const> = populate(lab, CLONE_S)
    count_calls(lab, run, govc)
    count_connections(run)
    measure_far(lab)
    row { "overhead beyond the clone", overhead_s(lab), "s", promise = "< 1", peer = UPSTREAM.overhead_s }
    measure_start(lab, govc)
    row { "peak memory", run.usage.peak_mib, "MiB", promise = "< 20", peer = UPSTREAM.rss_mib }
    row { "time of the processor", run.usage.cpu_s, "s", peer = UPSTREAM.cpu_s }
    local forks <const> = wrapper_forks(lab)
    if forks then row { "processes a poll starts on the host", forks, "" } end
    lab:stop()
    print_table()
    assert(#broken == 0, "broken: " .. table.concat(broken, ", "))
  end)
end)
