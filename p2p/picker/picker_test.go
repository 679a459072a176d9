package picker

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/shoal-p2p/shoal/p2p/piece"
)

func source() *rand.Rand { return rand.New(rand.NewPCG(1, 2)) }

func set(n int, pieces ...int) *piece.Bitfield {
	b := piece.NewBitfield(n)
	for _, i := range pieces {
		b.Set(uint(i))
	}
	return b
}

func TestSenderOffersTheRarestPieceToAFreeNeighbour(t *testing.T) {
	s := New(false, source())
	s.SetSlots(1)
	s.AddBlob("b", 4)
	s.Hold("b", 0)
	s.Hold("b", 1)
	for _, id := range []string{"x", "y", "z"} {
		s.AddNeighbour(id)
	}
	s.Observe("x", "b", Snapshot{Have: set(4, 0), Want: set(4, 1, 2)})
	s.Observe("y", "b", Snapshot{Have: set(4), Want: set(4, 0, 1)})
	s.Observe("z", "b", Snapshot{Have: set(4), Want: set(4, 0, 1)})

	_, ok := s.NextOffer()
	require.False(t, ok, "everybody is busy")

	s.SetFree("y", true)
	o, ok := s.NextOffer()
	require.True(t, ok)
	require.Equal(t, Offer{Node: "y", Blob: "b", Piece: 1}, o, "piece 0 has a copy already")

	s.SetFree("z", true)
	_, ok = s.NextOffer()
	require.False(t, ok, "the one upload slot is taken")

	s.EndUpload(o)
	o, ok = s.NextOffer()
	require.True(t, ok)
	require.Equal(t, "z", o.Node)
}

func TestSeedSendsAgainOnlyWhatNoLivePeerCouldSend(t *testing.T) {
	s := New(true, source())
	s.AddBlob("b", 1)
	s.HoldAll("b")
	for _, id := range []string{"x", "y"} {
		s.AddNeighbour(id)
		s.SetFree(id, true)
		s.Observe(id, "b", Snapshot{Have: set(1), Want: set(1, 0)})
	}
	first, ok := s.NextOffer()
	require.True(t, ok)
	s.EndUpload(first)

	_, ok = s.NextOffer()
	require.False(t, ok, "the first peer can send it")

	s.RemoveNeighbour(first.Node)
	second, ok := s.NextOffer()
	require.True(t, ok, "the first peer died with its copy")
	require.NotEqual(t, first.Node, second.Node)
}

func TestSeedHelpsAStarvedOrLonelyPeer(t *testing.T) {
	for _, snap := range []Snapshot{{Lonely: true}, {Starved: true}} {
		s := New(true, source())
		s.AddBlob("b", 1)
		s.HoldAll("b")
		s.AddNeighbour("holder")
		s.Observe("holder", "b", Snapshot{Have: set(1, 0), Want: set(1)})
		s.AddNeighbour("x")
		s.SetFree("x", true)
		snap.Have, snap.Want = set(1), set(1, 0)
		s.Observe("x", "b", snap)
		_, ok := s.NextOffer()
		require.True(t, ok)
	}
}

func TestQuietNeighbourCountsForNothing(t *testing.T) {
	s := New(true, source())
	s.AddBlob("b", 1)
	s.HoldAll("b")
	s.AddNeighbour("frozen")
	s.Observe("frozen", "b", Snapshot{Have: set(1, 0), Want: set(1)})
	s.AddNeighbour("x")
	s.SetFree("x", true)
	s.Observe("x", "b", Snapshot{Have: set(1), Want: set(1, 0)})
	_, ok := s.NextOffer()
	require.False(t, ok)

	s.SetQuiet("frozen", true)
	require.Zero(t, s.Copies("b", 0))
	_, ok = s.NextOffer()
	require.True(t, ok)
	s.SetQuiet("frozen", false)
	require.Equal(t, 2, s.Copies("b", 0), "the copy sent to x and the one that woke up")
}

func TestReceiverTakesOnePieceAtATimeAndNoneTwice(t *testing.T) {
	s := New(false, source())
	s.SetSlots(1)
	s.AddBlob("b", 3)
	s.Want("b", set(3, 0, 1))
	require.Equal(t, Have, s.Accept("b", 2, false), "outside the window")
	require.Equal(t, Have, s.Accept("b", 77, false))
	require.Equal(t, Have, s.Accept("other", 0, false))
	require.Equal(t, Accepted, s.Accept("b", 0, false))
	require.False(t, s.Free())
	require.Equal(t, Busy, s.Accept("b", 1, false))
	require.Equal(t, Have, s.Accept("b", 0, false), "on its way")
	s.EndDownload()
	require.Equal(t, Accepted, s.Accept("b", 1, false))
	s.Want("b", set(3, 0, 1, 2))
	require.True(t, s.Wanted("b").Equal(set(3, 2)), "what is in flight is not asked for")
	s.Landed("b", 0)
	s.Want("b", set(3, 0, 1, 2))
	require.True(t, s.Wanted("b").Test(0), "it was lost, and is wanted again")
}

