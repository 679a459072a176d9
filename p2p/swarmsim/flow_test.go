package swarmsim

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// What a flow cannot use because of its other end, the others get.
func TestALinkIsSharedToTheFull(t *testing.T) {
	sc := crowd(4)
	sc.Nodes[1].Down = rate / 10
	s := newSim(sc.withDefaults())
	start := func(from, to int) *flow { return s.startFlow(s.nodes[from], s.nodes[to], 1e9, 0) }
	slow := start(0, 1)
	require.InDelta(t, 0.1, slow.rate/rate, 0.01)
	fast := start(0, 2)
	require.InDelta(t, 0.9, fast.rate/rate, 0.01)
	second := start(3, 2)
	require.InDelta(t, 0.5, fast.rate/rate, 0.01)
	third := start(0, 3)
	for _, f := range []*flow{fast, third} {
		require.InDelta(t, 0.45, f.rate/rate, 0.01)
	}
	require.InDelta(t, 0.55, second.rate/rate, 0.01)
	s.stopFlow(second)
	s.stopFlow(third)
	require.InDelta(t, 0.1, slow.rate/rate, 0.01)
	require.InDelta(t, 0.9, fast.rate/rate, 0.01)
}
