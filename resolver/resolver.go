package resolver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/containerd/containerd/v2/core/remotes/docker"

	"github.com/shoal-p2p/shoal/internal/oci"
)

// Limits on time and size of what an upstream does.
const (
	connectTimeout = 10 * time.Second
	// headerTimeout is less than the 30 s that containerd waits for ours.
	headerTimeout = 25 * time.Second
	maxHeader     = 256 << 10 // bytes
)

// Resolver asks upstream registries. It is safe for concurrent use.
type Resolver struct {
	userAgent string
	hosts     map[string]*host // those that are configured
	other     *host
}

// host is a registry's connection and what the node may do there.
type host struct {
	scheme     string
	client     *http.Client
	authorizer docker.Authorizer // nil: the node has no credentials there
}

// New makes a resolver. It reads the CA files.
func New(cfg Config) (*Resolver, error) {
	r := &Resolver{userAgent: cfg.UserAgent, hosts: map[string]*host{}, other: newHost(nil)}
	if r.userAgent == "" {
		r.userAgent = "shoal"
	}
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
	return r, nil
}

func (r *Resolver) configured(reg Registry) (*host, error) {
	tlsConfig, err := reg.tlsConfig()
	if err != nil {
		return nil, err
	}
	transport := newTransport()
	transport.TLSClientConfig = tlsConfig
	h := newHost(transport)
	if reg.PlainHTTP {
		h.scheme = "http"
	}
	if reg.Credentials != "" {
		if _, _, err := reg.login(); err != nil {
			return nil, err
		}
		h.authorizer = docker.NewDockerAuthorizer(
			docker.WithAuthClient(&http.Client{Transport: transport, Timeout: headerTimeout}),
			docker.WithAuthHeader(http.Header{"User-Agent": {r.userAgent}}),
			docker.WithAuthCreds(func(string) (string, string, error) { return reg.login() }),
		)
	}
	return h, nil
}

func newHost(t *http.Transport) *host {
	if t == nil {
		t = newTransport()
	}
	return &host{scheme: "https", client: &http.Client{Transport: t, CheckRedirect: checkRedirect}}
}

// newTransport speaks HTTP/1.1 only: a blob has a connection of its own then,
// and no stream window between it and the socket.
func newTransport() *http.Transport {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return &http.Transport{
		Protocols:              protocols,
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: connectTimeout, KeepAlive: 30 * time.Second}).DialContext,
		TLSHandshakeTimeout:    connectTimeout,
		ResponseHeaderTimeout:  headerTimeout,
		MaxResponseHeaderBytes: maxHeader,
		MaxIdleConnsPerHost:    16,
		IdleConnTimeout:        time.Minute,
		DisableCompression:     true, // bytes are passed on as they are
	}
}

// Close ends idle connections.
func (r *Resolver) Close() {
	r.other.client.CloseIdleConnections()
	for _, h := range r.hosts {
		h.client.CloseIdleConnections()
	}
}

// Repository is a repository of an upstream registry, and whose eyes it is seen
// with.
type Repository struct {
	Registry string // host[:port] as the client named it
	Name     string // "" for the registry as such
	// Authorization is the client's header; "" if it sent none.
	Authorization string
}

// String leaves the credentials out.
func (r Repository) String() string { return r.Registry + "/" + r.Name }

// GoString leaves the credentials out.
func (r Repository) GoString() string { return r.String() }

// request is one question to an upstream.
type request struct {
	method string
	path   string // below /v2/
	query  url.Values
	header http.Header
	// unknown is the OCI code of a 404.
	unknown string
}

// do asks the upstream. Any answer but those of the kinds 2xx and 304 is an
// *oci.Error. The caller closes the body.
func (r *Resolver) do(ctx context.Context, repo Repository, q request) (*http.Response, error) {
	name := Canonical(repo.Registry)
	h := r.hosts[name]
	if h == nil {
		h = r.other
	}
	u := url.URL{Scheme: h.scheme, Host: endpoint(name), Path: "/v2/" + q.path, RawQuery: q.query.Encode()}
	own := repo.Authorization == "" && h.authorizer != nil
	var asked []*http.Response
	for {
		req, err := http.NewRequestWithContext(ctx, q.method, u.String(), nil)
		if err != nil {
			return nil, oci.Errorf(oci.SideClient, http.StatusBadRequest, oci.CodeNameInvalid, "registry %s cannot be asked: %v", repo.Registry, err)
		}
		for k, v := range q.header {
			req.Header[k] = v
		}
		req.Header.Set("User-Agent", r.userAgent)
		req.Header.Set("Accept-Encoding", "identity")
		if own {
			if err := h.authorizer.Authorize(ctx, req); err != nil {
				return nil, oci.Errorf(oci.SideUpstream, http.StatusBadGateway, oci.CodeUnauthorized,
					"registry %s does not take this node's credentials: %v", repo.Registry, err)
			}
		} else if repo.Authorization != "" {
			req.Header.Set("Authorization", repo.Authorization)
		}
		resp, err := h.client.Do(req)
		if err != nil {
			return nil, unreachable(ctx, repo.Registry, err)
		}
		if resp.StatusCode/100 == 2 || resp.StatusCode == http.StatusNotModified {
			return resp, nil
		}
		if own && resp.StatusCode == http.StatusUnauthorized {
			asked = append(asked, resp)
			if len(asked) < 3 && h.authorizer.AddResponses(ctx, asked) == nil {
				drain(resp)
				continue
			}
		}
		return nil, refusal(resp, repo, q.unknown)
	}
}

// unreachable is the error of an upstream that gave no answer.
func unreachable(ctx context.Context, registry string, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var u *url.Error
	if errors.As(err, &u) { // its text holds the URL, and that perhaps a signature
		err = u.Err
	}
	status := http.StatusBadGateway
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		status = http.StatusGatewayTimeout
	}
	return oci.Errorf(oci.SideUpstream, status, oci.CodeUnavailable,
		"registry %s cannot be reached: %v; check its name, or --plain-http if it speaks HTTP", registry, err)
}

// passed are the statuses that mean to a client what they mean to us.
var passed = []int{
	http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound,
	http.StatusMethodNotAllowed, http.StatusGone, http.StatusRequestedRangeNotSatisfiable,
	http.StatusTooManyRequests, http.StatusUnavailableForLegalReasons,
}

// refusal turns an answer that is not a success into an error, and reads no
// more of it than that needs.
func refusal(resp *http.Response, repo Repository, unknown string) error {
	defer drain(resp)
	e := &oci.Error{Side: oci.SideUpstream, Status: resp.StatusCode}
	if !slices.Contains(passed, e.Status) {
		e.Status = http.StatusBadGateway
	}
	e.Code, e.Message = oci.ParseErrorBody(resp.Body)
	if e.Message == "" {
		e.Message = fmt.Sprintf("registry %s answers %d", repo.Registry, resp.StatusCode)
	} else {
		e.Message = fmt.Sprintf("registry %s: %s", repo.Registry, e.Message)
	}
	switch resp.StatusCode {
	case http.StatusUnauthorized:
		e.Challenges = resp.Header.Values("WWW-Authenticate")
		e.Code = oci.CodeUnauthorized
	case http.StatusForbidden:
		e.Code = oci.CodeDenied
	case http.StatusNotFound:
		if e.Code == "" || e.Code == oci.CodeUnsupported {
			e.Code = unknown
		}
	case http.StatusTooManyRequests:
		e.Code = oci.CodeTooManyRequests
		e.RetryAfter = resp.Header.Get("Retry-After")
	}
	if e.Code == "" {
		e.Code = oci.CodeUnavailable
	}
	return e
}
