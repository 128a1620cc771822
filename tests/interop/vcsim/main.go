// A vCenter by VMware's own simulator, standing where the lab's own would: vcsim LAB/site.json FOLDER [esxi].
//
// It takes hosts, adapters, datastores and VMs over from the lab's vCenter, keeps morefs, sessions, property collector and faults as
// govmomi makes them, and adds the esxcli commands that it lacks. Writes FOLDER/vcsim.json when it is ready, and its certificate.
package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"log"
	"math/big"
	"net"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/vmware/govmomi/simulator"
)

// Site is what we need of the lab's site.json.
type Site struct {
	CAFile  string `json:"ca_file"`
	Control struct {
		URL string `json:"url"`
	} `json:"control"`
	Vcenter struct {
		Host, Username, Password string
	} `json:"vcenter"`
	Hosts []struct {
		Moref, Name, Root string
	} `json:"hosts"`
}

func must[T any](value T, err error) T {
	check(err)
	return value
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func writeJSON(path string, value any) {
	text := must(json.MarshalIndent(value, "", "  "))
	check(os.WriteFile(path+".part", text, 0o644))
	check(os.Rename(path+".part", path))
}

// A certificate of its own, which is its own authority.
func certificate(path string) tls.Certificate {
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(time.Now().UnixNano()),
		Subject:               pkix.Name{CommonName: "vcsim"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(24 * time.Hour),
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA:                  true,
		BasicConstraintsValid: true,
	}
	der := must(x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key))
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	check(os.WriteFile(path, text, 0o644))
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func model(kind string) *simulator.Model {
	if kind == "esxi" {
		m := simulator.ESX()
		m.Machine, m.Autostart = 3, false
		return m
	}
	m := simulator.VPX()
	m.Host, m.ClusterHost, m.Datastore = 0, 2, 2
	m.Machine, m.Autostart = 260, false // more than our client asks for in one page
	return m
}

func main() {
	folder, kind := os.Args[2], "vcenter"
	if len(os.Args) > 3 {
		kind = os.Args[3]
	}
	var site Site
	check(json.Unmarshal(must(os.ReadFile(os.Args[1])), &site))
	check(os.MkdirAll(folder, 0o755))

	m := model(kind)
	check(m.Create())
	defer m.Remove()
	vms := takeOver(context.Background(), &site, m)

	pem := filepath.Join(folder, "vcsim.pem")
	m.Service.TLS = &tls.Config{Certificates: []tls.Certificate{certificate(pem)}}
	m.Service.Listen = &url.URL{Host: "127.0.0.1:0", User: url.UserPassword(site.Vcenter.Username, site.Vcenter.Password)}
	front := &front{lost: map[string]bool{}}
	m.Service.HandleFunc("/test/", front.door)
	server := m.Service.NewServer()
	defer server.Close()
	front.next, server.Config.Handler = server.Config.Handler, front
	writeJSON(filepath.Join(folder, "vcsim.json"), map[string]any{
		"host": server.URL.Host, "ca_file": pem, "vms": vms,
	})

	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGINT, syscall.SIGTERM)
	<-ended
}
