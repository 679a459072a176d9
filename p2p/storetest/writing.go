package storetest

import (
	"bytes"
	"io"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	"github.com/stretchr/testify/require"

	"github.com/shoal-p2p/shoal/p2p"
)

// runWriting tests a store whose ingests keep what is written.
func runWriting(t *testing.T, newStore func(*testing.T) Fixture, run func(string, func(*testing.T, Fixture))) {
	run("IngestBecomesABlob", testIngest)
	run("IngestReadsBackWhileItGrows", testReadBack)
	run("ReadersOfAnIngestOutliveItsCommit", testReadAcrossCommit)
	run("CommitOfTooFewBytesFailsAndKeepsThem", testShort)
	run("MoreBytesThanAnnouncedAreRefused", testLong)
	run("ClosedIngestIsResumed", testResume)
	if newStore(t).Reopen != nil {
		run("IngestIsResumedAfterARestart", testRestart)
		run("BlobsSurviveARestart", testBlobsSurvive)
	}
}

func testIngest(t *testing.T, f Fixture) {
	for _, alg := range algorithms {
		for _, size := range sizes {
			dgst, blob := Blob(alg, size)
			in := ingest(t, f.Store, dgst, size)
			write(t, in, blob)
			require.NoError(t, in.Commit(context20s(t)))
			require.NoError(t, in.Commit(context20s(t)), "a second commit is harmless")
			require.NoError(t, in.Close())
			b := open(t, f.Store, dgst)
			require.EqualValues(t, size, b.Size())
			requireBytes(t, b, blob)
		}
	}
}

func testReadBack(t *testing.T, f Fixture) {
	dgst, blob := Blob(digest.SHA256, 1<<20)
	in := ingest(t, f.Store, dgst, len(blob))
	for written := 0; written < len(blob); {
		n := min(100<<10, len(blob)-written)
		write(t, in, blob[written:written+n])
		written += n
		require.EqualValues(t, written, in.Available())
		requireBytes(t, in, blob[:written])
		n, err := in.ReadAt(make([]byte, 10), int64(written))
		require.Zero(t, n)
		require.ErrorIs(t, err, io.EOF)
	}
}

// testReadAcrossCommit reads from several goroutines from the first byte until
// after the commit.
func testReadAcrossCommit(t *testing.T, f Fixture) {
	dgst, blob := Blob(digest.SHA256, 2<<20)
	in := ingest(t, f.Store, dgst, len(blob))
	stop, errs := make(chan struct{}), make(chan error)
	const readers = 4
	for range readers {
		go func() { errs <- readUntil(in, blob, stop) }()
	}
	for written := 0; written < len(blob); written += 64 << 10 {
		write(t, in, blob[written:written+64<<10])
	}
	require.NoError(t, in.Commit(context20s(t)))
	requireBytes(t, in, blob)
	close(stop)
	for range readers {
		require.NoError(t, <-errs)
	}
	require.EqualValues(t, len(blob), in.Available())
}

// readUntil reads what is available over and over, once more after stop.
func readUntil(in p2p.Ingest, blob []byte, stop <-chan struct{}) error {
	p := make([]byte, len(blob))
	for last := false; ; {
		n := in.Available()
		if _, err := io.ReadFull(io.NewSectionReader(in, 0, n), p[:n]); err != nil && n > 0 {
			return err
		}
		if !bytes.Equal(p[:n], blob[:n]) {
			return io.ErrUnexpectedEOF
		}
		if last {
			return nil
		}
		select {
		case <-stop:
			last = true
		default:
		}
	}
}

func testShort(t *testing.T, f Fixture) {
	dgst, blob := Blob(digest.SHA256, 1000)
	in := ingest(t, f.Store, dgst, len(blob))
	write(t, in, blob[:600])
	err := in.Commit(context20s(t))
	require.True(t, errdefs.IsFailedPrecondition(err), "got %v", err)
	write(t, in, blob[600:])
	require.NoError(t, in.Commit(context20s(t)))
}

func testLong(t *testing.T, f Fixture) {
	dgst, blob := Blob(digest.SHA256, 1000)
	in := ingest(t, f.Store, dgst, len(blob))
	_, err := in.Write(append(bytes.Clone(blob), 1))
	require.True(t, errdefs.IsFailedPrecondition(err), "got %v", err)
	_, err = f.Store.Open(context20s(t), dgst)
	require.True(t, errdefs.IsNotFound(err), "got %v", err)
}

func testResume(t *testing.T, f Fixture) {
	for _, alg := range algorithms {
		dgst, blob := Blob(alg, 1<<20)
		in := ingest(t, f.Store, dgst, len(blob))
		write(t, in, blob[:600<<10])
		require.NoError(t, in.Close())
		resume(t, f.Store, dgst, blob, 600<<10)
	}
}

func testRestart(t *testing.T, f Fixture) {
	dgst, blob := Blob(digest.SHA256, 1<<20)
	in := ingest(t, f.Store, dgst, len(blob))
	write(t, in, blob[:600<<10])
	require.NoError(t, in.Close())
	resume(t, f.Reopen(t), dgst, blob, 600<<10)
}

func resume(t *testing.T, s p2p.Store, dgst digest.Digest, blob []byte, offset int) {
	t.Helper()
	in := ingest(t, s, dgst, len(blob))
	require.EqualValues(t, offset, in.Offset())
	require.EqualValues(t, offset, in.Available())
	requireBytes(t, in, blob[:offset])
	write(t, in, blob[offset:])
	require.NoError(t, in.Commit(context20s(t)))
	requireBytes(t, open(t, s, dgst), blob)
}

func testBlobsSurvive(t *testing.T, f Fixture) {
	dgst, blob := Blob(digest.SHA256, 1000)
	f.Put(t, dgst, blob)
	requireBytes(t, open(t, f.Reopen(t), dgst), blob)
}
