package containerd

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	"github.com/stretchr/testify/require"

	"github.com/shoal-p2p/shoal/internal/containerdtest"
	"github.com/shoal-p2p/shoal/p2p/storetest"
)

// pinned lists what our leases of a namespace hold.
func pinned(t *testing.T, d *containerdtest.Daemon, namespace string) (all []leases.Lease, blobs []string) {
	t.Helper()
	ctx := namespaces.WithNamespace(t.Context(), namespace)
	m := d.Client(t).LeasesService()
	list, err := m.List(ctx)
	require.NoError(t, err)
	for _, l := range list {
		if !strings.HasPrefix(l.ID, pinPrefix) {
			continue
		}
		resources, err := m.ListResources(ctx, l)
		if errdefs.IsNotFound(err) { // replaced just now
			continue
		}
		require.NoError(t, err)
		all = append(all, l)
		for _, r := range resources {
			blobs = append(blobs, r.ID)
		}
	}
	return all, blobs
}

func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	require.Eventually(t, cond, time.Minute, 20*time.Millisecond, what)
}

func TestWhatIsServedIsPinned(t *testing.T) {
	containerdtest.Each(t, func(t *testing.T, d *containerdtest.Daemon) {
		ctx := namespaces.WithNamespace(t.Context(), "elsewhere")
		_, err := d.Client(t).LeasesService().Create(ctx, leases.WithID(pinPrefix+"former/1"))
		require.NoError(t, err)
		dgst, blob := storetest.Blob(digest.SHA256, 1000)
		putImage(t, d, "elsewhere", "a", dgst, blob)

		s := newStore(t, d, "default", true)
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			s.Watch(ctx, func() {})
		}()
		unpin := s.Pin(dgst)
		eventually(t, "it is pinned, and leases of former runs are gone", func() bool {
			all, blobs := pinned(t, d, "elsewhere")
			return len(all) == 1 && all[0].ID != pinPrefix+"former/1" && len(blobs) == 1 && blobs[0] == dgst.String()
		})
		all, _ := pinned(t, d, "elsewhere")
		require.NotEmpty(t, all[0].Labels["containerd.io/gc.expire"], "it goes by itself if we cannot")

		deleteImage(t, d, "elsewhere", "a")
		b, err := s.Open(t.Context(), dgst)
		require.NoError(t, err, "garbage collection has left it")
		require.NoError(t, b.Close())
		unpin()
		stop()
		<-done
		all, _ = pinned(t, d, "elsewhere")
		require.Empty(t, all)
	})
}

// TestPinsEndSoonAfterAnImageIsDeleted serves a blob all the time.
func TestPinsEndSoonAfterAnImageIsDeleted(t *testing.T) {
	containerdtest.Each(t, func(t *testing.T, d *containerdtest.Daemon) {
		going, gone := storetest.Blob(digest.SHA256, 1000)
		staying, stays := storetest.Blob(digest.SHA256, 1001)
		putImage(t, d, "default", "a", going, gone)
		putImage(t, d, "default", "b", staying, stays)
		s := newStore(t, d, "default", false)
		s.pins.turn = 500 * time.Millisecond
		watching(t, s)
		for _, dgst := range []digest.Digest{going, staying} {
			defer s.Pin(dgst)()
		}
		eventually(t, "both are pinned", func() bool {
			_, blobs := pinned(t, d, "default")
			return len(blobs) == 2
		})
		first, _ := pinned(t, d, "default")
		eventually(t, "the lease is replaced", func() bool {
			all, blobs := pinned(t, d, "default")
			return len(all) == 1 && len(blobs) == 2 && all[0].ID != first[0].ID
		})
		deleteImage(t, d, "default", "a")
		eventually(t, "garbage collection takes what has lost its image", func() bool {
			_, err := s.Open(t.Context(), going)
			return errdefs.IsNotFound(err)
		})
		eventually(t, "the other one is pinned again", func() bool {
			_, blobs := pinned(t, d, "default")
			return len(blobs) == 1 && blobs[0] == staying.String()
		})
	})
}
