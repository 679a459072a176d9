package debimage

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
)

// format is raised when the same recipe gives another image.
const format = 1

// Layout is the folder of an OCI image layout with the image. It is made at the
// first call, which takes a minute or two and downloads about 300 MiB, and kept
// below cacheDir. The layout has one entry, an index of all platforms.
func Layout(ctx context.Context, cacheDir string) (string, error) {
	version := sha256.Sum256(fmt.Appendf(nil, "%d %v", format, recipe))
	root, err := filepath.Abs(filepath.Join(cacheDir, "debimage"))
	if err != nil {
		return "", err
	}
	dir := filepath.Join(root, fmt.Sprintf("layout-%x", version[:6]))
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	if err := os.MkdirAll(root, 0o755); err != nil {
		return "", err
	}
	// It gets its name when it is whole.
	partial, err := os.MkdirTemp(root, "partial-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(partial)
	if err := writeLayout(ctx, partial, root); err != nil {
		return "", fmt.Errorf("make the image from Debian packages: %w", err)
	}
	if err := os.Chmod(partial, 0o755); err != nil {
		return "", err
	}
	if err := os.Rename(partial, dir); err != nil && !errors.Is(err, os.ErrExist) {
		return "", err
	}
	return dir, nil
}

func writeLayout(ctx context.Context, dir, cache string) error {
	b := blobs{dir: filepath.Join(dir, "blobs", "sha256")}
	if err := os.MkdirAll(b.dir, 0o755); err != nil {
		return err
	}
	manifests := make([]ocispec.Descriptor, len(all))
	g, ctx := errgroup.WithContext(ctx)
	for i, arch := range all {
		g.Go(func() (err error) {
			manifests[i], err = buildPlatform(ctx, b, arch, filepath.Join(cache, "apt-"+arch))
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	index, err := b.writeJSON(ocispec.MediaTypeImageIndex, ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: manifests,
	})
	if err != nil {
		return err
	}
	index.Annotations = map[string]string{ocispec.AnnotationRefName: "latest"}
	top := ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex,
		Manifests: []ocispec.Descriptor{index},
	}
	return errors.Join(
		writeFile(filepath.Join(dir, ocispec.ImageIndexFile), top),
		writeFile(filepath.Join(dir, ocispec.ImageLayoutFile), ocispec.ImageLayout{Version: ocispec.ImageLayoutVersion}),
	)
}

func writeFile(name string, content any) error {
	data, err := json.Marshal(content)
	if err != nil {
		return err
	}
	return os.WriteFile(name, data, 0o644)
}

// Index opens the image in a layout, to push it.
func Index(layoutDir string) (v1.ImageIndex, error) {
	top, err := layout.ImageIndexFromPath(layoutDir)
	if err != nil {
		return nil, err
	}
	m, err := top.IndexManifest()
	if err != nil {
		return nil, err
	}
	if len(m.Manifests) != 1 {
		return nil, fmt.Errorf("%s has %d entries, not one index", layoutDir, len(m.Manifests))
	}
	return top.ImageIndex(m.Manifests[0].Digest)
}
