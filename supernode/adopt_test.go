package supernode_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/stretchr/testify/require"

	"github.com/shoal-p2p/shoal/internal/oci"
	"github.com/shoal-p2p/shoal/p2p"
	"github.com/shoal-p2p/shoal/p2p/p2ptest"
)

// announced is how many blobs the supernode knows that a has.
func (s *swarm) announced(a *agent) int {
	for _, p := range s.seed.Status().Peers {
		if p.ID == a.Status().ID {
			return p.Announced
		}
	}
	return 0
}

func holding(blobs ...[]byte) func(*p2p.Config) {
	return func(c *p2p.Config) {
		store := &p2ptest.Store{}
		for _, data := range blobs {
			store.Put(data)
		}
		c.Store = store
	}
}

func TestWhatANodeHeldBeforeComesFromIt(t *testing.T) {
	s := newSwarm(t)
	data := s.add(8*mib + 1)
	a := s.agent(holding(data))
	s.eventually(func() bool { return s.announced(a) == 1 })
	b := s.agent()
	s.getAll(data, b)
	require.EqualValues(t, len(data), b.Status().Bytes["peer"])
	require.Zero(t, s.seed.Status().UploadBytes, "the seed names the digests, no more")
	require.Equal(t, 1, a.store.Pins(digest.FromBytes(data)), "what is served is pinned")
	require.Equal(t, 1, a.Status().Announced)
	s.eventually(func() bool { return s.seed.Status().Announced == 2 })
	a.stop()
	require.Zero(t, a.store.Pins(digest.FromBytes(data)))
}

func TestWhatComesAndGoesInTheStoreIsAnnouncedAndWithdrawn(t *testing.T) {
	s := newSwarm(t)
	a := s.agent()
	var all [][]byte
	for i := range 2500 { // more than one message of each kind
		all = append(all, []byte(fmt.Sprint(i)))
		a.store.Put(all[i])
	}
	s.eventually(func() bool { return s.announced(a) == len(all) })
	for _, data := range all[:2400] {
		a.store.Remove(digest.FromBytes(data))
	}
	s.eventually(func() bool { return s.announced(a) == 100 })
	require.Equal(t, 100, a.Status().Announced)

	s.super.stop()
	s.eventually(func() bool { return !a.Status().Supernode.Connected })
	require.Zero(t, a.Status().Announced)
	a.store.Remove(digest.FromBytes(all[2400]))
	s.startSupernode()
	s.eventually(func() bool { return s.announced(a) == 99 })
	a.stop()
	s.eventually(func() bool { return s.seed.Status().Announced == 0 })
}

// TestADeletedBlobIsServedToItsReadersAndNoOthers deletes a blob at its only
// holder while another node reads it from there.
func TestADeletedBlobIsServedToItsReadersAndNoOthers(t *testing.T) {
	s := newSwarm(t)
	data := s.add(16 * mib)
	dgst := digest.FromBytes(data)
	a := s.agent(holding(data), func(c *p2p.Config) { c.UploadRate = 8 * mib })
	s.eventually(func() bool { return s.announced(a) == 1 })
	b := s.agent()
	done := make(chan error, 1)
	go func() {
		got, err := s.get(b, dgst)
		if err == nil && !bytes.Equal(got, data) {
			err = fmt.Errorf("wrong bytes")
		}
		done <- err
	}()
	s.eventually(func() bool { return a.Status().UploadBytes > mib })
	a.store.Remove(dgst)
	s.eventually(func() bool { return s.announced(a) == 0 })
	sent := a.Status().UploadBytes
	require.NoError(t, <-done)
	require.Greater(t, a.Status().UploadBytes, sent, "it goes on for who reads already")
	require.Zero(t, b.Status().Bytes["upstream"])
	s.eventually(func() bool { return len(a.Status().Tasks) == 0 })
	require.Zero(t, a.store.Pins(dgst))

	s.upstream.Refuse(oci.Errorf(oci.SideUpstream, http.StatusServiceUnavailable, oci.CodeUnavailable, "blocked"))
	sent = a.Status().UploadBytes
	s.getAll(data, s.agent())
	require.Equal(t, sent, a.Status().UploadBytes)
}

func TestWhatANodeLostAndFetchedAgainIsAnnounced(t *testing.T) {
	s := newSwarm(t)
	data := s.add(2 * mib)
	dgst := digest.FromBytes(data)
	a := s.agent(holding(data))
	s.eventually(func() bool { return s.announced(a) == 1 })
	reached, release := s.upstream.HoldAt(mib)
	defer release()
	a.store.Remove(dgst)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	c, err := a.Open(ctx, dgst, s.upstream.Source(dgst, ""))
	require.NoError(t, err)
	defer c.Close()
	<-reached
	s.eventually(func() bool { return s.announced(a) == 0 })
	release()
	s.eventually(func() bool { return s.announced(a) == 1 })
}
