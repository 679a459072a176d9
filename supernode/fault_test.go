package supernode_test

import (
	"bytes"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/shoal-p2p/shoal/internal/oci"
	"github.com/shoal-p2p/shoal/p2p"
	"github.com/shoal-p2p/shoal/p2p/p2ptest"
	"github.com/shoal-p2p/shoal/p2p/wire"
)

func TestAFullStoreDoesNotStopThePull(t *testing.T) {
	s := newSwarm(t)
	data := s.add(4 * mib)
	a := s.agent(func(c *p2p.Config) { c.Store = &p2ptest.Store{Full: true} })
	s.getAll(data, a)
}

// acquainted waits until all agents know each other for their one blob.
func acquainted(t *testing.T, agents ...*agent) {
	assert.Eventually(t, func() bool {
		return !slices.ContainsFunc(agents, func(a *agent) bool {
			tasks := a.Status().Tasks
			return len(tasks) != 1 || tasks[0].Peers < len(agents)-1
		})
	}, 10*time.Second, time.Millisecond)
}

func TestDeathOfTheSupernodeDoesNotStopAPull(t *testing.T) {
	s := newSwarm(t)
	data := s.add(16 * mib)
	agents := []*agent{s.agent(), s.agent(), s.agent()}
	reached, release := s.upstream.HoldAt(5*mib + 77)
	defer release()
	go func() {
		<-reached
		acquainted(t, agents...)
		s.super.stop()
		release()
	}()
	s.getAll(data, agents...)
	require.LessOrEqual(t, s.upstream.Sent(), int64(len(data)+6*mib), "the agents share the reading of the rest")
	// New pulls work at once.
	s.getAll(s.add(2*mib), agents...)
}

func TestWrongBytesFromAPeerWhileTheSupernodeIsGoneReachNoClient(t *testing.T) {
	s := newSwarm(t)
	data := s.add(16 * mib)
	var gone atomic.Bool
	lying := s.agentBehind(onPieces(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if gone.Load() {
			w = liar{w}
		}
		next.ServeHTTP(w, r)
	}))
	honest := []*agent{s.agent(), s.agent()}
	reached, release := s.upstream.HoldAt(5*mib + 77)
	defer release()
	go func() {
		<-reached
		acquainted(t, lying, honest[0], honest[1])
		gone.Store(true)
		s.super.stop()
		release()
	}()
	lied := make(chan struct{})
	go func() {
		defer close(lied)
		_, _ = s.get(lying, digest.FromBytes(data))
	}()
	s.getAll(data, honest...)
	<-lied
}

func TestASupernodeThatComesBackGoesOnWhereItWas(t *testing.T) {
	s := newSwarm(t)
	data := s.add(16 * mib)
	agents := []*agent{s.agent(), s.agent()}
	reached, release := s.upstream.HoldAt(8 * mib)
	defer release()
	restarted := make(chan struct{})
	go func() {
		defer close(restarted)
		<-reached
		// The store has it, but for the piece that is being read.
		s.eventually(func() bool { return s.seed.Status().MemoryBytes <= 256<<10 })
		s.super.stop()
		s.startSupernode()
		release()
	}()
	s.getAll(data, agents...)
	<-restarted
	require.Less(t, s.upstream.Sent(), int64(len(data)+7*mib), "the 8 MiB that the store held were not read again")
}

func TestDeathOfAPeerDoesNotStopAPull(t *testing.T) {
	s := newSwarm(t)
	data := s.add(16 * mib)
	dying, a, b := s.agent(), s.agent(), s.agent()
	reached, release := s.upstream.HoldAt(8 * mib)
	defer release()
	dead := make(chan struct{})
	go func() {
		defer close(dead)
		<-reached
		dying.stop()
		release()
	}()
	go func() { _, _ = s.get(dying, digest.FromBytes(data)) }()
	s.getAll(data, a, b)
	<-dead
	require.EqualValues(t, len(data), s.upstream.Sent())
}

// onPieces changes what a peer does with requests for pieces.
func onPieces(do func(w http.ResponseWriter, r *http.Request, next http.Handler)) behind {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasPrefix(r.URL.Path, "/v1/pieces/") {
				do(w, r, next)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

// liar flips a bit in everything that is written through it.
type liar struct{ http.ResponseWriter }

func (l liar) Write(p []byte) (int, error) {
	p = bytes.Clone(p)
	if len(p) > 0 {
		p[0] ^= 1
	}
	return l.ResponseWriter.Write(p)
}

func TestAWrongByteFromAPeerNeverReachesAClient(t *testing.T) {
	s := newSwarm(t)
	data := s.add(8 * mib)
	lying := s.agentBehind(onPieces(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		next.ServeHTTP(liar{w}, r)
	}))
	s.getAll(data, lying)
	honest := s.agent()
	s.getAll(data, honest)
	require.EqualValues(t, len(data), s.upstream.Sent())
	require.Empty(t, honest.Status().Peers, "the liar is dropped")
}

func TestAFrozenPeerIsLeftForOthers(t *testing.T) {
	s := newSwarm(t)
	data := s.add(8 * mib)
	thaw := make(chan struct{})
	defer close(thaw)
	frozen := s.agentBehind(onPieces(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		w.Header().Set("Content-Length", "262144")
		_, _ = w.Write(make([]byte, 1000))
		_ = http.NewResponseController(w).Flush()
		select {
		case <-thaw:
		case <-r.Context().Done():
		}
	}))
	s.getAll(data, frozen)
	s.getAll(data, s.agent(), s.agent())
	require.EqualValues(t, len(data), s.upstream.Sent())
}

