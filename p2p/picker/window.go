package picker

import (
	"math/rand/v2"

	"github.com/shoal-p2p/shoal/p2p/piece"
)

// MinWindow is how many pieces ahead of the first missing one a node asks for
// where memory allows: with fewer, nodes have too little to trade.
const MinWindow = 16

// Window returns the pieces to ask for: those neither held nor in flight among
// the width pieces that follow the first missing one at or after each cursor.
func Window(pieces int, held, inflight *piece.Bitfield, cursors []int, width int) *piece.Bitfield {
	want := piece.NewBitfield(pieces)
	out, skip, late := want.Words(), held.Words(), inflight.Words()
	for _, c := range cursors {
		first, ok := firstMissing(held, c, pieces)
		if !ok {
			continue
		}
		end := min(first+width, pieces)
		for k := first / 64; k*64 < end; k++ {
			out[k] |= span(k, first, end) &^ (skip[k] | late[k])
		}
	}
	return want
}

// span returns word k of the set of pieces from first to end, without end.
func span(k, first, end int) uint64 {
	w := ^uint64(0) << max(0, first-k*64)
	if over := (k+1)*64 - end; over > 0 {
		w &= ^uint64(0) >> over
	}
	return w
}

func firstMissing(held *piece.Bitfield, from, pieces int) (int, bool) {
	i, ok := held.NextClear(uint(from))
	return int(i), ok && int(i) < pieces
}

// Run is consecutive pieces to read from the upstream in one request.
type Run struct{ First, Count int }

// NextRun picks what a node reads from the upstream itself. want is its window;
// offered are the pieces that it can expect from neighbours, which are left to
// them; proven are those whose digest is known. Proven pieces can be traded, so
// they are taken in random order, at most most at a time, while unproven ones
// are only good in sequence. ok is false if there is nothing to read.
func NextRun(want, offered, proven *piece.Bitfield, most int, rand *rand.Rand) (r Run, ok bool) {
	missing := want.Difference(offered)
	if tradable := missing.Intersection(proven); tradable.Any() {
		k := rand.IntN(int(tradable.Count()))
		for i := range tradable.EachSet() {
			if k == 0 {
				return run(tradable, int(i), most), true
			}
			k--
		}
	}
	first, ok := missing.NextSet(0)
	if !ok {
		return Run{}, false
	}
	return run(missing, int(first), int(missing.Len())), true
}

// NextShare picks what a node reads from the upstream while all nodes of a swarm
// share the reading: deals of count pieces go round among self and others in the
// order of their IDs, so that all deal alike. missing are the pieces that the
// node needs and cannot expect from others. ok is false if none is in its share.
func NextShare(missing *piece.Bitfield, count int, self string, others []string) (r Run, ok bool) {
	place := 0
	for _, id := range others {
		if id < self {
			place++
		}
	}
	for first := range missing.EachSet() {
		deal := int(first) / count
		if deal%(len(others)+1) == place {
			return run(missing, int(first), (deal+1)*count-int(first)), true
		}
	}
	return Run{}, false
}

func run(set *piece.Bitfield, first, most int) Run {
	n := 1
	for n < most && set.Test(uint(first+n)) {
		n++
	}
	return Run{First: first, Count: n}
}
