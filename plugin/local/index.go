package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/containerd/errdefs"
	"github.com/containerd/log"
	"github.com/opencontainers/go-digest"

	"github.com/shoal-p2p/shoal/p2p/piece"
	"github.com/shoal-p2p/shoal/plugin/contentdir"
)

// staleIngest is how long an ingest that nobody goes on with is kept.
const staleIngest = 24 * time.Hour

// touchEvery bounds how often a use is written to the blob's access time, where
// a restart finds it. The kernel's own is unreliable (relatime, noatime).
const touchEvery = time.Minute

// index knows what lies on the disk and what is in use.
type index struct {
	max int64 // bytes; 0 means no bound

	mu      sync.Mutex
	total   int64 // bytes of all entries
	entries map[digest.Digest]*entry
}

// entry is a blob, or an ingest for one.
type entry struct {
	size    int64 // an open ingest counts as its whole blob
	used    time.Time
	open    int
	partial bool // an ingest

	receiving bool // one that is open
}

// set replaces the entry of dgst; nil removes it. Callers hold mu.
func (x *index) set(dgst digest.Digest, e *entry) {
	if old := x.entries[dgst]; old != nil {
		x.total -= old.size
		delete(x.entries, dgst)
	}
	if e != nil {
		x.total += e.size
		x.entries[dgst] = e
	}
}

// resize changes how many bytes an entry counts for. Callers hold mu.
func (x *index) resize(e *entry, size int64) {
	x.total += size - e.size
	e.size = size
}

// scan fills the index from the disk and removes stale ingests.
func (s *Store) scan(ctx context.Context) error {
	s.index.mu.Lock()
	defer s.index.mu.Unlock()
	err := contentdir.Walk(ctx, s.dir, func(dgst digest.Digest, info fs.FileInfo) error {
		s.index.set(dgst, &entry{size: info.Size(), used: accessed(info)})
		return nil
	})
	if err != nil {
		return err
	}
	ingests, err := contentdir.Ingests(s.dir)
	if err != nil {
		return err
	}
	for _, in := range ingests {
		info := in.Data
		if info == nil { // broken off before its first byte
			if info, err = os.Stat(in.Dir); err != nil {
				continue
			}
		}
		dgst := digest.Digest(strings.TrimPrefix(in.Ref, refPrefix))
		switch {
		case time.Since(info.ModTime()) > staleIngest:
			if err := os.RemoveAll(in.Dir); err != nil {
				log.G(ctx).WithError(err).Warn("store: a stale ingest cannot be removed")
			}
		case in.Data != nil && piece.ValidateID(dgst) == nil && s.index.entries[dgst] == nil:
			s.index.set(dgst, &entry{size: info.Size(), used: info.ModTime(), partial: true})
		}
	}
	return nil
}

// hold opens a blob and keeps it from being evicted.
func (s *Store) hold(dgst digest.Digest) (*contentdir.Blob, error) {
	s.index.mu.Lock()
	defer s.index.mu.Unlock()
	b, err := contentdir.Open(s.dir, dgst)
	e := s.index.entries[dgst]
	if err != nil {
		if errdefs.IsNotFound(err) && e != nil && !e.partial && e.open == 0 { // removed by somebody else
			s.index.set(dgst, nil)
			s.lost()
		}
		return nil, err
	}
	if e == nil {
		e = &entry{}
		s.index.set(dgst, e)
	}
	if !e.receiving { // it may have been put there by somebody else
		e.partial = false
		s.index.resize(e, b.Size())
	}
	now := time.Now()
	if s.index.max > 0 && now.Sub(e.used) > touchEvery {
		_ = os.Chtimes(b.File().Name(), now, time.Time{}) // the order of eviction after a restart, no more
	}
	e.used = now
	e.open++
	return b, nil
}

// release undoes hold.
func (s *Store) release(dgst digest.Digest) {
	s.index.mu.Lock()
	defer s.index.mu.Unlock()
	if e := s.index.entries[dgst]; e != nil {
		e.open--
		e.used = time.Now()
	}
}

