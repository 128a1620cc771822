package main

import (
	"context"
	"net/url"
	"sort"

	"github.com/vmware/govmomi"
	"github.com/vmware/govmomi/session"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/view"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// The lab's inventory as its own vCenter tells it.
type inventory struct {
	hosts      []mo.HostSystem
	datastores []mo.Datastore
	vms        []mo.VirtualMachine
}

func login(ctx context.Context, site *Site) *govmomi.Client {
	client := soap.NewClient(&url.URL{Scheme: "https", Host: site.Vcenter.Host, Path: "/sdk"}, false)
	check(client.SetRootCAs(site.CAFile))
	vim := must(vim25.NewClient(ctx, client))
	c := &govmomi.Client{Client: vim, SessionManager: session.NewManager(vim)}
	check(c.Login(ctx, url.UserPassword(site.Vcenter.Username, site.Vcenter.Password)))
	return c
}

func read(ctx context.Context, site *Site) inventory {
	c := login(ctx, site)
	defer func() { check(c.Logout(ctx)) }()
	var found inventory
	for kind, into := range map[string]any{
		"HostSystem": &found.hosts, "Datastore": &found.datastores, "VirtualMachine": &found.vms,
	} {
		v := must(view.NewManager(c.Client).CreateContainerView(ctx, c.ServiceContent.RootFolder, []string{kind}, true))
		paths := map[string][]string{
			"HostSystem":     {"name", "config.storageDevice"},
			"Datastore":      {"name", "info"},
			"VirtualMachine": {"name", "runtime.host", "datastore", "config.hardware.device"},
		}
		check(v.Retrieve(ctx, []string{kind}, paths[kind], into))
	}
	return found
}

func sorted[T mo.Entity](m *simulator.Model, kind string) []T {
	all := m.Map().All(kind)
	sort.Slice(all, func(i, j int) bool { return all[i].Reference().Value < all[j].Reference().Value })
	list := make([]T, len(all))
	for i, entity := range all {
		list[i] = entity.(T)
	}
	return list
}

// VM says where a VM of the lab is here.
type VM struct {
	Lab   string `json:"lab"`
	Moref string `json:"moref"`
	Name  string `json:"name"`
	Host  string `json:"host"`
}

// takeOver gives the model's first hosts, datastores and VMs what the lab's have, as far as there are any.
func takeOver(ctx context.Context, site *Site, m *simulator.Model) []VM {
	lab := read(ctx, site)
	hosts, stores, vms := sorted[*simulator.HostSystem](m, "HostSystem"), sorted[*simulator.Datastore](m, "Datastore"),
		sorted[*simulator.VirtualMachine](m, "VirtualMachine")
	here := map[types.ManagedObjectReference]types.ManagedObjectReference{} // the lab's to ours
	for i := range min(len(hosts), len(lab.hosts)) {
		here[lab.hosts[i].Self] = hosts[i].Self
		plantHost(site, m, hosts[i], &lab.hosts[i])
	}
	for i := range min(len(stores), len(lab.datastores)) {
		here[lab.datastores[i].Self] = stores[i].Self
		plantDatastore(stores[i], &lab.datastores[i])
	}
	var planted []VM
	for _, from := range lab.vms {
		if _, known := here[*from.Runtime.Host]; !known || len(planted) == len(vms) {
			continue
		}
		if plantVM(vms[len(planted)], &from, here) {
			vm := vms[len(planted)]
			planted = append(planted, VM{from.Self.Value, vm.Self.Value, from.Name, vm.Runtime.Host.Value})
		}
	}
	return planted
}

func plantHost(site *Site, m *simulator.Model, to *simulator.HostSystem, from *mo.HostSystem) {
	to.Name, to.Summary.Config.Name = from.Name, from.Name
	to.Config.StorageDevice = from.Config.StorageDevice
	system := m.Map().Get(*to.ConfigManager.StorageSystem).(*simulator.HostStorageSystem)
	system.StorageDeviceInfo = to.Config.StorageDevice
	for _, each := range site.Hosts {
		if each.Moref == from.Self.Value {
			serveEsxcli(m, to, newHost(each.Root, site.Control.URL, from.Config.StorageDevice))
		}
	}
}

// The URL stays vcsim's own, which finds its files by it.
func plantDatastore(to *simulator.Datastore, from *mo.Datastore) {
	info := *from.Info.(*types.VmfsDatastoreInfo)
	info.Url = to.Info.GetDatastoreInfo().Url
	to.Name, to.Summary.Name, to.Summary.Type, to.Info = from.Name, from.Name, "VMFS", &info
}

// False for a VM on datastores that are not here.
func plantVM(
	to *simulator.VirtualMachine, from *mo.VirtualMachine, here map[types.ManagedObjectReference]types.ManagedObjectReference,
) bool {
	var stores []types.ManagedObjectReference
	for _, store := range from.Datastore {
		if _, known := here[store]; !known {
			return false
		}
		stores = append(stores, here[store])
	}
	host := here[*from.Runtime.Host]
	to.Name, to.Config.Name, to.Summary.Config.Name = from.Name, from.Name, from.Name
	to.Datastore, to.Runtime.Host, to.Summary.Runtime.Host = stores, &host, &host
	to.Config.Hardware.Device = from.Config.Hardware.Device
	for _, device := range to.Config.Hardware.Device {
		if disk, is := device.(*types.VirtualDisk); is {
			backing := disk.Backing.(*types.VirtualDiskFlatVer2BackingInfo)
			for ; backing != nil; backing = backing.Parent {
				store := here[*backing.Datastore]
				backing.Datastore = &store
			}
		}
	}
	return true
}
