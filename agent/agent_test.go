package agent_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containerd/log"
	"github.com/opencontainers/go-digest"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/sirupsen/logrus"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/shoal-p2p/shoal/agent"
	"github.com/shoal-p2p/shoal/internal/freeport"
	"github.com/shoal-p2p/shoal/internal/registrytest"
	"github.com/shoal-p2p/shoal/mirror"
	"github.com/shoal-p2p/shoal/p2p"
	"github.com/shoal-p2p/shoal/p2p/p2ptest"
	"github.com/shoal-p2p/shoal/plugin/local"
	"github.com/shoal-p2p/shoal/proxy"
	"github.com/shoal-p2p/shoal/resolver"
	"github.com/shoal-p2p/shoal/supernode"
)

// ofTheProcess is what goes to the logger of the whole process: nothing should.
var ofTheProcess lockedBuffer

func TestMain(m *testing.M) {
	logrus.SetOutput(&ofTheProcess)
	goleak.VerifyTestMain(m)
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.b.Reset()
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// run runs an agent until stop, which returns what Run does, or the test's end.
func run(t *testing.T, ctx context.Context, a *agent.Agent) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() {
		ended <- a.Run(ctx)
		close(ended)
	}()
	stop = sync.OnceValue(func() error {
		cancel()
		return <-ended
	})
	t.Cleanup(func() { _ = stop() })
	select {
	case <-a.Ready():
	case err := <-ended:
		require.FailNow(t, "it did not run", "%v", err)
	}
	return stop
}

// get returns status and body.
func get(t *testing.T, url string) (int, string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get(url)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, string(body)
}

func ask(h http.Handler, path string) (int, string) {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	return w.Code, w.Body.String()
}

func listener(t *testing.T) net.Listener {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	return l
}

func TestItServesOnTheListenersThatItIsGiven(t *testing.T) {
	up := registrytest.New(t)
	blob := registrytest.Bytes(1, 300_000)
	dgst := up.PushBlob("app", blob)
	metrics := prometheus.NewRegistry()
	front := listener(t)
	addrs, err := freeport.Addrs(1)
	require.NoError(t, err)
	store := &p2ptest.Store{}
	a, err := agent.New(agent.Config{
		Store: store, Mirror: agent.Listen{Listener: front}, Admin: agent.Listen{Addr: addrs[0]},
		DefaultRegistry: up.Host(), Registries: []resolver.Registry{{Host: up.Host(), PlainHTTP: true}},
		Metrics: metrics, Grace: time.Minute,
	})
	require.NoError(t, err)
	code, _ := ask(a.Admin(), "/readyz")
	require.Equal(t, http.StatusServiceUnavailable, code)
	stop := run(t, t.Context(), a)

	code, body := get(t, "http://"+front.Addr().String()+"/v2/app/blobs/"+dgst.String())
	require.Equal(t, http.StatusOK, code)
	require.Equal(t, string(blob), body)
	require.Eventually(t, func() bool { return store.Get(dgst) != nil }, time.Minute, time.Millisecond)

	code, _ = get(t, "http://"+addrs[0]+"/readyz")
	require.Equal(t, http.StatusOK, code)
	_, body = get(t, "http://"+addrs[0]+"/metrics")
	require.Contains(t, body, `shoal_blob_bytes_total{source="upstream"} 300000`)
	var s agent.Status
	_, body = get(t, "http://"+addrs[0]+"/api/v1/status")
	require.NoError(t, json.Unmarshal([]byte(body), &s))
	require.Equal(t, "agent", s.Role)
	require.Equal(t, "other", s.Store.Kind)
	require.Equal(t, front.Addr().String(), s.Mirror)
	require.EqualValues(t, 300_000, s.Node.Bytes["upstream"])

	require.NoError(t, stop())
	code, _ = ask(a.Admin(), "/readyz")
	require.Equal(t, http.StatusServiceUnavailable, code)
	families, err := metrics.Gather()
	require.NoError(t, err)
	require.Empty(t, families, "it took its metrics back")
	_, err = net.Dial("tcp", front.Addr().String())
	require.Error(t, err, "it closed the listener")
	require.ErrorContains(t, a.Run(t.Context()), "has run already")
}

