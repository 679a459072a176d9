package containerd

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

const (
	// smallLayer is what is not worth a writer, in bytes.
	smallLayer = 1 << 20
	// maxLayers bounds the layers of a manifest that are received directly.
	maxLayers = 128
)

// lazyAnnotations begin the annotations of layers that a snapshotter may mount
// without pulling them: eStargz, nydus, overlaybd, zstd:chunked.
var lazyAnnotations = []string{"containerd.io/snapshot/", "io.github.containers.zstd-chunked."}

// layersOf returns the layers of an image that are worth it, each once. What is
// no image, and what is not pulled as a whole or from its registry, has none.
func layersOf(manifest []byte) []*layer {
	var m ocispec.Manifest
	if json.Unmarshal(manifest, &m) != nil || m.ArtifactType != "" || !images.IsConfigType(m.Config.MediaType) {
		return nil
	}
	var layers []*layer
	seen := map[digest.Digest]bool{}
	for _, desc := range m.Layers {
		switch {
		case len(layers) == maxLayers:
			return layers
		case seen[desc.Digest] || desc.Size < smallLayer || len(desc.Data) > 0,
			desc.Digest.Validate() != nil || desc.Digest.Algorithm() != digest.SHA256, // containerd hashes again what is not
			!images.IsLayerType(desc.MediaType) || images.IsNonDistributable(desc.MediaType) || len(desc.URLs) > 0,
			strings.HasSuffix(desc.MediaType, "+encrypted") || lazy(desc):
			continue
		}
		seen[desc.Digest] = true
		layers = append(layers, &layer{desc: desc})
	}
	return layers
}

func lazy(desc ocispec.Descriptor) bool {
	for name := range desc.Annotations {
		if slices.ContainsFunc(lazyAnnotations, func(prefix string) bool { return strings.HasPrefix(name, prefix) }) {
			return true
		}
	}
	return false
}

// otherPlatforms returns the manifests of an index that containerd may look at,
// but whose layers it does not pull for this machine.
func otherPlatforms(index []byte) (others []digest.Digest) {
	var idx ocispec.Index
	if json.Unmarshal(index, &idx) != nil {
		return nil
	}
	here := platforms.Default()
	var best *ocispec.Descriptor
	for i, m := range idx.Manifests {
		switch {
		case m.Platform == nil || !here.Match(*m.Platform):
		case best == nil || here.Less(*m.Platform, *best.Platform):
			best = &idx.Manifests[i]
		}
	}
	for i := range idx.Manifests {
		if m := &idx.Manifests[i]; m != best && (best == nil || m.Digest != best.Digest) && m.Platform != nil {
			others = append(others, m.Digest)
		}
	}
	return others
}

// oldVersion reports whether a containerd is of the series 1.x.
func oldVersion(version string) bool {
	return strings.HasPrefix(strings.TrimPrefix(version, "v"), "1.")
}
