"""What VMware's client does with the lab's vCenter: each step prints ok or not ok."""

import json
import ssl
import sys
import threading
import time

from pyVim.connect import Disconnect, SmartConnect
from pyVim.task import WaitForTask
from pyVmomi import vim, vmodl

import esxcli
from steps import main, step

site = json.load(open(sys.argv[1], encoding="utf-8"))
address, port = site["vcenter"]["host"].split(":")
TRUST = ssl.create_default_context(cafile=site["ca_file"])
PC = vmodl.query.PropertyCollector


def connect(password=site["vcenter"]["password"], context=TRUST):
    return SmartConnect(
        host=address, port=int(port), user=site["vcenter"]["username"], pwd=password, sslContext=context)


def refusal(kind, call):
    try:
        call()
    except kind as why:
        return why
    raise AssertionError(f"was not refused with {kind.__name__}")


class Seen:
    login = vms = host = None


def content():
    return Seen.login.content


def everything(kind):
    view = content().viewManager.CreateContainerView(content().rootFolder, [kind], True)
    return PC.FilterSpec(
        objectSet=[PC.ObjectSpec(obj=view, skip=True, selectSet=[
            PC.TraversalSpec(name="view", type=vim.view.ContainerView, path="view", skip=False)])],
        propSet=[PC.PropertySpec(type=kind, pathSet=["name"])])


def one(obj, *paths):
    spec = PC.FilterSpec(
        objectSet=[PC.ObjectSpec(obj=obj)], propSet=[PC.PropertySpec(type=type(obj), pathSet=list(paths))])
    found = content().propertyCollector.RetrievePropertiesEx([spec], PC.RetrieveOptions())
    return {prop.name: prop.val for prop in found.objects[0].propSet}


@step
def refuses_a_wrong_password():
    refusal(vim.fault.InvalidLogin, lambda: connect(password="wrong"))


@step
def distrusts_an_unknown_certificate():
    refusal(ssl.SSLCertVerificationError, lambda: connect(context=ssl.create_default_context()))


@step
def logs_in_with_a_version_both_speak():
    Seen.login = connect()
    assert content().about.apiType == "VirtualCenter", content().about
    assert abs(Seen.login.CurrentTime().timestamp() - time.time()) < 10
    assert content().sessionManager.currentSession.key in [s.key for s in content().sessionManager.sessionList]


@step
def walks_the_inventory():
    view = content().viewManager.CreateContainerView(content().rootFolder, [vim.VirtualMachine], True)
    Seen.vms = {vm._GetMoId(): vm for vm in view.view}
    assert {vm.name for vm in Seen.vms.values()} == {vm["name"] for vm in site["vms"]}
    for given in site["vms"]:
        vm = Seen.vms[given["moref"]]
        assert vm.runtime.host._GetMoId() == given["host"]
        disks = [d for d in vm.config.hardware.device if isinstance(d, vim.vm.device.VirtualDisk)]
        assert [d.capacityInBytes for d in disks] == [d["size_bytes"] for d in given["disks"]]
        assert vm.summary.config.name == given["name"] and vm.summary.storage.committed > 0
        assert isinstance(vm.parent.parent, vim.Datacenter)
    view.Destroy()
    refusal(vmodl.fault.ManagedObjectNotFound, lambda: view.view)


@step
def tells_disks_from_snapshots():
    chained = next(vm for vm in Seen.vms.values() if vm.snapshot)
    disk = next(d for d in chained.config.hardware.device if isinstance(d, vim.vm.device.VirtualDisk))
    assert disk.backing.fileName.endswith("-000001.vmdk") and disk.backing.parent.fileName, disk.backing
    assert len(chained.layoutEx.disk[0].chain) == 2


@step
def tells_adapters_luns_and_datastores():
    Seen.host = Seen.vms["vm-57"].runtime.host
    storage = Seen.host.config.storageDevice
    kinds = {type(hba).__name__.rsplit(".", 1)[-1] for hba in storage.hostBusAdapter}
    assert kinds == {"BlockHba", "FibreChannelHba", "InternetScsiHba"}, kinds
    wwpns = {f"{hba.portWorldWideName & (2 ** 64 - 1):016x}" for hba in storage.hostBusAdapter
             if isinstance(hba, vim.host.FibreChannelHba)}
    assert "a1000025b5000a02" in wwpns, wwpns
    assert any(target.transport for adapter in storage.scsiTopology.adapter for target in adapter.target)
    luns = {lun.canonicalName: lun for lun in storage.scsiLun}
    for datastore in Seen.vms["vm-57"].datastore:
        assert isinstance(datastore.info, vim.host.VmfsDatastoreInfo)
        assert luns[datastore.info.vmfs.extent[0].diskName].operationalState[0] == "ok"
        assert datastore.summary.accessible and datastore.host[0].mountInfo.path.startswith("/vmfs/volumes/")
    assert Seen.host.summary.hardware.numHBAs == len(storage.hostBusAdapter)


@step
def pages_through_properties():
    collector, spec = content().propertyCollector, everything(vim.ManagedEntity)
    whole = [o.obj for o in collector.RetrieveProperties([spec])]
    page = collector.RetrievePropertiesEx([spec], PC.RetrieveOptions(maxObjects=3))
    found, token = list(page.objects), page.token
    while page.token:
        token = page.token
        page = collector.ContinueRetrievePropertiesEx(token)
        assert len(page.objects) <= 3
        found += page.objects
    assert [o.obj for o in found] == whole and len(whole) > 20
    refusal(vmodl.fault.InvalidArgument, lambda: collector.ContinueRetrievePropertiesEx(token))
    page = collector.RetrievePropertiesEx([spec], PC.RetrieveOptions(maxObjects=1))
    collector.CancelRetrievePropertiesEx(page.token)
    refusal(vmodl.fault.InvalidArgument, lambda: collector.ContinueRetrievePropertiesEx(page.token))


