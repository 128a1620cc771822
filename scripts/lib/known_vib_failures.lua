--- Those of lib.known_failures that bringing the VIB to hosts can end in.

local ABOUT <const> = "Bringing the VIB to hosts"

---@type lib.Hint[]
return {
  {
    name = "clones run",
    about = ABOUT,
    kind = "busy",
    message = "clones run on {host}: {count}",
    why = "ESXi does not replace a script that is running, and restarting hostd would cut their callers off.",
    fix = "wait until they have ended, then start again; what they are: esxcli vmkfstools taskList; ps -c",
  },
  {
    name = "clones unknown",
    about = ABOUT,
    kind = "failed",
    message = "{host} does not tell whether clones run on it",
    why = "The wrapper there lists no clones, and ps -c fails. ESXi does not replace a script that is running.",
    fix = "look at ps -c on {host}, then start again",
  },
  {
    name = "vib without room",
    about = ABOUT,
    kind = "no_space",
    message = "/tmp of {host} has no room for the VIB",
    why = "It is a small ramdisk, and something else has filled it.",
    fix = "make room there; what there is: vdf -h; ls -la /tmp",
  },
  {
    name = "vib refused",
    about = ABOUT,
    kind = "denied",
    message = "{host} refuses the VIB: {reason}",
    why = "It is of the acceptance level CommunitySupported and bears no signature. Under Secure Boot no host takes such a one.",
    fix = "without Secure Boot: esxcli software acceptance set --level=CommunitySupported on {host}; with it, let the host be reached over "
      .. "SSH: vmkfstools-wrapper/README.md",
  },
  {
    name = "vib not installed",
    about = ABOUT,
    kind = "failed",
    message = "esxcli on {host} has not installed the VIB: {reason}",
    why = "ESXi itself says so. It leaves a host as it was; but upstream's VIB has to be removed first.",
    fix = "see /var/log/esxupdate.log on {host}",
  },
  {
    name = "vib not effective",
    about = ABOUT,
    kind = "failed",
    message = "the VIB is installed on {host}, but esxcli vmkfstools version says {said}",
    why = "hostd has not read the extension, or a reboot is due.",
    fix = "restart hostd there: /etc/init.d/hostd restart; then look: lunalift vib status",
  },
  {
    name = "esxcli silent",
    about = ABOUT,
    kind = "failed",
    message = "esxcli on {host} does not list the VIBs: {said}",
    why = "esxcli asks hostd, which does not run, or is starting.",
    fix = "look at it there: /etc/init.d/hostd status; and restart it: /etc/init.d/hostd restart",
  },
  {
    name = "ssh key tied",
    about = ABOUT,
    kind = "config",
    message = "the key given lets nobody in on {host}: it may ask the wrapper, and nothing else",
    why = "It is the key for copies over SSH: its line among the authorized keys has a command. An install takes a shell.",
    fix = "give --ssh-key-file another key, whose line in /etc/ssh/keys-{user}/authorized_keys has no command",
  },
  {
    name = "hostd away",
    about = ABOUT,
    kind = "timeout",
    message = "hostd of {host} has not come back within {within}",
    why = "It was restarted so that it reads the extension. VMs run on meanwhile; vCenter shows the host as not responding.",
    fix = "look at it there: /etc/init.d/hostd status; tail /var/log/hostd.log; then: lunalift vib status",
  },
  {
    name = "host not reconnected",
    about = ABOUT,
    kind = "timeout",
    message = "hostd of {host} is back, but {vcenter} still says {state} after {within}",
    why = "vCenter notices by itself, as a rule within a minute.",
    fix = "reconnect the host in vCenter",
  },
  {
    name = "datastore missing",
    about = ABOUT,
    kind = "not_found",
    message = "{vcenter} has no datastore '{datastore}'",
    why = "The name is not right, or the user may not see it.",
    fix = "check --datastore; there are {names}",
  },
  {
    name = "datastore without hosts",
    about = ABOUT,
    kind = "not_found",
    message = "no host mounts datastore '{datastore}'",
    why = "It is there, but no ESXi host has it mounted.",
    fix = "mount it, or name hosts with --host",
  },
}
