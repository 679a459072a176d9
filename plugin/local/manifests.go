package local

import (
	"context"
	"fmt"
	"io"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"

	"github.com/shoal-p2p/shoal/internal/oci"
	"github.com/shoal-p2p/shoal/mirror"
)

// Manifests keeps manifests beside the blobs, as content like any other.
type Manifests struct {
	s *Store
}

// Manifests returns the store's manifests.
func (s *Store) Manifests() mirror.ManifestStore { return &Manifests{s: s} }

// Get returns a manifest. One that is not there, or too large to be a manifest,
// gets errdefs.ErrNotFound.
func (m *Manifests) Get(_ context.Context, dgst digest.Digest) ([]byte, error) {
	b, err := m.s.hold(dgst)
	if err != nil {
		return nil, err
	}
	defer m.s.release(dgst)
	defer b.Close()
	if b.Size() > oci.MaxManifest {
		return nil, fmt.Errorf("store %s: manifest %s has %d bytes, no manifest is that large: %w", m.s.dir, dgst, b.Size(), errdefs.ErrNotFound)
	}
	body := make([]byte, b.Size())
	if _, err := io.ReadFull(io.NewSectionReader(b, 0, b.Size()), body); err != nil {
		return nil, fmt.Errorf("store %s: manifest %s: %w", m.s.dir, dgst, err)
	}
	return body, nil
}

// Put keeps a manifest. One that is there, or is being put there, is fine. A
// body that has another digest, or is larger than [oci.MaxManifest], is refused. The
// media type is not kept: the body names it.
func (m *Manifests) Put(ctx context.Context, dgst digest.Digest, _ string, body []byte) error {
	if len(body) > oci.MaxManifest {
		return fmt.Errorf("store %s: manifest %s has %d bytes, more than %d: %w", m.s.dir, dgst, len(body), oci.MaxManifest, errdefs.ErrInvalidArgument)
	}
	if err := dgst.Validate(); err != nil || dgst.Algorithm().FromBytes(body) != dgst {
		return fmt.Errorf("store %s: manifest %s has another digest: %w", m.s.dir, dgst, errdefs.ErrFailedPrecondition)
	}
	in, err := m.s.Ingest(ctx, dgst, int64(len(body)))
	switch {
	case errdefs.IsAlreadyExists(err), errdefs.IsUnavailable(err):
		return nil
	case err != nil:
		return err
	}
	defer in.Close()
	if err := in.Truncate(); err != nil {
		return err
	}
	if _, err := in.Write(body); err != nil {
		return err
	}
	return in.Commit(ctx)
}
