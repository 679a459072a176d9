package imagepull

import (
	"context"
	"fmt"
	"io"
	"net/http"

	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/platforms"
	"github.com/distribution/reference"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/shoal-p2p/shoal/internal/version"
)

// Options says what of an image is wanted, and where from.
type Options struct {
	Mirror       string // host:port
	Platform     string // such as linux/arm64; "" means this machine's
	AllPlatforms bool
	// Runs says that the image is to be run, on Platform: one that was made
	// for another is refused even where it leaves no choice.
	Runs bool
	// Credentials returns user and secret for a registry; nil means anonymous.
	Credentials func(registry string) (user, secret string, err error)
	// Progress is told how many bytes of a part have come, from several
	// goroutines; may be nil.
	Progress func(desc ocispec.Descriptor, offset int64)
}

// parallel parts are open at once, in the order of the manifest: the swarm
// works best if all nodes take them in the same order.
const parallel = 16

// Source is an image as the mirror shows it. It has been resolved once, and
// remains that whatever its tag comes to mean; as a [remotes.Resolver] it says so.
type Source struct {
	remotes.Resolver
	Name string // in full
	Root ocispec.Descriptor

	o         Options
	one       platforms.MatchComparer // what Platform means
	fetcher   remotes.Fetcher
	transport *http.Transport
	read      int64 // bytes of manifests
}

// Open resolves an image. Close must be called.
func Open(ctx context.Context, named reference.Named, o Options) (*Source, error) {
	one, err := o.matcher()
	if err != nil {
		return nil, err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.Proxy = nil // the mirror is ours
	transport.MaxIdleConnsPerHost = parallel
	transport.DisableCompression = true
	s := &Source{o: o, one: one, transport: transport}
	s.Resolver = docker.NewResolver(docker.ResolverOptions{
		Hosts: hosts(o.Mirror, &http.Client{Transport: transport}, o.Credentials),
		// Where containerd pulls, the agent may write into its store. We write
		// ourselves, if we are content with the image at all.
		Headers: http.Header{"User-Agent": {"shoal/" + version.This().Version}},
	})
	s.Name, s.Root, err = s.Resolver.Resolve(ctx, named.String())
	if err == nil {
		s.fetcher, err = s.Fetcher(ctx, s.Name)
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// Close ends idle connections.
func (s *Source) Close() { s.transport.CloseIdleConnections() }

// Resolve returns what the image's name was found to be.
func (s *Source) Resolve(context.Context, string) (string, ocispec.Descriptor, error) {
	return s.Name, s.Root, nil
}

// get returns content of at most limit bytes, checked.
func (s *Source) get(ctx context.Context, what string, desc ocispec.Descriptor, limit int64) ([]byte, error) {
	if err := desc.Digest.Validate(); err != nil {
		return nil, fmt.Errorf("%s %q: %w", what, desc.Digest, err)
	}
	if desc.Size > limit {
		return nil, fmt.Errorf("%s %s has %d bytes, more than %d", what, desc.Digest, desc.Size, limit)
	}
	desc.URLs = nil
	rc, err := s.fetcher.Fetch(ctx, desc)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", what, desc.Digest, err)
	}
	defer rc.Close()
	body, err := io.ReadAll(io.LimitReader(rc, limit))
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", what, desc.Digest, err)
	}
	if desc.Digest.Algorithm().FromBytes(body) != desc.Digest {
		return nil, fmt.Errorf("%s %s came with wrong bytes", what, desc.Digest)
	}
	return body, nil
}

var _ remotes.Resolver = (*Source)(nil)
