package piece

import (
	"fmt"
	"math/bits"
)

// Limits of the piece size in bytes.
const (
	MinSize = 256 << 10
	MaxSize = 16 << 20

	// MaxPieces bounds what a remote side can make a node allocate. At
	// MaxSize it allows blobs of 1 TiB.
	MaxPieces = 1 << 16
)

// How many pieces a blob is cut into before pieces grow: enough that the last
// node of a swarm is only some pieces behind the first, few enough that what is
// said about a piece is little beside it. Larger pieces than commonSize would
// leave few to a window.
const (
	most       = 512
	commonSize = 1 << 20
	mostCommon = 1024
)

// Layout is how a blob is cut.
type Layout struct {
	Size      int64 // of the blob, in bytes
	PieceSize int64 // in bytes
}

// SizeFor returns the piece size for a blob of size bytes: the smallest power
// of two from MinSize to MaxSize that cuts it into at most 512 pieces, or 1,024
// where pieces would be larger than 1 MiB.
func SizeFor(size int64) int64 {
	want := max(min((size+most-1)/most, commonSize), (size+mostCommon-1)/mostCommon)
	if want <= MinSize {
		return MinSize
	}
	if want >= MaxSize {
		return MaxSize
	}
	return 1 << bits.Len64(uint64(want-1))
}

// LayoutFor returns the layout of a blob of size bytes.
func LayoutFor(size int64) Layout { return Layout{Size: size, PieceSize: SizeFor(size)} }

// Validate says what is wrong with a layout that came from a remote side.
func (l Layout) Validate() error {
	switch {
	case l.Size < 0:
		return fmt.Errorf("piece: blob size %d is negative", l.Size)
	case l.PieceSize < MinSize || l.PieceSize > MaxSize || bits.OnesCount64(uint64(l.PieceSize)) != 1:
		return fmt.Errorf("piece: piece size %d is not a power of two from %d to %d", l.PieceSize, MinSize, MaxSize)
	case l.Size > l.PieceSize*MaxPieces:
		return fmt.Errorf("piece: %d bytes in pieces of %d are more than %d pieces", l.Size, l.PieceSize, MaxPieces)
	}
	return nil
}

// Count is the number of pieces.
func (l Layout) Count() int { return int((l.Size + l.PieceSize - 1) / l.PieceSize) }

// Offset is the first byte of piece i.
func (l Layout) Offset(i int) int64 { return int64(i) * l.PieceSize }

// End is the byte after the last one of piece i.
func (l Layout) End(i int) int64 { return min(l.Offset(i)+l.PieceSize, l.Size) }

// Len is the length of piece i in bytes.
func (l Layout) Len(i int) int64 { return l.End(i) - l.Offset(i) }

// Index is the piece that holds the byte at offset.
func (l Layout) Index(offset int64) int { return int(offset / l.PieceSize) }
