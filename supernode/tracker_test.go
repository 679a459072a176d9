package supernode

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/stretchr/testify/require"

	"github.com/shoal-p2p/shoal/p2p"
)

var blob = digest.FromString("blob")

func newTestTracker() *tracker { return newTracker(rand.New(rand.NewPCG(1, 2))) }

func peer(i int) p2p.Peer {
	return p2p.Peer{ID: fmt.Sprintf("n%02d", i), Address: fmt.Sprintf("192.0.2.%d:65002", i), Labels: map[string]string{"rack": fmt.Sprint(i % 4)}}
}

func TestInSmallSwarmsAllMeetAll(t *testing.T) {
	tr := newTestTracker()
	for i := range maxNeighbours + 1 {
		require.Len(t, tr.Join(peer(i), blob), i)
	}
	require.Len(t, tr.Join(peer(3), blob), maxNeighbours, "who joins again does not meet itself")
}

func TestInLargeSwarmsHalfOfTheNeighboursAreNear(t *testing.T) {
	tr := newTestTracker()
	for i := range 100 {
		tr.Join(peer(i), blob)
	}
	met := tr.Join(peer(100), blob)
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
	tr.Hold(peer(1), blob)
	tr.Join(peer(2), blob)
	require.Equal(t, []string{"n01"}, tr.Holders(blob))
	tr.Leave("n02", blob)
	require.Len(t, tr.Join(peer(3), blob), 1)
	tr.Gone("n01")
	tr.Gone("n03")
	require.Empty(t, tr.Join(peer(4), blob))
	tr.Gone("n04")
	require.Empty(t, tr.swarms, "nothing is left behind")
	require.Empty(t, tr.of)
}

func TestAnAgentCannotFillTheTracker(t *testing.T) {
	tr := newTestTracker()
	for i := range maxHeld + 10 {
		tr.Hold(peer(1), digest.FromString(fmt.Sprint(i)))
	}
	require.Len(t, tr.of["n01"], maxHeld)
}
