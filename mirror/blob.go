package mirror

import (
	"context"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/containerd/log"
	"github.com/opencontainers/go-digest"

	"github.com/shoal-p2p/shoal/internal/delivery"
	"github.com/shoal-p2p/shoal/internal/oci"
	"github.com/shoal-p2p/shoal/p2p"
	"github.com/shoal-p2p/shoal/resolver"
)

// Source is the way to a blob at the upstream that origin names, with the
// credentials there.
func Source(r *resolver.Resolver, origin p2p.Origin, dgst digest.Digest) p2p.Source {
	return source{r: r, origin: origin, dgst: dgst}
}

type source struct {
	r      *resolver.Resolver
	origin p2p.Origin
	dgst   digest.Digest
}

func (s source) Origin() p2p.Origin { return s.origin }

func (s source) Open(ctx context.Context, offset, end int64) (io.ReadCloser, int64, error) {
	return s.r.Blob(ctx, resolver.Repository{Registry: s.origin.Registry, Name: s.origin.Repository, Authorization: s.origin.Authorization}, s.dgst, offset, end)
}

// sourceOf is the way to the blobs of a repository.
func (m *mirror) sourceOf(repo resolver.Repository) func(digest.Digest) p2p.Source {
	origin := p2p.Origin{Registry: repo.Registry, Repository: repo.Name, Authorization: repo.Authorization}
	return func(dgst digest.Digest) p2p.Source { return Source(m.cfg.Resolver, origin, dgst) }
}

func (m *mirror) serveBlob(w http.ResponseWriter, r *http.Request, t target, start time.Time) error {
	if r.Method == http.MethodHead {
		return m.statBlob(w, r, t)
	}
	source := m.sourceOf(t.repository(r))
	c, err := m.cfg.Node.Open(r.Context(), t.digest, source(t.digest))
	if err != nil {
		return err
	}
	defer c.Close()
	setBlobHeaders(w.Header(), t.digest)
	s, ok := delivery.SpanOf(r, c.Size(), etagOf(t.digest), "")
	if !ok {
		return outside(w, r, c.Size())
	}
	m.ahead.begin(t.digest, s, source)
	if err := c.Ready(r.Context(), s.Offset); err != nil {
		clearBlobHeaders(w.Header())
		return err
	}
	m.cfg.Metrics.FirstByte.Observe(time.Since(start).Seconds())
	s.WriteHeader(w, c.Size())
	m.copyBlob(w, r, t.digest, c, s)
	return nil
}

// copyBlob sends what was announced, or cuts the connection.
func (m *mirror) copyBlob(w http.ResponseWriter, r *http.Request, dgst digest.Digest, c *p2p.Content, s delivery.Span) {
	err := delivery.Copy(r.Context(), w, c, s, m.cfg.ClientStall)
	if err == nil {
		return
	}
	entry := log.G(r.Context()).WithError(err).WithField("blob", dgst)
	if delivery.ClientLeft(r.Context(), err) {
		entry.Debug("a client stopped reading")
	} else {
		entry.Warn("a blob was cut short")
	}
	panic(http.ErrAbortHandler)
}

// outside is the answer to a range that lies outside the content.
func outside(w http.ResponseWriter, r *http.Request, size int64) error {
	delivery.Unsatisfiable(w.Header(), size)
	return oci.Errorf(oci.SideClient, http.StatusRequestedRangeNotSatisfiable, oci.CodeRangeInvalid,
		"range %.80q is outside the content's %d bytes", r.Header.Get("Range"), size)
}

// statBlob answers HEAD. It starts no fill.
func (m *mirror) statBlob(w http.ResponseWriter, r *http.Request, t target) error {
	size, ok := m.cfg.Node.Stat(r.Context(), t.digest)
	if !ok {
		var err error
		if size, err = m.cfg.Resolver.StatBlob(r.Context(), t.repository(r), t.digest); err != nil {
			return err
		}
	}
	setBlobHeaders(w.Header(), t.digest)
	w.Header().Set("Accept-Ranges", "bytes")
	if size >= 0 {
		w.Header().Set("Content-Length", strconv.FormatInt(size, 10))
	}
	w.WriteHeader(http.StatusOK)
	return nil
}

func etagOf(dgst digest.Digest) string { return `"` + dgst.String() + `"` }

func setBlobHeaders(h http.Header, dgst digest.Digest) {
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Docker-Content-Digest", dgst.String())
	h.Set("Etag", etagOf(dgst))
}

func clearBlobHeaders(h http.Header) {
	h.Del("Docker-Content-Digest")
	h.Del("Etag")
}
