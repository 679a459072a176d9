package piece

import (
	"bytes"
	"crypto/rand"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/stretchr/testify/require"
)

// chained returns a blob, its chain, and the Sums of its pieces.
func chained(alg digest.Algorithm, size int) ([]byte, Chain, []Sum) {
	data := make([]byte, size)
	_, _ = rand.Read(data)
	c := NewChain(alg.FromBytes(data), LayoutFor(int64(size)))
	var sums []Sum
	before := Sum("")
	for i := range c.layout.Count() {
		before = sum(c, i, before, data[c.layout.Offset(i):c.layout.End(i)])
		sums = append(sums, before)
	}
	return data, c, sums
}

func sum(c Chain, i int, before Sum, data []byte) Sum {
	l := c.Begin(i, before)
	for len(data) > 0 { // in odd parts
		n := min(len(data), 100_003)
		_, _ = l.Write(data[:n])
		data = data[n:]
	}
	return l.Sum()
}

var chainAlgorithms = []digest.Algorithm{digest.SHA256, digest.SHA384, digest.SHA512}

func TestAChainEndsInTheBlobsDigest(t *testing.T) {
	for _, alg := range chainAlgorithms {
		for _, size := range []int{1, MinSize - 1, MinSize, MinSize + 1, 5*MinSize + 17} {
			_, c, sums := chained(alg, size)
			require.Equal(t, c.Last(), sums[len(sums)-1], "%s, %d bytes", alg, size)
			for _, s := range sums[:len(sums)-1] {
				require.NoError(t, c.Check(s))
			}
		}
	}
}

func TestAWrongByteBreaksItsLinkOnly(t *testing.T) {
	for _, alg := range chainAlgorithms {
		data, c, sums := chained(alg, 4*MinSize+5)
		wrong := bytes.Clone(data)
		wrong[2*MinSize] ^= 1
		for i := range sums {
			before := Sum("")
			if i > 0 {
				before = sums[i-1]
			}
			got := sum(c, i, before, wrong[c.layout.Offset(i):c.layout.End(i)])
			require.Equal(t, i != 2, got == sums[i], "piece %d", i)
		}
	}
}

func TestASumOfAnotherLengthIsRefused(t *testing.T) {
	c := NewChain(digest.FromString("x"), LayoutFor(3*MinSize))
	require.Equal(t, 32, c.Width())
	require.NoError(t, c.Check(Sum(make([]byte, 32))))
	require.Error(t, c.Check(""))
	require.Error(t, c.Check(Sum(make([]byte, 64))))
	require.Equal(t, 64, NewChain(digest.SHA384.FromString("x"), LayoutFor(1)).Width())
}
