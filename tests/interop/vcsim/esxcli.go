package main

import (
	"bytes"
	stdxml "encoding/xml"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"sort"
	"strconv"
	"strings"

	"github.com/vmware/govmomi/cli/esx"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
	"github.com/vmware/govmomi/vim25/xml"
)

// What a command answers: rows (nil: nothing, not even an empty list), or the lines of its complaint.
type result struct {
	rows  []esx.Values
	wrong []string
}

type command func(h *Host, args map[string]string) result

func row(pairs ...string) esx.Values {
	values := esx.Values{}
	for i := 0; i < len(pairs); i += 2 {
		values[pairs[i]] = []string{pairs[i+1]}
	}
	return values
}

func wrong(lines ...string) result { return result{wrong: lines} }

func noDevice(naa string) result { return wrong("Unable to find device with name " + naa) }

// Rows of the devices that are meant, the one named or all.
func devices(h *Host, naa string, make func(d *Device) esx.Values) result {
	rows := []esx.Values{}
	for _, device := range h.list() {
		if naa == "" || naa == device.NAA {
			rows = append(rows, make(device))
		}
	}
	if naa != "" && len(rows) == 0 {
		return noDevice(naa)
	}
	return result{rows: rows}
}

var commands = map[string]command{
	"storage.core.device.list": func(h *Host, args map[string]string) result {
		return devices(h, args["device"], func(d *Device) esx.Values {
			return row("Device", d.NAA, "DevfsPath", "/vmfs/devices/disks/"+d.NAA, "DeviceType", "Direct-Access", "DisplayName",
				"NETAPP Disk ("+d.NAA+")", "Size", strconv.FormatInt(d.LUN.Bytes>>20, 10), "Status", d.Status, "Vendor", "NETAPP",
				"VAAIStatus", "supported")
		})
	},
	"storage.core.device.vaai.status.get": func(h *Host, args map[string]string) result {
		return devices(h, args["device"], func(d *Device) esx.Values { return row("Device", d.NAA, "CloneStatus", "supported") })
	},
	"storage.core.device.set": func(h *Host, args map[string]string) result {
		if !h.setState(args["device"], args["state"]) {
			return noDevice(args["device"])
		}
		return result{}
	},
	"storage.core.device.detached.list": func(h *Host, args map[string]string) result {
		h.Lock()
		defer h.Unlock()
		rows := []esx.Values{}
		for naa := range h.detached {
			rows = append(rows, row("DeviceUID", naa, "State", "off"))
		}
		return result{rows: rows}
	},
	"storage.core.device.detached.remove": func(h *Host, args map[string]string) result {
		if !h.forget(args["device"]) {
			return noDevice(args["device"])
		}
		return result{}
	},
	"storage.core.adapter.list": func(h *Host, _ map[string]string) result {
		rows := []esx.Values{}
		for _, adapter := range h.adapters {
			rows = append(rows, row("HBAName", adapter.Name, "Driver", adapter.Driver, "LinkState", "online", "UID", adapter.UID))
		}
		return result{rows: rows}
	},
	"storage.core.adapter.rescan": func(h *Host, args map[string]string) result {
		for _, adapter := range h.adapters {
			if args["all"] != "" || args["adapter"] == adapter.Name {
				h.rescan(args["type"])
				return result{}
			}
		}
		return wrong("Invalid adapter: "+args["adapter"], "Unable to rescan")
	},
}

// ---- the host's extensions ----

type plugin struct {
	Commands []struct {
		Path    string `xml:"path,attr"`
		Execute string `xml:"execute"`
	} `xml:"commands>command"`
}

type output struct {
	Fields []struct {
		Name   string `xml:"name,attr"`
		String string `xml:"string"`
	} `xml:"structure>field"`
}

// extension finds the command line of an extension's command, as the host's VIBs installed it.
func (h *Host) extension(path string) string {
	for _, file := range must(filepath.Glob(filepath.Join(h.root, "usr/lib/vmware/esxcli/ext/*.xml"))) {
		var found plugin
		check(stdxml.Unmarshal(must(os.ReadFile(file)), &found))
		for _, each := range found.Commands {
			if each.Path == path {
				return each.Execute
			}
		}
	}
	return ""
}

var placeholder = regexp.MustCompile(`\$val\{([\w-]+)\}`)

