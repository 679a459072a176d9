package debimage

import (
	"archive/tar"
	"context"
	"fmt"
	"io"
	"path/filepath"
	"slices"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// buildPlatform writes the image of one architecture and returns its manifest.
func buildPlatform(ctx context.Context, b blobs, arch, aptDir string) (ocispec.Descriptor, error) {
	none := ocispec.Descriptor{}
	a, err := newApt(arch, aptDir)
	if err != nil {
		return none, err
	}
	if err := a.update(ctx); err != nil {
		return none, err
	}
	layers := layersFor(arch)
	files, err := a.filesOf(ctx, layers)
	if err != nil {
		return none, err
	}
	platform := ocispec.Platform{OS: "linux", Architecture: arch}
	config := ocispec.Image{
		Platform: platform,
		Config: ocispec.ImageConfig{
			Env: []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
			Cmd: []string{"bash"}, WorkingDir: "/",
		},
		RootFS: ocispec.RootFS{Type: "layers"},
	}
	manifest := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest}
	t := newTree()
	for i, l := range layers {
		desc, diffID, err := b.writeLayer(l.mediaType, func(w io.Writer) error {
			return t.writeLayer(ctx, w, i == 0, files[i])
		})
		if err != nil {
			return none, fmt.Errorf("%s for %s: %w", l.title, arch, err)
		}
		manifest.Layers = append(manifest.Layers, desc)
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, diffID)
		config.History = append(config.History, ocispec.History{CreatedBy: l.title})
	}
	if manifest.Config, err = b.writeJSON(ocispec.MediaTypeImageConfig, config); err != nil {
		return none, err
	}
	desc, err := b.writeJSON(ocispec.MediaTypeImageManifest, manifest)
	desc.Platform = &platform
	return desc, err
}

// filesOf downloads the packages of all layers. Each layer has those that the
// layers below it lack.
func (a *apt) filesOf(ctx context.Context, layers []layer) ([][]string, error) {
	var packages []string
	seen := map[string]bool{}
	files := make([][]string, len(layers))
	for i, l := range layers {
		packages = append(packages, l.packages...)
		sofar, err := a.closure(ctx, packages)
		if err != nil {
			return nil, err
		}
		slices.Sort(sofar)
		for _, file := range sofar {
			if !seen[file] {
				seen[file] = true
				files[i] = append(files[i], filepath.Join(a.archives, file))
			}
		}
		if len(files[i]) == 0 {
			return nil, fmt.Errorf("%s: no package is new in this layer", l.title)
		}
	}
	return files, a.download(ctx, packages)
}

func (t *tree) writeLayer(ctx context.Context, out io.Writer, bottom bool, debs []string) error {
	w := tar.NewWriter(out)
	if bottom {
		if err := t.begin(w); err != nil {
			return err
		}
	}
	for _, deb := range debs {
		if err := t.add(ctx, w, deb); err != nil {
			return err
		}
	}
	if bottom {
		if err := t.users(w); err != nil {
			return err
		}
	}
	return w.Close()
}

// counted is a digest and a size of what was written to it.
type counted struct {
	digest.Digester
	size int64
}

func newCounted() *counted { return &counted{Digester: digest.SHA256.Digester()} }

func (c *counted) Write(p []byte) (int, error) {
	c.size += int64(len(p))
	return c.Hash().Write(p)
}
