package containerd

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"

	"github.com/shoal-p2p/shoal/p2p"
	"github.com/shoal-p2p/shoal/p2p/piece"
	"github.com/shoal-p2p/shoal/plugin/contentdir"
)

// ingest looks on while containerd receives one blob.
type ingest struct {
	s      *Store
	dgst   digest.Digest
	size   int64
	offset atomic.Int64

	mu     sync.Mutex
	closed bool
	looked time.Time
	blob   p2p.Blob   // once containerd has it
	file   *os.File   // the growing file, nil while there is none
	gone   []*os.File // growing files that containerd discarded; somebody may still read them
}

// Ingest looks on while containerd receives a blob; see [p2p.Store].
func (s *Store) Ingest(ctx context.Context, dgst digest.Digest, size int64) (p2p.Ingest, error) {
	if piece.IsFile(dgst) {
		return nil, fmt.Errorf("store: containerd takes no files by ID: %w", errdefs.ErrNotImplemented)
	}
	if size < 0 {
		return nil, fmt.Errorf("store: blob %s: size %d: %w", dgst, size, errdefs.ErrInvalidArgument)
	}
	b, err := s.Open(ctx, dgst)
	switch {
	case err == nil:
		_ = b.Close()
		return nil, s.explain("blob "+dgst.String(), errdefs.ErrAlreadyExists)
	case errdefs.IsInvalidArgument(err):
		return nil, err
	}
	// Where containerd does not answer there is still a stream to check.
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.ingests[dgst]; ok {
		return nil, fmt.Errorf("store: blob %s is being received already: %w", dgst, errdefs.ErrUnavailable)
	}
	s.ingests[dgst] = struct{}{}
	return &ingest{s: s, dgst: dgst, size: size}, nil
}

// Write counts. The bytes reach containerd through the mirror.
func (i *ingest) Write(p []byte) (int, error) {
	if int64(len(p)) > i.size-i.offset.Load() {
		return 0, fmt.Errorf("store: blob %s is longer than the %d bytes announced: %w", i.dgst, i.size, errdefs.ErrFailedPrecondition)
	}
	i.offset.Add(int64(len(p)))
	return len(p), nil
}

func (i *ingest) Offset() int64 { return i.offset.Load() }

// Truncate forgets what was counted. What containerd has is containerd's.
func (i *ingest) Truncate() error {
	i.offset.Store(0)
	return nil
}

// Available is how many bytes containerd has received.
func (i *ingest) Available() int64 {
	_, n := i.backing()
	return n
}

// File is containerd's growing file, or the blob's.
func (i *ingest) File() *os.File {
	r, _ := i.backing()
	switch r := r.(type) {
	case *os.File:
		return r
	case p2p.Filer:
		return r.File()
	}
	return nil
}

// ReadAt reads what containerd has received, as [io.ReaderAt] says.
func (i *ingest) ReadAt(p []byte, off int64) (int, error) {
	r, n := i.backing()
	if r == nil {
		return 0, io.EOF
	}
	return io.NewSectionReader(r, 0, n).ReadAt(p, off)
}

// backing returns where the bytes can be read now, nil if nowhere, and how many
// there are.
func (i *ingest) backing() (io.ReaderAt, int64) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.file == nil && i.blob == nil {
		i.look()
	}
	if i.blob != nil {
		return i.blob, min(i.blob.Size(), i.size)
	}
	if i.file == nil {
		return nil, 0
	}
	info, err := i.file.Stat()
	if err != nil || discarded(info) {
		i.gone, i.file = append(i.gone, i.file), nil
		return nil, 0
	}
	return i.file, min(info.Size(), i.size)
}

// look finds the blob or its growing file. Callers hold mu.
func (i *ingest) look() {
	now := i.s.now()
	if i.closed || now.Sub(i.looked) < lookEvery {
		return
	}
	i.looked = now
	if b, err := contentdir.Open(i.s.cfg.ContentPath, i.dgst); err == nil {
		i.blob = b
		return
	}
	i.file = i.s.growing.open(i.dgst, now)
}

// discarded reports whether an open file has no name any more. The rename of a
// commit leaves it one.
func discarded(info os.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && st.Nlink == 0
}

// Commit succeeds once containerd has the blob; until then it returns
// errdefs.ErrUnavailable.
func (i *ingest) Commit(ctx context.Context) error {
	i.mu.Lock()
	have := i.blob != nil
	i.mu.Unlock()
	if have {
		return nil
	}
	b, err := i.s.Open(ctx, i.dgst)
	if err != nil {
		return fmt.Errorf("store: containerd has not committed blob %s: %w: %w", i.dgst, err, errdefs.ErrUnavailable)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.blob != nil || i.closed {
		return b.Close()
	}
	i.blob = b
	return nil
}

// Close stops looking.
func (i *ingest) Close() error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.closed {
		return nil
	}
	i.closed = true
	if i.file != nil {
		i.gone = append(i.gone, i.file)
	}
	for _, f := range i.gone {
		_ = f.Close()
	}
	if i.blob != nil {
		_ = i.blob.Close()
	}
	i.file, i.blob, i.gone = nil, nil, nil
	i.s.mu.Lock()
	defer i.s.mu.Unlock()
	delete(i.s.ingests, i.dgst)
	return nil
}

var _ p2p.Filer = (*ingest)(nil)
