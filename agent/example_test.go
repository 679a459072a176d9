package agent_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	stdlog "log"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"

	"github.com/containerd/log"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/opencontainers/go-digest"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/sirupsen/logrus"

	"github.com/shoal-p2p/shoal/agent"
	"github.com/shoal-p2p/shoal/plugin/local"
	"github.com/shoal-p2p/shoal/resolver"
)

// A program with a server, metrics and a log of its own takes the mirror in.
func Example() {
	upstream, blob := startRegistry("hello, world")
	defer upstream.Close()
	dir, err := os.MkdirTemp("", "shoal")
	must(err)
	defer os.RemoveAll(dir)

	// Where blobs are kept. Beside a containerd it is
	// containerd.New(containerd.Config{Namespace: "k8s.io"}) of plugin/containerd.
	store, err := local.New(local.Config{Dir: dir})
	must(err)
	defer store.Close()

	metrics := prometheus.NewRegistry()
	shoal, err := agent.New(agent.Config{
		Store: store,
		// In a cluster there is more to say, for others to meet this node:
		// Supernodes: []string{"supernode.example:8002"},
		// Peers:      agent.Listen{Addr: agent.DefaultPeers},
		Registries: []resolver.Registry{{Host: hostOf(upstream), PlainHTTP: true}},
		Metrics:    metrics,
	})
	must(err)

	mux := http.NewServeMux()
	mux.Handle("/v2/", shoal.Mirror())
	server := httptest.NewServer(mux) // or http.Server
	defer server.Close()

	logger := logrus.New()
	logger.SetOutput(io.Discard)
	ctx, stop := context.WithCancel(log.WithLogger(context.Background(), logrus.NewEntry(logger)))
	ended := make(chan error, 1)
	go func() { ended <- shoal.Run(ctx) }()
	select {
	case <-shoal.Ready():
	case err := <-ended:
		must(err)
	}

	// What containerd asks of a mirror.
	resp, err := http.Get(server.URL + "/v2/app/blobs/" + blob.String() + "?ns=" + hostOf(upstream))
	must(err)
	body, err := io.ReadAll(resp.Body)
	must(err)
	resp.Body.Close()
	fmt.Println(resp.Status, string(body))
	fmt.Println(shoal.Status().Node.Bytes["upstream"], "bytes from the upstream")

	stop()
	must(<-ended)
	// Output:
	// 200 OK hello, world
	// 12 bytes from the upstream
}

// startRegistry starts an upstream with a blob in its repository app.
func startRegistry(content string) (*httptest.Server, digest.Digest) {
	blob := digest.FromString(content)
	handler := registry.New(registry.Logger(stdlog.New(io.Discard, "", 0)))
	push := httptest.NewRequest(http.MethodPost, "/v2/app/blobs/uploads/?digest="+blob.String(), bytes.NewReader([]byte(content)))
	handler.ServeHTTP(httptest.NewRecorder(), push)
	return httptest.NewServer(handler), blob
}

func hostOf(s *httptest.Server) string { return strings.TrimPrefix(s.URL, "http://") }

func must(err error) {
	if err != nil {
		panic(err)
	}
}
