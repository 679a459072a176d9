package supernode_test

import (
	"bytes"
	"net/http"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/stretchr/testify/require"

	"github.com/shoal-p2p/shoal/p2p"
	"github.com/shoal-p2p/shoal/p2p/p2ptest"
	"github.com/shoal-p2p/shoal/p2p/piece"
)

// addFile puts a file at the source, which is known by where it comes from.
func (s *swarm) addFile(name string, size int) (digest.Digest, []byte) {
	id, data := piece.FileID(name), randomBlob(size)
	s.upstream.Add(id, data)
	return id, data
}

// getFile reads a file through all agents at once and compares the bytes.
func (s *swarm) getFile(id digest.Digest, want []byte, agents ...*agent) {
	s.t.Helper()
	got, errs := make([][]byte, len(agents)), make([]error, len(agents))
	var wg sync.WaitGroup
	for i, a := range agents {
		wg.Go(func() { got[i], errs[i] = s.get(a, id) })
	}
	wg.Wait()
	for i := range agents {
		require.NoError(s.t, errs[i], "agent %d", i)
		require.True(s.t, bytes.Equal(want, got[i]), "agent %d got wrong bytes", i)
	}
}

func TestAFileWithoutADigestIsReadOnceAndCheckedPieceByPiece(t *testing.T) {
	for name, size := range map[string]int{"empty": 0, "a byte": 1, "one piece": 256 << 10, "many": 9*mib + 77} {
		t.Run(name, func(t *testing.T) {
			s := newSwarm(t)
			id, data := s.addFile(name, size)
			agents := []*agent{s.agent(), s.agent(), s.agent(func(c *p2p.Config) { c.Store = &p2ptest.Store{LooksOn: true} })}
			s.getFile(id, data, agents...)
			require.EqualValues(t, size, s.upstream.Sent())
			s.eventually(func() bool { return bytes.Equal(data, agents[0].store.Get(id)) })
			s.getFile(id, data, s.agent())
			require.EqualValues(t, size, s.upstream.Sent(), "it is in the swarm")
		})
	}
}

func TestAnAgentByItselfReadsAFileFromItsSource(t *testing.T) {
	s := newSwarm(t)
	id, data := s.addFile("by itself", 5*mib)
	a := s.agent(alone)
	s.getFile(id, data, a)
	s.eventually(func() bool { return bytes.Equal(data, a.store.Get(id)) })
}

func TestDeathOfTheSupernodeDoesNotStopADownload(t *testing.T) {
	s := newSwarm(t)
	id, data := s.addFile("orphan", 16*mib)
	agents := []*agent{s.agent(), s.agent(), s.agent(func(c *p2p.Config) { c.Store = &p2ptest.Store{LooksOn: true} })}
	reached, release := s.upstream.HoldAt(5*mib + 77)
	defer release()
	go func() {
		<-reached
		acquainted(t, agents...)
		s.super.stop()
		release()
	}()
	s.getFile(id, data, agents...)
}

func TestASupernodeGoesOnWithAFileThatItHasLeft(t *testing.T) {
	s := newSwarm(t)
	id, data := s.addFile("left", 6*mib)
	leave(t, s.store, id, len(data), data[:4*mib])
	s.getFile(id, data, s.agent(), s.agent())
	require.EqualValues(t, 2*mib, s.upstream.Sent())
}

func TestAnAgentStartsAgainWithAFileThatItHasLeft(t *testing.T) {
	s := newSwarm(t)
	id, data := s.addFile("doubtful", 6*mib)
	a := s.agent()
	leave(t, a.store, id, len(data), make([]byte, 4*mib))
	s.getFile(id, data, a)
}

func TestLyingAboutAFileIsNoticed(t *testing.T) {
	s := newSwarm(t)
	id, data := s.addFile("lied about", 9*mib)
	lying := s.agentBehind(onPieces(func(w http.ResponseWriter, r *http.Request, next http.Handler) { next.ServeHTTP(liar{w}, r) }))
	go func() { _, _ = s.get(lying, id) }()
	s.getFile(id, data, s.agent(), s.agent())
}