// reserve makes room for an ingest and takes its place in the index.
func (s *Store) reserve(ctx context.Context, dgst digest.Digest, size int64) error {
	path, err := contentdir.BlobPath(s.dir, dgst)
	if err != nil {
		return err
	}
	s.index.mu.Lock()
	defer s.index.mu.Unlock()
	e := s.index.entries[dgst]
	if e != nil && e.receiving {
		return fmt.Errorf("store %s: blob %s is being received already: %w", s.dir, dgst, errdefs.ErrUnavailable)
	}
	if _, err := os.Stat(path); err == nil {
		return fmt.Errorf("store %s: blob %s: %w", s.dir, dgst, errdefs.ErrAlreadyExists)
	}
	if e == nil {
		e = &entry{partial: true}
		s.index.set(dgst, e)
	}
	if !e.partial { // somebody else removed the blob's file
		e.partial = true
		s.index.resize(e, 0)
	}
	e.open++
	e.used = time.Now()
	if err := s.makeRoom(ctx, size-e.size); err != nil {
		e.open--
		if e.size == 0 && e.open == 0 {
			s.index.set(dgst, nil)
		}
		return fmt.Errorf("store %s: blob %s of %d bytes: %w", s.dir, dgst, size, err)
	}
	e.receiving = true
	s.index.resize(e, size)
	return nil
}

// settle gives back the place of an ingest that has ended with size bytes on
// the disk.
func (s *Store) settle(dgst digest.Digest, size int64) {
	s.index.mu.Lock()
	defer s.index.mu.Unlock()
	e := s.index.entries[dgst]
	e.open--
	e.used, e.receiving = time.Now(), false
	s.index.resize(e, size)
	if size == 0 && e.partial && e.open == 0 {
		s.index.set(dgst, nil)
	}
}

// committed turns an ingest's entry into that of a blob.
func (s *Store) committed(dgst digest.Digest) {
	s.index.mu.Lock()
	defer s.index.mu.Unlock()
	e := s.index.entries[dgst]
	e.partial, e.receiving = false, false
}

// makeRoom removes what nobody holds open until size more bytes fit. If they
// cannot, it removes nothing. Callers hold index.mu.
func (s *Store) makeRoom(ctx context.Context, size int64) error {
	if s.index.max == 0 || s.index.total+size <= s.index.max {
		return nil
	}
	type idle struct {
		dgst digest.Digest
		*entry
	}
	var all []idle
	var held int64
	for dgst, e := range s.index.entries {
		if e.open > 0 {
			held += e.size
		} else {
			all = append(all, idle{dgst, e})
		}
	}
	if held+size > s.index.max {
		return fmt.Errorf("no room: store.max_bytes is %d, and %d bytes are in use; raise store.max_bytes: %w",
			s.index.max, held, errdefs.ErrResourceExhausted)
	}
	slices.SortFunc(all, func(a, b idle) int { return a.used.Compare(b.used) })
	for _, e := range all {
		if s.index.total+size <= s.index.max {
			break
		}
		if err := s.remove(ctx, e.dgst, e.partial); err != nil {
			return fmt.Errorf("no room, and blob %s cannot be removed: %w", e.dgst, err)
		}
		log.G(ctx).WithFields(log.Fields{"blob": e.dgst, "bytes": e.size}).Debug("store: evicted")
		s.index.set(e.dgst, nil)
		if !e.partial {
			s.lost()
		}
	}
	return nil
}

func (s *Store) remove(ctx context.Context, dgst digest.Digest, partial bool) error {
	if partial {
		return os.RemoveAll(contentdir.IngestPath(s.dir, refPrefix+dgst.String()))
	}
	if err := s.delete(ctx, dgst); err != nil && !errdefs.IsNotFound(err) {
		return err
	}
	return s.labels.Set(dgst, nil)
}

// delete removes a blob, or a file, of which containerd's store knows nothing.
func (s *Store) delete(ctx context.Context, dgst digest.Digest) error {
	if !piece.IsFile(dgst) {
		return s.content.Delete(ctx, dgst)
	}
	path, err := contentdir.BlobPath(s.dir, dgst)
	if err != nil {
		return err
	}
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// accessed is when a blob was last used.
func accessed(info fs.FileInfo) time.Time {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return time.Unix(st.Atim.Unix())
	}
	return info.ModTime()
}
