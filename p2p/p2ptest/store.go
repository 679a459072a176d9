package p2ptest

import (
	"bytes"
	"context"
	"fmt"
	"sync"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"

	"github.com/shoal-p2p/shoal/p2p"
	"github.com/shoal-p2p/shoal/p2p/piece"
)

// Store keeps blobs in memory.
type Store struct {
	// LooksOn makes the store one that somebody else writes into: ingests
	// keep nothing.
	LooksOn bool
	// Full makes every write fail.
	Full bool

	mu      sync.Mutex
	blobs   map[digest.Digest][]byte
	ingests map[digest.Digest]*ingest
	changed func() // nil while nobody watches
	pins    map[digest.Digest]int
}

// Put commits a blob.
func (s *Store) Put(data []byte) digest.Digest {
	dgst := digest.FromBytes(data)
	s.PutAs(dgst, data)
	return dgst
}

// PutAs commits a blob under a digest of any algorithm.
func (s *Store) PutAs(dgst digest.Digest, data []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.blobs == nil {
		s.blobs = map[digest.Digest][]byte{}
	}
	s.blobs[dgst] = data
	s.tell()
}

// Remove takes a blob out of the store, as somebody else would.
func (s *Store) Remove(dgst digest.Digest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.blobs, dgst)
	s.tell()
}

// tell says that somebody else changed the store. Callers hold mu.
func (s *Store) tell() {
	if s.changed != nil {
		s.changed()
	}
}

// Watch implements p2p.Watcher.
func (s *Store) Watch(ctx context.Context, changed func()) {
	s.mu.Lock()
	s.changed = changed
	s.mu.Unlock()
	<-ctx.Done()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changed = nil
}

// Pin implements p2p.Pinner.
func (s *Store) Pin(dgst digest.Digest) (unpin func()) {
	s.pin(dgst, 1)
	return func() { s.pin(dgst, -1) }
}

func (s *Store) pin(dgst digest.Digest, by int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pins == nil {
		s.pins = map[digest.Digest]int{}
	}
	s.pins[dgst] += by
}

// Pins is how often a blob is pinned now.
func (s *Store) Pins(dgst digest.Digest) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pins[dgst]
}

// Get returns a committed blob, nil if there is none.
func (s *Store) Get(dgst digest.Digest) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.blobs[dgst]
}

type blob struct{ *bytes.Reader }

func (blob) Close() error { return nil }

// Open implements p2p.Store.
func (s *Store) Open(_ context.Context, dgst digest.Digest) (p2p.Blob, error) {
	if err := piece.ValidateID(dgst); err != nil {
		return nil, fmt.Errorf("store: %w: %w", err, errdefs.ErrInvalidArgument)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	data, ok := s.blobs[dgst]
	if !ok {
		return nil, fmt.Errorf("store: blob %s: %w", dgst, errdefs.ErrNotFound)
	}
	return blob{bytes.NewReader(data)}, nil
}

// Walk implements p2p.Store.
func (s *Store) Walk(_ context.Context, fn func(digest.Digest, int64) error) error {
	s.mu.Lock()
	sizes := map[digest.Digest]int64{}
	for dgst, data := range s.blobs {
		sizes[dgst] = int64(len(data))
	}
	s.mu.Unlock()
	for dgst, size := range sizes {
		if err := fn(dgst, size); err != nil {
			return err
		}
	}
	return nil
}

// Writes implements p2p.Store.
func (s *Store) Writes() bool { return !s.LooksOn }

// Ingest implements p2p.Store.
func (s *Store) Ingest(_ context.Context, dgst digest.Digest, size int64) (p2p.Ingest, error) {
	if err := piece.ValidateID(dgst); err != nil {
		return nil, fmt.Errorf("store: %w: %w", err, errdefs.ErrInvalidArgument)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.blobs[dgst]; ok {
		return nil, errdefs.ErrAlreadyExists
	}
	if s.ingests == nil {
		s.ingests = map[digest.Digest]*ingest{}
	}
	in := s.ingests[dgst]
	if in == nil {
		in = &ingest{s: s, dgst: dgst, size: size}
		s.ingests[dgst] = in
	}
	if in.open {
		return nil, errdefs.ErrUnavailable
	}
	in.open = true
	return in, nil
}

// ingest is guarded by the store's mu.
type ingest struct {
	s    *Store
	dgst digest.Digest
	size int64
	data []byte
	open bool
}

func (in *ingest) Write(p []byte) (int, error) {
	in.s.mu.Lock()
	defer in.s.mu.Unlock()
	if in.s.Full {
		return 0, fmt.Errorf("store: no space left")
	}
	if int64(len(in.data)+len(p)) > in.size {
		return 0, fmt.Errorf("store: more bytes than announced: %w", errdefs.ErrFailedPrecondition)
	}
	in.data = append(in.data, p...)
	return len(p), nil
}

func (in *ingest) ReadAt(p []byte, off int64) (int, error) {
	in.s.mu.Lock()
	data := in.data
	in.s.mu.Unlock()
	return bytes.NewReader(data).ReadAt(p, off)
}

func (in *ingest) Offset() int64 {
	in.s.mu.Lock()
	defer in.s.mu.Unlock()
	return int64(len(in.data))
}

func (in *ingest) Available() int64 {
	if in.s.LooksOn {
		return 0
	}
	return in.Offset()
}

func (in *ingest) Commit(context.Context) error {
	if in.s.LooksOn {
		if in.s.Get(in.dgst) == nil {
			return errdefs.ErrUnavailable
		}
		return nil
	}
	if in.Offset() != in.size {
		return fmt.Errorf("store: blob %s is not whole: %w", in.dgst, errdefs.ErrFailedPrecondition)
	}
	in.s.mu.Lock()
	defer in.s.mu.Unlock()
	if in.s.blobs == nil {
		in.s.blobs = map[digest.Digest][]byte{}
	}
	in.s.blobs[in.dgst] = in.data
	return nil
}

func (in *ingest) Truncate() error {
	in.s.mu.Lock()
	defer in.s.mu.Unlock()
	in.data = nil
	return nil
}

func (in *ingest) Close() error {
	in.s.mu.Lock()
	defer in.s.mu.Unlock()
	in.open = false
	if in.s.LooksOn || in.s.blobs[in.dgst] != nil {
		delete(in.s.ingests, in.dgst)
	}
	return nil
}

var (
	_ p2p.Store   = (*Store)(nil)
	_ p2p.Watcher = (*Store)(nil)
	_ p2p.Pinner  = (*Store)(nil)
	_ p2p.Ingest  = (*ingest)(nil)
)
