//go:build e2e

package integration

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/shoal-p2p/shoal/internal/freeport"
	"github.com/stretchr/testify/require"
)

// stream is an upstream of blobs that are made while they are sent.
type stream struct {
	host  string
	sizes map[string]int64 // by digest
}

func content(size int64) io.Reader {
	return io.LimitReader(rand.NewChaCha8(sha256.Sum256(fmt.Append(nil, size))), size)
}

func newStream(t *testing.T, sizes ...int64) *stream {
	s := &stream{sizes: map[string]int64{}}
	for _, size := range sizes {
		h := sha256.New()
		_, err := io.Copy(h, content(size))
		require.NoError(t, err)
		s.sizes[fmt.Sprintf("sha256:%x", h.Sum(nil))] = size
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s.host = l.Addr().String()
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		size, ok := s.sizes[filepath.Base(r.URL.Path)]
		if !ok {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Length", fmt.Sprint(size))
		_, _ = io.CopyBuffer(w, struct{ io.Reader }{content(size)}, make([]byte, 256<<10))
	})}
	var wg sync.WaitGroup
	wg.Go(func() { _ = server.Serve(l) })
	t.Cleanup(func() {
		_ = server.Close()
		wg.Wait()
	})
	return s
}

// daemons runs a supernode and an agent with its own store on loopback.
func daemons(t *testing.T, plainHTTP string, agentFlags ...string) (mirror string, agent int) {
	dir := t.TempDir()
	port, err := freeport.Addrs(4)
	require.NoError(t, err)
	run := func(args ...string) int {
		cmd := exec.Command("../bin/shoal", append(args, "--plain-http", plainHTTP)...)
		log, err := os.Create(filepath.Join(dir, args[0]+".log"))
		require.NoError(t, err)
		cmd.Stdout, cmd.Stderr = log, log
		require.NoError(t, cmd.Start())
		t.Cleanup(func() {
			_ = cmd.Process.Signal(syscall.SIGTERM)
			_ = cmd.Wait()
			log.Close()
			if t.Failed() {
				data, _ := os.ReadFile(log.Name())
				t.Logf("--- %s\n%s", args[0], data[max(0, len(data)-2000):])
			}
		})
		return cmd.Process.Pid
	}
	run("supernode", "--listen", port[3], "--data-dir", dir+"/supernode")
	agent = run(append([]string{
		"agent", "--mirror-listen", port[0], "--peer-listen", port[1], "--admin-listen", port[2],
		"--supernodes", port[3], "--data-dir", dir + "/agent",
	}, agentFlags...)...)
	require.Eventually(t, func() bool {
		resp, err := http.Get("http://" + port[2] + "/api/v1/status")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		return err == nil && strings.Contains(string(body), `"connected":true`)
	}, 20*time.Second, 20*time.Millisecond)
	return port[0], agent
}

func peakMemory(t *testing.T, pid int) float64 {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	require.NoError(t, err)
	_, rest, found := strings.Cut(string(data), "VmHWM:")
	require.True(t, found)
	var kib float64
	_, err = fmt.Sscan(rest, &kib)
	require.NoError(t, err)
	return kib / 1024
}

// fetch reads a blob through a mirror and checks it.
func fetch(ctx context.Context, mirror, host, dgst string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+mirror+"/v2/test/app/blobs/"+dgst+"?ns="+host, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	h := sha256.New()
	if _, err := io.Copy(h, resp.Body); err != nil {
		return err
	}
	if got := fmt.Sprintf("sha256:%x", h.Sum(nil)); got != dgst {
		return fmt.Errorf("%s came as %s (%s)", dgst, got, resp.Status)
	}
	return nil
}

// maxResident is what an agent with the default budget may occupy, in MiB.
const maxResident = 150

func TestMemoryStaysWithinBoundsForA4GiBBlob(t *testing.T) {
	s := newStream(t, 4<<30)
	mirror, agent := daemons(t, s.host)
	for dgst := range s.sizes {
		require.NoError(t, fetch(t.Context(), mirror, s.host, dgst))
	}
	peak := peakMemory(t, agent)
	t.Logf("the agent's resident set peaked at %.0f MiB", peak)
	require.Less(t, peak, float64(maxResident))
}

func TestMemoryStaysWithinBoundsFor20BlobsAtOnce(t *testing.T) {
	var sizes []int64
	for i := range int64(20) {
		sizes = append(sizes, 64*mib+i)
	}
	s := newStream(t, sizes...)
	mirror, agent := daemons(t, s.host)
	var wg sync.WaitGroup
	errs := make(chan error, len(sizes))
	for dgst := range s.sizes {
		wg.Go(func() { errs <- fetch(t.Context(), mirror, s.host, dgst) })
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		require.NoError(t, err)
	}
	peak := peakMemory(t, agent)
	t.Logf("the agent's resident set peaked at %.0f MiB", peak)
	require.Less(t, peak, float64(maxResident))
}