func TestManifestsGoIntoAStoreThatKeepsThem(t *testing.T) {
	up := registrytest.New(t)
	dgst, manifest := up.PushImage("app", "v1", nil)
	store, err := local.New(local.Config{Dir: t.TempDir()})
	require.NoError(t, err)
	defer store.Close()
	ofTheProcess.reset() // containerd's library, of file systems without fs-verity
	a, err := agent.New(agent.Config{Store: store, Registries: []resolver.Registry{{Host: up.Host(), PlainHTTP: true}}})
	require.NoError(t, err)
	stop := run(t, t.Context(), a)
	code, body := ask(a.Mirror(), "/v2/app/manifests/v1?ns="+up.Host())
	require.Equal(t, http.StatusOK, code)
	require.Equal(t, string(manifest), body)
	kept, err := store.Manifests().Get(t.Context(), dgst)
	require.NoError(t, err)
	require.Equal(t, manifest, kept)
	require.Equal(t, "local", a.Status().Store.Kind)
	_, body = ask(a.Admin(), "/metrics")
	require.Contains(t, body, "go_goroutines", "without a registry of the embedder it has its own")
	require.NoError(t, stop())
}

func TestAgentsMeetWhoeverServesThePeerPort(t *testing.T) {
	up := registrytest.New(t)
	blob := registrytest.Bytes(1, 3<<20)
	dgst := up.PushBlob("app", blob)
	registries := []resolver.Registry{{Host: up.Host(), PlainHTTP: true}}
	upstream, err := resolver.New(resolver.Config{Registries: registries})
	require.NoError(t, err)
	t.Cleanup(upstream.Close)
	sn, err := supernode.New(supernode.Config{
		Store:  &p2ptest.Store{},
		Source: func(o p2p.Origin, d digest.Digest) p2p.Source { return mirror.Source(upstream, o, d) },
	})
	require.NoError(t, err)
	super := httptest.NewUnstartedServer(sn.Handler())
	super.Config.ConnContext = p2p.ConnContext
	super.Start()
	ctx, cancel := context.WithCancel(context.Background())
	seeded := make(chan error, 1)
	go func() { seeded <- sn.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		<-seeded
		super.Close()
	})

	// One serves the peer port itself, the other in a server of its embedder.
	config := agent.Config{Supernodes: []string{hostOf(super)}, Registries: registries}
	first := config
	own, err := net.Listen("tcp", "127.0.0.5:0") // not the address that the supernode sees
	require.NoError(t, err)
	first.Store, first.Peers = &p2ptest.Store{}, agent.Listen{Listener: own}
	a, err := agent.New(first)
	require.NoError(t, err)
	server := httptest.NewUnstartedServer(nil)
	server.Config.ConnContext = p2p.ConnContext
	second := config
	second.Store, second.Advertise = &p2ptest.Store{}, server.Listener.Addr().String()
	b, err := agent.New(second)
	require.NoError(t, err)
	server.Config.Handler = b.Peers()
	server.Start()
	t.Cleanup(server.Close)

	run(t, t.Context(), a)
	run(t, t.Context(), b)
	connected := func(a *agent.Agent) func() bool {
		return func() bool { return a.Status().Node.Supernode.Connected }
	}
	require.Eventually(t, connected(a), time.Minute, time.Millisecond)
	require.Eventually(t, connected(b), time.Minute, time.Millisecond)
	addresses := func() (all []string) {
		for _, p := range sn.Node().Status().Peers {
			all = append(all, p.Address)
		}
		return all
	}
	require.Eventually(t, func() bool { return len(addresses()) == 2 }, time.Minute, time.Millisecond)
	require.True(t, slices.Contains(addresses(), own.Addr().String()), "the address of Peers is advertised: %v", addresses())

	for _, a := range []*agent.Agent{a, b} {
		code, body := ask(a.Mirror(), "/v2/app/blobs/"+dgst.String()+"?ns="+up.Host())
		require.Equal(t, http.StatusOK, code)
		require.True(t, string(blob) == body)
		require.Zero(t, a.Status().Node.Bytes["upstream"])
	}
	require.EqualValues(t, len(blob), up.BlobBytes(), "the upstream sent it once")
	require.Eventually(t, func() bool { return len(a.Status().Node.Peers) == 1 && len(b.Status().Node.Peers) == 1 }, time.Minute, time.Millisecond)
}

// said collects the messages of a logger.
type said chan string

func (said) Levels() []logrus.Level { return logrus.AllLevels }

func (s said) Fire(e *logrus.Entry) error {
	s <- e.Message
	return nil
}

