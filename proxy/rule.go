package proxy

import (
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/shoal-p2p/shoal/mirror"
)

// way is what becomes of a proxied request.
type way int

const (
	relayed  way = iota // to its origin, untouched
	mirrored            // answered by the mirror
	filed               // answered by Config.Files, if there is that
)

func (w way) String() string { return [...]string{"relay", "mirror", "files"}[w] }

// choose finds the way of a request by the first rule that matches its URL, and
// where it goes then. target is its path and query as the client wrote them.
func choose(rules []Rule, method string, u *url.URL, target string) (way, *url.URL) {
	if !strings.HasPrefix(target, "/") {
		target = "/" + target
	}
	text := u.Scheme + "://" + u.Host + target
	for _, r := range rules {
		if !r.Regexp.MatchString(text) {
			continue
		}
		u = r.apply(u)
		if r.Direct {
			return relayed, u
		}
		return kindOf(method, u), u
	}
	return relayed, u
}

// apply is where a rule sends a request.
func (r Rule) apply(u *url.URL) *url.URL {
	to := *u
	if r.UseHTTPS {
		to.Scheme = "https"
	}
	if r.Redirect != "" {
		to.Host = r.Redirect
	}
	to.Host = withoutPort(to.Scheme, to.Host)
	return &to
}

// kindOf is the way of what is to come from the swarm. HEAD of a blob asks
// whether this repository has it, which only the registry knows: who pushes does
// that. A query, such as another mirror's ns, may change what a path means.
func kindOf(method string, u *url.URL) way {
	if method != http.MethodGet && method != http.MethodHead {
		return relayed
	}
	if !strings.HasPrefix(u.Path, "/v2/") {
		return filed
	}
	if u.RawQuery != "" || u.RawPath != "" || !mirror.IsContent(u.Path) {
		return relayed
	}
	if method == http.MethodHead && strings.Contains(u.Path, "/blobs/") {
		return relayed
	}
	return mirrored
}

// withoutPort drops the port that a scheme has anyway.
func withoutPort(scheme, host string) string {
	name, port, err := net.SplitHostPort(host)
	if err != nil || port != portOf(scheme) {
		return host
	}
	if strings.Contains(name, ":") {
		return "[" + name + "]"
	}
	return name
}

// withPort adds the port that a scheme has.
func withPort(scheme, host string) string {
	if _, _, err := net.SplitHostPort(host); err == nil {
		return host
	}
	return net.JoinHostPort(strings.Trim(host, "[]"), portOf(scheme))
}

func portOf(scheme string) string {
	if scheme == "https" {
		return "443"
	}
	return "80"
}
