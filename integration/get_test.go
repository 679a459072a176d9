//go:build e2e

package integration

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/shoal-p2p/shoal/integration/testbed"
	"github.com/shoal-p2p/shoal/internal/registrytest"
)

// fileServer serves one file on the registry's host.
type fileServer struct {
	mu      sync.Mutex
	content []byte
	sent    atomic.Int64 // bytes of bodies
	gone    atomic.Bool  // connections are cut
}

const filePort = 8080

var fileURL = strings.TrimSuffix(testbed.Registry, ":5000") + fmt.Sprint(":", filePort)

func serveFile(t *testing.T, c *testbed.Cluster, content []byte) *fileServer {
	s := &fileServer{content: content}
	require.NoError(t, c.Serve(filePort, s, nil))
	return s
}

func (s *fileServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.gone.Load() {
		panic(http.ErrAbortHandler)
	}
	s.mu.Lock()
	content := s.content
	s.mu.Unlock()
	w.Header().Set("Etag", fmt.Sprintf("%q", digest.FromBytes(content).Encoded()[:16]))
	http.ServeContent(counting{w, &s.sent}, r, "", time.Time{}, bytes.NewReader(content))
}

type counting struct {
	http.ResponseWriter
	n *atomic.Int64
}

func (c counting) Write(p []byte) (int, error) {
	n, err := c.ResponseWriter.Write(p)
	c.n.Add(int64(n))
	return n, err
}

// shoalGet runs shoal get on a node, and returns what it says.
func shoalGet(t *testing.T, n *testbed.Node, args ...string) (string, error) {
	t.Helper()
	bin, err := filepath.Abs("../bin/shoal")
	require.NoError(t, err)
	cmd := n.Command(t.Context(), bin, append([]string{"get", "--retry-delay", "100ms"}, args...)...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func TestGetOnAllNodesReadsTheSourceOnce(t *testing.T) {
	const nodes, length = 4, 64 * mib
	c, _ := build(t, testbed.Options{Nodes: nodes, Store: "local"}, 1, mib)
	s := serveFile(t, c, registrytest.Bytes(1, length))
	all := func(query string, want []byte) {
		t.Helper()
		var wg sync.WaitGroup
		outs, errs := make([]string, nodes), make([]error, nodes)
		dir := t.TempDir()
		for i, n := range c.Nodes {
			wg.Go(func() {
				outs[i], errs[i] = shoalGet(t, n, "-o", filepath.Join(dir, n.Name), "--filter", "sig", fmt.Sprintf("http://%s/model.bin?sig=%d%s", fileURL, i, query))
			})
		}
		wg.Wait()
		for i, n := range c.Nodes {
			require.NoError(t, errs[i], outs[i])
			got, err := os.ReadFile(filepath.Join(dir, n.Name))
			require.NoError(t, err)
			require.True(t, bytes.Equal(want, got), n.Name)
		}
	}
	all("", s.content)
	require.InDelta(t, 1, float64(s.sent.Load())/length, 0.05, "the source is read once, whatever the signatures are")

	s.mu.Lock()
	s.content = registrytest.Bytes(2, length)
	s.mu.Unlock()
	all("", s.content)
	require.InDelta(t, 2, float64(s.sent.Load())/length, 0.1, "a changed file is read once more")

	s.gone.Store(true)
	out, err := shoalGet(t, c.Nodes[0], "-o", "/dev/null", "--filter", "sig", "http://"+fileURL+"/model.bin?sig=0")
	require.NoError(t, err, out)
	require.Contains(t, out, "this is the file as the swarm had it")
}

func TestGetGoesOnWhenItsAgentDies(t *testing.T) {
	const length = 32 * mib
	c, _ := build(t, testbed.Options{Nodes: 2, Store: "local"}, 1, mib)
	s := serveFile(t, c, registrytest.Bytes(1, length))
	n, file := c.Nodes[0], filepath.Join(t.TempDir(), "file")
	done := make(chan error, 1)
	var out string
	go func() {
		var err error
		out, err = shoalGet(t, n, "--limit-rate", "8M", "--retry", "20", "-o", file, "http://"+fileURL+"/model.bin")
		done <- err
	}()
	part := filepath.Join(filepath.Dir(file), ".file.shoal-part")
	require.Eventually(t, func() bool {
		info, err := os.Stat(part)
		return err == nil && info.Size() > 4*mib
	}, 30*time.Second, 10*time.Millisecond)
	n.Agent.Kill()
	require.NoError(t, n.StartAgent(t.Context()))
	require.NoError(t, <-done, out)
	require.Contains(t, out, "broken off after")
	got, err := os.ReadFile(file)
	require.NoError(t, err)
	require.True(t, bytes.Equal(s.content, got))
}

func TestGetWithoutAnAgentReadsTheSource(t *testing.T) {
	c, _ := build(t, testbed.Options{Spare: 1, Store: "local"}, 1, mib)
	s := serveFile(t, c, registrytest.Bytes(1, mib))
	file := filepath.Join(t.TempDir(), "file")
	out, err := shoalGet(t, c.Nodes[0], "--digest", digest.FromBytes(s.content).String(), "-o", file, "http://"+fileURL+"/model.bin")
	require.NoError(t, err, out)
	require.Contains(t, out, "from the source")
	require.FileExists(t, file)
}

func TestGetWithoutAgentsJoinsTheSwarm(t *testing.T) {
	const nodes, length = 3, 64 * mib
	c, _ := build(t, testbed.Options{Spare: nodes, Store: "local"}, 1, mib)
	s := serveFile(t, c, registrytest.Bytes(1, length))
	dir := t.TempDir()
	var wg sync.WaitGroup
	for _, n := range c.Nodes {
		wg.Go(func() {
			file := filepath.Join(dir, n.Name)
			out, err := shoalGet(t, n, "--supernodes", testbed.Supernode, "-o", file, "http://"+fileURL+"/model.bin")
			assert.NoError(t, err, out)
			got, err := os.ReadFile(file)
			assert.NoError(t, err)
			assert.True(t, bytes.Equal(s.content, got), n.Name)
		})
	}
	wg.Wait()
	require.InDelta(t, 1, float64(s.sent.Load())/length, 0.05, "the source is read once")
	out, err := shoalGet(t, c.Nodes[0], "--supernodes", "10.77.0.3:1", "http://"+fileURL+"/model.bin")
	require.Error(t, err)
	require.Contains(t, out, "10.77.0.3:1 cannot be reached")
}
