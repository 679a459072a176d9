// Package testimage makes small images for tests: a base that can run a shell,
// and layers that do not compress.
package testimage

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// busybox is statically linked: Debian's package busybox-static.
const busybox = "/bin/busybox"

// Image makes an image with a base and layers of size bytes each. The same seed
// makes the same image.
func Image(seed string, layers int, size int64) (v1.Image, error) {
	base, err := baseLayer()
	if err != nil {
		return nil, err
	}
	all := []v1.Layer{base}
	for k := range layers {
		l, err := randomLayer(fmt.Sprintf("%s-%d", seed, k), size)
		if err != nil {
			return nil, err
		}
		all = append(all, l)
	}
	img := mutate.MediaType(empty.Image, types.OCIManifestSchema1)
	img = mutate.ConfigMediaType(img, types.OCIConfigJSON)
	if img, err = mutate.AppendLayers(img, all...); err != nil {
		return nil, err
	}
	return runnable(img)
}

// Stored makes an image of layers of about size bytes each, which are not
// compressed: they cost no time.
func Stored(seed string, layers int, size int64) (v1.Image, error) {
	img := mutate.MediaType(empty.Image, types.OCIManifestSchema1)
	img = mutate.ConfigMediaType(img, types.OCIConfigJSON)
	for k := range layers {
		data, err := randomTar(fmt.Sprintf("%s-%d", seed, k), size)
		if err != nil {
			return nil, err
		}
		if img, err = mutate.AppendLayers(img, static.NewLayer(data, types.OCIUncompressedLayer)); err != nil {
			return nil, err
		}
	}
	return runnable(img)
}

// runnable says what platform an image is for.
func runnable(img v1.Image) (v1.Image, error) {
	return configure(img, v1.Platform{OS: "linux", Architecture: "amd64"})
}

func configure(img v1.Image, p v1.Platform) (v1.Image, error) {
	cfg, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	cfg = cfg.DeepCopy()
	cfg.OS, cfg.Architecture, cfg.Variant = p.OS, p.Architecture, p.Variant
	cfg.Config.Cmd = []string{"/bin/sh"}
	cfg.Config.Env = []string{"PATH=/bin"}
	return mutate.ConfigFile(img, cfg)
}

// Index makes an index of an image for linux/amd64 and one for linux/arm64, and
// returns these too.
func Index(seed string, layers int, size int64) (index v1.ImageIndex, amd64, arm64 v1.Image, err error) {
	if amd64, err = Image(seed, layers, size); err != nil {
		return nil, nil, nil, err
	}
	arm := v1.Platform{OS: "linux", Architecture: "arm64"}
	if arm64, err = Image(seed+"-arm64", layers, size); err == nil {
		arm64, err = configure(arm64, arm)
	}
	index = mutate.AppendManifests(mutate.IndexMediaType(empty.Index, types.OCIImageIndex),
		mutate.IndexAddendum{Add: arm64, Descriptor: v1.Descriptor{Platform: &arm}},
		mutate.IndexAddendum{Add: amd64, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "amd64"}}})
	return index, amd64, arm64, err
}

func baseLayer() (v1.Layer, error) {
	program, err := os.ReadFile(busybox)
	if err != nil {
		return nil, fmt.Errorf("testimage: %w; install the package busybox-static", err)
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, dir := range []string{"bin/", "tmp/", "proc/", "sys/", "dev/", "etc/"} {
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir, Mode: 0o755}); err != nil {
			return nil, err
		}
	}
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "bin/busybox", Mode: 0o755, Size: int64(len(program))}); err != nil {
		return nil, err
	}
	if _, err := w.Write(program); err != nil {
		return nil, err
	}
	for _, applet := range []string{"sh", "echo", "sha256sum", "ls", "cat"} {
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: "bin/" + applet, Linkname: "busybox"}); err != nil {
			return nil, err
		}
	}
	return layer(b.Bytes(), w.Close())
}

func randomLayer(seed string, size int64) (v1.Layer, error) {
	return layer(randomTar(seed, size))
}

// randomTar holds one file of size bytes.
func randomTar(seed string, size int64) ([]byte, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "data-" + seed, Mode: 0o644, Size: size}); err != nil {
		return nil, err
	}
	if _, err := io.CopyN(w, rand.NewChaCha8(sha256.Sum256([]byte(seed))), size); err != nil {
		return nil, err
	}
	return b.Bytes(), w.Close()
}

func layer(data []byte, err error) (v1.Layer, error) {
	if err != nil {
		return nil, err
	}
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(data)), nil
	}, tarball.WithCompressionLevel(gzip.BestSpeed), tarball.WithMediaType(types.OCILayer))
}

// Push pushes an image by name over plain HTTP.
func Push(image string, img v1.Image, transport http.RoundTripper) error {
	ref, err := name.ParseReference(image, name.Insecure)
	if err != nil {
		return err
	}
	return remote.Write(ref, img, remote.WithTransport(transport))
}

// PushIndex pushes an index by name over plain HTTP.
func PushIndex(image string, index v1.ImageIndex, transport http.RoundTripper) error {
	ref, err := name.ParseReference(image, name.Insecure)
	if err != nil {
		return err
	}
	return remote.WriteIndex(ref, index, remote.WithTransport(transport))
}

// Blob is a config or a layer of an image.
type Blob struct {
	Digest string
	Size   int64
}

// Blobs lists config and layers, and the sum of their sizes.
func Blobs(img v1.Image) (blobs []Blob, total int64, err error) {
	m, err := img.Manifest()
	if err != nil {
		return nil, 0, err
	}
	for _, d := range append([]v1.Descriptor{m.Config}, m.Layers...) {
		blobs = append(blobs, Blob{d.Digest.String(), d.Size})
		total += d.Size
	}
	return blobs, total, nil
}