func TestADeclinedOfferIsNotForgotten(t *testing.T) {
	s := New(false, source())
	s.AddBlob("b", 1)
	s.HoldAll("b")
	s.AddNeighbour("x")
	s.SetFree("x", true)
	s.Observe("x", "b", Snapshot{Have: set(1), Want: set(1, 0)})
	o, _ := s.NextOffer()
	s.Lost(o, Busy)
	s.EndUpload(o)
	_, ok := s.NextOffer()
	require.False(t, ok, "it is busy until it says otherwise")
	s.SetFree("x", true)
	_, ok = s.NextOffer()
	require.True(t, ok)
}

func TestSlotsGrowWithTheTripAndBoundBothDirections(t *testing.T) {
	for trips, slots := range map[float64]int{0: MinSlots, math.NaN(): MaxSlots, 0.7: MinSlots, 1: 5, 1.6: MaxSlots, 50: MaxSlots, math.Inf(1): MaxSlots} {
		require.Equal(t, slots, Slots(trips), "%v trips", trips)
	}
	s := New(false, source())
	s.AddBlob("b", 10)
	s.Want("b", piece.Full(10))
	for n := 1; n <= MaxSlots; n++ {
		s.SetSlots(n)
		require.Equal(t, Accepted, s.Accept("b", n, false))
		require.Equal(t, Busy, s.Accept("b", 9, false))
	}
}

func TestTheSeedNeedsNoFreeSlot(t *testing.T) {
	s := New(true, source())
	s.AddBlob("b", 4)
	s.HoldAll("b")
	s.AddNeighbour("x")
	s.Observe("x", "b", Snapshot{Have: set(4), Want: piece.Full(4)})
	first, ok := s.NextOffer()
	require.True(t, ok, "x has not said that it is free")
	_, ok = s.NextOffer()
	require.False(t, ok, "one at a time")
	s.EndUpload(first)
	second, ok := s.NextOffer()
	require.True(t, ok)
	s.EndUpload(second)
	s.Lost(second, Busy)
	_, ok = s.NextOffer()
	require.False(t, ok, "it has just declined")
	s.SetFree("x", false)
	_, ok = s.NextOffer()
	require.True(t, ok)

	x := New(false, source())
	x.AddBlob("b", 4)
	x.Want("b", piece.Full(4))
	x.SetSlots(1)
	require.Equal(t, Accepted, x.Accept("b", 0, false))
	require.Equal(t, Busy, x.Accept("b", 1, false))
	require.Equal(t, Accepted, x.Accept("b", 1, true))
	require.Equal(t, Busy, x.Accept("b", 2, true))
}

func TestTheSeedOpensSlotsAsItsPiecesSpread(t *testing.T) {
	const pieces, nodes = 64, 12
	s := New(true, source())
	s.AddBlob("b", pieces)
	s.HoldAll("b")
	observe := func(held int) {
		for i := range nodes {
			have := piece.NewBitfield(pieces)
			for k := range held {
				have.Set(uint(k))
			}
			s.Observe(fmt.Sprintf("n%02d", i), "b", Snapshot{Have: have, Want: piece.Full(pieces).Difference(have)})
		}
	}
	for i := range nodes {
		s.AddNeighbour(fmt.Sprintf("n%02d", i))
	}
	uploads := func() (n int) {
		for {
			o, ok := s.NextOffer()
			if !ok {
				return n
			}
			n++
			defer s.EndUpload(o)
			defer s.Lost(o, Accepted)
		}
	}
	for held, slots := range []int{2, 3, 4, MinSlots + 1, MinSlots + 1} {
		observe(held)
		require.Equal(t, slots, uploads(), "each neighbour has %d pieces", held)
	}

	s.AddBlob("next", pieces)
	s.HoldAll("next")
	for i := range nodes {
		id := fmt.Sprintf("n%02d", i)
		s.Observe(id, "b", Snapshot{Have: piece.Full(pieces), Want: piece.NewBitfield(pieces)})
		s.Observe(id, "next", Snapshot{Have: piece.NewBitfield(pieces), Want: piece.Full(pieces)})
	}
	require.Equal(t, 2, uploads(), "of the other blob all have all: that says nothing")
}

