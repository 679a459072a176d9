package containerd

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"

	"github.com/shoal-p2p/shoal/internal/containerdtest"
	"github.com/shoal-p2p/shoal/internal/metrics"
	"github.com/shoal-p2p/shoal/internal/registrytest"
	"github.com/shoal-p2p/shoal/mirror"
	"github.com/shoal-p2p/shoal/p2p"
	"github.com/shoal-p2p/shoal/plugin/contentdir"
	"github.com/shoal-p2p/shoal/resolver"
)

// machine is a containerd with a mirror that receives layers for it.
type machine struct {
	t      *testing.T
	d      *containerdtest.Daemon
	up     *registrytest.Registry
	s      *Store
	direct *Direct
	certs  string // hosts.toml

	stop func() // as SIGTERM does

	mu    sync.Mutex
	blobs []string // GETs of blobs that came to the mirror: "<digest> <range>"
}

func newMachine(t *testing.T, d *containerdtest.Daemon, up *registrytest.Registry) *machine {
	t.Helper()
	a := &machine{t: t, d: d, up: up, s: newStore(t, d, "default", true)}
	set := metrics.New()
	node, err := p2p.NewNode(p2p.Config{Store: a.s, Metrics: set})
	require.NoError(t, err)
	res, err := resolver.New(resolver.Config{Registries: []resolver.Registry{{Host: up.Host(), PlainHTTP: true}}})
	require.NoError(t, err)
	a.direct = newDirect(a.s, node, set.IngestBytes)
	a.direct.watchEvery, a.direct.lingerMin, a.direct.lingerMax, a.direct.stalledAfter = 200*time.Millisecond, 3*time.Second, 6*time.Second, 5*time.Second
	handler, err := mirror.New(mirror.Config{Node: node, Resolver: res, Metrics: set, Receiver: a.direct, Manifests: a.s.Manifests()})
	require.NoError(t, err)
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if i := strings.LastIndex(r.URL.Path, "/blobs/"); i >= 0 && r.Method == http.MethodGet {
			a.mu.Lock()
			a.blobs = append(a.blobs, strings.TrimSpace(r.URL.Path[i+len("/blobs/"):]+" "+r.Header.Get("Range")))
			a.mu.Unlock()
		}
		handler.ServeHTTP(w, r)
	}))
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = node.Run(ctx) })
	running.Go(func() { _ = a.direct.Run(ctx) })
	a.stop = sync.OnceFunc(func() {
		front.CloseClientConnections()
		front.Close()
		cancel()
		running.Wait()
		res.Close()
	})
	t.Cleanup(a.stop)
	a.certs = t.TempDir()
	dir := filepath.Join(a.certs, up.Host())
	require.NoError(t, os.MkdirAll(dir, 0o755))
	toml := fmt.Sprintf("server = %q\n[host.%q]\n  capabilities = [\"pull\", \"resolve\"]\n", up.URL, front.URL)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "hosts.toml"), []byte(toml), 0o600))
	return a
}

// got are the GETs of a blob that came to the mirror.
func (a *machine) got(dgst digest.Digest) (ranges []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, b := range a.blobs {
		if rest, ok := strings.CutPrefix(b, dgst.String()); ok {
			ranges = append(ranges, strings.TrimSpace(rest))
		}
	}
	return ranges
}

// pull pulls with ctr. The error holds what ctr says.
func (a *machine) pull(ctx context.Context, namespace, image string, flags ...string) error {
	args := append([]string{"images", "pull", "--hosts-dir", a.certs}, flags...)
	cmd := a.d.Ctr(ctx, namespace, append(args, a.up.Host()+"/"+image)...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, out[max(0, len(out)-1000):])
	}
	return nil
}

func (a *machine) mustPull(image string, flags ...string) {
	a.t.Helper()
	start := time.Now()
	require.NoError(a.t, a.pull(within(a.t), "default", image, flags...))
	a.t.Logf("pulled %s in %v", image, time.Since(start).Round(time.Millisecond))
}

func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// ways are the flags for all ways in which the daemon's ctr pulls.
func ways(d *containerdtest.Daemon) map[string][]string {
	if oldVersion(d.Version) {
		return map[string][]string{"ctr": nil}
	}
	return map[string][]string{"transfer": nil, "local": {"--local"}}
}

// tarLayer is a layer with one file of size bytes.
func tarLayer(t *testing.T, seed uint64, size int) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	require.NoError(t, w.WriteHeader(&tar.Header{Name: fmt.Sprint("file", seed), Size: int64(size), Mode: 0o644}))
	_, err := w.Write(registrytest.Bytes(seed, size))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return out.Bytes()
}

// push makes an image for this machine of layers that can be unpacked.
func push(t *testing.T, up *registrytest.Registry, repo, tag string, layers ...[]byte) ocispec.Descriptor {
	t.Helper()
	config := ocispec.Image{Platform: ocispec.Platform{OS: "linux", Architecture: runtime.GOARCH}, RootFS: ocispec.RootFS{Type: "layers"}}
	for _, l := range layers {
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, digest.FromBytes(l))
	}
	body, err := json.Marshal(config)
	require.NoError(t, err)
	dgst, manifest := up.PushImage(repo, tag, layers, func(m *ocispec.Manifest) {
		m.Config.Digest, m.Config.Size = up.PushBlob(repo, body), int64(len(body))
		for i := range m.Layers {
			m.Layers[i].MediaType = ocispec.MediaTypeImageLayer
		}
	})
	return ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: dgst, Size: int64(len(manifest))}
}

