package proxy

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"github.com/containerd/log"

	"github.com/shoal-p2p/shoal/files"
	"github.com/shoal-p2p/shoal/mirror"
	"github.com/shoal-p2p/shoal/resolver"
)

// Limits on time that others take.
const (
	// dialTimeout includes the resolution of the name.
	dialTimeout = 10 * time.Second
	tlsTimeout  = 10 * time.Second
	// clientStall is how long a client may read nothing of what is relayed.
	clientStall = 5 * time.Minute
)

// Proxy is a node's forward proxy; see [New].
type Proxy struct {
	cfg      Config
	dialer   *net.Dialer
	origins  *origins
	relay    relay
	files    http.Handler // may be nil
	opener   *opener      // nil: no connection is opened
	sessions sessions
}

// New makes a proxy. It works while Run does.
func New(cfg Config) (*Proxy, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	p := &Proxy{cfg: cfg, dialer: &net.Dialer{Timeout: dialTimeout, ControlContext: cfg.Guard.Control}}
	var err error
	if p.origins, err = newOrigins(p.dialer, p.parent, cfg.Intercept.Hosts); err != nil {
		return nil, err
	}
	p.relay = newRelay(p.origins)
	if cfg.Files != nil {
		p.files = cfg.Files(p.relay)
	}
	if len(cfg.Intercept.Hosts) > 0 {
		if p.opener, err = newOpener(cfg.Intercept, http.HandlerFunc(p.serveOpened)); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// ServeHTTP answers what is proxied, and leaves all else to the mirror.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	proxied := r.Method == http.MethodConnect || r.URL.Host != "" || r.URL.Scheme != ""
	switch {
	case !proxied:
		p.cfg.Mirror.ServeHTTP(w, r)
	case !p.admits(r):
		p.refuse(w, r, refusef(http.StatusForbidden, "client: the proxy serves this machine alone: list yours in proxy.allow_from on the node"))
	case r.Method == http.MethodConnect:
		p.serveConnect(w, r)
	default:
		u, err := parseURL(r.URL)
		if err != nil {
			p.refuse(w, r, err)
			return
		}
		// The URI counts, whatever Host says (RFC 9112, section 3.2.2).
		p.serve(w, r, u, r.URL.Host)
	}
}

// admits reports whether a client may use the proxy.
func (p *Proxy) admits(r *http.Request) bool {
	if mirror.FromHere(r) {
		return true
	}
	remote, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return false
	}
	for _, n := range p.cfg.AllowFrom {
		if n.Contains(remote.Addr().Unmap().WithZone("")) {
			return true
		}
	}
	return false
}

// serve answers a request for a URL. host is what the origin gets as Host.
func (p *Proxy) serve(w http.ResponseWriter, r *http.Request, u *url.URL, host string) {
	path := pathOf(r.RequestURI)
	way, to := choose(p.cfg.Rules, r.Method, u, path)
	if to.Host != u.Host {
		host = to.Host
	}
	ctx, leave, ok := p.sessions.request(w, r)
	if !ok {
		p.refuse(w, r, errEnding)
		return
	}
	defer leave()
	log.G(ctx).WithField("method", r.Method).WithField("origin", to.Host).WithField("way", way).Debug("proxied")
	r = r.WithContext(context.WithValue(ctx, pathKey{}, path))
	r.URL, r.Host = to, host
	switch {
	case p.files != nil && (way == filed || r.Header.Get(files.HeaderGet) != ""):
		p.files.ServeHTTP(w, r)
	case way == mirrored:
		p.serveMirrored(w, r)
	default:
		p.relay.ServeHTTP(w, r)
	}
}

// serveMirrored has the mirror answer, as if the client had named the registry
// there.
func (p *Proxy) serveMirrored(w http.ResponseWriter, r *http.Request) {
	registry := r.URL.Host
	if r.URL.Scheme == "http" {
		registry = resolver.PlainHTTP(registry)
	}
	r.URL = &url.URL{Path: r.URL.Path}
	p.cfg.Mirror.ServeHTTP(w, mirror.WithRegistry(r, registry))
}

// refuse answers with an error.
func (p *Proxy) refuse(w http.ResponseWriter, r *http.Request, err error) {
	e := refusalOf(err, r.URL.Host)
	log.G(r.Context()).WithField("method", r.Method).WithField("host", r.Host).WithField("reason", e.text).Debug("the proxy refused")
	e.writeTo(w)
}

var errEnding = refusef(http.StatusServiceUnavailable, "the agent is ending")

// Run works until ctx ends. It returns when every tunnel is closed and every
// proxied request has ended.
func (p *Proxy) Run(ctx context.Context) error {
	defer p.origins.close()
	var opened <-chan struct{}
	if p.opener != nil {
		opened = p.opener.start(ctx)
	}
	p.sessions.watch(ctx, p.cfg.IdleTimeout)
	if p.opener != nil {
		p.opener.close()
		<-opened
	}
	p.sessions.end()
	return nil
}

// Drain waits until what is under way has ended, or ctx has. Tunnels in which
// nothing moves are not waited for.
func (p *Proxy) Drain(ctx context.Context) error {
	if p.opener != nil {
		if err := p.opener.drain(ctx); err != nil {
			return err
		}
	}
	return p.sessions.drain(ctx)
}
