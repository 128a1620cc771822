"""What govc does with the lab's vCenter: each step prints ok or not ok."""

import json
import os
import subprocess
import sys

from steps import main, step

site = json.load(open(sys.argv[1], encoding="utf-8"))
vcenter = site["vcenter"]
DATACENTER = "/Werke/Nürnberg & Fürth"
HOST = "esx-01.lab.example"
CLUSTER = f'{DATACENTER}/host/Cluster "A"'
ENVIRON = {
    "PATH": os.environ["PATH"], "HOME": os.environ["HOME"], "GOVC_URL": f"https://{vcenter['host']}/sdk",
    "GOVC_USERNAME": vcenter["username"], "GOVC_PASSWORD": vcenter["password"], "GOVC_TLS_CA_CERTS": site["ca_file"],
    "GOVC_DATACENTER": DATACENTER, "GOVC_PERSIST_SESSION": "false"}


def run(*args, **environ):
    return subprocess.run(
        [sys.argv[2], *args], env=ENVIRON | environ, capture_output=True, text=True, timeout=60, check=False)


def govc(*args, **environ):
    done = run(*args, **environ)
    assert done.returncode == 0, f"{args}: {done.stderr}"
    return done.stdout


def lines(*args):
    return govc(*args).splitlines()


def data(*args):
    return json.loads(govc(args[0], "-json", *args[1:]))


def refusal(*args, **environ):
    done = run(*args, **environ)
    assert done.returncode == 1 and "panic" not in done.stderr, f"{args}: {done.returncode} {done.stderr}"
    return done.stderr


def esxcli(*args):
    text = govc("host.esxcli", "-json", "-host", HOST, *args)  # nothing at all where there is no row
    return json.loads(text)["values"] if text else []


@step
def says_what_it_is():
    about = data("about")["about"]
    assert about["apiType"] == "VirtualCenter" and about["version"] == "8.0.3", about


@step
def refuses_a_wrong_password():
    assert "incorrect user name or password" in refusal("ls", GOVC_PASSWORD="wrong")


@step
def distrusts_an_unknown_certificate():
    assert "failed to verify certificate" in refusal("about", GOVC_TLS_CA_CERTS="")


@step
def lists_the_inventory():
    assert lines("ls", "/") == ["/Werke", "/DC2"]
    assert lines("ls") == [f"{DATACENTER}/{kind}" for kind in ("vm", "host", "datastore", "network")]
    assert f"{CLUSTER}/{HOST}" in lines("ls", CLUSTER)
    found = lines("find", "/", "-type", "m")
    assert {path.rsplit("/", 1)[1] for path in found} == {vm["name"] for vm in site["vms"]}, found


@step
def tells_virtual_machines():
    for given in data("vm.info", "*")["virtualMachines"]:
        vm = next(each for each in site["vms"] if each["moref"] == given["self"]["value"])
        assert given["name"] == given["summary"]["config"]["name"] == vm["name"]
        files = [d["backing"]["fileName"] for d in given["config"]["hardware"]["device"] if "capacityInBytes" in d]
        assert files[0].split("]")[0] == vm["disks"][0]["vmdk"].split("]")[0], files
    text = govc("vm.info", "-r", "Web & Söhne")
    assert "Power state:" in text and HOST in text and "Storage:" in text, text


@step
def tells_hosts_and_their_storage():
    text = govc("host.info", "-host", HOST)
    assert "State:" in text and "connected" in text, text
    devices = [line.split()[0] for line in lines("host.storage.info", "-host", HOST, "-t", "hba")[1:]]
    assert devices == ["vmhba0", "vmhba2", "vmhba3", "vmhba64"], devices
    assert "naa." in govc("host.storage.info", "-rescan", "-host", HOST)


@step
def tells_datastores():
    stores = data("datastore.info")["datastores"]
    assert {store["summary"]["name"] for store in stores} == {"ds 1", "Daten & Söhne"}
    assert stores[0]["info"]["vmfs"]["extent"][0]["diskName"].startswith("naa."), stores[0]


@step
def browses_datastores():
    folder = "web & söhne"
    assert folder in lines("datastore.ls", "-ds", "ds 1")
    assert f"{folder}.vmdk" in lines("datastore.ls", "-ds", "ds 1", folder)
    found = data("datastore.ls", "-R", "-l", "-ds", "ds 1")
    sizes = {file["path"]: file["fileSize"] for result in found for file in result.get("file") or []}
    assert sizes[f"{folder}.vmdk"] > 0, sizes
    assert not [path for path in sizes if path.endswith("-flat.vmdk")], "an extent is shown beside its descriptor"
    assert "was not found" in refusal("datastore.ls", "-ds", "ds 1", "nope")


