package supernode

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/stretchr/testify/require"

	"github.com/shoal-p2p/shoal/p2p"
)

var blob = digest.FromString("blob")

func newTestTracker() *tracker { return newTracker(rand.New(rand.NewPCG(1, 2))) }

func nodeN(i int) p2p.Peer {
	return p2p.Peer{ID: fmt.Sprintf("n%02d", i), Address: fmt.Sprintf("192.0.2.%d:65002", i), Labels: map[string]string{"rack": fmt.Sprint(i % 4)}}
}

func TestInSmallSwarmsAllMeetAll(t *testing.T) {
	tr := newTestTracker()
	for i := range maxNeighbours + 1 {
		require.Len(t, tr.Join(nodeN(i), blob), i)
	}
	require.Len(t, tr.Join(nodeN(3), blob), maxNeighbours, "who joins again does not meet itself")
}

func TestInLargeSwarmsHalfOfTheNeighboursAreNear(t *testing.T) {
	tr := newTestTracker()
	for i := range 100 {
		tr.Join(nodeN(i), blob)
	}
	met := tr.Join(nodeN(100), blob)
	require.Len(t, met, maxNeighbours)
	near, seen := 0, map[string]bool{}
	for _, p := range met {
		if p.Labels["rack"] == "0" {
			near++
		}
		seen[p.ID] = true
	}
	require.Len(t, seen, maxNeighbours)
	require.GreaterOrEqual(t, near, maxNear)
	require.Less(t, near, maxNeighbours, "a rack is not an island")
}

func TestWhoLeavesOrDiesIsNotIntroduced(t *testing.T) {
	tr := newTestTracker()
	tr.Hold(nodeN(1), blob)
	tr.Join(nodeN(2), blob)
	require.Equal(t, []string{"n01"}, tr.Holders(blob))
	tr.Leave("n02", blob)
	require.Len(t, tr.Join(nodeN(3), blob), 1)
	tr.Gone("n01")
	tr.Gone("n03")
	require.Empty(t, tr.Join(nodeN(4), blob))
	tr.Gone("n04")
	require.Empty(t, tr.swarms, "nothing is left behind")
	require.Empty(t, tr.peers)
	require.Zero(t, tr.AllHeld())
}

func TestAnAgentCannotFillTheTracker(t *testing.T) {
	tr := newTestTracker()
	for i := range maxHeld + 10 {
		tr.Hold(nodeN(1), digest.FromString(fmt.Sprint(i)))
	}
	require.Equal(t, maxHeld, tr.Held("n01"))
}

func TestBlobsHeldAreCounted(t *testing.T) {
	tr := newTestTracker()
	other := digest.FromString("other")
	tr.Hold(nodeN(1), blob)
	tr.Hold(nodeN(1), blob)
	tr.Hold(nodeN(1), other)
	tr.Hold(nodeN(2), blob)
	require.Equal(t, 2, tr.Held("n01"))
	require.Equal(t, 3, tr.AllHeld())
	tr.Join(nodeN(1), blob) // it has lost it, and wants it again
	require.Equal(t, 1, tr.Held("n01"))
	require.Equal(t, []string{"n02"}, tr.Holders(blob))
	tr.Leave("n01", other)
	tr.Leave("n01", other)
	require.Zero(t, tr.Held("n01"))
	require.Equal(t, 1, tr.AllHeld())
}

// TestManyHoldersCostNoMoreThanSome is the cluster in which every node holds the
// same base image.
func TestManyHoldersCostNoMoreThanSome(t *testing.T) {
	tr := newTestTracker()
	for i := range 10_000 {
		tr.Hold(nodeN(i), blob)
	}
	require.Len(t, tr.Holders(blob), maxHolders)
	met := map[string]bool{}
	for range 100 {
		for _, p := range tr.Join(nodeN(10_000), blob) {
			met[p.ID] = true
		}
	}
	require.Greater(t, len(met), 1000, "the load is spread")
	for i := range 10_000 {
		tr.Gone(nodeN(i).ID)
	}
	require.Empty(t, tr.Holders(blob))
	require.Len(t, tr.swarms[blob].members, 1)
}

// BenchmarkHold is a cluster that comes up: 1,000 nodes with the same 2,000 blobs.
func BenchmarkHold(b *testing.B) {
	const nodes, blobs = 1000, 2000
	var all []digest.Digest
	for i := range blobs {
		all = append(all, digest.FromString(fmt.Sprint(i)))
	}
	for b.Loop() {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		tr := newTestTracker()
		for i := range nodes {
			node := nodeN(i)
			for _, dgst := range all {
				tr.Hold(node, dgst)
			}
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/nodes/blobs, "B/held")
		runtime.KeepAlive(tr)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/nodes/blobs, "ns/held")
}