// requireClean waits until nothing is left but whole blobs.
func (a *machine) requireClean() {
	a.t.Helper()
	client := a.d.Client(a.t)
	var left string
	clean := func() bool {
		for _, namespace := range []string{"default", "other"} {
			ctx := namespaces.WithNamespace(a.t.Context(), namespace)
			all, err := client.LeasesService().List(ctx)
			all = slices.DeleteFunc(all, func(l leases.Lease) bool { return !strings.HasPrefix(l.ID, "shoal/") })
			if err != nil || len(all) > 0 {
				left = fmt.Sprintf("leases %v %v", all, err)
				return false
			}
			ingests, err := client.ContentStore().ListStatuses(ctx)
			if err != nil || len(ingests) > 0 {
				collect(ctx, client.LeasesService())
				left = fmt.Sprintf("ingests %v %v", ingests, err)
				return false
			}
		}
		return true
	}
	if !becomes(a.t, time.Minute, clean) {
		require.FailNow(a.t, "left behind", left)
	}
	require.NoError(a.t, contentdir.Walk(a.t.Context(), a.d.ContentPath, func(dgst digest.Digest, _ fs.FileInfo) error {
		path, err := contentdir.BlobPath(a.d.ContentPath, dgst)
		require.NoError(a.t, err)
		body, err := os.ReadFile(path)
		require.NoError(a.t, err)
		require.Equal(a.t, dgst, dgst.Algorithm().FromBytes(body))
		return nil
	}))
}

// becomes reports whether something comes true within a time.
func becomes(t *testing.T, limit time.Duration, cond func() bool) bool {
	for deadline := time.Now().Add(limit); time.Now().Before(deadline) && t.Context().Err() == nil; time.Sleep(50 * time.Millisecond) {
		if cond() {
			return true
		}
	}
	return false
}

// collect runs containerd's garbage collection.
func collect(ctx context.Context, service leases.Manager) {
	if l, err := service.Create(ctx, leases.WithRandomID(), leases.WithExpiration(time.Minute)); err == nil {
		_ = service.Delete(ctx, l, leases.SynchronousDelete)
	}
}

func eachMachine(t *testing.T, test func(t *testing.T, a *machine)) {
	t.Helper()
	containerdtest.Each(t, func(t *testing.T, d *containerdtest.Daemon) {
		test(t, newMachine(t, d, registrytest.New(t)))
	})
}

func TestContainerdFindsTheLayersThatItWaitsFor(t *testing.T) {
	eachMachine(t, func(t *testing.T, a *machine) {
		for name, flags := range ways(a.d) {
			image := "team/" + name
			small, large, other := tarLayer(t, 1, 100), tarLayer(t, uint64(len(name)), 5<<20), tarLayer(t, 90+uint64(len(name)), 3<<20)
			push(t, a.up, image, "1", small, large, other)
			a.mustPull(image+":1", flags...)
			require.Empty(t, a.got(digest.FromBytes(large)), "containerd fetches nothing itself")
			require.Empty(t, a.got(digest.FromBytes(other)))
			if name == "transfer" || name == "ctr" { // the first to pull it
				require.NotEmpty(t, a.got(digest.FromBytes(small)), "small ones are not worth it")
			}
			ctx := namespaces.WithNamespace(t.Context(), "default")
			img, err := a.d.Client(t).GetImage(ctx, a.up.Host()+"/"+image+":1")
			require.NoError(t, err)
			unpacked, err := img.IsUnpacked(ctx, "overlayfs")
			require.NoError(t, err)
			require.True(t, unpacked)
		}
		a.requireClean()
		sent := a.up.BlobBytes()
		for name, flags := range ways(a.d) {
			a.mustPull("team/"+name+":1", flags...)
		}
		require.Equal(t, sent, a.up.BlobBytes())
	})
}

// TestOtherPlatformsAreNotReceived has an index: containerd looks at all its
// manifests, and ctr of 2.x gets the configs of all.
func TestOtherPlatformsAreNotReceived(t *testing.T) {
	eachMachine(t, func(t *testing.T, a *machine) {
		layers := map[string][]byte{"s390x": tarLayer(t, 1, 2<<20), runtime.GOARCH: tarLayer(t, 2, 2<<20)}
		var index ocispec.Index
		index.SchemaVersion, index.MediaType = 2, ocispec.MediaTypeImageIndex
		for arch, layer := range layers {
			desc := push(t, a.up, "team/image", arch, layer)
			desc.Platform = &ocispec.Platform{OS: "linux", Architecture: arch}
			index.Manifests = append(index.Manifests, desc)
		}
		body, err := json.Marshal(index)
		require.NoError(t, err)
		a.up.PushManifest("team/image", "1", ocispec.MediaTypeImageIndex, body)
		a.mustPull("team/image:1")
		require.Empty(t, a.got(digest.FromBytes(layers[runtime.GOARCH])))
		a.requireClean()
		_, err = contentdir.Open(a.d.ContentPath, digest.FromBytes(layers["s390x"]))
		require.Error(t, err)
		require.Len(t, a.up.Requests("GET .*/"+digest.FromBytes(layers[runtime.GOARCH]).String()), 1)
		require.Empty(t, a.up.Requests("GET .*/"+digest.FromBytes(layers["s390x"]).String()))
	})
}
