package main

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"sync"

	"github.com/vmware/govmomi/vim25/types"
)

// Device is a LUN as a host has discovered it.
type Device struct {
	NAA, Status string
	LUN         LUN
}

// LUN is what the lab's fabric shows, by its control door.
type LUN struct {
	NAA   string `json:"naa"`
	Path  string `json:"path"`
	Bytes int64  `json:"size_bytes"`
	Maps  []struct {
		Initiators []string `json:"initiators"`
	} `json:"maps"`
}

// Adapter is an HBA by its name and its id on the fabric.
type Adapter struct{ Name, Driver, UID, Initiator string }

// Host discovers LUNs and forgets them as ESXi does, and keeps device files below its root for the scripts that run there.
type Host struct {
	sync.Mutex
	root, control string
	adapters      []Adapter
	devices       map[string]*Device
	detached      map[string]bool
}

// An id as initiators are compared: colons and case do not count.
func initiator(id string) string {
	if strings.HasPrefix(id, "iqn.") {
		return strings.ToLower(id)
	}
	return strings.ToLower(strings.ReplaceAll(id, ":", ""))
}

func wwn(n int64) string { return strconv.FormatUint(uint64(n), 16) }

func adapterOf(hba types.BaseHostHostBusAdapter) Adapter {
	base := hba.GetHostHostBusAdapter()
	adapter := Adapter{Name: base.Device, Driver: base.Driver, UID: base.Device}
	switch hba := hba.(type) {
	case *types.HostInternetScsiHba:
		adapter.UID, adapter.Initiator = hba.IScsiName, initiator(hba.IScsiName)
	case *types.HostFibreChannelHba:
		adapter.UID = "fc." + wwn(hba.NodeWorldWideName) + ":" + wwn(hba.PortWorldWideName)
		adapter.Initiator = wwn(hba.PortWorldWideName)
	}
	return adapter
}

func newHost(root, control string, storage *types.HostStorageDeviceInfo) *Host {
	host := &Host{root: root, control: control, devices: map[string]*Device{}, detached: map[string]bool{}}
	for _, hba := range storage.HostBusAdapter {
		host.adapters = append(host.adapters, adapterOf(hba))
	}
	host.rescan("all")
	return host
}

// The LUNs that are mapped to any adapter of the host now.
func (h *Host) visible() map[string]LUN {
	var state struct{ Luns []LUN }
	answer := must(http.Get(h.control + "/state"))
	defer answer.Body.Close()
	check(json.NewDecoder(answer.Body).Decode(&state))
	found := map[string]LUN{}
	for _, lun := range state.Luns {
		for _, mapped := range lun.Maps {
			for _, id := range mapped.Initiators {
				for _, adapter := range h.adapters {
					if adapter.Initiator != "" && adapter.Initiator == initiator(id) {
						found[lun.NAA] = lun
					}
				}
			}
		}
	}
	return found
}

// Files as the host's scripts look for them: the device is there exactly while it is on.
func (h *Host) publish(naa string) {
	device := h.devices[naa]
	path, status := filepath.Join(h.root, "vmfs/devices/disks", naa), filepath.Join(h.root, "var/lab/devices", naa)
	_ = os.Remove(path)
	if device == nil {
		_ = os.Remove(status)
		return
	}
	if device.Status == "on" {
		check(os.Symlink(device.LUN.Path, path))
	}
	check(os.WriteFile(status, []byte(device.Status+"\n"), 0o644))
}

func (h *Host) rescan(mode string) {
	h.Lock()
	defer h.Unlock()
	visible := h.visible()
	for naa := range h.devices {
		if _, seen := visible[naa]; !seen && mode != "add" {
			delete(h.devices, naa)
			h.publish(naa)
		}
	}
	for naa, lun := range visible {
		if device := h.devices[naa]; mode != "delete" && (device == nil || device.Status == "off" && !h.detached[naa]) {
			status := "on"
			if h.detached[naa] {
				status = "off"
			}
			h.devices[naa] = &Device{naa, status, lun}
			h.publish(naa)
		}
	}
}

// list is what the host shows, with the devices dead that the array has taken away.
func (h *Host) list() []*Device {
	h.Lock()
	defer h.Unlock()
	visible := h.visible()
	var all []*Device
	for naa, device := range h.devices {
		if _, seen := visible[naa]; !seen && device.Status == "on" {
			device.Status = "dead timeout"
			h.publish(naa)
		}
		all = append(all, device)
	}
	sort.Slice(all, func(i, j int) bool { return all[i].NAA < all[j].NAA })
	return all
}

func (h *Host) setState(naa, state string) bool {
	h.Lock()
	defer h.Unlock()
	device := h.devices[naa]
	if device == nil {
		return false
	}
	device.Status = state
	delete(h.detached, naa)
	if state == "off" {
		h.detached[naa] = true
	}
	h.publish(naa)
	return true
}

func (h *Host) forget(naa string) bool {
	h.Lock()
	defer h.Unlock()
	known := h.detached[naa]
	delete(h.detached, naa)
	return known
}
