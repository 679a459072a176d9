package piece

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestSizeForGrowsInPowersOfTwo(t *testing.T) {
	for _, c := range []struct{ size, want int64 }{
		{0, MinSize},
		{1, MinSize},
		{128 << 20, 256 << 10},
		{128<<20 + 1, 512 << 10},
		{512 << 20, 1 << 20},
		{1 << 30, 1 << 20},
		{4 << 30, 4 << 20},
		{1 << 40, 16 << 20},
	} {
		require.Equal(t, c.want, SizeFor(c.size), "blob of %d bytes", c.size)
	}
}

func TestLayoutCoversTheBlobExactly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := LayoutFor(rapid.Int64Range(0, 1<<40).Draw(t, "size"))
		require.NoError(t, l.Validate())
		n := l.Count()
		if l.Size == 0 {
			require.Zero(t, n)
			return
		}
		i := rapid.IntRange(0, n-1).Draw(t, "piece")
		require.Positive(t, l.Len(i))
		require.LessOrEqual(t, l.Len(i), l.PieceSize)
		require.Equal(t, i, l.Index(l.Offset(i)))
		require.Equal(t, i, l.Index(l.End(i)-1))
		require.Equal(t, l.Size, l.End(n-1))
	})
}

func TestValidateRefusesWhatWouldOverflow(t *testing.T) {
	for _, l := range []Layout{
		{Size: -1, PieceSize: MinSize},
		{Size: 1, PieceSize: 0},
		{Size: 1, PieceSize: MinSize + 1},
		{Size: 1, PieceSize: MaxSize * 2},
		{Size: 1 << 62, PieceSize: MinSize},
	} {
		require.Error(t, l.Validate(), "%+v", l)
	}
}

func TestBitfieldSurvivesTheWire(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 300).Draw(t, "pieces")
		b := NewBitfield(n)
		for _, i := range rapid.SliceOf(rapid.IntRange(0, 299)).Draw(t, "held") {
			if i < n {
				b.Set(uint(i))
			}
		}
		got, err := Decode(Encode(b), n)
		require.NoError(t, err)
		require.True(t, got.Equal(b))
	})
	require.Equal(t, uint(70), Full(70).Count())
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte{0xff, 1}, 9)
	f.Add([]byte{0xff, 2}, 9)
	f.Fuzz(func(t *testing.T, data []byte, n int) {
		if n < 0 || n > MaxPieces {
			return
		}
		b, err := Decode(data, n)
		if err != nil {
			return
		}
		require.LessOrEqual(t, b.Count(), uint(n))
	})
}
