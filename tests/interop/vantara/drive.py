"""What the REST client of Cinder's Hitachi driver does with the lab's VSP: each step prints ok or not ok."""

import json
import sys
import time
import types

from openstack import VolumeDriverException, rest_api
from steps import main, step

import requests

api = rest_api()
site = json.load(open(sys.argv[1], encoding="utf-8"))
array = site["arrays"][0]
address, port = array["host"].rsplit(":", 1)

# Seconds, all of them short: what the lab refuses once it refuses again.
CONF = types.SimpleNamespace(
    hitachi_rest_connect_timeout=5, hitachi_rest_timeout=5, hitachi_rest_job_api_response_timeout=10,
    hitachi_rest_get_api_response_timeout=10, hitachi_exec_retry_interval=0.1, hitachi_lock_timeout=1,
    hitachi_rest_server_busy_timeout=1, hitachi_rest_another_ldev_mapped_retry_timeout=0,
    hitachi_rest_keep_session_loop_interval=180, hitachi_extend_timeout=5, hitachi_rest_tcp_keepidle=60,
    hitachi_rest_tcp_keepintvl=15, hitachi_rest_tcp_keepcnt=4)


def connect(password):
    return api.RestApiClient(CONF, address, port, array["env"]["STORAGE_ID"], array["username"], password, "HBSD",
                             None, verify=site["ca_file"])


def control(path, body):
    requests.post(site["control"]["url"] + path, json=body, timeout=5).raise_for_status()


def refusal(call):
    """Message id and codes of what must be refused."""
    try:
        call()
    except VolumeDriverException as why:
        said = why.kwargs["errobj"]
        code = said.get("errorCode") or {}
        return said["messageId"], code.get("SSB1"), code.get("SSB2")
    raise AssertionError("was not refused")


def wait_until(what, holds):
    until = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < until, what
        time.sleep(0.05)


client = connect(array["password"])
PORT, GROUP = "CL1-A", 1


class Seen:
    ldevs = lun = None


@step
def refuses_a_wrong_password():
    assert refusal(connect("wrong").login)[0] == "KART30005-E"


@step
def opens_a_session_and_keeps_it():
    assert client.login()
    session = client.get_my_session()
    assert client.get_session(session.id)["sessionId"] == session.id
    assert client._has_session()  # pylint: disable=protected-access


@step
def logs_in_anew_by_itself_when_its_session_has_ended():
    old = client.get_my_session().id
    control("/array/expire", {})
    assert client.get_ports()
    assert client.get_my_session().id != old


@step
def tells_its_ports():
    ports = client.get_ports()
    assert {"FIBRE", "ISCSI"} == {found["portType"] for found in ports}
    assert client.get_port(PORT)["wwn"] == next(found["wwn"] for found in ports if found["portId"] == PORT)
    assert [found["portId"] for found in client.get_ports({"portId": PORT})] == [PORT]


@step
def tells_host_groups_and_who_is_in_them():
    groups = client.get_host_grps({"portId": PORT})
    assert [group["hostGroupNumber"] for group in groups] == list(range(len(groups)))
    assert client.get_host_grp(PORT, GROUP)["hostMode"] == "VMWARE_EX"
    wwns = client.get_hba_wwns(PORT, GROUP)
    assert wwns and all(len(found["hostWwn"]) == 16 for found in wwns), wwns
    assert client.get_host_grp("CL1-C", GROUP)["iscsiName"].startswith("iqn.1994-04.jp.co.hitachi:")
    assert client.get_hba_iscsis("CL1-C", GROUP)[0]["iscsiName"].startswith("iqn.1998-01.com.vmware:")
    assert refusal(lambda: client.get_host_grp(PORT, 99))[0] == "KART30013-E"


