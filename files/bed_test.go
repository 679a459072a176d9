package files_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/sirupsen/logrus"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/shoal-p2p/shoal/files"
	"github.com/shoal-p2p/shoal/internal/metrics"
	"github.com/shoal-p2p/shoal/p2p"
	"github.com/shoal-p2p/shoal/p2p/p2ptest"
	"github.com/shoal-p2p/shoal/resolver"
	"github.com/shoal-p2p/shoal/supernode"
)

func TestMain(m *testing.M) {
	logrus.SetLevel(logrus.ErrorLevel)
	if os.Getenv("SHOAL_TEST_LOG") != "" {
		logrus.SetLevel(logrus.DebugLevel)
	}
	goleak.VerifyTestMain(m)
}

const mib = 1 << 20

func random(name string, size int) []byte {
	data := make([]byte, size)
	_, _ = rand.NewChaCha8(sha256.Sum256([]byte(name))).Read(data)
	return data
}

// origin is a file server that can be changed while it runs.
type origin struct {
	*httptest.Server
	handler atomic.Pointer[http.HandlerFunc]
	sent    atomic.Int64 // bytes of bodies
	gets    atomic.Int64 // GETs that were answered with a body
	asked   atomic.Int64 // requests
}

type counting struct {
	http.ResponseWriter
	o *origin
}

func (c counting) Write(p []byte) (int, error) {
	n, err := c.ResponseWriter.Write(p)
	c.o.sent.Add(int64(n))
	return n, err
}

func (c counting) Unwrap() http.ResponseWriter { return c.ResponseWriter }

func newOrigin(t *testing.T) *origin {
	o := &origin{}
	o.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		o.asked.Add(1)
		if r.Method == http.MethodGet {
			o.gets.Add(1)
		}
		(*o.handler.Load())(counting{w, o}, r)
	}))
	t.Cleanup(o.Close)
	return o
}

func (o *origin) serve(h http.HandlerFunc) { o.handler.Store(&h) }

// file serves bytes of a version, as a web server does.
func (o *origin) file(data []byte, version string, header ...string) {
	o.serve(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"`+version+`"`)
		w.Header().Set("Content-Type", "application/x-test")
		for i := 0; i < len(header); i += 2 {
			w.Header().Add(header[i], header[i+1])
		}
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
	})
}

// bed is a source, a supernode and nodes that answer for files.
type bed struct {
	t       *testing.T
	origin  *origin
	superAt string
	super   func() // ends the supernode
}

func newBed(t *testing.T) *bed {
	b := &bed{t: t, origin: newOrigin(t)}
	r := b.resolver()
	sn, err := supernode.New(supernode.Config{
		Store:  &p2ptest.Store{},
		Source: func(o p2p.Origin, id digest.Digest) p2p.Source { return files.Source(r, o, id) },
	})
	require.NoError(t, err)
	b.superAt, b.super = run(t, sn.Handler(), sn.Run)
	return b
}

func (b *bed) resolver() *resolver.Resolver {
	r, err := resolver.New(resolver.Config{HeaderTimeout: 10 * time.Second})
	require.NoError(b.t, err)
	b.t.Cleanup(r.Close)
	return r
}

// run serves a handler while a node runs, until it is stopped.
func run(t *testing.T, h http.Handler, node func(context.Context) error) (addr string, stop func()) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := &http.Server{Handler: h, ConnContext: p2p.ConnContext}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = server.Serve(l) })
	wg.Go(func() { _ = node(ctx) })
	stop = sync.OnceFunc(func() {
		_ = server.Close()
		cancel()
		wg.Wait()
	})
	t.Cleanup(stop)
	return l.Addr().String(), stop
}

// node is an agent as far as files go.
type node struct {
	*p2p.Node
	store *p2ptest.Store
	bed   *bed
	files http.Handler
}

func (b *bed) node(change ...func(*p2p.Config)) *node {
	n := &node{bed: b, store: &p2ptest.Store{}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(b.t, err)
	addr := l.Addr().String()
	require.NoError(b.t, l.Close())
	cfg := p2p.Config{Store: n.store, Supernode: b.superAt, Advertise: addr, Metrics: metrics.New()}
	for _, c := range change {
		c(&cfg)
	}
	n.Node, err = p2p.NewNode(cfg)
	require.NoError(b.t, err)
	l, err = net.Listen("tcp", addr)
	require.NoError(b.t, err)
	server := &http.Server{Handler: n.Handler(), ConnContext: p2p.ConnContext}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = server.Serve(l) })
	wg.Go(func() { _ = n.Run(ctx) })
	b.t.Cleanup(func() {
		_ = server.Close()
		cancel()
		wg.Wait()
	})
	n.files, err = files.New(files.Config{Node: n.Node, Resolver: b.resolver(), Metrics: cfg.Metrics})
	require.NoError(b.t, err)
	if cfg.Supernode != "" {
		require.Eventually(b.t, func() bool { return n.Status().Supernode.Connected }, 20*time.Second, time.Millisecond)
	}
	return n
}

// reply is what a client got.
type reply struct {
	*http.Response
	body []byte
}

// get asks a node for a path of the origin. Headers are pairs.
func (n *node) get(path string, header ...string) reply {
	n.bed.t.Helper()
	got, err := n.try(http.MethodGet, n.bed.origin.URL+path, header...)
	require.NoError(n.bed.t, err)
	return got
}

func (n *node) try(method, url string, header ...string) (reply, error) {
	front := httptest.NewServer(n.files)
	defer front.Close()
	req, err := http.NewRequest(method, url, nil)
	if err != nil {
		return reply{}, err
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	client := &http.Client{
		Transport: &http.Transport{DisableKeepAlives: true, DisableCompression: true, Proxy: http.ProxyURL(must(req.URL.Parse(front.URL)))},
		Timeout:   time.Minute,
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse
		},
	}
	resp, err := client.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return reply{resp, body}, err
}

func must[V any](v V, err error) V {
	if err != nil {
		panic(err)
	}
	return v
}

func (r reply) require(t *testing.T, status int, body []byte) {
	t.Helper()
	require.Equal(t, status, r.StatusCode, "%.200s", r.body)
	require.True(t, bytes.Equal(body, r.body), "other bytes than expected: %d, not %d", len(r.body), len(body))
}

func (r reply) String() string { return fmt.Sprint(r.StatusCode, r.Header) }
