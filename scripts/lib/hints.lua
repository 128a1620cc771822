--- The failures that users are known to meet: what is said, why it happens, what to do. One row each: raised by its name, or known by its
--- words where a peer chose them. docs/troubleshooting.md is made of this table; what one array says is on its page below docs/vendors.
local fail <const> = require "lib.fail"

local M <const> = {}

---@class lib.Hint
---@field name string for `raise`
---@field about string heading in the page
---@field message string with {names}; for a row with `pattern`, what it looks like
---@field kind? string of the failure that is raised
---@field pattern? string the row is for failures of others whose message this finds
---@field why string for the page
---@field fix string the hint, with {names}

local OR_ANOTHER <const> = "or name another host that sees the datastore with --migration-host"

---@type lib.Hint[]
M.ROWS = {
  -- ---- trust and logins ----
  {
    name = "certificate not trusted",
    about = "Logins and certificates",
    pattern = "certificate not trusted",
    message = "{peer}: certificate not trusted: {reason} of {subject} (SHA-256 {fingerprint})",
    why = "Nobody that is trusted here vouches for the peer, as with a certificate that it signed itself.",
    fix = "give its CA's certificate with --ca-file, SSL_CERT_FILE or ca.crt of the Secret, or, once compared with what the peer "
      .. "itself shows, its SHA-256 with --vsphere-thumbprint or --storage-thumbprint",
  },
  {
    name = "certificate of another name",
    about = "Logins and certificates",
    pattern = "certificate does not name this host",
    message = "{peer}: the certificate does not name this host: {subject}",
    why = "The peer is addressed by a name or an address that its certificate does not carry.",
    fix = "connect by a name that the certificate carries, or give its SHA-256 with --vsphere-thumbprint or --storage-thumbprint",
  },
  {
    name = "login refused",
    about = "Logins and certificates",
    pattern = "does not let .* in$",
    message = "{vcenter} does not let {user} in",
    why = "vCenter refuses the user name or the password. It is tried once only, so that no account is locked.",
    fix = "check GOVMOMI_USERNAME and GOVMOMI_PASSWORD; the user name needs its domain, as in name@vsphere.local",
  },
  {
    name = "privileges missing",
    about = "Logins and certificates",
    kind = "denied",
    message = "{user} lacks the privilege {privileges} on {object}",
    why = "The role that was given to the user for that object does not contain it.",
    fix = "add it to the user's role in vCenter, on the datacenter and below",
  },
  {
    name = "certificate not verified",
    about = "Logins and certificates",
    message = "not verified: whatever certificate {peer} shows is trusted",
    why = "GOVMOMI_INSECURE or STORAGE_SKIP_SSL_VERIFICATION is set: who can pretend to be the peer learns the password.",
    fix = "leave {variable} away, and give the CA with --ca-file, or the certificate's SHA-256 with {flag}",
  },
  {
    name = "ssh not in this build",
    about = "Logins and certificates",
    kind = "unsupported",
    message = "the clone method ssh is not in this build",
    why = "Hosts are asked through vCenter, with a VIB installed on them.",
    fix = "set ESXI_CLONE_METHOD=vib, and install the VIB vmkfstools-wrapper on the hosts",
  },

  -- ---- the cluster ----
  {
    name = "cluster not trusted",
    about = "Claim and volume",
    message = "{cluster}: certificate not trusted",
    why = "The kubeconfig names no certificate authority that vouches for the API server, or the address of another cluster.",
    fix = "check the cluster's address and its certificate authority in the kubeconfig",
  },
  {
    name = "claim missing",
    about = "Claim and volume",
    kind = "not_found",
    message = "there is no claim {claim} in namespace {namespace}",
    why = "The claim was deleted, or one of the two names is not right.",
    fix = "check --owner-name and --target-namespace",
  },
  {
    name = "claim not bound",
    about = "Claim and volume",
    kind = "config",
    message = "claim {namespace}/{claim} is not bound to a volume",
    why = "No volume was made for it yet: the storage class waits for a pod, or its driver cannot make one.",
    fix = "see why with: kubectl -n {namespace} describe pvc {claim}",
  },
  {
    name = "claim made anew",
    about = "Claim and volume",
    kind = "conflict",
    message = "claim {claim} has the uid {uid}, not {wanted}",
    why = "A claim of that name was deleted and made again; its volume is another one.",
    fix = "it was made anew: start for that one, or leave out --owner-uid",
  },
  {
    name = "volume without csi",
    about = "Claim and volume",
    kind = "config",
    message = "volume {volume} of claim {claim} was not made by a CSI driver",
    why = "The array's volume is found by what its CSI driver wrote down; there is nothing of that here.",
    fix = "only volumes of the storage array's CSI driver can be filled inside the array",
  },
  {
    name = "volume of another driver",
    about = "Claim and volume",
    kind = "config",
    message = "volume {volume} was made by CSI driver {driver}, which is not one of {vendor}",
    why = "The claim's storage class is of another array than the one that was named.",
    fix = "use a storage class of {drivers}, or another --storage-vendor-product",
  },
  {
    name = "claim of files",
    about = "Claim and volume",
    kind = "config",
    message = "claim {namespace}/{claim} is of volume mode {mode}, not Block",
    why = "A disk's bytes fill the whole volume; a file system on it would be overwritten, and could not be mounted.",
    fix = "make the claim with volumeMode: Block",
  },
  {
    name = "volume too small",
    about = "Claim and volume",
    kind = "no_space",
    message = "LUN {lun} is smaller ({has} bytes) than the disk ({needs} bytes)",
    why = "The claim asks for less than the disk's capacity in vCenter.",
    fix = "make the claim at least {needs} bytes large",
  },
  {
    name = "volume holds datastore",
    about = "Claim and volume",
    kind = "conflict",
    message = "{naa} is the device that holds datastore {datastore} of VM {vm}",
    why = "The claim's volume and the datastore are one device: the copy would overwrite its own source.",
    fix = "the copy would destroy that datastore: give the claim another volume",
  },
  {
    name = "volume mapped already",
    about = "Claim and volume",
    message = "{lun} is mapped to {host}, as by an earlier run",
    why = "A run that died left its mapping.",
    fix = "start again, which finishes it, or: lunalift reap --scan",
  },
  {
    name = "permission missing",
    about = "Claim and volume",
    kind = "denied",
    message = "not allowed: {verbs} {resource} {where}",
    why = "The account that Kubernetes is asked with has no role that allows it.",
    fix = "kubectl create {scope}role lunalift --verb={verbs} --resource={resource}{namespace}, and bind it to the account",
  },
  {
    name = "journal held",
    about = "Claim and volume",
    kind = "busy",
    message = "another run, {holder}, works on this volume",
    why = "It holds the journal of the claim, and renews it.",
    fix = "wait for it to end, or stop it",
  },
  {
    name = "journal left",
    about = "Claim and volume",
    message = "a run that ended left {journal}",
    why = "It could not put back everything that it had changed, or died.",
    fix = "start again, which finishes or undoes it; lunalift reap shows what it is",
  },

  -- ---- VM and disk ----
  {
    name = "vm missing",
    about = "Virtual machine and disk",
    kind = "not_found",
    message = "no virtual machine {vm} in {vcenter}",
    why = "The id is not known to this vCenter, or the account may not see the VM.",
    fix = "check --source-vm-id; it is the VM's id, such as vm-123, or its name",
  },
  {
    name = "disk missing",
    about = "Virtual machine and disk",
    kind = "not_found",
    message = "virtual machine {vm} has no disk {path}",
    why = "No disk of the VM, and no file of a disk's snapshot chain, is exactly that file.",
    fix = "its disks are {disks}",
  },
  {
    name = "vm without host",
    about = "Virtual machine and disk",
    kind = "unsupported",
    message = "virtual machine {vm} is on no host now",
    why = "vCenter shows the VM as disconnected or orphaned.",
    fix = "connect it again in vCenter, or name a host that sees its disks with --migration-host",
  },
  {
    name = "vm on, array copies",
    about = "Virtual machine and disk",
    kind = "busy",
    message = "VM {vm} is {power} and writes to {path}",
    why = "An array would copy a disk in use without a word, and the copy would be of no one moment.",
    fix = "power it off, or make a snapshot and copy the disk below that",
  },
  {
    name = "vm on",
    about = "Virtual machine and disk",
    message = "VM {vm} is {power}: a disk it has open cannot be copied, only one below a snapshot",
    why = "The host locks a disk that a VM writes to.",
    fix = "power it off, or make a snapshot and copy the disk below that",
  },
  {
    name = "below a snapshot",
    about = "Virtual machine and disk",
    message = "{path} is below a snapshot: what the VM wrote since is in {top}",
    why = "With a snapshot the VM writes to another file; the copy is of the moment of the snapshot.",
    fix = "for all of its bytes, delete the snapshots, or copy {top}",
  },
  {
    name = "disk of a snapshot",
    about = "Virtual machine and disk",
    message = "{path} holds what was written since a snapshot",
    why = "vmkfstools reads the whole chain below it; the host cannot read it as one file, so the copy is not compared.",
    fix = "delete the VM's snapshots first, to have the copy compared",
  },
  {
    name = "disk in use elsewhere",
    about = "Virtual machine and disk",
    kind = "busy",
    message = "{path} is a disk of VM {other}, too, which is {power}",
    why = "The host where that VM runs holds a lock on the disk.",
    fix = "power {other} off, or take the disk away from it",
  },
  {
    name = "disk being copied",
    about = "Virtual machine and disk",
    kind = "busy",
    message = "clone {task} on {host} reads {path} now",
    why = "Two clones of one disk are one too many; a run that died may have left its clone.",
    fix = "wait for it to end; if nobody follows it: lunalift reap",
  },
  {
    name = "disk not on host",
    about = "Virtual machine and disk",
    kind = "not_found",
    message = "the host does not see {path}",
    why = "The datastore is not mounted there, or the file has moved.",
    fix = "mount its datastore there, or name a host that has it with --migration-host",
  },
  {
    name = "disk changed",
    about = "Virtual machine and disk",
    kind = "conflict",
    message = "{path} has {has} bytes, of {told} that vCenter tells",
    why = "The disk was made larger, and vCenter does not know it yet.",
    fix = "wait until nobody changes the disk, then start again",
  },
  {
    name = "datastore not accessible",
    about = "Virtual machine and disk",
    kind = "unreachable",
    message = "no host reaches datastore {datastore}",
    why = "vCenter shows it as inaccessible: all paths are down, or it was unmounted.",
    fix = "see to its paths, or mount it, then start again",
  },
  {
    name = "not offloaded",
    about = "Virtual machine and disk",
    kind = "unsupported",
    message = "not offloaded: {reason}",
    why = "The array moves data between volumes of its own only. Without --require-offload the host copies.",
    fix = "see to that, or leave --require-offload away: then the host copies",
  },

  -- ---- hosts ----
  {
    name = "host missing",
    about = "ESXi hosts",
    kind = "not_found",
    message = "no host {host} in {vcenter}",
    why = "The id is not known to this vCenter.",
    fix = "check --migration-host, and whether the host has left this vCenter",
  },
  {
    name = "host away",
    about = "ESXi hosts",
    kind = "unreachable",
    message = "host {host} is {state}",
    why = "vCenter cannot ask the host for anything.",
    fix = "reconnect it in vCenter, " .. OR_ANOTHER,
  },
  {
    name = "host in maintenance mode",
    about = "ESXi hosts",
    kind = "busy",
    message = "host {host} is in maintenance mode",
    why = "It may be restarted at any moment.",
    fix = "wait until it has left it, " .. OR_ANOTHER,
  },
  {
    name = "host without datastore",
    about = "ESXi hosts",
    kind = "not_found",
    message = "host {host} does not mount datastore {datastore}",
    why = "The host that runs the clone must see the disk, and it is not the one where the VM runs.",
    fix = "mount the datastore there, " .. OR_ANOTHER,
  },
  {
    name = "vib missing",
    about = "ESXi hosts",
    kind = "unsupported",
    message = "the VIB vmkfstools-wrapper is not installed on {host}",
    why = "The host has no esxcli namespace vmkfstools: the VIB was never installed there, or hostd has not read it.",
    fix = "install it on {host}; if it is installed already, restart hostd there: /etc/init.d/hostd restart",
  },
  {
    name = "wrapper of upstream",
    about = "ESXi hosts",
    message = "wrapper {version} on {host} is not ours: it cannot stop a clone, list clones or compare bytes",
    why = "It is forklift's VIB. Copies work; a cancelled one stays mapped until its writer has ended, and none is compared.",
    fix = "install our VIB on {host}",
  },
  {
    name = "xcopy off",
    about = "ESXi hosts",
    message = "DataMover.HardwareAcceleratedMove is off on {host}",
    why = "The host sends no XCOPY then, and copies every byte itself.",
    fix = "esxcli system settings advanced set -o /DataMover/HardwareAcceleratedMove -i 1",
  },
  {
    name = "no vaai clone",
    about = "ESXi hosts",
    message = "{device} does not support VAAI clone on {host}",
    why = "No VAAI claim rule fits the device, or the array does not offer XCOPY for it.",
    fix = "esxcli storage core claimrule list --claimrule-class=VAAI shows the rules; the array's guide says which one it needs",
  },
  {
    name = "not logged in",
    about = "ESXi hosts",
    kind = "config",
    message = "no adapter of host {host} is logged in to the array",
    why = "No iSCSI session or FC login leads from the host to a target port of the array: zoning, or a missing target address.",
    fix = "connect the host to one of the array's ports: {ports}",
  },
  {
    name = "array without ports",
    about = "ESXi hosts",
    kind = "config",
    message = "no adapter of host {host} is logged in to the array",
    why = "The array has no target port that is up, so no host can reach it.",
    fix = "bring up a port of the array: it tells of none that is up",
  },
  {
    name = "no adapter",
    about = "ESXi hosts",
    kind = "config",
    message = "host {host} has no adapter for {fabrics}",
    why = "The host cannot reach the array's volumes by any fabric that the array speaks.",
    fix = "name a host that reaches the array with --migration-host",
  },
  {
    name = "paths dead",
    about = "ESXi hosts",
    message = "{dead} of {all} paths to {devices} are dead",
    why = "A cable, a port or an array's controller is down; the copy takes the others.",
    fix = "see to them: esxcli storage core path list",
  },
  {
    name = "no path",
    about = "ESXi hosts",
    kind = "unreachable",
    message = "host {host} has no active path to {devices}",
    why = "All paths are down, or the device was detached there.",
    fix = "see to the paths: esxcli storage core path list; " .. OR_ANOTHER,
  },
  {
    name = "lun numbers low",
    about = "ESXi hosts",
    message = "Disk.MaxLUN is {max} on {host}, below the default",
    why = "LUN numbers from there on are invisible to the host, and arrays hand them out upwards.",
    fix = "esxcli system settings advanced set -o /Disk/MaxLUN -i 1024",
  },
  {
    name = "lun number too high",
    about = "ESXi hosts",
    kind = "config",
    message = "LUN number {number} is at or above Disk.MaxLUN ({max}) of this host",
    why = "The host looks at LUN numbers below that value only.",
    fix = "esxcli system settings advanced set -o /Disk/MaxLUN -i {enough}",
  },
  {
    name = "device not visible",
    about = "ESXi hosts",
    kind = "not_found",
    message = "{naa} did not appear on {host} within {within}",
    why = "The array shows the LUN, but no path brings it to the host; or its number is too high (see Disk.MaxLUN).",
    fix = "check the paths from {host} to the array, and that its adapters are logged in",
  },
  {
    name = "datastore full",
    about = "ESXi hosts",
    kind = "no_space",
    message = "datastore {datastore} has {free} free, {needs} are needed",
    why = "vmkfstools writes a small descriptor beside the source for as long as it copies.",
    fix = "make room on {datastore}; if there is some, refresh it in vCenter",
  },
  {
    name = "tmp full",
    about = "ESXi hosts",
    kind = "no_space",
    message = "/tmp of host {host} has {free} free, {needs} are needed",
    why = "The wrapper keeps the state of its clones there; leaked files of other programs fill it.",
    fix = "remove what is not needed from /tmp of {host}",
  },
  {
    name = "slots taken",
    about = "ESXi hosts",
    message = "all {count} slots for clones on {host} are taken, by {holders}",
    why = "More clones at a time than a host bears fail with locked devices.",
    fix = "nothing to do: populate waits for one; or name another host with --migration-host",
  },

  -- ---- the copy ----
  {
    name = "disk locked",
    about = "The copy",
    pattern = "[Ff]ailed to lock the file",
    message = "Failed to lock the file",
    why = "Another host, or a VM that is on, has the disk open.",
    fix = "power the VM off, or make a snapshot and copy the disk below that; vmkfstools -D FILE on the host tells who holds the lock",
  },
  {
    name = "no space on host",
    about = "The copy",
    pattern = "[Nn]o space left on device",
    message = "No space left on device",
    why = "The datastore, or /tmp of the host, is full.",
    fix = "make room on the source's datastore and in /tmp of the host",
  },
  {
    name = "device busy",
    about = "The copy",
    pattern = "[Dd]evice or resource busy",
    message = "Device or resource busy",
    why = "Too many clones run on the host at once, or something else has the device open.",
    fix = "start again with fewer copies on that host at a time",
  },
  {
    name = "clone failed",
    about = "The copy",
    kind = "failed",
    message = "the clone ended with exit code {code}",
    why = "vmkfstools gave up; what it said is the cause.",
    fix = "vmkfstools on {host} says why; a disk in use by a running VM is a common reason",
  },
  {
    name = "copy stands still",
    about = "The copy",
    kind = "timeout",
    message = "{what} stands still at {percent} % for {span}",
    why = "Neither its percents nor its XCOPY counters have moved for --stall-timeout seconds. It was stopped, its writer first.",
    fix = "see what keeps host and array busy, then start again; --stall-timeout gives it more time",
  },
  {
    name = "array's copy failed",
    about = "The copy",
    kind = "failed",
    message = "the copy inside {array} failed: {reason}",
    why = "The array gave its own copy of an RDM or vVol up.",
    fix = "look at the array's events; with DISABLE_RDM_METHOD or DISABLE_VVOL_METHOD the host copies",
  },
  {
    name = "device has a writer",
    about = "The copy",
    kind = "busy",
    message = "another clone, {task}, writes to {naa}",
    why = "Another run copies onto the same volume, or one that died left its clone.",
    fix = "wait for it to end; if nobody follows it: lunalift reap",
  },
  {
    name = "writer may live",
    about = "The copy",
    kind = "incomplete",
    message = "a writer may live on {host}: {what}",
    why = "Upstream's wrapper can neither stop nor list what it started. The volume stays mapped while that may write.",
    fix = "upstream's wrapper cannot stop a clone: wait for it to end there, then start again; or install our VIB",
  },
  {
    name = "copy differs",
    about = "The copy",
    kind = "failed",
    message = "the copy on {naa} differs from the disk within {length} from byte {offset}",
    why = "Both ends were read on the host after the copy, and are not equal.",
    fix = "do not use the volume; copy again, and have host and array looked at if it differs again",
  },
  {
    name = "no evidence",
    about = "The copy",
    kind = "failed",
    message = "incomplete evidence: the clone ended without a failure at {percent} %",
    why = "vmkfstools has been seen to end with success and without a copy.",
    fix = "nothing shows that the bytes are there; copy again, with --verify sampled and our wrapper",
  },
}

