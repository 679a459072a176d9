package supernode_test

import (
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/stretchr/testify/require"

	"github.com/shoal-p2p/shoal/p2p"
	"github.com/shoal-p2p/shoal/p2p/p2ptest"
)

func TestAgentsThatKeepNothingShareWhatTheyHaveInMemory(t *testing.T) {
	s := newSwarm(t)
	keepsNothing := func(c *p2p.Config) { c.Store = p2p.NoStore{} }
	data := s.add(12*mib + 5)
	agents := []*agent{s.agent(keepsNothing), s.agent(keepsNothing), s.agent(keepsNothing)}
	s.getAll(data, agents...)
	peers := int64(0)
	for _, a := range agents {
		peers += a.Status().Bytes["peer"]
	}
	require.Positive(t, peers)
	before := agents[0].Status().Bytes
	s.getAll(data, agents[0])
	require.Equal(t, before, agents[0].Status().Bytes, "it is still in memory")
	require.EqualValues(t, len(data), s.upstream.Sent())
}

func TestWhatMemoryHasLostIsReadFromTheSwarmAgain(t *testing.T) {
	s := newSwarm(t)
	data := s.add(p2p.MinMemory + 16*mib)
	a := s.agent(func(c *p2p.Config) { c.Store, c.Memory = p2p.NoStore{}, p2p.MinMemory })
	s.getAll(data, a)
	require.LessOrEqual(t, a.Status().MemoryBytes, int64(p2p.MinMemory))
	_, found := a.Stat(t.Context(), digest.FromBytes(data))
	require.True(t, found)
	s.getAll(data, a)
	require.EqualValues(t, len(data), s.upstream.Sent())
}

func TestAClientThatComesBackIsServedByTheSwarm(t *testing.T) {
	for name, store := range map[string]p2p.Store{"keeps nothing": p2p.NoStore{}, "looks on": &p2ptest.Store{LooksOn: true}} {
		t.Run(name, func(t *testing.T) {
			s := newSwarm(t)
			data := s.add(12 * mib)
			dgst := digest.FromBytes(data)
			a := s.agent(func(c *p2p.Config) { c.Store = store })
			_, release := s.upstream.HoldAt(0)
			first, err := a.Open(t.Context(), dgst, s.upstream.Source(dgst, ""))
			require.NoError(t, err)
			require.NoError(t, first.Close())
			release()
			s.eventually(func() bool { return s.upstream.Sent() == int64(len(data)) })
			s.getAll(data, a)
			require.EqualValues(t, len(data), s.upstream.Sent(), "the agent did not have to help itself")
		})
	}
}
