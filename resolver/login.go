package resolver

import (
	"fmt"
	"net/http"

	"github.com/containerd/containerd/v2/core/remotes/docker"
	lru "github.com/hashicorp/golang-lru/v2"
)

// keptLogins bounds how many repositories a node is logged in to at a registry.
const keptLogins = 256

// logins are the node's own at one registry. Each repository has its own: a
// token is for that repository alone, and forgotten with it.
type logins struct {
	make func() docker.Authorizer
	kept *lru.Cache[string, docker.Authorizer]
}

func (cfg Config) newLogins(reg Registry, transport http.RoundTripper) (*logins, error) {
	kept, err := lru.New[string, docker.Authorizer](keptLogins)
	if err != nil {
		return nil, err
	}
	client := &http.Client{
		Transport:     loginTransport{RoundTripper: transport, plain: reg.PlainHTTP},
		CheckRedirect: stayAtHost,
		Timeout:       cfg.HeaderTimeout,
	}
	return &logins{kept: kept, make: func() docker.Authorizer {
		return docker.NewDockerAuthorizer(
			docker.WithAuthClient(client),
			docker.WithAuthHeader(http.Header{"User-Agent": {cfg.UserAgent}}),
			docker.WithAuthCreds(func(string) (string, string, error) { return reg.login() }),
		)
	}}, nil
}

// at is the login to a repository, that to the registry as such for "". fresh
// says that nobody has used it yet.
func (l *logins) at(repo string) (a docker.Authorizer, fresh bool) {
	if a, ok := l.kept.Get(repo); ok {
		return a, false
	}
	a = l.make()
	if first, ok, _ := l.kept.PeekOrAdd(repo, a); ok {
		return first, false
	}
	return a, true
}

// forget drops a login that no longer works. containerd's authorizer keeps what
// went wrong as long as what went well: a token that has expired without saying
// when, or an answer that did not come because who waited for it left.
func (l *logins) forget(repo string, a docker.Authorizer) {
	if now, ok := l.kept.Peek(repo); ok && now == a {
		l.kept.Remove(repo)
	}
}

// loginTransport keeps the node's password from leaving over plain HTTP: where
// to log in is what the registry's challenge says.
type loginTransport struct {
	http.RoundTripper
	plain bool // the operator allows it
}

func (t loginTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Scheme != "https" && !t.plain {
		return nil, fmt.Errorf("it wants the password over plain HTTP, at %s: set registries[].plain_http to allow it", req.URL.Host)
	}
	return t.RoundTripper.RoundTrip(req)
}

// stayAtHost refuses to be sent on with a password in hand.
func stayAtHost(req *http.Request, via []*http.Request) error {
	if len(via) > maxRedirects || req.URL.Host != via[0].URL.Host {
		return fmt.Errorf("%w the login elsewhere", errRedirect)
	}
	return nil
}
