package proxy

import (
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/shoal-p2p/shoal/resolver"
)

// origins are the servers that are asked. Connections to them are kept, by how
// their certificates are checked.
type origins struct {
	patterns []resolver.Pattern
	matching []*http.Transport // of patterns
	other    *http.Transport
}

func newOrigins(dialer *net.Dialer, parent func(*url.URL) (*url.URL, error), patterns []resolver.Pattern) (*origins, error) {
	o := &origins{patterns: patterns, other: newTransport(dialer, parent)}
	for i, p := range patterns {
		t := newTransport(dialer, parent)
		var err error
		if t.TLSClientConfig, err = p.TLS(); err != nil {
			return nil, fmt.Errorf("proxy: proxy.hijack_https.hosts[%d]: %w", i, err)
		}
		o.matching = append(o.matching, t)
	}
	return o, nil
}

// newTransport changes nothing of what passes through it.
func newTransport(dialer *net.Dialer, parent func(*url.URL) (*url.URL, error)) *http.Transport {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	return &http.Transport{
		Protocols:              protocols,
		Proxy:                  func(r *http.Request) (*url.URL, error) { return parent(r.URL) },
		DialContext:            dialer.DialContext,
		TLSHandshakeTimeout:    tlsTimeout,
		ExpectContinueTimeout:  time.Second,
		MaxResponseHeaderBytes: 1 << 20,
		MaxIdleConns:           512,
		MaxIdleConnsPerHost:    32,
		IdleConnTimeout:        time.Minute,
		DisableCompression:     true,
	}
}

// RoundTrip asks the origin of the request's URL.
func (o *origins) RoundTrip(r *http.Request) (*http.Response, error) {
	return o.transport(r).RoundTrip(r)
}

func (o *origins) transport(r *http.Request) *http.Transport {
	if r.URL.Scheme == "https" {
		at := withPort("https", r.URL.Host)
		for i, p := range o.patterns {
			if p.Host.MatchString(at) {
				return o.matching[i]
			}
		}
	}
	return o.other
}

func (o *origins) close() {
	o.other.CloseIdleConnections()
	for _, t := range o.matching {
		t.CloseIdleConnections()
	}
}

// bound reports whether a request logs a connection in rather than itself
// (RFC 4559, and NTLM): nobody else may use that connection.
func bound(h http.Header) bool {
	scheme, _, _ := strings.Cut(h.Get("Authorization"), " ")
	return strings.EqualFold(scheme, "NTLM") || strings.EqualFold(scheme, "Negotiate")
}

var _ http.RoundTripper = (*origins)(nil)
