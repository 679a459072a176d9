package containerd

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/content/testsuite"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/shoal-p2p/shoal/internal/containerdtest"
	"github.com/shoal-p2p/shoal/internal/oci"
	"github.com/shoal-p2p/shoal/p2p/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newStore is a store of d; without files it sees the socket alone.
func newStore(t *testing.T, d *containerdtest.Daemon, namespace string, files bool) *Store {
	t.Helper()
	cfg := Config{Address: d.Address, Namespace: namespace, ContentPath: d.ContentPath}
	if !files {
		cfg.ContentPath = filepath.Join(t.TempDir(), "nothing")
	}
	s, err := New(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// put gives a daemon a blob as a client of it.
func put(t *testing.T, d *containerdtest.Daemon, namespace string, dgst digest.Digest, blob []byte) {
	t.Helper()
	ctx := namespaces.WithNamespace(t.Context(), namespace)
	require.NoError(t, content.WriteBlob(ctx, d.Client(t).ContentStore(), "put-"+dgst.String(), bytes.NewReader(blob),
		ocispec.Descriptor{Digest: dgst, Size: int64(len(blob))},
		content.WithLabels(map[string]string{"containerd.io/gc.root": "test"})))
}

func TestConformance(t *testing.T) {
	containerdtest.Each(t, func(t *testing.T, d *containerdtest.Daemon) {
		for name, files := range map[string]bool{"files": true, "socket": false} {
			t.Run(name, func(t *testing.T) {
				storetest.Run(t, func(t *testing.T) storetest.Fixture {
					f := storetest.Fixture{
						Store: newStore(t, d, "default", files),
						Put: func(t *testing.T, dgst digest.Digest, blob []byte) {
							put(t, d, "default", dgst, blob)
						},
					}
					if strings.HasPrefix(d.Version, "1.") || strings.HasPrefix(d.Version, "v1.") {
						f.Algorithms = []digest.Algorithm{digest.SHA256} // 1.x commits no other
					}
					return f
				})
			})
		}
	})
}

// TestContainerdConformance shows that the daemons the other tests lean on are
// what containerd's own suite expects.
func TestContainerdConformance(t *testing.T) {
	containerdtest.Each(t, func(t *testing.T, d *containerdtest.Daemon) {
		var n atomic.Int64
		c := d.Client(t)
		testsuite.ContentSuite(t, "containerd", func(ctx context.Context, _ string) (context.Context, content.Store, func() error, error) {
			ctx = namespaces.WithNamespace(ctx, fmt.Sprintf("suite-%d", n.Add(1)))
			lease, err := c.LeasesService().Create(ctx, leases.WithRandomID(), leases.WithExpiration(time.Hour))
			if err != nil {
				return nil, nil, nil, err
			}
			return leases.WithLease(ctx, lease.ID), c.ContentStore(), func() error { return nil }, nil
		})
	})
}

func TestBlobOfAnotherNamespaceIsHeld(t *testing.T) {
	containerdtest.Each(t, func(t *testing.T, d *containerdtest.Daemon) {
		dgst, blob := storetest.Blob(digest.SHA256, 1000)
		put(t, d, "elsewhere", dgst, blob)
		for _, files := range []bool{true, false} {
			s := newStore(t, d, "default", files)
			b, err := s.Open(t.Context(), dgst)
			require.NoError(t, err, "files: %v", files)
			require.EqualValues(t, len(blob), b.Size())
			require.NoError(t, b.Close())
			found := false
			require.NoError(t, s.Walk(t.Context(), func(d digest.Digest, _ int64) error {
				found = found || d == dgst
				return nil
			}))
			require.True(t, found, "files: %v", files)
		}
	})
}

func TestContentPathOfAnotherContainerdHidesNothing(t *testing.T) {
	containerdtest.Each(t, func(t *testing.T, d *containerdtest.Daemon) {
		s, err := New(Config{Address: d.Address, ContentPath: t.TempDir()})
		require.NoError(t, err)
		defer s.Close()
		dgst, blob := storetest.Blob(digest.SHA256, 1000)
		put(t, d, "default", dgst, blob)
		b, err := s.Open(t.Context(), dgst)
		require.NoError(t, err)
		require.NoError(t, b.Close())
	})
}

func TestSurvivesARestartOfContainerd(t *testing.T) {
	containerdtest.Each(t, func(t *testing.T, d *containerdtest.Daemon) {
		dgst, blob := storetest.Blob(digest.SHA256, 1000)
		put(t, d, "default", dgst, blob)
		files, socket := newStore(t, d, "default", true), newStore(t, d, "default", false)
		_, err := socket.Open(t.Context(), dgst)
		require.NoError(t, err)

		d.Kill(t)
		b, err := files.Open(t.Context(), dgst)
		require.NoError(t, err, "the files are there without containerd")
		require.NoError(t, b.Close())
		start := time.Now()
		_, err = socket.Open(t.Context(), dgst)
		require.True(t, errdefs.IsUnavailable(err), "got %v", err)
		require.ErrorContains(t, err, "containerd.address")
		require.Less(t, time.Since(start), callTimeout/2, "nothing waits for a socket that is not there")
		other, _ := storetest.Blob(digest.SHA256, 10)
		_, err = files.Open(t.Context(), other)
		require.True(t, errdefs.IsNotFound(err), "got %v", err)

		d.Start(t)
		require.Eventually(t, func() bool {
			b, err := socket.Open(t.Context(), dgst)
			return err == nil && b.Close() == nil
		}, 10*time.Second, 20*time.Millisecond)
	})
}

func TestAClientOfSomebodyElseIsUsedAndLeftOpen(t *testing.T) {
	containerdtest.Each(t, func(t *testing.T, d *containerdtest.Daemon) {
		dgst, blob := storetest.Blob(digest.SHA256, 1000)
		put(t, d, "default", dgst, blob)
		nothing := filepath.Join(t.TempDir(), "nothing")
		c := d.Client(t)
		s, err := New(Config{Client: c, Address: nothing, ContentPath: nothing})
		require.NoError(t, err)
		b, err := s.Open(t.Context(), dgst)
		require.NoError(t, err)
		require.NoError(t, b.Close())
		require.NoError(t, s.Close())
		_, err = c.Version(t.Context())
		require.NoError(t, err, "it is its owner's to close")
	})
}

func TestStartsBeforeContainerd(t *testing.T) {
	s, err := New(Config{Address: filepath.Join(t.TempDir(), "c.sock"), ContentPath: filepath.Join(t.TempDir(), "nothing")})
	require.NoError(t, err)
	defer s.Close()
	dgst, blob := storetest.Blob(digest.SHA256, 100)
	_, err = s.Open(t.Context(), dgst)
	require.Error(t, err)
	in, err := s.Ingest(t.Context(), dgst, int64(len(blob)))
	require.NoError(t, err, "there is still a stream to count")
	defer in.Close()
	_, err = in.Write(blob)
	require.NoError(t, err)
	require.True(t, errdefs.IsUnavailable(in.Commit(t.Context())))
}

func TestManifests(t *testing.T) {
	containerdtest.Each(t, func(t *testing.T, d *containerdtest.Daemon) {
		dgst, body := storetest.Blob(digest.SHA256, 1000)
		m := newStore(t, d, "default", true).Manifests()
		_, err := m.Get(t.Context(), dgst)
		require.True(t, errdefs.IsNotFound(err), "got %v", err)
		require.NoError(t, m.Put(t.Context(), dgst, ocispec.MediaTypeImageManifest, body))
		put(t, d, "default", dgst, body)
		got, err := m.Get(t.Context(), dgst)
		require.NoError(t, err)
		require.Equal(t, body, got)
		large, blob := storetest.Blob(digest.SHA256, oci.MaxManifest+1)
		put(t, d, "default", large, blob)
		_, err = m.Get(t.Context(), large)
		require.True(t, errdefs.IsNotFound(err), "got %v", err)
	})
}
