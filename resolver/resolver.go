package resolver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/containerd/log"
)

// Limits on time and size of what an upstream does. To connect, to agree on TLS
// and to get headers takes at most the 30 s that containerd waits for ours.
const (
	connectTimeout       = 5 * time.Second
	defaultHeaderTimeout = 20 * time.Second
	defaultStallTimeout  = 30 * time.Second
	maxHeader            = 256 << 10 // bytes
)

// Resolver asks upstream registries. It is safe for concurrent use.
type Resolver struct {
	cfg      Config
	hosts    map[string]*host // those that are configured
	patterns []*host          // of cfg.Patterns
	other    *host
	plain    *host // others, by plain HTTP
}

// host is a registry's connection and what the node may do there.
type host struct {
	scheme string
	client *http.Client
	logins *logins // nil: the node has no credentials there
}

// New makes a resolver. It reads the CA files.
func New(cfg Config) (*Resolver, error) {
	cfg.UserAgent = cmp.Or(cfg.UserAgent, "shoal")
	cfg.HeaderTimeout = cmp.Or(cfg.HeaderTimeout, defaultHeaderTimeout)
	cfg.StallTimeout = cmp.Or(cfg.StallTimeout, defaultStallTimeout)
	r := &Resolver{cfg: cfg, hosts: map[string]*host{}, other: newHost(cfg.newTransport()), plain: newHost(cfg.newTransport())}
	r.plain.scheme = "http"
	for _, reg := range cfg.Registries {
		if reg.Host == "" {
			return nil, errors.New("resolver: a registry has no host")
		}
		reg.Host = Canonical(reg.Host)
		if r.hosts[reg.Host] != nil {
			return nil, fmt.Errorf("resolver: registry %s is configured twice", reg.Host)
		}
		h, err := r.configured(reg)
		if err != nil {
			return nil, fmt.Errorf("resolver: %w", err)
		}
		r.hosts[reg.Host] = h
	}
	for i, p := range cfg.Patterns {
		t := cfg.newTransport()
		var err error
		if t.TLSClientConfig, err = p.TLS(); err != nil {
			return nil, fmt.Errorf("resolver: proxy.hijack_https.hosts[%d] (%s): %w", i, p.Host, err)
		}
		r.patterns = append(r.patterns, newHost(t))
	}
	return r, nil
}

// at is how a registry is reached, and its host. A client that reached for it by
// plain HTTP gets what is configured only if that is plain HTTP too: nobody's
// credentials go where its operator did not send them.
func (r *Resolver) at(name string) (h *host, addr string) {
	addr, plainly := strings.CutPrefix(name, insecurely)
	h = r.hosts[Canonical(addr)]
	switch {
	case plainly && (h == nil || h.scheme != "http"):
		return r.plain, endpoint(addr)
	case h != nil:
		return h, endpoint(addr)
	}
	addr = endpoint(addr)
	for i, p := range r.cfg.Patterns {
		if p.Host.MatchString(withPort(addr)) {
			return r.patterns[i], addr
		}
	}
	return r.other, addr
}

// withPort is the host:port of a registry that speaks HTTPS.
func withPort(host string) string {
	if _, _, err := net.SplitHostPort(host); err == nil {
		return host
	}
	return net.JoinHostPort(strings.Trim(host, "[]"), "443")
}

func (r *Resolver) configured(reg Registry) (*host, error) {
	transport := r.cfg.newTransport()
	var err error
	if transport.TLSClientConfig, err = tlsConfig(reg.CAFile, reg.Insecure); err != nil {
		return nil, fmt.Errorf("registry %s: %w", reg.Host, err)
	}
	h := newHost(transport)
	if reg.PlainHTTP {
		h.scheme = "http"
	}
	if reg.Credentials != "" {
		if _, _, err := reg.login(); err != nil {
			return nil, err
		}
		if h.logins, err = r.cfg.newLogins(reg, transport); err != nil {
			return nil, err
		}
	}
	return h, nil
}

func newHost(t *http.Transport) *host {
	return &host{scheme: "https", client: &http.Client{Transport: t, CheckRedirect: checkRedirect}}
}

// newTransport speaks HTTP/1.1 only: a blob has a connection of its own then,
// and no stream window between it and the socket.
func (cfg Config) newTransport() *http.Transport {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return &http.Transport{
		Protocols:              protocols,
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: connectTimeout, KeepAlive: 30 * time.Second, ControlContext: cfg.Control}).DialContext,
		TLSHandshakeTimeout:    connectTimeout,
		ResponseHeaderTimeout:  cfg.HeaderTimeout,
		MaxResponseHeaderBytes: maxHeader,
		MaxIdleConnsPerHost:    16,
		IdleConnTimeout:        time.Minute,
		DisableCompression:     true, // bytes are passed on as they are
	}
}

// Warn says which credentials files others on this machine can read.
func (r *Resolver) Warn(ctx context.Context) {
	for _, reg := range r.cfg.Registries {
		if info, err := os.Stat(reg.Credentials); err == nil && info.Mode().Perm()&0o077 != 0 {
			log.G(ctx).WithField("registry", reg.Host).
				Warnf("the credentials file %s is open to other users (%v): chmod 600", reg.Credentials, info.Mode().Perm())
		}
	}
}

// Close ends idle connections.
func (r *Resolver) Close() {
	all := append([]*host{r.other, r.plain}, r.patterns...)
	for _, h := range slices.AppendSeq(all, maps.Values(r.hosts)) {
		h.client.CloseIdleConnections()
	}
}

// Repository is a repository of an upstream registry, and whose eyes it is seen
// with.
type Repository struct {
	Registry string // host[:port] as the client named it, or a PlainHTTP one
	Name     string // "" for the registry as such
	// Authorization is the client's header; "" if it sent none.
	Authorization string
}

// String leaves the credentials out.
func (r Repository) String() string { return r.Registry + "/" + r.Name }

// GoString leaves the credentials out.
func (r Repository) GoString() string { return r.String() }