// run has the host's BusyBox run the line with the arguments pasted in, unquoted, as hostd does.
func (h *Host) run(line string, args map[string]string) result {
	line = placeholder.ReplaceAllStringFunc(line, func(mark string) string {
		name := placeholder.FindStringSubmatch(mark)[1]
		return args[strings.ReplaceAll(name, "-", "")]
	})
	if strings.HasPrefix(line, "/opt/") {
		line = `"$LUNALIFT_ESXI_ROOT"` + line
	}
	busybox := must(filepath.EvalSymlinks(filepath.Join(h.root, "bin/sh")))
	shell := exec.Command(busybox, "sh", "-c", line)
	shell.Dir, shell.Env = h.root, []string{"PATH=" + h.root + "/bin", "LUNALIFT_ESXI_ROOT=" + h.root, "HOME=/"}
	printed, err := shell.Output()
	var read output
	if stdxml.Unmarshal(printed, &read) != nil || len(read.Fields) == 0 {
		return wrong("the command printed no structure: "+string(printed), fmt.Sprint(err))
	}
	values := esx.Values{}
	for _, field := range read.Fields {
		values[field.Name] = []string{field.String}
	}
	return result{rows: []esx.Values{values}}
}

// ---- ExecuteSoap ----

// executer stands in for vcsim's: it serves what that lacks and hands on all else.
type executer struct {
	*simulator.ManagedMethodExecuter
	host *Host
}

func (*executer) Lock()   {} // one command does not wait for another
func (*executer) Unlock() {}

// VimEsxCLICLIFault is how a command that failed says why. Its name is its type on the wire.
type VimEsxCLICLIFault struct {
	types.MethodFault
	ErrMsg []string `xml:"errMsg"`
}

type soapFault struct {
	FaultMsg    string `xml:"faultMsg"`
	FaultDetail string `xml:"faultDetail,omitempty"`
}

type soapResult struct {
	Response string     `xml:"response,omitempty"`
	Fault    *soapFault `xml:"fault,omitempty"`
}

type executed struct {
	Returnval *soapResult `xml:"returnval,omitempty"`
}

type executedBody struct {
	Res    *executed   `xml:"urn:vim25 ExecuteSoapResponse,omitempty"`
	Fault_ *soap.Fault `xml:"http://schemas.xmlsoap.org/soap/envelope/ Fault,omitempty"`
}

func (b *executedBody) Fault() *soap.Fault { return b.Fault_ }

func encode(value any) string {
	var out bytes.Buffer
	check(xml.NewEncoder(&out).Encode(value))
	return out.String()
}

func answer(method string, got result) *soapResult {
	if got.wrong != nil {
		fault := &types.LocalizedMethodFault{
			Fault: &VimEsxCLICLIFault{ErrMsg: got.wrong}, LocalizedMessage: "EsxCLI.CLIFault.summary",
		}
		return &soapResult{Fault: &soapFault{fault.LocalizedMessage, encode(fault)}}
	}
	if got.rows == nil {
		return nil
	}
	sort.SliceStable(got.rows, func(i, j int) bool { return got.rows[i].Value("Device") < got.rows[j].Value("Device") })
	return &soapResult{Response: encode(&esx.Response{Kind: strings.ReplaceAll(method, ".", ""), Values: got.rows})}
}

// The text inside the element that an argument is.
func argument(text string) string {
	var element struct {
		Text string `xml:",chardata"`
	}
	check(stdxml.Unmarshal([]byte(text), &element))
	return element.Text
}

// ExecuteSoap takes any request, since the type of those is vcsim's secret.
func (e *executer) ExecuteSoap(ctx *simulator.Context, request any) soap.HasFault {
	fields := reflect.ValueOf(request).Elem()
	method := fields.FieldByName("Method").String()
	path := strings.TrimPrefix(method, "vim.EsxCLI.")
	args := map[string]string{}
	for i := range fields.FieldByName("Argument").Len() {
		each := fields.FieldByName("Argument").Index(i)
		args[each.FieldByName("Name").String()] = argument(each.FieldByName("Val").String())
	}
	var got result
	if run, known := commands[path]; known {
		got = run(e.host, args)
	} else if line := e.host.extension(path); line != "" {
		got = e.host.run(line, args)
	} else {
		handed := reflect.ValueOf(e.ManagedMethodExecuter).MethodByName("ExecuteSoap")
		return handed.Call([]reflect.Value{reflect.ValueOf(ctx), reflect.ValueOf(request)})[0].Interface().(soap.HasFault)
	}
	return &executedBody{Res: &executed{answer("VimEsxCLI"+path, got)}}
}

// serveEsxcli puts our executer in the place of the host's, under the same reference.
func serveEsxcli(m *simulator.Model, to *simulator.HostSystem, host *Host) {
	ctx := m.Service.Context
	to.RetrieveManagedMethodExecuter(ctx, nil)
	ref := types.ManagedObjectReference{Type: "ManagedMethodExecuter", Value: to.Self.Value}
	m.Map().Put(&executer{m.Map().Get(ref).(*simulator.ManagedMethodExecuter), host})
}
