package p2p

import (
	"context"
	"io"
	"net/http"

	"github.com/opencontainers/go-digest"
)

const MinMemory = 8 << 20

// Node is one node in its swarms.
type Node struct{ cfg Config }

// NewNode makes a node; Run brings it to life.
func NewNode(cfg Config) (*Node, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	return &Node{cfg: cfg}, nil
}

// Run keeps the node in its swarms until ctx ends, then lets go of everything and returns nil.
func (n *Node) Run(ctx context.Context) error { <-ctx.Done(); return nil }

// Handler serves the peer port: pieces and peer control.
func (n *Node) Handler() http.Handler { return http.NotFoundHandler() }

// Status tells what the node does now.
func (n *Node) Status() Status { return Status{} }

// Stat returns the size of a blob that the store holds whole or that a fill knows.
func (n *Node) Stat(ctx context.Context, dgst digest.Digest) (size int64, ok bool) { return 0, false }

// Open returns the blob: from the store if it holds it, else from the node's
// one fill for that digest, which is joined or started (with src as a way to
// the upstream). It returns when the size is known. Errors are *oci.Error where
// a registry or the swarm said no.
func (n *Node) Open(ctx context.Context, dgst digest.Digest, src Source) (*Content, error) {
	return nil, context.Canceled
}

// Content is one client's hold on a blob. A fill goes on while anyone holds it.
type Content struct{}

// Size is the size of the blob.
func (c *Content) Size() int64 { return 0 }

// Ready waits until the byte at offset can be copied, so that an error can
// still become a status code. offset may be Size only if that is 0.
func (c *Content) Ready(ctx context.Context, offset int64) error { return nil }

// CopyRange writes length bytes from offset to w, each one verified. It returns
// how many it wrote. w may be an http.ResponseWriter: then sendfile is used
// where the bytes lie in a file.
func (c *Content) CopyRange(ctx context.Context, w io.Writer, offset, length int64) (int64, error) {
	return 0, nil
}

// Close lets go of the blob.
func (c *Content) Close() error { return nil }
