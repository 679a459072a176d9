package p2p

import (
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/stretchr/testify/require"
)

func TestHoldings(t *testing.T) {
	a, b, c := digest.FromString("a"), digest.FromString("b"), digest.FromString("c")
	h := newHoldings()

	h.begin()
	fresh, gone := h.compare(map[digest.Digest]int64{a: 1, b: 2})
	require.ElementsMatch(t, []digest.Digest{a, b}, fresh)
	require.Empty(t, gone)
	require.True(t, h.add(a))
	require.True(t, h.add(b))
	require.False(t, h.add(b), "it is known")

	h.begin()
	require.True(t, h.add(c), "committed while the scan runs")
	fresh, gone = h.compare(map[digest.Digest]int64{a: 1})
	require.Empty(t, fresh)
	require.Equal(t, []digest.Digest{b}, gone, "what came during the scan may have been missed by it")
	h.forget(b)

	h.begin()
	fresh, gone = h.compare(map[digest.Digest]int64{b: 2})
	require.Equal(t, []digest.Digest{b}, fresh)
	require.ElementsMatch(t, []digest.Digest{a, c}, gone)
}
