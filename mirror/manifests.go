package mirror

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/containerd/log"
	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/singleflight"

	"github.com/shoal-p2p/shoal/internal/oci"
	"github.com/shoal-p2p/shoal/resolver"
)

const (
	// keptManifests and keptTags bound the caches; keptBody keeps larger
	// manifests out of memory, so that all together stay under 16 MiB.
	keptManifests = 256
	keptBody      = 64 << 10
	keptTags      = 4096
	// fetchTimeout ends a fetch that several clients may wait for.
	fetchTimeout = time.Minute
)

// manifests keeps what the upstream said. It is safe for concurrent use.
type manifests struct {
	resolver *resolver.Resolver
	store    ManifestStore // may be nil

	staleFor time.Duration

	flight singleflight.Group
	bodies *lru.Cache[digest.Digest, *resolver.Manifest]
	tags   *lru.Cache[string, seenTag]
	grants grants
}

// seenTag is what a tag was, without body.
type seenTag struct {
	*resolver.Manifest
	at time.Time
}

func newManifests(cfg Config) *manifests {
	return &manifests{
		resolver: cfg.Resolver, store: cfg.Manifests, staleFor: cfg.StaleFor,
		bodies: cache[digest.Digest, *resolver.Manifest](keptManifests),
		tags:   cache[string, seenTag](keptTags),
		grants: newGrants(keptTags),
	}
}

func cache[K comparable, V any](size int) *lru.Cache[K, V] {
	c, err := lru.New[K, V](size)
	if err != nil { // only a size that is not positive
		panic(err)
	}
	return c
}

// byDigest returns a manifest with its body. stale says that the upstream could
// not be asked whether this client may still read it.
func (m *manifests) byDigest(ctx context.Context, repo resolver.Repository, dgst digest.Digest, accept []string) (got *resolver.Manifest, stale bool, err error) {
	kept := m.kept(ctx, dgst)
	if kept == nil {
		got, err := m.fetch(ctx, repo, dgst.String(), accept)
		return got, false, err
	}
	if m.grants.within(repo, grantFor, time.Now()) {
		return kept, false, nil
	}
	_, err = m.resolver.StatManifest(ctx, repo, dgst.String(), accept)
	switch {
	case err == nil:
		m.grants.give(repo, time.Now())
		return kept, false, nil
	case oci.HasStatus(err, http.StatusMethodNotAllowed): // it does not know HEAD
		got, err := m.fetch(ctx, repo, dgst.String(), accept)
		return got, false, err
	case m.standsIn(repo, err):
		return kept, true, nil
	}
	return nil, false, err
}

// stat tells what a tag is now, without its body where that is possible: it
// costs no pull.
func (m *manifests) stat(ctx context.Context, repo resolver.Repository, tag string, accept []string) (got *resolver.Manifest, stale bool, err error) {
	got, err = m.resolver.StatManifest(ctx, repo, tag, accept)
	if err == nil && got.Digest != "" && got.Size >= 0 {
		m.saw(repo, tag, accept, got)
		return got, false, nil
	}
	if err == nil || oci.HasStatus(err, http.StatusMethodNotAllowed) { // it does not know HEAD well
		if got, err = m.fetch(ctx, repo, tag, accept); err == nil {
			return got, false, nil
		}
	}
	old, ok := m.tags.Get(tagKey(repo, tag, accept))
	if ok && time.Since(old.at) < m.staleFor && m.standsIn(repo, err) {
		return old.Manifest, true, nil
	}
	return nil, false, err
}

// byTag returns what a tag is now, with its body.
func (m *manifests) byTag(ctx context.Context, repo resolver.Repository, tag string, accept []string) (got *resolver.Manifest, stale bool, err error) {
	got, stale, err = m.stat(ctx, repo, tag, accept)
	if err != nil || got.Body != nil {
		return got, stale, err
	}
	if kept := m.kept(ctx, got.Digest); kept != nil {
		return kept, stale, nil
	}
	got, err = m.fetch(ctx, repo, got.Digest.String(), accept)
	return got, stale, err
}

// standsIn reports whether what is kept may be served to a client although the
// upstream failed with err.
func (m *manifests) standsIn(repo resolver.Repository, err error) bool {
	return papersOver(err) && m.grants.within(repo, m.staleFor, time.Now())
}

// saw remembers what the upstream says that a tag is.
func (m *manifests) saw(repo resolver.Repository, tag string, accept []string, got *resolver.Manifest) {
	m.grants.give(repo, time.Now())
	seen := &resolver.Manifest{MediaType: got.MediaType, Digest: got.Digest, Size: got.Size}
	m.tags.Add(tagKey(repo, tag, accept), seenTag{seen, time.Now()})
}

// tagKey holds what the client accepts: a registry may answer old clients with
// another manifest.
func tagKey(repo resolver.Repository, tag string, accept []string) string {
	return strings.Join(append([]string{repo.String(), tag}, accept...), "\x00")
}

// fetch gets a manifest from the upstream, once for all who ask at the same
// time with the same credentials.
func (m *manifests) fetch(ctx context.Context, repo resolver.Repository, ref string, accept []string) (*resolver.Manifest, error) {
	g := grantOf(repo)
	done := m.flight.DoChan(string(g[:])+tagKey(repo, ref, accept), func() (any, error) {
		// Who came first may leave; the others still want it.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchTimeout)
		defer cancel()
		dgst, notDigest := digest.Parse(ref)
		if notDigest == nil && m.grants.within(repo, grantFor, time.Now()) {
			// The fetch before this one may have ended since the caller looked.
			if kept := m.kept(ctx, dgst); kept != nil {
				return kept, nil
			}
		}
		got, err := m.resolver.Manifest(ctx, repo, ref, accept)
		if err != nil {
			return nil, err
		}
		if notDigest != nil {
			m.saw(repo, ref, accept, got)
		}
		m.grants.give(repo, time.Now())
		m.keep(ctx, got)
		return got, nil
	})
	select {
	case r := <-done:
		if r.Err != nil {
			return nil, r.Err
		}
		return r.Val.(*resolver.Manifest), nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// kept returns a manifest from memory or the store, nil if there is none.
func (m *manifests) kept(ctx context.Context, dgst digest.Digest) *resolver.Manifest {
	if got, ok := m.bodies.Get(dgst); ok {
		return got
	}
	if m.store == nil {
		return nil
	}
	body, err := m.store.Get(ctx, dgst)
	if err != nil {
		if !errdefs.IsNotFound(err) {
			log.G(ctx).WithError(err).WithField("manifest", dgst).Warn("the store cannot be read; asking the upstream")
		}
		return nil
	}
	if dgst.Algorithm().FromBytes(body) != dgst {
		log.G(ctx).WithField("manifest", dgst).Warn("the store holds wrong bytes; asking the upstream")
		return nil
	}
	got := &resolver.Manifest{MediaType: oci.MediaType(body), Digest: dgst, Size: int64(len(body)), Body: body}
	m.remember(got)
	return got
}

func (m *manifests) keep(ctx context.Context, got *resolver.Manifest) {
	m.remember(got)
	// What the store could not tell the media type of stays out of it.
	if m.store == nil || oci.MediaType(got.Body) != got.MediaType {
		return
	}
	if err := m.store.Put(ctx, got.Digest, got.MediaType, got.Body); err != nil {
		log.G(ctx).WithError(err).WithField("manifest", got.Digest).Warn("the store did not take a manifest")
	}
}

func (m *manifests) remember(got *resolver.Manifest) {
	if len(got.Body) <= keptBody {
		m.bodies.Add(got.Digest, got)
	}
}
