package supernode_test

import (
	"context"
	"io"
	"runtime"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/stretchr/testify/require"

	"github.com/shoal-p2p/shoal/p2p/piece"
)

// BenchmarkPull is a blob that goes from an upstream through a supernode and an
// agent to a client, all in this process. What is allocated per piece is of all
// of them, and of a store in memory behind each of the two.
func BenchmarkPull(b *testing.B) {
	const size = 64 * mib
	pieces := piece.LayoutFor(size).Count()
	b.SetBytes(size)
	b.StopTimer()
	var mallocs uint64
	for range b.N {
		s := newSwarm(b)
		dgst := digest.FromBytes(s.add(size))
		a := s.agent()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		b.StartTimer()
		s.discard(a, dgst)
		b.StopTimer()
		runtime.ReadMemStats(&after)
		mallocs += after.Mallocs - before.Mallocs
		a.stop()
		s.super.stop()
	}
	b.ReportMetric(float64(mallocs)/float64(b.N*pieces), "allocs/piece")
}

// discard reads a whole blob through an agent into nothing.
func (s *swarm) discard(a *agent, dgst digest.Digest) {
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	c, err := a.Open(ctx, dgst, s.upstream.Source(dgst, ""))
	require.NoError(s.t, err)
	defer c.Close()
	_, err = c.CopyRange(ctx, io.Discard, 0, c.Size())
	require.NoError(s.t, err)
}
