package awsfault

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"time"
)

// Handler passes requests on to target, so that whole processes can have the
// faults: they are given its address for AWS's.
func (r *Rules) Handler(target *url.URL) http.Handler {
	return &httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(target)
			p.Out.Host = p.In.Host // queue URLs are made of it
		},
		Transport:    r.Transport(&http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true}),
		ErrorHandler: broken,
	}
}

// broken ends the connection instead of answering, which is what a client sees of
// a response that is lost.
func broken(w http.ResponseWriter, _ *http.Request, _ error) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	_ = conn.Close()
}

// State is what Control shows.
type State struct {
	Rules  []Rule        `json:"rules"`
	Counts map[Fault]int `json:"counts"`
}

// Control shows the State on GET and takes a list of rules on PUT.
func (r *Rules) Control() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		switch request.Method {
		case http.MethodGet:
		case http.MethodPut:
			var rules []Rule
			err := json.NewDecoder(request.Body).Decode(&rules)
			for _, rule := range rules {
				if !slices.Contains(faults, rule.Fault) {
					err = fmt.Errorf("no fault is called %q", rule.Fault)
				}
			}
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			r.Set(rules...)
		default:
			w.WriteHeader(http.StatusMethodNotAllowed)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(State{Rules: r.Get(), Counts: r.Counts()}) // who asked has gone, if it fails
	})
}

// Proxy is a Handler and a Control that listen on loopback.
type Proxy struct {
	// Endpoint is what AWS's clients are given, Control where rules are switched.
	Endpoint, Control string
	servers           []*http.Server
}

// Listen starts a Proxy before target.
func (r *Rules) Listen(target string) (*Proxy, error) {
	at, err := url.Parse(target)
	if err != nil {
		return nil, fmt.Errorf("reading the address of AWS: %w", err)
	}
	p := &Proxy{}
	for _, serve := range []struct {
		address *string
		handler http.Handler
	}{{&p.Endpoint, r.Handler(at)}, {&p.Control, r.Control()}} {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, errors.Join(fmt.Errorf("listening before AWS: %w", err), p.Close())
		}
		server := &http.Server{Handler: serve.handler, ReadHeaderTimeout: time.Minute}
		p.servers = append(p.servers, server)
		*serve.address = "http://" + listener.Addr().String()
		go func() { _ = server.Serve(listener) }() // ends when it is closed
	}
	return p, nil
}

// Close ends both at once.
func (p *Proxy) Close() error {
	var errs []error
	for _, server := range p.servers {
		errs = append(errs, server.Close())
	}
	return errors.Join(errs...)
}
