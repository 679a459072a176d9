package containerd

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"

	"github.com/shoal-p2p/shoal/internal/registrytest"
	"github.com/shoal-p2p/shoal/plugin/contentdir"
)

// of chooses requests for a blob.
func of(dgst digest.Digest) func(*http.Request) bool {
	return func(q *http.Request) bool { return strings.HasSuffix(q.URL.Path, dgst.String()) }
}

// await waits until containerd has n bytes of a blob that is being received, at
// least.
func (a *machine) await(namespace string, dgst digest.Digest, n int64) {
	a.t.Helper()
	path := filepath.Join(contentdir.IngestPath(a.d.ContentPath, namespace+"/1/layer-"+dgst.String()), "data")
	require.True(a.t, becomes(a.t, time.Minute, func() bool {
		info, err := os.Stat(path)
		return err == nil && info.Size() >= n
	}), "%s grows to %d", dgst, n)
}

// held stops a layer of 8 MiB of an image half-way.
func (a *machine) held(tag string) (layer digest.Digest, release func()) {
	body := tarLayer(a.t, 10+uint64(len(tag)), 8<<20)
	push(a.t, a.up, "team/image", tag, tarLayer(a.t, 1, 100), body)
	layer = digest.FromBytes(body)
	gate := make(chan struct{})
	a.up.Do(registrytest.Harm{Only: of(layer), Hold: gate, HoldAt: 4 << 20})
	release = sync.OnceFunc(func() { close(gate) })
	a.t.Cleanup(release)
	return layer, release
}

// pulling pulls in the background.
func (a *machine) pulling(namespace, image string, flags ...string) (result <-chan error, cancel func()) {
	ctx, cancel := context.WithCancel(within(a.t))
	out := make(chan error, 1)
	go func() { out <- a.pull(ctx, namespace, image, flags...) }()
	return out, cancel
}

func TestALayerThatStallsIsLeftToContainerdFromWhereItIs(t *testing.T) {
	eachMachine(t, func(t *testing.T, a *machine) {
		layer, release := a.held("1")
		result, _ := a.pulling("default", "team/image:1")
		a.await("default", layer, 3<<20)
		require.True(t, becomes(t, time.Minute, func() bool { return len(a.got(layer)) > 0 }), "containerd asks for the rest")
		release()
		require.NoError(t, <-result)
		require.Regexp(t, `^bytes=[0-9]{7,}-`, a.got(layer)[0], "not from the start")
		require.Less(t, a.up.BlobBytes(), int64(9<<20), "nothing was read twice")
		a.requireClean()
	})
}

func TestAnotherNamespacePullsByItself(t *testing.T) {
	eachMachine(t, func(t *testing.T, a *machine) {
		layer, release := a.held("1")
		first, _ := a.pulling("default", "team/image:1")
		a.await("default", layer, 3<<20)
		second, _ := a.pulling("other", "team/image:1")
		require.True(t, becomes(t, time.Minute, func() bool { return len(a.got(layer)) > 0 }), "the other reads from the mirror")
		release()
		require.NoError(t, <-first)
		require.NoError(t, <-second)
		a.requireClean()
		require.Less(t, a.up.BlobBytes(), int64(9<<20))
	})
}

func TestTwoPullsOfOneImageAndOneThatSharesALayer(t *testing.T) {
	eachMachine(t, func(t *testing.T, a *machine) {
		layer, release := a.held("1")
		shared := tarLayer(t, 11, 8<<20)
		push(t, a.up, "team/image", "2", tarLayer(t, 8, 2<<20), shared)
		a.up.PushBlob("team/image", shared)
		var results []<-chan error
		for _, image := range []string{"team/image:1", "team/image:1", "team/image:2"} {
			result, _ := a.pulling("default", image)
			results = append(results, result)
		}
		a.await("default", layer, 3<<20)
		release()
		for _, r := range results {
			require.NoError(t, <-r)
		}
		require.Empty(t, a.got(layer))
		a.requireClean()
	})
}

func TestACancelledPullLeavesNothing(t *testing.T) {
	eachMachine(t, func(t *testing.T, a *machine) {
		for name, flags := range ways(a.d) {
			layer, release := a.held(name)
			result, cancel := a.pulling("default", "team/image:"+name, flags...)
			a.await("default", layer, 3<<20)
			cancel()
			require.Error(t, <-result)
			release()
			a.mustPull("team/image:"+name, flags...)
			require.Empty(t, a.got(layer), "the second pull finds what the first did not wait for")
			a.requireClean()
		}
	})
}

