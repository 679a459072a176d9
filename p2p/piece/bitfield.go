package piece

import (
	"encoding/binary"
	"fmt"
	"math/bits"

	"github.com/bits-and-blooms/bitset"
)

// Bitfield is a set of pieces. Its capacity is the number of pieces of the blob.
type Bitfield = bitset.BitSet

// NewBitfield returns an empty set for n pieces.
func NewBitfield(n int) *Bitfield { return bitset.New(uint(n)) }

// Full returns the set of all n pieces.
func Full(n int) *Bitfield { return bitset.New(uint(n)).Complement() }

// Encode writes a set as bytes: piece i is bit i%8 of byte i/8, trailing zero
// bytes are left out, so that an empty set is an empty slice.
func Encode(b *Bitfield) []byte {
	words := b.Words()
	out := make([]byte, 0, len(words)*8)
	for _, w := range words {
		out = binary.LittleEndian.AppendUint64(out, w)
	}
	for len(out) > 0 && out[len(out)-1] == 0 {
		out = out[:len(out)-1]
	}
	return out
}

// Decode reads what Encode wrote, for a blob of n pieces. A piece beyond the
// last is an error.
func Decode(data []byte, n int) (*Bitfield, error) {
	if len(data) > (n+7)/8 {
		return nil, fmt.Errorf("piece: bitfield of %d bytes for %d pieces", len(data), n)
	}
	words := make([]uint64, (n+63)/64)
	for i, c := range data {
		words[i/8] |= uint64(c) << (8 * (i % 8))
	}
	b := bitset.New(uint(n))
	for w, word := range words {
		for ; word != 0; word &= word - 1 {
			i := uint(w*64) + uint(bits.TrailingZeros64(word))
			if i >= uint(n) {
				return nil, fmt.Errorf("piece: bitfield holds piece %d of %d", i, n)
			}
			b.Set(i)
		}
	}
	return b, nil
}
