package p2p

import (
	"context"
	"io"
	"os"

	"github.com/opencontainers/go-digest"
)

// Store holds whole blobs by digest: the node's content store. It is the piece
// store too: pieces are read back from it, and nothing is written beside it. It
// may hold files by their IDs (package piece) like blobs; one that does not
// finds none, and returns errdefs.ErrNotImplemented where it should receive one:
// then they pass through memory.
type Store interface {
	// Open returns a committed blob, or an error for which
	// errdefs.IsNotFound holds.
	Open(ctx context.Context, dgst digest.Digest) (Blob, error)

	// Ingest starts, or resumes, receiving a blob of size bytes. There is one
	// ingest per digest at a time; a second gets errdefs.ErrUnavailable. A
	// blob that is committed already gets errdefs.ErrAlreadyExists.
	Ingest(ctx context.Context, dgst digest.Digest, size int64) (Ingest, error)

	// Walk calls fn for every committed blob until fn returns an error.
	Walk(ctx context.Context, fn func(dgst digest.Digest, size int64) error) error

	// Writes reports whether an Ingest puts bytes into the store. Where it
	// does not, the client that reads from the mirror does (containerd in
	// stream mode), and the ingest only looks on.
	Writes() bool
}

// Watcher is a Store that blobs come to and go from without the node's doing.
type Watcher interface {
	// Watch calls changed whenever blobs may have come or gone, and looks
	// after the store otherwise, until ctx ends. changed does not block.
	Watch(ctx context.Context, changed func())
}

// Pinner is a Store that others remove blobs from.
type Pinner interface {
	// Pin keeps a blob in the store for a while, while it is served. It does
	// not block, and promises nothing: what is open stays readable anyway
	// where it can. unpin is called once.
	Pin(dgst digest.Digest) (unpin func())
}

// Blob is a committed blob, open for reading. ReadAt may be called
// concurrently.
type Blob interface {
	io.ReaderAt
	io.Closer
	Size() int64
}

// Filer is a Blob or an Ingest whose bytes lie in a plain file, so that they
// can be sent with sendfile. File returns nil while there is none. The file is
// the Blob's; its offset is never used and must not be moved.
type Filer interface {
	File() *os.File
}

// Ingest receives one blob, in order. Write, Commit, Truncate and Close belong to
// one goroutine; ReadAt, Available and File may be called from any.
type Ingest interface {
	// Write appends bytes. Whoever writes checks them: it is not done twice.
	io.Writer
	// ReadAt reads back bytes before Available. It works until Close, also
	// after Commit.
	io.ReaderAt

	// Offset is how many bytes have been written, those of an earlier,
	// interrupted ingest included.
	Offset() int64
	// Available is how many bytes from the start ReadAt can give back now.
	// It can exceed Offset where somebody else writes.
	Available() int64
	// Commit makes the blob whole. It checks the size, and leaves the digest
	// to the caller. It returns errdefs.ErrUnavailable if it is for somebody
	// else to commit and they have not.
	Commit(ctx context.Context) error
	// Truncate throws away what was written.
	Truncate() error
	// Close lets go. What was written and not committed stays for a later
	// Ingest of the same digest, if the store writes.
	Close() error
}
