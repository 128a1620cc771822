package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"sync"
)

// front stands before vcsim and spoils requests on demand: POST /test/spoil?at=TEXT&how=WAY, once, the next request that holds TEXT.
//
//	logout  the login of that request is lost, and unknown ever after
//	503     it gets that bare status, as from a proxy whose vpxd restarts
//	cut     it is carried out, and the connection is cut instead of an answer
//
// GET /test/spoil tells whether that has happened.
type front struct {
	sync.Mutex
	next    http.Handler
	lost    map[string]bool
	at, how string
	spoilt  bool
}

func cookieOf(r *http.Request) string {
	if cookie, err := r.Cookie("vmware_soap_session"); err == nil {
		return cookie.Value
	}
	return ""
}

func (f *front) door(w http.ResponseWriter, r *http.Request) {
	f.Lock()
	defer f.Unlock()
	if r.Method == http.MethodPost {
		f.at, f.how, f.spoilt = r.FormValue("at"), r.FormValue("how"), false
	}
	_, _ = fmt.Fprint(w, f.spoilt)
}

// What is to be done to this request; its body can be read again afterwards.
func (f *front) verdict(r *http.Request) string {
	body, _ := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(body))
	f.Lock()
	defer f.Unlock()
	how := ""
	if f.at != "" && bytes.Contains(body, []byte(f.at)) {
		how, f.at, f.spoilt = f.how, "", true
	}
	if how == "logout" {
		f.lost[cookieOf(r)] = true
	}
	if f.lost[cookieOf(r)] {
		r.Header.Del("Cookie")
	}
	return how
}

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/sdk" {
		f.next.ServeHTTP(w, r)
		return
	}
	switch f.verdict(r) {
	case "503":
		w.WriteHeader(http.StatusServiceUnavailable)
	case "cut":
		f.next.ServeHTTP(discard{http.Header{}}, r)
		panic(http.ErrAbortHandler)
	default:
		f.next.ServeHTTP(w, r)
	}
}

type discard struct{ header http.Header }

func (d discard) Header() http.Header         { return d.header }
func (d discard) Write(b []byte) (int, error) { return len(b), nil }
func (d discard) WriteHeader(int)             {}
