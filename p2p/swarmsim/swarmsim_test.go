package swarmsim

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// gigabit carries a piece of 256 KiB in 2.1 ms.
const gigabit = 125e6

// crowd is n nodes that arrive at once and want one blob of 256 pieces.
func crowd(n int) Scenario {
	return Scenario{
		Nodes: Crowd(n), Rate: gigabit, Blobs: []int{256}, PieceSize: 256 << 10,
		RTT: 500 * time.Microsecond, Seed: 1,
	}
}

func run(t *testing.T, sc Scenario) Result {
	t.Helper()
	start := time.Now()
	r, err := Run(sc)
	require.NoError(t, err)
	t.Logf("last %.3f mean %.3f seed %.2f wasted %.3f have %d busy %d uplink %.2f; %d events in %v",
		r.Last, r.Mean, r.Seed, r.Wasted, r.RejectedHave, r.RejectedBusy, r.Uplink, r.Events, time.Since(start).Round(time.Millisecond))
	return r
}

func TestACrowdFinishesNearItsBound(t *testing.T) {
	for _, n := range []int{8, 64, 1000} {
		r := run(t, crowd(n))
		require.LessOrEqual(t, r.Last, 1.12, "%d nodes", n)
		require.LessOrEqual(t, r.Seed, 1.2, "%d nodes", n)
	}
}
