package supernode_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/stretchr/testify/require"

	"github.com/shoal-p2p/shoal/internal/oci"
	"github.com/shoal-p2p/shoal/p2p"
	"github.com/shoal-p2p/shoal/p2p/p2ptest"
)

func TestUpstreamSendsABlobOnceHoweverManyNodesPull(t *testing.T) {
	for _, n := range []int{1, 3, 8} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			s := newSwarm(t)
			data := s.add(16*mib + 12345)
			var agents []*agent
			for range n {
				agents = append(agents, s.agent())
			}
			s.getAll(data, agents...)
			require.EqualValues(t, len(data), s.upstream.Sent())
			dgst := digest.FromBytes(data)
			for _, a := range agents {
				s.eventually(func() bool { return bytes.Equal(a.store.Get(dgst), data) })
				st := a.Status()
				require.Zero(t, st.Bytes["upstream"])
				t.Logf("%s: supernode %d KiB, peers %d KiB, memory %d", st.ID, st.Bytes["supernode"]>>10, st.Bytes["peer"]>>10, st.MemoryBytes)
			}
			t.Logf("seed sent %.2f x the blob", float64(s.seed.Status().UploadBytes)/float64(len(data)))
			s.getAll(data, agents...)
			require.EqualValues(t, len(data), s.upstream.Sent(), "the second time it is in the store")
		})
	}
}

func TestASeedHasAnEarForSomeAndTheOthersGetAllTheSame(t *testing.T) {
	s := newSwarm(t)
	data := s.add(mib)
	var agents []*agent
	for range 36 {
		agents = append(agents, s.agent())
	}
	s.getAll(data, agents...)
	require.EqualValues(t, len(data), s.upstream.Sent())
}

func TestAnIdleStreamStaysOpen(t *testing.T) {
	s := newSwarm(t)
	a := s.agent()
	id := a.Status().ID
	// Longer than a silent neighbour is kept.
	deadline := time.After(6 * time.Second)
	for {
		select {
		case <-deadline:
			return
		case <-time.After(50 * time.Millisecond):
			require.True(t, a.Status().Supernode.Connected)
			require.Len(t, s.seed.Status().Peers, 1)
			require.Equal(t, id, s.seed.Status().Peers[0].ID)
		}
	}
}

func TestManySizes(t *testing.T) {
	s := newSwarm(t)
	a, b := s.agent(), s.agent()
	for _, size := range []int{0, 1, 1000, 256 << 10, 256<<10 + 1, 3 * mib} {
		s.getAll(s.add(size), a, b)
	}
}

func TestALateNodeGetsEverythingFromPeers(t *testing.T) {
	s := newSwarm(t)
	data := s.add(8 * mib)
	s.getAll(data, s.agent(), s.agent())
	s.upstream.Refuse(oci.Errorf(oci.SideUpstream, http.StatusServiceUnavailable, oci.CodeUnavailable, "blocked"))
	seeded := s.seed.Status().UploadBytes
	late := s.agent()
	s.getAll(data, late)
	require.EqualValues(t, len(data), late.Status().Bytes["peer"])
	require.Equal(t, seeded, s.seed.Status().UploadBytes)
}

func TestAnAgentThatLooksOnServesFromMemory(t *testing.T) {
	s := newSwarm(t)
	data := s.add(4 * mib)
	looksOn := func(c *p2p.Config) { c.Store = &p2ptest.Store{LooksOn: true} }
	a, b, c := s.agent(looksOn), s.agent(looksOn), s.agent(looksOn)
	s.getAll(data, a, b, c)
	require.EqualValues(t, len(data), s.upstream.Sent())
}

func TestABlobLargerThanMemoryStreamsThroughAnAgentThatKeepsNothing(t *testing.T) {
	s := newSwarm(t)
	data := s.add(64 * mib)
	a := s.agent(func(c *p2p.Config) { c.Store, c.Memory = &p2ptest.Store{LooksOn: true}, p2p.MinMemory })
	s.getAll(data, a, a)
	require.EqualValues(t, len(data), s.upstream.Sent())
	require.LessOrEqual(t, a.Status().MemoryBytes, int64(p2p.MinMemory))
}

func TestTheFirstClientLeavingStopsNothingForTheOthers(t *testing.T) {
	s := newSwarm(t)
	data := s.add(4 * mib)
	dgst := digest.FromBytes(data)
	a := s.agent()
	reached, release := s.upstream.HoldAt(2 * mib)
	defer release()
	ctx, cancel := context.WithCancel(context.Background())
	c, err := a.Open(ctx, dgst, s.upstream.Source(dgst, ""))
	require.NoError(t, err)
	<-reached
	cancel()
	_, err = c.CopyRange(ctx, io.Discard, 0, c.Size())
	require.ErrorIs(t, err, context.Canceled)
	require.NoError(t, c.Close())
	release()
	s.eventually(func() bool { return bytes.Equal(a.store.Get(dgst), data) })
	require.EqualValues(t, len(data), s.upstream.Sent())
}

func TestARangeOfAColdBlobIsACursorOnTheSameFill(t *testing.T) {
	s := newSwarm(t)
	data := s.add(8 * mib)
	dgst := digest.FromBytes(data)
	a := s.agent()
	var wg sync.WaitGroup
	for _, offset := range []int64{0, 5*mib + 3, 8*mib - 1} {
		wg.Go(func() {
			c, err := a.Open(t.Context(), dgst, s.upstream.Source(dgst, ""))
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			var buf bytes.Buffer
			if _, err := c.CopyRange(t.Context(), &buf, offset, c.Size()-offset); err != nil || !bytes.Equal(buf.Bytes(), data[offset:]) {
				t.Errorf("from %d: %v", offset, err)
			}
		})
	}
	wg.Wait()
	require.EqualValues(t, len(data), s.upstream.Sent())
}

func TestAnAgentWithoutASupernodeStreamsFromTheUpstream(t *testing.T) {
	s := newSwarm(t)
	data := s.add(4 * mib)
	a := s.agent(func(c *p2p.Config) { c.Supernode = "" })
	s.getAll(data, a, a)
	require.EqualValues(t, len(data), s.upstream.Sent())
	require.EqualValues(t, len(data), a.Status().Bytes["upstream"])
}

func TestTwentyBlobsAtOnceStayWithinTheMemoryBudget(t *testing.T) {
	s := newSwarm(t)
	a := s.agent(func(c *p2p.Config) { c.Memory = p2p.MinMemory })
	b := s.agent(func(c *p2p.Config) { c.Memory = p2p.MinMemory })
	var wg sync.WaitGroup
	for i := range 20 {
		data := s.add(3*mib + i)
		wg.Go(func() { s.getAll(data, a, b) })
	}
	wg.Wait()
	for _, n := range []*agent{a, b} {
		require.LessOrEqual(t, n.Status().MemoryBytes, int64(p2p.MinMemory))
	}
}
