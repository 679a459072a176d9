package storetest

import (
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	"github.com/stretchr/testify/require"
)

// runLooking tests a store whose ingests look on while somebody else writes.
func runLooking(t *testing.T, run func(string, func(*testing.T, Fixture))) {
	run("NothingIsKeptOfWhatIsWritten", testKeepsNothing)
	run("CommitIsUnavailableUntilSomebodyElseHas", testCommitLooks)
}

func testKeepsNothing(t *testing.T, f Fixture) {
	dgst, blob := Blob(digest.SHA256, 1000)
	in := ingest(t, f.Store, dgst, len(blob))
	write(t, in, blob)
	require.NoError(t, in.Close())
	_, err := f.Store.Open(context20s(t), dgst)
	require.True(t, errdefs.IsNotFound(err), "got %v", err)
	require.Zero(t, ingest(t, f.Store, dgst, len(blob)).Offset())
}

func testCommitLooks(t *testing.T, f Fixture) {
	dgst, blob := Blob(digest.SHA256, 1<<20)
	in := ingest(t, f.Store, dgst, len(blob))
	write(t, in, blob)
	err := in.Commit(context20s(t))
	require.True(t, errdefs.IsUnavailable(err), "got %v", err)
	require.Zero(t, in.Available())
	f.Put(t, dgst, blob)
	require.NoError(t, in.Commit(context20s(t)))
	require.Eventually(t, func() bool { return in.Available() == int64(len(blob)) }, 5*time.Second, 5*time.Millisecond)
	requireBytes(t, in, blob)
}
