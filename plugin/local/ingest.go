package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/shoal-p2p/shoal/p2p"
	"github.com/shoal-p2p/shoal/p2p/piece"
	"github.com/shoal-p2p/shoal/plugin/contentdir"
)

const refPrefix = "shoal-"

// ingest receives one blob.
type ingest struct {
	s    *Store
	dgst digest.Digest
	size int64
	dir  string // of containerd's layout

	// lock is containerd's writer. It holds the reference; no byte goes
	// through it.
	lock content.Writer
	file *os.File

	err       error // the first failed write
	committed bool
	closed    bool

	written atomic.Int64
}

// Ingest starts or resumes receiving a blob; see [p2p.Store]. If there is no room for size bytes, it
// returns errdefs.ErrResourceExhausted.
func (s *Store) Ingest(ctx context.Context, dgst digest.Digest, size int64) (p2p.Ingest, error) {
	if size < 0 {
		return nil, fmt.Errorf("store: blob %s: size %d: %w", dgst, size, errdefs.ErrInvalidArgument)
	}
	if err := s.reserve(ctx, dgst, size); err != nil {
		return nil, err
	}
	i := &ingest{
		s: s, dgst: dgst, size: size,
		dir: contentdir.IngestPath(s.dir, refPrefix+dgst.String()),
	}
	if err := i.open(ctx); err != nil {
		left := int64(0)
		if info, e := os.Stat(filepath.Join(i.dir, "data")); e == nil {
			left = info.Size()
		}
		s.settle(dgst, left)
		return nil, i.explain("cannot be received", err)
	}
	return i, nil
}

func (i *ingest) open(ctx context.Context) (err error) {
	desc := ocispec.Descriptor{Size: i.size}
	if !piece.IsFile(i.dgst) {
		desc.Digest = i.dgst
	}
	i.lock, err = i.s.content.Writer(ctx, content.WithRef(refPrefix+i.dgst.String()), content.WithDescriptor(desc))
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = i.lock.Close()
			if i.file != nil {
				_ = i.file.Close()
			}
		}
	}()
	i.file, err = os.OpenFile(filepath.Join(i.dir, "data"), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	status, err := i.lock.Status()
	if err != nil {
		return err
	}
	if status.Offset == 0 || status.Offset > i.size {
		return i.Truncate() // the data of an ingest that containerd could not resume is still there
	}
	i.written.Store(status.Offset)
	return nil
}

// Write appends to the file. After an error every further
// Write fails; what was written before can be read back and resumed.
func (i *ingest) Write(p []byte) (int, error) {
	offset := i.written.Load()
	switch {
	case i.err != nil:
		return 0, i.err
	case i.closed || i.committed:
		return 0, i.explain("is committed or closed", errdefs.ErrFailedPrecondition)
	case int64(len(p)) > i.size-offset:
		return 0, i.explain(fmt.Sprintf("is longer than the %d bytes announced", i.size), errdefs.ErrFailedPrecondition)
	}
	n, err := i.file.WriteAt(p, offset)
	if err != nil {
		i.err = i.explain("cannot be written", err)
		return n, i.err
	}
	i.written.Add(int64(n))
	return n, nil
}

// ReadAt reads what has been written, as [io.ReaderAt] says.
func (i *ingest) ReadAt(p []byte, off int64) (int, error) {
	return io.NewSectionReader(i.file, 0, i.written.Load()).ReadAt(p, off)
}

func (i *ingest) File() *os.File   { return i.file }
func (i *ingest) Offset() int64    { return i.written.Load() }
func (i *ingest) Available() int64 { return i.written.Load() }

// Commit checks the size and makes the blob whole and durable. Too few bytes are
// kept, so that more can follow; they get errdefs.ErrFailedPrecondition.
func (i *ingest) Commit(context.Context) error {
	switch {
	case i.committed:
		return nil
	case i.err != nil:
		return i.err
	case i.closed:
		return i.explain("is closed", errdefs.ErrFailedPrecondition)
	case i.written.Load() != i.size:
		return i.explain(fmt.Sprintf("has %d of %d bytes", i.written.Load(), i.size), errdefs.ErrFailedPrecondition)
	}
	if err := i.rename(); err != nil {
		return i.explain("cannot be committed", err)
	}
	i.committed = true
	i.s.committed(i.dgst)
	_ = os.RemoveAll(i.dir) // a leftover is found stale at the next start
	return nil
}

// rename is containerd's commit, from fsync to read-only.
func (i *ingest) rename() error {
	if err := i.file.Sync(); err != nil {
		return err
	}
	info, err := i.file.Stat()
	if err != nil {
		return err
	}
	target, err := contentdir.BlobPath(i.s.dir, i.dgst)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return err
	}
	if err := os.Rename(filepath.Join(i.dir, "data"), target); err != nil {
		return err
	}
	_ = i.file.Chmod(info.Mode().Perm() &^ 0o333) // a guard against accidents; the digest is what counts
	parent, err := os.Open(filepath.Dir(target))
	if err != nil {
		return err
	}
	defer parent.Close()
	return parent.Sync()
}

// Truncate throws away what was written. A failed Write is forgotten with it.
func (i *ingest) Truncate() error {
	if i.committed || i.closed {
		return i.explain("is committed or closed", errdefs.ErrFailedPrecondition)
	}
	i.written.Store(0)
	if err := i.file.Truncate(0); err != nil {
		i.err = i.explain("cannot be discarded", err)
		return i.err
	}
	i.err = nil
	return nil
}

// Close lets go. What was written stays on the disk for a resume.
func (i *ingest) Close() error {
	if i.closed {
		return nil
	}
	i.closed = true
	left := i.written.Load()
	var err error
	if left == 0 && !i.committed {
		err = os.RemoveAll(i.dir) // while the lock still holds
	}
	err = errors.Join(err, i.lock.Close(), i.file.Close())
	i.s.settle(i.dgst, left)
	if err != nil {
		return i.explain("cannot be closed", err)
	}
	return nil
}

// explain names the store, the blob, and where it helps what to do.
func (i *ingest) explain(what string, err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		err = fmt.Errorf("%w; free some space, or lower store.max_bytes: %w", err, errdefs.ErrResourceExhausted)
	}
	return fmt.Errorf("store %s: blob %s %s: %w", i.s.dir, i.dgst, what, err)
}

var _ p2p.Filer = (*ingest)(nil)
