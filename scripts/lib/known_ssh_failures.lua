--- Those of lib.known_failures that SSH to a host can end in.

local ABOUT <const> = "SSH to hosts"
local KEYS <const> = "/etc/ssh/keys-{user}/authorized_keys on {host}"

---@type lib.Hint[]
return {
  {
    name = "ssh off",
    about = ABOUT,
    kind = "unreachable",
    message = "{host} takes no SSH connection at {address}",
    why = "The SSH service of an ESXi host is off unless somebody started it; or the name or address is not right.",
    fix = "start it: in vCenter at Configure, Services, SSH; or in the host's shell: vim-cmd hostsvc/enable_ssh; vim-cmd hostsvc/start_ssh",
  },
  {
    name = "ssh in lockdown",
    about = ABOUT,
    kind = "denied",
    message = "{host} is in lockdown mode",
    why = "In lockdown mode a host lets nobody in but vCenter and the users among its exceptions.",
    fix = "end lockdown mode on {host} for as long as this takes, make {user} one of its exception users, or use ESXI_CLONE_METHOD=vib",
  },
  {
    name = "ssh host unknown",
    about = ABOUT,
    kind = "denied",
    message = "{host} shows a key that nobody has vouched for: {fingerprint}",
    why = "Whoever answers at the address would be believed whatever it says of a copy. Nothing was sent.",
    fix = "compare it with what the host says at its console: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub (or ssh_host_rsa_key.pub); "
      .. "then give --ssh-fingerprint {fingerprint} (LUNALIFT_SSH_FINGERPRINT), or add the host to the file of --ssh-known-hosts",
  },
  {
    name = "ssh host changed",
    about = ABOUT,
    kind = "denied",
    message = "{host} shows another key than it had: {fingerprint}",
    why = "It was installed anew, or somebody else answers at its address. Nothing was sent.",
    fix = "if it was installed anew: compare the fingerprint at its console, and take the old line out with ssh-keygen -R {address}",
  },
  {
    name = "ssh key refused",
    about = ABOUT,
    kind = "denied",
    message = "{host} does not let {user} in with this key",
    why = "The key's public half is not among the host's authorized keys.",
    fix = "add this line to " .. KEYS .. ": {key}",
  },
  {
    name = "ssh key not tied",
    about = ABOUT,
    kind = "config",
    message = "{host} takes the key, but it does not ask the wrapper",
    why = "Its line among the authorized keys has no command, another one, or one of an old version.",
    fix = "in " .. KEYS .. ", put this in the place of the key's line: {key}",
  },
  {
    name = "ssh line outdated",
    about = ABOUT,
    kind = "config",
    message = "the key's line on {host} is for another version of the script",
    why = "The line names the digest of the script that it may run from a datastore, so that nobody can change the script unseen.",
    fix = "in " .. KEYS .. ", put this in the place of the key's line: {key}",
  },
  {
    name = "ssh without datastore",
    about = ABOUT,
    kind = "unsupported",
    message = "{host} has no datastore that can hold the script",
    why = "Without a VIB the script is run from a datastore of VMFS or NFS, and the host mounts none.",
    fix = "install the VIB vmkfstools-wrapper on {host}: the key's line uses it, too",
  },
}