// TestAPullThatFailsEndsTheFilling has a config that the registry does not send.
func TestAPullThatFailsEndsTheFilling(t *testing.T) {
	eachMachine(t, func(t *testing.T, a *machine) {
		layer, _ := a.held("1")
		a.direct.stalledAfter = time.Hour
		small := digest.FromBytes(tarLayer(t, 1, 100))
		gate := make(chan struct{})
		a.up.Do(registrytest.Harm{Only: func(q *http.Request) bool { return of(layer)(q) || of(small)(q) }, Hold: gate, HoldAt: 50})
		defer close(gate)
		result, cancel := a.pulling("default", "team/image:1")
		defer cancel()
		require.True(t, becomes(t, time.Minute, func() bool { return len(a.got(small)) > 0 }))
		a.up.Do(registrytest.Harm{Only: of(small), Status: http.StatusForbidden})
		a.up.CloseClientConnections()
		require.Error(t, <-result)
		a.requireClean()
	})
}

func TestAnAgentThatEndsLeavesTheRestToContainerd(t *testing.T) {
	eachMachine(t, func(t *testing.T, a *machine) {
		layer, release := a.held("1")
		result, _ := a.pulling("default", "team/image:1")
		a.await("default", layer, 3<<20)
		a.stop()
		release()
		require.NoError(t, <-result, "from the registry")
		// From where it was; but containerd begins again if the end came in the
		// middle of a write.
		require.Less(t, a.up.BlobBytes(), int64(13<<20))
		a.requireClean()
	})
}

func TestLeasesOfFormerRunsGo(t *testing.T) {
	eachMachine(t, func(t *testing.T, a *machine) {
		ctx := namespaces.WithNamespace(t.Context(), "default")
		a.stop()
		_, err := a.d.Client(t).LeasesService().Create(ctx, leases.WithID(leasePrefix+"former/3"), leases.WithExpiration(time.Hour))
		require.NoError(t, err)
		next := newMachine(t, a.d, a.up)
		next.requireClean()
	})
}

func TestWrongBytesAreNotKept(t *testing.T) {
	eachMachine(t, func(t *testing.T, a *machine) {
		body := tarLayer(t, 7, 8<<20)
		push(t, a.up, "team/image", "1", body)
		a.up.Do(registrytest.Harm{Only: of(digest.FromBytes(body)), Wrong: 5 << 20})
		require.Error(t, a.pull(within(t), "default", "team/image:1"))
		a.up.Do(registrytest.Harm{})
		require.True(t, becomes(t, time.Minute, func() bool {
			return a.pull(within(t), "default", "team/image:1") == nil
		}), "the next pull works")
		a.requireClean()
	})
}

func TestWhatAFormerWriterLeftIsGoneOnWith(t *testing.T) {
	eachMachine(t, func(t *testing.T, a *machine) {
		ctx := namespaces.WithNamespace(t.Context(), "default")
		for name, good := range map[string]bool{"good": true, "bad": false} {
			body := tarLayer(t, uint64(len(name)), 8<<20)
			push(t, a.up, "team/image", name, body)
			dgst := digest.FromBytes(body)
			w, err := a.d.Client(t).ContentStore().Writer(ctx, content.WithRef("layer-"+dgst.String()),
				content.WithDescriptor(ocispec.Descriptor{Digest: dgst, Size: int64(len(body))}))
			require.NoError(t, err)
			half := body[:4<<20]
			if !good {
				half = make([]byte, 4<<20)
			}
			_, err = w.Write(half)
			require.NoError(t, err)
			require.NoError(t, w.Close())
			require.True(t, becomes(t, time.Minute, func() bool { return a.pull(within(t), "default", "team/image:"+name) == nil }))
			if good {
				require.Empty(t, a.got(dgst))
			}
		}
		a.requireClean()
	})
}

func TestGarbageCollectionDuringAPull(t *testing.T) {
	eachMachine(t, func(t *testing.T, a *machine) {
		layer, release := a.held("1")
		result, _ := a.pulling("default", "team/image:1")
		a.await("default", layer, 3<<20)
		collect(namespaces.WithNamespace(t.Context(), "default"), a.d.Client(t).LeasesService())
		release()
		require.NoError(t, <-result)
		require.Empty(t, a.got(layer))
		a.requireClean()
	})
}

func TestAContainerdThatStartsAgain(t *testing.T) {
	eachMachine(t, func(t *testing.T, a *machine) {
		layer, release := a.held("1")
		result, cancel := a.pulling("default", "team/image:1")
		a.await("default", layer, 3<<20)
		a.d.Kill(t)
		a.d.Start(t)
		release()
		cancel()
		<-result
		a.mustPull("team/image:1")
		require.Less(t, a.up.BlobBytes(), int64(10<<20), "what was there is not read again")

		a.d.Stop(t)
		_, err := a.s.namespaces(t.Context())
		require.Error(t, err, "it will not try again for a while")
		a.d.Start(t)
		body := tarLayer(t, 20, 2<<20)
		push(t, a.up, "team/image", "2", body)
		a.mustPull("team/image:2")
		require.Empty(t, a.got(digest.FromBytes(body)))
	})
}
