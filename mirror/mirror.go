package mirror

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/containerd/log"
	"github.com/opencontainers/go-digest"

	"github.com/shoal-p2p/shoal/internal/metrics"
	"github.com/shoal-p2p/shoal/internal/oci"
	"github.com/shoal-p2p/shoal/p2p"
	"github.com/shoal-p2p/shoal/resolver"
)

// Config is what a mirror is made of.
type Config struct {
	// DefaultRegistry is asked where a request names none; "" means Docker Hub.
	DefaultRegistry string
	// Node provides the blobs.
	Node *p2p.Node
	// Resolver provides everything else.
	Resolver *resolver.Resolver
	// Manifests outlive the process; nil keeps them in memory alone.
	Manifests ManifestStore
	// StaleFor is how long a tag may be served as it last was while the
	// upstream cannot be reached; 0 means a day.
	StaleFor time.Duration
	// ClientStall is how long a client may read nothing of a blob before its
	// connection is cut; 0 means 5 minutes. One that does not read holds
	// memory that others need.
	ClientStall time.Duration
	// Receiver is told what a containerd on this machine will pull; may be nil.
	Receiver Receiver
	// Metrics counts.
	Metrics *metrics.Set
}

// Receiver brings blobs into the content store of a containerd on this machine,
// before it asks for them.
type Receiver interface {
	// Receive is called before such a containerd is answered with a manifest or
	// an index, and must return soon. source is the way to its blobs.
	Receive(ctx context.Context, mediaType string, dgst digest.Digest, body []byte, source func(digest.Digest) p2p.Source)
}

// ManifestStore keeps manifests by digest.
type ManifestStore interface {
	// Get returns a manifest, or an error for which errdefs.IsNotFound holds.
	Get(ctx context.Context, dgst digest.Digest) ([]byte, error)
	// Put keeps a manifest.
	Put(ctx context.Context, dgst digest.Digest, mediaType string, body []byte) error
}

// maxHeaders bounds a request's headers in bytes. A larger one is answered by
// us rather than by net/http, which knows no OCI errors.
const maxHeaders = 128 << 10

// maxURI bounds a request's URI in bytes. Registries' paging tokens are long.
const maxURI = 16 << 10

type mirror struct {
	cfg       Config
	manifests *manifests
	ahead     *ahead
}

// New returns the handler of a mirror.
func New(cfg Config) (http.Handler, error) {
	if cfg.DefaultRegistry == "" {
		cfg.DefaultRegistry = resolver.DockerHub
	}
	switch {
	case !validHost(cfg.DefaultRegistry):
		return nil, errors.New("mirror: mirror.default_registry is not host[:port]")
	case cfg.Node == nil || cfg.Resolver == nil || cfg.Metrics == nil:
		return nil, errors.New("mirror: config lacks a node, a resolver or metrics")
	}
	cfg.StaleFor = cmp.Or(cfg.StaleFor, 24*time.Hour)
	cfg.ClientStall = cmp.Or(cfg.ClientStall, 5*time.Minute)
	return &mirror{cfg: cfg, manifests: newManifests(cfg), ahead: newAhead(cfg.Node)}, nil
}

func (m *mirror) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	err := m.serve(w, r, start)
	path := r.URL.Path // without the query, which may hold a token
	entry := log.G(r.Context()).WithField("method", r.Method).WithField("path", path[:min(len(path), 512)])
	if err != nil {
		e := answerOf(err)
		e.WriteTo(w, r.Method)
		entry.WithField("status", e.Status).WithField("reason", e.Error()).Debug("refused")
		return
	}
	entry.WithField("ns", r.URL.Query().Get("ns")).WithField("took", time.Since(start)).Debug("served")
}

// serve answers a request, or returns the error to answer with.
func (m *mirror) serve(w http.ResponseWriter, r *http.Request, start time.Time) error {
	h := w.Header()
	h.Set("Docker-Distribution-API-Version", "registry/2.0")
	h.Set("X-Content-Type-Options", "nosniff")
	if err := checkRequest(r); err != nil {
		return err
	}
	t, err := m.targetOf(r)
	if err != nil {
		return err
	}
	switch t.kind {
	case manifest:
		return m.serveManifest(w, r, t)
	case blob:
		return m.serveBlob(w, r, t, start)
	case tags:
		return m.serveTags(w, r, t)
	case referrers:
		return m.serveReferrers(w, r, t)
	}
	return m.servePing(w, r, t)
}

// checkRequest refuses what no target would change.
func checkRequest(r *http.Request) error {
	if r.URL.Host != "" || r.Method == http.MethodConnect {
		return oci.Errorf(oci.SideClient, http.StatusMethodNotAllowed, oci.CodeUnsupported, "this port is a registry mirror, not a forward proxy")
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return oci.Errorf(oci.SideClient, http.StatusMethodNotAllowed, oci.CodeUnsupported, "this registry mirror is read-only: push to the registry itself")
	}
	size := 0
	for k, values := range r.Header {
		for _, v := range values {
			size += len(k) + len(v)
		}
	}
	if size > maxHeaders {
		return oci.Errorf(oci.SideClient, http.StatusRequestHeaderFieldsTooLarge, oci.CodeUnsupported, "the request's headers are larger than %d bytes", maxHeaders)
	}
	if len(r.RequestURI) > maxURI {
		return oci.Errorf(oci.SideClient, http.StatusRequestURITooLong, oci.CodeUnsupported, "the request's URI is longer than %d bytes", maxURI)
	}
	return nil
}

// servePing answers whether the registry wants a login. Clients that ask here
// first (dockerd) take the challenge from this answer, so the upstream's goes
// down unchanged; if it cannot be reached, the mirror itself still works.
func (m *mirror) servePing(w http.ResponseWriter, r *http.Request, t target) error {
	ctx, cancel := context.WithTimeout(r.Context(), 5*time.Second)
	defer cancel()
	if err := m.cfg.Resolver.Ping(ctx, t.repository(r)); oci.HasStatus(err, http.StatusUnauthorized) || oci.HasStatus(err, http.StatusForbidden) {
		return err
	}
	writeBody(w, r, http.StatusOK, "application/json", []byte("{}"))
	return nil
}

// answerOf is the error that a client gets.
func answerOf(err error) *oci.Error {
	var e *oci.Error
	switch {
	case errors.As(err, &e):
	case errors.Is(err, context.Canceled):
		e = oci.Errorf(oci.SideClient, 499, oci.CodeUnavailable, "the client left")
	case errors.Is(err, context.DeadlineExceeded):
		e = oci.Errorf(oci.SideUpstream, http.StatusGatewayTimeout, oci.CodeUnavailable, "no answer in time")
	default:
		e = oci.Errorf(oci.SideStore, http.StatusInternalServerError, oci.CodeUnavailable, "%v", err)
	}
	return e
}
