// Package imagepull pulls an image through a mirror, so that the agent behind it
// keeps it. The bytes are checked against their digests and thrown away here.
//
// An image is what a name resolves to: an index whose manifests are for
// platforms, or one manifest. Its parts are the manifests, configs and layers.
package imagepull

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/platforms"
	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/shoal-p2p/shoal/internal/oci"
)

// Options says how to pull.
type Options struct {
	Mirror       string // host:port
	Platform     string // such as linux/arm64; "" means this machine's
	AllPlatforms bool
	// Credentials returns user and secret for a registry; nil means anonymous.
	Credentials func(registry string) (user, secret string, err error)
	// Progress is told how many bytes of a part have come, from several
	// goroutines.
	Progress func(desc ocispec.Descriptor, offset int64)
}

// Image is a pulled image.
type Image struct {
	Digest digest.Digest
	Size   int64 // bytes of its parts
}

// parallel parts are open at once, in the order of the manifest: the swarm
// works best if all nodes take them in the same order.
const parallel = 16

// Pull pulls an image.
func Pull(ctx context.Context, named reference.Named, o Options) (Image, error) {
	transport := &http.Transport{MaxIdleConnsPerHost: parallel, DisableCompression: true}
	defer transport.CloseIdleConnections()
	r := docker.NewResolver(docker.ResolverOptions{Hosts: Hosts(o.Mirror, &http.Client{Transport: transport}, o.Credentials)})
	name, root, err := r.Resolve(ctx, named.String())
	if err != nil {
		return Image{}, err
	}
	fetcher, err := r.Fetcher(ctx, name)
	if err != nil {
		return Image{}, err
	}
	p := &puller{fetcher: fetcher, o: o}
	if p.match, err = o.matcher(); err != nil {
		return Image{}, err
	}
	parts, err := p.parts(ctx, root, 0)
	if err != nil {
		return Image{}, err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	image := Image{Digest: root.Digest, Size: p.manifests}
	seen := map[digest.Digest]bool{}
	for _, part := range parts {
		if seen[part.Digest] {
			continue
		}
		seen[part.Digest] = true
		image.Size += part.Size
		group.Go(func() error { return p.fetch(ctx, part) })
	}
	return image, group.Wait()
}

// Hosts sends every request to the mirror. containerd's client names the
// registry in ?ns= because the host is another one.
func Hosts(mirror string, c *http.Client, credentials func(registry string) (user, secret string, err error)) docker.RegistryHosts {
	return func(registry string) ([]docker.RegistryHost, error) {
		auth := []docker.AuthorizerOpt{docker.WithAuthClient(c)}
		if credentials != nil {
			auth = append(auth, docker.WithAuthCreds(func(string) (string, string, error) { return credentials(registry) }))
		}
		return []docker.RegistryHost{{
			Client:       c,
			Authorizer:   docker.NewDockerAuthorizer(auth...),
			Host:         mirror,
			Scheme:       "http",
			Path:         "/v2",
			Capabilities: docker.HostCapabilityPull | docker.HostCapabilityResolve,
		}}, nil
	}
}

func (o Options) matcher() (platforms.MatchComparer, error) {
	switch {
	case o.AllPlatforms:
		return platforms.All, nil
	case o.Platform == "":
		return platforms.Default(), nil
	}
	p, err := platforms.Parse(o.Platform)
	if err != nil {
		return nil, fmt.Errorf("platform %q: %w", o.Platform, err)
	}
	return platforms.Only(p), nil
}

type puller struct {
	fetcher   remotes.Fetcher
	o         Options
	match     platforms.MatchComparer
	manifests int64 // bytes of those read
}

// parts lists configs and layers below a manifest, in order.
func (p *puller) parts(ctx context.Context, desc ocispec.Descriptor, depth int) ([]ocispec.Descriptor, error) {
	if depth > 4 {
		return nil, errors.New("its indexes are nested too deep")
	}
	body, err := p.manifest(ctx, desc)
	if err != nil {
		return nil, err
	}
	if images.IsManifestType(desc.MediaType) {
		var m ocispec.Manifest
		if err := json.Unmarshal(body, &m); err != nil {
			return nil, fmt.Errorf("manifest %s: %w", desc.Digest, err)
		}
		return append([]ocispec.Descriptor{m.Config}, m.Layers...), nil
	}
	var index ocispec.Index
	if err := json.Unmarshal(body, &index); err != nil {
		return nil, fmt.Errorf("index %s: %w", desc.Digest, err)
	}
	chosen := p.choose(index.Manifests)
	if len(chosen) == 0 {
		return nil, errors.New("it has no manifest for this platform; see --platform")
	}
	var all []ocispec.Descriptor
	for _, m := range chosen {
		parts, err := p.parts(ctx, m, depth+1)
		if err != nil {
			return nil, err
		}
		all = append(all, parts...)
	}
	return all, nil
}

// choose returns all manifests, or the one that fits the platform best.
func (p *puller) choose(all []ocispec.Descriptor) []ocispec.Descriptor {
	if p.o.AllPlatforms {
		return all
	}
	var best []ocispec.Descriptor
	for _, m := range all {
		if m.Platform == nil || !p.match.Match(*m.Platform) {
			continue
		}
		if best == nil || p.match.Less(*m.Platform, *best[0].Platform) {
			best = []ocispec.Descriptor{m}
		}
	}
	return best
}

func (p *puller) manifest(ctx context.Context, desc ocispec.Descriptor) ([]byte, error) {
	if err := desc.Digest.Validate(); err != nil {
		return nil, fmt.Errorf("manifest %q: %w", desc.Digest, err)
	}
	rc, err := p.fetcher.Fetch(ctx, desc)
	if err != nil {
		return nil, err
	}
	defer rc.Close()
	body, err := io.ReadAll(io.LimitReader(rc, oci.MaxManifest))
	if err != nil {
		return nil, err
	}
	if got := desc.Digest.Algorithm().FromBytes(body); got != desc.Digest {
		return nil, fmt.Errorf("manifest %s came with wrong bytes", desc.Digest)
	}
	p.manifests += int64(len(body))
	return body, nil
}

// fetch reads a part and checks it.
func (p *puller) fetch(ctx context.Context, desc ocispec.Descriptor) error {
	if err := desc.Digest.Validate(); err != nil {
		return fmt.Errorf("part %q: %w", desc.Digest, err)
	}
	desc.URLs = nil // it comes from the mirror, wherever else a manifest says
	rc, err := p.fetcher.Fetch(ctx, desc)
	if err != nil {
		return err
	}
	defer rc.Close()
	verifier := desc.Digest.Verifier()
	counted := &counter{desc: desc, tell: p.o.Progress}
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
