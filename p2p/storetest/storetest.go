package storetest

import (
	"bytes"
	"context"
	"crypto/rand"
	"io"
	"testing"
	"testing/iotest"
	"time"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	"github.com/stretchr/testify/require"

	"github.com/shoal-p2p/shoal/p2p"
	"github.com/shoal-p2p/shoal/p2p/piece"
)

// Fixture is a store under test. It may hold other blobs than the test's.
type Fixture struct {
	Store p2p.Store
	// Algorithms are those of digests that Put takes; nil means all.
	Algorithms []digest.Algorithm
	// Put gives the store a whole blob, past the Store interface.
	Put func(t *testing.T, dgst digest.Digest, blob []byte)
	// Reopen closes the store and opens what it left; nil if that cannot
	// be done.
	Reopen func(t *testing.T) p2p.Store
}

// Run tests the stores that newStore makes. newStore cleans up with t.Cleanup.
func Run(t *testing.T, newStore func(t *testing.T) Fixture) {
	run := func(name string, test func(*testing.T, Fixture)) {
		t.Run(name, func(t *testing.T) {
			f := newStore(t)
			if f.Algorithms == nil {
				f.Algorithms = algorithms
			}
			test(t, f)
		})
	}
	run("OpenOfNothingIsNotFound", testNotFound)
	run("BadDigestIsRefused", testBadDigest)
	run("OpenReadsAnywhere", testOpen)
	run("OpenReadsConcurrently", testConcurrentReads)
	run("WalkFindsEveryBlob", testWalk)
	run("WalkStopsAtAnError", testWalkStops)
	run("IngestOfACommittedBlobAlreadyExists", testAlreadyExists)
	run("SecondIngestIsUnavailable", testSecondIngest)
	run("TruncateStartsAgain", testTruncate)
	run("CloseTwiceIsHarmless", testCloseTwice)
	run("FilesAreHeldLikeBlobsOrNotAtAll", testFile)
	if newStore(t).Store.Writes() {
		runWriting(t, newStore, run)
	} else {
		runLooking(t, run)
	}
}

// algorithms of digests that a store must know.
var algorithms = []digest.Algorithm{digest.SHA256, digest.SHA512}

// sizes around what stores do differently: nothing, a byte, one gRPC message.
var sizes = []int{0, 1, 4 << 10, 3<<20 + 17}

// Blob makes size bytes that, from a few on, no other blob has.
func Blob(alg digest.Algorithm, size int) (digest.Digest, []byte) {
	b := make([]byte, size)
	_, _ = rand.Read(b) // never fails
	return alg.FromBytes(b), b
}