@step
def collects_properties():
    assert lines("object.collect", "-s", "HostSystem:host-21", "name", "runtime.connectionState") == [HOST, "connected"]
    assert "config" in govc("object.collect", "VirtualMachine:vm-57")
    assert "already been deleted" in refusal("object.collect", "-s", "HostSystem:host-99", "name")
    assert "InvalidProperty" in refusal("object.collect", "-s", "HostSystem:host-21", "nonsense")


@step
def waits_for_tasks():
    assert "OK" in govc("vm.power", "-on", "Web & Söhne")
    assert "cannot be performed in the current state" in refusal("vm.power", "-on", "Web & Söhne")
    assert "OK" in govc("vm.power", "-off", "Web & Söhne")


@step
def reads_and_sets_advanced_settings():
    assert "1024" in govc("host.option.ls", "-host", HOST, "Disk.MaxLUN")
    govc("host.option.set", "-host", HOST, "Disk.MaxLUN", "512")
    assert "512" in govc("host.option.ls", "-host", HOST, "Disk.MaxLUN")
    assert refusal("host.option.ls", "-host", HOST, "No.Such")


@step
def lists_by_esxcli():
    devices = esxcli("storage", "core", "device", "list")
    assert devices and devices[0]["Status"] == ["on"], devices
    naa = devices[0]["Device"][0]
    assert esxcli("storage", "core", "device", "list", "-d", naa) == devices[:1]
    assert esxcli("storage", "core", "device", "vaai", "status", "get", "-d", naa)[0]["CloneStatus"] == ["supported"]
    assert esxcli("storage", "core", "device", "detached", "list") == []
    assert [row["HBAName"] for row in esxcli("storage", "core", "adapter", "list")][-1] == ["vmhba64"]
    assert esxcli("iscsi", "adapter", "list")[0]["UID"][0].startswith("iqn.")
    assert esxcli("software", "vib", "list")[0]["Name"] == ["vmkfstools-wrapper"]
    assert esxcli("software", "vib", "get", "-n", "vmkfstools-wrapper")[0]["Vendor"] == ["Lunalift"]
    assert esxcli("system", "version", "get")[0]["Product"] == ["VMware ESXi"]
    assert esxcli("system", "settings", "advanced", "list", "-o", "/Disk/MaxLUN")[0]["Type"] == ["integer"]


@step
def changes_by_esxcli():
    naa = esxcli("storage", "core", "device", "list")[0]["Device"][0]
    assert esxcli("storage", "core", "adapter", "rescan", "-t", "add", "-a", "1") == []
    assert esxcli("storage", "core", "adapter", "rescan", "-t", "delete", "-A", "vmhba64") == []
    assert esxcli("storage", "core", "device", "set", "--state", "off", "-d", naa) == []
    assert esxcli("storage", "core", "device", "detached", "list")[0]["DeviceUID"] == [naa]
    assert esxcli("storage", "core", "device", "set", "--state", "on", "-d", naa) == []


@step
def clones_by_esxcli():
    def reply(*args):
        return json.loads(esxcli("vmkfstools", *args)[0]["message"][0])

    assert reply("version")["version"] == "1.0.0"
    assert reply("taskList") == {"tasks": []}
    refused = esxcli("vmkfstools", "clone", "-s", "/vmfs/volumes/ds 1/no.vmdk", "-t", "/vmfs/devices/disks/naa.1")[0]
    assert refused["status"] != ["0"] and refused["message"], refused


@step
def tells_a_commands_failure_from_a_missing_one():
    assert "Unable to find device" in refusal("host.esxcli", "-host", HOST, "storage", "core", "device", "list", "-d", "naa.1")
    assert "could not be found" in refusal("host.esxcli", "-host", HOST, "no", "such", "thing")


@step
def keeps_a_login_until_it_logs_out():
    keep = {"GOVC_PERSIST_SESSION": "true"}
    govc("session.login", **keep)
    before = govc("session.ls", **keep)
    assert vcenter["username"] in before
    assert len(govc("session.ls", **keep).splitlines()) == len(before.splitlines())
    govc("session.logout", **keep)
    assert len(govc("session.ls").splitlines()) == len(before.splitlines())


main()
