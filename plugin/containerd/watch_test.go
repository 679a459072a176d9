package containerd

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"

	"github.com/shoal-p2p/shoal/internal/containerdtest"
	"github.com/shoal-p2p/shoal/p2p/storetest"
	"github.com/shoal-p2p/shoal/plugin/contentdir"
)

// watching has a store watched until the test ends. told gets a value
// whenever it may have changed.
func watching(t *testing.T, s *Store) (told chan struct{}) {
	t.Helper()
	told = make(chan struct{}, 1)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		s.Watch(ctx, func() {
			select {
			case told <- struct{}{}:
			default:
			}
		})
	})
	t.Cleanup(func() {
		cancel()
		wg.Wait()
	})
	return told
}

// awaits lists the store after each notice until it has, or lacks, a blob.
func awaits(t *testing.T, s *Store, told chan struct{}, dgst digest.Digest, want bool) {
	t.Helper()
	for deadline := time.After(time.Minute); ; {
		select {
		case <-told:
		case <-deadline:
			require.FailNow(t, "no notice", "of blob %s, there: %v", dgst, want)
		}
		found := false
		err := s.Walk(t.Context(), func(d digest.Digest, _ int64) error {
			found = found || d == dgst
			return nil
		})
		if err == nil && found == want {
			return
		}
	}
}

// putImage gives containerd an image whose target is the blob, without a root
// of its own.
func putImage(t *testing.T, d *containerdtest.Daemon, namespace, name string, dgst digest.Digest, blob []byte) {
	t.Helper()
	ctx := namespaces.WithNamespace(t.Context(), namespace)
	c := d.Client(t)
	put(t, d, namespace, dgst, blob)
	target := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Digest: dgst, Size: int64(len(blob))}
	_, err := c.ImageService().Create(ctx, images.Image{Name: name, Target: target})
	require.NoError(t, err)
	_, err = c.ContentStore().Update(ctx, content.Info{Digest: dgst}, "labels.containerd.io/gc.root")
	require.NoError(t, err)
}

func deleteImage(t *testing.T, d *containerdtest.Daemon, namespace, name string) {
	t.Helper()
	ctx := namespaces.WithNamespace(t.Context(), namespace)
	require.NoError(t, d.Client(t).ImageService().Delete(ctx, name, images.SynchronousDelete()))
}

func TestWhatComesAndGoesIsNoticed(t *testing.T) {
	containerdtest.Each(t, func(t *testing.T, d *containerdtest.Daemon) {
		for name, files := range map[string]bool{"files": true, "socket": false} {
			t.Run(name, func(t *testing.T) {
				s := newStore(t, d, "default", files)
				told := watching(t, s)
				dgst, blob := storetest.Blob(digest.SHA256, 1000)
				putImage(t, d, "elsewhere", "a", dgst, blob)
				awaits(t, s, told, dgst, true)
				deleteImage(t, d, "elsewhere", "a")
				awaits(t, s, told, dgst, false)
			})
		}
	})
}

// TestFilesTellWhatNoEventDoes changes the files behind containerd's back.
func TestFilesTellWhatNoEventDoes(t *testing.T) {
	root := t.TempDir()
	s, err := New(Config{Address: filepath.Join(t.TempDir(), "c.sock"), ContentPath: root})
	require.NoError(t, err)
	defer s.Close()
	told := watching(t, s)
	dgst, blob := storetest.Blob(digest.SHA256, 1000)
	file, err := contentdir.BlobPath(root, dgst)
	require.NoError(t, err)
	require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
	require.NoError(t, os.WriteFile(file, blob, 0o444))
	awaits(t, s, told, dgst, true)
	require.NoError(t, os.Remove(file))
	awaits(t, s, told, dgst, false)
}

func TestEventsComeAgainAfterARestartOfContainerd(t *testing.T) {
	containerdtest.Each(t, func(t *testing.T, d *containerdtest.Daemon) {
		s := newStore(t, d, "default", false)
		told := watching(t, s)
		d.Kill(t)
		d.Start(t)
		dgst, blob := storetest.Blob(digest.SHA256, 1000)
		putImage(t, d, "default", "a", dgst, blob)
		awaits(t, s, told, dgst, true)
	})
}

func TestSubscribingAgainIsBounded(t *testing.T) {
	require.Equal(t, resubscribeAfter, resubscribe(1))
	require.Equal(t, 2*resubscribeAfter, resubscribe(2))
	for _, try := range []int{8, 100, 1 << 40} {
		require.Equal(t, resubscribeMost, resubscribe(try))
	}
}

func TestWatchingAndPinningWaitForNoContainerd(t *testing.T) {
	s, err := New(Config{Address: filepath.Join(t.TempDir(), "c.sock"), ContentPath: t.TempDir()})
	require.NoError(t, err)
	defer s.Close()
	watching(t, s)
	defer s.Pin(digest.FromString("a"))()
}
