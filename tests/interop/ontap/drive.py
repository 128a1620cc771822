"""What NetApp's client does with the lab's ONTAP: each step prints ok or not ok."""

import json
import os
import sys

from steps import main, step

site = json.load(open(sys.argv[1], encoding="utf-8"))
os.environ["REQUESTS_CA_BUNDLE"] = site["ca_file"]

from netapp_ontap import HostConnection, config  # noqa: E402  (the bundle is read at import)
from netapp_ontap.error import NetAppRestError  # noqa: E402
from netapp_ontap.resources import (  # noqa: E402
    Cluster, FcInterface, Igroup, IgroupInitiator, IpInterface, IscsiService, Lun, LunMap, Node, Svm)

array = next(entry for entry in site["arrays"] if entry["product"] == "ontap")
address, port = array["host"].rsplit(":", 1)
svm = {"name": array["svm"]}
config.CONNECTION = HostConnection(
    address, port=int(port), username=array["username"], password=array["password"], verify=True)

ESX = "iqn.1998-01.com.VMware:Interop-1"


def refusal(call):
    """Status and code of what must be refused."""
    try:
        call()
    except NetAppRestError as why:
        assert why.http_err_response, f"refused by the client itself: {why}"
        return why.status_code, why.http_err_response.http_response.json()["error"]["code"]
    raise AssertionError("was not refused")


class Seen:
    lun = group = None


@step
def reads_cluster_and_nodes():
    cluster = Cluster()
    cluster.get()
    assert cluster.version.generation == 9, cluster
    assert len(list(Node.get_collection())) >= 1


@step
def refuses_a_wrong_password():
    wrong = HostConnection(address, port=int(port), username=array["username"], password="wrong", verify=True)
    resource = Cluster()
    resource.set_connection(wrong)
    assert refusal(resource.get)[0] == 401


@step
def lists_svms_and_luns():
    assert svm["name"] in [found.name for found in Svm.get_collection()]
    luns = list(Lun.get_collection(**{"svm.name": svm["name"]}, fields="serial_number,space.size"))
    assert luns and all(len(lun.serial_number) == 12 for lun in luns), luns
    Seen.lun = luns[0]


@step
def pages_through_all_luns():
    every = sorted(lun.uuid for lun in Lun.get_collection())
    assert sorted(lun.uuid for lun in Lun.get_collection(max_records=1)) == every
    assert len(set(every)) == len(every)


@step
def finds_the_same_path_in_two_svms():
    assert Lun.count_collection(name=Seen.lun.name) == 2
    assert Lun.find(name=Seen.lun.name, **{"svm.name": svm["name"]}).uuid == Seen.lun.uuid


@step
def tells_its_target_ports():
    service = list(IscsiService.get_collection(**{"svm.name": svm["name"]}, fields="target"))[0]
    assert service.target.name.startswith("iqn.1992-08.com.netapp:"), service
    ports = list(FcInterface.get_collection(**{"svm.name": svm["name"]}, fields="wwpn"))
    assert ports and all(len(fc.wwpn) == 23 for fc in ports), ports
    assert list(IpInterface.get_collection(fields="ip.address"))[0].ip.address


@step
def creates_an_igroup_and_learns_its_uuid():
    Seen.group = Igroup(name="interop", protocol="iscsi", os_type="vmware", svm=svm)
    Seen.group.post()
    assert Seen.group.uuid
    again = Igroup(name="interop", protocol="iscsi", os_type="vmware", svm=svm)
    assert refusal(again.post) == (409, "5374023")


@step
def adds_initiators_one_by_one_and_many_at_once():
    one = IgroupInitiator(Seen.group.uuid, name=ESX)
    one.post(hydrate=True)
    assert one.name == ESX.lower(), one
    assert refusal(IgroupInitiator(Seen.group.uuid, name=ESX).post) == (409, "5374035")
    assert refusal(IgroupInitiator(Seen.group.uuid, name="vmhba2").post) == (400, "5374039")
    more = [IgroupInitiator(name=f"{ESX}-{n}") for n in (2, 3)]
    IgroupInitiator.post_collection(more, Seen.group.uuid)
    assert len(list(IgroupInitiator.get_collection(Seen.group.uuid))) == 3
    IgroupInitiator(Seen.group.uuid, name=f"{ESX}-3").delete()
    Seen.group.get(fields="initiators")
    assert len(Seen.group.initiators) == 2


@step
def maps_a_lun():
    made = LunMap(svm=svm, lun={"uuid": Seen.lun.uuid}, igroup={"uuid": Seen.group.uuid})
    made.post(hydrate=True)
    assert 0 <= made.logical_unit_number <= 4095
    assert refusal(LunMap(svm=svm, lun={"name": Seen.lun.name}, igroup={"name": "interop"}).post) == (409, "1254207")
    maps = list(LunMap.get_collection(**{"lun.uuid": Seen.lun.uuid}, fields="logical_unit_number"))
    assert "interop" in [found.igroup.name for found in maps]


@step
def keeps_a_mapped_igroup():
    assert refusal(Seen.group.delete) == (409, "1254213")


@step
def unmaps_and_removes():
    unmap = LunMap(**{"lun.uuid": Seen.lun.uuid, "igroup.uuid": Seen.group.uuid})
    unmap.delete()
    assert refusal(unmap.delete) == (404, "5374922")
    Seen.group.delete()
    assert refusal(Seen.group.get) == (404, "5374852")


main()
