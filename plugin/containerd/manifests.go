package containerd

import (
	"context"
	"fmt"
	"io"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"

	"github.com/shoal-p2p/shoal/internal/oci"
	"github.com/shoal-p2p/shoal/mirror"
)

// Manifests reads manifests out of containerd's store.
type Manifests struct {
	s *Store
}

// Manifests returns containerd's manifests.
func (s *Store) Manifests() mirror.ManifestStore { return &Manifests{s: s} }

// Get returns a manifest. One that is not there, or too large to be a manifest,
// gets errdefs.ErrNotFound.
func (m *Manifests) Get(ctx context.Context, dgst digest.Digest) ([]byte, error) {
	b, err := m.s.Open(ctx, dgst)
	if err != nil {
		return nil, err
	}
	defer b.Close()
	if b.Size() > oci.MaxManifest {
		return nil, fmt.Errorf("store: manifest %s has %d bytes, no manifest is that large: %w", dgst, b.Size(), errdefs.ErrNotFound)
	}
	body := make([]byte, b.Size())
	if _, err := io.ReadFull(io.NewSectionReader(b, 0, b.Size()), body); err != nil {
		return nil, fmt.Errorf("store: manifest %s: %w", dgst, err)
	}
	return body, nil
}

// Put does nothing: containerd keeps the manifests that it pulls.
func (m *Manifests) Put(context.Context, digest.Digest, string, []byte) error { return nil }
