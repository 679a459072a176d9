package mirror_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"

	"github.com/shoal-p2p/shoal/internal/registrytest"
)

// fiveLayers pushes an image of which the fourth layer is foreign.
func fiveLayers(f *front) (manifest string, layers []digest.Digest) {
	var data [][]byte
	for i := range 5 {
		data = append(data, registrytest.Bytes(uint64(i), 1000))
		layers = append(layers, digest.FromBytes(data[i]))
	}
	dgst, _ := f.up.PushImage("team/app", "1", data, func(m *ocispec.Manifest) {
		m.Layers[3].MediaType = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
	})
	return "/v2/team/app/manifests/" + dgst.String(), layers
}

func TestTheNextLayersAreBegunAhead(t *testing.T) {
	f := newFront(t)
	manifest, layers := fiveLayers(f)
	held := func() (which []int) {
		for i, l := range layers {
			if f.store.Get(l) != nil {
				which = append(which, i)
			}
		}
		return which
	}
	require.Equal(t, http.StatusOK, f.get(manifest).StatusCode)
	require.Equal(t, http.StatusPartialContent, f.get(blobPath(layers[0]), "Range", "bytes=900-").StatusCode)
	require.Never(t, func() bool { return len(held()) > 1 }, 100*time.Millisecond, 10*time.Millisecond,
		"neither a manifest nor a part of a layer means that all is wanted")

	require.Equal(t, http.StatusOK, f.get(blobPath(layers[0])).StatusCode)
	require.Eventually(t, func() bool { return len(held()) == 3 }, 10*time.Second, time.Millisecond)
	require.Equal(t, []int{0, 1, 2}, held())
	require.Equal(t, http.StatusOK, f.get(blobPath(layers[2])).StatusCode)
	require.Eventually(t, func() bool { return len(held()) == 4 }, 10*time.Second, time.Millisecond)
	require.Equal(t, []int{0, 1, 2, 4}, held(), "a foreign layer is not the registry's")
}

func TestNothingIsBegunAheadForAStoreThatOnlyLooksOn(t *testing.T) {
	f := newFront(t)
	f.store.LooksOn = true
	manifest, layers := fiveLayers(f)
	f.get(manifest)
	require.Equal(t, http.StatusOK, f.get(blobPath(layers[0])).StatusCode)
	require.Never(t, func() bool { return f.up.BlobBytes() > 1000 }, 100*time.Millisecond, 10*time.Millisecond)
}