func (s said) until(t *testing.T, want string) {
	t.Helper()
	for timeout := time.After(time.Minute); ; {
		select {
		case line := <-s:
			if strings.Contains(line, want) {
				return
			}
		case <-timeout:
			require.FailNow(t, "nobody said "+want)
		}
	}
}

func TestItLogsToTheLoggerOfItsContext(t *testing.T) {
	lines := make(said, 1000)
	logger := logrus.New()
	logger.SetOutput(io.Discard)
	logger.SetLevel(logrus.DebugLevel)
	logger.AddHook(lines)
	ofTheProcess.reset()
	secret := filepath.Join(t.TempDir(), "secret")
	require.NoError(t, os.WriteFile(secret, []byte("ann:secret"), 0o644))
	a, err := agent.New(agent.Config{
		Store: &p2ptest.Store{}, Mirror: agent.Listen{Listener: listener(t)},
		Supernodes: []string{"127.0.0.1:1"},
		Registries: []resolver.Registry{{Host: "registry.example", Credentials: secret}},
	})
	require.NoError(t, err)
	stop := run(t, log.WithLogger(t.Context(), logrus.NewEntry(logger)), a)
	lines.until(t, "is open to other users") // the resolver
	lines.until(t, "no supernode;")          // the node
	code, _ := get(t, "http://"+a.Status().Mirror+"/v2/x")
	require.Equal(t, http.StatusNotFound, code)
	lines.until(t, "refused") // the mirror
	require.NoError(t, stop())
	lines.until(t, "stopping")
	require.Empty(t, ofTheProcess.String())
}

func TestTheMirrorIsAForwardProxy(t *testing.T) {
	up := registrytest.New(t)
	blob := registrytest.Bytes(1, 1000)
	dgst := up.PushBlob("app", blob)
	front, operators := listener(t), listener(t)
	store := &p2ptest.Store{}
	a, err := agent.New(agent.Config{
		Store: store, Mirror: agent.Listen{Listener: front}, Admin: agent.Listen{Listener: operators},
		Proxy: proxy.Config{Rules: []proxy.Rule{{Regexp: regexp.MustCompile(`/v2/`)}}},
	})
	require.NoError(t, err)
	run(t, t.Context(), a)
	client := &http.Client{Transport: &http.Transport{
		Proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: front.Addr().String()}), DisableKeepAlives: true,
	}}
	get := func(url string) (int, string) {
		resp, err := client.Get(url)
		require.NoError(t, err)
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return resp.StatusCode, string(body)
	}
	_, body := get(up.URL + "/v2/app/blobs/" + dgst.String())
	require.Equal(t, string(blob), body)
	require.Eventually(t, func() bool { return store.Get(dgst) != nil }, time.Minute, time.Millisecond)
	for _, own := range []net.Listener{front, operators} {
		code, body := get("http://" + own.Addr().String() + "/metrics")
		require.Equal(t, http.StatusForbidden, code)
		require.Contains(t, body, "it is the agent itself")
	}
}

func TestMistakesAreNamed(t *testing.T) {
	store := &p2ptest.Store{}
	for want, cfg := range map[string]agent.Config{
		"no store":                {},
		"one is supported":        {Store: store, Supernodes: []string{"a:1", "b:1"}},
		"any port":                {Store: store, Peers: agent.Listen{Addr: ":0"}},
		"memory.pieces":           {Store: store, Memory: 1},
		"mirror.default_registry": {Store: store, DefaultRegistry: "http://x"},
		"configured twice":        {Store: store, Registries: []resolver.Registry{{Host: "a"}, {Host: "a"}}},
	} {
		_, err := agent.New(cfg)
		require.ErrorContains(t, err, want)
	}
	taken, free := listener(t), listener(t)
	defer taken.Close()
	a, err := agent.New(agent.Config{Store: store, Mirror: agent.Listen{Addr: taken.Addr().String()}, Admin: agent.Listen{Listener: free}})
	require.NoError(t, err)
	require.ErrorContains(t, a.Run(t.Context()), "is in use")
	require.ErrorIs(t, free.Close(), net.ErrClosed, "it let go of what it was given")

	metrics := prometheus.NewRegistry()
	with := func(label string) *agent.Agent {
		a, err := agent.New(agent.Config{Store: store, Metrics: prometheus.WrapRegistererWith(prometheus.Labels{"agent": label}, metrics)})
		require.NoError(t, err)
		return a
	}
	run(t, t.Context(), with("a"))
	run(t, t.Context(), with("b"))
	require.ErrorContains(t, with("a").Run(t.Context()), "WrapRegistererWith")
}
