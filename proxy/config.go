package proxy

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"time"

	"github.com/shoal-p2p/shoal/resolver"
)

// Config is what a proxy is made of.
type Config struct {
	// Mirror answers what is not proxied, and what is to come from the swarm.
	Mirror http.Handler
	// Guard says where nobody may go.
	Guard *Guard
	// Files, if not nil, makes what answers GET and HEAD of what a rule matches
	// and is no registry's, and downloads (files.HeaderGet). Requests have
	// absolute URLs. relay passes one on to its origin.
	Files func(relay http.Handler) http.Handler

	// Rules are tried in their order; the first that matches counts. Without
	// one, a request is relayed.
	Rules []Rule
	// Intercept says which HTTPS connections are opened; the zero value opens
	// none.
	Intercept Intercept
	// AllowFrom are the networks whose machines may use the proxy; this machine
	// may always. The mirror is open to all.
	AllowFrom []netip.Prefix
	// AllowTo are networks that clients may be led to although nobody may by
	// default: what Guard was made with.
	AllowTo []netip.Prefix
	// Parent says by which proxy a request gets to its origin, as that of
	// http.Transport does; nil is http.ProxyFromEnvironment.
	Parent func(*http.Request) (*url.URL, error)
	// IdleTimeout is how long nothing may pass through a tunnel before it is
	// closed; 0 means an hour.
	IdleTimeout time.Duration
}

// Rule says what becomes of requests.
type Rule struct {
	// Regexp matches the absolute URL, anywhere in it. Scheme and host are in
	// lower case, and the port is left out where it is the scheme's own.
	Regexp *regexp.Regexp
	// Direct keeps the request out of the swarm.
	Direct bool
	// UseHTTPS asks the origin by HTTPS, whatever the client said.
	UseHTTPS bool
	// Redirect is a host[:port] that takes the place of the URL's; "" leaves it.
	Redirect string
}

// Intercept says which HTTPS connections are opened.
type Intercept struct {
	// CertFile and KeyFile are a pair in PEM: that of a CA, which then signs a
	// certificate for each host, or one that is presented for all of them.
	CertFile, KeyFile string
	// Hosts match the host:port of CONNECT. They say, too, how the certificate
	// of the origin is checked; the first that matches counts.
	Hosts []resolver.Pattern
}

func (c *Config) validate() error {
	if c.Mirror == nil || c.Guard == nil {
		return errors.New("proxy: config lacks a mirror or a guard")
	}
	for i, r := range c.Rules {
		if r.Regexp == nil {
			return fmt.Errorf("proxy: proxy.rules[%d] has no regex", i)
		}
	}
	if len(c.Intercept.Hosts) > 0 && (c.Intercept.CertFile == "" || c.Intercept.KeyFile == "") {
		return errors.New("proxy: proxy.hijack_https has hosts, but no cert and key: shoal gen-ca makes them")
	}
	if c.Parent == nil {
		c.Parent = http.ProxyFromEnvironment
	}
	if c.IdleTimeout == 0 {
		c.IdleTimeout = time.Hour
	}
	return nil
}
