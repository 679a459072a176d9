package mirror_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/sirupsen/logrus"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/shoal-p2p/shoal/internal/metrics"
	"github.com/shoal-p2p/shoal/internal/oci"
	"github.com/shoal-p2p/shoal/internal/registrytest"
	"github.com/shoal-p2p/shoal/mirror"
	"github.com/shoal-p2p/shoal/p2p"
	"github.com/shoal-p2p/shoal/p2p/p2ptest"
	"github.com/shoal-p2p/shoal/resolver"
)

func TestMain(m *testing.M) {
	logrus.SetOutput(io.Discard)
	goleak.VerifyTestMain(m)
}

// front is a mirror on a node without a supernode, before an upstream.
type front struct {
	*httptest.Server
	t        *testing.T
	up       *registrytest.Registry
	store    *p2ptest.Store
	registry *prometheus.Registry // of metrics
	done     chan struct{}        // one value for every request that has ended
}

func newFront(t *testing.T, options ...func(*mirror.Config)) *front {
	t.Helper()
	return frontFor(t, registrytest.New(t), options...)
}

func frontFor(t *testing.T, up *registrytest.Registry, options ...func(*mirror.Config)) *front {
	t.Helper()
	f := &front{
		t: t, up: up, store: &p2ptest.Store{},
		registry: prometheus.NewRegistry(), done: make(chan struct{}, 1000),
	}
	set := metrics.New()
	f.registry.MustRegister(set)
	node, err := p2p.NewNode(p2p.Config{Store: f.store, Metrics: set})
	require.NoError(t, err)
	res, err := resolver.New(resolver.Config{Registries: []resolver.Registry{{Host: up.Host(), PlainHTTP: true}}})
	require.NoError(t, err)
	cfg := mirror.Config{DefaultRegistry: up.Host(), Node: node, Resolver: res, Metrics: set}
	for _, o := range options {
		o(&cfg)
	}
	handler, err := mirror.New(cfg)
	require.NoError(t, err)
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() { f.done <- struct{}{} }()
		handler.ServeHTTP(w, r)
	}))
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = node.Run(ctx) })
	t.Cleanup(func() {
		f.CloseClientConnections()
		f.Close()
		cancel()
		running.Wait()
		res.Close()
	})
	return f
}

// answer is a response that has been read.
type answer struct {
	*http.Response
	body []byte
	err  error // of the body
}

// ask sends a request. header holds names and values in turn.
func (f *front) ask(method, path string, header ...string) answer {
	f.t.Helper()
	req, err := http.NewRequestWithContext(f.t.Context(), method, f.URL+path, nil)
	require.NoError(f.t, err)
	for i := 0; i < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	require.NoError(f.t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return answer{Response: resp, body: body, err: err}
}

func (f *front) get(path string, header ...string) answer {
	f.t.Helper()
	return f.ask(http.MethodGet, path, header...)
}

// requireError requires an OCI error with that status and code, and returns its
// message.
func (a answer) requireError(t *testing.T, status int, code string) string {
	t.Helper()
	require.Equal(t, status, a.StatusCode, "%s", a.body)
	require.Equal(t, "application/json", a.Header.Get("Content-Type"))
	var e struct {
		Errors []struct{ Code, Message string }
	}
	require.NoError(t, json.Unmarshal(a.body, &e), "%q", a.body)
	require.Len(t, e.Errors, 1)
	require.Equal(t, code, e.Errors[0].Code)
	require.NotEmpty(t, e.Errors[0].Message)
	return e.Errors[0].Message
}

// kept is a manifest store in memory.
type kept struct {
	mu     sync.Mutex
	bodies map[digest.Digest][]byte
}

func (k *kept) Get(_ context.Context, dgst digest.Digest) ([]byte, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if body, ok := k.bodies[dgst]; ok {
		return body, nil
	}
	return nil, fmt.Errorf("manifest %s: %w", dgst, errdefs.ErrNotFound)
}

func (k *kept) Put(_ context.Context, dgst digest.Digest, _ string, body []byte) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.bodies == nil {
		k.bodies = map[digest.Digest][]byte{}
	}
	k.bodies[dgst] = body
	return nil
}

func TestPingPassesTheUpstreamsChallenge(t *testing.T) {
	f := newFront(t)
	for _, path := range []string{"/v2/", "/v2", "/v2/?ns=" + url.QueryEscape(f.up.Host()), "/" + f.up.Host() + "/v2/"} {
		a := f.get(path)
		require.Equal(t, http.StatusOK, a.StatusCode)
		require.Equal(t, "{}", string(a.body))
		require.Equal(t, "registry/2.0", a.Header.Get("Docker-Distribution-API-Version"))
	}
	f.up.RequireToken("user", "secret")
	a := f.get("/v2/")
	a.requireError(t, http.StatusUnauthorized, oci.CodeUnauthorized)
	require.Equal(t, []string{f.up.Challenge("")}, a.Header.Values("WWW-Authenticate"))

	f.up.Do(registrytest.Harm{Drop: true})
	require.Equal(t, http.StatusOK, f.get("/v2/").StatusCode, "the mirror works although the upstream does not")
}

func TestLogsHoldNoCredentials(t *testing.T) {
	var out bytes.Buffer
	logrus.SetOutput(&out)
	logrus.SetLevel(logrus.DebugLevel)
	f := newFront(t)
	dgst := f.up.PushBlob("team/app", []byte("layer"))
	for _, path := range []string{
		"/v2/team/app/blobs/" + dgst.String(), "/v2/team/app/manifests/none", "/v2/team/app/tags/list", "/v2/team/app/x", "/v2/",
	} {
		f.get(path+"?token=s3cr3t&n=x", "Authorization", "Bearer s3cr3t", "Cookie", "s3cr3t")
		<-f.done
	}
	logrus.SetOutput(io.Discard)
	logrus.SetLevel(logrus.InfoLevel)
	require.GreaterOrEqual(t, strings.Count(out.String(), "\n"), 5, "a line for each request")
	require.NotContains(t, out.String(), "s3cr3t")
}

func TestConfigIsChecked(t *testing.T) {
	_, err := mirror.New(mirror.Config{DefaultRegistry: "http://docker.io"})
	require.ErrorContains(t, err, "mirror.default_registry")
	_, err = mirror.New(mirror.Config{})
	require.ErrorContains(t, err, "lacks a node")
}

func tinyStale(c *mirror.Config) { c.StaleFor = time.Nanosecond }
