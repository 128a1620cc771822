"""What HPE's client does with the lab's 3PAR: each step prints ok or not ok.

It cannot tell whether errors that it names only, without a number, have the right one here; how a task is called; which LUN numbers
each model takes together with autoLun; what old firmware does with filters; after what silence sessions end."""

import json
import logging
import sys
import time
import urllib.request

from hpe3parclient import client, exceptions
from steps import main, step

logging.disable()  # it tells each refusal that is asked for here
site = json.load(open(sys.argv[1], encoding="utf-8"))
array = next(entry for entry in site["arrays"] if entry["product"] == "primera3par")
url = f"https://{array['host']}/api/v1"
pvcs = {pvc["name"]: pvc for pvc in site["pvcs"]}

WWN = "2100AABBCCDDEE01"
IQN = "iqn.1998-01.com.vmware:interop-1"


def connect(password=array["password"]):
    made = client.HPE3ParClient(url, secure=site["ca_file"])
    made.login(array["username"], password)
    return made


def refusal(kind, call, *args, **more):
    """The code of what must be refused with a status of this kind."""
    try:
        call(*args, **more)
    except kind as why:
        return why.get_code()
    raise AssertionError("was not refused")


def lab(path, value=None):
    """The lab's control door."""
    data = None if value is None else json.dumps(value).encode()
    with urllib.request.urlopen(site["control"]["url"] + path, data) as answer:
        return json.load(answer)


class Seen:
    hpe = host = None
    volumes = []


@step
def logs_in_and_tells_version_and_model():
    Seen.hpe = connect()
    assert Seen.hpe.getWsApiVersion()["build"] >= Seen.hpe.HPE3PAR_WS_MIN_BUILD_VERSION
    system = Seen.hpe.getStorageSystemInfo()
    assert system["model"] and system["systemVersion"], system


@step
def refuses_a_wrong_password():
    assert refusal(exceptions.HTTPForbidden, connect, "wrong") == 5


@step
def renews_a_session_that_the_array_has_ended():
    key = Seen.hpe.get_session_key()
    lab("/array/expire", {})
    assert Seen.hpe.getVolumes()["total"] > 0
    assert Seen.hpe.get_session_key() != key


@step
def ends_its_session():
    other = connect()
    before = lab("/state")["primera3par"]["sessions"]
    other.logout()
    assert lab("/state")["primera3par"]["sessions"] == before - 1


@step
def lists_volumes_by_their_short_names():
    volumes = {volume["name"]: volume for volume in Seen.hpe.getVolumes()["members"]}
    for pvc in pvcs.values():
        volume = volumes[pvc["pv"][:31]]
        assert "naa." + volume["wwn"].lower() == pvc["naa"], volume
        assert volume["sizeMiB"] << 20 == pvc["size_bytes"], volume
        assert Seen.hpe.getVolume(volume["name"])["uuid"] == volume["uuid"]
        Seen.volumes.append(volume["name"])
    assert refusal(exceptions.HTTPNotFound, Seen.hpe.getVolume, "none") == 23


@step
def knows_the_esxi_hosts_and_ports_of_nobody():
    hosts = Seen.hpe.getHosts()["members"]
    Seen.host = next(host for host in hosts if host.get("name") == site["hosts"][0]["name"])
    assert Seen.host["persona"] == Seen.hpe.HOST_PERSONA_VMWARE, Seen.host
    assert Seen.host["FCPaths"] and Seen.host["iSCSIPaths"], Seen.host
    assert any("name" not in host for host in hosts)


@step
def finds_a_host_by_its_ports():
    wwn, iqn = Seen.host["FCPaths"][0]["wwn"], Seen.host["iSCSIPaths"][0]["name"]
    for query in {"wwns": [wwn]}, {"iqns": [iqn]}, {"wwns": ["2100000000000000", wwn], "iqns": [iqn]}:
        found = Seen.hpe.queryHost(**query)
        assert [host["name"] for host in found["members"]] == [Seen.host["name"]], found
    assert refusal(exceptions.HTTPNotFound, Seen.hpe.queryHost, wwns=[WWN]) == 17


@step
def creates_hosts_and_keeps_ports_with_their_owner():
    hpe = Seen.hpe
    made = hpe.createHost("interop", FCWwns=[WWN], optional={"persona": hpe.HOST_PERSONA_VMWARE})
    assert made["FCPaths"][0]["wwn"] == WWN and made["persona"] == hpe.HOST_PERSONA_VMWARE, made
    hpe.createHost("interop-iscsi", iscsiNames=[IQN])
    assert refusal(exceptions.HTTPConflict, hpe.createHost, "interop") == 16
    assert refusal(exceptions.HTTPConflict, hpe.createHost, "thief", FCWwns=[WWN]) == 73
    assert refusal(exceptions.HTTPConflict, hpe.createHost, "thief", iscsiNames=[IQN]) == 73
    assert refusal(exceptions.HTTPBadRequest, hpe.createHost, "both", iscsiNames=[IQN + "2"], FCWwns=["21" * 8])
    assert refusal(exceptions.HTTPBadRequest, hpe.createHost, "x" * 32) == 57
    assert refusal(exceptions.HTTPBadRequest, hpe.createHost, "a b") == 69
    assert refusal(exceptions.HTTPNotFound, hpe.getHost, "thief") == 17


