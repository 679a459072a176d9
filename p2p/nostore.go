package p2p

import (
	"context"
	"fmt"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
)

// NoStore keeps nothing: what a node with it has lies in memory, as much as the
// budget allows, and is lost with the node.
type NoStore struct{}

// Open finds nothing.
func (NoStore) Open(_ context.Context, dgst digest.Digest) (Blob, error) {
	return nil, fmt.Errorf("store: blob %s: nothing is kept: %w", dgst, errdefs.ErrNotFound)
}

// Ingest takes nothing.
func (NoStore) Ingest(context.Context, digest.Digest, int64) (Ingest, error) {
	return nil, fmt.Errorf("store: nothing is kept: %w", errdefs.ErrNotImplemented)
}

// Walk finds nothing.
func (NoStore) Walk(context.Context, func(digest.Digest, int64) error) error { return nil }

// Writes is false.
func (NoStore) Writes() bool { return false }

var _ Store = NoStore{}