func TestTheSeedDoesNotWaitForASlowReceiver(t *testing.T) {
	s := New(true, source())
	s.AddBlob("b", 2)
	s.Hold("b", 0)
	s.AddNeighbour("slow")
	s.SetFree("slow", true)
	s.Observe("slow", "b", Snapshot{Have: set(2), Want: set(2, 0, 1)})
	o, ok := s.NextOffer()
	require.True(t, ok)
	require.Equal(t, 1, s.Copies("b", 0))

	s.AddNeighbour("fast")
	s.SetFree("fast", true)
	s.Observe("fast", "b", Snapshot{Have: set(2), Want: set(2, 0, 1)})
	_, ok = s.NextOffer()
	require.False(t, ok, "the first one is going to have it")
	s.Late(o)
	s.EndUpload(o)
	require.Zero(t, s.Copies("b", 0))
	again, ok := s.NextOffer()
	require.True(t, ok)
	require.Equal(t, Offer{"fast", "b", 0}, again)
	s.EndUpload(again)

	s.Hold("b", 1)
	s.SetFree("slow", true)
	s.SetFree("fast", true)
	next, ok := s.NextOffer()
	require.True(t, ok)
	require.Equal(t, "fast", next.Node, "something is still under way to the other")
	s.Delivered(o)
	require.Equal(t, 2, s.Copies("b", 0))

	s.EndUpload(next)
	s.Late(next)
	s.RemoveBlob("b")
	s.Delivered(next)
	require.False(t, s.neighbours["fast"].slow(), "nothing is under way any more")
}

func TestWhoFellBehindIsServedLikeTheOthers(t *testing.T) {
	s := New(false, source())
	s.AddBlob("b", 8)
	s.HoldAll("b")
	for _, id := range []string{"ahead", "behind", "far"} {
		s.AddNeighbour(id)
	}
	served := map[string]int{}
	for range 300 {
		s.Observe("ahead", "b", Snapshot{Have: set(8, 0, 1, 2, 3, 4, 5, 6), Want: set(8, 7)})
		s.Observe("far", "b", Snapshot{Have: set(8, 0, 1, 2, 3, 4, 5), Want: set(8, 6, 7)})
		s.Observe("behind", "b", Snapshot{Have: set(8), Want: set(8, 0, 1, 2, 3, 4, 5)})
		for _, id := range []string{"ahead", "behind", "far"} {
			s.SetFree(id, true)
		}
		o, ok := s.NextOffer()
		require.True(t, ok)
		served[o.Node]++
		s.EndUpload(o)
		s.Lost(o, Busy)
	}
	require.Greater(t, served["behind"], 60, "%v", served)
}

func TestAnOldSnapshotDoesNotUndoAnOffer(t *testing.T) {
	s := New(true, source())
	s.AddBlob("b", 1)
	s.HoldAll("b")
	for _, id := range []string{"x", "y"} {
		s.AddNeighbour(id)
		s.Observe(id, "b", Snapshot{Have: set(1), Want: set(1, 0)})
	}
	s.SetFree("x", true)
	o, ok := s.NextOffer()
	require.True(t, ok)
	s.EndUpload(o)
	s.Observe("x", "b", Snapshot{Have: set(1), Want: set(1, 0)}) // said before it heard the offer
	s.SetFree("x", true)
	s.SetFree("y", true)
	_, ok = s.NextOffer()
	require.False(t, ok, "it is on its way")

	s.Delivered(o)
	s.Observe("x", "b", Snapshot{Have: set(1), Want: set(1, 0)}) // it broke off
	_, ok = s.NextOffer()
	require.True(t, ok)
}

func TestWindowFollowsTheFirstMissingPiece(t *testing.T) {
	held, inflight := set(10, 0, 1, 3), set(10, 2)
	require.True(t, Window(10, held, inflight, []int{0}, 3).Equal(set(10, 4)))
	require.True(t, Window(10, held, inflight, []int{0, 8}, 3).Equal(set(10, 4, 8, 9)))
	require.True(t, Window(10, piece.Full(10), set(10), []int{0}, 3).None())
	require.True(t, Window(10, held, set(10), []int{10}, 3).None())
}