local BY_NAME <const> = {}
for _, row in ipairs(M.ROWS) do
  BY_NAME[row.name] = row
end

local function filled(text, values, name)
  return (
    text:gsub("{(%w+)}", function(key)
      local value <const> = values[key]
      if value == nil then fail.raise("bug", "the hint '%s' needs a value for %s", name, key) end
      return tostring(value)
    end)
  )
end

local function row_of(name) return BY_NAME[name] or fail.raise("bug", "there is no hint '%s'", name) end

--- What a row says, and what to do about it: for warnings.
---@param name string
---@param values? table<string, any> for the {names} of message and fix
---@return string message
---@return string fix
function M.say(name, values)
  local row <const> = row_of(name)
  return filled(row.message, values or {}, name), filled(row.fix, values or {}, name)
end

---@param name string
---@param values? table<string, any>
---@return Fail
function M.new(name, values)
  local message <const>, fix <const> = M.say(name, values)
  return fail.hint(fail.new(row_of(name).kind, "%s", message), "%s", fix)
end

--- Never returns.
---@param name string
---@param values? table<string, any>
function M.raise(name, values) error(M.new(name, values)) end

--- A failure in words of others, down to its causes, gets the hint of the row that knows them, unless it has one.
---@param why Fail
---@return Fail why the same
function M.explain(why)
  local part = why
  while part and not why.hint do
    for _, row in ipairs(M.ROWS) do
      if row.pattern and part.message:find(row.pattern) then why.hint = row.fix end
    end
    part = part.cause
  end
  return why
end

return M
