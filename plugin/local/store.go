package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/containerd/containerd/v2/core/content"
	contentlocal "github.com/containerd/containerd/v2/plugins/content/local"
	"github.com/opencontainers/go-digest"

	"github.com/shoal-p2p/shoal/agent"
	"github.com/shoal-p2p/shoal/p2p"
	"github.com/shoal-p2p/shoal/plugin/contentdir"
)

// Config is what a [Store] is made of.
type Config struct {
	// Dir is where the store lies. It is made if it is not there.
	Dir string
	// MaxBytes bounds the bytes of all blobs and ingests; 0 means no bound.
	MaxBytes int64
}

// Store is the embedded content store.
type Store struct {
	dir     string
	content content.Store
	labels  *labels
	lock    *os.File // dir, with the flock
	index   index
	evicted chan struct{} // something was removed that was not asked for
}

// New opens the store, and removes ingests that nobody has touched for a day.
// Close must be called.
func New(cfg Config) (*Store, error) {
	switch {
	case cfg.Dir == "":
		return nil, errors.New("store: no directory given; set store.dir")
	case cfg.MaxBytes < 0:
		return nil, fmt.Errorf("store: store.max_bytes is %d; it cannot be negative", cfg.MaxBytes)
	}
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("store %s: %w", cfg.Dir, err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("store %s: cannot be made: %w", dir, err)
	}
	lock, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("store %s: %w", dir, err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = lock.Close()
		return nil, fmt.Errorf("store %s: another process uses it (%w); stop that, or set another store.dir", dir, err)
	}
	s := &Store{
		dir:     dir,
		labels:  &labels{dir: filepath.Join(dir, "labels")},
		lock:    lock,
		evicted: make(chan struct{}, 1),
		index:   index{max: cfg.MaxBytes, entries: map[digest.Digest]*entry{}},
	}
	s.content, err = contentlocal.NewLabeledStore(dir, s.labels)
	if err == nil {
		err = s.scan(context.Background())
	}
	if err != nil {
		_ = lock.Close()
		return nil, fmt.Errorf("store %s: %w", dir, err)
	}
	return s, nil
}

// Close lets go of the directory. Ingests and blobs should be closed before.
func (s *Store) Close() error { return s.lock.Close() }

// Content is the same store as containerd's interface. It knows nothing of
// Config.MaxBytes: what is written or deleted through it counts from the next
// New on.
func (s *Store) Content() content.Store { return s.content }

// Writes is true: ingests put bytes into the store.
func (s *Store) Writes() bool { return true }

// Open returns a committed blob; see [p2p.Store]. It is never evicted before
// its Close.
func (s *Store) Open(_ context.Context, dgst digest.Digest) (p2p.Blob, error) {
	b, err := s.hold(dgst)
	if err != nil {
		return nil, err
	}
	return &blob{Blob: b, s: s, dgst: dgst}, nil
}

// Info says which store this is.
func (s *Store) Info() agent.StoreInfo { return agent.StoreInfo{Kind: "local", Dir: s.dir} }

// Walk calls fn for every committed blob until fn returns an error.
func (s *Store) Walk(ctx context.Context, fn func(dgst digest.Digest, size int64) error) error {
	return contentdir.Walk(ctx, s.dir, func(dgst digest.Digest, info fs.FileInfo) error {
		return fn(dgst, info.Size())
	})
}

// Watch implements [p2p.Watcher]: it calls changed when blobs had to make room
// for others, or were removed by somebody else.
func (s *Store) Watch(ctx context.Context, changed func()) {
	for {
		select {
		case <-s.evicted:
			changed()
		case <-ctx.Done():
			return
		}
	}
}

// lost says that blobs have gone.
func (s *Store) lost() {
	select {
	case s.evicted <- struct{}{}:
	default:
	}
}

// blob tells the store when it is let go.
type blob struct {
	*contentdir.Blob
	s    *Store
	dgst digest.Digest
}

func (b *blob) Close() error {
	err := b.Blob.Close()
	if err == nil {
		b.s.release(b.dgst)
	}
	return err
}

var (
	_ p2p.Store            = (*Store)(nil)
	_ agent.ManifestKeeper = (*Store)(nil)
	_ agent.Described      = (*Store)(nil)
	_ p2p.Watcher          = (*Store)(nil)
	_ p2p.Filer            = (*blob)(nil)
)
