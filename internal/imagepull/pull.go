package imagepull

import (
	"context"
	"fmt"
	"io"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
)

// Image is a pulled image.
type Image struct {
	Digest digest.Digest
	Size   int64 // bytes of its parts
}

// Pull reads an image's parts.
func Pull(ctx context.Context, named reference.Named, o Options) (Image, error) {
	s, err := Open(ctx, named, o)
	if err != nil {
		return Image{}, err
	}
	defer s.Close()
	manifests, err := s.manifests(ctx, s.Root, 0)
	if err != nil {
		return Image{}, err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	image := Image{Digest: s.Root.Digest, Size: s.read}
	seen := map[digest.Digest]bool{}
	for _, m := range manifests {
		for _, part := range append([]ocispec.Descriptor{m.Config}, m.Layers...) {
			if !seen[part.Digest] {
				seen[part.Digest] = true
				image.Size += part.Size
				group.Go(func() error { return s.fetch(ctx, part) })
			}
		}
	}
	return image, group.Wait()
}

// fetch reads a part and checks it.
func (s *Source) fetch(ctx context.Context, desc ocispec.Descriptor) error {
	if err := desc.Digest.Validate(); err != nil {
		return fmt.Errorf("part %q: %w", desc.Digest, err)
	}
	desc.URLs = nil // it comes from the mirror, wherever else a manifest says
	rc, err := s.fetcher.Fetch(ctx, desc)
	if err != nil {
		return err
	}
	defer rc.Close()
	verifier := desc.Digest.Verifier()
	counted := &counter{desc: desc, tell: s.o.Progress}
	n, err := io.Copy(io.MultiWriter(verifier, counted), io.LimitReader(rc, desc.Size+1))
	if err != nil {
		return fmt.Errorf("%s after %d bytes: %w", desc.Digest, n, err)
	}
	if n != desc.Size || !verifier.Verified() {
		return fmt.Errorf("%s came with wrong bytes", desc.Digest)
	}
	return nil
}

type counter struct {
	desc   ocispec.Descriptor
	offset int64
	tell   func(ocispec.Descriptor, int64)
}

func (c *counter) Write(b []byte) (int, error) {
	c.offset += int64(len(b))
	if c.tell != nil {
		c.tell(c.desc, c.offset)
	}
	return len(b), nil
}