@step
def tells_unset_from_unknown_properties():
    vm = Seen.vms["vm-57"]
    assert set(one(vm, "name", "snapshot", "guest")) == {"name"}
    assert one(vm, "config.hardware.device[2000].backing").popitem()[1].fileName.endswith(".vmdk")
    assert refusal(vmodl.query.InvalidProperty, lambda: one(vm, "nonsense")).name == "nonsense"
    gone = vim.VirtualMachine("vm-999", Seen.login._stub)
    assert refusal(vmodl.fault.ManagedObjectNotFound, lambda: gone.name).obj._GetMoId() == "vm-999"


@step
def finds_by_path_and_uuid():
    vm, search = Seen.vms["vm-57"], content().searchIndex
    assert search.FindByInventoryPath("Werke/Nürnberg & Fürth/vm/Web & Söhne") == vm
    assert search.FindByUuid(None, vm.config.uuid, True, False) == vm
    assert search.FindByUuid(None, vm.config.instanceUuid, True, True) == vm
    assert search.FindByInventoryPath("no/such/path") is None


@step
def waits_for_tasks_and_decodes_their_faults():
    vm = Seen.vms["vm-57"]
    assert WaitForTask(vm.PowerOn()) == vim.TaskInfo.State.success
    why = refusal(vim.fault.InvalidPowerState, lambda: WaitForTask(vm.PowerOn()))
    assert why.existingState == "poweredOn", why
    assert content().taskManager.recentTask[-1].info.error.msg
    WaitForTask(vm.PowerOff())


@step
def hears_of_a_change():
    vm = Seen.vms["vm-58"]
    collector = content().propertyCollector.CreatePropertyCollector()
    spec = PC.FilterSpec(
        objectSet=[PC.ObjectSpec(obj=vm)],
        propSet=[PC.PropertySpec(type=vim.VirtualMachine, pathSet=["name", "runtime.powerState"])])
    collector.CreateFilter(spec, False)
    first = collector.WaitForUpdatesEx("", PC.WaitOptions(maxWaitSeconds=5))
    told = first.filterSet[0].objectSet[0]
    assert told.kind == "enter" and {c.name for c in told.changeSet} == {"name", "runtime.powerState"}
    assert collector.WaitForUpdatesEx(first.version, PC.WaitOptions(maxWaitSeconds=0)) is None
    threading.Timer(0.3, vm.PowerOn).start()
    second = collector.WaitForUpdatesEx(first.version, PC.WaitOptions(maxWaitSeconds=10))
    told = second.filterSet[0].objectSet[0]
    assert told.kind == "modify" and told.changeSet[0].val == "poweredOn", told
    refusal(vmodl.query.InvalidCollectorVersion, lambda: collector.WaitForUpdatesEx(first.version, PC.WaitOptions()))
    collector.Destroy()
    WaitForTask(vm.PowerOff())


@step
def reads_and_sets_advanced_settings():
    manager = Seen.host.configManager.advancedOption
    assert manager.QueryOptions("Disk.MaxLUN")[0].value == 1024
    refusal(vim.fault.InvalidName, lambda: manager.QueryOptions("No.Such"))
    value = vim.option.OptionValue(key="Disk.MaxLUN", value=2048)
    manager.UpdateOptions([value])
    assert manager.QueryOptions("Disk.MaxLUN")[0].value == 2048


@step
def manages_storage():
    system = Seen.host.configManager.storageSystem
    assert system.RescanHba("vmhba64") is None
    refusal(vim.fault.NotFound, lambda: system.RescanHba("vmhba9"))
    refusal(vim.fault.NotFound, lambda: system.DetachScsiLun("0200000000"))
    assert [p.name for p in Seen.host.configManager.imageConfigManager.fetchSoftwarePackages()] == ["vmkfstools-wrapper"]
    assert [m.name for m in Seen.host.configManager.kernelModuleSystem.QueryModules()] == ["iscsi_vmk"]


@step
def runs_esxcli():
    rows = esxcli.run(Seen.host, "storage core device list")
    assert rows and all(row["Device"].startswith("naa.") and row["Status"] == "on" for row in rows), rows
    assert esxcli.run(Seen.host, "storage core device list", device=rows[0]["Device"]) == rows[:1]
    assert esxcli.run(Seen.host, "storage core adapter rescan", all="1", type="add") == []
    assert json.loads(esxcli.run(Seen.host, "vmkfstools version")[0]["message"])["version"]
    why = refusal(esxcli.Refused, lambda: esxcli.run(Seen.host, "storage core device list", device='naa.<&">'))
    assert why.type == "VimEsxCLICLIFault" and 'naa.<&">' in why.lines[0], why.lines
    assert refusal(esxcli.Refused, lambda: esxcli.run(Seen.host, "no such thing")).type == "NotFound"


@step
def tells_privileges():
    key = content().sessionManager.currentSession.key
    granted = content().authorizationManager.HasPrivilegeOnEntities([Seen.host], key, ["Host.Config.Storage"])
    assert granted[0].privAvailability[0].isGranted
    assert content().sessionManager.SessionIsActive(key, site["vcenter"]["username"])


@step
def forgets_who_logged_out():
    vm = Seen.vms["vm-57"]
    Disconnect(Seen.login)
    assert refusal(vim.fault.NotAuthenticated, lambda: vm.name).privilegeId == "System.View"


main()
