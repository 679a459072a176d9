package supernode_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/sirupsen/logrus"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/shoal-p2p/shoal/internal/oci"
	"github.com/shoal-p2p/shoal/p2p"
	"github.com/shoal-p2p/shoal/p2p/p2ptest"
	"github.com/shoal-p2p/shoal/p2p/wire"
	"github.com/shoal-p2p/shoal/supernode"
)

func TestMain(m *testing.M) {
	if os.Getenv("SHOAL_TEST_LOG") == "" {
		logrus.SetLevel(logrus.ErrorLevel)
	} else {
		logrus.SetLevel(logrus.DebugLevel)
	}
	goleak.VerifyTestMain(m)
}

const mib = 1 << 20

func randomBlob(size int) []byte {
	data := make([]byte, size)
	src := rand.NewChaCha8(sha256.Sum256(fmt.Append(nil, size)))
	_, _ = src.Read(data)
	return data
}

// swarm is an upstream, a supernode and agents, all in this process on
// loopback.
type swarm struct {
	t        *testing.T
	upstream *p2ptest.Upstream
	super    *process
	store    *p2ptest.Store // the supernode's
	superAt  string
	seed     *p2p.Node
}

// process is a node or a supernode with its server.
type process struct {
	addr string
	stop func()
}

// serve runs a node and a server for it until stop is called. kill ends the
// server first, as if the process had died.
func serve(t *testing.T, addr string, handler http.Handler, run func(context.Context) error) *process {
	l, err := net.Listen("tcp", addr)
	require.NoError(t, err)
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	server := &http.Server{Handler: handler, Protocols: protocols}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = server.Serve(l) })
	wg.Go(func() { _ = run(ctx) })
	p := &process{addr: l.Addr().String(), stop: sync.OnceFunc(func() {
		_ = server.Close()
		cancel()
		wg.Wait()
	})}
	t.Cleanup(p.stop)
	return p
}

func newSwarm(t *testing.T) *swarm {
	s := &swarm{t: t, upstream: &p2ptest.Upstream{}, store: &p2ptest.Store{}, superAt: "127.0.0.1:0"}
	s.startSupernode()
	return s
}

func (s *swarm) startSupernode() {
	sn, err := supernode.New(supernode.Config{
		Store: s.store,
		Source: func(o p2p.Origin, dgst digest.Digest) p2p.Source {
			return s.upstream.Source(dgst, o.Authorization)
		},
	})
	require.NoError(s.t, err)
	s.seed = sn.Node()
	s.super = serve(s.t, s.superAt, sn.Handler(), sn.Run)
	s.superAt = s.super.addr
}

type agent struct {
	*p2p.Node
	*process
	store *p2ptest.Store
}

// behind puts a handler before the agent's own, for a peer that misbehaves.
type behind func(http.Handler) http.Handler

func (s *swarm) agent(change ...func(*p2p.Config)) *agent { return s.agentBehind(nil, change...) }

func (s *swarm) agentBehind(front behind, change ...func(*p2p.Config)) *agent {
	a := &agent{store: &p2ptest.Store{}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(s.t, err)
	addr := l.Addr().String()
	require.NoError(s.t, l.Close())
	cfg := p2p.Config{Store: a.store, Supernode: s.superAt, Advertise: addr}
	for _, c := range change {
		c(&cfg)
	}
	a.store = cfg.Store.(*p2ptest.Store)
	a.Node, err = p2p.NewNode(cfg)
	require.NoError(s.t, err)
	handler := a.Handler()
	if front != nil {
		handler = front(handler)
	}
	a.process = serve(s.t, addr, handler, a.Run)
	if cfg.Supernode != "" {
		s.eventually(func() bool { return a.Status().Supernode.Connected })
	}
	return a
}

func (s *swarm) eventually(cond func() bool) {
	s.t.Helper()
	require.Eventually(s.t, cond, 30*time.Second, time.Millisecond)
}

// get reads a whole blob through an agent.
func (s *swarm) get(a *agent, dgst digest.Digest) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c, err := a.Open(ctx, dgst, s.upstream.Source(dgst, ""))
	if err != nil {
		return nil, err
	}
	defer c.Close()
	var buf bytes.Buffer
	_, err = c.CopyRange(ctx, &buf, 0, c.Size())
	return buf.Bytes(), err
}

// getAll reads a blob through all agents at once and compares the bytes.
func (s *swarm) getAll(want []byte, agents ...*agent) {
	s.t.Helper()
	dgst := digest.FromBytes(want)
	errs := make([]error, len(agents))
	var wg sync.WaitGroup
	for i, a := range agents {
		wg.Go(func() {
			got, err := s.get(a, dgst)
			if err == nil && !bytes.Equal(got, want) {
				err = fmt.Errorf("agent %d got wrong bytes", i)
			}
			errs[i] = err
		})
	}
	wg.Wait()
	for i, err := range errs {
		require.NoError(s.t, err, "agent %d", i)
	}
}

func (s *swarm) add(size int) []byte {
	data := randomBlob(size)
	s.upstream.Add(digest.FromBytes(data), data)
	return data
}

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

func TestAFullStoreDoesNotStopThePull(t *testing.T) {
	s := newSwarm(t)
	data := s.add(4 * mib)
	a := s.agent(func(c *p2p.Config) { c.Store = &p2ptest.Store{Full: true} })
	s.getAll(data, a)
}

func TestDeathOfTheSupernodeDoesNotStopAPull(t *testing.T) {
	s := newSwarm(t)
	data := s.add(16 * mib)
	agents := []*agent{s.agent(), s.agent(), s.agent()}
	reached, release := s.upstream.HoldAt(5*mib + 77)
	defer release()
	go func() {
		<-reached
		s.super.stop()
		release()
	}()
	s.getAll(data, agents...)
	// New pulls work at once.
	s.getAll(s.add(2*mib), agents...)
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
		s.super.stop()
		s.startSupernode()
		release()
	}()
	s.getAll(data, agents...)
	<-restarted
	require.LessOrEqual(t, s.upstream.Sent(), int64(len(data)+2*mib), "what the store held was not read again")
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
