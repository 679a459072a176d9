package piece

import (
	"encoding"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"

	"github.com/opencontainers/go-digest"
)

// Sum is what checks a piece and ties it to the one before: the inner state of
// the blob's own hash after that piece, or for the last piece the blob's digest
// itself. A piece is right if hashing it from the Sum before gives its Sum; when
// all are, so is the blob, though every byte was hashed once. "" means unknown.
//
// That is sound, whoever named the Sums: the chain begins at the hash's fixed
// start and ends at the digest, as the Merkle–Damgård construction of SHA-2 has
// it (FIPS 180-4, section 6).
//
// The chain of a file is open: no digest is known beforehand, so the Sum of its
// last piece must be named like the others, and whoever names them is trusted.
type Sum string

// Chain is the Sums of one blob.
type Chain struct {
	layout Layout
	dgst   digest.Digest
}

// NewChain returns the chain of a blob, whose digest must be valid and of SHA-256,
// SHA-384 or SHA-512, or the open one of a file.
func NewChain(dgst digest.Digest, l Layout) Chain { return Chain{layout: l, dgst: dgst} }

// Layout is how the blob is cut.
func (c Chain) Layout() Layout { return c.layout }

// Named is how many Sums somebody must name: all, but for the last one of a blob.
func (c Chain) Named() int {
	n := c.layout.Count()
	if IsFile(c.dgst) {
		return n
	}
	return max(0, n-1)
}

// Width is the length in bytes of each Sum that is named.
func (c Chain) Width() int {
	h := newHash(c.dgst)
	return len(marshal(h)) - magic - h.BlockSize() - lengthSize
}

// Last is the Sum of a blob's last piece; "" for a file.
func (c Chain) Last() Sum {
	if IsFile(c.dgst) {
		return ""
	}
	raw, err := hex.DecodeString(c.dgst.Encoded())
	if err != nil {
		panic(fmt.Sprintf("piece: digest %q was not checked", c.dgst))
	}
	return Sum(raw)
}

// Check says what is wrong with a Sum that came from a remote side.
func (c Chain) Check(s Sum) error {
	if len(s) != c.Width() {
		return fmt.Errorf("piece: a sum of %d bytes for a blob of %s", len(s), c.dgst.Algorithm())
	}
	return nil
}

// Link hashes one piece.
type Link struct {
	h    hash.Hash
	last bool
}

// Begin hashes piece i after the Sum of the piece before, which for the first is
// not used.
func (c Chain) Begin(i int, before Sum) *Link {
	h := newHash(c.dgst)
	if i > 0 {
		resume(h, before, c.layout.Offset(i))
	}
	return &Link{h: h, last: i >= c.layout.Count()-1}
}

// Write adds bytes of the piece. It never fails.
func (l *Link) Write(p []byte) (int, error) { return l.h.Write(p) }

// Sum is that of the piece, once all of it has been written.
func (l *Link) Sum() Sum {
	if l.last {
		return Sum(l.h.Sum(nil))
	}
	m := marshal(l.h)
	return Sum(m[magic : len(m)-l.h.BlockSize()-lengthSize])
}

// What the standard library's hashes marshal to: a magic that names the hash, the
// state, a block that is not full yet, and the length so far.
const magic, lengthSize = 4, 8

func marshal(h hash.Hash) []byte {
	m, err := h.(encoding.BinaryAppender).AppendBinary(nil)
	if err != nil {
		panic("piece: a hash cannot be marshalled: " + err.Error())
	}
	return m
}

// resume sets a fresh hash to the state after offset bytes, a multiple of its
// block's.
func resume(h hash.Hash, state Sum, offset int64) {
	m := marshal(h)
	copy(m[magic:len(m)-h.BlockSize()-lengthSize], state)
	binary.BigEndian.PutUint64(m[len(m)-lengthSize:], uint64(offset))
	if err := h.(encoding.BinaryUnmarshaler).UnmarshalBinary(m); err != nil {
		panic("piece: a hash cannot be resumed: " + err.Error())
	}
}