func context20s(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func open(t *testing.T, s p2p.Store, dgst digest.Digest) p2p.Blob {
	t.Helper()
	b, err := s.Open(context20s(t), dgst)
	require.NoError(t, err)
	t.Cleanup(func() { _ = b.Close() })
	return b
}

func ingest(t *testing.T, s p2p.Store, dgst digest.Digest, size int) p2p.Ingest {
	t.Helper()
	in, err := s.Ingest(context20s(t), dgst, int64(size))
	require.NoError(t, err)
	t.Cleanup(func() { _ = in.Close() })
	return in
}

func write(t *testing.T, in p2p.Ingest, p []byte) {
	t.Helper()
	n, err := in.Write(p)
	require.NoError(t, err)
	require.Equal(t, len(p), n)
}

// requireBytes reads want back from r, and from the file if it has one.
func requireBytes(t *testing.T, r io.ReaderAt, want []byte) {
	t.Helper()
	got := make([]byte, len(want))
	_, err := io.ReadFull(io.NewSectionReader(r, 0, int64(len(got))), got)
	if len(want) > 0 {
		require.NoError(t, err)
	}
	require.True(t, bytes.Equal(want, got), "other bytes read back than written")
	f, ok := r.(p2p.Filer)
	if !ok || f.File() == nil {
		return
	}
	clear(got)
	_, err = io.ReadFull(io.NewSectionReader(f.File(), 0, int64(len(got))), got)
	if len(want) > 0 {
		require.NoError(t, err)
	}
	require.True(t, bytes.Equal(want, got), "the file has other bytes than ReadAt")
}

func testNotFound(t *testing.T, f Fixture) {
	dgst, _ := Blob(digest.SHA256, 10)
	_, err := f.Store.Open(context20s(t), dgst)
	require.True(t, errdefs.IsNotFound(err), "got %v", err)
	require.ErrorContains(t, err, "store")
	require.ErrorContains(t, err, dgst.String())
}

func testFile(t *testing.T, f Fixture) {
	_, data := Blob(digest.SHA256, 3<<20+17)
	id := piece.FileID("https://files.example/a", "an ETag")
	_, err := f.Store.Open(context20s(t), id)
	require.True(t, errdefs.IsNotFound(err), "got %v", err)
	in, err := f.Store.Ingest(context20s(t), id, int64(len(data)))
	if errdefs.IsNotImplemented(err) {
		return
	}
	require.NoError(t, err)
	write(t, in, data)
	if err := in.Commit(context20s(t)); !f.Store.Writes() {
		require.True(t, errdefs.IsUnavailable(err), "got %v", err)
		return
	}
	require.NoError(t, in.Close())
	requireBytes(t, open(t, f.Store, id), data)
	found := map[digest.Digest]int64{}
	require.NoError(t, f.Store.Walk(context20s(t), func(id digest.Digest, size int64) error {
		found[id] = size
		return nil
	}))
	require.EqualValues(t, len(data), found[id])
}

func testBadDigest(t *testing.T, f Fixture) {
	for _, dgst := range []digest.Digest{"", "sha256", "sha256:", "sha256:../../../etc/passwd", "sha256:AB", "md5:d41d8cd98f00b204e9800998ecf8427e", "file:../../../etc/passwd"} {
		_, err := f.Store.Open(context20s(t), dgst)
		require.Error(t, err, "Open(%q)", dgst)
		_, err = f.Store.Ingest(context20s(t), dgst, 1)
		require.Error(t, err, "Ingest(%q)", dgst)
	}
}

func testOpen(t *testing.T, f Fixture) {
	for _, alg := range f.Algorithms {
		for _, size := range sizes {
			dgst, blob := Blob(alg, size)
			f.Put(t, dgst, blob)
			b := open(t, f.Store, dgst)
			require.EqualValues(t, size, b.Size())
			requireBytes(t, b, blob)
			require.NoError(t, iotest.TestReader(io.NewSectionReader(b, 0, min(b.Size(), 4<<10)), blob[:min(len(blob), 4<<10)]))
			n, err := b.ReadAt(make([]byte, 10), b.Size())
			require.Zero(t, n)
			require.ErrorIs(t, err, io.EOF)
			require.NoError(t, b.Close())
		}
	}
}

func testConcurrentReads(t *testing.T, f Fixture) {
	dgst, blob := Blob(digest.SHA256, 1<<20)
	f.Put(t, dgst, blob)
	b := open(t, f.Store, dgst)
	errs := make(chan error)
	const readers = 8
	for i := range readers {
		go func() {
			off := i * len(blob) / readers
			p := make([]byte, len(blob)/readers)
			_, err := io.ReadFull(io.NewSectionReader(b, int64(off), int64(len(p))), p)
			if err == nil && !bytes.Equal(p, blob[off:off+len(p)]) {
				err = io.ErrUnexpectedEOF
			}
			errs <- err
		}()
	}
	for range readers {
		require.NoError(t, <-errs)
	}
}

func testWalk(t *testing.T, f Fixture) {
	want := map[digest.Digest]int64{}
	for _, alg := range f.Algorithms {
		for _, size := range sizes {
			dgst, blob := Blob(alg, size)
			f.Put(t, dgst, blob)
			want[dgst] = int64(size)
		}
	}
	dgst, blob := Blob(digest.SHA256, 100)
	in := ingest(t, f.Store, dgst, len(blob)) // is no blob yet
	write(t, in, blob[:50])
	got := map[digest.Digest]int64{}
	require.NoError(t, f.Store.Walk(context20s(t), func(dgst digest.Digest, size int64) error {
		got[dgst] = size
		return nil
	}))
	require.Subset(t, got, want)
	require.NotContains(t, got, dgst)
}

func testWalkStops(t *testing.T, f Fixture) {
	for range 3 {
		dgst, blob := Blob(digest.SHA256, 10)
		f.Put(t, dgst, blob)
	}
	calls := 0
	err := f.Store.Walk(context20s(t), func(digest.Digest, int64) error {
		calls++
		return io.ErrClosedPipe
	})
	require.ErrorIs(t, err, io.ErrClosedPipe)
	require.Equal(t, 1, calls)
}

func testAlreadyExists(t *testing.T, f Fixture) {
	dgst, blob := Blob(digest.SHA256, 100)
	f.Put(t, dgst, blob)
	_, err := f.Store.Ingest(context20s(t), dgst, int64(len(blob)))
	require.True(t, errdefs.IsAlreadyExists(err), "got %v", err)
}

func testSecondIngest(t *testing.T, f Fixture) {
	dgst, blob := Blob(digest.SHA256, 100)
	in := ingest(t, f.Store, dgst, len(blob))
	_, err := f.Store.Ingest(context20s(t), dgst, int64(len(blob)))
	require.True(t, errdefs.IsUnavailable(err), "got %v", err)
	other, _ := Blob(digest.SHA256, 100)
	ingest(t, f.Store, other, 100)
	require.NoError(t, in.Close())
	ingest(t, f.Store, dgst, len(blob))
}

func testTruncate(t *testing.T, f Fixture) {
	dgst, blob := Blob(digest.SHA256, 1000)
	in := ingest(t, f.Store, dgst, len(blob))
	write(t, in, make([]byte, 600))
	require.NoError(t, in.Truncate())
	require.Zero(t, in.Offset())
	require.Zero(t, in.Available())
	write(t, in, blob)
	require.EqualValues(t, len(blob), in.Offset())
}

func testCloseTwice(t *testing.T, f Fixture) {
	dgst, blob := Blob(digest.SHA256, 1000)
	in := ingest(t, f.Store, dgst, len(blob))
	write(t, in, blob[:10])
	require.NoError(t, in.Close())
	require.NoError(t, in.Close())
	ingest(t, f.Store, dgst, len(blob))
}
