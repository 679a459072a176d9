package local

import (
	"testing"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"

	"github.com/shoal-p2p/shoal/internal/oci"
	"github.com/shoal-p2p/shoal/p2p/storetest"
)

func TestManifestsAreKeptAcrossARestart(t *testing.T) {
	s := newStore(t, Config{})
	for _, alg := range []digest.Algorithm{digest.SHA256, digest.SHA512} {
		dgst, body := storetest.Blob(alg, 1000)
		_, err := s.Manifests().Get(t.Context(), dgst)
		require.True(t, errdefs.IsNotFound(err), "got %v", err)
		require.NoError(t, s.Manifests().Put(t.Context(), dgst, ocispec.MediaTypeImageManifest, body))
		require.NoError(t, s.Manifests().Put(t.Context(), dgst, ocispec.MediaTypeImageManifest, body), "again is harmless")
		require.NoError(t, s.Close())
		s = newStore(t, Config{Dir: s.dir})
		got, err := s.Manifests().Get(t.Context(), dgst)
		require.NoError(t, err)
		require.Equal(t, body, got)
	}
}

func TestManifestsOfWrongDigestOrSizeAreRefused(t *testing.T) {
	s := newStore(t, Config{})
	m := s.Manifests()
	dgst, _ := storetest.Blob(digest.SHA256, 1000)
	err := m.Put(t.Context(), dgst, "", []byte("something else"))
	require.True(t, errdefs.IsFailedPrecondition(err), "got %v", err)
	_, err = m.Get(t.Context(), dgst)
	require.True(t, errdefs.IsNotFound(err), "got %v", err)
	large, body := storetest.Blob(digest.SHA256, oci.MaxManifest+1)
	err = m.Put(t.Context(), large, "", body)
	require.True(t, errdefs.IsInvalidArgument(err), "got %v", err)
	_, err = m.Get(t.Context(), keep(t, s, oci.MaxManifest+1))
	require.True(t, errdefs.IsNotFound(err), "no layer is read as a manifest: %v", err)
}
