package picker

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/shoal-p2p/shoal/p2p/piece"
)

func drawSet(t *rapid.T, name string, pieces int) *piece.Bitfield {
	return set(pieces, rapid.SliceOf(rapid.IntRange(0, pieces-1)).Draw(t, name)...)
}

func TestWindowOverWordsIsTheWindowPieceByPiece(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pieces := rapid.IntRange(1, 200).Draw(t, "pieces")
		held, inflight := drawSet(t, "held", pieces), drawSet(t, "inflight", pieces)
		cursors := rapid.SliceOfN(rapid.IntRange(0, pieces), 0, 3).Draw(t, "cursors")
		width := rapid.IntRange(1, 200).Draw(t, "width")
		want := piece.NewBitfield(pieces)
		for _, c := range cursors {
			for c < pieces && held.Test(uint(c)) {
				c++
			}
			for i := c; i < min(c+width, pieces); i++ {
				if !held.Test(uint(i)) && !inflight.Test(uint(i)) {
					want.Set(uint(i))
				}
			}
		}
		require.True(t, Window(pieces, held, inflight, cursors, width).Equal(want))
	})
}

func TestCopiesAreThoseOfTheLastSnapshots(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pieces := rapid.IntRange(1, 150).Draw(t, "pieces")
		s := New(false, source())
		s.AddBlob("b", pieces)
		last := map[string]*piece.Bitfield{}
		for range rapid.IntRange(1, 20).Draw(t, "snapshots") {
			id := rapid.SampledFrom([]string{"x", "y", "z"}).Draw(t, "node")
			if last[id] == nil {
				s.AddNeighbour(id)
			}
			last[id] = drawSet(t, "have", pieces)
			s.Observe(id, "b", Snapshot{Have: last[id], Want: last[id].Complement()})
		}
		for i := range pieces {
			copies := 0
			for _, have := range last {
				if have.Test(uint(i)) {
					copies++
				}
			}
			require.Equal(t, copies, s.Copies("b", i))
		}
	})
}

func TestASnapshotStaysTheCallers(t *testing.T) {
	s := New(false, source())
	s.AddBlob("b", 2)
	s.HoldAll("b")
	s.AddNeighbour("x")
	s.SetFree("x", true)
	snap := Snapshot{Have: set(2), Want: set(2, 0, 1)}
	s.Observe("x", "b", snap)
	_, ok := s.NextOffer()
	require.True(t, ok)
	require.Equal(t, uint(2), snap.Want.Count())
	window := set(2, 0)
	s.Want("b", window)
	s.Fetch("b", 0)
	require.True(t, window.Test(0))
}

func TestANeighbourThatComesBackIsANewOne(t *testing.T) {
	s := New(false, source())
	s.AddBlob("b", 1)
	for range 2 {
		s.AddNeighbour("x")
		s.Observe("x", "b", Snapshot{Have: set(1, 0), Want: set(1)})
		require.Equal(t, 1, s.Copies("b", 0))
	}
}

func TestOffersAndSnapshotsDoNotAllocate(t *testing.T) {
	const pieces = 256
	s := New(false, source())
	s.AddBlob("b", pieces)
	s.HoldAll("b")
	s.AddNeighbour("x")
	snap := Snapshot{Have: set(pieces), Want: piece.Full(pieces)}
	s.Observe("x", "b", snap)
	require.Zero(t, testing.AllocsPerRun(100, func() {
		s.Observe("x", "b", snap)
		s.SetFree("x", true)
		o, ok := s.NextOffer()
		require.True(t, ok)
		s.Lost(o, Busy)
		s.EndUpload(o)
	}))
}
