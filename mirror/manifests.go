package mirror

import (
	"context"
	"crypto/sha256"
	"net/http"
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
	// grantFor is how long the upstream's yes to a credential is remembered.
	grantFor = 5 * time.Minute
)

// manifests keeps what the upstream said. It is safe for concurrent use.
type manifests struct {
	resolver *resolver.Resolver
	store    ManifestStore // may be nil

	staleFor time.Duration

	flight singleflight.Group
	bodies *lru.Cache[digest.Digest, *resolver.Manifest]
	tags   *lru.Cache[string, seenTag]
	grants *lru.Cache[grant, time.Time] // and when the upstream said yes
}

// seenTag is what a tag was, without body.
type seenTag struct {
	*resolver.Manifest
	at time.Time
}

// grant is a credential's right to read a repository, by hash.
type grant [sha256.Size]byte

func grantOf(repo resolver.Repository) grant {
	return sha256.Sum256([]byte(repo.Registry + "\x00" + repo.Name + "\x00" + repo.Authorization))
}

func newManifests(cfg Config) *manifests {
	return &manifests{
		resolver: cfg.Resolver, store: cfg.Manifests, staleFor: cfg.StaleFor,
		bodies: cache[digest.Digest, *resolver.Manifest](keptManifests),
		tags:   cache[string, seenTag](keptTags),
		grants: cache[grant, time.Time](keptTags),
	}
}

func cache[K comparable, V any](size int) *lru.Cache[K, V] {
	c, err := lru.New[K, V](size)
	if err != nil { // only a size that is not positive
		panic(err)
	}
	return c
}

// allow remembers that the upstream has let a credential read a repository.
func (m *manifests) allow(repo resolver.Repository) { m.grants.Add(grantOf(repo), time.Now()) }

func (m *manifests) allowed(repo resolver.Repository) bool {
	at, ok := m.grants.Get(grantOf(repo))
	return ok && time.Since(at) < grantFor
}

// byDigest returns a manifest with its body. stale says that the upstream could
// not be asked whether this client may read it.
func (m *manifests) byDigest(ctx context.Context, repo resolver.Repository, dgst digest.Digest, accept []string) (got *resolver.Manifest, stale bool, err error) {
	kept := m.kept(ctx, dgst)
	if kept == nil {
		got, err := m.fetch(ctx, repo, dgst.String(), accept)
		return got, false, err
	}
	if m.allowed(repo) {
		return kept, false, nil
	}
	_, err = m.resolver.StatManifest(ctx, repo, dgst.String(), accept)
	switch {
	case err == nil:
		m.allow(repo)
		return kept, false, nil
	case papersOver(err):
		return kept, true, nil
	}
	return nil, false, err
}

// stat tells what a tag is now, without its body.
func (m *manifests) stat(ctx context.Context, repo resolver.Repository, tag string, accept []string) (got *resolver.Manifest, stale bool, err error) {
	key := repo.String() + ":" + tag
	got, err = m.resolver.StatManifest(ctx, repo, tag, accept)
	if err == nil && got.Digest != "" && got.Size >= 0 {
		m.allow(repo)
		m.tags.Add(key, seenTag{got, time.Now()})
		return got, false, nil
	}
	if err == nil || oci.HasStatus(err, http.StatusMethodNotAllowed) { // it does not know HEAD well
		got, err = m.fetch(ctx, repo, tag, accept)
		return got, false, err
	}
	if old, ok := m.tags.Get(key); ok && papersOver(err) && time.Since(old.at) < m.staleFor {
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

// fetch gets a manifest from the upstream, once for all who ask at the same
// time with the same credentials.
func (m *manifests) fetch(ctx context.Context, repo resolver.Repository, ref string, accept []string) (*resolver.Manifest, error) {
	g := grantOf(repo)
	done := m.flight.DoChan(string(g[:])+ref, func() (any, error) {
		// Who came first may leave; the others still want it.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		got, err := m.resolver.Manifest(ctx, repo, ref, accept)
		if err != nil {
			return nil, err
		}
		m.allow(repo)
		if _, err := digest.Parse(ref); err != nil {
			seen := &resolver.Manifest{MediaType: got.MediaType, Digest: got.Digest, Size: got.Size}
			m.tags.Add(repo.String()+":"+ref, seenTag{seen, time.Now()})
		}
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