func TestUpstreamRunsLeaveToNeighboursWhatTheyOffer(t *testing.T) {
	want := set(10, 2, 3, 4, 7)
	r, ok := NextRun(want, set(10, 2), set(10), 4, source())
	require.True(t, ok)
	require.Equal(t, Run{First: 3, Count: 2}, r, "unproven pieces in sequence")

	r, ok = NextRun(want, set(10), set(10, 7), 4, source())
	require.True(t, ok)
	require.Equal(t, Run{First: 7, Count: 1}, r, "proven ones first: they can be traded")

	_, ok = NextRun(want, want, set(10), 4, source())
	require.False(t, ok)
}

func TestCopiesNeverDrift(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const pieces = 8
		s := New(rapid.Bool().Draw(t, "seed"), source())
		s.AddBlob("b", pieces)
		s.HoldAll("b")
		bits := rapid.Custom(func(t *rapid.T) *piece.Bitfield {
			return set(pieces, rapid.SliceOf(rapid.IntRange(0, pieces-1)).Draw(t, "bits")...)
		})
		name := rapid.SampledFrom([]string{"x", "y", "z"})
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			id := name.Draw(t, "node")
			switch rapid.IntRange(0, 6).Draw(t, "step") {
			case 0:
				if s.neighbours[id] == nil {
					s.AddNeighbour(id)
				}
			case 1:
				s.RemoveNeighbour(id)
			case 2:
				s.Observe(id, "b", Snapshot{Have: bits.Draw(t, "have"), Want: bits.Draw(t, "want"), Starved: rapid.Bool().Draw(t, "starved")})
			case 3:
				s.SetQuiet(id, rapid.Bool().Draw(t, "quiet"))
			case 4:
				s.SetFree(id, true)
				if o, ok := s.NextOffer(); ok {
					s.EndUpload(o)
					s.Lost(o, rapid.SampledFrom([]Reason{Accepted, Have, Busy}).Draw(t, "reason"))
				}
			case 5:
				s.Forget(id, "b")
			}
		}
		for id := range s.neighbours {
			s.RemoveNeighbour(id)
		}
		for i := range pieces {
			require.Zero(t, s.Copies("b", i))
		}
		require.Zero(t, s.blobs["b"].total)
	})
}

// A swarm on a clock of its own: in each round every node sends one piece and
// receives one. The bound is one round per piece.
func TestASwarmFinishesInLittleMoreThanOneRoundPerPiece(t *testing.T) {
	const nodes, pieces = 16, 256
	all := make([]*State, nodes+1) // the last is the seed
	name := func(i int) string { return fmt.Sprintf("node%02d", i) }
	for i := range all {
		all[i] = New(i == nodes, rand.New(rand.NewPCG(7, uint64(i))))
		all[i].AddBlob("b", pieces)
		for j := range all {
			if i != j {
				all[i].AddNeighbour(name(j))
			}
		}
	}
	all[nodes].HoldAll("b")
	sent := 0
	round := 0
	for done := 0; done < nodes; round++ {
		require.Less(t, round, 2*pieces, "the swarm is stuck")
		for i := range nodes {
			have := all[i].Offerable("b")
			all[i].Want("b", Window(pieces, have, piece.NewBitfield(pieces), []int{0}, 4*MinWindow))
			for j := range all {
				if i != j {
					all[j].Observe(name(i), "b", Snapshot{Have: have.Clone(), Want: all[i].Wanted("b")})
					all[j].SetFree(name(i), true)
				}
			}
		}
		type flight struct{ to, piece int }
		var landing []flight
		for _, i := range source().Perm(len(all)) {
			for { // an offer may meet somebody who is busy by now
				o, ok := all[i].NextOffer()
				if !ok {
					break
				}
				all[i].EndUpload(o)
				var to int
				_, _ = fmt.Sscanf(o.Node, "node%d", &to)
				if why := all[to].Accept("b", o.Piece, i == nodes); why != Accepted {
					all[i].Lost(o, why)
					continue
				}
				landing = append(landing, flight{to, o.Piece})
				if i == nodes {
					sent++
				}
				break
			}
		}
		for _, f := range landing {
			all[f.to].EndDownload()
			all[f.to].Landed("b", f.piece)
			all[f.to].Hold("b", f.piece)
		}
		done = 0
		for i := range nodes {
			if all[i].Offerable("b").All() {
				done++
			}
		}
	}
	require.LessOrEqual(t, float64(round)/pieces, 1.15, "rounds per piece")
	require.LessOrEqual(t, float64(sent)/pieces, 1.2, "pieces sent by the seed per piece of the blob")
	t.Logf("%d rounds for %d pieces, the seed sent %d", round, pieces, sent)
}
