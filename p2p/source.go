package p2p

import (
	"context"
	"io"
)

// Source is one way to a blob in an upstream registry, with the credentials of
// whoever asked for it. The mirror hands one to the node with every request: a
// digest names a blob, but credentials belong to a repository.
type Source interface {
	// Open reads the blob from offset to end, which it may exceed; 0 is the
	// blob's own end. size is that of the whole blob, -1 if the upstream does
	// not say. Errors of the upstream are *oci.Error. If the upstream cannot
	// start at offset, Open skips to it.
	Open(ctx context.Context, offset, end int64) (body io.ReadCloser, size int64, err error)

	// Origin says where the source points to, for the supernode to read the
	// same.
	Origin() Origin
}

// Transient is a Source of content that its client keeps itself: while nobody else
// wants it, the store of a node that is no seed need not hold it too.
type Transient interface {
	Transient() bool
}

// Origin names a blob's place in an upstream registry, or a file's anywhere.
type Origin struct {
	Registry   string // host[:port] as the client named it, e.g. "docker.io"
	Repository string // e.g. "library/alpine"
	// Authorization is the client's Authorization header; "" if it sent none.
	// It is never logged or written to disk.
	Authorization string
	// File is how a file is asked for, "" for a blob. The node only passes it
	// on. It may hold credentials too.
	File string
}

// String leaves the credentials out.
func (o Origin) String() string {
	if o.File != "" {
		return "a file"
	}
	return o.Registry + "/" + o.Repository
}

// GoString leaves the credentials out.
func (o Origin) GoString() string { return o.String() }
