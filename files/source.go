package files

import (
	"cmp"
	"context"
	"io"
	"net/http"
	"net/url"

	"github.com/opencontainers/go-digest"

	"github.com/shoal-p2p/shoal/internal/oci"
	"github.com/shoal-p2p/shoal/p2p"
	"github.com/shoal-p2p/shoal/resolver"
)

// Source is the way to a file from what an agent has sent. One that makes no sense
// fails when it is opened.
func Source(r *resolver.Resolver, origin p2p.Origin, id digest.Digest) p2p.Source {
	s, err := decode(origin.File, id)
	return &source{r: r, spec: s, origin: origin, err: err}
}

func newSource(r *resolver.Resolver, s spec, transient bool) *source {
	return &source{r: r, spec: s, origin: p2p.Origin{File: s.encode()}, transient: transient}
}

// source reads a version of a file, or a part of it, from its server.
type source struct {
	r      *resolver.Resolver
	spec   spec
	origin p2p.Origin
	err    error

	transient bool
}

// Transient implements [p2p.Transient].
func (s *source) Transient() bool { return s.transient }

func (s *source) Origin() p2p.Origin { return s.origin }

func (s *source) Open(ctx context.Context, offset, end int64) (io.ReadCloser, int64, error) {
	if s.err != nil {
		return nil, 0, oci.Errorf(oci.SideClient, http.StatusBadRequest, oci.CodeUnsupported, "%v", s.err)
	}
	u, err := url.Parse(s.spec.URL)
	if err != nil {
		return nil, 0, err
	}
	size := s.spec.Size
	if p := s.spec.Part; p != nil {
		offset, end, size = p.Offset+offset, p.Offset+min(p.Length, cmp.Or(end, p.Length)), p.Length
	}
	body, all, err := s.r.File(ctx, resolver.FileRequest{URL: u, Header: s.spec.Header}, s.spec.Version, offset, end)
	if err != nil {
		return nil, 0, err
	}
	if all >= 0 && all != s.spec.Size {
		_ = body.Close()
		return nil, 0, oci.Errorf(oci.SideUpstream, http.StatusPreconditionFailed, oci.CodeFileChanged,
			"%s has changed at its source: it has %d bytes, not %d", resolver.Shown(u), all, s.spec.Size)
	}
	return body, size, nil
}
