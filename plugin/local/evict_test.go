package local

import (
	"context"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	"github.com/stretchr/testify/require"

	"github.com/shoal-p2p/shoal/p2p/storetest"
	"github.com/shoal-p2p/shoal/plugin/contentdir"
)

// age says that a blob was last used so long ago.
func age(s *Store, dgst digest.Digest, ago time.Duration) {
	s.index.mu.Lock()
	defer s.index.mu.Unlock()
	s.index.entries[dgst].used = time.Now().Add(-ago)
}

func TestLeastRecentlyUsedBlobGoesFirst(t *testing.T) {
	s := newStore(t, Config{MaxBytes: 3000})
	a, b, c := keep(t, s, 1000), keep(t, s, 1000), keep(t, s, 1000)
	for k, dgst := range []digest.Digest{a, b, c} {
		age(s, dgst, time.Hour*time.Duration(10-k))
	}
	used, err := s.Open(t.Context(), a)
	require.NoError(t, err)
	require.NoError(t, used.Close())
	d := keep(t, s, 1000)
	require.Equal(t, []bool{true, false, true, true}, []bool{has(t, s, a), has(t, s, b), has(t, s, c), has(t, s, d)})
	require.EqualValues(t, 3000, s.index.total)
}

func TestWhatIsLostIsTold(t *testing.T) {
	s := newStore(t, Config{MaxBytes: 1000})
	var told atomic.Int64
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { s.Watch(ctx, func() { told.Add(1) }) })
	defer wg.Wait()
	defer cancel()
	a := keep(t, s, 1000)
	require.Zero(t, told.Load())
	b := keep(t, s, 1000)
	require.False(t, has(t, s, a))
	require.Eventually(t, func() bool { return told.Load() == 1 }, time.Minute, time.Millisecond)
	path, err := contentdir.BlobPath(s.dir, b)
	require.NoError(t, err)
	require.NoError(t, os.Remove(path))
	_, err = s.Open(t.Context(), b)
	require.True(t, errdefs.IsNotFound(err), "got %v", err)
	require.Eventually(t, func() bool { return told.Load() == 2 }, time.Minute, time.Millisecond)
}

func TestOpenBlobsAreNotEvicted(t *testing.T) {
	s := newStore(t, Config{MaxBytes: 3000})
	a, b := keep(t, s, 1000), keep(t, s, 1000)
	age(s, a, time.Hour)
	open, err := s.Open(t.Context(), a)
	require.NoError(t, err)
	c := keep(t, s, 2000)
	require.Equal(t, []bool{true, false, true}, []bool{has(t, s, a), has(t, s, b), has(t, s, c)})

	dgst, _ := storetest.Blob(digest.SHA256, 10)
	_, err = s.Ingest(t.Context(), dgst, 2500)
	require.True(t, errdefs.IsResourceExhausted(err), "got %v", err)
	require.ErrorContains(t, err, "store.max_bytes")
	require.Equal(t, []bool{true, true}, []bool{has(t, s, a), has(t, s, c)}, "in vain nothing is removed")
	require.NoError(t, open.Close())
	in, err := s.Ingest(t.Context(), dgst, 2500)
	require.NoError(t, err)
	require.NoError(t, in.Close())
	require.Zero(t, s.index.total)
}

func TestIngestsCountAndAreNotEvictedWhileOpen(t *testing.T) {
	s := newStore(t, Config{MaxBytes: 3000})
	dgst, blob := storetest.Blob(digest.SHA256, 2000)
	in, err := s.Ingest(t.Context(), dgst, 2000)
	require.NoError(t, err)
	other, _ := storetest.Blob(digest.SHA256, 2000)
	_, err = s.Ingest(t.Context(), other, 2000)
	require.True(t, errdefs.IsResourceExhausted(err), "got %v", err)
	_, err = in.Write(blob[:500])
	require.NoError(t, err)
	require.NoError(t, in.Close())
	require.EqualValues(t, 500, s.index.total, "what was written stays")
	keep(t, s, 2800)
	require.NoDirExists(t, contentdir.IngestPath(s.dir, refPrefix+dgst.String()))
}

func TestBoundIsKnownAfterARestart(t *testing.T) {
	s := newStore(t, Config{MaxBytes: 3000})
	a, b := keep(t, s, 1000), keep(t, s, 1000)
	for dgst, ago := range map[digest.Digest]time.Duration{a: time.Hour, b: 2 * time.Hour} {
		path, err := contentdir.BlobPath(s.dir, dgst)
		require.NoError(t, err)
		require.NoError(t, os.Chtimes(path, time.Now().Add(-ago), time.Time{}))
	}
	require.NoError(t, s.Close())
	s = newStore(t, Config{Dir: s.dir, MaxBytes: 3000})
	c := keep(t, s, 2000)
	require.Equal(t, []bool{true, false, true}, []bool{has(t, s, a), has(t, s, b), has(t, s, c)})
}

func TestUseIsKnownAfterARestart(t *testing.T) {
	s := newStore(t, Config{MaxBytes: 3000})
	a := keep(t, s, 1000)
	age(s, a, time.Hour)
	path, err := contentdir.BlobPath(s.dir, a)
	require.NoError(t, err)
	require.NoError(t, os.Chtimes(path, time.Now().Add(-time.Hour), time.Time{}))
	open, err := s.Open(t.Context(), a)
	require.NoError(t, err)
	require.NoError(t, open.Close())
	require.NoError(t, s.Close())
	s = newStore(t, Config{Dir: s.dir, MaxBytes: 3000})
	require.WithinDuration(t, time.Now(), s.index.entries[a].used, time.Minute)
}

func TestBlobsRemovedBehindTheStoresBack(t *testing.T) {
	s := newStore(t, Config{MaxBytes: 3000})
	a := keep(t, s, 1000)
	require.NoError(t, s.Content().Delete(t.Context(), a))
	_, err := s.Open(t.Context(), a)
	require.True(t, errdefs.IsNotFound(err), "got %v", err)
	require.Zero(t, s.index.total)
	b := keep(t, s, 1000)
	require.NoError(t, s.Content().Delete(t.Context(), b))
	in, err := s.Ingest(t.Context(), b, 1000)
	require.NoError(t, err)
	require.NoError(t, in.Close())
	require.Zero(t, s.index.total)
}
