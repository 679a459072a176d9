package picker

import "math/bits"

// words are the bits of a set of pieces, 64 to a word. The views are kept as
// bare words because a node of a large swarm hears thousands of snapshots a
// second, and goes over them for every offer.
type words []uint64

func (w words) has(i int) bool { return w[i/64]>>(i%64)&1 != 0 }
func (w words) add(i int)      { w[i/64] |= 1 << (i % 64) }
func (w words) remove(i int)   { w[i/64] &^= 1 << (i % 64) }

// word returns word k, which is 0 beyond the last.
func (w words) word(k int) uint64 {
	if k < len(w) {
		return w[k]
	}
	return 0
}

// next takes the lowest bit out of word k of a set and returns its number.
func next(word *uint64, k int) int {
	i := k*64 + bits.TrailingZeros64(*word)
	*word &= *word - 1
	return i
}
