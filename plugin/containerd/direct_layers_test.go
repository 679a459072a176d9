package containerd

import (
	"encoding/json"
	"testing"

	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"
)

func TestLayersThatAreReceivedDirectly(t *testing.T) {
	dgst := func(s string) digest.Digest { return digest.FromString(s) }
	plain := func() *ocispec.Manifest {
		return &ocispec.Manifest{
			Config: ocispec.Descriptor{MediaType: ocispec.MediaTypeImageConfig},
			Layers: []ocispec.Descriptor{
				{MediaType: ocispec.MediaTypeImageLayerGzip, Digest: dgst("a"), Size: 5 << 20},
				{MediaType: ocispec.MediaTypeImageLayerZstd, Digest: dgst("b"), Size: smallLayer},
			},
		}
	}
	for name, c := range map[string]struct {
		change func(m *ocispec.Manifest)
		want   int
	}{
		"an image":       {func(*ocispec.Manifest) {}, 2},
		"Docker's":       {func(m *ocispec.Manifest) { m.Config.MediaType = "application/vnd.docker.container.image.v1+json" }, 2},
		"a layer twice":  {func(m *ocispec.Manifest) { m.Layers[1].Digest = m.Layers[0].Digest }, 1},
		"small":          {func(m *ocispec.Manifest) { m.Layers[1].Size-- }, 1},
		"negative":       {func(m *ocispec.Manifest) { m.Layers[1].Size = -1 }, 1},
		"no digest":      {func(m *ocispec.Manifest) { m.Layers[1].Digest = "sha256:../etc" }, 1},
		"SHA-512":        {func(m *ocispec.Manifest) { m.Layers[1].Digest = digest.SHA512.FromString("b") }, 1},
		"an artifact":    {func(m *ocispec.Manifest) { m.ArtifactType = "application/vnd.example" }, 0},
		"a chart":        {func(m *ocispec.Manifest) { m.Config.MediaType = "application/vnd.cncf.helm.config.v1+json" }, 0},
		"an attestation": {func(m *ocispec.Manifest) { m.Layers[1].MediaType = "application/vnd.in-toto+json" }, 1},
		"foreign":        {func(m *ocispec.Manifest) { m.Layers[1].URLs = []string{"https://example.com/layer"} }, 1},
		"Docker's foreign": {func(m *ocispec.Manifest) {
			m.Layers[1].MediaType = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
		}, 1},
		"not distributable":     {func(m *ocispec.Manifest) { m.Layers[1].MediaType = ocispec.MediaTypeImageLayerNonDistributableGzip }, 1}, //nolint:staticcheck // still found in images
		"encrypted":             {func(m *ocispec.Manifest) { m.Layers[1].MediaType += "+encrypted" }, 1},
		"embedded":              {func(m *ocispec.Manifest) { m.Layers[1].Data = []byte("b") }, 1},
		"a name in annotations": {func(m *ocispec.Manifest) { m.Layers[1].Annotations = map[string]string{ocispec.AnnotationRefName: "b"} }, 2},
		"eStargz": {func(m *ocispec.Manifest) {
			m.Layers[1].Annotations = map[string]string{"containerd.io/snapshot/stargz/toc.digest": "sha256:0"}
		}, 1},
		"nydus": {func(m *ocispec.Manifest) {
			m.Layers[1].Annotations = map[string]string{"containerd.io/snapshot/nydus-blob": "true"}
		}, 1},
		"overlaybd": {func(m *ocispec.Manifest) {
			m.Layers[1].Annotations = map[string]string{"containerd.io/snapshot/overlaybd/blob-size": "1"}
		}, 1},
		"zstd:chunked": {func(m *ocispec.Manifest) {
			m.Layers[1].Annotations = map[string]string{"io.github.containers.zstd-chunked.manifest-position": "1"}
		}, 1},
		"very many": {func(m *ocispec.Manifest) {
			for i := range 1000 {
				m.Layers = append(m.Layers, ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Digest: dgst(string(rune(1000 + i))), Size: 5 << 20})
			}
		}, maxLayers},
	} {
		m := plain()
		c.change(m)
		body, err := json.Marshal(m)
		require.NoError(t, err)
		layers := layersOf(body)
		require.Len(t, layers, c.want, name)
		if c.want > 0 {
			require.Equal(t, m.Layers[0], layers[0].desc, name)
		}
	}
	require.Empty(t, layersOf([]byte("{")))
	require.Empty(t, layersOf(nil))
}

func TestManifestsOfOtherPlatforms(t *testing.T) {
	here := platforms.DefaultSpec()
	other := ocispec.Platform{OS: "linux", Architecture: "s390x"}
	index := func(list ...*ocispec.Platform) []byte {
		var idx ocispec.Index
		for i, p := range list {
			idx.Manifests = append(idx.Manifests, ocispec.Descriptor{Digest: digest.FromString(string(rune('a' + i))), Platform: p})
		}
		body, err := json.Marshal(idx)
		require.NoError(t, err)
		return body
	}
	dgst := func(s string) digest.Digest { return digest.FromString(s) }
	unknown := ocispec.Platform{OS: "unknown", Architecture: "unknown"} // attestations
	require.Equal(t, []digest.Digest{dgst("a"), dgst("c")}, otherPlatforms(index(&other, &here, &unknown)))
	require.Equal(t, []digest.Digest{dgst("b")}, otherPlatforms(index(&here, &here)), "containerd takes one")
	require.Empty(t, otherPlatforms(index(nil, nil)), "it may take any")
	require.Empty(t, otherPlatforms([]byte("{")))
}
