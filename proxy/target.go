package proxy

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"github.com/shoal-p2p/shoal/proxy/ca"
)

// target is where a CONNECT leads.
type target struct {
	host string // an IP address, or a name in lower case without a dot at its end
	port string
}

func (t target) String() string { return net.JoinHostPort(t.host, t.port) }

// parseConnect understands the target of a CONNECT (RFC 9110, section 9.3.6).
func parseConnect(s string) (target, error) {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return target{}, refusef(http.StatusBadRequest, "client: CONNECT wants host:port, not %.80q", s)
	}
	host, ok := parseHost(host, strings.HasPrefix(s, "["))
	if !ok || !validPort(port) {
		return target{}, refusef(http.StatusBadRequest, "client: CONNECT wants host:port, not %.80q", s)
	}
	return target{host: host, port: port}, nil
}

// parseURL understands the URL of a request with an absolute URI, and returns it
// in the form in which rules see it.
func parseURL(u *url.URL) (*url.URL, error) {
	scheme := strings.ToLower(u.Scheme)
	host, ok := parseHost(u.Hostname(), strings.HasPrefix(u.Host, "["))
	switch {
	case scheme != "http" && scheme != "https":
		return nil, refusef(http.StatusNotImplemented, "client: the proxy speaks http and https, not %.40q", u.Scheme)
	case !ok || u.Port() == "" && strings.HasSuffix(u.Host, ":") || u.Port() != "" && !validPort(u.Port()):
		return nil, refusef(http.StatusBadRequest, "client: %.80q is not host[:port]", u.Host)
	case u.User != nil:
		return nil, refusef(http.StatusBadRequest, "client: user and password do not belong into the URL of a request: send them in Authorization")
	}
	port := u.Port()
	if port == "" {
		port = portOf(scheme)
	}
	to := *u
	to.Scheme, to.Host = scheme, withoutPort(scheme, net.JoinHostPort(host, port))
	return &to, nil
}

// parseHost returns an address or a name in its one form.
func parseHost(s string, bracketed bool) (string, bool) {
	if addr, err := netip.ParseAddr(s); err == nil {
		return addr.String(), addr.Is6() == bracketed && addr.Zone() == ""
	}
	s = strings.ToLower(strings.TrimSuffix(s, "."))
	return s, !bracketed && ca.IsName(s)
}

func validPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && n > 0 && s[0] != '0'
}

// pathOf is path and query of a request's target, as the client wrote them: ""
// if there is none, "*" for OPTIONS.
func pathOf(requestURI string) string {
	if requestURI == "*" || strings.HasPrefix(requestURI, "/") {
		return requestURI
	}
	_, rest, _ := strings.Cut(requestURI, "://")
	if at := strings.IndexAny(rest, "/?"); at >= 0 {
		return rest[at:]
	}
	return ""
}
