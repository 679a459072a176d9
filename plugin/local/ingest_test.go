package local

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	"github.com/stretchr/testify/require"

	"github.com/shoal-p2p/shoal/p2p/storetest"
	"github.com/shoal-p2p/shoal/plugin/contentdir"
)

// keep puts a blob into the store.
func keep(t testing.TB, s *Store, size int) digest.Digest {
	t.Helper()
	dgst, blob := storetest.Blob(digest.SHA256, size)
	in, err := s.Ingest(t.Context(), dgst, int64(size))
	require.NoError(t, err)
	_, err = in.Write(blob)
	require.NoError(t, err)
	require.NoError(t, in.Commit(t.Context()))
	require.NoError(t, in.Close())
	return dgst
}

func has(t testing.TB, s *Store, dgst digest.Digest) bool {
	t.Helper()
	_, err := s.content.Info(t.Context(), dgst)
	return err == nil
}

func TestDiskFull(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("cannot mount a small file system: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	s := newStore(t, Config{Dir: filepath.Join(dir, "store")})
	dgst, blob := storetest.Blob(digest.SHA256, 2<<20)
	in, err := s.Ingest(t.Context(), dgst, int64(len(blob)))
	require.NoError(t, err)
	const first = 512 << 10
	_, err = in.Write(blob[:first])
	require.NoError(t, err)
	_, err = in.Write(blob[first:])
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.True(t, errdefs.IsResourceExhausted(err), "got %v", err)
	require.ErrorContains(t, err, "store "+s.dir)
	require.ErrorContains(t, err, "free some space")

	require.EqualValues(t, first, in.Offset())
	got := make([]byte, first)
	_, err = in.ReadAt(got, 0)
	require.NoError(t, err, "what was written can be read back")
	require.True(t, bytes.Equal(blob[:first], got))
	require.Error(t, in.Commit(t.Context()))
	require.NoError(t, in.Close())
	require.False(t, has(t, s, dgst))

	in, err = s.Ingest(t.Context(), dgst, int64(len(blob)))
	require.NoError(t, err)
	require.GreaterOrEqual(t, in.Offset(), int64(first), "the good bytes are kept for a resume")
	require.NoError(t, in.Truncate())
	require.NoError(t, in.Close())
	keep(t, s, 100<<10)
}

func TestReadOnly(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=4m"); err != nil {
		t.Skipf("cannot mount a small file system: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	s := newStore(t, Config{Dir: dir, MaxBytes: 1 << 20})
	dgst := keep(t, s, 1000)
	require.NoError(t, s.Close())
	require.Eventually(t, func() bool {
		runtime.GC() // containerd's probe for fs-verity leaves a deleted file open
		return syscall.Mount("tmpfs", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, "") == nil
	}, 10*time.Second, 10*time.Millisecond)

	s = newStore(t, Config{Dir: dir, MaxBytes: 1 << 20})
	b, err := s.Open(t.Context(), dgst)
	require.NoError(t, err, "what is there is served")
	require.NoError(t, b.Close())
	other, _ := storetest.Blob(digest.SHA256, 1000)
	_, err = s.Ingest(t.Context(), other, 1000)
	require.ErrorIs(t, err, syscall.EROFS)
	require.ErrorContains(t, err, "store "+dir)
	_, err = s.Ingest(t.Context(), other, 1000)
	require.ErrorIs(t, err, syscall.EROFS, "not locked by the first try")
}

func TestDiscardedBytesLeaveNothingBehind(t *testing.T) {
	s := newStore(t, Config{})
	dgst, blob := storetest.Blob(digest.SHA256, 100<<10)
	in, err := s.Ingest(t.Context(), dgst, int64(len(blob)))
	require.NoError(t, err)
	_, err = in.Write(make([]byte, len(blob)))
	require.NoError(t, err)
	require.NoError(t, in.Truncate())
	require.Zero(t, in.Available())
	require.NoError(t, in.Close())
	all, err := contentdir.Ingests(s.dir)
	require.NoError(t, err)
	require.Empty(t, all)
	require.Zero(t, s.index.total)
}

// TestResumesAfterOtherSize is for an upstream that once lied about the size.
func TestResumesAfterOtherSize(t *testing.T) {
	s := newStore(t, Config{})
	dgst, blob := storetest.Blob(digest.SHA256, 1000)
	in, err := s.Ingest(t.Context(), dgst, 5000)
	require.NoError(t, err)
	_, err = in.Write(append(bytes.Clone(blob), blob...))
	require.NoError(t, err)
	require.NoError(t, in.Close())
	in, err = s.Ingest(t.Context(), dgst, 1000)
	require.NoError(t, err)
	require.Zero(t, in.Offset())
	_, err = in.Write(blob)
	require.NoError(t, err)
	require.NoError(t, in.Commit(t.Context()))
	require.NoError(t, in.Close())
}

func TestDirectoryBelongsToOneProcess(t *testing.T) {
	s := newStore(t, Config{})
	_, err := New(Config{Dir: s.dir})
	require.ErrorContains(t, err, s.dir)
	require.ErrorContains(t, err, "store.dir")
	require.NoError(t, s.Close())
	newStore(t, Config{Dir: s.dir})
}

func TestBadConfig(t *testing.T) {
	_, err := New(Config{})
	require.ErrorContains(t, err, "store.dir")
	_, err = New(Config{Dir: t.TempDir(), MaxBytes: -1})
	require.ErrorContains(t, err, "store.max_bytes")
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	_, err = New(Config{Dir: file})
	require.ErrorContains(t, err, file)
}

func TestStaleIngestsAreRemovedAtStart(t *testing.T) {
	s := newStore(t, Config{})
	ages := map[digest.Digest]time.Duration{}
	for _, age := range []time.Duration{time.Hour, staleIngest + time.Hour} {
		dgst, blob := storetest.Blob(digest.SHA256, 1000)
		in, err := s.Ingest(t.Context(), dgst, 1000)
		require.NoError(t, err)
		_, err = in.Write(blob[:500])
		require.NoError(t, err)
		require.NoError(t, in.Close())
		then := time.Now().Add(-age)
		require.NoError(t, os.Chtimes(filepath.Join(contentdir.IngestPath(s.dir, refPrefix+dgst.String()), "data"), then, then))
		ages[dgst] = age
	}
	require.NoError(t, s.Close())
	s = newStore(t, Config{Dir: s.dir})
	for dgst, age := range ages {
		in, err := s.Ingest(t.Context(), dgst, 1000)
		require.NoError(t, err)
		require.Equal(t, age < staleIngest, in.Offset() == 500, "after %v there are %d bytes", age, in.Offset())
		require.NoError(t, in.Close())
	}
}

// BenchmarkIngest writes 1 GiB, without the fsync of a commit, and compares with
// containerd's own writer.
func BenchmarkIngest(b *testing.B) {
	const size = 1 << 30
	dgst := digest.FromString(b.Name()) // never reached
	for _, chunk := range []int{32 << 10, 1 << 20, 4 << 20} {
		_, p := storetest.Blob(digest.SHA256, chunk)
		fill := func(b *testing.B, w io.Writer) {
			b.StartTimer()
			for range size / chunk {
				if _, err := w.Write(p); err != nil {
					b.Fatal(err)
				}
			}
			b.StopTimer()
		}
		b.Run(fmt.Sprintf("ours/%dKiB", chunk>>10), func(b *testing.B) {
			s := newStore(b, Config{})
			b.SetBytes(size)
			for range b.N {
				in, err := s.Ingest(b.Context(), dgst, size)
				require.NoError(b, err)
				fill(b, in)
				require.NoError(b, in.Truncate())
				require.NoError(b, in.Close())
			}
		})
		b.Run(fmt.Sprintf("containerd/%dKiB", chunk>>10), func(b *testing.B) {
			s := newStore(b, Config{})
			b.SetBytes(size)
			for range b.N {
				w, err := s.Content().Writer(b.Context(), content.WithRef("benchmark"))
				require.NoError(b, err)
				fill(b, w)
				require.NoError(b, w.Truncate(0))
				require.NoError(b, w.Close())
			}
		})
	}
}
