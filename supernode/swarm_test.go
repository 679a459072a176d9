package supernode_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/sirupsen/logrus"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/shoal-p2p/shoal/p2p"
	"github.com/shoal-p2p/shoal/p2p/p2ptest"
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
	t        testing.TB
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
func serve(t testing.TB, addr string, handler http.Handler, run func(context.Context) error) *process {
	l, err := net.Listen("tcp", addr)
	require.NoError(t, err)
	server := &http.Server{Handler: handler, ConnContext: p2p.ConnContext}
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

func newSwarm(t testing.TB) *swarm {
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
	a.store, _ = cfg.Store.(*p2ptest.Store) // nil: it keeps nothing
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
