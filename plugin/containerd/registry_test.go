package containerd

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/opencontainers/go-digest"
	"github.com/stretchr/testify/require"
)

const layerSize = 4 << 20

// stallingRegistry holds one image and can send a blob in two halves.
type stallingRegistry struct {
	*httptest.Server
	image  v1.Image
	layers []v1.Layer

	mu      sync.Mutex
	queries []string // of all requests for manifests and blobs
	stalled map[string]chan struct{}
}

func newRegistry(t *testing.T, repository string) *stallingRegistry {
	t.Helper()
	r := &stallingRegistry{stalled: map[string]chan struct{}{}}
	inner := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.mu.Lock()
		r.queries = append(r.queries, req.URL.RawQuery)
		gate := r.stalled[req.URL.Path[strings.LastIndex(req.URL.Path, "/")+1:]]
		r.mu.Unlock()
		if gate != nil && req.Method == http.MethodGet {
			w = &stallingWriter{ResponseWriter: w, gate: gate, left: layerSize / 2, gone: req.Context().Done()}
		}
		inner.ServeHTTP(w, req)
	}))
	t.Cleanup(r.Close)

	img, err := random.Image(layerSize, 2)
	require.NoError(t, err)
	config, err := img.ConfigFile()
	require.NoError(t, err)
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", runtime.GOARCH
	r.image, err = mutate.ConfigFile(img, config)
	require.NoError(t, err)
	r.layers, err = r.image.Layers()
	require.NoError(t, err)
	tag, err := name.NewTag(r.host() + "/" + repository)
	require.NoError(t, err)
	require.NoError(t, remote.Write(tag, r.image, remote.WithTransport(r.Client().Transport)))
	r.mu.Lock()
	r.queries = nil
	r.mu.Unlock()
	return r
}

func (r *stallingRegistry) host() string { return strings.TrimPrefix(r.URL, "http://") }

// stall makes the blob stop half-way until the gate it returns is closed.
func (r *stallingRegistry) stall(dgst digest.Digest) chan struct{} {
	gate := make(chan struct{})
	r.mu.Lock()
	r.stalled[dgst.String()] = gate
	r.mu.Unlock()
	return gate
}

// layer returns a layer's digest and bytes.
func (r *stallingRegistry) layer(t *testing.T, i int) (digest.Digest, []byte) {
	t.Helper()
	h, err := r.layers[i].Digest()
	require.NoError(t, err)
	body, err := r.layers[i].Compressed()
	require.NoError(t, err)
	defer body.Close()
	b, err := io.ReadAll(body)
	require.NoError(t, err)
	return digest.Digest(h.String()), b
}

type stallingWriter struct {
	http.ResponseWriter
	gate <-chan struct{}
	gone <-chan struct{}
	left int
}

func (w *stallingWriter) Write(p []byte) (int, error) {
	if w.left == 0 {
		select {
		case <-w.gate:
		case <-w.gone:
			return 0, http.ErrAbortHandler
		}
		return w.ResponseWriter.Write(p)
	}
	n, err := w.ResponseWriter.Write(p[:min(w.left, len(p))])
	w.left -= n
	if err != nil || n == len(p) {
		return n, err
	}
	_ = http.NewResponseController(w.ResponseWriter).Flush()
	m, err := w.Write(p[n:])
	return n + m, err
}