@step
def tells_volumes_and_those_that_are_none():
    Seen.ldevs = [found["ldevId"] for found in client.get_ldevs()]
    mapped = [number for number in Seen.ldevs if "ports" in client.get_ldev(number)]
    free = [number for number in Seen.ldevs if number not in mapped]
    assert len(client.get_ldev(mapped[0])["naaId"]) == 32
    assert "naaId" not in client.get_ldev(free[0])
    assert client.get_ldev(free[0])["status"] == "NML"
    assert client.get_ldev(60000)["emulationType"] == "NOT DEFINED"
    Seen.ldevs = free


@step
def makes_a_path_and_tells_its_number():
    ldev = Seen.ldevs[0]
    Seen.lun = client.add_lun(PORT, GROUP, ldev)[0]
    found = client.get_ldev(ldev)
    assert found["ports"][0]["lun"] == Seen.lun and found["naaId"][-4:] == f"{ldev:04x}", found
    assert ldev in [path["ldevId"] for path in client.get_luns(PORT, GROUP, is_basic_lun_information=True)]


@step
def refuses_a_path_twice_and_a_number_in_use():
    again = refusal(lambda: client.add_lun(PORT, GROUP, Seen.ldevs[0]))
    assert again[1:] == ("B958", "015A"), again
    used = refusal(lambda: client.add_lun(PORT, GROUP, Seen.ldevs[1], lun=Seen.lun))
    assert used[1:] == api.ANOTHER_LDEV_MAPPED, used
    assert client.add_lun(PORT, GROUP, Seen.ldevs[0], ignore_error=[("B958", "015A")])[1]["messageId"]


@step
def removes_the_path():
    client.delete_lun(PORT, GROUP, Seen.lun)
    assert "ports" not in client.get_ldev(Seen.ldevs[0])
    assert refusal(lambda: client.delete_lun(PORT, GROUP, Seen.lun))[0] == "KART30013-E"


def clone_body(source, target, **changes):
    body = {"snapshotGroupName": "HBSD-clone1", "snapshotPoolId": client.get_ldev(source)["poolId"],
            "pvolLdevId": source, "svolLdevId": target, "isClone": True, "canCascade": True, "clonesAutomation": True,
            "copySpeed": "medium", "isDataReductionForceCopy": True}
    body.update(changes)
    return body


def twins():
    """Two unmapped volumes of one size."""
    by_size = {}
    for number in Seen.ldevs:
        other = by_size.setdefault(client.get_ldev(number)["blockCapacity"], number)
        if other != number:
            return other, number
    raise AssertionError("no two volumes of one size")


@step
def refuses_clones_that_lack_something():
    source, target = twins()
    for changes, expected in (
            ({"snapshotGroupName": "x" * 33}, "KART40038-E"),
            ({"canCascade": False}, "KART40038-E"),
            ({"isDataReductionForceCopy": False}, "KART40046-E")):
        said = refusal(lambda: client.add_snapshot(clone_body(source, target, **changes), no_retry=True))
        assert said[0] == expected, (changes, said)
    said = refusal(lambda: client.add_snapshot(clone_body(source, target, snapshotPoolId=7)))
    assert said[1:] == api.INVALID_SNAPSHOT_POOL, said


@step
def clones_by_a_pair_that_deletes_itself():
    source, target = twins()
    control("/copier", {"rate": 64 << 20})
    assert client.add_snapshot(clone_body(source, target), job_nowait=True).startswith(f"{source},")
    pair = client.get_snapshot_by_svol(target)["data"][0]
    assert pair["status"] in ("COPY", "PSUP") and 0 <= pair["progressRate"] < 100, pair
    control("/copier", {})
    wait_until("the pair is gone", lambda: not client.get_snapshots({"svolLdevId": target}))


@step
def deletes_a_pair_that_copies():
    source, target = twins()
    control("/copier", {"hang_at": 50})
    number = client.add_snapshot(clone_body(source, target), job_nowait=True)
    client.delete_snapshot(*[int(part) for part in number.split(",")])
    wait_until("the pair is gone", lambda: not client.get_snapshots({"svolLdevId": target}))
    said = refusal(lambda: client.delete_snapshot(source, 3))
    assert said[0] == "KART30013-E", said
    control("/copier", {})


main()