@step
def creates_host_sets_and_changes_their_members():
    hpe = Seen.hpe
    assert hpe.createHostSet("interop", setmembers=["interop"]) == "interop"
    assert refusal(exceptions.HTTPBadRequest, hpe.createHostSet, "interop") == 101
    assert refusal(exceptions.HTTPBadRequest, hpe.createHostSet, "x" * 28) == 57
    hpe.modifyHostSet("interop", hpe.SET_MEM_ADD, setmembers=["interop-iscsi"])
    assert refusal(exceptions.HTTPConflict, hpe.modifyHostSet, "interop", hpe.SET_MEM_ADD, setmembers=["interop"]) == 104
    assert hpe.getHostSet("interop")["setmembers"] == ["interop", "interop-iscsi"]
    assert hpe.findHostSet("interop-iscsi") == "interop"
    hpe.modifyHostSet("interop", hpe.SET_MEM_REMOVE, setmembers=["interop-iscsi"])
    hpe.createHostSet("empty")
    assert "setmembers" not in hpe.getHostSet("empty")
    hpe.deleteHostSet("empty")
    assert refusal(exceptions.HTTPConflict, hpe.deleteHost, "interop") == 77
    hpe.deleteHost("interop-iscsi")


@step
def exports_volumes_and_numbers_them_once_for_each_host():
    hpe, (first, second) = Seen.hpe, Seen.volumes[:2]
    assert hpe.createVLUN(first, lun=7, hostname="set:interop") == f"{first},7,set:interop"
    assert refusal(exceptions.HTTPConflict, hpe.createVLUN, second, lun=7, hostname="interop") == 18
    assert hpe.createVLUN(second, hostname="interop", auto=True) == f"{second},0,interop"
    assert refusal(exceptions.HTTPBadRequest, hpe.createVLUN, second, lun=16385, hostname="set:interop") == 28
    assert refusal(exceptions.HTTPNotFound, hpe.createVLUN, "none", lun=9, hostname="interop") == 23
    assert refusal(exceptions.HTTPNotFound, hpe.createVLUN, first, lun=9, hostname="set:none") == 17
    rows = hpe.getVLUN(first, allVluns=True)
    assert [(row["hostname"], row["active"], row["type"]) for row in rows] == [
        ("set:interop", False, hpe.VLUN_TYPE_HOST_SET), ("interop", True, hpe.VLUN_TYPE_HOST)], rows
    assert sorted(row["lun"] for row in hpe.getHostVLUNs("interop")) == [0, 0, 7]
    assert refusal(exceptions.HTTPNotFound, hpe.getVLUN, Seen.volumes[2]) == "NON_EXISTENT_VLUN"


@step
def keeps_what_is_exported():
    assert refusal(exceptions.HTTPConflict, Seen.hpe.deleteHostSet, "interop") == 26
    assert refusal(exceptions.HTTPForbidden, Seen.hpe.copyVolume, Seen.volumes[2], Seen.volumes[0], None)


@step
def unexports_and_removes():
    hpe, (first, second) = Seen.hpe, Seen.volumes[:2]
    hpe.deleteVLUN(first, 7, "set:interop")
    assert refusal(exceptions.HTTPNotFound, hpe.deleteVLUN, first, 7, "set:interop") == 19
    hpe.deleteVLUN(second, 0, "interop")
    hpe.deleteHostSet("interop")
    assert refusal(exceptions.HTTPNotFound, hpe.deleteHostSet, "interop") == 102
    hpe.deleteHost("interop")
    assert refusal(exceptions.HTTPNotFound, hpe.deleteHost, "interop") == 17


def ended(task):
    for _ in range(100):
        found = Seen.hpe.getTask(task)
        if found["status"] != Seen.hpe.TASK_ACTIVE:
            return found["status"]
        time.sleep(0.05)
    raise AssertionError("the task never ends")


@step
def copies_a_volume_and_stops_a_copy():
    hpe = Seen.hpe
    by_size = sorted(pvcs.values(), key=lambda pvc: pvc["size_bytes"])
    small, large = (pvc["pv"][:31] for pvc in (by_size[0], by_size[-1]))
    assert refusal(exceptions.HTTPConflict, hpe.copyVolume, large, small, None)
    assert refusal(exceptions.HTTPForbidden, hpe.copyVolume, small, small, None)
    lab("/copier", {"hang_at": 50})
    task = hpe.copyVolume(small, large, None, {"saveSnapshot": False, "priority": 2})["taskid"]
    assert hpe.isOnlinePhysicalCopy(f"{small}->{large}")  # it looks for a task of that name
    assert hpe.getTask(task)["type"] == hpe.TASK_TYPE_VV_COPY
    assert refusal(exceptions.HTTPConflict, hpe.copyVolume, small, large, None)
    assert refusal(exceptions.HTTPConflict, hpe.createVLUN, large, lun=9, hostname=site["hosts"][0]["name"]) == 97
    hpe.stopOfflinePhysicalCopy(large)
    assert ended(task) == hpe.TASK_CANCELLED
    lab("/copier", {})
    assert ended(hpe.copyVolume(small, large, None)["taskid"]) == hpe.TASK_DONE
    source, target = (open(pvc["lun_path"], "rb").read(by_size[0]["size_bytes"]) for pvc in (by_size[0], by_size[-1]))
    assert source == target
    assert refusal(exceptions.HTTPNotFound, hpe.getTask, 4711) == 145


main()