func TestAPieceGoesOnlyToWhomItWasOffered(t *testing.T) {
	s := newSwarm(t)
	data := s.add(mib)
	a := s.agent()
	s.getAll(data, a)
	for path, want := range map[string]int{
		wire.PiecePath(digest.FromBytes(data).String(), 0):          http.StatusConflict,
		wire.PiecePath("sha256:nonsense", 0):                        http.StatusConflict,
		"/v1/pieces/" + digest.FromBytes(data).String() + "/-1":     http.StatusBadRequest,
		"/v1/pieces/" + digest.FromBytes(data).String() + "/999999": http.StatusBadRequest,
	} {
		resp, err := http.Get("http://" + a.addr + path)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, want, resp.StatusCode, path)
	}
	http.DefaultClient.CloseIdleConnections()
}

func TestWrongBytesFromTheUpstreamFailThePullAndSaySo(t *testing.T) {
	s := newSwarm(t)
	data := randomBlob(4 * mib)
	dgst := digest.FromBytes(data)
	wrong := bytes.Clone(data)
	wrong[2*mib] ^= 1
	s.upstream.Add(dgst, wrong)
	a, b := s.agent(), s.agent()
	for _, agent := range []*agent{a, b} {
		got, err := s.get(agent, dgst)
		require.ErrorContains(t, err, "the upstream sent wrong bytes")
		require.Less(t, len(got), len(data), "a client never gets all of a wrong blob")
		require.Nil(t, agent.store.Get(dgst))
	}
	require.Nil(t, s.store.Get(dgst))
}

func TestRefusalOfTheUpstreamReachesTheClientUnchanged(t *testing.T) {
	s := newSwarm(t)
	data := s.add(mib)
	refusal := oci.Errorf(oci.SideUpstream, http.StatusUnauthorized, oci.CodeUnauthorized, "log in")
	refusal.Challenges = []string{`Bearer realm="https://auth.example/token"`}
	s.upstream.Refuse(refusal)
	a := s.agent()
	_, err := s.get(a, digest.FromBytes(data))
	var got *oci.Error
	require.ErrorAs(t, err, &got)
	require.Equal(t, refusal, got)
	s.upstream.Refuse(nil)
	s.getAll(data, a)
}

func TestAnUpstreamThatBreaksOffIsResumedAtTheByte(t *testing.T) {
	s := newSwarm(t)
	data := s.add(4 * mib)
	s.upstream.CutAfter(mib + 99)
	s.getAll(data, s.agent(), s.agent())
	require.EqualValues(t, len(data), s.upstream.Sent())
}

// gate lets the first write through and holds the others until it is opened.
type gate struct {
	passed  chan struct{} // closed at the first write
	open    chan struct{}
	written int
}

func (g *gate) Write(p []byte) (int, error) {
	if g.written == 0 {
		close(g.passed)
	} else {
		<-g.open
	}
	g.written += len(p)
	return len(p), nil
}

func TestASlowClientOfAFailedFillHearsOfIt(t *testing.T) {
	s := newSwarm(t)
	data := randomBlob(8 * mib)
	dgst := digest.FromBytes(data)
	wrong := bytes.Clone(data)
	wrong[7*mib] ^= 1
	s.upstream.Add(dgst, wrong)
	a := s.agent()
	c, err := a.Open(t.Context(), dgst, s.upstream.Source(dgst, ""))
	require.NoError(t, err)
	defer c.Close()
	g := &gate{passed: make(chan struct{}), open: make(chan struct{})}
	done := make(chan error, 1)
	go func() {
		_, err := c.CopyRange(t.Context(), g, 0, c.Size())
		done <- err
	}()
	select {
	case <-g.passed:
	case err := <-done: // the fill failed before it was read
		require.ErrorContains(t, err, "the upstream sent wrong bytes")
		return
	}
	s.eventually(func() bool { return a.Status().Tasks[0].State == "failed" })
	close(g.open)
	require.ErrorContains(t, <-done, "the upstream sent wrong bytes")
	require.Less(t, g.written, len(data))
}
