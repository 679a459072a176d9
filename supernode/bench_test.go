package supernode_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/stretchr/testify/require"

	"github.com/shoal-p2p/shoal/p2p"
	"github.com/shoal-p2p/shoal/p2p/p2ptest"
	"github.com/shoal-p2p/shoal/p2p/piece"
	"github.com/shoal-p2p/shoal/supernode"
)

// BenchmarkPull is a blob that goes from an upstream through a supernode and an
// agent to a client, all in this process. What is allocated per piece is of all
// of them, and of a store in memory behind each of the two.
func BenchmarkPull(b *testing.B) {
	data := randomBlob(64 * mib)
	dgst := digest.FromBytes(data)
	upstream := &p2ptest.Upstream{}
	upstream.Add(dgst, data)
	pieces := piece.LayoutFor(int64(len(data))).Count()

	b.SetBytes(int64(len(data)))
	b.StopTimer()
	var mallocs uint64
	for range b.N {
		a, stop := benchSwarm(b, upstream)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		b.StartTimer()
		pull(b, a, dgst, upstream)
		b.StopTimer()
		runtime.ReadMemStats(&after)
		mallocs += after.Mallocs - before.Mallocs
		stop()
	}
	b.ReportMetric(float64(mallocs)/float64(b.N*pieces), "allocs/piece")
}

func pull(b *testing.B, a *p2p.Node, dgst digest.Digest, upstream *p2ptest.Upstream) {
	ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
	defer cancel()
	c, err := a.Open(ctx, dgst, upstream.Source(dgst, ""))
	require.NoError(b, err)
	defer c.Close()
	_, err = c.CopyRange(ctx, io.Discard, 0, c.Size())
	require.NoError(b, err)
}

// benchSwarm is an agent that has found its supernode.
func benchSwarm(b *testing.B, upstream *p2ptest.Upstream) (agent *p2p.Node, stop func()) {
	seed, err := supernode.New(supernode.Config{
		Store: &p2ptest.Store{},
		Source: func(o p2p.Origin, dgst digest.Digest) p2p.Source {
			return upstream.Source(dgst, o.Authorization)
		},
	})
	require.NoError(b, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(b, err)
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	server := &http.Server{Handler: seed.Handler(), Protocols: protocols}
	a, err := p2p.NewNode(p2p.Config{Store: &p2ptest.Store{}, Supernode: l.Addr().String()})
	require.NoError(b, err)

	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = server.Serve(l) })
	wg.Go(func() { _ = seed.Run(ctx) })
	wg.Go(func() { _ = a.Run(ctx) })
	stop = sync.OnceFunc(func() {
		_ = server.Close()
		cancel()
		wg.Wait()
	})
	b.Cleanup(stop)
	require.Eventually(b, func() bool { return a.Status().Supernode.Connected }, 30*time.Second, time.Millisecond)
	return a, stop
}
