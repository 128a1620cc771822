"""populate, with vcsim in the place of the lab's vCenter: each step prints ok or not ok."""

import hashlib
import json
import os
import ssl
import subprocess
import sys
import urllib.parse
import urllib.request

from steps import main, step

lunalift = sys.argv[1]
site, vcenter, esxi = (json.load(open(path, encoding="utf-8")) for path in sys.argv[2:5])
SMALL, QUOTED, CHAINED = "vm-57-disk-2", "vm-58-disk-1", "vm-59-disk-1"


def post(url, data):
    with urllib.request.urlopen(url, data=data, context=ssl._create_unverified_context(), timeout=10) as answer:
        return answer.read().decode()


def spoil(how, at):
    """The next request that holds `at` loses its login, its answer, or gets 503."""
    post(f"https://{vcenter['host']}/test/spoil", urllib.parse.urlencode({"how": how, "at": at}).encode())


def is_spoilt():
    url = f"https://{vcenter['host']}/test/spoil"
    return urllib.request.urlopen(url, context=ssl._create_unverified_context(), timeout=10).read() == b"true"


def control(path, body=None):
    data = json.dumps(body).encode() if body is not None else None
    with urllib.request.urlopen(site["control"]["url"] + path, data=data, timeout=10) as answer:
        return answer.read().decode()


def digest(path):
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def trust(server):
    """One file for both authorities: the lab's, and vcsim's own."""
    path = server["ca_file"] + ".both"
    with open(path, "w", encoding="ascii") as both:
        for name in (site["ca_file"], server["ca_file"]):
            both.write(open(name, encoding="ascii").read())
    return path


def populate(claim, vm=None, server=vcenter, command="populate", **environ):
    pvc = next(each for each in site["pvcs"] if each["name"] == claim)
    disk = next(d for v in site["vms"] for d in v["disks"] if d["vmdk"] == pvc["vmdk"])
    lab_vm = claim.rsplit("-disk-", 1)[0]
    array = site["arrays"][0]
    env = {
        "PATH": os.environ["PATH"],
        "GOVMOMI_HOSTNAME": server["host"],
        "GOVMOMI_USERNAME": site["vcenter"]["username"], "GOVMOMI_PASSWORD": site["vcenter"]["password"],
        "STORAGE_VENDOR": "ontap", "STORAGE_HOSTNAME": array["host"], "STORAGE_USERNAME": array["username"],
        "STORAGE_PASSWORD": array["password"], "ONTAP_SVM": array["svm"], "KUBECONFIG": site["kube"]["kubeconfig"],
        "LUNALIFT_CA_FILE": trust(server), "XDG_STATE_HOME": os.path.join(site["dir"], "state")}
    vm = vm or next(each["moref"] for each in server["vms"] if each["lab"] == lab_vm)
    done = subprocess.run(
        [lunalift, command, "--source-vm-id", vm, "--source-vmdk", pvc["vmdk"], "--owner-name", pvc["name"],
         "--target-namespace", pvc["namespace"], "--owner-uid", pvc["uid"]],
        env=env | environ, capture_output=True, text=True, timeout=120, check=False)
    done.said = done.stdout + done.stderr
    assert site["vcenter"]["password"] not in done.said
    return done, disk["flat_path"], pvc


def copies(claim, **options):
    pvc = next(each for each in site["pvcs"] if each["name"] == claim)
    with open(pvc["lun_path"], "r+b") as lun:
        lun.write(b"x" * 4096)  # what an earlier copy wrote is no proof of this one
    done, source, _ = populate(claim, **options)
    assert done.returncode == 0, done.said
    assert digest(source) == digest(pvc["lun_path"]), "the bytes differ"
    assert control("/mapped") == "nothing\n", control("/mapped")
    for host in site["hosts"]:
        assert pvc["naa"] not in os.listdir(os.path.join(host["root"], "var/lab/devices")), "the host still has the device"
    return done


def refuses(claim, **options):
    done, _, _ = populate(claim, **options)
    assert done.returncode != 0, done.said
    assert control("/mapped") == "nothing\n", control("/mapped")
    return done.said


@step
def copies_a_disk():
    assert "equal on both ends" in copies(SMALL).said


@step
def copies_from_names_with_quotes():
    copies(QUOTED)


@step
def copies_below_a_snapshot_from_a_vm_named_among_many():
    copies(CHAINED, vm="chained")


@step
def copies_on_a_single_esxi():
    copies(CHAINED, server=esxi)


def survives(how, at):
    def run():
        spoil(how, at)
        copies(CHAINED)
        assert is_spoilt(), "nothing was spoilt"

    run.__name__ = f"survives_{how}_at_{at}"
    step(run)


for where in ("RetrievePropertiesEx", "adapter.rescan", "vmkfstools.clone", "vmkfstools.taskGet"):
    survives("logout", where)
for where in ("vmkfstools.clone", "device.set"):
    survives("cut", where)
survives("503", "vmkfstools.version")


@step
def looks_at_everything_first():
    for server in (vcenter, esxi):
        done, _, _ = populate(SMALL, command="preflight", server=server, LUNALIFT_OUTPUT="json")
        told = json.loads(done.stdout)
        assert done.returncode == 0 and told["ok"], done.said
        skipped = {each["name"] for each in told["checks"] if each["status"] == "skipped"}
        assert skipped <= {"room for descriptors", "XCOPY", "XCOPY size", "claim rules", "large frames", "LUN numbers", "vCenter privileges"}, skipped  # vcsim does not tell


@step
def refuses_a_wrong_password():
    assert "does not let" in refuses(SMALL, GOVMOMI_PASSWORD="wrong")


@step
def distrusts_an_unknown_certificate():
    assert "certificate" in refuses(SMALL, LUNALIFT_CA_FILE=site["ca_file"])


@step
def tells_a_missing_vm_and_disk():
    assert "no virtual machine vm-9999" in refuses(SMALL, vm="vm-9999")
    assert "has no disk" in refuses(SMALL, vm=next(each["moref"] for each in vcenter["vms"] if each["lab"] == "vm-59"))


@step
def tells_a_host_without_the_wrapper():
    control("/host/host-21/wrapper", {"variant": "none"})
    assert "is not installed on" in refuses(SMALL)
    control("/host/host-21/wrapper", {"variant": "lunalift"})


main()
